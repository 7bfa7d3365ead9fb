"""What a report consists of: numbers of its headline, tables, and figures as functions that draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure as Canvas

from ionecho.report.digits import rounded

SHOWN = 8  # panels or curves of a figure, names of a note


@dataclass(frozen=True)
class Number:
    """A line of the headline: a number with its error (None: not known) and unit, perhaps the limit of it only."""

    name: str
    value: float
    error: float | None
    unit: str
    limit: str = ""  # "<" or ">"
    remark: str = ""

    def __str__(self) -> str:
        number = f"{self.limit} {rounded(self.value, digits=2)}" if self.limit else rounded(self.value, self.error)
        return f"{self.name}: {number} {self.unit}".rstrip() + self.remark


@dataclass(frozen=True)
class Table:
    """A csv file, and with a `title` a table of the page too.

    A column `x_error` is the error of `x`: the page shows both as one.
    """

    frame: pd.DataFrame
    title: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A png file: `draw(names)` makes it of at most eight of `names`, its panels or curves; the rest is in `data`."""

    draw: Callable[[list[str]], Canvas]
    caption: str
    data: Sequence[str] = ()  # tables
    names: Sequence[str] = ()

    @property
    def shown(self) -> list[str]:
        """The names that are drawn."""
        return list(self.names[:SHOWN])


def by_unit(names: Mapping[str, str]) -> dict[str, str]:
    """The unit of each name, from the names of each unit, separated by blanks."""
    return {name: unit for unit, line in names.items() for name in line.split()}


def once(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Notes of each trajectory, those of the same words said once; those of all of them without a name."""
    holders: dict[str, list[str]] = {}
    for name, texts in notes.items():
        for text in dict.fromkeys(texts):
            holders.setdefault(text, []).append(name)
    return [text if len(names) == len(notes) > 1 else f"{_listed(names)}: {text}" for text, names in holders.items()]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")

"""What a report consists of: numbers of its headline, tables, and figures as functions that draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ionecho.report.digits import rounded
from ionecho.report.panel import Panel

SHOWN = 8  # panels or curves of a figure, names of a note


@dataclass(frozen=True)
class Number:
    """A line of the headline: a number with its error and unit, perhaps the limit of it only.

    An error of None is not there by nature; one of NaN should be, and the line says that it is missing.
    """

    name: str
    value: float
    error: float | None
    unit: str
    limit: str = ""  # "<" or ">"
    remark: str = ""

    def __str__(self) -> str:
        number = f"{self.limit} {rounded(self.value, digits=2)}" if self.limit else rounded(self.value, self.error)
        line = f"{self.name}: {number} {self.unit}".rstrip() + self.remark
        missing = self.error is not None and not math.isfinite(self.error) and not self.limit
        return f"{line} (too few samples for an error)" if missing else line


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
    """A png file and a figure of the page: `panels(names)` of at most eight of `names`; the rest is in `data`.

    `columns` of panels, each row `height` inches high, share the axes named in `shared` ("x", "y" or both). A single
    column is as wide as one of a journal, or as two if `wide`.
    """

    panels: Callable[[list[str]], Sequence[Panel]]
    caption: str
    data: Sequence[str] = ()  # tables
    names: Sequence[str] = ()
    columns: int = 2
    height: float = 2.5
    shared: str = ""
    wide: bool = False

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

"""What an analysis found, and the one way it is written: summary.json, csv, png and one self-contained page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Canvas

from ionecho.report.files import SUMMARY, plain, report_folder, write_json
from ionecho.report.html import Picture, Table, render_page
from ionecho.report.style import figure_style

PAGE = "report.html"


@dataclass(frozen=True)
class Figure:
    """One picture: `draw` makes it, in the common style."""

    name: str  # of the png file
    draw: Callable[[], Canvas]
    caption: str


@dataclass(frozen=True)
class Report:
    """The result of an analysis.

    Parameters
    ----------
    analysis, title
        What was done, as a word and for the head of the page.
    headline
        The answer, in sentences with errors and units.
    notes
        What a reader has to know besides.
    numbers
        All that was found, by names that end in their units or stand beside one; plain data, arrays or dataclasses.
    tables
        Name of a csv file -> its table, whole.
    shown
        Tables of the page.
    figures
        Pictures of the page, each also a png file.
    settings, conventions, source
        What was asked for, what the words mean, and what is known about the input.
    physics
        The parameters that numbers were converted with, by the name of their group.
    """

    analysis: str
    title: str
    headline: list[str]
    notes: list[str]
    numbers: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    shown: list[Table]
    figures: list[Figure]
    settings: Any
    conventions: Mapping[str, str]
    source: Mapping[str, Any] = field(default_factory=dict)
    physics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        known = {"analysis": self.analysis, "ionecho": version("ionecho"), "headline": self.headline}
        told = {"settings": self.settings, "conventions": self.conventions, "source": self.source, "notes": self.notes}
        return plain({**known, **self.numbers, **self.physics, **told})

    def write(self, folder: Path) -> None:
        """Write all of it into `folder`, at once or not at all; an earlier report there is replaced.

        Raises
        ------
        InputError
            If `folder` holds something that is not a report.
        """
        summary = self.summary
        with report_folder(folder) as target:
            for name, frame in self.tables.items():
                frame.to_csv(target / f"{name}.csv", index=False)
            with figure_style():
                pictures = [self._drawn(figure, target) for figure in self.figures]
            write_json(target / SUMMARY, summary)
            blocks = {name: summary[name] for name in (*self.physics, "settings", "conventions", "source")}
            files = [SUMMARY, *(f"{name}.csv" for name in self.tables)]
            page = render_page(self.title, self.headline, self.notes, self.shown, pictures, blocks, files)
            (target / PAGE).write_text(page, encoding="utf-8")

    @staticmethod
    def _drawn(figure: Figure, folder: Path) -> Picture:
        path = folder / f"{figure.name}.png"
        figure.draw().savefig(path)
        return Picture(path, figure.caption)

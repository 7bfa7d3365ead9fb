"""The report of an analysis, and the one way it is written: summary.json, csv, png and one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ionecho.report.content import Figure, Number, Table
from ionecho.report.files import SUMMARY, report_folder, write_json
from ionecho.report.html import page
from ionecho.report.pictures import draw
from ionecho.report.plain import plain
from ionecho.report.plotly import drawing
from ionecho.report.scene import Scene

PAGE = "report.html"


@dataclass(frozen=True)
class Report:
    """What an analysis says.

    `numbers` and `physics` (parameters of the conversion) are the entries of summary.json; `units` is the unit of each
    of their keys (`parent.key` where one key has several) and of each column of the `tables`, empty for pure numbers,
    or the name of the key or column beside it that holds the unit.
    `notes` of several trajectories are joined by `once`. `tables` are written as NAME.csv, `figures` as NAME.png; the
    `scene` is on the page alone.
    """

    analysis: str
    title: str
    headline: Sequence[str | Number]
    numbers: Mapping[str, Any]
    units: Mapping[str, str]
    notes: Sequence[str] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    scene: Scene | None = None
    settings: BaseModel | Mapping[str, Any] = field(default_factory=dict)
    physics: Mapping[str, Any] = field(default_factory=dict)
    conventions: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json as plain data."""
        return plain(
            {
                "analysis": self.analysis,
                "ionecho": version("ionecho"),
                "headline": [str(line) for line in self.headline],
                **self.numbers,
                **self.physics,
                **{name: getattr(self, name) for name in ("units", "settings", "conventions", "source", "notes")},
            }
        )

    def write(self, folder: Path | str) -> None:
        """Write summary.json, tables, figures and the page into `folder`, all at once or not at all.

        An earlier report there is replaced.

        Raises
        ------
        InputError
            If `folder` holds something that is not a report, or another process writes it.
        """
        summary = self.summary
        blocks = {"physics": {name: summary[name] for name in self.physics}}
        blocks |= {name: summary[name] for name in ("settings", "conventions", "source")}
        with report_folder(Path(folder)) as target:
            for name, table in self.tables.items():
                table.frame.to_csv(target / f"{name}.csv", index=False)
            panels = {name: figure.panels(figure.shown) for name, figure in self.figures.items()}
            images = {n: draw(figure, panels[n], target / f"{n}.png") for n, figure in self.figures.items()}
            write_json(target / SUMMARY, summary)
            text = page(
                title=self.title,
                headline=self.headline,
                notes=self.notes,
                tables=self.tables,
                figures=self.figures,
                images=images,
                drawings={name: drawing(figure, panels[name]) for name, figure in self.figures.items()},
                scene=self.scene,
                units=self.units,
                blocks=blocks,
            )
            (target / PAGE).write_text(text, encoding="utf-8")

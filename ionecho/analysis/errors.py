"""A model's errors on configurations left out of training: parity, histograms, reliability of the spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from ase.data import chemical_symbols
from pydantic import Field

from ionecho.analysis.errors_scene import worst
from ionecho.analysis.options import Options, one
from ionecho.data.metrics import errors, reliability
from ionecho.data.schema import ARRAYS
from ionecho.errors import InputError
from ionecho.nmr.derived import told_in
from ionecho.report import Axis, Bins, Curve, Figure, Level, Panel, Report, Table
from ionecho.report.panel import Mark, diagonal
from ionecho.report.style import GREY, PALETTE, colours

ALL = "all"
CONVENTIONS = {
    "values": "by component, of all atoms or configurations that have the label",
    "spread": "calibrated standard deviation of the members, as trained",
    "histogram": "errors, predicted less true, each element's with an area of one",
    "reliability": "root mean square error against root mean square spread in equally filled bins of the spread",
}


class Settings(Options):
    """What of a training run is shown, and how; see conf/analysis/errors.yaml."""

    part: Literal["test", "validation"]
    range: float = Field(gt=0)
    bins: int = Field(ge=2)
    reliability_bins: int = Field(ge=1)


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """Errors of the training run in one folder.

    Raises
    ------
    InputError
        If it holds no predictions of that part.
    """
    folder = one(inputs, "errors", "give the folder of one training run")
    found = read_predictions(folder, settings.part)
    rows = [row for label, values in found.items() for row in _rows(label, values)]
    caption = "Root mean square, mean absolute and mean signed error in the unit given."
    return Report(
        analysis="errors",
        title="Errors of a model",
        headline=[_line(row, settings.part) for row in rows if row["element"] == ALL],
        numbers={"input": str(folder), "errors": rows},
        units=dict.fromkeys(("rmse", "mae", "bias"), "unit") | {"r2": "", "n": ""},
        tables={"errors": Table(pd.DataFrame(rows), "Errors", caption)},
        figures={label: _figure(label, values, settings) for label, values in found.items()},
        scene=worst(folder, found, {label: unit_of(label) for label in found}),
        settings=settings,
        conventions=CONVENTIONS,
    )


def read_predictions(folder: Path, part: str) -> dict[str, pd.DataFrame]:
    """Label -> predicted, true, perhaps spread and element (symbol), of a training run, in the unit of `unit_of`."""
    found = {}
    for path in sorted(folder.glob(f"{part}_*.csv")):
        label = path.stem.removeprefix(f"{part}_")
        if label not in ARRAYS:
            continue
        values = pd.read_csv(path)
        if "element" in values:
            values["element"] = np.array(chemical_symbols)[values.element]
        if (quantity := told_in(label)) is not None:
            columns = [name for name in ("predicted", "true", "spread") if name in values]
            atoms = values["atoms"] if "atoms" in values else pd.Series(np.nan, values.index)  # rows of single atoms
            values[columns] = quantity.function(values[columns].to_numpy(), None, atoms.to_numpy()[:, None])
        found[label] = values
    if not found:
        raise InputError(f"{folder}: expected {part}_LABEL.csv of a finished training run, found none")
    return found


def unit_of(label: str) -> str:
    """Unit of the values that are shown."""
    quantity = told_in(label)
    return ARRAYS[label].unit if quantity is None else quantity.unit


def _rows(label: str, values: pd.DataFrame) -> list[dict[str, Any]]:
    rows = [(ALL, values)]
    if "element" in values:
        rows += [(str(symbol), of_element) for symbol, of_element in values.groupby("element")]
    told = {"label": label, "unit": unit_of(label)}
    return [{**told, "element": name, **errors(each.predicted.to_numpy(), each.true.to_numpy())} for name, each in rows]


def _line(row: Mapping[str, Any], part: str) -> str:
    r2 = "" if row["r2"] is None else f", R2 {row['r2']:.4f}"
    return f"{row['label']}: RMSE {row['rmse']:.3g} {row['unit']} on the {part} part ({row['n']} values{r2})."


def _figure(label: str, values: pd.DataFrame, settings: Settings) -> Figure:
    last = ", and error against spread" if "spread" in values else ""
    caption = f"{label}: predicted against true, errors by element{last}."
    return Figure(partial(_panels, label, values, settings), caption, ["errors"], columns=3, height=2.3)


def _panels(label: str, values: pd.DataFrame, options: Settings, _: list[str]) -> list[Panel]:
    unit, by_element = unit_of(label), {ALL: values}
    if "element" in values:
        by_element = {str(symbol): part for symbol, part in values.groupby("element")}
    palette = colours(list(by_element))
    points: list[Mark] = [
        Curve(part["true"], part.predicted, name, palette[name], dash="", symbol="o", size=2, opacity=0.5)
        for name, part in by_element.items()
    ]
    width = options.range * np.sqrt(np.mean((values.predicted - values["true"]) ** 2))
    edges = np.linspace(-width, width, options.bins + 1)
    errors: list[Mark] = []
    for name, part in by_element.items():
        counts, _edges = np.histogram(part.predicted - part["true"], edges)
        errors.append(Bins(edges, counts / (len(part) * np.diff(edges)), name, palette[name]))
    parity = [diagonal(values["true"], values.predicted), *points]
    title = label.replace("_", " ")
    made = [
        Panel(Axis(f"true / {unit}"), Axis(f"predicted / {unit}"), parity, title, None),
        Panel(Axis(f"error / {unit}"), Axis("density", ends=(0, None)), [Level(0, dash="-", colour=GREY), *errors]),
    ]
    return [*made, _reliability(values, options.reliability_bins, unit)] if "spread" in values else made


def _reliability(values: pd.DataFrame, bins: int, unit: str) -> Panel:
    points = reliability((values.predicted - values["true"]).to_numpy(), values.spread.to_numpy(), bins)
    marks = [Curve(points["spread"], points["rmse"], colour=PALETTE[0], symbol="o", size=3), diagonal(*points.values())]
    return Panel(Axis(f"spread / {unit}"), Axis(f"RMSE / {unit}"), marks)

"""What a training came to, on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from ionecho.analysis import analyze
from ionecho.checkpoints.card import PARTS
from ionecho.data.schema import ARRAYS
from ionecho.data.shared import SHARED
from ionecho.nmr.comparison import COMPARISONS
from ionecho.nmr.derived import DERIVED
from ionecho.report.report import PAGE

HELD_OUT = "The validation part chose the epoch and calibrated the spread; the test part chose nothing."
COLUMNS = {"RMSE": "rmse", "MAE": "mae", "R2": "r2", "baseline": "baseline"}


def show(metrics: Mapping[str, Any], folder: Path) -> None:
    """Print the errors that `metrics` holds beside those of a constant, what they mean, and where everything lies."""
    table = Table("part", box=None, padding=(0, 2, 0, 0))
    table.add_column("quantity", no_wrap=True)
    for column in ("unit", *COLUMNS):
        table.add_column(column)
    parts = {part: metrics.get(part, {}) for part in PARTS}
    parts |= {f"cv by {split}": cv["errors"] for split, cv in metrics.get("cv", {}).items()}
    parts |= {f"{row['frames']} frames": {row["quantity"]: row} for row in metrics.get("learning_curve", [])}
    for part, quantities in parts.items():
        for name, values in quantities.items():
            if "rmse" in values:
                cells = (_cell(values.get(key)) for key in COLUMNS.values())
                table.add_row(part, name, _unit(name), *cells)
    console = Console(soft_wrap=True, highlight=False)
    console.print(table if table.rows else "nothing was held out, so that no error is known")
    for line in _lines(metrics, folder):
        console.print(line, markup=False)


def leading(quantities: Mapping[str, Any]) -> str:
    """The quantity that stands for a part: the last that a constant predicts too, of atoms where there is one."""
    names = [name for name, values in quantities.items() if "baseline" in values]
    return ([name for name in names if _per(name) == "atom"] or names)[-1]


def _lines(metrics: Mapping[str, Any], folder: Path) -> list[str]:
    """The table in words, and places."""
    lines = []
    data, tested = metrics["data"], metrics.get("test", {})
    if tested:
        name = leading(tested)
        error, unit, sizes = tested[name], _unit(name), data["configurations"]
        lines = [
            f"{name}: root mean square error of {error['rmse']:.3g} {unit} on {sizes['test']} configurations that were "
            f"left out (fold {data['fold']} of split {data['split']});",
            f"of a model that always says the mean of the training part (baseline): {error['baseline']:.3g} {unit}.",
            *([HELD_OUT] if sizes["validation"] else []),
            f"figures: {_figures(folder)}",
        ]
    if "learning_curve" in metrics:
        lines += [f"curve: {folder / 'learning_curve.csv'}"]
    if (folder / "checkpoint").exists():
        lines += [f"checkpoint: {folder / 'checkpoint'}"]
    return [*lines, f"all of the run: {folder}"]


def _figures(folder: Path) -> Path:
    """Draw the errors of the test part as the analysis of that name does; the page."""
    settings = yaml.safe_load((SHARED / "conf" / "analysis" / "errors.yaml").read_text())["analysis"]["settings"]
    analyze("errors", str(folder), settings).write(folder / "errors")
    return folder / "errors" / PAGE


def _unit(name: str) -> str:
    return next(known[name].unit for known in (DERIVED, COMPARISONS, ARRAYS) if name in known)


def _per(name: str) -> str:
    """What has a value each; comparisons are of atoms."""
    label = DERIVED[name].label if name in DERIVED else name
    return ARRAYS[label].per if label in ARRAYS else "atom"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value['mean']:.4g} ± {value['std']:.2g}" if isinstance(value, Mapping) else f"{value:.4g}"

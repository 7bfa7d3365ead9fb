"""What the entry points share: exit code 2 for bad input, and a table of what was measured."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from ionecho.errors import InputError

NOT_PART_OF_A_RUN = ("resume=", "logger", "hydra.")


def run_id(overrides: list[str]) -> str:
    """The folder of a run is named by its overrides, so that the same line finds what an earlier one left."""
    relevant = sorted(o for o in overrides if not o.startswith(NOT_PART_OF_A_RUN))
    return hashlib.sha256("\n".join(relevant).encode()).hexdigest()[:8] if relevant else "default"


OmegaConf.register_new_resolver("run_id", run_id, replace=True)


def entry_point(main: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Input that cannot be served ends with one line and exit code 2."""

    @functools.wraps(main)
    def guarded(config: DictConfig) -> None:
        try:
            main(config)
        except InputError as error:
            print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
            sys.exit(2)

    return guarded


def show(metrics: Mapping[str, Any], folder: Path) -> None:
    """Print the errors that `metrics` holds, and where everything lies."""
    table = Table("part", "quantity", "rmse", "mae", "R2")
    parts = {part: metrics.get(part, {}) for part in ("validation", "test")}
    parts |= {f"cv by {split}": run["errors"] for split, run in metrics.get("cv", {}).items()}
    for part, quantities in parts.items():
        for name, values in quantities.items():
            if "rmse" in values:
                table.add_row(part, name, *(_cell(values[key]) for key in ("rmse", "mae", "r2")))
    console = Console()
    console.print(table)
    console.print(f"results in {folder}")


def _cell(value: Any) -> str:
    return f"{value['mean']:.4g} ± {value['std']:.2g}" if isinstance(value, Mapping) else f"{value:.4g}"

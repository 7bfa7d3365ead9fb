"""`ionecho explore`: active learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from rich.console import Console

from ionecho.entry import command


@command("explore")
def main(config: dict[str, Any]) -> None:
    """Explore in the run's folder, with a report after every round."""
    from ionecho.exploration.active_learning import explore
    from ionecho.exploration.report import report as report_of
    from ionecho.exploration.report import table
    from ionecho.exploration.settings import exploration_settings

    folder = Path(HydraConfig.get().runtime.output_dir)
    console, reports = Console(), []
    for report in explore(exploration_settings(config), folder):
        reports.append(report)
        report_of(reports).write(folder / "report")
        console.print(table(reports))
    console.print(f"{'converged' if reports[-1]['converged'] else 'not converged'}; report in {folder / 'report'}")

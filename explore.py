"""Active learning: python explore.py dataset=p2_gpaw model=painn engine=p2_gpaw."""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from ionecho.entry import entry_point, run
from ionecho.exploration.active_learning import explore
from ionecho.exploration.report import report as report_of
from ionecho.exploration.report import table
from ionecho.report import write


@hydra.main(config_path="conf", config_name="explore", version_base="1.3")
@entry_point
def main(config: DictConfig) -> None:
    """Explore in the run's folder, with a report after every round."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    console, reports = Console(), []
    for report in explore(config, folder):
        reports.append(report)
        write(report_of(reports), folder / "report")
        console.print(table(reports))
    console.print(f"{'converged' if reports[-1]['converged'] else 'not converged'}; report in {folder / 'report'}")


if __name__ == "__main__":
    run(main)

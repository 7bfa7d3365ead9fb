"""Turn trajectories into observables: python analyze.py analysis=dynamic_shift input=pred.zarr output=report/."""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ionecho.analysis import analyze
from ionecho.config import plain
from ionecho.entry import entry_point, run
from ionecho.report import write


@hydra.main(config_path="conf", config_name="analyze", version_base="1.3")
@entry_point
def main(config: DictConfig) -> None:
    """Run one analysis; its settings, physics included, are printed and stored with the result."""
    console, settings = Console(), config.analysis.settings
    console.print(OmegaConf.to_yaml(settings, resolve=True), markup=False)
    inputs = list(config.input) if OmegaConf.is_list(config.input) else str(config.input)
    report = analyze(config.analysis.name, inputs, plain(settings))
    summary = write(report, Path(config.output))
    if report.physics:
        console.print(OmegaConf.to_yaml({name: summary[name] for name in report.physics}), markup=False)
    for line in (*summary["headline"], *summary["notes"]):
        console.print(line, markup=False)
    console.print(f"report in {config.output}")


if __name__ == "__main__":
    run(main)

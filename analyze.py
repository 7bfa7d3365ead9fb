"""Turn trajectories into observables: python analyze.py analysis=dynamic_shift input=pred.zarr output=report/."""

from __future__ import annotations

from pathlib import Path

import hydra
import yaml
from omegaconf import DictConfig
from rich.console import Console

from ionecho.analysis import analyze
from ionecho.door.config import content
from ionecho.entry import entry_point, run


@hydra.main(config_path="conf", config_name="analyze", version_base="1.3")
@entry_point
def main(config: DictConfig) -> None:
    """Run one analysis; its settings, physics included, are printed and stored with the result."""
    console, asked = Console(), content(config)
    console.print(yaml.safe_dump(asked["analysis"]["settings"], sort_keys=False, allow_unicode=True), markup=False)
    report = analyze(asked["analysis"]["name"], asked["input"], asked["analysis"]["settings"])
    report.write(Path(asked["output"]))
    applied = {f"{name} applied": report.summary[name] for name in report.physics}
    if applied:
        console.print(yaml.safe_dump(applied, sort_keys=False), markup=False)
    for line in (*report.summary["headline"], *report.notes):
        console.print(line, markup=False)
    console.print(f"report in {asked['output']}")


if __name__ == "__main__":
    run(main)

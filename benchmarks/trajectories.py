"""Trajectories for the benchmarks: frames of the real set where it is built, else a rattled crystal of that size."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import zarr

from ionecho.data.registry import find_dataset
from ionecho.data.store import Dataset
from ionecho.errors import InputError


def frames_of_p2(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (T, 88, 3), cell (3, 3) and numbers (88,): good frames of p2_nmmo with a little noise on each copy."""
    try:
        dataset = Dataset(find_dataset("p2_nmmo"))
    except InputError as error:
        raise InputError(f"the benchmarks run on p2_nmmo: {error}") from error
    positions = dataset.rows("positions", 0, len(dataset)).reshape(len(dataset), -1, 3)[dataset.good]
    rng = np.random.default_rng(seed)
    chosen = positions[np.arange(count) % len(positions)]
    noise = rng.normal(scale=0.02, size=chosen.shape).astype(np.float32)
    return chosen + noise, dataset.rows("cell", 0, 1)[0], dataset.rows("numbers", 0, 1).astype(np.int64)


def write_trajectory(path: Path, count: int, cells: int = 1) -> None:
    """A zarr trajectory (Format 2) of so many frames of copies of the cell, side by side along its first axis."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    _, cell, numbers = frames_of_p2(1)
    group.create_array("cell", data=(cell * [[cells], [1], [1]])[None])
    group.create_array("numbers", data=np.tile(numbers, cells))
    atoms = cells * len(numbers)
    positions = group.create_array("positions", shape=(count, atoms, 3), chunks=(512, atoms, 3), dtype="f4")
    for start in range(0, count, 4096):
        stop = min(start + 4096, count)
        frames = frames_of_p2(stop - start, seed=start)[0]
        positions[start:stop] = np.concatenate([frames + copy * cell[0] for copy in range(cells)], axis=1)


def write_displaced(path: Path, atoms: ase.Atoms, count: int) -> None:
    """The same of so many copies of a structure whose atoms are displaced by 0.05 Å (standard deviation)."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("cell", data=np.array(atoms.cell)[None])
    group.create_array("numbers", data=atoms.numbers.astype(np.int64))
    positions = group.create_array("positions", shape=(count, len(atoms), 3), chunks=(64, len(atoms), 3), dtype="f4")
    for start in range(0, count, 1024):
        shape = (min(1024, count - start), len(atoms), 3)
        positions[start : start + 1024] = atoms.positions + np.random.default_rng(start).normal(scale=0.05, size=shape)

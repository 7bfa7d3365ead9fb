"""Configurations to be labelled: from structure files, trajectories and datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import ase
import numpy as np

from ionecho.data.importers.ase_files import read
from ionecho.data.registry import REPOSITORY, find_input
from ionecho.data.schema import Configuration
from ionecho.data.store import Dataset, open_zarr
from ionecho.data.trajectory import ZarrTrajectory
from ionecho.errors import InputError

BLOCK = 256


def read_structures(inputs: Sequence[str], every: int) -> Iterator[Configuration]:
    """Configurations of files that ASE reads, zarr trajectories and datasets (by name or path), without labels.

    Of each trajectory or group every `every`-th frame is taken. The group is the dataset's own, or the file's name.
    """
    if every < 1:
        raise InputError(f"every={every}: expected 1 or more")
    seen: Counter[tuple[Path, str]] = Counter()
    for name in inputs:
        path = find_input(name)
        path = path if path.exists() else REPOSITORY / path
        if not path.exists():
            raise InputError(f"input: no file or dataset {name} in {Path.cwd()}; name another, or change folder")
        for configuration in _configurations(path):
            if seen[path, configuration.group] % every == 0:
                yield configuration
            seen[path, configuration.group] += 1


def displace(atoms: ase.Atoms, rng: np.random.Generator, strain: float, displacement: Sequence[float]) -> None:
    """Strain a cell along each axis by up to `strain`; displace its atoms by a standard deviation in a range, Å."""
    atoms.set_cell(atoms.cell * (1 + rng.uniform(-strain, strain, 3))[:, None], scale_atoms=True)
    lowest, highest = displacement
    atoms.positions += rng.normal(scale=rng.uniform(lowest, highest), size=(len(atoms), 3))


def displaced_copies(
    configurations: Iterable[Configuration], copies: int, strain: float, displacement: Sequence[float], seed: int
) -> Iterator[Configuration]:
    """So many displaced copies of every configuration, each in a group of its own; by `displace`."""
    for number, configuration in enumerate(configurations):
        group = f"{configuration.group}_{configuration.frame}"
        for copy in range(copies):
            atoms = configuration.atoms.copy()
            displace(atoms, np.random.default_rng((seed, number, copy)), strain, displacement)
            yield replace(
                configuration,
                positions=atoms.positions,
                cell=np.array(atoms.cell),
                group=group,
                frame=copy,
                source=f"{configuration.source}, displaced {copy}",
            )


def _configurations(path: Path) -> Iterator[Configuration]:
    if path.suffix not in (".zarr", ".zip"):
        for configuration in read(path):
            configuration.labels, configuration.group = {}, path.name.split(".")[0]
            yield configuration
    elif path.suffix == ".zip" or "atom_offsets" in open_zarr(path, "r"):
        yield from _of_dataset(Dataset(path))
    else:
        yield from _of_trajectory(path)


def _of_dataset(dataset: Dataset) -> Iterator[Configuration]:
    for start in range(0, len(dataset), BLOCK):
        yield from dataset.configurations(start, min(start + BLOCK, len(dataset)))


def _of_trajectory(path: Path) -> Iterator[Configuration]:
    trajectory = ZarrTrajectory(path)
    frame = 0
    for block in trajectory.blocks(0, BLOCK):
        for positions, cell in zip(block.positions, block.cell, strict=True):
            source = f"{path.name}#{frame}"
            yield Configuration(trajectory.numbers, positions, cell, trajectory.pbc, path.stem, frame, source)
            frame += 1

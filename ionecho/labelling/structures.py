"""Configurations to be labelled: from structure files, trajectories and datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

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
            raise InputError(f"input: no file or dataset {name}")
        for configuration in _configurations(path):
            if seen[path, configuration.group] % every == 0:
                yield configuration
            seen[path, configuration.group] += 1


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

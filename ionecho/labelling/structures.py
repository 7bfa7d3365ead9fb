"""Configurations to be labelled: from structure files, trajectories and datasets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ionecho.data.importers.ase_files import read
from ionecho.data.registry import find_input
from ionecho.data.schema import Configuration
from ionecho.data.shared import SHARED
from ionecho.data.store import Dataset
from ionecho.data.trajectory import is_dataset, open_trajectory
from ionecho.errors import InputError
from ionecho.structures.displace import Rattle, displace

BLOCK = 256
ENDING = re.compile(r"(\.[A-Za-z]\w*)?(\.(gz|bz2|xz))?$")  # Na0.67MnO2 has none


def read_structures(inputs: Sequence[str], every: int) -> Iterator[Configuration]:
    """Configurations of files that ASE reads, zarr trajectories and datasets (by name or path), without labels.

    Of each trajectory or group every `every`-th frame is taken. The group is the dataset's own, or the file's name
    without its ending; files of one name go by their folders too.
    """
    seen: Counter[tuple[Path, str]] = Counter()
    paths = list(dict.fromkeys(map(_found, inputs)))
    for path, group in zip(paths, group_names(paths), strict=True):
        for configuration in _configurations(path, group):
            if seen[path, configuration.group] % every == 0:
                yield configuration
            seen[path, configuration.group] += 1


def _found(name: str) -> Path:
    """The file of an input, of IonEcho where a card of its own names one."""
    path = find_input(name)
    path = path if path.exists() else SHARED / path
    if not path.exists():
        raise InputError(f"input: no file or dataset {name} in {Path.cwd()}; name another, or change folder")
    return path


def group_names(paths: Sequence[Path]) -> list[str]:
    """Names of files that tell them apart: without ending, with the folder, or whole."""
    found = [ENDING.sub("", path.name) for path in paths]
    with_folder = [f"{path.absolute().parent.name}/{name}" for path, name in zip(paths, found, strict=True)]
    for longer in (with_folder, [path.absolute().as_posix() for path in paths]):
        often = Counter(found)
        found = [name if often[name] == 1 else more for name, more in zip(found, longer, strict=True)]
    return found


def displaced_copies(configurations: Iterable[Configuration], rattle: Rattle) -> Iterator[Configuration]:
    """Displaced copies of every configuration, each one's in a group of their own; by `displace`."""
    for number, configuration in enumerate(configurations):
        group = f"{configuration.group}_{configuration.frame}"
        for copy in range(rattle.copies):
            atoms = configuration.atoms.copy()
            displace(atoms, np.random.default_rng((rattle.seed, number, copy)), rattle.strain, rattle.displacement)
            yield replace(
                configuration,
                positions=atoms.positions,
                cell=np.array(atoms.cell),
                group=group,
                frame=copy,
                source=f"{configuration.source}, displaced {copy}",
            )


def _configurations(path: Path, group: str) -> Iterator[Configuration]:
    if path.suffix not in (".zarr", ".zip"):
        for configuration in read(path):
            configuration.labels, configuration.group = {}, group
            yield configuration
    elif is_dataset(path):
        yield from _of_dataset(Dataset(path))
    else:
        yield from open_trajectory(path).configurations(group, path.name)


def _of_dataset(dataset: Dataset) -> Iterator[Configuration]:
    for start in range(0, len(dataset), BLOCK):
        yield from dataset.configurations(start, min(start + BLOCK, len(dataset)))

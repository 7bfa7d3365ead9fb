"""The configurations of the project's own datasets: `python -m ionecho.dynamics.recipes NAME` writes them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import ase
import numpy as np

from ionecho.data.schema import Configuration
from ionecho.data.store import DatasetWriter, pack
from ionecho.dynamics.prototypes import P2_SHIFT, PROTOTYPES


def rattled(prototype: Callable[[int], ase.Atoms], group: str, count: int) -> Iterator[Configuration]:
    """Cells with other Na arrangements, strained by up to 2 % along the axes, atoms displaced by 0.04 to 0.12 Å."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        atoms = prototype(seed)
        atoms.set_cell(atoms.cell * (1 + rng.uniform(-0.02, 0.02, 3))[:, None], scale_atoms=True)
        atoms.positions += rng.normal(scale=rng.uniform(0.04, 0.12), size=(len(atoms), 3))
        yield configuration(atoms, group, seed)


def configuration(atoms: ase.Atoms, group: str, frame: int) -> Configuration:
    """An unlabelled configuration of a recipe."""
    source = f"recipe {group}#{frame}"
    return Configuration(atoms.numbers, atoms.positions, np.array(atoms.cell), atoms.pbc, group, frame, source)


def p2_gpaw() -> Iterator[Configuration]:
    """P2-type Na2/3(Mg1/3Mn2/3)O2, both stackings."""
    for stacking in P2_SHIFT:
        yield from rattled(PROTOTYPES[f"p2_{stacking}"], f"rattled_{stacking}", 24)


RECIPES: Mapping[str, Callable[[], Iterable[Configuration]]] = {"p2_gpaw": p2_gpaw}


def write(name: str, path: Path) -> None:
    """Write the unlabelled configurations of a recipe, one file, at once or not at all."""
    working = path.with_suffix("")
    DatasetWriter(working, []).append(list(RECIPES[name]()))
    pack(working, path)

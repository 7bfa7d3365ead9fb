"""Displaced and strained copies of a structure."""

from __future__ import annotations

from collections.abc import Sequence

import ase
import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

from ionecho.errors import InputError


@dataclass(frozen=True)
class Rattle:
    """Displaced copies of a structure."""

    copies: NonNegativeInt
    strain: NonNegativeFloat  # largest, along each axis
    displacement: tuple[NonNegativeFloat, NonNegativeFloat]  # Å, range of the standard deviation of an atom's
    seed: NonNegativeInt

    def __post_init__(self) -> None:
        if self.displacement[0] > self.displacement[1]:
            raise InputError(f"rattle.displacement: expected the smaller first, found {list(self.displacement)}")


def displace(atoms: ase.Atoms, rng: np.random.Generator, strain: float, displacement: Sequence[float]) -> None:
    """Strain a cell along each axis by up to `strain`; displace its atoms by a standard deviation in a range, Å."""
    atoms.set_cell(atoms.cell * (1 + rng.uniform(-strain, strain, 3))[:, None], scale_atoms=True)
    lowest, highest = displacement
    atoms.positions += rng.normal(scale=rng.uniform(lowest, highest), size=(len(atoms), 3))

"""How a run of molecular dynamics goes, and when it stops early."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import ase
import numpy as np
from ase.data import covalent_radii
from pydantic import Field
from pydantic.dataclasses import dataclass
from vesin import NeighborList

from ionecho.dynamics.calculator import uncertain
from ionecho.dynamics.integrators import Broken, Positive
from ionecho.errors import InputError


@dataclass(frozen=True)
class Run:
    """How long, how often a frame is kept, and when to stop early."""

    steps: int
    every: Annotated[int, Field(ge=1)]  # steps between frames
    block: Annotated[int, Field(ge=1)]  # frames written at once, after which a killed run goes on
    spread_limit: Positive | None  # eV/Å, largest calibrated force spread of the ensemble's members on an atom
    contact_limit: Positive | None  # shortest distance in sums of covalent radii
    heat_limit: Annotated[float, Field(gt=1)] | None  # highest temperature in that of the start, once it has settled
    volume_limit: Positive | None  # largest change of the volume, in that of the start

    @property
    def frames(self) -> int:
        """Frames of the whole run."""
        return self.steps // self.every

    @classmethod
    def of(cls, settings: Mapping[str, Any], timestep: float, spread_limit: float | None) -> Run:
        """From the keys that the configs of `simulate.py` and of the runs of `explore.py` share."""
        steps = round(femtoseconds(settings["time"]) / timestep)
        shared = ("every", "block", "contact_limit", "heat_limit", "volume_limit")
        return cls(steps=steps, spread_limit=spread_limit, **{name: settings[name] for name in shared})

    def __post_init__(self) -> None:
        if self.steps <= 0:
            raise InputError("time: expected more than zero")
        if self.steps % self.every:
            raise InputError(f"time: expected a multiple of every ({self.every} steps), found {self.steps} steps")

    def check(self, atoms: ase.Atoms, results: Mapping[str, Any], volume: float) -> None:
        """Stop where the potential is lost or the structure broken; `volume` (Å³) is that of the start.

        Raises
        ------
        Broken
            With the reason.
        """
        if not np.isfinite(results["forces"]).all() or not np.isfinite(atoms.positions).all():
            raise Broken("a force or a position is not a number")
        if self.spread_limit is not None and (why := uncertain(results, atoms, self.spread_limit)):
            raise Broken(why)
        change = atoms.cell.volume / volume - 1 if volume else 0.0
        if self.volume_limit is not None and abs(change) > self.volume_limit:
            raise Broken(f"the volume has changed by {change:+.0%}, the limit is {self.volume_limit:.0%}")
        if self.contact_limit is not None:
            _check_contacts(atoms, self.contact_limit)

    def check_heat(self, found: float, freedoms: int, start: float) -> None:
        """Stop where the structure is hot: one that falls into a hole of its potential is. Temperatures in K.

        Small cells may be hotter than the limit by chance: six standard deviations of the temperature are allowed.
        """
        if self.heat_limit is not None and found > start * max(self.heat_limit, 1 + 6 * np.sqrt(2 / freedoms)):
            cause = "the potential does not know this structure, or it was hot at the start"
            raise Broken(f"{found:.0f} K in a run of {start:.0f} K: {cause}")


def _check_contacts(atoms: ase.Atoms, limit: float) -> None:
    radii = limit * covalent_radii[atoms.numbers]
    search = NeighborList(cutoff=2 * float(radii.max()), full_list=False)
    i, j, distance = search.compute(atoms.positions, atoms.cell.complete().array, atoms.pbc, "ijd")
    met = np.flatnonzero(distance < radii[i] + radii[j])
    if met.size:
        k = met[distance[met].argmin()]
        pair = f"{atoms.symbols[i[k]]} {i[k]} and {atoms.symbols[j[k]]} {j[k]}"
        raise Broken(f"{pair} are {distance[k]:.2f} Å apart, less than {limit} sums of covalent radii")


def femtoseconds(text: str | float) -> float:
    """A time such as `1ns`, `10ps` or `500fs`; a bare number is in fs."""
    value = str(text).strip()
    for unit, factor in (("fs", 1.0), ("ps", 1e3), ("ns", 1e6), ("us", 1e9)):
        if value.endswith(unit):
            value, scale = value.removesuffix(unit), factor
            break
    else:
        scale = 1.0
    try:
        found = float(value) * scale
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"time: expected a number with fs, ps, ns or us, found {text!r}")
    return found

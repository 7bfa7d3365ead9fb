"""Which trajectories are runs of one system: only those may be averaged."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ionecho.analysis.lattice import Framework
from ionecho.errors import InputError

Floats = NDArray[np.float64]

SAME_TEMPERATURE = 0.02  # relative; a run without a thermostat has about the temperature it began with
SAME_CELL = 0.02  # relative difference of lattice vectors


def runs_of_systems(
    frameworks: Mapping[str, Framework],
    asked: Mapping[str, list[str]] | None,
    tolerance: float,
    temperatures: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, list[str]]:
    """Name of each system -> its runs.

    `asked` says so where given. Otherwise runs are of one system where the framework atoms of one stand on atoms of the
    same element of the other, after a shift of all, within `tolerance` (Å), unless they are known to be at different
    `temperatures` (K); the system has the name of its first run.

    Raises
    ------
    InputError
        If `asked` does not name every run once.
    """
    if asked is not None:
        named = [run for runs in asked.values() for run in runs]
        if sorted(named) != sorted(frameworks):
            raise InputError(f"systems: expected each of {', '.join(frameworks)} once, found {', '.join(named)}")
        return {name: list(runs) for name, runs in asked.items()}
    found: dict[str, list[str]] = {}
    for name, framework in frameworks.items():
        same = (
            first
            for first in found
            if _as_warm(temperatures.get(first), temperatures.get(name))
            and same_structure(frameworks[first], framework, tolerance)
        )
        found.setdefault(next(same, name), []).append(name)
    return found


def _as_warm(first: float | None, second: float | None) -> bool:
    return first is None or second is None or bool(np.isclose(first, second, rtol=SAME_TEMPERATURE))


def same_structure(first: Framework, second: Framework, tolerance: float) -> bool:
    """Whether the atoms of both coincide after a shift, within `tolerance` (Å); rotated copies are others."""
    if sorted(first.numbers) != sorted(second.numbers):
        return False
    if np.abs(first.cell - second.cell).max() > SAME_CELL * np.abs(first.cell).max():
        return False
    here, there = (each.positions @ np.linalg.inv(each.cell) for each in (first, second))
    kinds, counts = np.unique(first.numbers, return_counts=True)
    rare = kinds[counts.argmin()]
    anchor = there[second.numbers == rare][0]
    return any(_stand(here - place + anchor, first, there, second, tolerance) for place in here[first.numbers == rare])


def _stand(moved: Floats, first: Framework, there: Floats, second: Framework, tolerance: float) -> bool:
    """The shift of one pair of atoms is refined to the mean of all before distances are judged."""
    offset = there[None] - moved[:, None]
    offset -= np.rint(offset)
    distance = np.where(
        first.numbers[:, None] == second.numbers[None], np.linalg.norm(offset @ second.cell, axis=-1), np.inf
    )
    nearest = distance.argmin(axis=1)
    chosen = offset[np.arange(len(moved)), nearest]
    left = np.linalg.norm((chosen - chosen.mean(axis=0)) @ second.cell, axis=-1)
    return bool(len(set(nearest)) == len(nearest) and left.max() <= tolerance)

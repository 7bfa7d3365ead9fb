"""Points of grids drawn for a batch, so that a model learns densities without whole grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ionecho.errors import InputError


class Grids(Protocol):
    """Grids of some configurations."""

    def row(self, name: str, index: int) -> NDArray: ...

    def grid_shape(self, index: int) -> NDArray[np.integer]: ...


@dataclass(frozen=True)
class PointRecipe:
    """Which points of the grids of a configuration a batch holds.

    `count` points are drawn anew whenever a configuration is asked for, with replacement; the probability of a point is
    the share `importance[label]` times the part it has of the sum of |label|, and else the same for all. None takes
    every point once, in order. `tested` are drawn alike of all points to validate and test on.

    Raises
    ------
    InputError
        If counts are not positive, or shares do not lie between 0 and 1 with a sum of at most 1.
    """

    count: int | None
    tested: int | None = None
    importance: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if any(count is not None and count < 1 for count in (self.count, self.tested)):
            raise InputError(f"points: expected a positive number, found {self.count} and {self.tested}")
        if not (all(share >= 0 for share in self.importance.values()) and sum(self.importance.values()) <= 1):
            raise InputError(f"points.importance: expected shares with a sum of at most 1, found {self.importance}")

    @property
    def for_tests(self) -> PointRecipe:
        """Of the points to validate and test on."""
        return PointRecipe(self.tested)

    def draw(self, grids: Grids, index: int, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray]:
        """Points (Q,) of configuration `index`, counted with the last index fastest, and the share (Q,) of the cell
        that each stands for: sums over the points weighted with it are means over the cell, on average."""
        size = int(grids.grid_shape(index).prod())
        if self.count is None or not size:
            return np.arange(size), np.full(size, 1 / max(size, 1))
        if not self.importance:
            return random.integers(size, size=self.count), np.full(self.count, 1 / self.count)
        chance = np.full(size, (1 - sum(self.importance.values())) / size)
        for label, share in self.importance.items():
            values = np.abs(np.nan_to_num(grids.row(label, index)))
            chance += share * values / values.sum() if values.any() else share / size
        cumulative = np.cumsum(chance)
        points = np.searchsorted(cumulative, random.random(self.count) * cumulative[-1], side="right")
        points = np.minimum(points, size - 1)
        return points, 1 / (size * self.count * chance[points])


def positions(points: NDArray[np.int64], shape: NDArray[np.integer], cell: NDArray) -> NDArray[np.floating]:
    """Places (Q, 3) in Å of points of a grid, counted with the last index fastest, [i, j, k] at i/n1, j/n2, k/n3."""
    return np.stack(np.unravel_index(points, tuple(shape)), -1) / shape @ cell

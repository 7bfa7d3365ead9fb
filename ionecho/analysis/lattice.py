"""The layer plane of a periodic crystal: fractional coordinates, distances and the framework of one reference frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray

from ionecho.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

AXES = "abc"


@dataclass(frozen=True)
class Framework:
    """The immobile atoms of a reference frame: `positions` (N, 3) Å, `numbers` (N,), `cell` (3, 3) Å."""

    positions: Floats
    numbers: Integers
    cell: Floats

    def of(self, elements: list[str]) -> Framework:
        """The atoms of the named elements only."""
        kept = np.isin(self.numbers, [atomic_numbers[element] for element in elements])
        if not kept.any():
            raise InputError(f"the reference frame holds none of {', '.join(elements)}; correct sites.elements")
        return Framework(self.positions[kept], self.numbers[kept], self.cell)


def layer_coordinates(positions: ArrayLike, cell: ArrayLike, axis: str) -> tuple[Floats, Floats]:
    """In-plane (..., 2) and stacking (...,) fractional coordinates, wrapped to [0, 1).

    Parameters
    ----------
    positions
        (..., 3) Å, wrapped or not.
    cell
        (3, 3) Å, or one cell a frame broadcast against `positions` without its last axis.
    axis
        Stacking axis: the lattice vector ``a``, ``b`` or ``c`` that leads from layer to layer. The projection onto
        the plane is along it.
    """
    inverse = np.linalg.inv(np.asarray(cell, float))
    fractional = np.einsum("...i,...ij->...j", np.asarray(positions, float), inverse)
    fractional -= np.floor(fractional)
    fractional[fractional >= 1.0] = 0.0  # a tiny negative coordinate rounds up to 1
    stacking = AXES.index(axis)
    return np.delete(fractional, stacking, axis=-1), fractional[..., stacking]


def plane_vectors(cell: ArrayLike, axis: str) -> Floats:
    """The two in-plane lattice vectors as plane Cartesian coordinates (..., 2, 2) Å, the first along x."""
    first, second = np.moveaxis(np.delete(np.asarray(cell, float), AXES.index(axis), axis=-2), -2, 0)
    length = np.linalg.norm(first, axis=-1)
    along = np.einsum("...i,...i->...", first, second) / length
    across = np.sqrt(np.einsum("...i,...i->...", second, second) - along**2)
    rows = [np.stack([length, np.zeros_like(length)], -1), np.stack([along, across], -1)]
    return np.stack(rows, axis=-2)


def smallest_separation(points: Floats, plane: Floats) -> float:
    """Smallest periodic distance (Å) between two of the in-plane fractional points (S, 2), images included."""
    images = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 1, 1, 2)
    difference = points[:, None] - points[None]
    distances = np.linalg.norm((difference - np.rint(difference) + images) @ plane, axis=-1)
    distances[distances < 1e-9] = np.inf
    coincident = np.linalg.norm((difference - np.rint(difference)) @ plane, axis=-1) < 1e-9
    return 0.0 if coincident.sum() > len(points) else float(distances.min())

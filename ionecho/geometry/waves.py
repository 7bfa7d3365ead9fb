"""Densities on whole grids, or parts of them, from their Fourier coefficients: slab by slab, in flat memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SLAB = 2**20  # points of a slab


@dataclass(frozen=True)
class Waves:
    """A real periodic function as Σ_G c_G exp(iG·r), G = Σ_k h_k b_k with |h_k| ≤ the half widths.

    Of each ±G pair the one with h3 ≥ 0 is held.
    """

    coefficients: Tensor  # (outputs, 2 H1 + 1, 2 H2 + 1, H3 + 1) complex

    @property
    def half_widths(self) -> tuple[int, int, int]:
        """Highest orders along the three vectors."""
        _, n1, n2, n3 = self.coefficients.shape
        return n1 // 2, n2 // 2, n3 - 1

    @property
    def means(self) -> Tensor:
        """Means over the cell, (outputs,): integrals over it are these times its volume."""
        first, second, _ = self.half_widths
        return self.coefficients[:, first, second, 0].real

    def slabs(
        self, shape: tuple[int, int, int], ranges: Sequence[range] | None = None
    ) -> Iterator[tuple[range, Tensor]]:
        """Values (outputs, n, n2, n3) at the grid points of consecutive planes, one block of planes after another.

        Parameters
        ----------
        shape
            Points along each lattice vector, point [i, j, k] at the fractional coordinates (i/n1, j/n2, k/n3).
        ranges
            Which planes along each vector; None takes all.

        Yields
        ------
        The planes along the first vector, and their values.
        """
        planes, rows, columns = ranges or [range(count) for count in shape]
        step = max(1, SLAB // max(1, len(rows) * len(columns)))
        second, third = (
            _phases(part, size, half, self.coefficients)
            for part, size, half in zip((rows, columns), shape[1:], self.half_widths[1:], strict=True)
        )
        third = third[self.half_widths[2] :] * _weights(self.half_widths[2], third)
        for first in range(0, len(planes), step):
            own = planes[first : first + step]
            phases = _phases(own, shape[0], self.half_widths[0], self.coefficients)
            inner = torch.einsum("oabc, ai -> oibc", self.coefficients, phases)
            inner = inner.mT @ second
            yield own, (inner.mT @ third).real


def _phases(points: range, size: int, half: int, like: Tensor) -> Tensor:
    """exp(2πi h x / size) of the orders -half..half at the points x, (2 half + 1, points)."""
    orders = torch.arange(-half, half + 1, device=like.device)
    places = torch.tensor(list(points), device=like.device)
    angles = (2 * math.pi / size) * (orders[:, None] * places % size).to(like.real)
    return torch.polar(torch.ones_like(angles), angles)


def _weights(half: int, like: Tensor) -> Tensor:
    """Two for each order above zero, as the other of ±G is not held."""
    weights = torch.full((half + 1, 1), 2.0, device=like.device)
    weights[0] = 1.0
    return weights.to(like.dtype)


def orders(cell: Tensor, highest: float) -> tuple[Tensor, Tensor, tuple[int, int, int]]:
    """Reciprocal lattice vectors up to `highest` 1/Å with h3 ≥ 0.

    Returns
    -------
    Orders h (G, 3), vectors (G, 3) in 1/Å, and the half widths of the box that holds them.
    """
    half = [math.floor(highest * float(length) / (2 * math.pi)) for length in cell.norm(dim=1)]
    steps = [torch.arange(-half[0], half[0] + 1), torch.arange(-half[1], half[1] + 1), torch.arange(half[2] + 1)]
    held = torch.cartesian_prod(*(step.to(cell.device) for step in steps))
    vectors = held.to(cell) @ (2 * math.pi * torch.linalg.inv(cell).T)
    inside = vectors.square().sum(1) <= highest**2
    return held[inside], vectors[inside], (half[0], half[1], half[2])

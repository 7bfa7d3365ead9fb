"""A batch of periodic configurations with their neighbour pairs: what every model is given."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Graph:
    """C configurations holding A atoms, K of them centres whose property is asked for, and P neighbour pairs.

    Pairs run over the neighbours of every atom (``pair_of="atoms"`` in the builder) or of the centres only.
    They are sorted by their first atom. Differentiable in `positions` and `cell`.
    """

    positions: Tensor  # (A, 3) Å
    numbers: Tensor  # (A,) atomic numbers, int64
    cell: Tensor  # (C, 3, 3) Å, rows are the lattice vectors
    configuration: Tensor  # (A,) configuration of each atom, int64
    centres: Tensor  # (K,) atom indices, ascending, int64
    pairs: Tensor  # (2, P) atom i and its neighbour j, int64
    shifts: Tensor  # (P, 3) lattice translation of j, integers stored in the dtype of the positions

    def vectors(self) -> Tensor:
        """Vectors from atom i to the periodic image of its neighbour j, (P, 3) in Å."""
        i, j = self.pairs
        cell = self.cell[self.configuration[i]]
        return self.positions[j] - self.positions[i] + torch.einsum("pa,pab->pb", self.shifts, cell)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Graph:
        """The same graph on another device, its floating-point arrays in another precision."""
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moved[field.name] = value.to(device=device, dtype=dtype if value.is_floating_point() else None)
        return Graph(**moved)

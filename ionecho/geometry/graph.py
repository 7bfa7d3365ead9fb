"""A batch of periodic configurations with their neighbour pairs: what every model is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate

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
    states: Tensor | None = None  # (A,) what a model is told of every atom's local state, NaN where it is not known
    points: Tensor | None = None  # (Q, 3) Å, where fields are asked for
    point_configuration: Tensor | None = None  # (Q,) configuration of each point, int64

    def vectors(self) -> Tensor:
        """Vectors from atom i to the periodic image of its neighbour j, (P, 3) in Å."""
        i, j = self.pairs
        cell = self.cell.index_select(0, self.configuration.index_select(0, i))
        offset = torch.bmm(self.shifts[:, None], cell).squeeze(1)
        return self.positions.index_select(0, j) - self.positions.index_select(0, i) + offset

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Graph:
        """The same graph on another device, its floating-point arrays in another precision."""
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                moved[field.name] = value.to(device=device, dtype=dtype if value.is_floating_point() else None)
        return Graph(**moved)

    @staticmethod
    def concatenate(graphs: Sequence[Graph]) -> Graph:
        """One graph of many; their configurations, atoms, pairs and points follow each other.

        States or points are those of all graphs, or of none.
        """
        atoms = [0, *accumulate(len(graph.numbers) for graph in graphs)]
        cells = [0, *accumulate(len(graph.cell) for graph in graphs)]
        offset = list(zip(graphs, atoms, cells, strict=False))
        return Graph(
            positions=torch.cat([graph.positions for graph in graphs]),
            numbers=torch.cat([graph.numbers for graph in graphs]),
            cell=torch.cat([graph.cell for graph in graphs]),
            configuration=torch.cat([graph.configuration + first for graph, _, first in offset]),
            centres=torch.cat([graph.centres + first for graph, first, _ in offset]),
            pairs=torch.cat([graph.pairs + first for graph, first, _ in offset], dim=1),
            shifts=torch.cat([graph.shifts for graph in graphs]),
            states=_joined([graph.states for graph in graphs]),
            points=_joined([graph.points for graph in graphs]),
            point_configuration=_joined(
                [
                    None if graph.point_configuration is None else graph.point_configuration + first
                    for graph, _, first in offset
                ]
            ),
        )


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known and len(known) == len(parts) else None

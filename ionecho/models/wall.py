"""A soft wall below the shortest distances of the training part: what holds atoms apart where there are no data."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ionecho.data.loader import Batch
from ionecho.models.species import Species

WALL = 50.0  # eV/Å³


def shortest_distances(species: Species, kinds: int, batches: Iterable[Batch]) -> Tensor:
    """Shortest distance of every pair of elements within the cut-off, (S, S) Å; infinite where there is no pair."""
    shortest = torch.full((kinds * kinds,), torch.inf, dtype=torch.float64)
    for batch in batches:
        index = species(batch.graph.numbers)
        i, j = batch.graph.pairs
        r = batch.graph.vectors().norm(dim=1).double()
        shortest.scatter_reduce_(0, index[i] * kinds + index[j], r, "amin")
    return shortest.view(kinds, kinds)


def wall(r: Tensor, shortest: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (P,) in eV and slopes (P,) in eV/Å of pairs at distances r (P,): `WALL` times the depth to the third.

    The depth is below the shortest distance (P,) seen between their elements, so that no training label feels it.
    """
    depth = (shortest - r).clamp(min=0.0)
    return WALL * depth**3, -3 * WALL * depth**2

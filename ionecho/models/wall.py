"""A soft wall at short distances that the training part does not hold: it keeps atoms apart where there are no data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from ase.data import covalent_radii
from torch import Tensor

from ionecho.data.loader import Batch
from ionecho.models.species import Species

WALL = 50.0  # eV/Å³
CONTACT = 0.9  # sums of covalent radii


def shortest_distances(species: Species, kinds: int, batches: Iterable[Batch]) -> Tensor:
    """Shortest distance of every pair of elements within the cut-off, (S, S) Å; infinite where there is no pair."""
    shortest = torch.full((kinds * kinds,), torch.inf, dtype=torch.float64)
    for batch in batches:
        index = species(batch.graph.numbers)
        i, j = batch.graph.pairs
        r = batch.graph.vectors().norm(dim=1).double()
        shortest.scatter_reduce_(0, index[i] * kinds + index[j], r, "amin")
    return shortest.view(kinds, kinds)


def contacts(numbers: Sequence[int]) -> Tensor:
    """Distance of every pair of elements from which on a wall may stand, (S, S) Å: `CONTACT` sums of covalent radii.

    Farther out a distance that was not seen may well occur: two rare ions, no more.
    """
    radii = torch.as_tensor(covalent_radii[list(numbers)], dtype=torch.get_default_dtype())
    return CONTACT * (radii[:, None] + radii)


def wall(r: Tensor, foot: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (P,) in eV and slopes (P,) in eV/Å of pairs at distances r (P,): `WALL` times the depth to the third.

    The depth is below the foot (P,): the shortest distance seen between their elements, so that no training label feels
    it, but no farther than their contact.
    """
    depth = (foot - r).clamp(min=0.0)
    return WALL * depth**3, -3 * WALL * depth**2

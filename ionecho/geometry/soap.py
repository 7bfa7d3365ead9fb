"""Smooth overlap of atomic positions (SOAP): neighbour densities around the centres and their power spectrum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sphericart.torch import SphericalHarmonics
from torch import Tensor
from torch.nn import functional as F

from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import FloatArray, RadialTable, cosine_cutoff

SPACING = 0.02  # Å between the knots of the radial tables


def radial_grid(r_cut: float) -> FloatArray:
    """Distances (R,) in Å at which radial functions are tabulated."""
    return np.arange(round(r_cut / SPACING) + 1) * SPACING


class AtomicDensity(torch.nn.Module):
    """Expansion coefficients of the density of each species around the centres.

    c_{a n l m} = Σ_{j of species a} f_cut(r_j) R_nl(r_j) Y_lm(r_j), the centre itself included as in Bartók, Kondor and
    Csányi, Phys. Rev. B 2013, 87, 184115. Differentiable in positions and cell.

    Args:
        numbers: atomic numbers of the species, in the order of the channels.
        radial: R_nl on `radial_grid`, (R, l_max + 1 or 1, n_max); `gto_integrals` makes it the SOAP density.
        r_cut: Å.
        cutoff_width: Å over which the weight of a neighbour falls to zero at r_cut.
        l_max: highest degree of the spherical harmonics.
    """

    species: Tensor  # (119,) position of an atomic number in `numbers`, -1 where unknown

    def __init__(
        self, numbers: Sequence[int], radial: FloatArray, *, r_cut: float, cutoff_width: float, l_max: int
    ) -> None:
        super().__init__()
        weight = cosine_cutoff(radial_grid(r_cut), r_cut=r_cut, width=cutoff_width)
        self.radial = RadialTable(SPACING, weight[:, None, None] * radial)
        self.harmonics = SphericalHarmonics(l_max)
        self.numbers = list(numbers)
        self.channels = len(numbers) * radial.shape[2]
        self.blocks = [(l_max + 1) ** 2] if radial.shape[1] == 1 else [2 * degree + 1 for degree in range(l_max + 1)]
        species = torch.full((119,), -1)
        species[self.numbers] = torch.arange(len(numbers))
        self.register_buffer("species", species, persistent=False)

    def forward(self, graph: Graph) -> Tensor:
        """Coefficients (K, (l_max + 1)², S n_max): the harmonics in the order l² + l + m, the channels by species."""
        species = self.species[graph.numbers]
        if bool((species < 0).any()):
            unknown = graph.numbers[species < 0].unique().tolist()
            raise InputError(f"expected the elements the model knows, {self.numbers}, found {unknown}; train with them")
        vectors = F.pad(graph.vectors(), (0, 0, 0, 1), value=2.0 * self.radial.end)  # the last row is nobody, far away
        neighbour = species[graph.pairs[1]]
        density = torch.cat(
            [self._expand(vectors[index]) for index in _neighbours_by_species(graph, neighbour, len(self.numbers))], dim=2
        )
        centre = F.one_hot(species[graph.centres], len(self.numbers)).to(density)
        at_zero = self.radial(density.new_zeros(1))[0, 0] * (0.25 / torch.pi) ** 0.5
        own = (centre[:, :, None] * at_zero).flatten(1)
        return torch.cat((density[:, :1] + own[:, None], density[:, 1:]), dim=1)

    def _expand(self, vectors: Tensor) -> Tensor:
        """Coefficients (K, (l_max + 1)², n_max) of the neighbours of one species, (K, M, 3) Å."""
        centres, neighbours, _ = vectors.shape
        flat = vectors.reshape(-1, 3)
        radial = self.radial(flat.norm(dim=1)).unflatten(0, (centres, neighbours))
        harmonics = self.harmonics(flat).unflatten(0, (centres, neighbours)).split(self.blocks, dim=2)
        return torch.cat([y.mT @ r for y, r in zip(harmonics, radial.unbind(2), strict=True)], dim=1)


def power_spectrum(density: Tensor) -> Tensor:
    """p_{kk'l} = π √(8 / (2l + 1)) Σ_m c_{klm} c_{k'lm} for k <= k', from (K, (L + 1)², k) to (K, (L + 1) k (k + 1) / 2).

    Off-diagonal entries carry a factor √2, so that the scalar product of two spectra is the SOAP kernel over all k, k'.
    """
    channels = density.shape[2]
    row, column = torch.triu_indices(channels, channels, device=density.device)
    twice = torch.where(row == column, 1.0, 2.0**0.5).to(density)
    blocks = []
    for block in by_degree(density):
        factor = torch.pi * (8.0 / block.shape[1]) ** 0.5
        blocks.append((block.mT @ block)[:, row, column] * (factor * twice))
    return torch.cat(blocks, dim=1)


def by_degree(density: Tensor) -> tuple[Tensor, ...]:
    """Split (K, (L + 1)², k) into blocks (K, 2 l + 1, k)."""
    degrees = round(density.shape[1] ** 0.5)
    return density.split([2 * degree + 1 for degree in range(degrees)], dim=1)


def _neighbours_by_species(graph: Graph, species: Tensor, kinds: int) -> list[Tensor]:
    """For each species the pairs (K, M) of every centre, filled up with -1; M is the largest number found."""
    index = []
    for kind in range(kinds):
        pairs = (species == kind).nonzero().squeeze(1)
        first = graph.pairs[0][pairs]
        start = torch.searchsorted(first, graph.centres)
        count = torch.searchsorted(first, graph.centres, right=True) - start
        slot = torch.arange(int(count.max()) if len(count) else 0, device=pairs.device)
        last = max(len(pairs) - 1, 0)
        rows = F.pad(pairs, (0, 1), value=-1)[(start[:, None] + slot).clamp(max=last)]
        index.append(rows.masked_fill(slot >= count[:, None], -1))
    return index

"""Smooth overlap of atomic positions (SOAP): neighbour densities around the centres and their power spectrum."""

from __future__ import annotations

import numpy as np
import torch
from sphericart.torch import SphericalHarmonics
from torch import Tensor, nn
from torch.nn import functional as F

from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import FloatArray, RadialTable, cosine_cutoff

SPACING = 0.02  # Å between the knots of the radial tables


def radial_grid(r_cut: float) -> FloatArray:
    """Distances (R,) in Å, up to r_cut, at which radial functions are tabulated."""
    return SPACING * np.arange(round(r_cut / SPACING) + 1, dtype=np.float64)


class AtomicDensity(nn.Module):
    """Expansion coefficients of the density of each element around the centres.

    c_{a n l m} = Σ_{j of element a} f_cut(r_j) R_nl(r_j) Y_lm(r_j), the centre itself included as in Bartók, Kondor and
    Csányi, Phys. Rev. B 2013, 87, 184115. Differentiable in positions and cell.

    Parameters
    ----------
    elements
        Number of elements.
    radial
        R_nl on `radial_grid`, (R, l_max + 1 or 1, n_max); of `gto_integrals` it makes the density SOAP's.
    r_cut, cutoff_width
        Cut-off, and distance over which the weight of a neighbour falls to zero there, Å.
    l_max
        Highest degree of the spherical harmonics.
    """

    def __init__(self, elements: int, radial: FloatArray, r_cut: float, cutoff_width: float, l_max: int) -> None:
        super().__init__()
        weight = cosine_cutoff(radial_grid(r_cut), r_cut, cutoff_width)
        self.elements, self.channels = elements, elements * radial.shape[2]
        self.radial = RadialTable(SPACING, weight[:, None, None] * radial)
        self.harmonics = SphericalHarmonics(l_max)
        self.blocks = [(l_max + 1) ** 2] if radial.shape[1] == 1 else [2 * degree + 1 for degree in range(l_max + 1)]

    def forward(self, graph: Graph, species: Tensor) -> Tensor:
        """Coefficients (K, elements n_max, (l_max + 1)²), channels by element, harmonics in the order l² + l + m.

        `species` (A,) are the indices of the atoms' elements.
        """
        vectors = F.pad(graph.vectors(), (0, 0, 0, 1), value=2 * self.radial.end)  # the last row stands for nobody
        index = neighbours_by_species(graph, species, self.elements)
        density = torch.cat([self._expand(vectors, rows) for rows in index], dim=1)
        return torch.cat([density[:, :, :1] + self._centre(species[graph.centres]), density[:, :, 1:]], dim=2)

    def _expand(self, vectors: Tensor, rows: Tensor) -> Tensor:
        """Coefficients (K, n_max, (l_max + 1)²) of the neighbours of one element, in these rows (K, M) of vectors."""
        vectors = vectors.index_select(0, rows.flatten())
        radial = self.radial(vectors.norm(dim=1)).unflatten(2, rows.shape).transpose(1, 2)  # (l, K, n, M)
        harmonics = self.harmonics(vectors).unflatten(0, rows.shape).split(self.blocks, dim=2)
        return torch.cat([r @ y for r, y in zip(radial, harmonics, strict=True)], dim=2)

    def _centre(self, species: Tensor) -> Tensor:
        """What the centres add to the coefficients of l = 0, (K, elements n_max, 1)."""
        at_zero = self.radial(self.radial.coefficients.new_zeros(1))[0, :, 0] * (0.25 / torch.pi) ** 0.5
        return (F.one_hot(species, self.elements)[:, :, None] * at_zero).flatten(1)[:, :, None]


def neighbours_by_species(graph: Graph, species: Tensor, elements: int) -> list[Tensor]:
    """For each element the pairs (K, M) of every centre, filled up with P; M is the most that any centre has."""
    kind, index = species.index_select(0, graph.pairs[1]), []
    for element in range(elements):
        pairs = (kind == element).nonzero().squeeze(1)
        first = graph.pairs[0].index_select(0, pairs)
        start = torch.searchsorted(first, graph.centres)
        count = torch.searchsorted(first, graph.centres, right=True) - start
        slot = torch.arange(int(count.max()), device=pairs.device)
        place = (start[:, None] + slot).masked_fill(slot >= count[:, None], len(pairs))
        index.append(F.pad(pairs, (0, 1), value=len(kind)).index_select(0, place.flatten()).view_as(place))
    return index


def by_degree(density: Tensor) -> tuple[Tensor, ...]:
    """Blocks (K, channels, 2l + 1) of every degree l of coefficients (K, channels, (l_max + 1)²)."""
    degrees = round(density.shape[2] ** 0.5)
    return density.split([2 * degree + 1 for degree in range(degrees)], dim=2)


def power_spectrum(density: Tensor) -> Tensor:
    """Invariants p_{kk'l} = π √(8 / (2l + 1)) Σ_m c_{klm} c_{k'lm} of all channels k <= k', by l, then k, then k'.

    Those with k < k' carry a factor √2, so that the scalar product of two spectra is the SOAP kernel.
    The coefficients are (K, channels, (l_max + 1)²), the spectrum (K, (l_max + 1) channels (channels + 1) / 2).
    """
    return torch.cat([quadratic(block) * (8 / block.shape[2]) ** 0.5 * torch.pi for block in by_degree(density)], dim=1)


def quadratic(block: Tensor) -> Tensor:
    """Σ_m c_{km} c_{k'm} for k <= k', times √2 where they differ, from (K, k, m) to (K, k (k + 1) / 2)."""
    row, column = torch.triu_indices(block.shape[1], block.shape[1], device=block.device)
    products = (block @ block.mT).flatten(1).index_select(1, row * block.shape[1] + column)
    return products * torch.where(row == column, 1.0, 2**0.5).to(block)

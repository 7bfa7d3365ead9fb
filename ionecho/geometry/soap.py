"""Smooth overlap of atomic positions (SOAP): neighbour densities around the centres and their power spectrum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sphericart.torch import SphericalHarmonics
from torch import Tensor, nn
from torch.nn.functional import pad

from ionecho.geometry.graph import Graph


class AtomicDensity(nn.Module):
    """Expansion coefficients of the density of each element around the centres.

    c_{a n l m} = Σ_{j of element a} R_{a n l}(r_j) Y_lm(r_j), the centre itself included as in Bartók, Kondor and
    Csányi, Phys. Rev. B 2013, 87, 184115; with `SmearedOrbitals` the density of SOAP. Differentiable in positions and
    cell.

    Parameters
    ----------
    radial
        For every element a module that maps distances (P,) in Å to (l_max + 1 or 1, n, P), cut-off included.
    cutoffs
        For every element the distance in Å beyond which its neighbours do not count.
    l_max
        Highest degree of the spherical harmonics.
    """

    limits: Tensor  # (elements,) Å

    def __init__(self, radial: Sequence[nn.Module], cutoffs: Sequence[float], l_max: int) -> None:
        super().__init__()
        self.radial, self.degrees = nn.ModuleList(radial), [2 * degree + 1 for degree in range(l_max + 1)]
        self.harmonics = SphericalHarmonics(l_max)
        self.register_buffer("limits", torch.tensor(cutoffs), persistent=False)

    def forward(self, graph: Graph, species: Tensor) -> Tensor:
        """Coefficients (K, channels, (l_max + 1)²), channels by element, harmonics in the order l² + l + m.

        `species` (A,) are the indices of the atoms' elements.
        """
        vectors = graph.vectors()
        kind = species.index_select(0, graph.pairs[1])
        kind = torch.where(vectors.norm(dim=1) < self.limits.index_select(0, kind), kind, -1)
        vectors = pad(vectors, (0, 0, 0, 1), value=2 * float(self.limits.max()))  # the last row stands for nobody
        density = torch.cat(
            [
                self._expand(radial, vectors, _neighbours(graph, kind == element))
                for element, radial in enumerate(self.radial)
            ],
            dim=1,
        )
        density[:, :, 0] += self._centre(species[graph.centres])
        return density

    def _expand(self, radial: nn.Module, vectors: Tensor, rows: Tensor) -> Tensor:
        """Coefficients (K, n, (l_max + 1)²) of the neighbours of one element, in these rows (K, M) of vectors."""
        vectors = vectors.index_select(0, rows.flatten())
        functions = radial(vectors.norm(dim=1)).unflatten(2, rows.shape).transpose(1, 2)  # (l, K, n, M)
        harmonics = self.harmonics(vectors).unflatten(0, rows.shape)
        if len(functions) == 1:
            return functions[0] @ harmonics
        return torch.cat([r @ y for r, y in zip(functions, harmonics.split(self.degrees, dim=2), strict=True)], dim=2)

    def _centre(self, species: Tensor) -> Tensor:
        """What the centres add to the coefficients of l = 0, (K, channels)."""
        at_zero = [radial(self.limits.new_zeros(1))[0, :, 0] * (0.25 / torch.pi) ** 0.5 for radial in self.radial]
        return torch.block_diag(*at_zero).index_select(0, species)


def _neighbours(graph: Graph, chosen: Tensor) -> Tensor:
    """The chosen pairs (K, M) of every centre, filled up with P; M is the most that any centre has."""
    pairs = chosen.nonzero().squeeze(1)
    first = graph.pairs[0].index_select(0, pairs)
    start = torch.searchsorted(first, graph.centres)
    count = torch.searchsorted(first, graph.centres, right=True) - start
    slot = torch.arange(int(count.max()) if len(count) else 0, device=pairs.device)
    place = (start[:, None] + slot).masked_fill(slot >= count[:, None], len(pairs))
    return torch.cat([pairs, pairs.new_full((1,), len(chosen))]).index_select(0, place.flatten()).view_as(place)


def by_degree(density: Tensor, dim: int) -> tuple[Tensor, ...]:
    """Blocks of 2l + 1 of every degree l along the dimension of length (l_max + 1)²."""
    degrees = round(density.shape[dim] ** 0.5)
    return density.split([2 * degree + 1 for degree in range(degrees)], dim=dim)


def power_spectrum(density: Tensor) -> Tensor:
    """Invariants p_{kk'l} = π √(8 / (2l + 1)) Σ_m c_{klm} c_{k'lm} of all channels k <= k', by l, then k, then k'.

    Those with k < k' carry a factor √2, so that the scalar product of two spectra is the SOAP kernel.
    The coefficients are (K, channels, (l_max + 1)²), the spectrum (K, (l_max + 1) channels (channels + 1) / 2).
    """
    return torch.cat(
        [quadratic(block) * (8 / block.shape[2]) ** 0.5 * torch.pi for block in by_degree(density, 2)], dim=1
    )


def quadratic(block: Tensor) -> Tensor:
    """Σ_m c_{km} c_{k'm} for k <= k', times √2 where they differ, from (K, k, m) to (K, k (k + 1) / 2)."""
    row, column = torch.triu_indices(block.shape[1], block.shape[1], device=block.device)
    products = (block @ block.mT).flatten(1).index_select(1, row * block.shape[1] + column)
    return products * (2.0 - (row == column).to(block)).sqrt()

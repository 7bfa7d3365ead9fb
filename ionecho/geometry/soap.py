"""Smooth overlap of atomic positions (SOAP): the power spectrum of the neighbour density around each centre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sphericart.torch import SphericalHarmonics
from torch import Tensor

from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import RadialTable, cosine_cutoff, gto_integrals

SPACING = 0.02  # Å between the knots of the radial tables


class AtomicDensity(torch.nn.Module):
    """Expansion coefficients c_{a n l m} of the Gaussian-smeared density of each species around the centres.

    c_{anlm} = Σ_{j of species a} f_cut(r_j) I_nl(r_j) Y_lm(r_j), the centre itself included (Bartók, Kondor and Csányi,
    Phys. Rev. B 2013, 87, 184115), I_nl from `gto_integrals`. Differentiable in positions and cell.

    Args:
        numbers: atomic numbers of the species, in the order of the channels.
        r_cut: Å.
        sigma: Å, width of the Gaussians.
        n_max: radial functions.
        l_max: highest degree of the spherical harmonics.
        cutoff_width: Å over which the weight of a neighbour falls to zero at r_cut.
    """

    species: Tensor  # (119,) channel of an atomic number, -1 where unknown

    def __init__(
        self, numbers: Sequence[int], *, r_cut: float, sigma: float, n_max: int, l_max: int, cutoff_width: float
    ) -> None:
        super().__init__()
        self.channels, self.l_max = len(numbers) * n_max, l_max
        self.kinds = len(numbers)
        r = np.arange(round(r_cut / SPACING) + 1) * SPACING
        integrals = gto_integrals(r, r_cut=r_cut, sigma=sigma, n_max=n_max, l_max=l_max)
        weight = cosine_cutoff(r, r_cut=r_cut, width=cutoff_width)
        self.radial = RadialTable(SPACING, weight[:, None, None] * integrals)
        self.harmonics = SphericalHarmonics(l_max)
        species = torch.full((119,), -1)
        species[list(numbers)] = torch.arange(len(numbers))
        self.register_buffer("species", species, persistent=False)

    def forward(self, graph: Graph) -> list[Tensor]:
        """Coefficients (K, S n_max, 2 l + 1) for every l, channels ordered by species, then n."""
        channel = self.species[graph.numbers]
        if bool((channel < 0).any()):
            unknown = graph.numbers[channel < 0].unique().tolist()
            raise InputError(f"expected only the elements the model knows, found atomic numbers {unknown}")
        start, count = _neighbour_ranges(graph)
        slot = torch.arange(int(count.max()), device=start.device)
        present = slot < count[:, None]  # (K, M)
        pair = (start[:, None] + slot).masked_fill_(~present, 0)

        vectors = graph.vectors()
        distances = vectors.norm(dim=-1)
        radial = self.radial(distances)  # (P, L + 1, n)
        harmonics = self.harmonics(vectors)  # (P, (L + 1)^2)
        kind = torch.nn.functional.one_hot(channel[graph.pairs[1]], self.kinds).to(radial)
        weight = kind[pair] * present[..., None]  # (K, M, S)
        at_centre = self.radial(distances.new_zeros(1))[0, 0] * (0.25 / torch.pi) ** 0.5
        density = []
        for degree, angular in enumerate(harmonics.split([2 * k + 1 for k in range(self.l_max + 1)], dim=1)):
            by_kind = (weight[..., None] * radial[:, degree][pair][:, :, None]).flatten(2)  # (K, M, S n)
            density.append(by_kind.mT @ angular[pair])
        own = torch.nn.functional.one_hot(channel[graph.centres], self.kinds).to(radial)
        density[0] = density[0] + (own[:, :, None] * at_centre).flatten(1)[..., None]
        return density


def power_spectrum(density: Sequence[Tensor]) -> Tensor:
    """p_{kk'l} = π √(8 / (2l + 1)) Σ_m c_{klm} c_{k'lm} for k <= k', (K, (L + 1) k (k + 1) / 2).

    Off-diagonal entries carry a factor √2, so that the scalar product of two spectra is the SOAP kernel over all k, k'.
    """
    channels = density[0].shape[1]
    row, column = torch.triu_indices(channels, channels, device=density[0].device)
    twice = torch.where(row == column, 1.0, 2.0**0.5).to(density[0])
    blocks = []
    for coefficients in density:
        factor = torch.pi * (8.0 / coefficients.shape[2]) ** 0.5
        blocks.append((coefficients @ coefficients.mT)[:, row, column] * (factor * twice))
    return torch.cat(blocks, dim=1)


def _neighbour_ranges(graph: Graph) -> tuple[Tensor, Tensor]:
    """Where the neighbours of each centre begin in the sorted pairs, and how many they are, each (K,)."""
    first = graph.pairs[0].contiguous()
    start = torch.searchsorted(first, graph.centres)
    return start, torch.searchsorted(first, graph.centres, right=True) - start

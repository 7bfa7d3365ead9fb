"""Surroundings of atoms: equivariant atomic densities (Drautz, Phys. Rev. B 2019, 99, 014104) mixed by learned weights,
and the invariants made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from sphericart.torch import SphericalHarmonics
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import radial_basis
from ionecho.geometry.tensors import degrees
from ionecho.models.perceptron import perceptron


class Pairs(NamedTuple):
    """P pairs (i, j), sorted by i: all of the graph's or a selection."""

    i: Tensor  # (P,)
    j: Tensor  # (P,)
    kind: Tensor  # (P,) index of the two elements
    shift: Tensor  # (P, 3) lattice translation of j, int64
    r: Tensor  # (P,) Å
    unit: Tensor  # (P, 3) direction from i to j
    harmonics: Tensor  # (P, (l_max + 1)²) real spherical harmonics of the direction

    @classmethod
    def of(cls, graph: Graph, species: Tensor, kinds: int, harmonics: SphericalHarmonics) -> Pairs:
        """Those of a graph whose atoms are of these elements (A,), `kinds` in all."""
        (i, j), vectors = graph.pairs, graph.vectors()
        r, kind = vectors.norm(dim=1), species[i] * kinds + species[j]
        return cls(i, j, kind, graph.shifts.long(), r, vectors / r[:, None], harmonics(vectors))

    def where(self, chosen: Tensor) -> Pairs:
        """The pairs for which the mask (P,) holds."""
        index = chosen.nonzero().squeeze(1)
        return Pairs(*(values[index] for values in self))

    def around(self, centres: Tensor, elements: Tensor, species: Tensor, kinds: int) -> tuple[Pairs, Tensor]:
        """Pairs of the centres (K,), their kind by the centre's element (K,) and that of j, and the row of i (P,)."""
        row = torch.full_like(species, -1)
        row[centres] = torch.arange(len(centres), device=species.device)
        found = self.where(row[self.i] >= 0)
        at = row[found.i]
        return found._replace(kind=elements[at] * kinds + species[found.j]), at

    def radial(self, cutoff: float, count: int, kinds: int) -> Tensor:
        """Radial functions in the block of the pair's kind, zero in the others, (P, kinds count)."""
        kind = one_hot(self.kind, kinds).to(self.r.dtype)
        return (kind[:, :, None] * radial_basis(self.r, cutoff, count)[:, None, :]).flatten(1)


class ByElement:
    """Linear maps that are those of the atoms' elements.

    Parameters
    ----------
    species
        Index of every atom's element, (A,).
    kinds
        Number of elements.
    """

    def __init__(self, species: Tensor, kinds: int) -> None:
        self.order = species.argsort(stable=True)
        self.back, self.counts = self.order.argsort(), torch.bincount(species, minlength=kinds).tolist()

    def __call__(self, values: Tensor, weights: Tensor | Sequence[Tensor]) -> Tensor:
        """Values (A, m, c) times the weights (kinds, c, n) of their elements, (A, m, n)."""
        parts = zip(values[self.order].split(self.counts), weights, strict=True)
        return torch.cat([part @ weight for part, weight in parts])[self.back]


class Atoms(NamedTuple):
    """What the surroundings of every atom tell about it."""

    invariants: Tensor  # (A, (l_max + 2) channels) of the densities
    features: Tensor  # (A, features) made of them
    tensors: list[Tensor]  # A_l, (A, 2l + 1, channels) for every degree l
    partners: list[Tensor]  # B_l, the second copies of the same shapes
    gates: Tensor  # (A, l_max channels)

    def seen(self, pairs: Pairs) -> Tensor:
        """Channels of j contracted with the direction from i to j, degree by degree and gated, (P, l_max channels)."""
        return self._along(pairs, pairs.j)

    def seeing(self, pairs: Pairs) -> Tensor:
        """The same with the channels of i."""
        return self._along(pairs, pairs.i)

    def _along(self, pairs: Pairs, ends: Tensor) -> Tensor:
        harmonics = degrees(pairs.harmonics, len(self.tensors) - 1)
        parts = [
            torch.einsum("pmc,pm->pc", tensor.index_select(0, ends), y)
            for tensor, y in zip(self.tensors[1:], harmonics[1:], strict=True)
        ]
        return torch.cat(parts, dim=1) * self.gates.index_select(0, ends)


class Surroundings(nn.Module):
    """Atomic densities around all atoms, and invariant features made of them."""

    def __init__(self, kinds: int, cutoff: float, radial: int, channels: int, l_max: int, width: int, features: int):
        super().__init__()
        self.kinds, self.cutoff, self.radial, self.l_max = kinds, cutoff, radial, l_max
        scale = (kinds * radial) ** -0.5
        self.mixing = nn.Parameter(scale * torch.randn(l_max + 1, kinds, kinds * radial, 2 * channels))
        invariants = (l_max + 2) * channels
        self.norm = nn.LayerNorm(invariants)
        self.features = perceptron([invariants + kinds, width, width, features])
        self.gates = nn.Linear(features, l_max * channels)

    def forward(self, species: Tensor, pairs: Pairs, by_element: ByElement) -> Atoms:
        """Channels A_l = W_l ρ_l and B_l = V_l ρ_l of the densities, and MLP(A_0, A_l·B_l, element) as features."""
        tensors, partners, products = [], [], []
        for density, mixing in zip(degrees(self._density(species, pairs), self.l_max), self.mixing, strict=True):
            a, b = by_element(density, mixing).chunk(2, dim=-1)
            tensors.append(a.contiguous())
            partners.append(b)
            products.append((a * b).sum(1))
        invariants = self.norm(torch.cat([tensors[0].squeeze(1), *products], dim=1))
        features = self.features(torch.cat([invariants, one_hot(species, self.kinds).to(invariants.dtype)], dim=1))
        return Atoms(invariants, features, tensors, partners, self.gates(features))

    def _density(self, species: Tensor, pairs: Pairs) -> Tensor:
        """Coefficients ρ = Σ_j R_n(r_ij) Y_lm(r_ij) by the element of j, (A, (l_max + 1)², kinds radial)."""
        terms = pairs.harmonics[:, :, None] * radial_basis(pairs.r, self.cutoff, self.radial)[:, None, :]
        density = terms.new_zeros(len(species) * self.kinds, *terms.shape[1:])
        density = density.index_add(0, pairs.i * self.kinds + species[pairs.j], terms)
        return density.unflatten(0, (len(species), self.kinds)).transpose(1, 2).flatten(2)

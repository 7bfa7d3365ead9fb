"""Equivariant features of atoms: expansions of their surroundings in spherical harmonics, multiplied on the sphere.

Products are those of functions on the sphere (Luo, Chen and Krishnapriyan, ICLR 2024): both factors are evaluated at
points of the sphere that integrate harmonics up to three times the degree exactly, multiplied, and projected back. They
are the couplings of even l1 + l2 + l3, which reflection leaves as they are, at a cost that does not grow with their
number.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from sphericart.torch import SphericalHarmonics
from torch import Tensor, nn
from torch.nn.functional import silu

from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import envelope, radial_basis
from ionecho.models.perceptron import perceptron

NEIGHBOURS = 30.0  # about how many an atom has: sums over them start at order one


class SphereProduct(nn.Module):
    """Product of two functions on the sphere given by their components, (A, (l_max + 1)², C) each."""

    values: Tensor  # (points, (l_max + 1)²)
    projection: Tensor  # ((l_max + 1)², points)

    def __init__(self, l_max: int) -> None:
        super().__init__()
        heights, weights = np.polynomial.legendre.leggauss((3 * l_max) // 2 + 1)
        angles = 2 * np.pi * np.arange(3 * l_max + 1) / (3 * l_max + 1)
        z, phi = np.meshgrid(heights, angles, indexing="ij")
        s = np.sqrt(1 - z**2)
        directions = torch.tensor(np.stack([s * np.cos(phi), s * np.sin(phi), z], -1).reshape(-1, 3))
        values = SphericalHarmonics(l_max)(directions)
        weight = torch.tensor(np.repeat(weights, len(angles)) * 2 * np.pi / len(angles))
        self.register_buffer("values", values.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("projection", (values * weight[:, None]).T.to(torch.get_default_dtype()), persistent=False)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Components of the product up to l_max, (A, (l_max + 1)², C)."""
        return self.projection @ ((self.values @ left) * (self.values @ right))


class DegreeWise(nn.Module):
    """Channels (A, (l_max + 1)², C_in) mixed by a matrix for every degree, (A, (l_max + 1)², C_out)."""

    degree: Tensor

    def __init__(self, l_max: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(l_max + 1, inputs, outputs) / inputs**0.5)
        degree = torch.repeat_interleave(torch.arange(l_max + 1), 2 * torch.arange(l_max + 1) + 1)
        self.register_buffer("degree", degree, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Mix."""
        return torch.bmm(features.transpose(0, 1), self.weight[self.degree]).transpose(0, 1)


class Interaction(nn.Module):
    """x_i + U_l [A_i, (V A_i)·(W A_i)], gated, where A_i = Σ_j f_l(r_ij, h_i, h_j) Y_l(r_ij) h_j + g_l(...) x_j.

    h are the scalars (l = 0) of x, and f, g a perceptron of the distance and of the scalars of both ends.
    """

    def __init__(self, l_max: int, channels: int, radial: int, width: int, product: SphereProduct) -> None:
        super().__init__()
        self.l_max, self.channels, self.product = l_max, channels, product
        self.filters = perceptron([radial + 2 * channels, width, 2 * (l_max + 1) * channels])
        self.left, self.right = DegreeWise(l_max, channels, channels), DegreeWise(l_max, channels, channels)
        self.update = DegreeWise(l_max, 2 * channels, channels)
        self.scalars = perceptron([2 * channels, width, (l_max + 1) * channels])
        self.register_buffer("degree", self.update.degree, persistent=False)

    degree: Tensor

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """New features (A, (l_max + 1)², channels); degrees that x does not have, at first all but l = 0, are zero."""
        i, j = edges.i, edges.j
        h = x[:, 0]
        told = torch.cat([edges.radial, h.index_select(0, i), h.index_select(0, j)], 1)
        filters = self.filters(told) * edges.envelope[:, None]
        f, g = filters.unflatten(1, (2, self.l_max + 1, self.channels)).unbind(1)
        a = edges.expanded(f * h.index_select(0, j)[:, None])
        passed = g[:, self.degree[: x.shape[1]]] * x.index_select(0, j)
        a = torch.cat([a[:, : x.shape[1]].index_add(0, i, passed), a[:, x.shape[1] :]], 1) / NEIGHBOURS**0.5
        update = self.update(torch.cat([a, self.product(self.left(a), self.right(a))], 2))
        gates = self.scalars(torch.cat([h, update[:, 0]], 1)).unflatten(1, (self.l_max + 1, self.channels))
        change = torch.cat([gates[:, :1], update[:, 1:] * torch.sigmoid(gates[:, self.degree[1:]])], 1)
        return torch.cat([x + change[:, : x.shape[1]], change[:, x.shape[1] :]], 1)


class Edges:
    """What the layers are told of the neighbour pairs of a graph."""

    def __init__(self, graph: Graph, cutoff: float, radial: int, harmonics: nn.Module) -> None:
        vectors = graph.vectors()
        r = vectors.norm(dim=1)
        self.i, self.j = graph.pairs
        order = self.i.argsort(stable=True)
        counts = torch.bincount(self.i, minlength=len(graph.numbers))
        place = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[self.i[order]]
        slots = counts.new_full((len(counts), int(counts.max()) if len(order) else 0), len(order))
        self.slots = slots.index_put((self.i[order], place), order)  # (A, N) pair at each neighbour; one more: none
        self.envelope = envelope(r, cutoff)
        self.radial = radial_basis(r, cutoff, radial)
        values = self._in_slots(harmonics(vectors) * math.sqrt(4 * math.pi)).mT
        self.harmonics = values.split([2 * degree + 1 for degree in range(math.isqrt(values.shape[1]))], 1)

    def expanded(self, values: Tensor) -> Tensor:
        """Σ_j Y_lm(r_ij) v_l of values (E, l_max + 1, C) of the pairs, (A, (l_max + 1)², C): products of matrices."""
        slotted = self._in_slots(values).unbind(2)
        return torch.cat([of_degree @ v for of_degree, v in zip(self.harmonics, slotted, strict=True)], 1)

    def _in_slots(self, values: Tensor) -> Tensor:
        """Values (E, ...) of the pairs by atom and neighbour, (A, N, ...), zero where there is none."""
        return torch.cat([values, values.new_zeros(1, *values.shape[1:])])[self.slots]


class EquivariantFeatures(nn.Module):
    """Features (A, (l_max + 1)², channels) of every atom, from its element, its state and its surroundings.

    Parameters
    ----------
    kinds
        Number of elements.
    cutoff, radial
        Å, and number of radial functions of the distance.
    l_max, channels, layers, width
        Highest degree, channels of every degree, number of interactions, hidden width of the perceptrons.
    """

    def __init__(
        self, kinds: int, cutoff: float, radial: int, l_max: int, channels: int, layers: int, width: int
    ) -> None:
        super().__init__()
        self.cutoff, self.radial, self.l_max = cutoff, radial, l_max
        self.elements = nn.Parameter(torch.randn(kinds, channels))
        self.states = nn.Parameter(torch.randn(2, kinds, channels))
        self.harmonics = SphericalHarmonics(l_max)
        product = SphereProduct(l_max)
        self.layers = nn.ModuleList(Interaction(l_max, channels, radial, width, product) for _ in range(layers))

    def forward(self, graph: Graph, species: Tensor, states: Tensor) -> Tensor:
        """Features of atoms of these elements (A,) in these states (A,), of order one, zero where there is none."""
        told = states[:, None] * self.states[0, species] + states.square()[:, None] * self.states[1, species]
        x = silu(self.elements[species] + told)[:, None]
        edges = Edges(graph, self.cutoff, self.radial, self.harmonics)
        for layer in self.layers:
            x = layer(x, edges)
        return x

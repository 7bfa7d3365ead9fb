"""DeepDFT (Jørgensen and Bhowmik, npj Comput. Mater. 2022, 8, 183) on PaiNN: densities at probes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import schnetpack.nn as snn
import torch
from schnetpack.representation.painn import PaiNNInteraction, PaiNNMixing
from torch import Tensor, nn
from torch.nn.functional import silu

from ionecho.data.loader import Batch
from ionecho.data.outputs import Output
from ionecho.geometry.graph import Graph
from ionecho.geometry.probes import atoms_within_reach
from ionecho.models.base import Model
from ionecho.models.species import Statistics, pooled

FIELDS = ("charge_density", "spin_density")
CHUNK = 1000  # probes at once


class Surroundings(NamedTuple):
    """Sums over the images of A atoms about Q probes, of N functions of the distance and of these times its direction.

    Filters are linear in the functions, so that sums over neighbours become products of matrices.
    """

    atoms: Tensor  # (A,) those within reach of any of the probes
    radial: Tensor  # (Q, A N)
    vector: Tensor  # (Q, 3, A N)

    @classmethod
    def of(cls, atoms: Tensor, points: Tensor, functions: Tensor, directions: Tensor, count: int) -> Surroundings:
        """From pairs (P,) of atoms and probes, functions (P, N) and directions (P, 3) from the probe to the atom."""
        near, place = atoms.unique(return_inverse=True)
        values = torch.cat([functions[:, None], functions[:, None] * directions[:, :, None]], 1)
        sums = values.new_zeros(count * len(near), *values.shape[1:]).index_add(0, points * len(near) + place, values)
        sums = sums.view(count, len(near), *values.shape[1:]).transpose(1, 2).flatten(2)
        return cls(near, sums[:, 0], sums[:, 1:])


class ProbeMessage(nn.Module):
    """PaiNN's message from atoms to probes, which send none."""

    def __init__(self, features: int, radial: int) -> None:
        super().__init__()
        self.filters = snn.Dense(radial, 3 * features)
        self.context = nn.Sequential(snn.Dense(features, features, activation=silu), snn.Dense(features, 3 * features))

    def forward(
        self, probe: tuple[Tensor, Tensor], atom: tuple[Tensor, Tensor], surroundings: Surroundings
    ) -> tuple[Tensor, Tensor]:
        """Scalars (Q, features) and vectors (Q, 3, features) of the probes; atoms (A, 1 or 3, features)."""
        (q, mu), (q_atom, mu_atom) = probe, atom
        filters = torch.cat([self.filters.weight.T, self.filters.bias[None]])  # (N, 3 features)
        filtered = self.context(q_atom[surroundings.atoms]) * filters
        scalar, radial, vector = filtered.chunk(3, dim=-1)  # (A, N, features)
        of_vectors = vector[:, :, None] * mu_atom[surroundings.atoms][:, None]
        sums = torch.cat([scalar[:, :, None], of_vectors], 2).flatten(2).flatten(0, 1)
        summed = (surroundings.radial @ sums).unflatten(1, (4, -1))
        return q + summed[:, 0], mu + summed[:, 1:] + surroundings.vector @ radial.flatten(0, 1)


class DeepDFT(Model):
    """PaiNN on the atoms; after each of its layers the probes are sent messages of the same form, and mix them.

    Two outputs from the scalar features of a probe, in units of the densities' standard deviation over the points.
    A probe does not feel other probes. The scalars of redox-active ions begin with their states where these are given,
    which is not in the paper.

    Parameters
    ----------
    numbers, centres
        Atomic numbers the model knows, and of the redox-active ions.
    cutoff
        Of messages, Å.
    features, interactions, radial
        Width, number of layers, number of Gaussian radial functions.
    """

    pairs_of = "atoms"
    centres_are = "chosen"
    given = "magnetic_moment"
    finds_states = False
    outputs = tuple(Output(label, "points") for label in FIELDS)
    needed = FIELDS
    state: Tensor  # (2,) μB: mean and spread
    mean: Tensor  # (2,)
    std: Tensor  # (2,)

    def __init__(
        self,
        numbers: Sequence[int],
        centres: Sequence[int],
        cutoff: float,
        features: int,
        interactions: int,
        radial: int,
    ) -> None:
        super().__init__(numbers, centres, cutoff)
        self.embedding = nn.Embedding(len(self.numbers), features)
        self.of_state = nn.Parameter(torch.zeros(features))
        self.basis, self.envelope = snn.GaussianRBF(n_rbf=radial, cutoff=cutoff), snn.CosineCutoff(cutoff)
        layers = range(interactions)
        self.atom_filters = nn.ModuleList(snn.Dense(radial, 3 * features) for _ in layers)
        self.interactions = nn.ModuleList(PaiNNInteraction(features, silu) for _ in layers)
        self.atom_mixing = nn.ModuleList(PaiNNMixing(features, silu) for _ in layers)
        self.messages = nn.ModuleList(ProbeMessage(features, radial) for _ in layers)
        self.probe_mixing = nn.ModuleList(PaiNNMixing(features, silu) for _ in layers)
        self.head = snn.build_mlp(features, 2, n_layers=2)
        self.register_buffer("state", torch.tensor([0.0, 1.0]))
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("std", torch.ones(2))

    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Scale of the states, mean and standard deviation of the densities at the points of the training part."""
        told = pooled(statistics.get(self.given, {}), self.centres)
        self.state[0], self.state[1] = told.mean, told.std or 1.0
        sums = torch.zeros(3, 2, dtype=torch.float64)
        for batch in batches:
            values = torch.stack([batch.labels[label] for label in FIELDS], 1).double()
            assert batch.volumes is not None
            weights = batch.volumes.double()[:, None] * values.isfinite()
            values = values.nan_to_num()
            sums += torch.stack([part.sum(0) for part in (weights, weights * values, weights * values.square())])
        self.mean.copy_(sums[1] / sums[0])
        self.std.copy_((sums[2] / sums[0] - self.mean.double().square()).clamp(min=1e-12).sqrt())

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """`charge_density` (Q,) e/Å³ and `spin_density` (Q,) μB/Å³ at the points of the graph; nothing without any."""
        if graph.points is None:
            return {}
        layers = self.atoms(graph)
        atoms, points, vectors = atoms_within_reach(graph, self.cutoff)
        order, count = points.argsort(stable=True), len(graph.points)
        ends = torch.searchsorted(points[order], torch.arange(0, count + CHUNK, CHUNK, device=points.device)).tolist()
        parts = []
        for first, own in zip(range(0, count, CHUNK), (order[a:b] for a, b in pairwise(ends)), strict=True):
            parts.append(self.probes(layers, atoms[own], points[own] - first, vectors[own], min(CHUNK, count - first)))
        values = torch.cat(parts)
        return dict(zip(FIELDS, (self.mean + self.std * values).unbind(1), strict=True))

    def atoms(self, graph: Graph) -> list[tuple[Tensor, Tensor]]:
        """Scalars (A, 1, features) and vectors (A, 3, features) of the atoms after each layer."""
        i, j = graph.pairs
        vectors = graph.vectors()
        r = vectors.norm(dim=1)
        directions = vectors / r[:, None]
        q = self.embedding(self.species(graph.numbers))[:, None] + self._states(graph)[:, None, None] * self.of_state
        mu = q.new_zeros(len(q), 3, q.shape[2])
        layers = []
        for filters, interaction, mixing in zip(self.atom_filters, self.interactions, self.atom_mixing, strict=True):
            q, mu = interaction(q, mu, self._filtered(filters, r), directions, i, j, len(q))
            q, mu = mixing(q, mu)
            layers.append((q, mu))
        return layers

    def probes(
        self, layers: Sequence[tuple[Tensor, Tensor]], atoms: Tensor, points: Tensor, vectors: Tensor, count: int
    ) -> Tensor:
        """What `count` probes make of the atoms' layers, (Q, 2); pairs (P,) with vectors (P, 3) from atom to probe."""
        r = vectors.norm(dim=1)
        directions = -vectors / r.clamp(min=1e-6)[:, None]
        functions = torch.cat([self.basis(r), torch.ones_like(r)[:, None]], 1) * self.envelope(r)[:, None]
        surroundings = Surroundings.of(atoms, points, functions, directions, count)
        features = self.of_state.shape[0]
        q, mu = vectors.new_zeros(count, features), vectors.new_zeros(count, 3, features)
        for message, mixing, atom in zip(self.messages, self.probe_mixing, layers, strict=True):
            q, mu = message((q, mu), atom, surroundings)
            mixed, mu = mixing(q[:, None], mu)
            q = mixed.squeeze(1)
        return self.head(q)

    def _filtered(self, filters: nn.Module, r: Tensor) -> Tensor:
        return (filters(self.basis(r)) * self.envelope(r)[:, None])[:, None]

    def _states(self, graph: Graph) -> Tensor:
        states = graph.positions.new_zeros(len(graph.numbers))
        if graph.states is None:
            return states
        told = (graph.states[graph.centres] - self.state[0]) / self.state[1]
        return states.index_copy(0, graph.centres, told.nan_to_num())

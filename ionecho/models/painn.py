"""PaiNN (Schütt, Unke, Gastegger, ICML 2021) from SchNetPack as an interatomic potential."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import schnetpack.nn as snn
import torch
from schnetpack.representation import PaiNN as Representation
from torch import Tensor, nn

from ionecho.data.loader import Batch
from ionecho.geometry.graph import Graph
from ionecho.models.base import PotentialModel
from ionecho.models.painn_batched import BatchedPaiNN, Blocks, evaluate
from ionecho.models.species import Statistics, one_body_and_scale
from ionecho.models.wall import contacts, shortest_distances


def network(features: int, interactions: int, cutoff: float, basis: nn.Module) -> tuple[Representation, Any]:
    """SchNetPack's PaiNN, and a perceptron from its scalar features to one number."""
    representation = Representation(
        n_atom_basis=features, n_interactions=interactions, radial_basis=basis, cutoff_fn=snn.CosineCutoff(cutoff)
    )
    return representation, snn.build_mlp(features, 1, n_layers=2)


def embeddings(representation: Representation, like: Mapping[int, int]) -> dict[str, dict[int, list[Hashable]]]:
    """What the rows of its embedding stand for: atomic numbers."""
    rows = len(representation.embedding.weight)
    return {"representation.embedding.weight": {0: [like.get(number, number) for number in range(rows)]}}


class PaiNN(PotentialModel):
    """Energy as a sum over atoms of PaiNN's scalar features through a perceptron; forces are its gradient.

    E = Σ_i e(a_i) + s Σ_i p(q_i) + Σ_{i<j} w(r_ij). The energies e of the elements come from least squares on the
    compositions of the training part, s is the root mean square of its force components times 1 Å, and w is a wall at
    short distances that the training part does not hold (`wall`), where a network goes on as it likes. The first sum is
    kept apart from the second, whose terms are of the order of one, and is added by composition, so that totals of
    thousands of eV do not blur it in single precision.

    The modules are SchNetPack's; `painn_batched` evaluates their weights, and equals them.

    Parameters
    ----------
    numbers, centres
        Atomic numbers the model knows; it predicts for all of them, so both are the same.
    cutoff
        Neighbour cut-off, Å.
    features, interactions, radial
        Width, number of layers, number of radial functions sin(kπr/cutoff)/r.
    """

    last = ("head",)
    one_body: Tensor  # (S,) eV
    scale: Tensor  # () eV
    contacts: Tensor  # (S, S) Å
    shortest: Tensor  # (S, S) Å, distances of the elements in the training part; 0: no wall

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
        self.interactions = interactions
        basis = snn.BesselRBF(n_rbf=radial, cutoff=cutoff)
        self.representation, self.head = network(features, interactions, cutoff, basis)
        self.register_buffer("one_body", torch.zeros(len(self.numbers)))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shortest", torch.zeros(len(self.numbers), len(self.numbers)))
        self.register_buffer("contacts", contacts(numbers), persistent=False)

    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Energies of the elements by least squares on composition; scale from the force components; the wall."""
        shortest = shortest_distances(self.species, len(self.numbers), batches)
        self.shortest.copy_(torch.where(torch.isfinite(shortest), shortest, 0.0))
        one_body, scale = one_body_and_scale(self.species, len(self.numbers), batches)
        self.one_body.copy_(one_body)
        self.scale.fill_(scale)

    def rescale(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """As `fit`; there is no wall at distances that the data of the weights held."""
        seen = self.shortest.clone()
        self.fit(statistics, batches)
        both = (seen > 0) & (self.shortest > 0)
        nearer, only = torch.minimum(seen, self.shortest), torch.maximum(seen, self.shortest)
        self.shortest.copy_(torch.where(both, nearer, only))

    def entries(self, like: Mapping[int, int]) -> dict[str, dict[int, list[Hashable]]]:
        """The embedding and the distances that were seen go by elements."""
        elements: list[Hashable] = [like.get(number, number) for number in self.numbers]
        return embeddings(self.representation, like) | {"shortest": {0: elements, 1: elements}}

    def weights(self) -> dict[str, Tensor]:
        """The weights by the names and in the shapes of `painn_batched`, without its first axis."""
        net, numbers = self.representation, list(self.numbers)
        features = net.n_atom_basis
        filters = torch.cat([net.filter_net.bias[:, None], net.filter_net.weight], 1)
        found = {
            "embedding": net.embedding.weight[numbers],
            "frequencies": net.radial_basis.freqs,
            "one_body": self.one_body,
            "scale": self.scale,
            "foot": torch.minimum(self.shortest, self.contacts),
            "head_in": self.head[0].weight.T,
            "head_in_bias": self.head[0].bias,
            "head_out": self.head[1].weight[0],
            "head_out_bias": self.head[1].bias[0],
        }
        parts = zip(filters.T.unflatten(1, (-1, 3, features)).unbind(1), net.interactions, net.mixing, strict=True)
        for layer, (filter_, interaction, mixing) in enumerate(parts):
            found[f"filter_{layer}"] = filter_
            found[f"mixing_{layer}"] = mixing.mu_channel_mix.weight.T.unflatten(1, (2, features))
            for name, parts_in, (first, second) in (
                ("context", (features,), interaction.interatomic_context_net),
                ("update", (2, features), mixing.intraatomic_context_net),
            ):
                found[f"{name}_{layer}_in"] = first.weight.T.unflatten(0, parts_in)
                found[f"{name}_{layer}_in_bias"] = first.bias
                found[f"{name}_{layer}_out"] = second.weight.T.unflatten(1, (3, features))
                found[f"{name}_{layer}_out_bias"] = second.bias.unflatten(0, (3, features))
        return found

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """`energy` (C,) eV, `forces` (A, 3) eV/Å and `stress` (C, 3, 3) eV/Å³, tensile positive."""
        recording = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(recording):
            weights = {name: tensor[None] for name, tensor in self.weights().items()}
            outputs = evaluate(weights, self.interactions, self.species, graph, self.cutoff, Blocks.of(graph))
            return {name: values[0] for name, values in outputs.items()}

    @classmethod
    def batched(cls, members: Sequence[PaiNN]) -> BatchedPaiNN:
        """The members as one model."""
        return BatchedPaiNN(members)

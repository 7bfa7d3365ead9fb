"""PaiNN (Schütt, Unke, Gastegger, ICML 2021) from SchNetPack with an atomwise head for contact couplings."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import schnetpack.nn as snn
from schnetpack import properties
from torch import Tensor

from ionecho.data.outputs import Output
from ionecho.geometry.graph import Graph
from ionecho.models.base import AtomicModel
from ionecho.models.domain import FEATURES
from ionecho.models.painn import embeddings, network


class PaiNNNMR(AtomicModel):
    """Contact couplings of the centres from PaiNN's scalar features.

    Parameters
    ----------
    numbers, centres
        Atomic numbers the model knows, and predicts for.
    cutoff
        Neighbour cut-off, Å.
    features, interactions, radial
        Width, number of message-passing layers, number of Gaussian radial functions.
    """

    pairs_of = "atoms"
    outputs = (Output("hyperfine_contact", "centres"),)
    needed = ("hyperfine_contact",)
    last = ("head",)

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
        basis = snn.GaussianRBF(n_rbf=radial, cutoff=cutoff)
        self.representation, self.head = network(features, interactions, cutoff, basis)

    def entries(self, like: Mapping[int, int]) -> dict[str, dict[int, list[Hashable]]]:
        """The embedding goes by elements."""
        return embeddings(self.representation, like)

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """`hyperfine_contact` (K,) in MHz."""
        species = self.species(graph.numbers)
        inputs = {
            properties.Z: graph.numbers,
            properties.Rij: graph.vectors(),
            properties.idx_i: graph.pairs[0],
            properties.idx_j: graph.pairs[1],
        }
        scalars = self.representation(inputs)["scalar_representation"][graph.centres]
        coupling = self.head(scalars).squeeze(-1)
        mean, std = self.scaling("hyperfine_contact", species[graph.centres])
        return {"hyperfine_contact": mean + std * coupling, FEATURES: scalars}

"""PaiNN (Schütt, Unke, Gastegger, ICML 2021) from SchNetPack with an atomwise head for contact couplings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import schnetpack.nn as snn
import torch
from schnetpack import properties
from torch import Tensor

from ionecho.data.loader import Batch
from ionecho.data.outputs import Output
from ionecho.geometry.graph import Graph
from ionecho.models.base import Model
from ionecho.models.painn import network
from ionecho.models.species import Statistics


class PaiNNNMR(Model):
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
    mean: Tensor
    std: Tensor

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
        self.register_buffer("mean", torch.zeros(len(self.numbers)))
        self.register_buffer("std", torch.ones(len(self.numbers)))

    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Take the mean and the standard deviation of the couplings of every element from the training part."""
        for number, found in statistics["hyperfine_contact"].items():
            index = self.numbers.index(number)
            self.mean[index], self.std[index] = found.mean, found.std or 1.0

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
        of_centre = species[graph.centres]
        return {"hyperfine_contact": self.mean[of_centre] + self.std[of_centre] * coupling}

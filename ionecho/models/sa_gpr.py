"""Symmetry-adapted regression of traceless tensors on tensorial SOAP, in closed form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from torch import Tensor, nn

from ionecho.data.loader import Batch
from ionecho.data.outputs import Output
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.lambda_soap import LambdaSoap
from ionecho.geometry.radial import SmearedOrbitals
from ionecho.geometry.soap import AtomicDensity
from ionecho.geometry.tensors import components, traceless
from ionecho.models.base import AtomicModel
from ionecho.models.least_squares import NormalEquations
from ionecho.models.species import Statistics


class SAGPR(AtomicModel):
    """Gaussian-process regression with the linear kernel of λ = 2 SOAP, of every element among the centres its own.

    V_i = std Σ_f w_f φ_f(i), with the features φ of `LambdaSoap` and the weights w that minimise
    Σ |V - V_i|² / std² + Σ_blocks ridge Σ_i |φ(i)|² / F Σ_f w_f² (Grisafi, Wilkins, Csányi and Ceriotti, Phys. Rev.
    Lett. 2018, 120, 036002; the kernel's feature space is small enough to be solved in directly). The normal equations
    are summed over the batches, so that any number of configurations is fitted in the memory of F² numbers.

    The members of an ensemble differ by the Bayesian bootstrap (Rubin, Ann. Stat. 1981, 9, 130): each weighs the
    configurations by exponential random numbers, and their spread is that of the posterior.

    Parameters
    ----------
    numbers, centres
        Atomic numbers the model knows, and predicts for.
    cutoff, cutoff_width, sigma
        Neighbour cut-off, distance over which the weight of a neighbour falls to zero there, and width of the smeared
        atoms, Å.
    label
        What is learned, traceless in the schema.
    n_max, l_max
        Number of radial functions an element, highest degree of the spherical harmonics.
    body_order
        3, or 2 for the sum over single neighbours: the baseline of all models of tensors.
    ridge
        Penalty relative to the mean square of the features, of the two-body and of every three-body block.
    bootstrap
        Whether configurations are weighed at random.
    """

    pairs_of = "centres"
    weights: Tensor  # (centres, features)

    def __init__(
        self,
        numbers: Sequence[int],
        centres: Sequence[int],
        cutoff: float,
        cutoff_width: float,
        sigma: float,
        label: str,
        n_max: int,
        l_max: int,
        body_order: int,
        ridge: float,
        bootstrap: bool,
    ) -> None:
        self.outputs = (Output(label, "centres"),)
        self.needed = (label,)
        super().__init__(numbers, centres, cutoff)
        if self.outputs[0].kind != "traceless":
            raise InputError(f"sa_gpr: expected a traceless label, {label} is a {self.outputs[0].kind}")
        if body_order not in (2, 3) or l_max < 2:
            raise InputError(f"sa_gpr: expected body_order 2 or 3 and l_max from 2 on, found {body_order} and {l_max}")
        self.ridge, self.bootstrap = ridge, bootstrap
        radial: list[nn.Module] = [SmearedOrbitals(cutoff, cutoff_width, sigma, n_max, l_max) for _ in numbers]
        self.density = AtomicDensity(radial, [cutoff] * len(self.numbers), l_max)
        self.soap = LambdaSoap(n_max * len(self.numbers), l_max, body_order)
        self.register_buffer("weights", torch.zeros(len(self.centres), sum(self.soap.sizes())))

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """The label (K, 3, 3) in its unit."""
        density = self.density(graph, self.species(graph.numbers))
        elements = self.centre_species(graph.numbers[graph.centres])
        sums = density.new_zeros(len(density), 5)
        for element, weights in enumerate(self.weights):
            rows = (elements == element).nonzero().squeeze(1)
            sums = sums.index_copy(0, rows, self.soap.sums(density.index_select(0, rows), weights))
        _, std = self.scaling(self.labels[0], self.species(graph.numbers[graph.centres]))
        return {self.labels[0]: std[:, None, None] * traceless(sums)}

    @torch.no_grad()
    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Solve for the weights on all labelled centres."""
        super().fit(statistics, batches)
        normals = [NormalEquations(self.weights.shape[1]) for _ in self.centres]
        for batch in batches:
            graph, output = batch.graph.to(dtype=self.weights.dtype), self.outputs[0]
            target = output.target(batch)
            species = self.species(graph.numbers)
            elements = self.centre_species(graph.numbers[graph.centres])
            _, std = self.scaling(output.label, species[graph.centres])
            features = self.soap.features(self.density(graph, species))
            shares = torch.distributions.Exponential(1.0).sample((len(graph.cell),)).to(target)
            share = shares[graph.configuration[graph.centres]].sqrt() if self.bootstrap else torch.ones_like(std)
            for element, normal in enumerate(normals):
                rows = output.present(target) & (elements == element)
                weight = share[rows, None]
                wanted = weight * components(target[rows] / std[rows, None, None])
                equations = (weight[..., None] * features[rows]).flatten(0, 1)
                normal.add(equations.double().numpy(), wanted.flatten().double().numpy())
        for element, normal in enumerate(normals):
            self.weights[element] = self._solved(normal)

    def _solved(self, normal: NormalEquations) -> Tensor:
        diagonal = torch.from_numpy(normal.gram.diagonal().copy())
        penalty = torch.cat([self.ridge * block.mean().expand_as(block) for block in diagonal.split(self.soap.sizes())])
        matrix = normal.gram + penalty.diag().numpy()
        try:
            return torch.from_numpy(cho_solve(cho_factor(matrix), normal.moment))
        except LinAlgError as error:
            raise InputError(f"sa_gpr: no solution ({error}); raise model.ridge or give more configurations") from error

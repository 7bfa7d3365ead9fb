"""NN-NMR: contact couplings from three-body invariants of the surroundings, the published recipe or a fitted one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ionecho.data.loader import Batch
from ionecho.data.outputs import Output
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import Gaussians, SmearedOrbitals
from ionecho.geometry.soap import AtomicDensity, by_degree, power_spectrum, quadratic
from ionecho.models.base import AtomicModel
from ionecho.models.domain import FEATURES
from ionecho.models.perceptron import perceptron
from ionecho.models.species import Statistics

Rows = Iterator[tuple[Tensor, Tensor]]


class NNNMR(AtomicModel):
    """Contact couplings of the centres from a description of their surroundings and a perceptron.

    c_{alm}     density of the surroundings in channels a (element and radial function)
    soap        p = power spectrum of c, of unit length; coupling = mean + std MLP(p)
    factored    z = (c_{a00}, Σ_m (Σ_a u_{kla} c_{alm})²); coupling = mean + std (w·z + MLP(z))

    `factored` is the power spectrum in the basis that the target chooses, as in the tensor-reduced densities of Darby
    et al., Phys. Rev. Lett. 2023, 131, 028001: `fit` solves the ridge regression on the whole power spectrum, and the
    eigenvectors of its weights are the factors u, the eigenvalues w; training refines both and the perceptron.

    Parameters
    ----------
    numbers, centres
        Atomic numbers the model knows, and predicts for.
    descriptor
        "soap" (density smeared, in Gaussian-type orbitals) or "factored" (not smeared, in Gaussians along r).
    cutoffs, n_max
        For every one of `numbers`, cut-off in Å and number of radial functions of these neighbours.
    cutoff_width
        Distance over which the weight of a neighbour falls to zero at the cut-off, Å.
    sigma
        Width of the smeared atoms ("soap") or of the radial functions ("factored"), Å.
    l_max
        Highest degree of the spherical harmonics.
    hidden, activation, dropout
        Widths of the hidden layers, a class of torch.nn after each, and the probability of dropout.
    ridge
        Penalty of the regression relative to the mean squared length of its feature vector; unused by "soap".
    """

    pairs_of = "centres"
    outputs = (Output("hyperfine_contact", "centres"),)
    needed = ("hyperfine_contact",)
    last = ("linear", "perceptron")
    feature_mean: Tensor  # (features,)
    feature_std: Tensor  # (features,)

    def __init__(
        self,
        numbers: Sequence[int],
        centres: Sequence[int],
        descriptor: Literal["soap", "factored"],
        cutoffs: Sequence[float],
        cutoff_width: float,
        sigma: float,
        n_max: Sequence[int],
        l_max: int,
        hidden: Sequence[int],
        activation: str,
        dropout: float,
        ridge: float,
    ) -> None:
        if descriptor not in ("soap", "factored"):
            raise InputError(f"nn_nmr: expected descriptor soap or factored, found {descriptor!r}")
        if not len(numbers) == len(cutoffs) == len(n_max):
            raise InputError(
                f"nn_nmr: expected one of model.cutoffs and of model.n_max for each of model.numbers {list(numbers)}, "
                f"found {list(cutoffs)} and {list(n_max)}"
            )
        super().__init__(numbers, centres, max(cutoffs))
        self.ridge = ridge
        smeared = descriptor == "soap"
        radial: list[nn.Module] = [
            SmearedOrbitals(r_cut, cutoff_width, sigma, n, l_max)
            if smeared
            else Gaussians(r_cut, min(cutoff_width, r_cut), sigma, n)
            for r_cut, n in zip(cutoffs, n_max, strict=True)
        ]
        self.density = AtomicDensity(radial, cutoffs, l_max)
        self.channels = channels = sum(n_max)
        size = (l_max + 1) * (channels * (channels + 1) // 2 if smeared else channels)
        self.factors = None if smeared else nn.Parameter(channels**-0.5 * torch.randn(l_max, channels, channels))
        self.linear = None if smeared else nn.Parameter(torch.zeros(size))
        self.perceptron = perceptron([size, *hidden, 1], getattr(nn, activation), dropout)
        if not smeared:
            for parameter in self.perceptron[-1].parameters():
                nn.init.zeros_(parameter)
        self.register_buffer("feature_mean", torch.zeros(size))
        self.register_buffer("feature_std", torch.ones(size))

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """`hyperfine_contact` (K,) in MHz."""
        features = (self._invariants(self._density(graph)) - self.feature_mean) / self.feature_std
        coupling = self.perceptron(features).squeeze(1)
        if self.linear is not None:
            coupling = coupling + features @ self.linear
        mean, std = self.scaling("hyperfine_contact", self.species(graph.numbers[graph.centres]))
        return {"hyperfine_contact": mean + std * coupling, FEATURES: features}

    def _invariants(self, density: Tensor) -> Tensor:
        """Description (K, features) from the coefficients (K, channels, (l_max + 1)²)."""
        if self.factors is None:
            return normalize(power_spectrum(density))
        first, *rest = by_degree(density.permute(2, 0, 1).contiguous(), 0)
        squares = [(block @ u.T).square().sum(0) for block, u in zip(rest, self.factors, strict=True)]
        return torch.cat([first.squeeze(0), *squares], dim=1)

    @torch.no_grad()
    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Scale features and couplings by the training part; for "factored", solve for the factors and weights."""
        super().fit(statistics, batches)
        if self.factors is not None and self.linear is not None:
            self._solve(self.factors, self.linear, batches)
        total = torch.zeros(3, len(self.feature_mean), dtype=torch.float64, device=self.mean.device)
        for density, _ in self._labelled(batches):
            features = self._invariants(density).double()
            total += torch.stack([torch.ones_like(features), features, features.square()]).sum(1)
        mean, square = total[1:] / total[0]
        std = (square - mean.square()).clamp(min=0).sqrt()
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(torch.where(std > 1e-6 * std.max(), std, 1.0))
        if self.linear is not None:
            self.linear.mul_(self.feature_std)

    def rescale(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Scale the couplings anew; the weights go with the features as they were scaled."""
        super().fit(statistics, batches)

    def _density(self, graph: Graph) -> Tensor:
        return self.density(graph, self.species(graph.numbers))

    def _labelled(self, batches: Iterable[Batch]) -> Rows:
        """Densities and couplings, in units of their spread, of the labelled centres."""
        for batch in batches:
            graph = batch.graph
            target = batch.labels["hyperfine_contact"][graph.centres]
            mean, std = self.scaling("hyperfine_contact", self.species(graph.numbers[graph.centres]))
            present = target.isfinite()
            yield self._density(graph)[present], ((target - mean) / std)[present]

    def _solve(self, factors: Tensor, linear: Tensor, batches: Iterable[Batch]) -> None:
        """Ridge regression on c_00 and all products of channels; factors diagonalise the weights of every l."""
        rows = (
            (torch.cat([first.squeeze(2), *map(quadratic, rest)], dim=1), target)
            for (first, *rest), target in (
                (by_degree(density, 2), target) for density, target in self._labelled(batches)
            )
        )
        channels = self.channels
        single, products = ridge_weights(rows, self.ridge, channels).tensor_split([channels])
        row, column = torch.triu_indices(channels, channels, device=products.device)
        form = products.new_zeros(len(factors), channels, channels)
        form[:, row, column] = products.view(len(factors), -1) * (2.0 + 2.0 * (row == column)).to(products).rsqrt()
        values, vectors = torch.linalg.eigh(form + form.mT)
        factors.copy_(vectors.mT)
        linear.copy_(torch.cat([single, values.flatten()]))


def ridge_weights(rows: Rows, ridge: float, first: int) -> Tensor:
    """Weights (F,) of the linear regression, with an intercept, of targets (N,) on features (N, F) that come in parts.

    The first `first` features and the others are penalised by `ridge` times the mean squared length of their block.
    """
    moments, waiting = torch.zeros(()), []
    for features, target in rows:
        waiting.append(torch.cat([features, target[:, None], torch.ones_like(target[:, None])], dim=1))
        if sum(map(len, waiting)) > features.shape[1]:
            moments, waiting = moments + _square(waiting), []
    moments = moments + _square(waiting) if waiting else moments
    covariance = moments[:-1, :-1] - torch.outer(moments[:-1, -1], moments[:-1, -1]) / moments[-1, -1]
    matrix, right = covariance[:-1, :-1], covariance[:-1, -1]
    blocks = matrix.diagonal().tensor_split([first])
    penalty = torch.cat([ridge * block.sum() / moments[-1, -1] * torch.ones_like(block) for block in blocks])
    return torch.linalg.solve(matrix + penalty.diag(), right)


def _square(rows: Sequence[Tensor]) -> Tensor:
    matrix = torch.cat(list(rows)).double()
    return matrix.T @ matrix

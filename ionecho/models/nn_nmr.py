"""NN-NMR: the hyperfine coupling of an ion from the SOAP description of its surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import gaussian_basis, gto_integrals
from ionecho.geometry.soap import AtomicDensity, radial_grid


class NNNMR(nn.Module):
    """Contact coupling of each centre from a three-body description and a perceptron.

    ``descriptor="soap"`` is the published recipe (rows A5 and A6): the unit-normalised SOAP power spectrum of a
    Gaussian-smeared density feeds the perceptron. ``descriptor="factored"`` keeps the three-body form but lets the model
    choose the products: invariants z_{kl} = Σ_m (Σ_a u_{kla} c_{alm})², as in the tensor-reduced densities of Darby et
    al., Phys. Rev. Lett. 2023, 131, 028001, of an unsmeared density, read out linearly plus a perceptron. `initialise`
    solves for the linear part in closed form: the factors are the eigenvectors of the ridge-regression weights of the
    full power spectrum.

    Args:
        numbers: atomic numbers of the known species.
        centres: atomic numbers of the predicted species.
        descriptor: "soap" or "factored".
        r_cut: Å.
        cutoff_width: Å over which the weight of a neighbour falls to zero at r_cut.
        sigma: Å, width of the smeared atoms (soap) or of the radial functions (factored).
        n_max: radial functions.
        l_max: highest degree of the spherical harmonics.
        hidden: widths of the hidden layers.
        activation: name of a class of torch.nn.
        dropout: probability after every hidden layer.
        ridge: penalty of the closed-form linear fit, in units of the mean squared feature vector (factored only).
    """

    pairs_of: Literal["centres"] = "centres"
    target_mean: Tensor  # () MHz
    target_std: Tensor  # () MHz
    feature_mean: Tensor  # (F,)
    feature_std: Tensor  # (F,)

    def __init__(
        self,
        *,
        numbers: Sequence[int],
        centres: Sequence[int],
        descriptor: Literal["soap", "factored"],
        r_cut: float,
        cutoff_width: float,
        sigma: float,
        n_max: int,
        l_max: int,
        hidden: Sequence[int],
        activation: str,
        dropout: float,
        ridge: float,
    ) -> None:
        super().__init__()
        self.numbers, self.centres = list(numbers), list(centres)
        self.cutoff, self.ridge = r_cut, ridge
        grid = radial_grid(r_cut)
        radial = (
            gto_integrals(grid, r_cut=r_cut, sigma=sigma, n_max=n_max, l_max=l_max)
            if descriptor == "soap"
            else gaussian_basis(grid, r_cut=r_cut, sigma=sigma, n_max=n_max)
        )
        self.density = AtomicDensity(numbers, radial, r_cut=r_cut, cutoff_width=cutoff_width, l_max=l_max)
        channels = self.density.channels
        if descriptor == "soap":
            self.invariants: nn.Module = NormalisedPowerSpectrum()
            features = (l_max + 1) * channels * (channels + 1) // 2
            self.linear = None
        else:
            self.invariants = FactoredInvariants(channels, l_max)
            features = (l_max + 1) * channels
            self.linear = nn.Linear(features, 1, bias=False)
        self.perceptron = perceptron([features, *hidden, 1], getattr(nn, activation), dropout)
        for name, value in {
            "target_mean": torch.zeros(()),
            "target_std": torch.ones(()),
            "feature_mean": torch.zeros(features),
            "feature_std": torch.ones(features),
        }.items():
            self.register_buffer(name, value)

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """Contact coupling A_iso/h of each centre, {"hyperfine_contact": (K,) MHz}."""
        features = (self.invariants(self.density(graph)) - self.feature_mean) / self.feature_std
        output = self.perceptron(features)
        if self.linear is not None:
            output = output + self.linear(features)
        return {"hyperfine_contact": output.squeeze(1) * self.target_std + self.target_mean}

    @torch.no_grad()
    def initialise(self, graphs: Sequence[Graph], targets: Sequence[Tensor]) -> None:
        """Set the standardisation, and the linear part where there is one, from the training set.

        Args:
            graphs: batches of the training set.
            targets: the labels (K,) MHz of each batch; those that are not finite are left out.

        Raises:
            InputError: fewer than two finite labels, or all of them equal.
        """
        labels = torch.cat(list(targets))
        labels = labels[labels.isfinite()]
        if len(labels) < 2 or labels.std() == 0:
            raise InputError(f"hyperfine_contact: expected at least two different training labels, found {len(labels)}")
        self.target_mean.copy_(labels.mean())
        self.target_std.copy_(labels.std())
        if isinstance(self.invariants, FactoredInvariants):
            self._fit_factors(graphs, targets)
        features = torch.cat([self.invariants(self.density(graph)).double().cpu() for graph in graphs])
        self.feature_mean.copy_(features.mean(0))
        self.feature_std.copy_(features.std(0).clamp(min=1e-6 * float(features.std(0).max())))

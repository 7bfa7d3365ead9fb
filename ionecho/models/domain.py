"""How far centres lie from what a model has learned: the Mahalanobis distance of their features.

The features of a network's last layers tell what is unlike the training data (Lee et al., NeurIPS 2018, section 2.1),
and errors of a model that is linear in them grow in proportion to this distance (Bigi, Chong, Ceriotti and Grasselli,
Mach. Learn.: Sci. Technol. 2024, 5, 045018). How they grow in fact is measured on configurations left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

FEATURES = "features"  # key of the features (K, F) of the centres in what a model returns
DISTANCE, QUANTILE = "distance", "distance_quantile"
SMALLEST = 1e-6  # variance of a direction, relative to the largest: what single precision tells
PERCENT = torch.linspace(0.0, 1.0, 101)


class Domain(nn.Module):
    """Distance d = √((f - μ)ᵀ C⁻¹ (f - μ) / F) of features from those of the training part, by element of the centre.

    Parameters
    ----------
    elements, features
        Number of elements that are predicted for, and F.
    """

    mean: Tensor  # (elements, F)
    whitening: Tensor  # (elements, F, F), with C⁻¹ / F its square
    home: Tensor  # (101,) percentiles of the distance where the model is at home: in configurations left out

    def __init__(self, elements: int, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(elements, features))
        self.register_buffer("whitening", torch.zeros(elements, features, features))
        self.register_buffer("home", torch.zeros(len(PERCENT)))

    def forward(self, features: Tensor, element: Tensor) -> Tensor:
        """Distances (K,) of features (K, F) of centres whose elements have these indices (K,)."""
        if len(self.mean) == 1:
            return ((features - self.mean[0]) @ self.whitening[0]).norm(dim=1)
        distance = features.new_zeros(len(features))
        for index, (mean, whitening) in enumerate(zip(self.mean, self.whitening, strict=True)):
            rows = (element == index).nonzero().squeeze(1)
            distance[rows] = ((features[rows] - mean) @ whitening).norm(dim=1)
        return distance

    def quantile(self, distance: Tensor) -> Tensor:
        """Share of the centres at home that lie closer."""
        return torch.searchsorted(self.home, distance.contiguous()) / len(self.home)

    def settle(self, distances: Tensor) -> None:
        """Take the distances (n,) of configurations left out as those of home."""
        self.home.copy_(torch.quantile(distances.to(self.home), PERCENT.to(self.home)))

    @torch.no_grad()
    def learn(self, parts: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Means and covariances of features (n, F) of centres of these elements (n,), which come in parts."""
        elements, size = self.mean.shape
        count = torch.zeros(elements, dtype=torch.float64)
        first = torch.zeros(elements, size, dtype=torch.float64)
        second = torch.zeros(elements, size, size, dtype=torch.float64)
        for features, element in parts:
            for index in range(elements):
                rows = features[element == index].double().cpu()
                count[index] += len(rows)
                first[index] += rows.sum(0)
                second[index] += rows.T @ rows
        mean = first / count.clamp(min=1)[:, None]
        covariance = second / count.clamp(min=1)[:, None, None] - mean[:, :, None] * mean[:, None, :]
        scale = covariance.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
        scale = scale.clamp(min=SMALLEST * scale.amax(1, keepdim=True).clamp(min=SMALLEST))
        values, vectors = torch.linalg.eigh(covariance / (scale[:, :, None] * scale[:, None, :]))
        size_of = (values.clamp(min=0) + SMALLEST * values.amax(1, keepdim=True)) * size
        self.mean.copy_(mean)
        root = vectors / size_of[:, None, :].sqrt() @ vectors.mT  # unlike the vectors, the same for all roundings
        self.whitening.copy_(root / scale[:, :, None])


@dataclass(frozen=True)
class Dispersion:
    """Standard deviation of an error, factor · d^distance · s^members, of a centre at distance d on which members of an
    ensemble differ by s (1 of a single member): the multiplicative heteroscedasticity of Harvey, Econometrica 1976, 44,
    461.
    """

    factor: float
    distance: float
    members: float

    def __call__(self, distance: Any, spread: Any = None) -> Any:
        """In the unit of the label, for arrays or tensors of distances and spreads."""
        known = self.factor * distance**self.distance
        return known if spread is None else known * spread**self.members

    def to_dict(self) -> dict[str, float]:
        """As it is stored."""
        return asdict(self)


def dispersions(stored: Mapping[str, Mapping[str, float]]) -> dict[str, Dispersion]:
    """By output, as they are stored."""
    return {name: Dispersion(**values) for name, values in stored.items()}

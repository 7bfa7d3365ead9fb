"""Tensorial SOAP of degree two: products of neighbour densities that turn as a symmetric traceless tensor does.

Grisafi, Wilkins, Csányi and Ceriotti, Phys. Rev. Lett. 2018, 120, 036002, eq. 7, with real spherical harmonics.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sphericart.torch import SphericalHarmonics
from torch import Tensor, nn

from ionecho.geometry.soap import by_degree

LAMBDA = 2


@cache
def couplings(first: int, second: int) -> Tensor:
    """Clebsch-Gordan coefficients of the degrees (first, second) and two, (2 first + 1, 2 second + 1, 5).

    For an even sum of the degrees they are the integrals of three spherical harmonics, here by quadrature, of unit
    norm over the first two axes.
    """
    order = first + second + LAMBDA
    cosine, weight = np.polynomial.legendre.leggauss(order // 2 + 1)
    angle = 2 * np.pi * np.arange(order + 1) / (order + 1)
    sine = np.sqrt(1 - cosine**2)
    grid = np.stack([np.outer(sine, np.cos(angle)), np.outer(sine, np.sin(angle)), np.outer(cosine, 0 * angle + 1)], -1)
    harmonics = SphericalHarmonics(max(first, second, LAMBDA))(torch.from_numpy(grid.reshape(-1, 3)))
    degrees = by_degree(harmonics, 1)
    weights = torch.from_numpy(np.repeat(weight, len(angle)))
    integrals = torch.einsum("g,ga,gb,gc->abc", weights, degrees[first], degrees[second], degrees[LAMBDA])
    return integrals / integrals.flatten(0, 1).norm(dim=0)


def degree_pairs(l_max: int) -> list[tuple[int, int]]:
    """Degrees (l, l') with l <= l' whose products have a part of degree two and no change under inversion."""
    return [
        (first, second)
        for first in range(l_max + 1)
        for second in (first, first + LAMBDA)
        if second <= l_max and first + second >= LAMBDA
    ]


class LambdaSoap(nn.Module):
    """Features of degree two of densities, and their sums with weights.

    φ_k = c_{k2} of all channels k and, three-body, φ_{kk'll'} = Σ_{mm'} C^{2μ}_{lml'm'} c_{klm} c_{k'l'm'}. Of equal
    degrees, where it is symmetric, those with k <= k', the others times √2: scalar products of features are the kernel.

    Parameters
    ----------
    channels
        Of the density.
    l_max
        Highest degree of the spherical harmonics.
    body_order
        2: the density's own components; 3: the products of two as well.
    """

    def __init__(self, channels: int, l_max: int, body_order: int) -> None:
        super().__init__()
        self.channels, self.pairs = channels, degree_pairs(l_max) if body_order == 3 else []
        for first, second in self.pairs:
            coefficients = couplings(first, second).to(torch.get_default_dtype())
            self.register_buffer(f"couplings_{first}_{second}", coefficients, persistent=False)

    def sizes(self) -> list[int]:
        """Numbers of features: of the two-body ones and of those of every pair of degrees."""
        own, half = self.channels, self.channels * (self.channels + 1) // 2
        return [own, *(half if first == second else own**2 for first, second in self.pairs)]

    def features(self, density: Tensor) -> Tensor:
        """Of coefficients (K, channels, (l_max + 1)²), (K, 5, features)."""
        degrees = by_degree(density, 2)
        parts = [degrees[LAMBDA].mT]
        row, column = torch.triu_indices(self.channels, self.channels, device=density.device)
        doubled = (2.0 - (row == column).to(density)).sqrt()
        for first, second in self.pairs:
            products = self._products(degrees, first, second)
            parts.append(products[:, :, row, column] * doubled if first == second else products.flatten(2))
        return torch.cat(parts, dim=2)

    def _products(self, degrees: tuple[Tensor, ...], first: int, second: int) -> Tensor:
        coupling = getattr(self, f"couplings_{first}_{second}")
        half = torch.einsum("kam,mnc->kcan", degrees[first], coupling)
        return half @ degrees[second].mT[:, None]

    def sums(self, density: Tensor, weights: Tensor) -> Tensor:
        """Σ_f w_f φ_f (K, 5) with weights (features,), without making the features."""
        degrees = by_degree(density, 2)
        own, *parts = weights.split(self.sizes())
        total = own @ degrees[LAMBDA]
        for (first, second), part in zip(self.pairs, parts, strict=True):
            coupling = getattr(self, f"couplings_{first}_{second}")
            mixed = self._matrix(part, first == second) @ degrees[second]
            pairs = (degrees[first].mT @ mixed).flatten(1)  # (K, m n)
            total = total + pairs @ coupling.flatten(0, 1)
        return total

    def _matrix(self, weights: Tensor, symmetric: bool) -> Tensor:
        """Weights of the products of the channels, (channels, channels)."""
        if not symmetric:
            return weights.unflatten(0, (self.channels, self.channels))
        row, column = torch.triu_indices(self.channels, self.channels, device=weights.device)
        matrix = weights.new_zeros(self.channels, self.channels)
        matrix[row, column] = weights * (2.0 - (row == column).to(weights)).sqrt()
        return matrix

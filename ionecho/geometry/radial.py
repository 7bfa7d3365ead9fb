"""Radial functions of an atomic density."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import interpolate, special
from torch import Tensor, nn

FloatArray = NDArray[np.float64]

SPACING = 0.02  # Å between the knots of the splines
GTO_DECAY = 1e-3  # value to which the n-th primitive has fallen at the n-th radius (Himanen et al. 2020)


def gto_integrals(r: FloatArray, r_cut: float, sigma: float, n_max: int, l_max: int) -> FloatArray:
    """Overlap of a Gaussian of width sigma at distance r with orthonormal Gaussian-type orbitals g_nl.

    I_nl(r) = 4π ∫ g_nl(x) exp(-(x² + r²)/2σ²) i_l(x r/σ²) x² dx in closed form, with
    g_nl(x) = Σ_n' β_nn'l x^l exp(-α_n'l x²) as in Himanen et al., Comput. Phys. Commun. 2020, 247, 106949.

    Parameters
    ----------
    r
        Distances (R,), Å.
    r_cut, sigma
        Radius at which the widest primitive has decayed, and width of the smeared atom, Å.
    n_max, l_max
        Number of orbitals, highest degree.

    Returns
    -------
    (R, l_max + 1, n_max)
    """
    eta = 0.5 / sigma**2
    radii = np.linspace(1.0, r_cut, n_max)
    integrals = []
    for degree in range(l_max + 1):
        alpha = -np.log(GTO_DECAY / radii**degree) / radii**2
        overlap = 0.5 * special.gamma(degree + 1.5) * (alpha[:, None] + alpha) ** (-degree - 1.5)
        value, vector = np.linalg.eigh(overlap)
        beta = vector / np.sqrt(value) @ vector.T
        scale = np.pi**1.5 * eta**degree / (alpha + eta) ** (degree + 1.5)
        primitives = r[:, None] ** degree * np.exp(-alpha * eta / (alpha + eta) * r[:, None] ** 2)
        integrals.append(primitives * scale @ beta)
    return np.stack(integrals, axis=1)


def cosine_cutoff(r: Tensor, r_cut: float, width: float) -> Tensor:
    """One up to r_cut - width, then half a cosine down to zero at r_cut; lengths in Å."""
    return 0.5 + 0.5 * torch.cos(torch.pi * ((r - r_cut + width) / width).clamp(0.0, 1.0))


class SmearedOrbitals(nn.Module):
    """`gto_integrals` times the cut-off function, from a cubic spline through values in double precision.

    Parameters
    ----------
    r_cut, cutoff_width, sigma
        Cut-off, distance over which the weight falls to zero there, and width of the smeared atoms, Å.
    n_max, l_max
        Number of radial functions, highest degree.
    """

    coefficients: Tensor  # (4, (l_max + 1) n_max, knots) highest power first

    def __init__(self, r_cut: float, cutoff_width: float, sigma: float, n_max: int, l_max: int) -> None:
        super().__init__()
        knots = np.linspace(0.0, r_cut, round(r_cut / SPACING) + 1)
        weight = cosine_cutoff(torch.from_numpy(knots), r_cut, cutoff_width).numpy()
        values = weight[:, None, None] * gto_integrals(knots, r_cut, sigma, n_max, l_max)
        self.tabulate(knots, values)

    def tabulate(self, knots: FloatArray, values: FloatArray) -> None:
        """Take the values (R, l_max + 1, n_max) at equidistant knots (R,) from zero; constant beyond the last."""
        self.spacing, self.shape = float(knots[1]), values.shape[1:]
        cubic = interpolate.CubicSpline(np.arange(len(knots)), values.reshape(len(knots), -1)).c
        coefficients = torch.from_numpy(cubic).mT.contiguous().to(torch.get_default_dtype())
        self.register_buffer("coefficients", coefficients, persistent=False)

    def forward(self, r: Tensor) -> Tensor:
        """Values (l_max + 1, n_max, P) at the distances (P,) in Å."""
        last = self.coefficients.shape[2]
        x = (r / self.spacing).clamp(max=last)
        knot = x.detach().long().clamp(max=last - 1)
        a, b, c, d = (table.index_select(1, knot) for table in self.coefficients)
        t = x - knot
        return (((a * t + b) * t + c) * t + d).unflatten(0, self.shape)


class Gaussians(nn.Module):
    """Gaussians of width sigma centred at r_cut - n_max sigma, ..., r_cut - sigma, times the cut-off function.

    The same for every degree l; the parameters are those of `SmearedOrbitals`.
    """

    centres: Tensor  # (n_max, 1)

    def __init__(self, r_cut: float, cutoff_width: float, sigma: float, n_max: int) -> None:
        super().__init__()
        self.r_cut, self.cutoff_width, self.sigma = r_cut, cutoff_width, sigma
        self.register_buffer("centres", r_cut - sigma * torch.arange(n_max, 0, -1)[:, None], persistent=False)

    def forward(self, r: Tensor) -> Tensor:
        """Values (1, n_max, P) at the distances (P,) in Å."""
        gaussians = torch.exp(-0.5 * ((r - self.centres) / self.sigma).square())
        return (gaussians * cosine_cutoff(r, self.r_cut, self.cutoff_width))[None]


def envelope(r: Tensor, cutoff: float) -> Tensor:
    """Cosine cut-off: one at zero, zero with zero slope from the cut-off on; lengths in Å."""
    return cosine_cutoff(r, cutoff, cutoff)


def envelope_slope(r: Tensor, cutoff: float) -> Tensor:
    """Derivative of the envelope by the distance, 1/Å."""
    return -0.5 * torch.pi / cutoff * torch.sin(torch.pi * (r / cutoff).clamp(max=1.0))


def radial_basis(r: Tensor, cutoff: float, count: int) -> Tensor:
    """Spherical Bessel functions sin(nπr/c)/r times the envelope, (P, count) (Gasteiger et al., ICLR 2020, eq. 7)."""
    order = torch.arange(1, count + 1, dtype=r.dtype, device=r.device)
    bessel = (2 / cutoff) ** 0.5 * torch.sin(order * torch.pi / cutoff * r[:, None]) / r[:, None]
    return bessel * envelope(r, cutoff)[:, None]

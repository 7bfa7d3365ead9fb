"""Radial functions of an atomic density, tabulated once in double precision and read through a cubic spline."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import interpolate, special
from torch import Tensor

FloatArray = NDArray[np.float64]

GTO_DECAY = 1e-3  # value to which the n-th primitive has fallen at the n-th radius (Himanen et al. 2020)


def gto_integrals(r: FloatArray, r_cut: float, sigma: float, n_max: int, l_max: int) -> FloatArray:
    """Overlap of a Gaussian of width sigma at distance r with orthonormal Gaussian-type orbitals g_nl.

    I_nl(r) = 4π ∫ g_nl(x) exp(-(x² + r²)/2σ²) i_l(x r/σ²) x² dx in closed form, with
    g_nl(x) = Σ_n' β_nn'l x^l exp(-α_n'l x²) as in Himanen et al., Comput. Phys. Commun. 2020, 247, 106949.

    Parameters
    ----------
    r
        Distances (R,), Å.
    r_cut
        Radius at which the widest primitive has decayed, Å.
    sigma
        Å.

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


def gaussian_basis(r: FloatArray, r_cut: float, sigma: float, n_max: int) -> FloatArray:
    """Gaussians of width sigma centred at r_cut - n_max sigma, ..., r_cut - sigma (Å), for every l, (R, 1, n_max)."""
    centres = r_cut - sigma * np.arange(n_max, 0, -1)
    return np.exp(-0.5 * ((r[:, None, None] - centres) / sigma) ** 2)


def cosine_cutoff(r: FloatArray, r_cut: float, width: float) -> FloatArray:
    """One up to r_cut - width, then half a cosine down to zero at r_cut; lengths in Å."""
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((r - r_cut + width) / width, 0.0, 1.0))


class RadialTable(torch.nn.Module):
    """Cubic spline through functions tabulated on a uniform grid from zero, constant beyond it.

    Parameters
    ----------
    spacing
        Distance between knots, Å.
    values
        The functions at 0, spacing, 2 spacing, ..., (R, ...).
    """

    coefficients: Tensor  # (4, functions, R - 1) highest power first

    def __init__(self, spacing: float, values: FloatArray) -> None:
        super().__init__()
        self.spacing, self.end, self.shape = spacing, spacing * (len(values) - 1), values.shape[1:]
        cubic = interpolate.CubicSpline(np.arange(len(values)), values.reshape(len(values), -1)).c
        coefficients = torch.from_numpy(cubic).mT.contiguous().to(torch.get_default_dtype())
        self.register_buffer("coefficients", coefficients, persistent=False)

    def forward(self, r: Tensor) -> Tensor:
        """Values (..., P) at the distances (P,) in Å."""
        last = self.coefficients.shape[2]
        x = (r / self.spacing).clamp(max=last)
        knot = x.detach().long().clamp(max=last - 1)
        a, b, c, d = (table.index_select(1, knot) for table in self.coefficients)
        t = x - knot
        return (((a * t + b) * t + c) * t + d).unflatten(0, self.shape)

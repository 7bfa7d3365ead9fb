"""Exchange between n sites: populations, k_ex, time averages and the exact line shape, from a matrix of jump rates.

`rates` (n, n) 1/s holds the rate from site a to site b in [a, b]; its diagonal is not read. Populations obey
dp/dt = K p with K = rates^T - diag(sum of each row), whose columns add up to 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionecho.errors import InputError

Floats = NDArray[np.float64]

CLOSED = 1e-9  # relaxation rates below this share of the fastest are zero: parts that never exchange
SMALL = 1e-4  # arguments of averages below which a series is more exact


def generator(rates: ArrayLike) -> Floats:
    """K (n, n) of dp/dt = K p, 1/s."""
    matrix = np.array(rates, float)
    np.fill_diagonal(matrix, 0.0)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all() or matrix.min() < 0:
        raise InputError(f"exchange: expected a square matrix of rates, none negative, found {matrix.tolist()}")
    result: Floats = matrix.T - np.diag(matrix.sum(axis=1))
    return result


def equilibrium(rates: ArrayLike) -> Floats:
    """Populations (n,) that the jumps keep, K p = 0.

    Raises
    ------
    InputError
        If the sites fall into parts between which no ion jumps: their populations are not in the rates.
    """
    matrix = generator(rates)
    _, sizes, directions = np.linalg.svd(matrix)
    if (sizes <= CLOSED * max(sizes[0], np.finfo(float).tiny)).sum() != 1:
        raise InputError("exchange: some sites never exchange with others; give their populations")
    populations: Floats = directions[-1] / directions[-1].sum()
    return populations


def exchange_rate(rates: ArrayLike, populations: ArrayLike, values: ArrayLike) -> float:
    """k_ex, 1/s: what the correlation of `values` (n,), such as shifts, decays with; two sites: k12 + k21.

    The reciprocal of the integral of C(t) / C(0) after the part of C that never decays; 0 where nothing decays.
    """
    decay, weights = _correlation(rates, populations, values)
    moving = decay.real < 0
    area = (weights[moving] / -decay[moving]).sum().real
    return float(weights[moving].sum().real / area) if area > 0 else 0.0


def correlation(times: ArrayLike, rates: ArrayLike, populations: ArrayLike, values: ArrayLike) -> Floats:
    """<v(0) v(t)> - <v>^2 at `times` (T,) s of one ion that jumps, (T,) in the unit of `values` (n,) squared."""
    decay, weights = _correlation(rates, populations, values)
    return (np.exp(np.multiply.outer(np.asarray(times, float), decay)) @ weights).real


def variance_of_mean(times: ArrayLike, rates: ArrayLike, populations: ArrayLike, values: ArrayLike) -> Floats:
    """Variance (T,) of the mean of `values` (n,) that one ion has over windows of `times` (T,) s.

    (2 / W^2) times the integral of (W - t) C(t) from 0 to W. Two sites with tau = 1 / (k12 + k21):
    2 p1 p2 D^2 (tau / W) [1 - (tau / W) (1 - exp(-W / tau))].
    """
    decay, weights = _correlation(rates, populations, values)
    x = np.multiply.outer(np.asarray(times, float), decay)
    safe = np.where(np.abs(x) < SMALL, 1.0, x)
    share = np.where(np.abs(x) < SMALL, 1 + x / 3, 2 * (np.exp(safe) - 1 - safe) / safe**2)
    return (share @ weights).real


def line_shape(
    frequencies: ArrayLike, offsets: ArrayLike, rates: ArrayLike, populations: ArrayLike, relaxation: ArrayLike
) -> Floats:
    """Absorption spectrum (F,), 1/Hz, of spins that jump between n sites, of unit area.

    S = 2 Re 1^T [i (w - Omega) + R2 - K]^-1 p, the exact solution of the Bloch-McConnell equations (Bain, Prog. NMR
    Spectrosc. 2003, 43, 63), of any rates.

    Parameters
    ----------
    frequencies
        (F,) Hz.
    offsets
        (n,) Hz, the lines of the sites without exchange.
    rates, populations
        (n, n) 1/s and (n,).
    relaxation
        R2 of all sites or of each, 1/s: pi times the full width at half maximum of its line without exchange.
    """
    shift, places = np.asarray(offsets, float), np.asarray(frequencies, float)
    share, decay = _shares(populations), np.broadcast_to(np.asarray(relaxation, float), shift.shape)
    if (decay <= 0).any():
        raise InputError(f"exchange: expected relaxation rates above 0, found {decay.min():g} 1/s")
    static = np.diag(decay - 2j * np.pi * shift) - generator(rates)
    matrix = static + 2j * np.pi * places[:, None, None] * np.eye(len(shift))
    amplitude = np.linalg.solve(matrix, np.broadcast_to(share[:, None], (len(places), len(share), 1)))
    result: Floats = 2 * amplitude.sum(axis=(1, 2)).real
    return result


def _correlation(rates: ArrayLike, populations: ArrayLike, values: ArrayLike) -> tuple[NDArray, NDArray]:
    """Eigenvalues of K (n,), 1/s, those of closed parts 0, and their weights in the correlation of `values`."""
    share, value = _shares(populations), np.asarray(values, float)
    value = value - share @ value
    decay, vectors = np.linalg.eig(generator(rates))
    decay = np.where(np.abs(decay) <= CLOSED * np.abs(decay).max(), 0.0, decay)
    weights: NDArray = (value @ vectors) * np.linalg.solve(vectors, share * value)
    return decay, weights


def _shares(populations: ArrayLike) -> Floats:
    share = np.asarray(populations, float)
    if (share < 0).any() or not np.isclose(share.sum(), 1):
        raise InputError(f"exchange: expected populations that add up to 1, found {share.tolist()}")
    return share

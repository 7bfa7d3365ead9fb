"""Variance of the mean of one correlated time series, from its spectrum at zero frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz
from scipy.stats import chi2

Floats = NDArray[np.float64]

COARSE = 256  # samples at least that are left after averaging over pairs of neighbours
ORDER, SHARE = 12, 10  # of the autoregression at most; samples a parameter at least
INDEPENDENT = 50.0  # samples worth that many independent ones are needed to say "converged"
BIAS = 10.0  # the variance is raised by this share of one over the independent samples, see docs/statistics.md
BLOCKS, LIKELY = 16, 0.99  # the mean scatters between so many blocks as the autoregression says, with this probability


@dataclass(frozen=True)
class MeanVariance:
    """`variance` of the mean of a series worth `independent` samples, itself known with `freedom` degrees.

    Not `converged` where the series is worth fewer than 50 independent samples, where it never changes, or where its
    long blocks scatter by more than the autoregression says.
    """

    variance: float
    freedom: float
    independent: float
    converged: bool


def mean_variance(series: Floats) -> MeanVariance:
    """Of the mean of `series` (T,), T >= 2, equally spaced and stationary.

    S(0) / T with the spectral density of an autoregression (Heidelberger and Welch, Commun. ACM 1981, 24, 233; Plummer
    et al., R News 2006, 6, 7) fitted by Burg's method to averages over neighbours; its order is that of the least
    corrected Akaike criterion.
    """
    coarse = series
    while coarse.size >= 2 * COARSE:
        coarse = _pairs(coarse)
    count = coarse.size
    residual = coarse - coarse.mean()
    scatter = float(residual @ residual) / (count - 1)
    if scatter <= np.square(np.finfo(float).eps * np.abs(series).max()):
        return MeanVariance(0.0, np.inf, 1.0, False)
    noise, weights = _burg(residual, min(ORDER, count // SHARE))
    gain = 1 - float(weights.sum())
    density = noise / gain**2
    relative = 2 / count  # variance of the density, relative
    if order := weights.size:
        covariance = np.array([residual[lag:] @ residual[: count - lag] for lag in range(order)]) / count
        relative += 4 * noise * solve_toeplitz(covariance, np.ones(order)).sum() / count / gain**2
    independent = count * scatter / density
    variance = density / count * (1 + BIAS / independent)
    blocks = coarse
    while blocks.size >= 2 * BLOCKS:
        blocks = _pairs(blocks)
    free = blocks.size - 1
    likely = blocks.var(ddof=1) / blocks.size / variance * free < chi2.ppf(LIKELY, free)
    return MeanVariance(
        variance=float(variance),
        freedom=float(2 / relative),
        independent=float(min(series.var(ddof=1) / variance, series.size)),
        converged=bool(independent >= INDEPENDENT and likely),
    )


def _pairs(series: Floats) -> Floats:
    """Averages of neighbours."""
    averages: Floats = series[: series.size // 2 * 2].reshape(-1, 2).mean(axis=1)
    return averages


def _burg(residual: Floats, highest: int) -> tuple[float, Floats]:
    """Variance of the innovations and weights (p,) of x_t = sum_k w_k x_{t-k} + innovation, of the best order p."""
    count = residual.size
    forward, backward = residual, residual
    noise, weights = float(residual @ residual / count), np.zeros(0)
    best = (np.inf, noise, weights)
    for order in range(highest + 1):
        if order:
            ahead, behind = forward[1:], backward[:-1]
            reflection = float(2 * (ahead @ behind) / (ahead @ ahead + behind @ behind))
            forward, backward = ahead - reflection * behind, behind - reflection * ahead
            weights = np.r_[weights - reflection * weights[::-1], reflection]
            noise *= 1 - reflection**2
        left = count - order - 2
        if left <= 0 or noise <= 0:
            break
        criterion = count * np.log(noise) + 2 * order * count / left
        best = min(best, (criterion, noise * count / (count - order - 1), weights), key=lambda fit: fit[0])
    return best[1], best[2]

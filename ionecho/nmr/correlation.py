"""Time correlation functions of moving spins: over all time origins of a trajectory, and exactly for Markov jumps.

What an ion does is taken to be stationary, so that every frame is a time origin. Curves are kept for every ion, as ions
are what errors are taken over.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import expm

from ionecho.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Scheme = Literal["initial", "covariance", "min_max"]

NUMBERS = 2**20  # of one series transformed at once


def thinned_lags(longest: int, per_decade: int) -> Integers:
    """Lags 0 ... `longest` in frames, evenly spaced on a logarithmic scale from where frames are dense enough."""
    count = int(np.ceil(per_decade * np.log10(max(longest, 2)))) + 1
    return np.unique(np.concatenate([[0], np.rint(np.geomspace(1, max(longest, 1), count))])).astype(np.int64)


def correlation(first: ArrayLike, second: ArrayLike, lags: ArrayLike) -> Floats:
    """<x(t) y(t + m)> of every ion, the mean over all time origins t, by Fourier transform.

    Each lag m is divided by its own number of pairs T - m, so that the estimate has no bias. Wiener-Khinchin theorem;
    Calandrini et al., Collection SFN 2011, 12, 201.

    Parameters
    ----------
    first, second
        x and y, (T, K), or (T, K, C) with components C that are summed over; the same object for an autocorrelation.
    lags
        (L,) m in frames, below T.

    Returns
    -------
    ndarray
        (L, K), in the product of both units.
    """
    x, y, lag = np.asarray(first), np.asarray(second), np.asarray(lags, int)
    frames, ions = x.shape[:2]
    size = next_fast_len(frames + int(lag.max()), real=True)
    result = np.empty((len(lag), ions))
    width = max(NUMBERS // x[:, 0].size, 1)
    for start in range(0, ions, width):
        chosen = slice(start, start + width)
        spectrum = rfft(np.asarray(x[:, chosen], float), size, axis=0)
        other = spectrum if y is x else rfft(np.asarray(y[:, chosen], float), size, axis=0)
        product = spectrum.conj() * other
        product = product.sum(axis=-1) if product.ndim == 3 else product
        result[:, chosen] = irfft(product, size, axis=0)[lag]
    return result / (frames - lag)[:, None]


def resampled_means(curves: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Means (B, L) of curves (L, K) over K ions drawn with replacement, B times."""
    ions = curves.shape[1]
    return rng.multinomial(ions, np.full(ions, 1 / ions), size=resamples) @ curves.T / ions


def normalised(means: Floats, scheme: Scheme = "initial") -> Floats:
    """Curves (..., L) brought to 1 at their first lag.

    `initial`: divided by the first value, so that a plateau keeps its meaning. `covariance`: the same of series whose
    mean was removed beforehand. `min_max`: the smallest value is 0 and the largest 1.

    Raises
    ------
    InputError
        If there is nothing that fluctuates.
    """
    low = means.min(axis=-1, keepdims=True) if scheme == "min_max" else 0.0
    high = means.max(axis=-1, keepdims=True) if scheme == "min_max" else means[..., :1]
    if np.any(high - low <= 0):
        raise InputError("correlation: the series is zero (or constant, with its mean removed) in all frames")
    return (means - low) / (high - low)


def jump_correlation(
    rates: ArrayLike, populations: ArrayLike, first: ArrayLike, second: ArrayLike, time: float
) -> float:
    """<x(0) y(t)> of a Markov jump process between N sites, exactly: sum_ij y_j [exp(K t)]_ji p_i x_i.

    Parameters
    ----------
    rates
        K (N, N) 1/s: K_ji from site i to site j, columns sum to zero.
    populations
        p (N,), with K p = 0.
    first, second
        x and y at each site, (N,).
    time
        s.
    """
    moved = expm(np.asarray(rates, float) * time) @ (np.asarray(populations, float) * np.asarray(first, float))
    return float(np.asarray(second, float) @ moved)

"""How well a mean squared displacement and its slope are known when ions move together, hop rarely and unequally."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

Floats = NDArray[np.float64]

MOST, LEAST = 200, 20  # blocks of time


@dataclass(frozen=True)
class Walk:
    """Displacements of all ions over `blocks` contiguous blocks of `length` frames, as a sum of independent steps.

    A mean squared displacement, and the slope of a line through it, is a quadratic form of the steps x_s (of all ions
    at once), sum_st A_st x_s.x_t. For independent steps of covariance C its relative variance is
    2 tr(A^2) / tr(A)^2 R + sum_s A_ss^2 / tr(A)^2 kappa, with R = `shared` = tr(C^2) / tr(C)^2 and kappa = `excess`,
    the excess of the variance of |x|^2 over 2 tr(C^2), relative to tr(C)^2. K independent equal ions in d dimensions
    have R = 1 / (d K), ions that move in twos twice that; rare hops raise kappa. Both are taken from pairs of
    different blocks, without bias.
    """

    length: int
    blocks: int
    shared: float
    excess: float

    @staticmethod
    def of(paths: Floats, length: int) -> Walk:
        """From unwrapped paths (T, K, d); blocks of `length` frames, at least 20 and at most 200 of them."""
        steps = len(paths) - 1
        length = max(1, -(-steps // MOST), min(length, steps // LEAST))
        moved = np.diff(paths[::length].reshape(-(-len(paths) // length), -1), axis=0)
        products = moved @ moved.T
        squares, blocks = np.diag(products).copy(), len(moved)
        if blocks < 2:
            return Walk(length, blocks, 1.0, 0.0)
        pairs = blocks * (blocks - 1)
        whole = (squares.sum() ** 2 - np.square(squares).sum()) / pairs  # tr(C)^2
        common = (np.square(products).sum() - np.square(squares).sum()) / pairs  # tr(C^2)
        if whole <= 0:
            return Walk(length, blocks, 1.0, 0.0)
        excess = max(0.0, float(squares.var(ddof=1)) - 2 * common)
        return Walk(length, blocks, float(common / whole), excess / whole)

    def slope_variance(self, first: int, last: int) -> float:
        """Relative variance of the slope of a straight line through the lags `first` to `last` (frames)."""
        low = max(1, round(first / self.length))
        lags = np.arange(low, max(low + 1, min(round(last / self.length), self.blocks - 1)) + 1)
        return self._variance(lags, (lags - lags.mean()) / np.square(lags - lags.mean()).sum())

    def msd_variances(self, lags: ArrayLike) -> Floats:
        """Relative variance of the mean squared displacement at `lags` (frames), (n,)."""
        whole = np.asarray(lags, float) / self.length
        wanted = np.unique(np.clip(np.rint(np.geomspace(1, max(whole.max(), 1), 12)), 1, self.blocks).astype(int))
        found = [self._variance(np.array([lag]), np.ones(1)) for lag in wanted]
        return np.interp(whole, wanted, found)

    def _variance(self, lags: NDArray[np.int64], weights: Floats) -> float:
        """Relative variance of the sum over `lags` (blocks) of `weights` times the mean squared displacement."""
        place = np.arange(self.blocks)
        early, late = np.minimum.outer(place, place), np.maximum.outer(place, place)
        form = np.zeros((self.blocks, self.blocks))
        for lag, weight in zip(lags, weights, strict=True):
            origins = self.blocks - lag + 1
            holding = np.minimum(early, origins - 1) - np.maximum(late - lag + 1, 0) + 1
            form += weight / origins * np.maximum(holding, 0)
        trace = np.trace(form)
        own = np.square(np.diag(form)).sum()
        return float((2 * np.square(form).sum() * self.shared + own * self.excess) / trace**2)


def gamma_interval(value: float, relative_variance: float, confidence: float) -> tuple[float, float]:
    """Where the truth lies when an estimate of a positive number, gamma distributed about it, came out as `value`."""
    freedom = 2 / relative_variance
    low, high = chi2.ppf([(1 - confidence) / 2, (1 + confidence) / 2], freedom)
    return float(value * freedom / high), float(value * freedom / low)

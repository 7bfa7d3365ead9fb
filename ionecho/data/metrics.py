"""Errors of predictions, over configurations left out of training, and of their spreads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as fisher
from scipy.stats import spearmanr

from ionecho.errors import InputError

Floats = NDArray[np.floating]
AGREEMENT = 1e-6  # of the spread with the error: rounding


def errors(predicted: Floats, true: Floats) -> dict[str, float | int | None]:
    """RMSE, MAE, bias (mean signed error) in the unit given, R2 about the mean of `true`, and the number of values.

    R2 is None where all of `true` are equal.
    """
    error = np.asarray(predicted, float) - np.asarray(true, float)
    residual, total = np.sum(error**2), np.sum((true - np.mean(true)) ** 2)
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "bias": float(np.mean(error)),
        "r2": float(1 - residual / total) if total > 0 else None,
        "n": int(error.size),
    }


def summary(values: list[float | None]) -> dict[str, float | list[float | None]] | None:
    """Values over folds with their mean and standard deviation (n - 1); None where a fold has none."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return {"folds": values, "mean": float(np.mean(known)), "std": spread}


def calibration_factor(error: Floats, spread: Floats) -> float:
    """Factor that makes the mean square of the spreads that of the errors.

    The likelihood of normal errors would take the mean of error²/spread², which the few members of an ensemble blow up:
    their variance has M - 1 degrees of freedom a component, and that mean does not exist for two of them.

    Raises
    ------
    InputError
        If the members agree, but for rounding.
    """
    wrong, apart = (float(np.sqrt(np.mean(each**2))) for each in (error, spread))
    if apart <= AGREEMENT * wrong:
        raise InputError("ensemble: its members agree exactly, so their spread tells nothing; see member_overrides")
    return wrong / apart


def calibration(error: Floats, spread: Floats, members: int, bins: int = 10, components: int = 1) -> dict[str, object]:
    """How far a calibrated spread tells the error.

    Of vectors, `error` is their length and `spread` the root of the summed squares over the `components`.

    Returns the ratio of the errors' root mean square to the spreads' (1 is ideal), the fractions of errors within one
    and two spreads, what they are where errors and `members` are drawn from one normal distribution (of F with c and
    (M - 1) c degrees of freedom), the rank correlation of spread with |error|, and the reliability curve: mean spread
    against root mean square error in equally filled bins.
    """
    error = np.abs(error)
    correlation = spearmanr(spread, error).statistic
    drawn = fisher(components, (members - 1) * components)
    return {
        "rmse_over_spread": float(np.sqrt(np.mean(error**2) / np.mean(spread**2))),
        "within_1": float(np.mean(error <= spread)),
        "within_2": float(np.mean(error <= 2 * spread)),
        "expected_within": [float(drawn.cdf(k**2)) for k in (1, 2)],
        "rank_correlation": float(correlation) if np.isfinite(correlation) else None,
        "reliability": reliability(error, spread, bins),
    }


def reliability(error: Floats, spread: Floats, bins: int) -> dict[str, list[float]]:
    """Root mean squares of the spread and of the error in equally filled bins of the spread."""
    order = np.array_split(np.argsort(spread), min(bins, spread.size))
    return {
        "spread": [float(np.sqrt(np.mean(spread[part] ** 2))) for part in order],
        "rmse": [float(np.sqrt(np.mean(error[part] ** 2))) for part in order],
    }

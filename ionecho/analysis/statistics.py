"""Errors of trajectory means: in time and between runs, spread over an ensemble of models, and their budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from scipy.stats import t as student

from ionecho.analysis.autoregression import mean_variance

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MINIMUM_BLOCKS = 16  # fewer blocks give an error too uncertain (> 18 %) to draw it as one
TWO_SIGMA = 2 * norm.cdf(2) - 1
REPLICAS = 5  # independent runs whose scatter is an error of its own, whatever is known of each
COMPARABLE = 4  # a run this many times shorter than the longest does not tell how runs scatter


@dataclass(frozen=True)
class BlockAverage:
    """Mean of one time series or of several runs of one system, and its standard error.

    `error` is such that mean +- 2 `error` covers the truth in 95.4 % of cases: Student's factor of its `freedom` is in
    it. Where not `converged` it is a lower bound. `inefficiency` is the number of correlated samples worth an
    independent one, `between` the standard deviation of the runs beyond their own errors (None: fewer than two runs
    that compare). `lengths`, `counts`, `errors` and `errors_of_errors` have one entry a blocking level, for the eye.
    Too few samples for any error give NaN.
    """

    mean: float
    error: float
    converged: bool
    freedom: float
    inefficiency: float
    runs: int
    between: float | None
    lengths: Integers
    counts: Integers
    errors: Floats
    errors_of_errors: Floats


def block_average(values: ArrayLike, groups: ArrayLike | None = None) -> BlockAverage:
    """Mean of a time series and its standard error; of several groups, which are runs of one system, of all frames.

    The error of each run comes from its spectrum at zero frequency (`mean_variance`). Where the runs scatter by more
    than their own errors, which independent runs that have not seen all there is to see do, their scatter is in the
    error (DerSimonian and Laird, Control. Clin. Trials 1986, 7, 177), with Student's factor for as many runs. The
    blocking levels are those of Flyvbjerg and Petersen, J. Chem. Phys. 1989, 91, 461.

    Parameters
    ----------
    values
        (T,) equally spaced samples, such as the average over all ions of a frame.
    groups
        (T,) run each sample belongs to, None for one run. A run too short for an estimate of its own is taken to be
        as correlated as the others.
    """
    series = np.asarray(values, float)
    names = np.zeros(series.size, int) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    runs = [series[names == name] for name in np.unique(names)]
    variance, freedom, between, converged = _variance(runs)
    levels = _levels(runs)
    first = float(levels[2][0]) if levels[2].size else np.nan
    if not converged and levels[2].size:
        judged = levels[2][levels[1] >= MINIMUM_BLOCKS]
        variance = max(variance, float((judged if judged.size else levels[2]).max()) ** 2)
    return BlockAverage(
        mean=float(series.mean()),
        error=float(np.sqrt(variance)) * student_factor(freedom),
        converged=converged,
        freedom=freedom,
        inefficiency=float(max(1.0, variance / first**2)) if first > 0 else 1.0,
        runs=len(runs),
        between=between,
        lengths=levels[0].astype(int),
        counts=levels[1].astype(int),
        errors=levels[2],
        errors_of_errors=levels[3],
    )


def student_factor(freedom: float) -> float:
    """What a standard error known with so many degrees of freedom is to be multiplied by for two sigma to hold."""
    return float(student.ppf((1 + TWO_SIGMA) / 2, max(freedom, 1.0)) / 2)


def _variance(runs: list[Floats]) -> tuple[float, float, float | None, bool]:
    """Variance of the mean over all frames, its degrees of freedom, sd between runs, and whether it can be said."""
    counts = np.array([run.size for run in runs])
    weights = counts / counts.sum()
    own = {
        index: mean_variance(run)
        for index, run in enumerate(runs)
        if run.size >= 2 and run.size * COMPARABLE >= counts.max()
    }
    if not own:
        return (np.nan, 1.0, None, False) if len(runs) < 2 else _scatter(runs, np.zeros(len(runs)), weights)
    told, known = list(own), list(own.values())
    share = weights[told] / weights[told].sum()
    per_frame = share @ (np.array([each.variance for each in known]) * counts[told])
    variances = per_frame / counts
    variances[told] = [each.variance for each in known]
    within = np.square(weights) * variances
    parts = np.square(within[told]) @ [1 / each.freedom for each in known]
    freedom = float(within[told].sum() ** 2 / parts) if parts > 0 else np.inf
    total, of_scatter, between, enough = _scatter(runs, variances, weights)
    converged = all(each.converged for each in known) or enough
    return total, of_scatter if between else freedom, between, converged


def _scatter(runs: list[Floats], variances: Floats, weights: Floats) -> tuple[float, float, float | None, bool]:
    """Variance of the mean with the scatter between runs of `variances` (R,), degrees of freedom, sd, many runs."""
    within = float(np.square(weights) @ variances)
    counts = np.array([run.size for run in runs])
    compared = counts * COMPARABLE >= counts.max()
    if compared.sum() < 2:
        return within, np.inf, None, False
    means = np.array([run.mean() for run in runs])[compared]
    between = max(0.0, float(means.var(ddof=1) - variances[compared].mean()))
    added = float(np.square(weights).sum()) * between
    freedom = scatter_freedom(int(compared.sum()), added / (within + added) if added else 0.0)
    return within + added, freedom, float(np.sqrt(between)), bool(compared.sum() >= REPLICAS)


def scatter_freedom(runs: int, share: float) -> float:
    """Degrees of freedom of a variance with the `share` of it that is scatter between `runs`, infinite without.

    One less than runs; of two, whose scatter says next to nothing, 1 / share: else two that agree would be worth less
    than either alone.
    """
    if share <= 0:
        return np.inf
    return float(runs - 1) if runs > 2 else 1 / share


def _levels(runs: list[Floats]) -> Floats:
    """Block length, blocks, error and its error (4, L) on pairing neighbours; blocks never cross runs.

    A run too short for further pairing is taken to be as correlated as the others, one of a single frame to scatter
    as they do.
    """
    counts = np.array([run.size for run in runs])
    weights = counts / counts.sum()
    variances = np.zeros(len(runs))  # of each one's mean
    levels: list[tuple[float, ...]] = []
    length = 1
    while (going := counts >= 2).any():
        known = np.array([run.var(ddof=1) for run in runs if run.size >= 2])
        now = known / counts[going]
        before = weights[going] ** 2 @ variances[going]
        growth = weights[going] ** 2 @ now / before if before > 0 else 1.0
        variances[~going] = variances[~going] * growth if levels else known.mean()
        variances[going] = now
        error = float(np.sqrt(weights**2 @ variances))
        levels.append((length, counts[going].sum(), error, error / np.sqrt(2 * (counts[going] - 1).sum())))
        runs = [(run[: run.size // 2 * 2]).reshape(-1, 2).mean(axis=1) for run in runs]
        counts = np.array([run.size for run in runs])
        length *= 2
    return np.array(levels).reshape(-1, 4).T


def block_ratio(numerator: ArrayLike, denominator: ArrayLike, groups: ArrayLike | None = None) -> BlockAverage:
    """Ratio of two sums over time, such as the mean shift of the ions found in one kind of site, with its error.

    Both (T,). The ratio R = sum(numerator) / sum(denominator) is linearised: its error is the one of the mean of
    (numerator - R denominator) / mean(denominator).
    """
    above, below = np.asarray(numerator, float), np.asarray(denominator, float)
    ratio = above.sum() / below.sum()
    residual = block_average((above - ratio * below) / below.mean(), groups)
    return BlockAverage(**{**vars(residual), "mean": float(ratio)})


def ensemble_error(members: ArrayLike) -> float:
    """Standard deviation over models of each model's own mean over the whole trajectory; `members` (M, ...), M >= 2.

    The errors of one model are correlated between frames, so the spread of single frames over sqrt(N) is no error.
    """
    values = np.asarray(members, float)
    return float(values.reshape(len(values), -1).mean(axis=1).std(ddof=1))


@dataclass(frozen=True)
class ErrorBudget:
    """Independent contributions to the error of a mean shift, ppm; a contribution that is not known is None."""

    sampling: float
    ensemble: float | None
    bias: float | None
    effective_moment: float | None
    weiss_constant: float | None

    @property
    def total(self) -> float:
        """Root of the sum of squares of the known contributions."""
        return float(np.sqrt(sum(value**2 for value in asdict(self).values() if value is not None)))

    @property
    def missing(self) -> list[str]:
        """Contributions that `total` leaves out because they are not known."""
        return [name for name, value in asdict(self).items() if value is None]


def conversion_errors(
    shift: float,
    *,
    effective_moment: float,
    effective_moment_error: float | None,
    temperature: float,
    weiss_constant: float,
    weiss_constant_error: float | None,
) -> tuple[float | None, float | None]:
    """Errors of a contact shift (ppm) from those of the moment and of the Weiss constant; None of one not known.

    |delta 2 d mu / mu| and |delta d Theta / (T - Theta)|.
    """
    moment, weiss = effective_moment_error, weiss_constant_error
    return (
        None if moment is None else abs(shift * 2 * moment / effective_moment),
        None if weiss is None else abs(shift * weiss / (temperature - weiss_constant)),
    )

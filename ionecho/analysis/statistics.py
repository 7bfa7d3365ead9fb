"""Errors of trajectory means: block averages in time, spread over an ensemble of models, and their budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MINIMUM_BLOCKS = 16  # fewer blocks give an error too uncertain (> 18 %) to judge a plateau by
COARSER_LEVELS = 2  # doublings of the block over which a plateau must hold


@dataclass(frozen=True)
class BlockAverage:
    """Standard error of a mean against the length of the blocks, and its plateau.

    `lengths`, `counts`, `errors` and `errors_of_errors` have one entry a blocking level; `error` is the plateau, or
    the largest error found when no plateau is reached (`converged` False): then it is a lower bound. Samples too few
    for any block give NaN.
    """

    mean: float
    lengths: Integers
    counts: Integers
    errors: Floats
    errors_of_errors: Floats
    error: float
    converged: bool

    @property
    def inefficiency(self) -> float:
        """Correlated samples worth one independent sample, (error / uncorrelated error)^2."""
        return float((self.error / self.errors[0]) ** 2) if self.errors.size and self.errors[0] > 0 else 1.0


def block_average(values: ArrayLike, groups: ArrayLike | None = None) -> BlockAverage:
    """Mean of a time series and its standard error by repeated pairing of neighbours.

    Flyvbjerg and Petersen, J. Chem. Phys. 1989, 91, 461. Blocks never cross groups; groups are strata with weights
    proportional to their frames; one too short for further pairing is taken to be as correlated as the others, one of a
    single frame to scatter as they do. A plateau starts at the first level that agrees, within twice the error of the
    error, with at least two coarser ones of 16 blocks or more.

    Parameters
    ----------
    values
        (T,) equally spaced samples, such as the average over all ions of a frame.
    groups
        (T,) trajectory each sample belongs to, None for one trajectory.
    """
    series = np.asarray(values, float)
    names = np.zeros(series.size, int) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    members = [series[names == name] for name in np.unique(names)]
    counts = np.array([member.size for member in members])
    weights = counts / series.size
    variances = np.zeros(len(members))  # of each one's mean
    levels: list[tuple[float, ...]] = []
    length = 1
    while (going := counts >= 2).any():
        known = np.array([member.var(ddof=1) for member in members if member.size >= 2])
        now = known / counts[going]
        before = weights[going] ** 2 @ variances[going]
        growth = weights[going] ** 2 @ now / before if before > 0 else 1.0
        variances[~going] = variances[~going] * growth if levels else known.mean()
        variances[going] = now
        found = float(np.sqrt(weights**2 @ variances))
        levels.append((length, counts[going].sum(), found, found / np.sqrt(2 * (counts[going] - 1).sum())))
        members = [(member[: member.size // 2 * 2]).reshape(-1, 2).mean(axis=1) for member in members]
        counts = np.array([member.size for member in members])
        length *= 2
    lengths, counts, errors, spreads = np.array(levels).reshape(-1, 4).T
    error, converged = _plateau(counts, errors, spreads)
    return BlockAverage(
        float(series.mean()), lengths.astype(int), counts.astype(int), errors, spreads, error, converged
    )


def _plateau(counts: Floats, errors: Floats, spreads: Floats) -> tuple[float, bool]:
    usable = np.flatnonzero(counts >= MINIMUM_BLOCKS)
    for level in usable[:-COARSER_LEVELS]:
        coarser = usable[usable > level]
        if np.all(np.abs(errors[coarser] - errors[level]) <= 2 * spreads[coarser]):
            return float(errors[level]), True
    judged = errors[usable] if usable.size else errors
    return float(judged.max()) if judged.size else float("nan"), False


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


def draw_block_average(axes: Axes, blocks: BlockAverage, label: str, colour: str) -> None:
    """Error against block length, pale where blocks are too few to judge; a dashed line is the plateau."""
    for judged, alpha in ((blocks.counts >= MINIMUM_BLOCKS, 1.0), (blocks.counts < MINIMUM_BLOCKS, 0.3)):
        axes.errorbar(
            blocks.lengths[judged],
            blocks.errors[judged],
            blocks.errors_of_errors[judged],
            fmt="o",
            ms=3.5,
            lw=1.0,
            capsize=2,
            color=colour,
            alpha=alpha,
            label=label if alpha == 1.0 else None,
        )
    if blocks.converged:
        axes.axhline(blocks.error, color=colour, lw=0.9, ls="--")
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0, auto=True)
    axes.set_xlabel("Block length / frames")
    axes.set_ylabel("Standard error / ppm")

"""Jumps between kinds of sites: rates with Poisson intervals, k_ex, and how long ions stay."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import CensoredData, chi2, ecdf

from ionecho.errors import InputError
from ionecho.nmr.exchange import equilibrium, exchange_rate

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

RESOLVED = 0.1  # share of ions that may change site between frames, relative to uncorrelated frames
DRAWS = 100  # of the counts of jumps, for the interval of k_ex


@dataclass(frozen=True)
class Residences:
    """Stays at one kind of site that began during a run: `lengths` (n,) s, and whether they `ended` in it (n,)."""

    lengths: Floats
    ended: NDArray[np.bool_]

    def survival(self) -> tuple[Floats, Floats]:
        """Times (s) and the share still there, by Kaplan and Meier: stays that outlast the run count until its end."""
        found = ecdf(CensoredData.right_censored(self.lengths, ~self.ended)).sf
        return np.r_[0.0, found.quantiles], np.r_[1.0, found.probabilities]


@dataclass(frozen=True)
class Kinetics:
    """Jumps between S kinds of sites.

    `counts` (S, S) jumps from a to b in [a, b]; `times` (S,) s that ions were followed at each kind, None without a
    time axis. `spacing` fs between frames. Where more than a tenth of the change expected of uncorrelated frames
    happens between two frames, `resolved` is False and all rates are lower bounds. `changed_per_frame` is that share
    of the ions, `residences` one entry a kind.
    """

    counts: Integers
    times: Floats | None
    spacing: float | None
    changed_per_frame: float
    resolved: bool
    residences: Sequence[Residences]

    @property
    def hops(self) -> int:
        """All jumps between kinds."""
        return int(self.counts.sum())

    @property
    def populations(self) -> Floats | None:
        """Share of the time followed that was spent at each kind, (S,)."""
        return None if self.times is None else self.times / self.times.sum()

    @property
    def rates(self) -> Floats | None:
        """(S, S) 1/s from a to b in [a, b]; NaN from a kind never visited."""
        return None if self.times is None else _over(self.counts, self.times)

    def intervals(self, confidence: float) -> tuple[Floats, Floats] | None:
        """Lower and upper ends of the rates, (S, S) 1/s each: exact Poisson limits of the counts."""
        if self.times is None:
            return None
        low, high = poisson_interval(self.counts, confidence)
        return _over(low, self.times), _over(high, self.times)

    def leaving(self, confidence: float) -> tuple[Floats, Floats]:
        """Lower and upper ends of the rates away from each kind, (S,) 1/s each, NaN of kinds never visited."""
        assert self.times is not None
        low, high = poisson_interval(self.counts.sum(axis=1), confidence)
        times = np.where(self.times > 0, self.times, np.nan)
        return low / times, high / times

    def imbalance(self) -> Floats:
        """Jumps there less jumps back over the root of their sum, (S, S): in equilibrium a standard normal number."""
        both = self.counts + self.counts.T
        return (self.counts - self.counts.T) / np.sqrt(np.maximum(both, 1))

    def exchange_rate(self, shifts: Floats) -> float | None:
        """k_ex, 1/s, of kinds with these shifts (S,): for two kinds the sum of both rates; None without times."""
        if self.times is None or not self._visited.any():
            return None
        return exchange_rate(*self.visited_rates(), shifts[self._visited])

    def exchange_interval(self, shifts: Floats, confidence: float) -> tuple[float, float] | None:
        """Interval of k_ex from the counting of jumps; where none was seen the upper end is a Poisson limit."""
        if self.times is None or not self._visited.any():
            return None
        if not self.hops:
            return 0.0, float(poisson_interval(0, confidence, upper=True)[1] / self.times.sum())
        rng, kept, drawn = np.random.default_rng(0), self._visited, []
        seen = self.counts + 0.5 * (self.counts + self.counts.T > 0)  # Jeffreys
        for _ in range(DRAWS):
            rates, populations = self.visited_rates(rng.gamma(seen))
            with suppress(InputError):  # of kinds that never exchange: as long as they were seen
                populations = equilibrium(rates)
            drawn.append(exchange_rate(rates, populations, shifts[kept]))
        low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)

    @property
    def _visited(self) -> NDArray[np.bool_]:
        return np.zeros(0, bool) if self.times is None else self.times > 0

    def visited_rates(self, counts: Floats | Integers | None = None) -> tuple[Floats, Floats]:
        """Rates and populations of the kinds that were visited, without NaN."""
        assert self.times is not None
        kept = self._visited
        counts = self.counts if counts is None else counts
        return _over(counts[np.ix_(kept, kept)], self.times[kept]), self.times[kept] / self.times.sum()


def _over(counts: Floats | Integers, times: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(times[:, None] > 0, counts / times[:, None], np.nan)


def poisson_interval(counts: ArrayLike, confidence: float, *, upper: bool = False) -> tuple[Floats, Floats]:
    """Exact limits of the mean numbers of events that gave `counts`; `upper` puts all of the doubt above."""
    seen = np.asarray(counts, float)
    tail = 1 - confidence if upper else (1 - confidence) / 2
    low = chi2.ppf(tail, 2 * np.maximum(seen, 0.5)) / 2 * (seen > 0)
    return (0 * low if upper else low), chi2.ppf(1 - tail, 2 * (seen + 1)) / 2


def last_visited(kinds: Integers) -> Integers:
    """Kinds of sites (T, K) with samples outside of all circles (-1) given the last site visited, -1 before the first.

    A passage through the gap between two circles then counts as one hop, and a return to the same site as none.
    """
    times = np.where(kinds >= 0, np.arange(len(kinds))[:, None], 0)
    return np.take_along_axis(kinds, np.maximum.accumulate(times, axis=0), axis=0)


def kinetics(kinds: Integers, sites: int, time: Floats | None, groups: NDArray) -> Kinetics:
    """Jumps between `sites` kinds.

    Parameters
    ----------
    kinds
        (T, K) kind of site, -1 outside of all.
    time
        (T,) fs, None if unknown. Jumps across gaps longer than 1.5 times the median spacing are left out.
    groups
        (T,) run of each frame; jumps are not counted across runs.
    """
    spacing, together = _together(time, groups)
    parts = np.split(np.arange(len(kinds)), np.flatnonzero(~together) + 1)
    visited = [last_visited(kinds[part]) for part in parts]
    counts, frames, known = np.zeros((sites, sites), int), np.zeros(sites), 0
    for run in visited:
        before, after = run[:-1], run[1:]
        seen = before >= 0
        known += int(seen.sum())
        frames += np.bincount(before[seen], minlength=sites)
        np.add.at(counts, (before[seen], after[seen]), 1)
    np.fill_diagonal(counts, 0)
    shares = frames / max(frames.sum(), 1)
    changed = int(counts.sum()) / max(known, 1)
    step = None if spacing is None else spacing * 1e-15
    return Kinetics(
        counts=counts,
        times=None if step is None or not known else frames * step,
        spacing=spacing,
        changed_per_frame=changed,
        resolved=known > 0 and changed <= RESOLVED * (1 - float(np.sum(shares**2))),
        residences=[] if step is None else _residences(visited, sites, step),
    )


def _together(time: Floats | None, groups: NDArray) -> tuple[float | None, NDArray[np.bool_]]:
    """Spacing of the frames (fs), and which successive frames (T - 1,) are of one run without a gap."""
    together = groups[1:] == groups[:-1]
    if time is None or not together.any():
        return None, together
    steps = np.diff(time)
    spacing = float(np.median(steps[together]))
    return spacing, together & (steps > 0) & (steps <= 1.5 * spacing)


def _residences(runs: Sequence[Integers], sites: int, step: float) -> list[Residences]:
    lengths: list[list[int]] = [[] for _ in range(sites)]
    ended: list[list[bool]] = [[] for _ in range(sites)]
    for run in runs:
        for ion in run.T:
            changes = np.flatnonzero(np.diff(ion)) + 1
            changes = changes[ion[changes - 1] >= 0]  # the first stay began before the run
            for start, end in pairwise([*changes.tolist(), len(ion)]):
                lengths[ion[start]].append(end - start)
                ended[ion[start]].append(end < len(ion))
    return [Residences(np.array(n, float) * step, np.array(e, bool)) for n, e in zip(lengths, ended, strict=True)]

"""How many lines ions give: two halves that never mix, one crystal that does, and ions that stay."""

from __future__ import annotations

import numpy as np
import pytest

from ionecho.analysis.kinetics import kinetics
from ionecho.analysis.lines import Lines, ion_lines

STEP, LARMOR = 100.0, 105.93e6  # fs, Hz
SHIFTS = np.array([900.0, 2000.0])


def lines(kinds: np.ndarray, seed: int = 0, runs: int = 1) -> Lines:
    noise = np.random.default_rng(seed + 99).normal(0, 100, kinds.shape)
    frames, groups = len(kinds) // runs, np.repeat(np.arange(runs), len(kinds) // runs)
    jumps = kinetics(kinds, 2, np.tile(np.arange(frames) * STEP, runs), groups)
    ratio = jumps.exchange_rate(SHIFTS) / (2 * np.pi * LARMOR * 1100e-6)
    return ion_lines(SHIFTS[kinds] + noise, groups, jumps, SHIFTS, ratio)


def exchange(rng: np.random.Generator, frames: int, share: np.ndarray, rate: float) -> np.ndarray:
    """Ions (T, K) that sit at kind 1 with probability `share` (K,) and jump `rate` times a step on average."""
    redraw = rng.random((frames, len(share))) < rate
    redraw[0] = True
    fresh = (rng.random((frames, len(share))) < share).astype(int)
    last = np.maximum.accumulate(np.where(redraw, np.arange(frames)[:, None], 0), axis=0)
    return np.take_along_axis(fresh, last, axis=0)


def test_two_halves_that_never_mix_give_two_lines_although_every_ion_hops():
    """The published wrong answer is one line at 1522 with a ratio of 1e4."""
    share = np.repeat([0.3627, 0.7691], 8)  # 1299 and 1746 ppm
    found = lines(exchange(np.random.default_rng(0), 4000, share, 0.05))
    assert found.ratio > 1e3
    assert not found.merged
    assert [round(line.area, 2) for line in found.lines] == [0.5, 0.5]
    for line, truth in zip(found.lines, (1746.0, 1299.0), strict=True):
        assert line.position == pytest.approx(truth, abs=3 * line.error)
        assert line.error < 35
    assert found.probability < 1e-6
    assert found.beyond == pytest.approx(223.5, rel=0.2)


@pytest.mark.parametrize("rate", [0.2, 0.01, 0.002])
def test_ions_that_all_exchange_give_one_line_however_short_the_run(rate):
    """Of 60 systems of one population at most a few are called two; the run holds 4 to 400 jumps an ion."""
    rng = np.random.default_rng(1)
    found = [lines(exchange(rng, 2000, np.full(16, 0.6), rate), seed) for seed in range(40)]
    assert np.mean([each.merged for each in found]) >= 0.95
    merged = [each.lines[0] for each in found if each.merged]
    assert all(line.area == 1 for line in merged)
    inside = [abs(line.position - 1560) <= 2 * line.error for line in merged]
    assert np.mean(inside) > 0.85


def test_ions_that_stay_give_the_lines_of_their_sites():
    kinds = np.tile(np.repeat([0, 1], [5, 11]), (500, 1))
    found = lines(kinds)
    assert not found.merged
    assert [line.ions for line in found.lines] == [11, 5]
    assert found.lines[0].position == pytest.approx(2000, abs=10)
    assert found.lines[1].area_error == pytest.approx(np.sqrt(5 * 11 / 16**3))


def test_runs_from_different_starts_are_other_ions_of_one_system():
    rng, share = np.random.default_rng(2), np.repeat([0.3627, 0.7691], 8)
    kinds = np.concatenate([exchange(rng, 3000, share, 0.1) for _ in range(3)])
    found = lines(kinds, runs=3)
    assert [line.ions for line in found.lines] == [24, 24]

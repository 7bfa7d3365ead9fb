"""Known answers of hop detection: planted steps, close pairs, rates and the cover of their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from ionecho.analysis.hops import Hops, drift, find_hops, hop_rate, running_median

WINDOW, CUT = 25, 1.5


def planted(rng: np.random.Generator, steps: list[int], frames: int = 6000, noise: float = 0.35) -> np.ndarray:
    """Displacements (T, 1, 3) of an ion that moves by 3 Å at these frames, and rattles."""
    directions = rng.normal(size=(len(steps), 3))
    directions *= 3 / np.linalg.norm(directions, axis=1, keepdims=True)
    path = np.zeros((frames, 3))
    for frame, direction in zip(steps, directions, strict=True):
        path[frame:] += direction
    return (path + noise * rng.normal(size=path.shape))[:, None]


def test_planted_hops_are_found_exactly():
    """Also the close pair at 1700 and 1780, which a reference reset to the displaced median makes 13 hops of."""
    steps = [500, 1700, 1780, 3000, 4800]
    for seed in range(5):
        hops = find_hops(planted(np.random.default_rng(seed), steps), WINDOW, CUT)
        np.testing.assert_allclose(hops.frames, steps, atol=3)
        np.testing.assert_allclose(hops.lengths, 3.0, atol=0.5)


def test_an_ion_that_returns_has_hopped_twice_unless_within_the_window():
    rng = np.random.default_rng(1)
    for away, count in ((WINDOW // 3, 0), (4 * WINDOW, 2)):
        path = 0.2 * rng.normal(size=(2000, 1, 3))
        path[900 : 900 + away] += [0, 0, 3]
        assert len(find_hops(path, WINDOW, CUT).frames) == count


def test_noise_is_no_hop_and_its_threshold_splits_none():
    rng = np.random.default_rng(2)
    assert not find_hops(0.5 * rng.normal(size=(4000, 20, 3)), WINDOW, CUT).frames.size
    path = 0.4 * rng.normal(size=(1000, 200, 3))
    path[500:] += [0, 0, 1.6]  # just above
    assert find_hops(path, WINDOW, CUT).counts(200).max() == 1


def test_short_runs_have_no_hops():
    assert not find_hops(np.zeros((2 * WINDOW - 1, 3, 3)), WINDOW, CUT).frames.size


@pytest.mark.parametrize("window", [5, 7])
def test_running_median(window: int):
    series = np.random.default_rng(3).normal(size=(30, 2))
    found = running_median(series, window)
    assert len(found) == 30 - window + 1
    for start in (0, 7, 30 - window):
        expected = np.sort(series[start : start + window], axis=0)[window // 2]
        np.testing.assert_allclose(found[start], expected)


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_of_the_rate_cover_as_often_as_they_say(clustered: bool):
    """Also where some ions hop often and others hardly."""
    rng = np.random.default_rng(4)
    runs, covered = 400, 0
    for _ in range(runs):
        rates = rng.gamma(0.5, 2.0, 60) if clustered else np.ones(60)
        counts = rng.poisson(rates)
        ions = np.repeat(np.arange(60), counts)
        hops = find_hops(np.zeros((2, 1, 3)), WINDOW, CUT)
        hops = type(hops)(np.zeros(ions.size, int), ions, np.ones(ions.size))
        low, high = hop_rate(hops, 60, 2.0, 0.95).interval
        covered += low <= 0.5 <= high
    assert covered / runs > 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)


def random_hops(rng: np.random.Generator, early: float, late: float, ions: int = 40, frames: int = 1000) -> Hops:
    """Hops with these numbers an ion expected in the halves of a run."""
    halves = [rng.poisson(mean, ions) for mean in (early, late)]
    of_ions = np.repeat(np.tile(np.arange(ions), 2), np.concatenate(halves))
    first = np.repeat([0, frames // 2], [halves[0].sum(), halves[1].sum()])
    return Hops(first + rng.integers(0, frames // 2, len(of_ions)), of_ions, np.full(len(of_ions), 3.0))


def test_a_run_that_ages_is_told_from_a_stationary_one():
    rng = np.random.default_rng(0)
    still = [drift(random_hops(rng, 4.0, 4.0), 40, 1000) for _ in range(400)]
    assert np.mean(still) == pytest.approx(0, abs=0.15)
    assert np.std(still) == pytest.approx(1, abs=0.15)
    assert drift(random_hops(rng, 8.0, 4.0), 40, 1000) < -3
    assert drift(Hops(np.zeros(0, int), np.zeros(0, int), np.zeros(0)), 40, 1000) == 0


def test_no_hop_gives_a_limit():
    hops = find_hops(np.zeros((100, 8, 3)), WINDOW, CUT)
    rate = hop_rate(hops, 8, 1e-9, 0.95)
    assert rate.rate is None
    assert rate.upper_limit == pytest.approx(2.9957 / 8e-9, rel=1e-4)

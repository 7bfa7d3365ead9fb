"""Known answers of jumps found in paths, the van Hove function, and errors of a walk whose ions move together."""

from __future__ import annotations

import numpy as np
import pytest

from ionecho.analysis.jumps import find_jumps
from ionecho.analysis.msd import squared_displacements
from ionecho.analysis.van_hove import gaussian_part, van_hove
from ionecho.analysis.walk import Walk, gamma_interval


def test_planted_jumps_are_found_and_one_close_pair_is_not_thirteen():
    rng, planted = np.random.default_rng(0), [500, 1700, 1780, 3000, 4800]
    path = np.zeros((5400, 1, 3))
    for number, frame in enumerate(planted):
        path[frame:, 0, number % 3] += 3.0
    found = find_jumps(path + rng.normal(0, 0.35 / np.sqrt(3), path.shape), 1.0, 1.5, 25.0)
    assert len(found.frames) == 5
    np.testing.assert_allclose(found.frames, planted, atol=2)
    np.testing.assert_allclose(np.sqrt(found.squares), 3, atol=0.4)
    assert found.ion_time == 5399


def test_a_rattling_ion_does_not_jump():
    path = np.random.default_rng(1).normal(0, 0.3, (2000, 4, 3))
    assert len(find_jumps(path, 1.0, 1.5, 25.0).frames) == 0
    away = path.copy()
    away[1000:1010, 0, 0] += 3.0  # there and back within the median
    assert len(find_jumps(away, 1.0, 1.5, 25.0).frames) == 0


def test_an_uncorrelated_walk_on_a_lattice_has_the_diffusivity_of_its_jumps():
    rng = np.random.default_rng(2)
    jump = rng.random((4000, 16)) < 0.005
    steps = np.where(jump[..., None], 3.0 * np.eye(3)[rng.integers(0, 3, jump.shape)], 0.0)
    steps *= rng.choice([-1, 1], jump.shape)[..., None]
    found = find_jumps(np.cumsum(steps, axis=0), 1000.0, 1.5, 1.0)
    value, variance = found.diffusivity(3)
    assert len(found.frames) == jump[1:].sum()
    assert value == pytest.approx(0.005 * 9 / 6, rel=4 * variance**0.5)
    assert variance == pytest.approx(1 / jump.sum(), rel=0.01)


def test_brownian_ions_are_gaussian():
    paths = np.cumsum(np.random.default_rng(3).normal(0, 0.4, (3000, 32, 3)), axis=0)
    found = van_hove(paths, 100.0, 500)
    assert np.abs(found.alpha[:8]).max() < 0.02
    centres = (found.edges[1:] + found.edges[:-1]) / 2
    lag = min(found.parts)
    assert found.squares[lag] == pytest.approx(0.48, rel=0.02)
    np.testing.assert_allclose(found.parts[lag], gaussian_part(centres, 0.48), atol=0.08)
    assert found.parts[lag].sum() * 0.1 == pytest.approx(1, abs=2e-3)


def test_rare_jumps_are_not_gaussian():
    """n jumps of one length a lag: <r^4> = n + 5 n^2 / 3, so that alpha is 3 / (5 n)."""
    rng = np.random.default_rng(4)
    ways = rng.normal(size=(20000, 8, 3))
    steps = ways / np.linalg.norm(ways, axis=-1, keepdims=True) * (rng.random((20000, 8, 1)) < 0.02)
    found = van_hove(np.cumsum(steps, axis=0), 1.0, 50)
    np.testing.assert_allclose(found.alpha[-1], 3 / (5 * 0.02 * found.lags[-1]), rtol=0.15)


@pytest.mark.parametrize("together", [1, 2, 4])
def test_interval_covers_the_diffusivity_of_ions_that_move_in_groups(together):
    """16 ions that hop 3 Å in twos or fours; a straight line through the lags up to half of the run."""
    rng, inside, around = np.random.default_rng(together), [], []
    for _ in range(250):
        steps = np.where(
            (rng.random((400, 16 // together)) < 0.05)[..., None],
            3.0 * np.eye(3)[rng.integers(0, 3, (400, 16 // together))],
            0.0,
        ) * rng.choice([-1, 1], (400, 16 // together, 1))
        paths = np.repeat(np.cumsum(steps, axis=0), together, axis=1)
        msd = squared_displacements(paths)[:200].mean(axis=1)
        first = int(np.argmax(msd > 4.5))
        slope = np.polyfit(np.arange(first, 200), msd[first:], 1)[0]
        low, high = gamma_interval(slope, Walk.of(paths, first).slope_variance(first, 199), 0.95)
        inside.append(low <= 0.45 <= high)
        around.append(slope)
    assert 0.90 < np.mean(inside) < 0.975
    assert np.mean(around) == pytest.approx(0.45, rel=0.08)


def test_shared_motion_is_measured_without_bias():
    rng = np.random.default_rng(5)
    for together in (1, 4):
        shared = [
            Walk.of(np.repeat(np.cumsum(rng.normal(size=(300, 32 // together, 3)), axis=0), together, axis=1), 5).shared
            for _ in range(40)
        ]
        assert np.mean(shared) == pytest.approx(together / 96, rel=0.05)

"""Known answers of block averages, ensemble errors and the error budget."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from ionecho.analysis.statistics import ErrorBudget, block_average, block_ratio, conversion_errors, ensemble_error


def autoregressive(rng: np.random.Generator, phi: float, n: int) -> np.ndarray:
    """AR(1) series with unit innovations, from its stationary state."""
    noise = rng.normal(size=n)
    noise[0] /= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], noise)


def test_plateau_of_an_autoregressive_series():
    phi, n = 0.95, 2**18
    blocks = block_average(autoregressive(np.random.default_rng(0), phi, n))
    theory = np.sqrt(1 / (1 - phi**2)) / np.sqrt(n) * np.sqrt((1 + phi) / (1 - phi))
    assert theory == pytest.approx(0.0391, abs=5e-5)
    assert blocks.converged
    assert blocks.error == pytest.approx(theory, rel=0.08)
    assert blocks.inefficiency == pytest.approx((1 + phi) / (1 - phi), rel=0.16)
    assert abs(blocks.mean) < 4 * theory


def test_white_noise_is_converged_at_once():
    noise = np.random.default_rng(1).normal(size=4096)
    blocks = block_average(noise)
    assert blocks.converged
    assert blocks.error == pytest.approx(noise.std(ddof=1) / 64, rel=0.1)
    assert blocks.lengths.tolist() == [2**i for i in range(12)]


def test_too_short_a_run_is_not_converged():
    blocks = block_average(autoregressive(np.random.default_rng(2), 0.99, 512))
    assert not blocks.converged
    assert blocks.error >= blocks.errors[0]


@pytest.mark.parametrize("n", [1, 2, 15, 16, 63])
def test_few_samples_never_claim_a_plateau(n):
    blocks = block_average(np.random.default_rng(3).normal(size=n))
    assert not blocks.converged
    assert np.isnan(blocks.error) == (n == 1)


def test_blocks_do_not_cross_trajectories():
    rng = np.random.default_rng(4)
    first, second = rng.normal(0.0, 1.0, 4096), rng.normal(50.0, 2.0, 1024)
    both = block_average(np.concatenate([first, second]), ["a"] * 4096 + ["b"] * 1024)
    assert both.converged
    expected = np.hypot(0.8 * first.std(ddof=1) / 64, 0.2 * second.std(ddof=1) / 32)
    assert both.errors[0] == pytest.approx(expected)
    assert both.error == pytest.approx(expected, rel=0.15)
    assert both.mean == pytest.approx(0.8 * first.mean() + 0.2 * second.mean())


@pytest.mark.parametrize("short", [1, 3, 8, 100])
def test_a_short_trajectory_does_not_hide_the_correlation_of_a_long_one(short):
    """Of the same process, it has the inefficiency of the long one."""
    long = autoregressive(np.random.default_rng(5), 0.9, 8192)
    alone = block_average(long)
    both = block_average(np.r_[long, autoregressive(np.random.default_rng(6), 0.9, short)], [0] * 8192 + [1] * short)
    assert alone.converged
    assert both.converged
    assert both.error == pytest.approx(alone.error, rel=0.05)


def test_error_of_a_ratio():
    """Coverage over 400 repetitions: the ratio scatters by the error given."""
    rng = np.random.default_rng(5)
    ratios, errors = [], []
    for _ in range(400):
        count = rng.poisson(4.0, 512)
        total = np.array([rng.normal(3.0, 1.0, n).sum() for n in count])
        result = block_ratio(total, count)
        ratios.append(result.mean)
        errors.append(result.errors[0])
    assert np.mean(errors) == pytest.approx(np.std(ratios), rel=4 / np.sqrt(2 * 400))
    assert abs(np.mean(ratios) - 3.0) < 4 * np.mean(errors) / np.sqrt(400)


def test_ensemble_error_is_the_spread_of_trajectory_means():
    rng = np.random.default_rng(6)
    offsets = np.array([-3.0, 0.0, 1.0, 2.0])
    members = offsets[:, None, None] + rng.normal(0.0, 50.0, (4, 5000, 4)) + rng.normal(size=(5000, 4))
    assert ensemble_error(members) == pytest.approx(offsets.std(ddof=1), abs=4 * 50 / np.sqrt(20000))


def test_budget_adds_in_squares_and_names_what_is_missing():
    budget = ErrorBudget(sampling=3.0, ensemble=4.0, bias=None, effective_moment=12.0, weiss_constant=0.0)
    assert budget.total == pytest.approx(13.0)
    assert budget.missing == ["bias"]
    moment, weiss = conversion_errors(
        1000.0,
        effective_moment=4.0,
        effective_moment_error=0.04,
        temperature=300.0,
        weiss_constant=-100.0,
        weiss_constant_error=8.0,
    )
    assert (moment, weiss) == (pytest.approx(20.0), pytest.approx(20.0))

"""Known answers of block averages, ensemble errors and the error budget."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from ionecho.analysis.statistics import (
    ErrorBudget,
    block_average,
    block_ratio,
    conversion_errors,
    ensemble_error,
    student_factor,
)


def autoregressive(rng: np.random.Generator, phi: float, n: int) -> np.ndarray:
    """AR(1) series with unit innovations, from its stationary state."""
    noise = rng.normal(size=n)
    noise[0] /= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], noise)


def test_error_of_an_autoregressive_series():
    phi, n = 0.95, 2**18
    blocks = block_average(autoregressive(np.random.default_rng(0), phi, n))
    theory = np.sqrt(1 / (1 - phi**2)) / np.sqrt(n) * np.sqrt((1 + phi) / (1 - phi))
    assert theory == pytest.approx(0.0391, abs=5e-5)
    assert blocks.converged
    assert blocks.error == pytest.approx(theory, rel=0.2)
    assert blocks.inefficiency == pytest.approx((1 + phi) / (1 - phi), rel=0.3)
    assert abs(blocks.mean) < 4 * theory


def test_two_sigma_cover_the_truth_where_converged_is_said():
    """AR(1) series of 512 to 16384 samples; in all, and for each phi."""
    rng = np.random.default_rng(10)
    covered: dict[float, list[bool]] = {0.9: [], 0.95: [], 0.99: []}
    for phi, inside in covered.items():
        for n in (512, 1024, 4096, 16384):
            said = [block_average(autoregressive(rng, phi, n)) for _ in range(300)]
            inside += [abs(blocks.mean) <= 2 * blocks.error for blocks in said if blocks.converged]
            independent = n * (1 - phi) / (1 + phi)
            share = np.mean([blocks.converged for blocks in said])
            assert share < 0.1 if independent < 30 else share > 0.9 if independent > 100 else True
        assert 0.93 - 2 * 0.22 / np.sqrt(len(inside)) < np.mean(inside) < 0.97 + 2 * 0.17 / np.sqrt(len(inside))
    everything = np.concatenate(list(covered.values()))
    assert len(everything) > 1500
    assert 0.93 < everything.mean() < 0.97


def test_white_noise_is_converged_at_once():
    noise = np.random.default_rng(1).normal(size=4096)
    blocks = block_average(noise)
    assert blocks.converged
    assert blocks.error == pytest.approx(noise.std(ddof=1) / 64, rel=0.2)
    assert blocks.lengths.tolist() == [2**i for i in range(12)]


def test_too_short_a_run_is_not_converged():
    blocks = block_average(autoregressive(np.random.default_rng(2), 0.99, 512))
    assert not blocks.converged
    assert blocks.error >= blocks.errors[0]


def test_what_drifts_or_never_changes_is_not_converged():
    drift = np.linspace(0, 10, 4096) + np.random.default_rng(3).normal(size=4096)
    for series in (drift, np.full(100, 1500.0)):
        assert not block_average(series).converged


@pytest.mark.parametrize("n", [1, 2, 15, 16, 40])
def test_few_samples_never_claim_convergence(n):
    blocks = block_average(np.random.default_rng(3).normal(size=n))
    assert not blocks.converged
    assert np.isnan(blocks.error) == (n == 1)


@pytest.mark.parametrize(("offset", "low", "high"), [(0.0, 0.93, 0.985), (0.2, 0.92, 0.98), (50.0, 0.93, 0.975)])
def test_scatter_between_runs_is_in_the_error(offset, low, high):
    """Four runs of one system that each lie off by an offset of their own."""
    rng, inside, errors = np.random.default_rng(11), [], []
    for _ in range(250):
        runs = [autoregressive(rng, 0.8, 1024) + rng.normal(0, offset) for _ in range(4)]
        found = block_average(np.concatenate(runs), np.repeat(np.arange(4), 1024))
        inside.append(abs(found.mean) <= 2 * found.error)
        errors.append(found.error)
    assert low < np.mean(inside) < high
    if offset == 50:
        assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(student_factor(3) * 25, rel=0.1)


def test_many_runs_need_no_error_of_their_own():
    """Each stays at its start: six of them still say how far starts scatter, two do not."""
    rng, inside = np.random.default_rng(12), []
    for _ in range(250):
        found = block_average(np.repeat(rng.normal(0, 10, 6), 100) + rng.normal(0, 0.1, 600), np.repeat(range(6), 100))
        inside.append(abs(found.mean) <= 2 * found.error)
        assert found.converged
    assert 0.93 < np.mean(inside) < 0.98
    constant = block_average(np.repeat([1.0, 2.0], 100), np.repeat([0, 1], 100))
    assert not constant.converged


def test_blocks_do_not_cross_runs():
    rng = np.random.default_rng(4)
    first, second = rng.normal(0.0, 1.0, 4096), rng.normal(0.0, 2.0, 2048)
    both = block_average(np.concatenate([first, second]), ["a"] * 4096 + ["b"] * 2048)
    assert both.runs == 2
    expected = np.hypot(first.std(ddof=1) / 64 * 2 / 3, second.std(ddof=1) / np.sqrt(2048) / 3)
    assert both.errors[0] == pytest.approx(expected)
    assert both.mean == pytest.approx(2 / 3 * first.mean() + second.mean() / 3)


@pytest.mark.parametrize("short", [1, 3, 8, 100])
def test_a_short_run_does_not_hide_the_correlation_of_a_long_one(short):
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
    for _ in range(250):
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

"""Known answers of jump rates, their intervals and residence times."""

from __future__ import annotations

import numpy as np
import pytest

from ionecho.analysis.kinetics import kinetics, last_visited, poisson_interval

STEP = 100.0  # fs
SECONDS = STEP * 1e-15
P = np.array([[0.98, 0.02, 0.0], [0.01, 0.97, 0.02], [0.0, 0.03, 0.97]])  # per step
SHIFTS = np.array([900.0, 1400.0, 2100.0])


def chain(rng: np.random.Generator, frames: int, ions: int, matrix: np.ndarray = P) -> np.ndarray:
    """(T, K) kinds of a Markov chain from its equilibrium."""
    values, vectors = np.linalg.eig(matrix.T)
    share = vectors[:, values.real.argmax()].real
    state = rng.choice(len(matrix), ions, p=share / share.sum())
    steps = np.cumsum(matrix, axis=1)
    kinds = np.empty((frames, ions), int)
    for index in range(frames):
        kinds[index] = state
        state = (rng.random(ions)[:, None] > steps[state]).sum(axis=1)
    return kinds


def test_rates_and_exchange_rate_lie_in_their_intervals():
    """Coverage over 80 runs of the Poisson intervals and of that of k_ex."""
    rng, inside, around = np.random.default_rng(0), [], []
    for _ in range(80):
        found = kinetics(chain(rng, 400, 16), 3, np.arange(400) * STEP, np.zeros(400))
        low, high = found.intervals(0.95)
        truth = P / SECONDS
        inside += [low[a, b] <= truth[a, b] <= high[a, b] for a, b in ((0, 1), (1, 0), (1, 2), (2, 1))]
        ends = found.exchange_interval(SHIFTS, 0.95)
        around.append(ends[0] <= 0.0252941 / SECONDS <= ends[1])
    assert 0.94 < np.mean(inside) < 0.985
    assert 0.90 < np.mean(around) <= 0.99
    assert found.resolved
    assert np.abs(found.imbalance()).max() < 4


def test_exchange_rate_of_two_kinds_is_the_sum_of_both_rates():
    matrix = np.array([[0.98, 0.02], [0.03, 0.97]])
    found = kinetics(chain(np.random.default_rng(1), 4000, 64, matrix), 2, np.arange(4000) * STEP, np.zeros(4000))
    assert found.exchange_rate(np.array([900.0, 2000.0])) == pytest.approx(found.rates.sum() - np.trace(found.rates))
    assert found.exchange_rate(np.array([900.0, 2000.0])) == pytest.approx(0.05 / SECONDS, rel=4 / np.sqrt(found.hops))


def test_ions_that_stay_have_a_limit_only():
    found = kinetics(np.tile([0, 1], (100, 8)), 2, np.arange(100) * STEP, np.zeros(100))
    assert found.hops == 0
    assert found.exchange_rate(SHIFTS[:2]) == 0
    assert found.exchange_interval(SHIFTS[:2], 0.95)[1] == pytest.approx(2.9957 / (99 * 16 * SECONDS), rel=1e-4)
    np.testing.assert_allclose(poisson_interval(0, 0.95, upper=True)[1], 2.9957, atol=1e-4)


def test_kaplan_meier_recovers_the_survival_of_stays_that_the_end_cuts_off():
    """Half of the stays outlast the run of 50 steps: their mean alone would be far too short."""
    matrix = np.array([[0.98, 0.02], [0.02, 0.98]])
    kinds = np.concatenate([chain(np.random.default_rng(seed), 60, 200, matrix) for seed in range(8)])
    found = kinetics(kinds, 2, np.tile(np.arange(60) * STEP, 8), np.repeat(range(8), 60))
    stays = found.residences[0]
    assert 0.2 < stays.ended.mean() < 0.6
    times, share = stays.survival()
    steps = np.rint(times / SECONDS)
    np.testing.assert_allclose(share[steps <= 30], 0.98 ** steps[steps <= 30], atol=0.06)


def test_jumps_are_counted_within_runs_and_gaps_only():
    kinds = np.array([[0], [-1], [1], [1], [0], [0]])
    time = np.array([0.0, 1.0, 2.0, 0.0, 1.0, 10.0])
    found = kinetics(kinds, 2, time, np.array([0, 0, 0, 1, 1, 1]))
    assert found.counts.tolist() == [[0, 1], [1, 0]]
    assert last_visited(kinds)[:, 0].tolist() == [0, 0, 1, 1, 0, 0]
    assert kinetics(kinds, 2, None, np.zeros(6)).rates is None

"""Known answers of exchange between n sites."""

from __future__ import annotations

import numpy as np
import pytest

from ionecho.errors import InputError
from ionecho.nmr.exchange import correlation, equilibrium, exchange_rate, line_shape, variance_of_mean

TWO = np.array([[0.0, 0.02], [0.03, 0.0]])  # k12, k21


def peaks(spectrum: np.ndarray) -> int:
    return int(((spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] > spectrum[2:])).sum())


def test_two_equal_sites_coalesce_at_pi_times_their_distance_over_the_root_of_two():
    frequencies = np.linspace(-200, 200, 8001)
    for factor, lines in ((0.98, 2), (1.02, 1)):
        rate = factor * np.pi * 100 / np.sqrt(2)
        rates = [[0.0, rate], [rate, 0.0]]
        assert peaks(line_shape(frequencies, [-50, 50], rates, [0.5, 0.5], 1e-6)) == lines


def test_slow_exchange_gives_the_lines_of_the_sites_and_fast_exchange_their_mean():
    frequencies = np.linspace(-4000, 4000, 80001)
    offsets, share = np.array([-300.0, 0.0, 400.0]), np.array([0.5, 0.3, 0.2])
    rates = np.tile(share, (3, 1))  # detailed balance
    slow = line_shape(frequencies, offsets, 1e-6 * rates, share, 20.0)
    lorentz = share @ (20 / (np.square(2 * np.pi * (frequencies - offsets[:, None])) + 400) * 2)
    np.testing.assert_allclose(slow, lorentz, rtol=1e-6)
    assert slow.sum() * 0.1 == pytest.approx(1, abs=2e-3)
    fast = line_shape(frequencies, offsets, 1e6 * rates, share, 20.0)
    assert frequencies[fast.argmax()] == pytest.approx(share @ offsets, abs=0.2)
    width = np.ptp(frequencies[fast > fast.max() / 2])
    added = 4 * np.pi * share @ np.square(offsets - share @ offsets) / 1e6  # 4 pi <nu^2> / k_ex, full width in Hz
    assert width == pytest.approx(20 / np.pi + added, rel=0.02)


def test_line_shape_is_the_transform_of_simulated_jumps():
    """Phases of 4000 ions that jump in steps of 0.1 ms against the exact decay of the mean signal."""
    rng, step, steps = np.random.default_rng(0), 1e-4, 400
    offsets, rates, share = np.array([-60.0, 90.0]), np.array([[0, 200.0], [300.0, 0]]), np.array([0.6, 0.4])
    site = (rng.random(4000) < share[1]).astype(int)
    phase, signal = np.zeros(4000), np.empty(steps, complex)
    for index in range(steps):
        signal[index] = np.exp(1j * phase).mean()
        phase += 2 * np.pi * offsets[site] * step
        site ^= rng.random(4000) < rates.sum(1)[site] * step
    frequencies = np.linspace(-6000, 6000, 6001)
    spectrum = line_shape(frequencies, offsets, rates, share, 1.0)
    exact = (spectrum * np.exp(2j * np.pi * np.outer(np.arange(steps) * step, frequencies))).sum(1) * 2
    exact *= np.exp(np.arange(steps) * step)  # without relaxation
    assert np.abs(signal - exact).max() < 4 / np.sqrt(4000)


def test_populations_and_exchange_rate_of_two_sites():
    np.testing.assert_allclose(equilibrium(TWO), [0.6, 0.4])
    assert exchange_rate(TWO, [0.6, 0.4], [1000.0, 2000.0]) == pytest.approx(0.05)
    assert exchange_rate(np.zeros((2, 2)), [0.6, 0.4], [1000.0, 2000.0]) == 0.0
    with pytest.raises(InputError, match="populations"):
        equilibrium(np.zeros((2, 2)))
    with pytest.raises(InputError, match="none negative"):
        equilibrium([[0.0, -1.0], [1.0, 0.0]])


@pytest.mark.parametrize(("sites", "rate"), [(2, 0.0396), (4, 0.0264), (20, 0.0208)])
def test_random_jumps_between_n_sites_decay_with_k_n_over_n_minus_1(sites, rate):
    rates = np.full((sites, sites), 0.0198 / (sites - 1))
    values = np.random.default_rng(1).normal(size=sites)
    assert exchange_rate(rates, np.full(sites, 1 / sites), values) == pytest.approx(rate, abs=6e-5)


def test_variance_of_window_means_of_two_sites():
    """Against the closed form, and a simulated ion."""
    share, values, windows = np.array([0.6, 0.4]), np.array([900.0, 2000.0]), np.array([10.0, 50.0, 200.0, 1000.0])
    tau, spread = 20.0, 0.24 * 1100**2
    closed = 2 * spread * tau / windows * (1 - tau / windows * (1 - np.exp(-windows / tau)))
    np.testing.assert_allclose(variance_of_mean(windows, TWO, share, values), closed, rtol=1e-10)
    np.testing.assert_allclose(correlation([0.0, 20.0], TWO, share, values), spread * np.exp([0.0, -1.0]))
    assert variance_of_mean([1e-9], TWO, share, values)[0] == pytest.approx(spread)


def test_parts_that_never_exchange_keep_their_difference():
    rates = np.zeros((4, 4))
    rates[:2, :2] = rates[2:, 2:] = TWO
    share = np.array([0.3, 0.2, 0.3, 0.2])
    values = np.array([0.0, 10.0, 100.0, 110.0])
    assert variance_of_mean([1e9], rates, share, values)[0] == pytest.approx(50.0**2, rel=1e-4)
    assert exchange_rate(rates, share, values) == pytest.approx(0.05)

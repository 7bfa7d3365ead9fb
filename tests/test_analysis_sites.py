"""Known answers of sites, maps, histograms and exchange."""

from __future__ import annotations

import numpy as np
import pytest

from ionecho.analysis.exchange import exchange, window_means
from ionecho.analysis.histograms import common_edges, site_histogram
from ionecho.analysis.kinetics import kinetics, last_visited
from ionecho.analysis.lattice import layer_coordinates, plane_vectors, smallest_separation
from ionecho.analysis.maps import plane_map
from ionecho.analysis.sites import (
    SiteNaming,
    assign_columns,
    check_fold,
    density_sites,
    lattice_sites,
    name_samples,
    order_names,
    site_statistics,
)
from ionecho.errors import InputError
from tests.p2_layers import CELL, framework, series, site_positions

PLANE = plane_vectors(CELL, "c")
NAMING = SiteNaming(["Mn", "Mg"], radius=0.8, reach=4.0)


def test_covered_fraction_of_a_gaussian():
    rng, width, n = np.random.default_rng(0), 0.3, 100_000
    site = np.array([[0.98, 0.01]])
    points = site + (rng.normal(0.0, width, (n, 2)) @ np.linalg.inv(PLANE))
    inside = assign_columns(np.mod(points, 1.0)[None], CELL[None], "c", site, 0.8) == 0
    expected = 1 - np.exp(-0.32 / width**2)
    assert expected == pytest.approx(0.9714, abs=5e-5)
    assert inside.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / n))


def test_overlapping_circles_are_refused():
    sites = np.array([[0.0, 0.0], [0.0, 0.97]])
    with pytest.raises(InputError, match=r"overlap.*0\.301 Å"):
        assign_columns(np.zeros((1, 1, 2)), CELL[None], "c", sites, 0.8)


def test_separation_counts_images_of_a_lone_site():
    assert smallest_separation(np.array([[0.3, 0.3]]), PLANE) == pytest.approx(10.02)
    assert smallest_separation(np.array([[0.3, 0.3], [0.3, 0.3]]), PLANE) == 0.0


def test_lattice_sites_follow_the_framework():
    rng = np.random.default_rng(1)
    reference = framework(0, origin=(0.03, -0.05))
    noisy = type(reference)(
        reference.positions + rng.normal(0.0, 0.1, reference.positions.shape), reference.numbers, CELL
    )
    sites = lattice_sites((6, 6), noisy, "c")
    assert sites.shape == (36, 2)
    assert smallest_separation(sites, PLANE) == pytest.approx(10.02 / 6)
    offset = sites[:, None] - (
        np.array([0.03, -0.05]) + np.stack(np.meshgrid(*[np.arange(6) / 6] * 2), -1).reshape(-1, 2)
    )
    distance = np.linalg.norm((offset - np.rint(offset)) @ PLANE, axis=-1).min(axis=1)
    assert distance.max() < 4 * 0.1 * np.sqrt(2 / len(noisy.numbers))
    with pytest.raises(InputError, match=r"sites\.divisions"):
        lattice_sites((5, 5), noisy, "c")


@pytest.mark.parametrize(
    ("stacking", "expected"),
    [(0, {"edge": 24, "Mn-Mn": 16, "Mg-Mg": 8}), (1, {"edge": 24, "Mn-Mn": 8, "Mn-Mg": 16})],
)
def test_sites_are_named_by_the_metals_above_and_below(stacking, expected):
    oxide = framework(stacking)
    fractional = np.concatenate([site_positions(0), site_positions(1)])
    points, heights = layer_coordinates(fractional @ CELL, CELL, "c")
    sites = lattice_sites((6, 6), oxide, "c")
    columns = assign_columns(points[None], CELL[None], "c", sites, 0.8)
    kinds, names = name_samples(columns, heights[None], sites, oxide, "c", NAMING)
    assert {name: int((kinds == index).sum()) for index, name in enumerate(names)} == expected
    assert order_names(set(names), NAMING.elements)[:2] == ["edge", "Mn-Mn"]


def test_metals_out_of_reach_do_not_name_a_site():
    oxide = framework(0)
    sites = np.array([[0.0, 0.0]])
    heights = np.array([[0.2, 0.3, 0.45]])  # 2.2 and 3.4, 3.4 and 2.2, 5.0 and 0.6 Å from the Mg below and above
    near = SiteNaming(["Mn", "Mg"], radius=0.8, reach=2.5)
    kinds, names = name_samples(np.zeros((1, 3), int), heights, sites, oxide, "c", near)
    assert [names[kind] for kind in kinds[0]] == ["Mg", "Mg", "Mg"]
    short = SiteNaming(["Mn", "Mg"], radius=0.8, reach=0.5)
    kinds, names = name_samples(np.zeros((1, 3), int), heights, sites, oxide, "c", short)
    assert [names[kind] for kind in kinds[0]] == ["edge"] * 3


def test_density_maxima_find_the_sites_that_are_visited():
    data = series(300, {"p63mcm": 0}, seed=2, width=0.2)
    points, _ = layer_coordinates(data.positions, CELL, "c")
    found = density_sites(points.reshape(-1, 2), PLANE, (2, 2), 0.8)
    nodes = np.stack(np.meshgrid(*[np.arange(6) / 6] * 2), -1).reshape(-1, 2)
    offset = found[:, None] - nodes
    distance = np.linalg.norm((offset - np.rint(offset)) @ PLANE, axis=-1)
    assert len(found) == 36
    assert set(distance.argmin(axis=1)) == set(range(36))
    assert distance.min(axis=1).max() < 0.15


def test_fold_must_be_a_repeat_of_the_framework():
    check_fold(framework(1), "c", (2, 2), 0.8)
    with pytest.raises(InputError, match="fold"):
        check_fold(framework(1), "c", (3, 3), 0.8)


def test_occupations_add_up_and_errors_have_the_right_size():
    rng = np.random.default_rng(3)
    kinds = rng.choice([-1, 0, 1], (2048, 16), p=[0.1, 0.3, 0.6])
    shift = np.where(kinds == 0, 900.0, 2000.0) + rng.normal(0.0, 100.0, kinds.shape)
    first, second = site_statistics(shift, kinds, ["a", "b"], None, None)
    assert first.occupation.mean + second.occupation.mean == pytest.approx(1.0)
    assert first.occupation.mean == pytest.approx(1 / 3, abs=4 * first.occupation.error)
    assert first.occupation.error == pytest.approx(np.sqrt(2 / 9 / (kinds >= 0).sum()), rel=0.15)
    assert first.shift.mean == shift[kinds == 0].mean()
    assert first.shift.error == pytest.approx(100.0 / np.sqrt(first.samples), rel=0.15)
    assert first.samples + second.samples + int((kinds < 0).sum()) == kinds.size


def test_map_recovers_a_planted_field():
    rng, bins = np.random.default_rng(4), (24, 24)
    points = rng.uniform(size=(5000, 40, 2))
    values = np.cos(2 * np.pi * points).sum(axis=-1)
    field = plane_map(points, values, PLANE, bins, (1, 1), n_min=10)
    expected = np.cos(2 * np.pi * field.centres()).sum(axis=-1)
    slope = np.pi * np.sqrt(2) / 24  # of the field over half a bin, along the diagonal
    assert np.abs(field.mean - expected).max() < slope
    assert field.count.sum() == values.size
    assert np.sum(field.count * field.mean) / field.count.sum() == pytest.approx(values.mean(), abs=1e-12)
    assert field.density.sum() * abs(np.linalg.det(PLANE)) / field.count.size == pytest.approx(1.0)


def test_map_is_the_same_for_wrapped_and_unwrapped_positions():
    rng = np.random.default_rng(5)
    points, values = rng.uniform(size=(3000, 2)), rng.normal(size=3000)
    wrapped = plane_map(points, values, PLANE, (6, 5), (2, 2), 3)
    moved = plane_map(points + rng.integers(-3, 4, points.shape) * 0.5, values, PLANE, (6, 5), (2, 2), 3)
    np.testing.assert_array_equal(wrapped.count, moved.count)
    np.testing.assert_allclose(wrapped.mean, moved.mean)


def test_map_masks_rare_bins_and_gives_the_population_deviation():
    points = np.array([[0.1, 0.1]] * 4 + [[0.9, 0.9]] * 2)
    field = plane_map(points, [1.0, 3.0, 1.0, 3.0, 7.0, 7.0], PLANE, (2, 2), (1, 1), 3)
    assert field.mean[0, 0] == pytest.approx(2.0)
    assert field.deviation[0, 0] == pytest.approx(1.0)
    assert np.isnan(field.mean[1, 1])
    assert field.count[1, 1] == 2


def test_histograms_of_sites_add_up_to_the_total():
    rng = np.random.default_rng(6)
    shift, kinds = rng.normal(1500.0, 600.0, (500, 16)), rng.integers(-1, 3, (500, 16))
    edges = common_edges(shift, 50.0)
    histogram = site_histogram(shift, kinds, ["a", "b", "c"], edges, "uncovered")
    np.testing.assert_array_equal(sum(histogram.parts.values()), histogram.total)
    assert histogram.total.sum() == shift.size
    assert edges[0] <= shift.min() < shift.max() < edges[-1]


def two_state(rng: np.random.Generator, k12: float, k21: float, frames: int, ions: int) -> np.ndarray:
    """States (T, K) of ions that hop with the given rates per frame."""
    switch = np.array([k12, k21]) / (k12 + k21) * (1 - np.exp(-(k12 + k21)))
    states = np.empty((frames, ions), int)
    states[0] = rng.random(ions) < k12 / (k12 + k21)
    draws = rng.random((frames, ions))
    for t in range(1, frames):
        states[t] = np.where(draws[t] < switch[states[t - 1]], 1 - states[t - 1], states[t - 1])
    return states


def two_state_window_variance(window: float, k12: float, k21: float, difference: float) -> float:
    """Variance of the mean over a window of a quantity that jumps between two values (A17).

    var = 2 sigma^2 (tau / W) (1 - (tau / W) (1 - exp(-W / tau))), tau = 1 / (k12 + k21),
    sigma^2 = p1 p2 difference^2. `window` and the inverse rates in one unit of time.
    """
    total = k12 + k21
    variance = k12 * k21 / total**2 * difference**2
    ratio = 1 / (total * window)
    return 2 * variance * ratio * (1 - ratio * (1 - np.exp(-1 / ratio)))


def test_windows_narrow_as_two_state_exchange_predicts():
    k12, k21, difference, ions = 0.01, 0.015, 1000.0, 400
    states = two_state(np.random.default_rng(7), k12, k21, 20_000, ions)
    groups = np.zeros(len(states), int)
    for window in (10, 50, 200, 1000):
        means = window_means(states * difference, window, groups)
        deviation = np.sqrt(two_state_window_variance(window, k12, k21, difference))
        independent = ions * len(states) * (k12 + k21) / 2 / max(1.0, window * (k12 + k21) / 2)
        assert means.std() == pytest.approx(deviation, rel=4 / np.sqrt(2 * independent) + 1e-3)


def test_window_variance_limits():
    sigma = 2 / 9 * 900.0**2
    assert two_state_window_variance(1e-6, 1.0, 2.0, 900.0) == pytest.approx(sigma, rel=1e-5)
    assert two_state_window_variance(1e6, 1.0, 2.0, 900.0) == pytest.approx(2 * sigma / 3e6, rel=1e-5)


def test_windows_do_not_cross_trajectories():
    means = window_means(np.arange(10.0)[:, None], 3, np.array(["a"] * 5 + ["b"] * 5))
    assert means.ravel().tolist() == [1.0, 6.0]


def test_hop_rate_and_fast_exchange_ratio():
    rate, ions, frames = 0.01, 50, 20_000  # both ways, per frame of 1 ps
    kinds = two_state(np.random.default_rng(8), rate, rate, frames, ions)
    times = np.arange(frames) * 1000.0
    shifts = np.array([960.0, 2085.0])
    found = exchange(kinetics(kinds, 2, times, np.zeros(frames, int)), shifts, 105.93e6, 0.95)
    assert found.jumps.resolved
    assert found.angular_spread == pytest.approx(7.5e5, rel=2e-3)
    changing = 1 - np.exp(-2 * rate)  # k_ex is the sum of both rates, twice the jumps an ion and time
    assert found.rate == pytest.approx(changing * 1e12, rel=4 / np.sqrt(ions * frames * changing / 2))
    assert found.interval[0] < changing * 1e12 < found.interval[1]
    assert found.ratio == pytest.approx(found.rate / found.angular_spread)
    sparse = kinetics(kinds[::100], 2, times[::100], np.zeros(frames // 100, int))
    assert not sparse.resolved
    assert exchange(sparse, shifts, 105.93e6, 0.95).rate < found.rate


def test_gaps_and_trajectory_ends_are_no_hops():
    kinds = np.array([[0], [-1], [0], [-1], [1], [0], [0], [1]])
    assert last_visited(kinds).ravel().tolist() == [0, 0, 0, 0, 1, 0, 0, 1]
    groups = np.array(["a"] * 5 + ["b"] * 3)
    times = np.array([0.0, 1, 2, 3, 4, 0, 1, 9])
    found = kinetics(kinds, 2, times, groups)
    assert found.hops == 1
    assert found.times.sum() == pytest.approx(5e-15)
    assert exchange(kinetics(kinds, 2, None, groups), np.array([0.0, 1.0]), 1e8, 0.95).rate is None

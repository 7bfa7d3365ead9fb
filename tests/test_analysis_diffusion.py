"""Known answers of unwrapping, displacement, diffusivity and activation energy, and two published trajectories."""

from __future__ import annotations

import copy
import gzip
import json
from dataclasses import replace
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import yaml
import zarr
from conftest import run_entry
from numpy.typing import NDArray

from ionecho import analysis
from ionecho.analysis.arrhenius import KB, fit_arrhenius
from ionecho.analysis.diffusion import (
    DiffusionOptions,
    TracerDiffusion,
    arrhenius,
    averages,
    correlation_factor,
    diffusion,
    haven_ratio,
)
from ionecho.analysis.diffusion_report import analyze
from ionecho.analysis.diffusivity import CM2_PER_S, average, poisson_limit
from ionecho.analysis.msd import squared_displacements
from ionecho.analysis.options import ReadOptions, named_inputs
from ionecho.analysis.paths import IonPaths, follow
from ionecho.data.trajectory import open_trajectory
from ionecho.errors import InputError

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "conf/analysis/diffusion.yaml").read_text())
CELL = np.array([[12.0, 0.0, 0.0], [-4.0, 11.0, 0.0], [1.0, -2.0, 13.0]])
NA, P, S = 11, 15, 16


def options(**changes: object) -> DiffusionOptions:
    return DiffusionOptions.parse(copy.deepcopy(CONFIG["settings"]) | changes, "diffusion")


def paths_of(displacements: NDArray, spacing: float = 1000.0) -> IonPaths:
    frames = len(displacements)
    return IonPaths(
        displacements, spacing, {"Na": np.zeros(frames)}, np.zeros((frames, 3)), ("P",), 20 * np.eye(3), 0.1
    )


def walk(seed: int, frames: int, ions: int, sigma: float, axes: int = 3) -> NDArray:
    """Brownian paths (T, K, 3) with Gaussian steps of width `sigma` Å along the first `axes` directions."""
    steps = np.zeros((frames, ions, 3))
    steps[1:, :, :axes] = np.random.default_rng(seed).normal(0.0, sigma, (frames - 1, ions, axes))
    return np.cumsum(steps, axis=0)


def write(path: Path, positions: NDArray, numbers: list[int], cell: NDArray = CELL, **attributes: object) -> Path:
    group = zarr.open_group(str(path), mode="w")
    cells = cell[None] if cell.ndim == 2 else cell
    arrays = {"positions": positions, "cell": cells, "numbers": np.array(numbers)}
    for name, values in {**arrays, "time": np.arange(1, len(positions) + 1) * 100.0}.items():
        group.create_array(name, data=values)
    group.attrs.update(pbc=[True] * 3, **attributes)
    return path


def crystal_walk(seed: int, frames: int = 200, drift: float = 0.0) -> tuple[NDArray, list[int]]:
    """Unwrapped positions (T, 12, 3): 4 wandering Na in a vibrating framework of 4 P and 4 S, all drifting along x."""
    rng = np.random.default_rng(seed)
    numbers = [P] * 4 + [NA] * 4 + [S] * 4
    positions = rng.uniform(size=(12, 3)) @ CELL + rng.normal(0.0, 0.05, (frames, 12, 3))
    positions[:, 4:8] += walk(seed + 1, frames, 4, 0.5)
    positions[..., 0] += drift * np.arange(frames)[:, None]
    return positions, numbers


def wrapped(positions: NDArray, cell: NDArray = CELL) -> NDArray:
    return np.mod(positions @ np.linalg.inv(cell), 1.0) @ cell


def read(path: Path, **changes: object) -> IonPaths:
    settings = {"remove_drift": True, "unwrap": True, "longest_step": 0.45} | changes
    chosen = ReadOptions(**{name: settings.pop(name) for name in ("skip", "every") if name in settings})  # type: ignore[arg-type]
    return follow(open_trajectory(path), "Na", None, chosen, **settings)  # type: ignore[arg-type]


def test_fourier_sum_is_the_direct_sum():
    paths = walk(0, 57, 5, 1.0) + 300.0
    direct = [np.square(paths[m:] - paths[: 57 - m]).sum(-1).mean(0) for m in range(57)]
    np.testing.assert_allclose(squared_displacements(paths), direct, rtol=0, atol=1e-10)


def test_brownian_diffusivity_within_its_errors():
    """Step variance 2 D dt along each axis. The errors must be those of repeated experiments."""
    sigma, ions = 0.6, 40
    expected = sigma**2 / 2  # Å²/ps at 1 ps a frame
    found = [diffusion(paths_of(walk(seed, 600, ions, sigma)), options(), None).space for seed in range(40)]
    values, errors = np.array([(each.value, each.error) for each in found]).T
    scatter = values.std(ddof=1)
    assert values.mean() == pytest.approx(expected, abs=4 * scatter / np.sqrt(40))
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(scatter, rel=4 / np.sqrt(2 * 39))
    covered = np.mean([low < expected < high for low, high in (each.interval for each in found)])
    assert covered > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 40)


@pytest.mark.parametrize("ions", [2, 4])
def test_intervals_of_few_ions_are_as_wide_as_they_should_be(ions):
    runs = [diffusion(paths_of(walk(seed, 300, ions, 0.6)), options(), None).space for seed in range(200)]
    bounds = [each.interval or (0.0, each.upper_limit) for each in runs]
    covered = np.mean([low < 0.6**2 / 2 < high for low, high in bounds])
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 200))


def test_lattice_walk():
    """D = k a² / 6 for k uncorrelated hops of length a a unit of time."""
    rng, hop, rate, frames, ions = np.random.default_rng(1), 3.0, 0.05, 4000, 60
    steps = np.zeros((frames, ions, 3))
    hops = rng.random((frames, ions)) < rate
    direction = np.eye(3)[rng.integers(3, size=hops.sum())] * rng.choice([-1, 1], hops.sum())[:, None]
    steps[hops] = hop * direction
    result = diffusion(paths_of(np.cumsum(steps, axis=0)), options(), None)
    assert result.space.value == pytest.approx(rate * hop**2 / 6, abs=4 * result.space.error)
    first, last = result.window
    assert last == 1000.0 * int(0.5 * (frames - 1))
    assert result.displacement.mean[int(first / 1000)] > 4.5 >= result.displacement.mean[int(first / 1000) - 1]
    assert result.space.effective_hops == pytest.approx(ions * rate * last / 1000, rel=0.3)
    rule = 3.43 / np.sqrt(result.space.effective_hops) + 0.04
    assert result.space.rule_of_thumb == pytest.approx(rule * result.space.value)


def test_planar_motion_is_faster_by_half_in_two_dimensions():
    result = diffusion(paths_of(walk(2, 500, 20, 0.8, axes=2)), options(), None)
    assert result.plane.value == pytest.approx(1.5 * result.space.value, rel=1e-9)
    assert result.exponent == pytest.approx(1.0, abs=0.3)
    across = diffusion(paths_of(walk(2, 500, 20, 0.8, axes=2)), options(plane_normal=[1.0, 0.0, 0.0]), None)
    assert across.space.value == result.space.value
    assert across.plane.value < result.plane.value


def test_plane_normal_of_a_skew_cell_is_across_the_two_other_vectors():
    along_c = np.arange(300.0)[:, None, None] ** 0.5 * (CELL[2] / 13) * np.ones((1, 3, 1))
    paths = IonPaths(along_c, 1000.0, {}, np.zeros((300, 3)), (), CELL, 0.1)
    moved = diffusion(paths, options(), None).displacement
    inclined = np.square(CELL[2, :2]).sum() / np.square(CELL[2]).sum()
    np.testing.assert_allclose(moved.plane_mean[1:], inclined * moved.mean[1:], rtol=1e-6)


def test_still_ions_have_a_limit_of_three_hops():
    """Nothing seen of N ions in time t: fewer than 3 hops at the 95 % level (B11: one of 44 Na in 166 ps is 2.8e-8)."""
    rattle = np.random.default_rng(3).normal(0.0, 1e-6, (167, 44, 3))
    result = diffusion(paths_of(rattle), options(hop_length=3.5), None)
    assert result.space.value is None
    assert result.window is None
    assert poisson_limit(0, 0.95) == pytest.approx(-np.log(0.05))
    assert result.space.upper_limit * 1e-4 / poisson_limit(0, 0.95) == pytest.approx(2.8e-8, rel=5e-3)
    assert result.plane.upper_limit == pytest.approx(1.5 * result.space.upper_limit)
    assert "not diffusive" in result.notes[0]


def test_a_cage_larger_than_the_threshold_is_no_diffusion():
    """Ions that hop back and forth between two sites: the displacement levels off at d²/2."""
    rng, distance = np.random.default_rng(4), 4.0
    sites = (np.cumsum(rng.random((2000, 30)) < 0.2, axis=0) % 2)[..., None] * np.array([distance, 0.0, 0.0])
    result = diffusion(paths_of(sites), options(), None)
    assert result.displacement.mean[200] == pytest.approx(distance**2 / 2, rel=0.02)
    assert result.space.value is None
    assert "levels off" in result.not_diffusive
    bound = DiffusionOptions.model_validate(CONFIG["settings"]).confidence
    assert result.space.upper_limit > 9.0 * poisson_limit(0, bound) / (6 * 30 * 1999)


def test_wrapped_and_unwrapped_positions_give_the_same_paths(tmp_path):
    positions, numbers = crystal_walk(5)
    plain = read(write(tmp_path / "a.zarr", positions, numbers), unwrap=False)
    folded = read(write(tmp_path / "b.zarr", wrapped(positions), numbers))
    continuous = read(write(tmp_path / "c.zarr", positions, numbers))
    np.testing.assert_allclose(folded.displacements, plain.displacements, atol=1e-9)
    np.testing.assert_allclose(continuous.displacements, plain.displacements, atol=1e-9)
    thinned = read(write(tmp_path / "b.zarr", wrapped(positions), numbers), skip=3, every=7)
    expected = plain.displacements[3::7] - plain.displacements[3]
    np.testing.assert_allclose(thinned.displacements, expected, atol=1e-9)
    assert thinned.spacing == pytest.approx(700.0)


def test_a_breathing_cell_is_no_displacement(tmp_path):
    fractional = np.broadcast_to(np.random.default_rng(6).uniform(size=(12, 3)), (50, 12, 3))
    cells = CELL * (1 + 0.05 * np.sin(np.arange(50)))[:, None, None]
    found = read(write(tmp_path / "a.zarr", fractional @ cells, crystal_walk(0)[1], cells))
    np.testing.assert_allclose(found.displacements, 0.0, atol=1e-10)


def test_drift_of_the_framework_is_removed(tmp_path):
    still, numbers = crystal_walk(7)
    moving, _ = crystal_walk(7, drift=0.3)
    reference = read(write(tmp_path / "still.zarr", still, numbers))
    found = read(write(tmp_path / "moving.zarr", wrapped(moving), numbers))
    np.testing.assert_allclose(found.displacements, reference.displacements, atol=1e-9)
    np.testing.assert_allclose(found.drift[:, 0] - reference.drift[:, 0], 0.3 * np.arange(200), atol=1e-9)
    assert found.framework == ("P", "S")
    kept = read(write(tmp_path / "moving.zarr", wrapped(moving), numbers), remove_drift=False)
    np.testing.assert_allclose(
        kept.displacements - found.displacements, np.broadcast_to(found.drift[:, None], (200, 4, 3)), atol=1e-9
    )
    # masses: P and S vibrate independently, the heavier S counts for more
    masses = np.array([30.973761998] * 4 + [32.06] * 4)
    frames = np.delete(still - still[0], slice(4, 8), axis=1)
    np.testing.assert_allclose(reference.drift, np.einsum("tni,n->ti", frames, masses) / masses.sum(), atol=1e-9)
    phosphorus = np.square(frames[:, :4] - reference.drift[:, None]).sum(-1).mean(axis=1)
    np.testing.assert_allclose(reference.since_first["P"], phosphorus, atol=1e-9)


def test_a_melting_framework_is_named():
    result = diffusion(
        IonPaths(
            walk(8, 200, 9, 0.5),
            1.0,
            {"Na": np.zeros(200), "S": np.linspace(0, 50, 200)},
            np.zeros((200, 3)),
            ("S",),
            CELL,
            0.1,
        ),
        options(),
        None,
    )
    assert any("S has moved by 37.6 Å² itself, on average over the second half" in note for note in result.notes)


def test_arrhenius_is_natural():
    temperatures = np.array([400.0, 500.0, 600.0])
    values = 2e-3 * np.exp(-0.25 / (KB * temperatures))
    fit = fit_arrhenius(temperatures, values, [0.1, 0.1, 0.1], 0.95)
    assert fit.activation_energy == pytest.approx(0.25, abs=1e-12)
    assert fit.prefactor == pytest.approx(2e-3)
    slope = np.polyfit(1 / (KB * temperatures), np.log10(values), 1)[0]
    assert -slope == pytest.approx(0.1086, abs=5e-5)  # what log10 without ln 10 would give
    np.testing.assert_allclose(fit(temperatures), values)


def test_arrhenius_interval_covers_the_truth():
    rng, temperatures = np.random.default_rng(9), np.array([400.0, 500.0, 600.0, 700.0])
    errors = np.array([0.3, 0.2, 0.1, 0.1])
    clean = np.exp(-0.25 / (KB * temperatures))
    draws = [fit_arrhenius(temperatures, clean * np.exp(rng.normal(0, errors)), errors, 0.95) for _ in range(400)]
    covered = np.mean([fit.interval[0] < 0.25 < fit.interval[1] for fit in draws])
    assert covered > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 400)
    energies = np.array([fit.activation_energy for fit in draws])
    assert energies.mean() == pytest.approx(0.25, abs=4 * energies.std() / 20)
    scattered = fit_arrhenius(temperatures, clean * np.array([3, 1, 1, 2]), errors, 0.95)
    assert scattered.scatter > 1
    with pytest.raises(InputError, match="two temperatures"):
        fit_arrhenius([300.0, 300.0], [1.0, 2.0], [0.1, 0.1], 0.95)
    with pytest.raises(InputError, match="positive diffusivities"):
        fit_arrhenius([300.0, 400.0], [0.0, 2.0], [0.1, 0.1], 0.95)


@pytest.mark.parametrize("ions", [3, 4, 8])
def test_arrhenius_interval_covers_the_truth_where_errors_are_of_few_ions(ions):
    rng, temperatures, draws = np.random.default_rng(10), np.array([400.0, 600.0]), 1000
    of_ions = np.exp(-0.25 / (KB * temperatures)) * (1 + 0.2 * rng.normal(size=(draws, ions, 2)))
    values, errors = of_ions.mean(axis=1), of_ions.std(axis=1, ddof=1) / ions**0.5
    fits = [fit_arrhenius(temperatures, v, e / v, 0.95, ions - 1) for v, e in zip(values, errors, strict=True)]
    covered = np.mean([fit.interval[0] < 0.25 < fit.interval[1] for fit in fits])
    assert covered == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(
    ("hot", "error", "said"), [(0.5, 0.01, "is negative"), (1.1, 0.2, "cannot be told from zero"), (2.0, 0.01, None)]
)
def test_an_activation_energy_that_is_not_above_zero_is_doubted(hot, error, said):
    doubts = fit_arrhenius([300, 600], [1.0, hot], [error] * 2, 0.95).doubts
    assert doubts == [] if said is None else said in doubts[0]


def at(temperature: float, sigma: float, seed: int = 0) -> TracerDiffusion:
    return diffusion(paths_of(walk(int(temperature) + seed, 300, 20, sigma)), options(), temperature)


def test_a_limit_stays_a_limit_in_the_activation_energy():
    hot, hotter, cold = at(600.0, 0.6), at(900.0, 0.9), at(300.0, 1e-4)
    line = np.log(hotter.space.value / hot.space.value) / (1 / (KB * 600) - 1 / (KB * 900))
    two = arrhenius(averages({"a": hot, "b": hotter}, options()), options())
    assert two.activation_energy == pytest.approx(line)
    fit = arrhenius(averages({"a": hot, "b": hotter, "c": cold}, options()), options())
    assert len(fit.values) == 2
    assert fit.limits == ((300.0, cold.space.upper_limit * CM2_PER_S),)
    assert two(300.0) > 2 * fit.limits[0][1]  # so the limit has something to say
    assert line < fit.activation_energy
    assert fit(300.0) < two(300.0)
    assert arrhenius(averages({"a": hot, "c": cold}, options()), options()) is None


def test_a_limit_far_above_the_line_says_nothing():
    values = np.array([1e-6, 1e-5])
    free = fit_arrhenius([400.0, 600.0], values, [0.1, 0.1], 0.95)
    held = fit_arrhenius([400.0, 600.0], values, [0.1, 0.1], 0.95, limits=[(300.0, 1e-3)])
    assert held.activation_energy == pytest.approx(free.activation_energy, rel=1e-3)


def test_starts_of_one_system_are_averaged_and_their_scatter_counts():
    """Four starts that differ by more than their own errors: coverage of the mean."""
    one = averages({str(seed): at(600.0, 0.6, seed) for seed in range(4)}, options())
    assert len(one) == 1
    assert len(one[0].starts) == 4
    assert one[0].value == pytest.approx(0.18, abs=3 * one[0].error)
    rng, like = np.random.default_rng(3), at(600.0, 0.6).space
    for spread, low, high in ((0.0, 0.93, 0.985), (0.3, 0.92, 0.975)):
        inside = []
        for _ in range(600):
            values = rng.gamma(50, 0.18 / 50, 4) * np.exp(rng.normal(0, spread, 4) - spread**2 / 2)
            starts = {str(n): replace(like, value=v, relative_variance=0.02) for n, v in enumerate(values)}
            found = average("one", 600.0, starts, dict.fromkeys(starts, 1.0), "walk")
            inside.append(abs(found.value - 0.18) < 2 * found.error)
        assert low < np.mean(inside) < high


def test_other_systems_are_not_averaged():
    first, second = at(600.0, 0.6), diffusion(paths_of(walk(1, 300, 24, 0.6)), options(), 600.0)
    assert [each.starts for each in averages({"a": first, "b": second}, options())] == [["a"], ["b"]]
    apart = options(systems={"one": ["a"], "two": ["b"]})
    assert len(averages({"a": first, "b": at(600.0, 0.6, 1)}, apart)) == 2
    with pytest.raises(InputError, match="expected each of a, b once"):
        averages({"a": first, "b": second}, options(systems={"one": ["a"]}))


def test_a_start_with_a_limit_only_enters_a_mean_as_such():
    found = averages({"a": at(600.0, 0.6), "b": at(600.0, 1e-4)}, options())[0]
    assert list(found.limits) == ["b"]
    low = at(600.0, 0.6).space.value / 2
    assert low < found.value < low + at(600.0, 1e-4).space.upper_limit
    both = averages({"a": at(600.0, 1e-4), "b": at(600.0, 1e-4, 1)}, options())[0]
    assert both.value is None
    assert both.upper_limit == pytest.approx(at(600.0, 1e-4).space.upper_limit / 2, rel=1e-3)


@pytest.mark.parametrize("together", [1, 2, 4])
def test_ions_in_twos_and_fours_have_a_smaller_haven_ratio_and_fewer_independent_ions(together):
    """Of n ions that move as one the tracer is 1/n of the collective diffusivity; coverage is in test_jumps."""
    paths = np.repeat(walk(7, 3000, 32 // together, 0.6), together, axis=1)
    result = diffusion(paths_of(paths), options(), None)
    ratio, error = haven_ratio(result)
    assert ratio == pytest.approx(1 / together, abs=3 * error)
    assert result.space.effective_ions == pytest.approx(32 / together, rel=0.2)


def test_ions_that_jump_back_diffuse_less_than_they_jump():
    """Half of the jumps are taken back at once after a wait: f = D / D_jump well below 1; without, it is 1."""
    rng, ions, frames = np.random.default_rng(8), 40, 3000
    steps = np.zeros((2, frames, ions, 3))
    for frame, ion in zip(*np.nonzero(rng.random((frames - 20, ions)) < 0.01), strict=True):
        way = 3.0 * np.eye(3)[rng.integers(3)] * rng.choice([-1, 1])
        steps[:, frame, ion] += way
        if rng.random() < 0.5:
            steps[1, frame + 10, ion] -= way
    free, back = (diffusion(paths_of(np.cumsum(each, axis=0)), options(), None) for each in steps)
    ratio, error = correlation_factor(free)
    assert ratio == pytest.approx(1, abs=3 * error)
    ratio, error = correlation_factor(back)
    assert ratio == pytest.approx(0.5 / 1.5, abs=3 * error)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"element": "Li"}, "element=Li is not in it"),
        ({"framework": ["O"]}, "framework=.*: O not in it"),
        ({"framework": ["Na"]}, "the mobile Na"),
        ({"skip": 199}, "expected at least 4"),
        ({"unwrap": False}, "unwrap=true"),
    ],
)
def test_wrong_input_is_refused(tmp_path, changes, said):
    positions, numbers = crystal_walk(10)
    path = write(tmp_path / "a.zarr", wrapped(positions), numbers)
    with pytest.raises(InputError, match=said):
        analyze(path, options(**changes), None)


def test_frames_are_chosen_in_one_place():
    assert options(skip=3).read.skip == 3
    with pytest.raises(InputError, match=r"read\.skip: it stands beside read too; give skip alone"):
        options(skip=3, read={"skip": 2})


@pytest.mark.parametrize(
    ("places", "ending", "names"),
    [
        (["runs/300K/out.zarr"], True, ["out.zarr"]),
        (["runs/hot.zarr", "runs/cold.zarr"], False, ["hot", "cold"]),
        (["runs/300K/md/out.zarr", "runs/600K/md/out.zarr"], True, ["300K", "600K"]),
        (["a/1/out.zarr", "a/2/out.zarr", "b/1/out.zarr"], True, ["a/1", "a/2", "b/1"]),
        (["a/x.zarr", "b/x.zarr", "b/y.zarr"], True, ["a/x.zarr", "b/x.zarr", "b/y.zarr"]),
        (["a/x.zarr", "a/x.xyz"], False, ["x.zarr", "x.xyz"]),
    ],
)
def test_inputs_go_by_the_shortest_names_that_tell_them_apart(places, ending, names):
    assert named_inputs([Path(place) for place in places], ending) == dict(zip(names, map(Path, places), strict=True))


def test_ambiguous_steps_uneven_times_and_bad_numbers_are_refused(tmp_path):
    positions, numbers = crystal_walk(11)
    jumped = positions.copy()
    jumped[120:, 5] += 0.48 * CELL[1]
    with pytest.raises(InputError, match=r"frame 120: Na 5 moved by 0\.4\d of lattice vector b.*ambiguous"):
        read(write(tmp_path / "a.zarr", wrapped(jumped), numbers))
    broken = positions.copy()
    broken[150, 3] = np.nan
    with pytest.raises(InputError, match="frame 150: positions that are not numbers"):
        read(write(tmp_path / "b.zarr", broken, numbers))
    path = write(tmp_path / "c.zarr", positions, numbers)
    zarr.open_group(str(path))["time"][100:] += 50.0
    with pytest.raises(InputError, match="150 fs before frame 100"):
        read(path)
    path = write(tmp_path / "e.zarr", positions, numbers)
    labels = np.array(["a"] * 128 + ["b"] * 72, dtype=np.dtypes.StringDType())
    zarr.open_group(str(path)).create_array("group", data=labels)
    with pytest.raises(InputError, match=r"several trajectories \(a, b\)"):
        read(path)
    ase.io.write(tmp_path / "d.extxyz", [ase.Atoms(numbers, frame, cell=CELL, pbc=True) for frame in positions[:9]])
    with pytest.raises(InputError, match="give time_step="):
        read(tmp_path / "d.extxyz")
    with pytest.raises(InputError, match=r"longest_step.*fit\.lag_max"):
        options(fit={"msd_min": 4.5, "lag_max": 2.0, "points": 10, "exponent_min": 0.2}, longest_step=0.6)


def test_from_the_command_line_to_the_report(tmp_path):
    inputs = []
    for temperature in (500.0, 700.0):
        positions, numbers = crystal_walk(int(temperature), 400)
        ensemble = {"kind": "nvt_langevin", "temperature": temperature, "thermostat_time": 100.0}
        path = write(tmp_path / f"{temperature:g}K.zarr", wrapped(positions), numbers, request={"ensemble": ensemble})
        inputs.append(str(path))
    output = tmp_path / "report"
    found = run_entry("analyze.py", "analysis=diffusion", f"input=[{','.join(inputs)}]", f"output={output}")
    assert found.returncode == 0, found.stderr
    assert "Ea = " in found.stdout
    summary = json.loads((output / "summary.json").read_text())
    assert summary["trajectories"]["700K.zarr"]["temperature_K"] == 700.0
    assert summary["trajectories"]["700K.zarr"]["drift_removed_of"] == ["P", "S"]
    assert summary["arrhenius"]["temperatures"] == [500.0, 700.0]
    assert summary["settings"]["fit"]["msd_min"] == 4.5
    assert any("relaxation time of 100 fs: friction slows the ions" in note for note in summary["notes"])
    value = summary["trajectories"]["500K.zarr"]["d3"]
    assert value["value_cm2_per_s"] == pytest.approx(1e-4 * value["value_A2_per_ps"])
    assert sorted(path.name for path in output.glob("*.png")) == [
        "arrhenius.png",
        "elements.png",
        "msd.png",
        "non_gaussian.png",
        "van_hove.png",
    ]
    assert (output / "report.html").read_text().count("data:image/png;base64,") == 5
    direct = analyze(Path(inputs[0]), options(), None)
    assert value["value_A2_per_ps"] == pytest.approx(direct.space.value, rel=1e-12)


def test_several_inputs_need_as_many_temperatures(tmp_path):
    settings = CONFIG["settings"] | {"temperature": [300.0, 400.0]}
    with pytest.raises(InputError, match=r"one or one an input \(1\), found 2"):
        analysis.analyze("diffusion", tmp_path, settings)
    with pytest.raises(InputError, match="given twice"):
        analysis.analyze("diffusion", ["a.zarr", "a.zarr"], settings)


@pytest.mark.mirror
def test_displacement_is_that_of_pymatgen(mirror):
    """Li10GeP2S12 at 600 K: the line through these 206 lags gives pymatgen's own test 1.16083658794e-06 cm²/s.

    The displacement itself stays below 1.6 Å², so that by the rules here there is an upper limit only.
    """
    with gzip.open(mirror / "traj_na3ps4/DiffusionAnalyzer_LGPSlike.json.gz", "rt") as file:
        stored = json.load(file)
    lithium = np.array([site["species"][0]["element"] == "Li" for site in stored["structure"]["sites"]])
    moved = np.array(stored["displacements"]).swapaxes(0, 1)
    paths = moved[:, lithium] - moved[:, ~lithium].mean(axis=1, keepdims=True)
    spacing = float(stored["time_step"] * stored["step_skip"])
    lags = np.arange(50, 666, 3)
    slope = np.polyfit(lags * spacing, squared_displacements(paths).mean(axis=1)[lags], 1)[0]
    assert slope * 1e3 / 6 * CM2_PER_S == pytest.approx(1.16083658794e-06, rel=1e-9)
    result = diffusion(paths_of(paths, spacing), options(element="Li"), stored["temperature"])
    assert result.space.value is None
    assert result.space.upper_limit * CM2_PER_S > 1.16e-6


@pytest.mark.mirror
def test_sodium_thiophosphate(mirror, tmp_path):
    """cNa3PS4, 200 frames of wrapped coordinates: PS4 stays, and each path is continuous."""
    fractional = np.load(mirror / "traj_na3ps4/cNa3PS4_trajectories.npy")
    crystal = ase.io.read(mirror / "traj_na3ps4/cNa3PS4.cif")
    cell = np.array(crystal.cell)
    found = read(write(tmp_path / "a.zarr", fractional @ cell, crystal.numbers.tolist(), cell))
    assert found.framework == ("P", "S")
    assert found.since_first["P"].max() < found.since_first["S"].max() < 1.0
    assert found.since_first["Na"][-1] > found.since_first["S"].max()
    shifted = np.mod(fractional + 0.37, 1.0) @ cell
    again = read(write(tmp_path / "b.zarr", shifted, crystal.numbers.tolist(), cell))
    np.testing.assert_allclose(again.displacements, found.displacements, atol=1e-9)


@pytest.mark.mirror
def test_argyrodites_differ_as_published(mirror):
    """Half-inverted Li6PS5Cl conducts, ordered Li6PS5I does not (doi 10.1021/acs.chemmater.0c03738)."""
    folder = mirror / "traj_li6ps5x_500K"
    settings = options(element="Li", read=CONFIG["settings"]["read"] | {"time_step": 100.0})
    fast = analyze(folder / "Li6PS5Cl_50p_run1_XDATCAR.gz", settings, 500.0)
    slow = analyze(folder / "Li6PS5I_0p_run1_XDATCAR.gz", settings, 500.0)
    assert fast.space.value is not None
    assert slow.space.value is None
    assert slow.space.upper_limit < fast.space.value
    for result in (fast, slow):
        assert max(squares.max() for kind, squares in result.paths.since_first.items() if kind != "Li") < 1.0

"""Known answers of unwrapping, displacement, diffusivity and activation energy, and two published trajectories."""

from __future__ import annotations

import copy
import gzip
import json
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
from ionecho.analysis.diffusion import CM2_PER_S, DiffusionOptions, TracerDiffusion, arrhenius, diffusion, poisson_limit
from ionecho.analysis.diffusion_report import analyze
from ionecho.analysis.msd import squared_displacements
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
    settings = {"remove_drift": True, "unwrap": True, "longest_step": 0.45, "skip": 0, "every": 1} | changes
    return follow(open_trajectory(path), path, "Na", None, **settings)  # type: ignore[arg-type]


def test_fourier_sum_is_the_direct_sum():
    paths = walk(0, 57, 5, 1.0) + 300.0
    direct = [np.square(paths[m:] - paths[: 57 - m]).sum(-1).mean(0) for m in range(57)]
    np.testing.assert_allclose(squared_displacements(paths), direct, rtol=0, atol=1e-10)


def test_brownian_diffusivity_within_its_errors():
    """Step variance 2 D dt along each axis. The errors over ions must be those of repeated experiments."""
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


def test_activation_energy_leaves_limits_out():
    def at(temperature: float, sigma: float) -> TracerDiffusion:
        return diffusion(paths_of(walk(int(temperature), 300, 20, sigma)), options(), temperature)

    hot, hotter, cold = at(600.0, 0.6), at(900.0, 0.9), at(300.0, 1e-4)
    fit = arrhenius({"a": hot, "b": hotter, "c": cold}, options())
    assert len(fit.values) == 2
    expected = np.log(hotter.space.value / hot.space.value) / (1 / (KB * 600) - 1 / (KB * 900))
    assert fit.activation_energy == pytest.approx(expected)
    assert arrhenius({"a": hot, "c": cold}, options()) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"element": "Li"}, "element=Li is not in it"),
        ({"framework": ["O"]}, "framework: O not in it"),
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
    with pytest.raises(InputError, match=r"read\.time_step"):
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
    assert sorted(path.name for path in output.glob("*.png")) == ["arrhenius.png", "elements.png", "msd.png"]
    assert (output / "report.html").read_text().count("data:image/png;base64,") == 3
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

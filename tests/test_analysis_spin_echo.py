"""The analysis spin_echo end to end, on trajectories with planted exchange."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from conftest import REPOSITORY, run_entry
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from planted_echo import COMPONENT, write_planted
from scipy.spatial.transform import Rotation

from ionecho.analysis.gradients import name_counts
from ionecho.analysis.spin_echo_report import UNITS, Settings, analyze, run, told
from ionecho.analysis.spin_echo_tables import Trajectory
from ionecho.errors import InputError
from ionecho.nmr.decay import Decay, Quantity
from ionecho.nmr.quadrupole import powder_components
from ionecho.report import Report
from ionecho.report.plain import plain

PROBABILITY = {600: 0.005, 700: 0.01, 800: 0.02}  # a frame of 1 ps
SITES, IONS = 4, 30


def settings(**changes: object) -> Settings:
    """The settings of the config, with few resamples, one t_p and a coarse powder."""
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = compose("analyze", overrides=["analysis=spin_echo", "input=i", "output=o"])
    values = OmegaConf.to_container(config.analysis.settings, resolve=True)
    small = {"preparation_times": [5.0], "powder_degree": 5}
    values["correlation"] |= {"resamples": 100, **changes.pop("correlation", {})}
    return Settings.parse({**values, **small, **changes}, "spin_echo")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    paths = []
    for temperature, probability in PROBABILITY.items():
        paths.append(folder / f"{temperature}.zarr")
        planted = {"frames": 2000, "ions": IONS, "sites": SITES, "probability": probability, "rattle": 0.1}
        write_planted(paths[-1], temperature, temperature=temperature, **planted)
    return paths


@pytest.fixture(scope="module")
def report(runs: list[Path]) -> Report:
    return run(runs, settings(correlation={"start": 1000.0}))


def test_tau_residual_and_hops_are_the_planted_ones(report: Report):
    for temperature, probability in PROBABILITY.items():
        found = report.summary["trajectories"][f"{temperature}.zarr"]
        decay = found["correlation_functions"]["nu_Q powder"]
        exact = -1e-3 / np.log(1 - probability * SITES / (SITES - 1))
        assert decay["tau"] == pytest.approx(exact, abs=3 * decay["tau_error"])
        assert decay["tau_error"] < 0.15 * exact
        assert decay["residual"] == pytest.approx(1 / SITES, abs=3 * decay["residual_error"])
        rattled = 1 / (1 + (0.1 / COMPONENT) ** 2)
        assert decay["amplitude"] == pytest.approx(rattled, abs=3 * decay["amplitude_error"] + 0.01)
        rate = found["hopping"]
        seen = probability * np.exp(-11 * probability)  # no other within the window
        assert rate["rate"] == pytest.approx(seen * 1e12, abs=3 * rate["rate_error"] + 0.05 * seen * 1e12)
        assert rate["ratio"] == pytest.approx(SITES / (SITES - 1), rel=0.35)
        # short t_p: the echo is the correlation function
        echo = next(each for each in found["echoes"] if each["kind"] == "sin-sin")
        assert echo["tau"] == pytest.approx(decay["tau"], rel=0.05)


def test_temperatures_give_the_planted_energy(report: Report):
    inverse = 1 / (8.617333e-5 * np.array(list(PROBABILITY)))
    rates = [-np.log(1 - p * SITES / (SITES - 1)) * 1e12 for p in PROBABILITY.values()]
    slope, intercept = np.polyfit(inverse, np.log(rates), 1)
    fit = report.summary["arrhenius"]["echo"]
    assert fit["interval"][0] < -slope < fit["interval"][1]
    low, high = fit["extrapolated_interval"]
    exact = 1e9 / np.exp(intercept + slope / (8.617333e-5 * 300))
    assert low < exact < high
    assert any("activation energy of 1 / tau" in line for line in report.summary["headline"])


def test_notes_say_what_is_sparse_short_and_not_seen_by_an_experiment(report: Report, tmp_path: Path):
    assert any("tau is shorter than t_p" in note for note in report.notes)
    assert any("hops within hops.window" in note and "800.zarr" in note for note in report.notes)
    write_planted(tmp_path / "few.zarr", 3, frames=60, ions=9, sites=3, probability=0.1)
    notes = " ".join(run([tmp_path / "few.zarr"], settings(correlation={"start": 0.0})).notes)
    for text in ("too sparse", "the run is short", "9 ions"):
        assert text in notes


def leaves(tree: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(tree, dict):
        return [leaf for key, branch in tree.items() for leaf in leaves(branch, (*path, key))]
    if isinstance(tree, list) and tree and isinstance(tree[0], dict):
        return [leaf for branch in tree for leaf in leaves(branch, path)]
    return [path] if isinstance(tree, int | float | list) and not isinstance(tree, bool) else []


def test_every_number_and_column_has_its_unit(report: Report):
    for path in leaves(plain(report.numbers)):
        assert {path[-1], ".".join(path[-2:])} & set(UNITS), path
    for name, table in report.tables.items():
        for column in table.frame.select_dtypes("number"):
            assert column in UNITS or (name, column) == ("histogram", "value"), (name, column)


def test_sites_that_keep_their_tensors_show_no_decay(tmp_path: Path):
    write_planted(tmp_path / "still.zarr", 5, frames=800, ions=30, sites=3, probability=0.0, rattle=0.15)
    report = run([tmp_path / "still.zarr"], settings(correlation={"start": 1000.0}))
    found = report.summary["trajectories"]["still.zarr"]
    assert "at none of" in found["correlation_functions"]["nu_Q powder"]["no_decay"]
    assert found["correlation_functions"]["nu_Q powder"]["longer_than"] > 0.4
    assert found["hopping"]["hops"] == 0
    assert found["hopping"]["upper_limit"] == pytest.approx(2.9957 / (30 * 799e-12), rel=1e-3)
    assert "no decay" in report.summary["headline"][0]
    assert found["limits"]["ion_mean"] < found["limits"]["rigid"]
    assert found["limits"]["all_mean"] < 0.5 * found["limits"]["ion_mean"]


def test_a_turned_trajectory_says_the_same_of_a_powder(tmp_path: Path):
    write_planted(tmp_path / "a.zarr", 6, frames=600, ions=12, sites=3, probability=0.02)
    turn = Rotation.random(rng=1).as_matrix()
    first = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    second = zarr.open_group(str(tmp_path / "b.zarr"), mode="w")
    for name, array in first.arrays():
        values = array[:]
        if name == "efg":
            values = turn @ values.astype(float) @ turn.T
        if name in ("positions", "cell"):
            values = values.astype(float) @ turn.T
        second.create_array(name, data=values)
    second.attrs.update(first.attrs.asdict())
    field = tuple(turn @ [0, 0, 1])
    one = analyze(tmp_path / "a.zarr", settings(powder_degree=23), 300.0).echo
    two = analyze(tmp_path / "b.zarr", settings(powder_degree=23, directions=[field]), 300.0).echo
    for before, after in zip(one.curves.values(), two.curves.values(), strict=True):
        np.testing.assert_allclose(after.mean, before.mean, atol=1e-5)
    for key, before in one.echoes.items():
        np.testing.assert_allclose(two.echoes[key].mean, before.mean, atol=1e-4)
    assert two.relaxation.longitudinal[0] == pytest.approx(one.relaxation.longitudinal[0], rel=1e-4)
    assert two.hops.frames.tolist() == one.hops.frames.tolist()


def test_site_resolved_correlation_starts_at_its_site(tmp_path: Path):
    """Ions start from the kind of site that they are at at the time origin, wherever they go."""
    counts = np.array([[4, 6], [4, 6], [4, 4], [6, 4], [6, 3]] * 3)
    kinds = {"four": (4, 4), "six": (5, 6)}
    named = name_counts(np.repeat(counts, 5, axis=0), kinds, 5)
    assert named.shape == (75, 2)
    assert set(named.ravel()) == {0, 1, 2}
    np.testing.assert_array_equal(named[2:8], [[0, 1]] * 6)


def test_directions_and_powder_have_the_size_of_the_tensors(runs: list[Path]):
    directions = [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 1, 1]]
    echo = analyze(runs[2], settings(directions=directions), None).echo
    efg = zarr.open_group(str(runs[2]), mode="r")["efg"][:]
    components = powder_components(efg, -0.0401, 1.5)
    assert echo.main.initial == pytest.approx(np.square(components).sum(-1).mean(), rel=1e-5)
    singles = [echo.curves[f"nu_Q along {name}"].initial for name in ("[0 0 1]", "[1 0 0]", "[0 1 0]")]
    assert np.mean(singles) == pytest.approx(echo.main.initial, rel=0.1)


def test_command_writes_its_report(tmp_path: Path):
    for temperature in (500, 600):
        planted = {"frames": 200, "ions": 8, "sites": 3, "probability": 0.03, "temperature": temperature}
        write_planted(tmp_path / f"{temperature}.zarr", temperature, **planted)
    small = ["analysis.settings.powder_degree=5", "analysis.settings.correlation.resamples=50"]
    inputs = f"input=[{tmp_path / '500.zarr'},{tmp_path / '600.zarr'}]"
    done = run_entry("analyze.py", "analysis=spin_echo", inputs, f"output={tmp_path / 'r'}", *small)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["nucleus"]["quadrupole_moment"] == -0.0401
    assert summary["larmor"]["larmor_MHz"] == pytest.approx(155.56, abs=0.01)
    assert "gyromagnetic_ratio: 16.5485" in done.stdout
    assert len(pd.read_csv(tmp_path / "r" / "maps.csv")) == 2 * 18 * 18
    assert {path.stem for path in (tmp_path / "r").glob("*.png")} >= {"correlation", "by_ion", "arrhenius", "map_axis"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nucleus": {"isotope": "7Li", "spin": 2.5, "gyromagnetic_ratio": 1.0, "quadrupole_moment": 1.0}}, "1.5"),
        ({"directions": [[0, 0, 0]]}, "other than 0"),
        ({"sites": {"element": "S", "cutoff": 3.0, "window": 5, "kinds": {"a": [0, 4], "b": [4, 6]}}}, "overlap"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict, message: str):
    with pytest.raises(InputError, match=message):
        settings(**change)


def test_inputs_that_hold_no_gradients_are_refused(runs: list[Path], tmp_path: Path):
    sodium = {"isotope": "23Na", "spin": 1.5, "gyromagnetic_ratio": 11.27, "quadrupole_moment": 0.104}
    with pytest.raises(InputError, match="none of its 30 centres is Na"):
        run([runs[0]], settings(nucleus=sodium))
    with pytest.raises(InputError, match=r"sites\.element=Cl"):
        run([runs[0]], settings(sites={"element": "Cl", "cutoff": 3.0, "window": 5, "kinds": {"a": [0, 4]}}))
    write_planted(tmp_path / "bad.zarr", 1, frames=100, ions=5, sites=2, probability=0.1)
    group = zarr.open_group(str(tmp_path / "bad.zarr"), mode="a")
    group["efg"][7, 2] = np.nan
    with pytest.raises(InputError, match="frame 7"):
        run([tmp_path / "bad.zarr"], settings())
    group["efg"][7, 2] = np.eye(3)
    with pytest.raises(InputError, match="traceless"):
        run([tmp_path / "bad.zarr"], settings())
    del group["efg"]
    with pytest.raises(InputError, match="no array efg"):
        run([tmp_path / "bad.zarr"], settings())


@pytest.mark.parametrize(("error", "known"), [(1e-12, True), (1e-10, False), (np.nan, False)])
def test_a_time_is_told_where_its_error_is_known_and_smaller(error: float, known: bool) -> None:
    """Of a tau at the end of its range no error is known: no temperature may be fitted through it."""
    time, other = Quantity(2e-11, error, 1e-11, 3e-11), Quantity(0.3, 0.1, 0.2, 0.4)
    curve: Any = SimpleNamespace(decay=Decay(time, other, other, other))
    run: Any = SimpleNamespace(echo=SimpleNamespace(main=curve))
    assert (Trajectory.tau.fget(run) is not None) == known  # type: ignore[attr-defined]
    assert ("tau = 0.0200" in told(curve)) == known

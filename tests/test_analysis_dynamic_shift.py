"""The dynamic-shift analysis as a whole, its settings, and the reading of predictions and datasets."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
import zarr

from ionecho.analysis.dynamic_shift import DynamicShift, GroupResult, analyze
from ionecho.analysis.lattice import Framework
from ionecho.analysis.loading import framework_drift, read_series, settle_conversion
from ionecho.analysis.options import ReadOptions
from ionecho.analysis.series import ShiftSeries, joined
from ionecho.analysis.settings import DynamicShiftSettings
from ionecho.analysis.shift_comparisons import additivity, spectrum, temperatures, window_spread
from ionecho.data.schema import Configuration, Quality
from ionecho.data.store import DatasetWriter
from ionecho.errors import InputError
from ionecho.nmr.hyperfine import ContactShift, rescale
from tests.p2_layers import CELL, NA, SITE_SHIFT, series

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "conf/analysis/dynamic_shift.yaml").read_text())["settings"]
CONVERSION = ContactShift(11.26952167, 3.87, 320.0, -14.8, 24.0, 1.5)
PHASES = {"p63mcm": 0, "p6322": 1}


def settings(**changes: object) -> DynamicShiftSettings:
    return DynamicShiftSettings.parse(copy.deepcopy(CONFIG) | changes, "dynamic_shift")


@pytest.fixture(scope="module")
def data() -> ShiftSeries:
    return series(256, PHASES, seed=0)


@pytest.fixture(scope="module")
def result(data: ShiftSeries) -> DynamicShift:
    return analyze(data, settings(), CONVERSION)


def test_mean_is_over_all_frames_and_ions(data, result):
    assert list(result.groups) == list(PHASES)
    for name in PHASES:
        group = result.groups[name]
        assert group.blocks.mean == pytest.approx(data.shift[data.group == name].mean(), abs=1e-9)
        assert group.blocks.converged
        assert abs(group.blocks.mean - np.mean(list(SITE_SHIFT.values()))) < 4 * group.blocks.error


def test_sites_of_both_stackings(result):
    expected = {"p63mcm": ["edge", "Mn-Mn", "Mg-Mg"], "p6322": ["edge", "Mn-Mn", "Mn-Mg"]}
    for name, sites in expected.items():
        group = result.groups[name]
        assert [site.name for site in group.sites] == sites
        assert sum(site.occupation.mean for site in group.sites) == pytest.approx(1.0)
        edge = group.sites[0]
        assert edge.occupation.mean == pytest.approx(0.5, abs=4 * edge.occupation.error)
        assert edge.shift.mean == pytest.approx(SITE_SHIFT[1], abs=4 * edge.shift.error)
        covered = 1 - np.exp(-0.32 / 0.25**2)
        samples = group.frames * group.centres
        assert group.uncovered == pytest.approx(1 - covered, abs=4 * np.sqrt(covered * (1 - covered) / samples))
    assert result.names == ["edge", "Mn-Mn", "Mn-Mg", "Mg-Mg"]


def test_two_stackings_are_never_averaged_but_runs_of_one_are(data, result):
    assert result.runs == {"p63mcm": ["p63mcm"], "p6322": ["p6322"]}
    assert list(result.systems) == list(result.all) == list(PHASES)
    first = data.of("p63mcm")
    shifted = replace(first, shift=first.shift + 60, positions=first.positions + CELL[0] / 3 + 0.4 * CELL[2])
    moved = first.frameworks["p63mcm"]
    moved = Framework(moved.positions + CELL[0] / 3 + 0.4 * CELL[2], moved.numbers, moved.cell)
    shifted = replace(shifted, frameworks={"p63mcm": moved})
    found = analyze(joined({"a": first, "b": shifted, "c": data.of("p6322")}), settings(), CONVERSION)
    assert found.runs == {"a": ["a", "b"], "c": ["c"]}
    system = found.systems["a"]
    assert system.blocks.mean == pytest.approx(first.shift.mean() + 30)
    assert system.blocks.error > 100  # of two runs 60 ppm apart
    assert system.blocks.between == pytest.approx(60 / np.sqrt(2), rel=0.05)
    assert list(found.all) == ["a, 2 runs", "a", "b", "c"]
    asked = analyze(data, settings(systems={"both": list(PHASES)}), CONVERSION)
    assert list(asked.systems) == ["both"]
    with pytest.raises(InputError, match="expected each of p63mcm, p6322 once"):
        analyze(data, settings(systems={"one": ["p6322"]}), CONVERSION)


def test_static_mean_and_additivity(result):
    """Occupations times shifts at 0 K; Mn-Mg beside the mean of Mn-Mn of its system and Mg-Mg of the other."""
    system = result.systems["p63mcm"]
    value, error = system.static_mean({"edge": 2085.0, "Mn-Mn": 960.0, "Mg-Mg": 1602.0})
    assert value == pytest.approx(
        sum(s.occupation.mean * d for s, d in zip(system.sites, (2085, 960, 1602), strict=True))
    )
    assert 0 < error < 30
    assert system.static_mean({"edge": 1.0}) is None
    (row,) = additivity(result).to_dict("records")
    assert (row["group"], row["site"]) == ("p6322", "Mn-Mg")
    shifts = {(name, s.name): s.shift.mean for name, each in result.systems.items() for s in each.sites}
    assert row["expected"] == pytest.approx((shifts["p6322", "Mn-Mn"] + shifts["p63mcm", "Mg-Mg"]) / 2)


def test_ions_are_compared_with_exchange(data, result):
    """Frames are drawn anew, so ions do not differ: one line, at every temperature asked for."""
    for system in result.systems.values():
        assert system.lines.merged
    warm = analyze(data, settings(temperatures=[320.0, 400.0]), CONVERSION)
    table = temperatures(warm)
    assert table["shift"][0] == pytest.approx(warm.systems["p63mcm"].blocks.mean)
    assert table["shift"][1] / table["shift"][0] == pytest.approx(334.8 / 414.8)
    spread = window_spread(result.systems["p63mcm"], result.names)
    np.testing.assert_allclose(spread["seen"][:3], spread["theory"][:3], rtol=0.35)
    lines = spectrum(result.systems["p63mcm"], result)
    assert lines["shift"][lines["intensity"].idxmax()] == pytest.approx(result.systems["p63mcm"].blocks.mean, abs=3)


def only(result: DynamicShift) -> GroupResult:
    (system,) = result.systems.values()
    return system


def test_histograms_and_maps_keep_every_sample(data, result):
    for name in PHASES:
        histogram, field = result.groups[name].histogram, result.planes[name].map
        np.testing.assert_array_equal(sum(histogram.parts.values()), histogram.total)
        assert histogram.total.sum() == field.count.sum() == (data.group == name).sum() * 16
        assert field.total / field.count.sum() == pytest.approx(result.groups[name].blocks.mean)


def test_wrapped_and_unwrapped_positions_give_the_same_result(data, result):
    jumps = np.random.default_rng(1).integers(-4, 5, data.positions.shape) @ CELL
    moved = analyze(replace(data, positions=data.positions + jumps), settings(), CONVERSION)
    for name in result.groups:
        assert [s.samples for s in moved.groups[name].sites] == [s.samples for s in result.groups[name].sites]


def test_sites_from_density_and_from_a_list_agree_with_the_lattice(data, result):
    sites = copy.deepcopy(CONFIG["sites"])
    listed = result.planes["p63mcm"].points.tolist()
    for change in ({"divisions": None, "positions": listed}, {"divisions": None, "radius": 0.7}):
        found = analyze(data.of("p63mcm"), settings(sites=sites | change), CONVERSION)
        for ours, theirs in zip(only(found).sites, result.groups["p63mcm"].sites, strict=True):
            assert ours.name == theirs.name
            assert ours.occupation.mean == pytest.approx(theirs.occupation.mean, abs=0.02)


def test_ensemble_and_additive_shifts(data):
    data = data.of("p63mcm")
    offsets = np.array([-5.0, 5.0, 0.0])
    members = data.shift[None] + offsets[:, None, None]
    additive = {"orbital": -10.0, "pseudocontact": 2.0, "quadrupole": {"coupling": 3.0, "asymmetry": 0.3}}
    chosen = settings(additive=additive, larmor_frequency=105.8)
    errors = {"bias": 3.0, "effective_moment": 0.0387, "weiss_constant": 3.348}
    found = analyze(
        replace(data, members=members), chosen.model_copy(update={"errors": settings(errors=errors).errors}), CONVERSION
    )
    assert chosen.additive_shift == pytest.approx(-8.0 - 20.704, abs=1e-3)
    assert only(found).blocks.mean == pytest.approx(data.shift.mean() + chosen.additive_shift)
    budget, contact = only(found).budget, data.shift.mean()
    assert budget.ensemble == pytest.approx(5.0)
    assert budget.effective_moment == pytest.approx(0.02 * contact)
    assert budget.weiss_constant == pytest.approx(0.01 * contact)
    expected = np.sqrt(budget.sampling**2 + 5.0**2 + 3.0**2 + (0.02**2 + 0.01**2) * contact**2)
    assert budget.total == pytest.approx(expected)
    assert not budget.missing


def test_unknown_errors_and_sparse_frames_are_noted(result):
    notes = " ".join(result.notes)
    assert "ensemble, bias" in notes
    assert "lower bound" in notes


def test_ions_that_stay_where_they_began_are_noted(data):
    first = data.positions[:1].repeat(len(data.positions), axis=0)
    still = replace(data, positions=first, time=np.arange(len(first)) * 100.0)
    assert any("no ion changed its site" in note for note in analyze(still, settings(), CONVERSION).notes)


def test_frames_at_the_start_are_left_out_of_every_trajectory(data, tmp_path):
    path = tmp_path / "pred.zarr"
    write_predictions(path, data, CONVERSION, np.zeros((512, 3)))

    def read(**chosen: object) -> ShiftSeries:
        return read_series(path, "Na", None, None, ReadOptions(**chosen))[0]

    later = read(skip=3, every=2)
    assert len(later.shift) == 2 * 127
    for group in data.groups:
        np.testing.assert_allclose(later.of(group).shift, data.of(group).shift[3::2])
        np.testing.assert_allclose(later.of(group).time, data.of(group).time[3::2])
    np.testing.assert_allclose(read(groups=["p6322"]).shift, data.of("p6322").shift)
    with pytest.raises(InputError, match="no frame after skip=256 of p63mcm, p6322"):
        read(skip=256)
    with pytest.raises(InputError, match="no group p3, expected some of p6322, p63mcm"):
        read(groups=["p3"])
    unequal = data._rows(np.arange(512) >= 250, data.frameworks)
    write_predictions(path, unequal, CONVERSION, np.zeros((262, 3)))
    with pytest.raises(InputError, match="of p63mcm;"):
        read(skip=6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windows": []}, "windows"),
        ({"stacking_axis": "z"}, "stacking_axis"),
        ({"radius": 0.8}, "radius"),
        ({"sites": CONFIG["sites"] | {"positions": [[0.0, 0.0]]}}, "not both"),
        ({"contact_shift": {"temperature": 300.0}}, r"contact_shift\.gyromagnetic_ratio"),
        ({"windows": [0]}, "windows"),
        ({"map": CONFIG["map"] | {"fold": [-2, 2]}}, "fold"),
        ({"map": CONFIG["map"] | {"bins": [0, 0]}}, "bins"),
        ({"sites": CONFIG["sites"] | {"divisions": [0, 6]}}, "divisions"),
        ({"sites": CONFIG["sites"] | {"elements": ["Qq"]}}, "Qq are no elements"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        settings(**changes)


def test_series_refuses_missing_shifts_and_scattered_trajectories(data):
    broken = data.shift.copy()
    broken[7, 3] = np.nan
    with pytest.raises(InputError, match="first 7"):
        replace(data, shift=broken)
    with pytest.raises(InputError, match="must grow"):
        replace(data, time=np.zeros(len(data.shift)))
    with pytest.raises(InputError, match="contiguous"):
        replace(data, group=np.array(["p63mcm", "p6322"] * 256, dtype=object))


def write_predictions(path: Path, data: ShiftSeries, conversion: ContactShift, drift: np.ndarray) -> None:
    """Format 2 predictions: ions first, then the framework of each trajectory, all moved by `drift` (T, 3) Å."""
    fixed = np.stack([data.frameworks[name].positions for name in data.group])
    numbers = np.r_[np.full(16, NA), next(iter(data.frameworks.values())).numbers]
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    group.create_array("positions", data=np.concatenate([data.positions, fixed], axis=1) + drift[:, None])
    group.create_array("cell", data=data.cell)
    group.create_array("numbers", data=numbers)
    group.create_array("centres", data=np.arange(16))
    group.create_array("group", data=data.group.astype(np.dtypes.StringDType()))
    group.create_array("time", data=data.time)
    coupling = data.shift / conversion.ppm_per_mhz
    group.create_array("hyperfine_contact", data=coupling)
    group.create_array("hyperfine_contact_members", data=np.stack([coupling, coupling * 1.01], axis=1))
    group.create_array("hyperfine_contact_std", data=np.abs(coupling) * 0.005)
    group.attrs["contact_shift"] = conversion.to_dict()


def test_predictions_are_read_without_drift(data, tmp_path):
    first = data.of("p63mcm")
    drift = np.cumsum(np.random.default_rng(2).normal(0.0, 0.05, (256, 3)), axis=0)
    write_predictions(tmp_path / "pred.zarr", first, CONVERSION, drift)
    read, conversion = read_series(tmp_path / "pred.zarr", "Na", None, None)
    assert conversion == CONVERSION
    np.testing.assert_allclose(read.shift, first.shift)
    np.testing.assert_allclose(read.positions - drift[0], first.positions, atol=1e-9)
    np.testing.assert_allclose(read.members, first.shift * np.array([1.0, 1.01])[:, None, None])
    np.testing.assert_allclose(read.spread, np.abs(first.shift) * 0.005)
    np.testing.assert_array_equal(read.time, first.time)
    ours, theirs = only(analyze(read, settings(), conversion)), only(analyze(first, settings(), CONVERSION))
    assert [s.samples for s in ours.sites] == [s.samples for s in theirs.sites]
    assert ours.budget.ensemble == pytest.approx(theirs.blocks.mean * 0.01 / np.sqrt(2))
    assert ours.mean_spread == pytest.approx(np.abs(first.shift).mean() * 0.005)


def test_a_framework_may_drift_through_the_whole_cell():
    """Halfway between two lattice vectors the atoms vibrate to either side."""
    rng = np.random.default_rng(0)
    cell = np.array([[5.0, 0, 0], [-2.0, 6.0, 0], [1.0, 0, 7.0]])
    fixed = Framework(rng.random((30, 3)) @ cell, np.full(30, 8), cell)
    drift = np.linspace(0, 1.2, 49)[:, None] * cell[0]
    positions = fixed.positions + drift[:, None] + rng.normal(0, 0.1, (49, 30, 3))
    off = (framework_drift(positions, cell[None], fixed) - drift) @ np.linalg.inv(cell)
    assert np.abs((off - np.rint(off)) @ cell).max() < 0.1


def test_predictions_of_a_shuffled_dataset_are_read_in_time_order(data, tmp_path):
    first = data.of("p63mcm")
    order = np.random.default_rng(4).permutation(256)
    shuffled = replace(first, time=None)._rows(order, first.frameworks)
    write_predictions(tmp_path / "pred.zarr", replace(shuffled, time=np.arange(256.0)), CONVERSION, np.zeros((256, 3)))
    group = zarr.open_group(str(tmp_path / "pred.zarr"))
    del group["time"]
    group.create_array("frame", data=order)
    read, _ = read_series(tmp_path / "pred.zarr", "Na", None, 100.0)
    np.testing.assert_allclose(read.shift, first.shift)
    np.testing.assert_array_equal(read.time, np.arange(256) * 100.0)


def test_a_negative_ratio_leaves_spreads_positive(data, tmp_path):
    first = data.of("p63mcm")
    negative = replace(CONVERSION, gyromagnetic_ratio=-5.774)
    write_predictions(tmp_path / "pred.zarr", first, negative, np.zeros((256, 3)))
    read, _ = read_series(tmp_path / "pred.zarr", "Na", None, None)
    np.testing.assert_allclose(read.shift, first.shift)
    assert (read.spread > 0).all()


def test_another_conversion_is_recomputed_and_said(data, tmp_path):
    stored = replace(CONVERSION, gyromagnetic_ratio=100.0, temperature=300.0)
    write_predictions(tmp_path / "pred.zarr", data, stored, np.zeros((512, 3)))
    read, conversion = read_series(tmp_path / "pred.zarr", "Na", CONVERSION, None)
    assert conversion == CONVERSION
    np.testing.assert_allclose(read.shift, data.shift * 314.8 / 334.8)
    assert "temperature 300 -> 320" in read.notes[0]


def test_only_the_gyromagnetic_ratio_of_the_couplings_matters():
    stored = replace(CONVERSION, gyromagnetic_ratio=100.0)
    conversion, ratio, _ = settle_conversion(
        CONVERSION, {"conventions": {"contact_shift": stored.to_dict()}}, Path("x")
    )
    coupling = np.array([1.0, 2.5])
    np.testing.assert_allclose(conversion(rescale(coupling, ratio, conversion.gyromagnetic_ratio)), stored(coupling))
    with pytest.raises(InputError, match="contact_shift"):
        settle_conversion(None, {}, Path("x"))


def test_wrong_predictions_are_refused(data, tmp_path):
    write_predictions(tmp_path / "pred.zarr", data, CONVERSION, np.zeros((512, 3)))
    with pytest.raises(InputError, match="none of the 16 predicted centres is Li"):
        read_series(tmp_path / "pred.zarr", "Li", CONVERSION, None)
    zarr.open_group(str(tmp_path / "empty.zarr"), mode="w")
    with pytest.raises(InputError, match="not a trajectory, it has no cell, numbers, positions"):
        read_series(tmp_path / "empty.zarr", "Na", CONVERSION, None)
    del zarr.open_group(str(tmp_path / "pred.zarr"))["centres"]
    with pytest.raises(InputError, match="no array centres"):
        read_series(tmp_path / "pred.zarr", "Na", CONVERSION, None)
    with pytest.raises(InputError, match="no input"):
        read_series(tmp_path / "absent.zarr", "Na", CONVERSION, None)


def test_a_dataset_is_read_in_time_order_without_bad_frames(data, tmp_path):
    order = np.random.default_rng(3).permutation(20)
    fixed = data.frameworks["p63mcm"]
    blocks = []
    for frame in order:
        coupling = np.r_[data.shift[frame] / CONVERSION.ppm_per_mhz, np.full(len(fixed.numbers), np.nan)]
        blocks.append(
            Configuration(
                numbers=np.r_[np.full(16, NA), fixed.numbers],
                positions=np.r_[data.positions[frame], fixed.positions],
                cell=CELL,
                pbc=np.ones(3, bool),
                group="p63mcm",
                frame=int(frame),
                source=f"frame {frame}",
                quality=Quality.ENERGY_OUTLIER if frame == 5 else Quality(0),
                labels={"hyperfine_contact": coupling},
            )
        )
    DatasetWriter(tmp_path / "set.zarr", ["hyperfine_contact"]).append(blocks)
    read, _ = read_series(tmp_path / "set.zarr", "Na", CONVERSION, time_per_frame=2e5)
    kept = np.delete(np.arange(20), 5)
    np.testing.assert_allclose(read.shift, data.shift[kept])
    np.testing.assert_allclose(read.positions, data.positions[kept])
    np.testing.assert_allclose(read.time, kept * 2e5)
    assert any("1 of 20 frames left out" in note for note in read.notes)


def test_runs_at_several_temperatures_are_not_averaged():
    runs = series(32, {"cold": 0, "warm": 0, "as_cold": 0}, seed=3)
    known = replace(runs, temperatures={"cold": 300.0, "warm": 500.0, "as_cold": 302.0})
    assert analyze(runs, settings(), CONVERSION).runs == {"cold": ["cold", "warm", "as_cold"]}
    assert analyze(known, settings(), CONVERSION).runs == {"cold": ["cold", "as_cold"], "warm": ["warm"]}

"""States, transfers and hops: planted ones are found, and chance is what independent events give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import numpy as np
import pandas as pd
import pytest
import yaml
import zarr
from conftest import REPOSITORY
from density_cells import crystal

from ionecho.analysis import analyze
from ionecho.analysis.redox import Hop, Transfer, coincidence, held, hops, lowest, nearest_distances, split, transfers
from ionecho.analysis.redox_fields import Fields, Plane, farthest
from ionecho.analysis.redox_reading import Settings, read_run
from ionecho.data.schema import Configuration
from ionecho.data.store import Dataset, DatasetWriter
from ionecho.data.trajectory import open_trajectory
from ionecho.errors import InputError
from ionecho.report import Curve

SETTINGS: dict[str, Any] = yaml.safe_load((REPOSITORY / "conf/analysis/redox.yaml").read_text())["analysis"]["settings"]


VALENCES = {"O": -2, "Na": 0, "P": 5, "V": 3}  # of a cell with one hole


def test_two_classes_are_split_half_way_and_told_apart_only_where_they_are() -> None:
    random = np.random.default_rng(0)
    found = split(np.concatenate([random.normal(1.03, 0.05, 300), random.normal(1.83, 0.03, 100)]))
    assert found is not None
    assert found.threshold == pytest.approx(1.43, abs=0.01)
    assert found.decided
    one = split(random.normal(1.8, 0.03, 500))
    assert one is not None
    assert not one.decided
    assert split(np.ones((3, 2))) is None


def test_holes_are_ranked_and_short_excursions_left_out() -> None:
    moments = np.array([[1.8, 1.0, 1.1, 1.7], [1.0, 1.9, 1.8, 1.05]])
    np.testing.assert_array_equal(lowest(moments, 2), [[False, True, True, False], [True, False, False, True]])
    states = np.zeros((9, 2), bool)
    states[:, 0] = [1, 1, 0, 1, 1, 0, 0, 0, 0]
    np.testing.assert_array_equal(held(states, 3)[:, 0], [1, 1, 1, 1, 1, 0, 0, 0, 0])
    states[:, 1] = ~states[:, 0]
    assert transfers(held(states, 3)) == [Transfer(5, (0,), (1,))]


def test_holes_that_flicker_are_not_lost() -> None:
    """A hole that is anywhere in every frame, more often on ion 2, then on ion 0: it is there, but for the turn."""
    random = np.random.default_rng(4)
    often = np.where(np.arange(400) < 200, 2, 0)
    place = np.where(random.random(400) < 0.6, often, random.integers(0, 4, 400))
    states = np.arange(4) == place[:, None]
    assert (held(states, 5).sum(1) == 1).all()
    steady = held(states, 61)
    assert steady[:170, 2].all()
    assert steady[230:, 0].all()
    assert (steady.sum(1) == 1).all()
    assert len(transfers(held(states, 1))) > 100


def test_planted_hops_are_found_once_each() -> None:
    random = np.random.default_rng(1)
    paths = random.normal(0, 0.2, (600, 3, 3))
    for ion, frame in ((0, 150), (2, 300), (0, 420)):
        paths[frame:, ion] += [3.4, 0, 0]
    found = hops(paths, 10, 1.5)
    assert [(hop.ion, hop.frame) for hop in found] == [(0, pytest.approx(150, abs=1)), (2, pytest.approx(300, abs=1)),
                                                      (0, pytest.approx(420, abs=1))]  # fmt: skip
    assert found[1].vector == pytest.approx([3.4, 0, 0], abs=0.3)


def test_independent_events_coincide_as_often_as_chance_says() -> None:
    random = np.random.default_rng(2)
    frames, shares, chances = 4000, [], []
    for _ in range(60):
        moves = [Hop(int(f), 0, np.ones(3)) for f in random.integers(0, frames, 150)]
        found = coincidence([Transfer(int(f), (0,), (1,)) for f in random.integers(0, frames, 80)], moves, frames, 3)
        shares.append(found.share)
        chances.append(found.chance)
    error = np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert np.mean(shares) == pytest.approx(np.mean(chances), abs=4 * error)
    assert found.error == pytest.approx(np.std(shares, ddof=1), rel=0.3)


def test_octahedra_of_two_sizes_have_their_distances() -> None:
    ways = np.concatenate([np.eye(3), -np.eye(3)])
    centres = np.array([[[0.2, 0.0, 0.0], [5.0, 5.0, 5.0]]])
    ligands = np.concatenate([centres[:, 0] + 2.0 * ways, centres[:, 1] + 1.92 * ways])[None] + [10.0, 0.0, -10.0]
    found = nearest_distances(centres, ligands, 10.0 * np.eye(3)[None], 6)
    np.testing.assert_allclose(found, [[2.0, 1.92]])


@pytest.fixture
def trajectory(tmp_path: Path) -> Path:
    """An ion hops at frame 60 of 120, and the hole with it; at frame 90 the hole returns alone."""
    random = np.random.default_rng(3)
    atoms = crystal(0)
    atoms += ase.Atoms("Na", positions=[[3.0, 3.0, 1.0]])
    positions = atoms.positions + random.normal(0, 0.05, (120, len(atoms), 3))
    positions[60:, -1] += [2.5, 0, 0]
    moments = np.zeros((120, len(atoms)))
    moments[:, :2] = [1.0, 1.8]
    moments[60:90, :2] = [1.8, 1.0]
    charges = np.where(moments < 1.5, 2.3, 2.05)
    group = zarr.open_group(tmp_path / "pred.zarr", mode="w")
    group["positions"], group["cell"], group["numbers"] = positions, atoms.cell.array[None], atoms.numbers
    group["time"] = 100.0 * np.arange(120)
    noise = random.normal(0, 0.02, (2, *moments.shape))
    group["bader_moment"], group["bader_charge"] = moments + noise[0], charges + noise[1]
    return tmp_path / "pred.zarr"


def test_the_report_tells_a_transfer_with_a_hop_from_one_without(trajectory: Path, tmp_path: Path) -> None:
    report = analyze("redox", trajectory, {**SETTINGS, "valences": VALENCES})
    numbers = report.summary
    assert (numbers["holes_expected"], numbers["frames_as_expected"]) == (1, 1.0)
    assert numbers["transfers"] == 2
    assert (numbers["hops"], numbers["matched"]) == (1, 1)
    assert numbers["chance"] == pytest.approx(1 - np.exp(-5 / 120))
    assert numbers["disagreements"] == 0
    assert numbers["moments"]["moment_hole"] == pytest.approx(1.0, abs=0.01)
    assert numbers["charges"]["charge_hole"] == pytest.approx(2.3, abs=0.01)
    report.write(tmp_path / "report")
    assert list(pd.read_csv(tmp_path / "report/transfers.csv").frame) == [60, 90]
    assert (tmp_path / "report/states.png").exists()
    assert "There are 2 transfers of charge and 1 hops of Na." in report.headline


def test_a_run_whose_arrangement_flickers_is_told_so(trajectory: Path) -> None:
    assert not [
        note for note in analyze("redox", trajectory, {**SETTINGS, "valences": VALENCES}).notes if "flick" in note
    ]
    group = zarr.open_group(trajectory, mode="r+")
    moments = group["bader_moment"][:]
    moments[::4, :2] = moments[::4, 1::-1]
    group["bader_moment"][:] = moments
    (note,) = (
        note
        for note in analyze("redox", trajectory, {**SETTINGS, "valences": VALENCES, "hold": 1}).notes
        if "flickers" in note
    )
    assert note.startswith("there is a transfer every 2.0 frames at hold=1: ")


def test_a_reference_and_slices_of_fields_stand_beside_the_run(trajectory: Path, tmp_path: Path) -> None:
    """Charges at the reference's own structures; values of a known field at the points of the slice."""
    group = zarr.open_group(trajectory, mode="r")
    numbers, cell, positions = group["numbers"][:], group["cell"][0], group["positions"][:]
    axes = np.stack(np.meshgrid(*(np.arange(n) / n for n in (48, 40, 44)), indexing="ij"), -1)
    frames = [10, 100]
    for name, shift in (("grids", 0.0), ("other", 1.0)):
        writer = DatasetWriter(tmp_path / f"{name}.zarr", ["bader_moment", "bader_charge", "spin_density"])
        for frame in frames:
            labels = {key: group[key][frame] for key in ("bader_moment", "bader_charge")}
            labels["bader_charge"] = labels["bader_charge"] + shift
            labels["spin_density"] = shift + np.cos(2 * np.pi * axes[..., 0])
            places = positions[frame] + cell[1] * frame  # the shortest image counts
            writer.append([Configuration(numbers, places, cell, [True] * 3, "one", frame, "made", labels=labels)])
    beside = {"reference": str(tmp_path / "other.zarr"), "grids": str(tmp_path / "grids.zarr")}
    report = analyze("redox", trajectory, {**SETTINGS, "valences": VALENCES, **beside})
    (panel,) = report.figures["hop"].panels([])
    squares = [mark for mark in panel.marks if isinstance(mark, Curve) and mark.hollow]
    np.testing.assert_allclose([mark.y[1] for mark in squares], group["bader_charge"][100, :2] + 1.0, atol=1e-6)
    ways = np.linalg.norm(positions[frames, -1] - positions[0, -1], axis=1)
    np.testing.assert_allclose(squares[0].x, ways, atol=1e-5)
    panels = report.figures["spin"].panels([])
    titles = [f"{name}: {way:.1f} Å" for name in ("model", "reference") for way in ways]
    assert [panel.title for panel in panels] == titles
    settings = Settings.parse({**SETTINGS, "valences": VALENCES}, "redox")
    read = read_run(open_trajectory(trajectory), settings)
    fields, plane = Fields(Dataset(tmp_path / "grids.zarr"), "spin_density", read, None), Plane.of(read, farthest(read))
    fractional = plane.points() @ np.linalg.inv(cell)
    np.testing.assert_allclose(fields.slice(1, plane), np.cos(2 * np.pi * fractional[..., 0]), atol=5e-3)
    wrong = {**beside, "reference": str(tmp_path / "grids.zarr"), "reference_groups": ["two"]}
    with pytest.raises(InputError, match="two"):
        analyze("redox", trajectory, {**SETTINGS, "valences": VALENCES, **wrong})


def test_what_cannot_be_analysed_is_refused(trajectory: Path) -> None:
    with pytest.raises(InputError, match="no Fe"):
        analyze("redox", trajectory, {**SETTINGS, "valences": VALENCES, "centre": "Fe"})
    with pytest.raises(InputError, match="asks for -3 holes on 2 V"):
        analyze("redox", trajectory, {**SETTINGS, "valences": {**VALENCES, "P": 9}})
    with pytest.raises(InputError, match="no array magnetic_moment"):
        analyze("redox", trajectory, {**SETTINGS, "valences": VALENCES, "moment": "magnetic_moment"})


def test_several_runs_are_refused(trajectory: Path) -> None:
    zarr.open_group(trajectory)["group"] = np.repeat([7, 8], 60)
    told = r"expected one run, found 2 \(7, 8\); choose one, for instance analysis.settings.read.groups=\[7\]"
    with pytest.raises(InputError, match=told):
        analyze("redox", trajectory, {**SETTINGS, "valences": VALENCES})
    chosen = {**SETTINGS, "valences": VALENCES, "read": {**SETTINGS["read"], "groups": ["7"]}}
    alone = analyze("redox", trajectory, chosen)
    assert alone.summary["frames"] == 60

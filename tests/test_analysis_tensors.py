"""Tensors by site: what is averaged, and how often the errors cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy.spatial.transform import Rotation

from ionecho.analysis import analyze
from ionecho.analysis.options import ReadOptions
from ionecho.analysis.tensors import site_tensors
from ionecho.data.trajectory import open_trajectory
from ionecho.errors import InputError
from ionecho.nmr.quadrupole import quadrupole_coupling
from ionecho.nmr.site_table import Conventions

SETTINGS = {"isotopes": ["23Na"], "references": {"Na": (500.0, -1.0)}, "tolerance": 1e-6}


def write(path: Path, **arrays: np.ndarray) -> Path:
    """A trajectory of `arrays` (T, K, 3, 3) at K sodium atoms beside one oxygen."""
    frames, sites = next(iter(arrays.values())).shape[:2]
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.attrs.update({"ionecho_format": 2, "pbc": [True, True, True]})
    group.create_array("numbers", data=np.array([11] * sites + [8]))
    group.create_array("cell", data=20.0 * np.eye(3)[None])
    group.create_array("positions", data=np.tile(np.arange(sites + 1.0)[None, :, None], (frames, 1, 3)))
    group.create_array("time", data=np.arange(frames, dtype=float))
    group.create_array("centres", data=np.arange(sites))
    for name, values in arrays.items():
        group.create_array(name, data=values)
    return path


def gradient(coupling: float, eta: float, turn: Rotation) -> np.ndarray:
    """Of V_zz = `coupling` (V/Å²) in a turned frame."""
    principal = coupling * np.diag([-(1 - eta) / 2, -(1 + eta) / 2, 1.0])
    return turn.as_matrix() @ principal @ turn.as_matrix().T


def test_fast_motion_averages_tensors_and_not_couplings(tmp_path: Path) -> None:
    along = [gradient(1.0, 0.0, Rotation.from_euler("y", 90 * step, degrees=True)) for step in (0, 1)]
    efg = np.tile(np.array(along)[:, None], (50, 1, 1, 1))
    report = analyze("tensors", write(tmp_path / "hop.zarr", efg=efg), SETTINGS)
    (row,) = report.tables["efg"].frame.to_dict("records")
    assert row["V_zz"] == pytest.approx(-0.5)
    assert row["eta"] == pytest.approx(0.0, abs=1e-9)
    assert row["V_zz_rigid"] == pytest.approx(1.0)
    assert row["C_Q"] == pytest.approx(1e-6 * quadrupole_coupling(efg.mean(axis=(0, 1)), 0.104))
    assert report.units["C_Q_error"] == "MHz"


def test_a_frame_without_a_gradient_has_no_eta_and_takes_none_from_the_others(tmp_path: Path) -> None:
    efg = np.array([gradient(1.0, 0.3, Rotation.identity()), np.zeros((3, 3)), gradient(1.0, 0.5, Rotation.identity())])
    report = analyze("tensors", write(tmp_path / "zero.zarr", efg=efg[:, None]), SETTINGS)
    (row,) = report.tables["efg"].frame.to_dict("records")
    assert row["eta_rigid"] == pytest.approx(np.sqrt((0.3**2 + 0.5**2) / 2))
    assert row["eta_deviation"] == pytest.approx(0.1)
    assert row["V_zz_rigid"] == pytest.approx(np.sqrt(2 / 3))


def test_a_shielding_becomes_a_shift_by_its_line(tmp_path: Path) -> None:
    turn = Rotation.from_euler("zyz", [20, 50, 10], degrees=True).as_matrix()
    shielding = turn @ np.diag([470.0, 490.0, 530.0]) @ turn.T
    report = analyze("tensors", write(tmp_path / "one.zarr", shielding=shielding[None, None]), SETTINGS)
    (row,) = report.tables["shielding"].frame.to_dict("records")
    assert row["delta_iso"] == pytest.approx(500 - 1490 / 3)
    assert row["span"] == pytest.approx(60.0)
    assert row["skew"] == pytest.approx(3 * (10.0 - (500 - 1490 / 3)) / 60)
    assert "One frame" in report.notes[0]


def test_errors_cover_as_often_as_they_say(tmp_path: Path) -> None:
    """Correlated noise about known tensors: two errors cover in 95 % of 400 sites, within three standard errors."""
    rng = np.random.default_rng(0)
    frames, sites, memory = 1024, 400, 0.8
    truth = np.array([gradient(1.0, 0.4, Rotation.random(random_state=site)) for site in range(sites)])
    noise = rng.normal(size=(frames, sites, 3, 3))
    for step in range(1, frames):
        noise[step] = memory * noise[step - 1] + np.sqrt(1 - memory**2) * noise[step]
    noise = 0.2 * (noise + noise.swapaxes(2, 3)) / 2
    noise -= np.trace(noise, axis1=2, axis2=3)[..., None, None] / 3 * np.eye(3)
    trajectory = open_trajectory(write(tmp_path / "noise.zarr", efg=truth + noise))
    found = site_tensors(trajectory, ReadOptions(), Conventions.of(["23Na"], {}))
    sheet = found.sites["efg"]
    for name, known in (("V_zz", 1.0), ("eta", 0.4)):
        covered = np.mean(np.abs(sheet[name] - known) < 2 * sheet[f"{name}_error"])
        assert covered == pytest.approx(0.954, abs=3 * np.sqrt(0.954 * 0.046 / sites))


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "none.zarr", hyperfine_dipolar=np.zeros((2, 1, 3, 3)))
    with pytest.raises(InputError, match="expected an array shielding or efg, found"):
        analyze("tensors", path, SETTINGS)
    with pytest.raises(InputError, match="'Xx' is no element"):
        analyze("tensors", path, SETTINGS | {"references": {"Xx": (1.0, 2.0)}})

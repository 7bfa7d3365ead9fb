"""What is written for others reads back as it was."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
import zarr
from conftest import p2_crystal

from ionecho.data.convert import write_magres_file, write_xyz
from ionecho.data.importers import magres
from ionecho.data.trajectory import open_trajectory
from ionecho.errors import InputError


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """Five frames with shifts and gradients of the two Na, and an energy."""
    rng, images = np.random.default_rng(0), [p2_crystal(k) for k in range(5)]
    tensors = rng.normal(size=(5, 2, 3, 3))
    tensors = (tensors + tensors.swapaxes(2, 3)) / 2
    tensors -= np.trace(tensors, axis1=2, axis2=3)[..., None, None] * np.eye(3) / 3
    group = zarr.open_group(tmp_path / "pred.zarr", mode="w")
    arrays = {
        "positions": np.stack([atoms.positions for atoms in images]),
        "cell": np.stack([atoms.cell.array for atoms in images]),
        "numbers": images[0].numbers,
        "centres": np.flatnonzero(images[0].numbers == 11),
        "time": 10.0 * np.arange(5),
        "energy": rng.normal(size=5),
        "efg": tensors,
        "hyperfine_contact_shift": rng.normal(1600, 300, size=(5, 2)),
    }
    for name, values in arrays.items():
        group.create_array(name, data=values)
    return tmp_path / "pred.zarr"


def test_extended_xyz_has_shifts_and_tensors_by_atom(predicted: Path, tmp_path: Path) -> None:
    stored = zarr.open_group(predicted, mode="r")
    assert write_xyz(open_trajectory(predicted), tmp_path / "all.extxyz", every=2) == 3
    read = ase.io.read(tmp_path / "all.extxyz", index=":")
    centres = stored["centres"][:]
    for atoms, k in zip(read, (0, 2, 4), strict=True):
        np.testing.assert_allclose(atoms.positions, stored["positions"][k], atol=1e-8)
        np.testing.assert_allclose(atoms.arrays["efg"][centres], stored["efg"][k].reshape(2, 9), atol=1e-8)
        shift = atoms.arrays["hyperfine_contact_shift"]
        np.testing.assert_allclose(shift[centres], stored["hyperfine_contact_shift"][k], atol=1e-6)
        assert np.isnan(shift).sum() == len(atoms) - 2
        assert atoms.info["time"] == 10.0 * k


def test_magres_reads_back_through_the_importer(predicted: Path, tmp_path: Path) -> None:
    trajectory = open_trajectory(predicted)
    write_magres_file(trajectory, tmp_path / "one.magres", frame=3)
    rows = [
        line.split() for line in (tmp_path / "one.magres").read_text().splitlines() if line.strip().startswith("efg")
    ]
    expected = zarr.open_group(predicted, mode="r")["efg"][3].reshape(2, 9)
    np.testing.assert_allclose(np.array([row[3:] for row in rows], float) * magres.ATOMIC_UNIT, expected, rtol=1e-6)
    with pytest.raises(InputError, match="no frame 7"):
        write_magres_file(trajectory, tmp_path / "one.magres", frame=7)

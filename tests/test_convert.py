"""What is written for others reads back as it was."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
import zarr
from conftest import p2_crystal

import ionecho
from ionecho.data.convert import write_magres_of, write_xyz
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
    write_magres_of(trajectory, tmp_path / "one.magres", frame=3)
    rows = [
        line.split() for line in (tmp_path / "one.magres").read_text().splitlines() if line.strip().startswith("efg")
    ]
    expected = zarr.open_group(predicted, mode="r")["efg"][3].reshape(2, 9)
    np.testing.assert_allclose(np.array([row[3:] for row in rows], float) * magres.ATOMIC_UNIT, expected, rtol=1e-6)
    with pytest.raises(InputError, match="no frame 7"):
        write_magres_of(trajectory, tmp_path / "one.magres", frame=7)


def test_ase_reads_the_magres_file_of_all_atoms(tmp_path: Path) -> None:
    rng, atoms = np.random.default_rng(1), p2_crystal(0)
    group = zarr.open_group(tmp_path / "pred.zarr", mode="w")
    tensors = rng.normal(size=(1, len(atoms), 3, 3))
    tensors = tensors + tensors.swapaxes(2, 3)
    arrays = {"positions": atoms.positions[None], "cell": atoms.cell.array[None], "numbers": atoms.numbers}
    for name, values in {
        **arrays,
        "centres": np.arange(len(atoms)),
        "shielding": 100 * tensors,
        "efg": tensors,
    }.items():
        group.create_array(name, data=values)
    write_magres_of(open_trajectory(tmp_path / "pred.zarr"), tmp_path / "all.magres")
    read = ase.io.read(tmp_path / "all.magres")
    order = [np.linalg.norm(read.positions - position, axis=1).argmin() for position in atoms.positions]
    assert sorted(order) == list(range(len(atoms)))
    np.testing.assert_array_equal(read.numbers[order], atoms.numbers)
    np.testing.assert_allclose(read.arrays["ms"][order], 100 * tensors[0], rtol=1e-6)
    np.testing.assert_allclose(read.arrays["efg"][order] * magres.ATOMIC_UNIT, tensors[0], rtol=1e-6)


def test_predictions_as_extended_xyz_and_table_are_those_in_zarr(toy_checkpoint: Path, tmp_path: Path) -> None:
    ase.io.write(tmp_path / "run.extxyz", [p2_crystal(k) for k in range(3)])
    model = ionecho.load(toy_checkpoint)
    for name in ("pred.zarr", "pred.extxyz", "pred.csv"):
        model.predict(tmp_path / "run.extxyz", output=tmp_path / name)
    stored, table = zarr.open_group(tmp_path / "pred.zarr", mode="r"), pd.read_csv(tmp_path / "pred.csv")
    centres = stored["centres"][:]
    for k, atoms in enumerate(ase.io.read(tmp_path / "pred.extxyz", index=":")):
        for name in ("hyperfine_contact", "hyperfine_contact_std", "hyperfine_contact_shift"):
            np.testing.assert_allclose(atoms.arrays[name][centres], stored[name][k], rtol=1e-5, atol=1e-7)
            assert np.isnan(atoms.arrays[name]).sum() == len(atoms) - len(centres)
        shift = table.loc[table.frame == k, "hyperfine_contact_shift (ppm)"]
        np.testing.assert_allclose(shift, stored["hyperfine_contact_shift"][k], rtol=1e-5)
    assert k == 2
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob("pred.extxyz.zarr"))

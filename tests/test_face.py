"""The Python face: what a script calls gives what the commands give, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import zarr
from conftest import TINY_MODEL, p2_crystal, run_entry

import ionecho
from ionecho.data.store import Dataset
from ionecho.errors import InputError


@pytest.fixture(scope="module")
def images() -> list[ase.Atoms]:
    frames = [p2_crystal(k) for k in range(3)]
    for atoms in frames:
        atoms.wrap()
    return frames


def test_a_model_predicts_atoms_lists_and_trajectories_alike(
    toy_checkpoint: Path, images: list[ase.Atoms], tmp_path: Path
) -> None:
    model = ionecho.load(toy_checkpoint)
    one, several = model.predict(images[1]), model.predict(images)
    assert one["hyperfine_contact_shift"].shape == (2,)
    assert several["hyperfine_contact_shift"].shape == (3, 2)
    np.testing.assert_allclose(one["hyperfine_contact"], several["hyperfine_contact"][1], rtol=1e-5)
    ase.io.write(tmp_path / "t.extxyz", images)
    line = (f"checkpoint={toy_checkpoint}", f"input={tmp_path / 't.extxyz'}", f"output={tmp_path / 'cli.zarr'}")
    told = run_entry("predict.py", *line, "threads=1")
    assert told.returncode == 0, told.stderr
    command = zarr.open_group(tmp_path / "cli.zarr", mode="r")
    found = model.predict(tmp_path / "t.extxyz", threads=1)
    model.predict(tmp_path / "t.extxyz", threads=1, output=tmp_path / "script.zarr")
    script = zarr.open_group(tmp_path / "script.zarr", mode="r")
    assert set(found) >= {"hyperfine_contact", "hyperfine_contact_std", "hyperfine_contact_shift", "centres"}
    for name, values in found.items():
        np.testing.assert_array_equal(values, command[name][:], err_msg=name)
        np.testing.assert_array_equal(values, script[name][:], err_msg=name)
    cold = model.predict(
        images, {"contact_shift": model.checkpoint.config.parameters["contact_shift"] | {"temperature": 250}}
    )
    np.testing.assert_allclose(
        cold["hyperfine_contact_shift"] / several["hyperfine_contact_shift"], (320 + 14.8) / (250 + 14.8), rtol=1e-5
    )
    with pytest.raises(InputError, match="frame 1 holds other atoms"):
        model.predict([images[0], images[0][:5]])
    with pytest.raises(InputError, match="toy is no potential"):
        model.calculator()


def test_a_potential_is_a_calculator() -> None:
    atoms = p2_crystal(0)
    atoms.calc = ionecho.load("uf3-p2_nmmo").calculator(device="cpu")
    np.testing.assert_allclose(atoms.get_forces().sum(0), 0.0, atol=1e-10)


def test_a_dataset_gives_configurations_with_labels(tmp_path: Path) -> None:
    data = ionecho.dataset("p2_gpaw")
    configuration = data[0]
    assert configuration.atoms.get_forces().shape == (22, 3)
    np.testing.assert_array_equal(configuration.atoms.get_forces(), configuration.labels["forces"])
    assert configuration.atoms.get_potential_energy() == float(configuration.labels["energy"])
    ase.io.write(tmp_path / "one.xyz", configuration.atoms)
    told = ase.io.read(tmp_path / "one.xyz").arrays["efg"].reshape(-1, 3, 3)
    np.testing.assert_allclose(told, configuration.labels["efg"], atol=1e-7)
    assert data[-1].source == data[len(data) - 1].source
    with pytest.raises(IndexError):
        data[len(data)]


def test_training_in_a_script_is_that_of_the_command(toy_dataset: Path, tmp_path: Path) -> None:
    overrides = ["dataset=own", f"dataset.name={toy_dataset}", "name=toy", *TINY_MODEL, "trainer.max_epochs=2"]
    metrics = ionecho.train(*overrides, folder=tmp_path / "script")
    told = run_entry("train.py", *overrides, f"hydra.run.dir={tmp_path / 'cli'}")
    assert told.returncode == 0, told.stderr
    assert json.loads((tmp_path / "cli" / "metrics.json").read_text()) == metrics
    weights = [(tmp_path / name / "checkpoint" / "weights.safetensors").read_bytes() for name in ("script", "cli")]
    assert weights[0] == weights[1]
    report = ionecho.analyze("errors", tmp_path / "script", "analysis.settings.bins=20")
    assert report.summary["errors"][0]["n"] == Dataset(toy_dataset).attrs["committed"][0] // 5 * 2
    assert report.settings.bins == 20


def test_a_training_in_a_script_begins_with_a_checkpoint(
    toy_dataset: Path, toy_checkpoint: Path, tmp_path: Path
) -> None:
    overrides = ["dataset=own", f"dataset.name={toy_dataset}", "name=tuned", *TINY_MODEL, "trainer.max_epochs=1"]
    metrics = ionecho.train(*overrides, start=toy_checkpoint, folder=tmp_path)
    scratch = ionecho.train(*overrides, folder=tmp_path / "scratch")
    start = ionecho.load(tmp_path).checkpoint.config.start
    assert start is not None
    assert start["checkpoint"] == "toy"
    errors = [found["test"]["hyperfine_contact"] for found in (metrics, scratch)]
    assert errors[0]["rmse"] < errors[1]["rmse"]
    assert errors[0]["baseline"] == errors[1]["baseline"]


def test_importing_it_loads_no_torch() -> None:
    line = "import sys, ionecho; print('torch' in sys.modules, 'zarr' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout
        == "False False\n"
    )

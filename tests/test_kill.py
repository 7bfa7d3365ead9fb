"""kill -9 at random moments: data import, training and prediction go on with the same line and lose nothing."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
import zarr
from conftest import REPOSITORY, TINY_MODEL, p2_crystal, write_toy_xyz
from density_cells import crystal
from safetensors.torch import load_file

from ionecho.data.store import Dataset
from ionecho.data.verify import verify

KILLS = 2
SPACING = {"ase": 5, "lammps": 50}  # steps between frames of dynamics


def run_until_done(command: Sequence[str], watched: Path, environment: dict[str, str], seed: int) -> None:
    """Start the command again and again, each time killing it soon after it wrote something new, then let it finish."""
    rng = random.Random(seed)
    for kill in range(KILLS + 1):
        before = newest(watched)
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if kill < KILLS:
            while process.poll() is None and newest(watched) <= before:
                time.sleep(0.005)
            time.sleep(rng.uniform(0.0, 0.3))
            assert process.poll() is None, "finished before it could be killed"
            process.send_signal(signal.SIGKILL)
            process.communicate()
    output, _ = process.communicate()
    assert process.returncode == 0, output


def newest(folder: Path) -> int:
    """When anything below the folder changed last, ns."""
    times = [0]
    with contextlib.suppress(FileNotFoundError):  # the folder may be begun anew meanwhile
        for path in folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                times.append(path.stat().st_mtime_ns)
    return max(times)


def entry(script: str, *arguments: str) -> list[str]:
    return [sys.executable, str(REPOSITORY / script), *arguments]


def test_killed_import_equals_a_whole_one(tmp_path: Path) -> None:
    write_toy_xyz(tmp_path / "files" / "run", 600)
    hashes = {}
    for home in ("whole", "killed"):
        root = tmp_path / home / "datasets" / "mine"
        command = [sys.executable, "-m", "ionecho.cli", "data", "import", "mine", str(tmp_path / "files")]
        command += ["--importer", "extxyz", "--pattern", "*/frame_*.extxyz", "--frames", "0:599:1"]
        command += ["--licence", "mit", "--citation", "nobody", "--options", "{keys: {hyperfine_contact: coupling}}"]
        if home == "whole":
            environment = os.environ | {"IONECHO_HOME": str(tmp_path / home)}
            subprocess.run(command, env=environment, check=True, capture_output=True)
        else:
            run_until_done(command, root, {"IONECHO_HOME": str(tmp_path / home)}, seed=0)
        assert verify(root / "mine-1.0.0.zarr.zip") == []
        assert not (root / "mine-1.0.0.zarr").exists()
        hashes[home] = Dataset(root / "mine-1.0.0.zarr.zip").attrs["content_sha256"]
    assert hashes["whole"] == hashes["killed"]


def test_killed_training_equals_an_uninterrupted_one(toy_dataset: Path, tmp_path: Path) -> None:
    weights = {}
    for name in ("whole", "killed"):
        folder = tmp_path / name
        command = entry("train.py", "dataset=own", f"dataset.name={toy_dataset}", "name=toy", *TINY_MODEL)
        command += ["trainer.max_epochs=30", "ensemble=2", f"hydra.run.dir={folder}"]
        if name == "killed":
            run_until_done(command, folder / "member_0", {}, seed=1)
        else:
            subprocess.run(command, check=True, capture_output=True)
        weights[name] = load_file(folder / "checkpoint" / "weights.safetensors")
    for key, value in weights["whole"].items():
        assert torch.equal(value, weights["killed"][key]), key


@pytest.mark.parametrize("source", ["t.zarr", "t.extxyz"])
def test_killed_prediction_equals_a_whole_one(toy_checkpoint: Path, tmp_path: Path, source: str) -> None:
    frames = [p2_crystal(k) for k in range(3000)]
    if source == "t.zarr":
        group = zarr.open_group(tmp_path / source, mode="w")
        group.create_array("positions", data=np.stack([atoms.positions for atoms in frames]))
        group.create_array("cell", data=np.array(frames[0].cell)[None])
        group.create_array("numbers", data=frames[0].numbers)
    else:
        ase.io.write(tmp_path / source, frames)
    arguments = [f"checkpoint={toy_checkpoint}", f"input={tmp_path / source}", "block=10", "threads=2", "device=cpu"]
    arrays = ("hyperfine_contact", "hyperfine_contact_std", "positions")
    assert_killed_equals_whole(tmp_path, entry("predict.py", *arguments), arrays, seed=2)


def test_killed_grids_equal_whole_ones(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "t.extxyz", [crystal(k) for k in range(40)])
    command = entry("predict.py", "checkpoint=density-nvp_gpaw", f"input={tmp_path / 't.extxyz'}", "threads=1")
    command += ["device=cpu", "grids={every: 2, spacing: 0.4, normalise: true}"]
    subprocess.run([*command, f"output={tmp_path / 'whole.zarr'}"], check=True, capture_output=True)
    killed = [*command, f"output={tmp_path / 'killed.zarr'}"]
    run_until_done(killed, tmp_path / "killed-grids.zarr.partial", {}, seed=4)
    found, expected = (tmp_path / f"{name}-grids.zarr" for name in ("killed", "whole"))
    assert len(Dataset(found)) == 20
    assert Dataset(found).attrs["integrals"] == Dataset(expected).attrs["integrals"]
    files = sorted(path.relative_to(expected) for path in expected.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(found) for path in found.rglob("*") if path.is_file())
    for file in files:
        if file != Path("zarr.json"):  # which names the dataset
            assert (found / file).read_bytes() == (expected / file).read_bytes(), file


@pytest.mark.parametrize("engine", ["ase", "lammps"])
def test_killed_dynamics_equal_uninterrupted_ones(tmp_path: Path, engine: str) -> None:
    arguments = ["checkpoint=uf3-p2_painn", "structure=p2_p63mcm", f"engine={engine}", "block=2", "threads=1"]
    arguments += [f"time={60 * SPACING[engine]}fs", f"every={SPACING[engine]}"]
    arrays = ("positions", "potential_energy", "temperature")
    assert_killed_equals_whole(tmp_path, entry("simulate.py", *arguments), arrays, seed=3)


def assert_killed_equals_whole(folder: Path, command: Sequence[str], arrays: Sequence[str], seed: int) -> None:
    """The same arrays in the outputs of a command that ran through and of one that was killed again and again."""
    subprocess.run([*command, f"output={folder / 'whole.zarr'}"], check=True, capture_output=True)
    killed = [*command, f"output={folder / 'killed.zarr'}"]
    run_until_done(killed, folder / "killed.zarr.partial", {}, seed)
    found, expected = (zarr.open_group(folder / f"{name}.zarr", mode="r") for name in ("killed", "whole"))
    for name in arrays:
        np.testing.assert_array_equal(found[name][:], expected[name][:])

"""A process that dies at any of its effects on the disk, one after the other: what is begun again gives the same."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from conftest import toy_card, toy_configuration, write_toy_xyz
from zarr.core.sync import sync

from ionecho.data.build import build_from
from ionecho.data.files import remove_folder, replace_folder
from ionecho.data.store import Dataset, DatasetWriter, content_sha256, open_zarr
from ionecho.data.verify import verify
from ionecho.dynamics.integrators import Thermostat
from ionecho.dynamics.run import Run
from ionecho.dynamics.simulate import simulate

EFFECTS = ("unlink", "rmdir", "rename", "replace")  # of os; zarr and the project write beside a place and rename
Work = Callable[[Path], object]


class Died(Exception):
    """Stands for kill -9."""


def dies(work: Work, target: Path, effects: int) -> bool:
    """Whether the work died, at its first effect on the disk after so many."""
    left = [effects]

    def mortal(effect: Callable[..., Any]) -> Callable[..., Any]:
        def once(path: Any, *arguments: Any, **keywords: Any) -> Any:
            if str(path).endswith(".lock"):
                return effect(path, *arguments, **keywords)
            if left[0] < 0:
                return None  # what Python does on its way out, and a killed process does not
            left[0] -= 1
            if left[0] < 0:
                raise Died
            return effect(path, *arguments, **keywords)

        return once

    def write_text(path: Path, text: str, *_: Any, **__: Any) -> None:
        path.write_bytes(b"")
        os.replace(path, path)  # an effect, with nothing in the file
        path.write_bytes(text.encode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", write_text)
        for name in EFFECTS:
            patch.setattr(os, name, mortal(getattr(os, name)))
        try:
            work(target)
        except Died:
            sync(others())
            return True
    return False


async def others() -> None:
    """Wait for what zarr was writing at the same time: it would go on in this process, which lives."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*tasks, return_exceptions=True)


def killed_everywhere(folder: Path, work: Work, begun: Path | None = None, stride: int = 1) -> Iterator[Path]:
    """Where work was done that died at one of its effects and was begun again, for one after the other of them."""
    for effects in count(step=stride):
        target = folder / f"{effects}.zarr"
        if begun is not None:
            shutil.copytree(begun, target.with_name(target.name + ".partial"))
        if not dies(work, target, effects):
            return
        work(target)
        yield target


def test_dynamics(tmp_path: Path) -> None:
    """Some of it found as a run left it that was killed before its first frames."""
    ensemble = Thermostat("nvt_nose_hoover", 300.0, 2.0, 100.0, 0.0, 1000.0, 0)
    settings = Run(steps=4, every=2, block=1, spread_limit=1.0, contact_limit=0.5, heat_limit=None, volume_limit=None)

    def work(output: Path) -> Path:
        return simulate(bulk("Cu", cubic=True), EMT(), ensemble, settings, {"checkpoint": "emt"}, output)

    whole, kills = open_zarr(work(tmp_path / "whole.zarr"), "r"), 0
    assert dies(work, tmp_path / "begun.zarr", 12)
    begun = tmp_path / "begun.zarr.partial"
    assert open_zarr(begun, "r").attrs["committed"] == 0
    for path in killed_everywhere(tmp_path, work, begun):
        found, kills = open_zarr(path, "r"), kills + 1
        assert dict(found.attrs) == dict(whole.attrs)
        for name, array in whole.arrays():
            np.testing.assert_array_equal(found[name][:], array[:], err_msg=f"{name}, killed at effect {kills}")
        assert not list(path.rglob("*.partial"))
    assert kills > 2 * 5  # frames and arrays


def test_datasets(tmp_path: Path) -> None:
    configurations = [toy_configuration(seed) for seed in range(2)]

    def work(output: Path) -> None:
        writer = DatasetWriter(output, list(configurations[0].labels))
        for configuration in configurations[len(writer.sources()) :]:
            writer.append([configuration])

    work(tmp_path / "whole.zarr")
    whole, kills = content_sha256(open_zarr(tmp_path / "whole.zarr", "r")), 0
    for path in killed_everywhere(tmp_path, work, stride=3):
        kills += 1
        assert content_sha256(open_zarr(path, "r")) == whole, f"killed at effect {kills}"
    assert kills > len(Dataset(tmp_path / "whole.zarr").names)


def test_imports(tmp_path: Path) -> None:
    """And what the last attempt begins with is not told to be of other files."""
    write_toy_xyz(tmp_path / "files" / "run", 5)
    told: list[str] = []

    def work(output: Path) -> Path:
        return build_from(tmp_path / "files", toy_card(), output.with_suffix(".zarr.zip"), told.append)

    whole, kills = Dataset(work(tmp_path / "whole.zarr")).attrs["content_sha256"], 0
    for path in killed_everywhere(tmp_path, work, stride=5):
        kills += 1
        made = path.with_suffix(".zarr.zip")
        assert verify(made) == []
        assert Dataset(made).attrs["content_sha256"] == whole
        assert not path.exists()
    assert kills > 20
    assert not any("begun anew" in line for line in told)


def test_folders(tmp_path: Path) -> None:
    """One that is removed is whole or gone; one that is replaced is old, new, or missing, never mixed."""

    def fill(folder: Path, content: str) -> Path:
        (folder / "inner").mkdir(parents=True)
        for name in ("a", "inner/b"):
            (folder / name).write_bytes(content.encode())
        return folder

    def held(folder: Path) -> set[str]:
        return {path.read_text() for path in folder.rglob("*") if path.is_file()}

    for effects in range(4):
        assert dies(remove_folder, fill(tmp_path / f"gone{effects}", "old"), effects)
        assert len([*(tmp_path / f"gone{effects}").rglob("*")]) in (0, 3)
    for effects in range(5):
        target = fill(tmp_path / f"target{effects}", "old")
        new = fill(tmp_path / f"new{effects}", "new")
        assert dies(lambda target, new=new: replace_folder(new, target), target, effects)
        assert held(target) in ({"old"}, {"new"}, set())
        if not held(target):
            assert held(new) == {"new"}

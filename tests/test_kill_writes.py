"""A process that dies at any of its writes to zarr, one after the other: what is begun again gives the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from conftest import toy_configuration
from zarr.storage import _local

from ionecho.data.store import Dataset, DatasetWriter, content_sha256, open_zarr
from ionecho.dynamics.integrators import Ensemble
from ionecho.dynamics.run import Run
from ionecho.dynamics.simulate import simulate


class Died(Exception):
    """Stands for kill -9."""


def killed_at_every_write(folder: Path, patch: pytest.MonkeyPatch, work: Callable[[Path], object]) -> Iterator[Path]:
    """Where the work was done that died at its first write and was begun again, at its second, and so on."""
    write = _local._put
    for writes in count():
        left = [writes]

        def put(*arguments: Any, left: list[int] = left, **keywords: Any) -> int:
            left[0] -= 1
            if left[0] < 0:
                raise Died
            return write(*arguments, **keywords)

        patch.setattr(_local, "_put", put)
        target = folder / f"{writes}.zarr"
        try:
            work(target)
        except Died:
            patch.undo()
            work(target)
            yield target
        else:
            return


def test_dynamics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble = Ensemble("nvt_nose_hoover", 300.0, 2.0, 100.0, 0.0, 1000.0, 0)
    settings = Run(steps=10, every=2, block=2, spread_limit=1.0, contact_limit=0.5, heat_limit=None, volume_limit=None)

    def work(output: Path) -> Path:
        return simulate(bulk("Cu", cubic=True), EMT(), ensemble, settings, {"checkpoint": "emt"}, output)

    whole = open_zarr(work(tmp_path / "whole.zarr"), "r")
    kills = 0
    for path in killed_at_every_write(tmp_path, monkeypatch, work):
        found, kills = open_zarr(path, "r"), kills + 1
        assert dict(found.attrs) == dict(whole.attrs)
        for name, array in whole.arrays():
            np.testing.assert_array_equal(found[name][:], array[:], err_msg=f"{name}, killed at write {kills}")
    assert kills > 3 * 5  # blocks of arrays


def test_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configurations = [toy_configuration(seed) for seed in range(2)]

    def work(output: Path) -> None:
        writer = DatasetWriter(output, list(configurations[0].labels))
        for configuration in configurations[len(writer.sources()) :]:
            writer.append([configuration])

    work(tmp_path / "whole.zarr")
    whole, kills = content_sha256(open_zarr(tmp_path / "whole.zarr", "r")), 0
    for path in killed_at_every_write(tmp_path, monkeypatch, work):
        kills += 1
        assert content_sha256(open_zarr(path, "r")) == whole, f"killed at write {kills}"
    assert kills > 2 * len(Dataset(tmp_path / "whole.zarr").names)

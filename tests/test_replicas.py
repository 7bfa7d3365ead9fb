"""Replicas and reports on many inputs: on workers the same bytes, and a worker that dies loses its part alone."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import hydra
import pytest
from dying_workers import Dying
from hydra import initialize_config_dir

from ionecho.analysis import analyze_each
from ionecho.data.shared import CONF
from ionecho.data.trajectory import ZarrTrajectory
from ionecho.door.config import compose
from ionecho.dynamics.replicas import run_replicas
from ionecho.dynamics.settings import SimulationSettings
from ionecho.dynamics.simulate import run_simulation
from ionecho.errors import InputError

NUMBER = {"number": 1}


def settings(output: Path, **others: int) -> SimulationSettings:
    return SimulationSettings(
        "uf3-p2_nmmo", "p2_p63mcm", "40fs", output, every=5, block=2, threads=1, **{"replicas": 3, **others}
    )


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return run_replicas(settings(tmp_path_factory.mktemp("one") / "run.zarr"))


def test_replicas_are_the_runs_of_their_seeds(runs: list[Path], tmp_path: Path) -> None:
    assert [path.name for path in runs] == ["run-0.zarr", "run-1.zarr", "run-2.zarr"]
    alone = run_simulation(settings(tmp_path / "alone.zarr", replicas=1, seed=2))
    assert contents(alone) == contents(runs[2]) != contents(runs[1])
    assert run_replicas(settings(tmp_path / "alone.zarr", replicas=1, seed=2)) == [alone]


def test_replicas_on_workers_are_the_same_bytes_though_some_die(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ionecho.dynamics.replicas.executor", lambda _: nullcontext(Dying({1, 4})))
    shared = run_replicas(settings(tmp_path / "run.zarr"), NUMBER)
    assert [contents(path) for path in shared] == [contents(path) for path in runs]
    monkeypatch.setattr("ionecho.dynamics.replicas.executor", lambda _: nullcontext(Dying({2, 4, 5})))
    with pytest.raises(InputError, match=r"3 of them died over .*more-1.zarr"):
        run_replicas(settings(tmp_path / "more.zarr"), NUMBER)
    assert ZarrTrajectory(tmp_path / "more-0.zarr").n_frames == 8


def test_reports_on_each_of_many_inputs_are_the_same_on_workers(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = compose("analyze", ["analysis=diffusion", "input=x", "output=x"])["analysis"]["settings"]
    pattern = str(runs[0].with_name("run-*.zarr"))
    here = list(analyze_each("diffusion", pattern, own, tmp_path / "here"))
    monkeypatch.setattr("ionecho.analysis.executor", lambda _: nullcontext(Dying({2})))
    shared = list(analyze_each("diffusion", pattern, own, tmp_path / "shared", NUMBER))
    assert [folder.name for folder, _ in shared] == ["run-0", "run-1", "run-2"]
    assert [headline for _, headline in shared] == [headline for _, headline in here]
    assert all(headline for _, headline in here)
    assert contents(tmp_path / "here") == contents(tmp_path / "shared")
    with pytest.raises(InputError, match="two are called run-0"):
        list(analyze_each("diffusion", [str(runs[0]), str(runs[0])], own, tmp_path / "here"))


def test_both_commands_take_workers_as_the_others_do() -> None:
    found = compose("analyze", ["input=x", "output=x", "workers=local", "workers.number=3", "each=true"])
    assert found["workers"]["number"] == 3
    with initialize_config_dir(str(CONF / "simulate"), version_base=None):
        assert hydra.compose("simulate", overrides=["workers=slurm", "workers.number=7"]).workers.number == 7

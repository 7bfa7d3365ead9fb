"""Active learning: what is picked, what a round leaves, kill -9 at any step, and a potential that learns from it."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import ase
import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from conftest import REPOSITORY
from hydra import compose, initialize_config_dir
from pydantic import ValidationError

from ionecho.checkpoints.store import load
from ionecho.data.card import read_card
from ionecho.data.splits import fold_indices, leakage_report
from ionecho.data.store import Dataset
from ionecho.data.verify import verify
from ionecho.door.config import content
from ionecho.dynamics.calculator import Potential
from ionecho.entry import run_id
from ionecho.errors import InputError, explain
from ionecho.exploration import runs, versions
from ionecho.exploration.active_learning import explore
from ionecho.exploration.honest_test import FORCES, by_frame, predictions
from ionecho.exploration.report import report as report_of
from ionecho.exploration.report import table
from ionecho.exploration.rounds import Round
from ionecho.exploration.runs import displaced_cells, explore_all, plan
from ionecho.exploration.selection import MeanSOAP, Window, conformal_factor, farthest_points
from ionecho.exploration.settings import ExplorationSettings, exploration_settings
from ionecho.labelling.engine import make_engine
from ionecho.labelling.publish import grow
from ionecho.training.data import fold_parts

SMALL = [
    "model=painn",
    "model.numbers=[29]",
    "model.cutoff=4.0",
    "model.features=8",
    "model.interactions=1",
    "model.radial=6",
    "trainer.max_epochs=20",
    "trainer.batch_size=8",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "engine=ase",
    "engine.calculator._target_=ase.calculators.emt.EMT",
    "+engine.settings.code=EMT",
    "ensemble=2",
    "rounds=2",
    "rattle={copies: 12, displacement: [0.02, 0.06], strain: 0.01}",
    "dataset.validation=0.2",
    "md.temperatures=[900]",
    "md.strains=[0.0, 0.04]",
    "md.time=120fs",
    "md.every=10",
    "md.device=cpu",
    "select.low=1e-3",
    "select.per_round=12",
    "select.resolution=0.01",
]


@contextmanager
def thread(_: object) -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture(autouse=True, scope="module")
def here() -> Iterator[None]:
    """Label and simulate in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (versions, runs):
            patch.setattr(module, "executor", thread)
        yield


@pytest.fixture(scope="module")
def copper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("structures") / "copper.xyz"
    bulk("Cu", cubic=True).write(path)
    return path


def configured(structures: Path, *overrides: str) -> ExplorationSettings:
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        composed = compose("explore", overrides=[f"structures={structures}", "output=unused", *SMALL, *overrides])
        return exploration_settings(content(composed))


def test_a_start_that_does_not_fit_is_refused_before_anything_is_labelled(copper: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"start=painn-p2_gpaw has other hyperparameters; say model\.cutoff=5\.0"):
        next(explore(configured(copper, "start=painn-p2_gpaw"), tmp_path))
    assert not (tmp_path / "request.json").exists()


def rattled(count: int, displacement: float = 0.1) -> list[ase.Atoms]:
    cells = [bulk("Cu", cubic=True) for _ in range(count)]
    for seed, atoms in enumerate(cells):
        atoms.rattle(displacement, seed=seed)
    return cells


def test_the_window_holds_its_ends_and_sets_the_limit_of_the_run() -> None:
    window = Window(low=1.0, high=5.0, scale=0.5)
    assert window.inside(np.array([0.99, 1.0, 3.0, 5.0, 5.01])).tolist() == [1, 2, 3]
    assert window.spread_limit == 10.0
    with pytest.raises(InputError, match="low < high"):
        Window(2.0, 1.0, 1.0)


def test_conformal_factor_bounds_the_stated_share_of_errors() -> None:
    """Of 9 ratios at level 0.8 it is the 8th smallest; on fresh draws the bound holds for at least the level."""
    assert conformal_factor(np.arange(1.0, 10.0), np.ones(9), 0.8) == 8.0
    with pytest.raises(InputError, match="needs 9 held-out"):
        conformal_factor(np.ones(8), np.ones(8), 0.9)
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        spread = rng.uniform(0.1, 1.0, 41)
        error = np.abs(rng.normal(size=41)) * spread
        held.append(error[40] <= conformal_factor(error[:40], spread[:40], 0.9) * spread[40])
    assert np.mean(held) == pytest.approx(37 / 41, abs=0.05)  # 0.05: three standard errors of 400 draws


def test_farthest_points_are_picked_first_and_duplicates_never() -> None:
    known = torch.tensor([[0.0, 0.0]])
    candidates = torch.tensor([[1.0, 0.0], [9.0, 0.0], [9.0, 0.05], [0.0, 4.0], [0.01, 0.0]])
    chosen, distances = farthest_points(candidates, known, 10, 0.1)
    assert chosen.tolist() == [2, 3, 0]
    np.testing.assert_allclose(distances, [np.hypot(9.0, 0.05), 4.0, 1.0], rtol=1e-6)
    assert farthest_points(candidates, known, 2, 0.1)[0].tolist() == [2, 3]
    assert farthest_points(candidates[:0], known, 2, 0.1)[0].size == 0


def test_descriptor_is_invariant_and_its_resolution_grows_with_the_displacement() -> None:
    describe, cells = MeanSOAP([29]), rattled(6)
    moved = [atoms.copy() for atoms in cells]
    for atoms in moved:
        atoms.rotate(37, (1, 2, 3), rotate_cell=True)
        atoms.positions += 0.7
        atoms.wrap()
    shuffled = [atoms[[2, 0, 3, 1]] for atoms in moved]
    torch.testing.assert_close(describe(cells), describe(shuffled), atol=1e-5, rtol=0)  # splines in single precision
    small, large = (describe.resolution(cells, displacement) for displacement in (0.01, 0.1))
    assert 0 < 3 * small < large
    assert (describe(cells)[0] - describe(cells)[1]).norm() > small


def test_new_groups_stay_whole_and_out_of_the_test_fold() -> None:
    class Grown:
        good = np.arange(6)
        group = np.array(["a", "a", "x", "x", "y", "y"], dtype=object)
        frame = np.array([0, 1, 0, 5, 0, 1])

    folds = [{"a": [0]}, {"a": [1]}, {"b": [0, 1]}]
    grown = grow(folds, Grown(), 0)  # type: ignore[arg-type]
    assert grown == [{"a": [0]}, {"a": [1], "x": [0, 5]}, {"b": [0, 1], "y": [0, 1]}]


@pytest.fixture(scope="module")
def explored(here: None, copper: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Two rounds from nothing but a structure."""
    folder = tmp_path_factory.mktemp("explored")
    return folder, list(explore(configured(copper), folder))


def test_versions_grow_and_name_their_parents(explored: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, reports = explored
    found = [Dataset(folder / "dataset" / f"explored-0.{number}.0.zarr.zip") for number in range(3)]
    for parent, child in pairwise(found):
        assert verify(child.path) == []
        told = f"explored {parent.attrs['version']} {parent.attrs['content_sha256']}"
        assert child.attrs["parent"] == told
        assert len(child) > len(parent)
        np.testing.assert_array_equal(child.rows("forces", 0, len(parent)), parent.rows("forces", 0, len(parent)))
        assert len(child.attrs["provenance"]) == len(child)
    assert read_card(folder / "dataset" / "README.md").ionecho.content_sha256 == found[2].attrs["content_sha256"]
    first, second, last = reports
    assert first["version"]["content_sha256"] == second["dataset"]["content_sha256"]
    assert "frames" not in last
    assert last["dataset"]["size"] == len(found[2])


def test_a_grown_version_keeps_the_rules_of_its_parent(copper: Path) -> None:
    """But for the energy, as uncertain frames are outliers, and for labels that the engine does not give."""
    config = configured(copper)
    gate = {"energy_outlier_sigmas": 8.0, "max_moment": {"Na": 0.05}, "required_labels": ["energy", "efg"]}
    parent = MagicMock(spec=Dataset, attrs={"quality_gate": gate}, rows=lambda *_: np.array([29]))
    parent.__len__.return_value = 1000
    card = versions.card_of(config, list(displaced_cells(config)), 1, parent)
    assert card.size_categories == ["1K<n<10K"]
    rules = card.ionecho.quality_gate
    assert rules.max_moment == {"Na": 0.05}
    assert rules.required_labels == ["energy"]
    assert rules.energy_outlier_sigmas == config.card.quality_gate["energy_outlier_sigmas"]


def test_labels_of_the_new_version_are_the_engines(explored: tuple[Path, list[dict[str, Any]]]) -> None:
    data = Dataset(explored[0] / "dataset" / "explored-0.2.0.zarr.zip")
    for index in (0, len(data) - 1):
        positions, cell = data.rows("positions", index, index + 1), data.rows("cell", index, index + 1)[0]
        atoms = ase.Atoms("Cu4", positions=positions, cell=cell, pbc=True, calculator=EMT())
        np.testing.assert_allclose(data.rows("forces", index, index + 1), atoms.get_forces(), atol=1e-10)


def test_no_run_is_in_two_folds_and_the_test_part_stays(explored: tuple[Path, list[dict[str, Any]]]) -> None:
    first, last = (Dataset(explored[0] / "dataset" / f"explored-0.{number}.0.zarr.zip") for number in (0, 2))
    folds = fold_indices(last, "configuration")
    runs = [{g for g in last.group[fold] if g.startswith("explore_r")} for fold in folds]
    assert sum(map(len, runs)) == len(set.union(*runs)) == len({g for g in last.group if g.startswith("explore_r")})
    assert leakage_report(last, "configuration")["identical_structures_across_folds"] == 0
    np.testing.assert_array_equal(folds[0], fold_indices(first, "configuration")[0])
    assert sum(map(len, folds)) == len(last)


def test_reports_tell_what_was_foretold(explored: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    _, reports = explored
    for report in reports[:2]:
        before, chosen = report["before"], report["selected"]
        assert len(chosen) <= 12
        assert len(before["frames"]["error"]) == len(chosen)
        assert sum(report["histogram"]["frames"]) == sum(report["frames"].values())
        assert report["window"]["scale"] == pytest.approx(1 / report["calibration"])
        for row in chosen:
            assert report["window"]["low"] <= row["score"] <= report["window"]["high"]
            assert row["distance"] > report["resolution"]
        scores = sorted(row["score"] for row in chosen)  # from the run's float32; the test evaluates float64
        np.testing.assert_allclose(sorted(before["frames"]["score"]), scores, rtol=1e-4)
    report_of(reports).write(tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "rank correlation" in page
    assert page.count("data:image/png") == 3
    assert table(reports).row_count > 10


def test_errors_fall_where_the_runs_went(explored: tuple[Path, list[dict[str, Any]]]) -> None:
    """On frames of dynamics driven by the true forces, which no model has seen, from round to round."""
    _, reports = explored
    rng = np.random.default_rng(1)
    truth = [bulk("Cu", cubic=True) for _ in range(20)]
    for atoms in truth:
        atoms.set_cell(atoms.cell * rng.uniform(1.0, 1.04), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.12, size=(4, 3))
    errors = []
    for report in reports:
        potential = Potential(load(Path(report["checkpoint"])).model)
        squares = []
        for atoms in truth:
            atoms.calc = EMT()
            true = atoms.get_forces()
            atoms.calc = potential
            squares.append(np.mean((atoms.get_forces() - true) ** 2))
        errors.append(np.sqrt(np.mean(squares)))
    assert errors[2] < errors[1] < errors[0]


def test_killed_in_every_step_the_same_line_gives_the_same_version(
    explored: tuple[Path, list[dict[str, Any]]], copper: Path, tmp_path: Path
) -> None:
    """kill -9 as soon as it has written what was not there yet; then a round that is let through."""
    folder, config = tmp_path / "killed", configured(copper)
    for part in (
        "start/labels.zarr",
        "dataset/explored-0.0.0.zarr.zip",
        "round_1/member_0/epochs/last.ckpt",
        "round_1/checkpoint",
        "round_1/explore_r1_00.zarr.partial/forces_std",
        "round_1/selection.json",
        "round_1/labels/provenance.jsonl",
        "dataset/explored-0.1.0.zarr.zip",
    ):
        process = multiprocessing.get_context("fork").Process(target=lambda: next(explore(config, folder)))
        process.start()
        while process.is_alive() and not (folder / part).exists():
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, f"finished before {part}"
        assert not (folder / "round_1" / "report.json").exists()
    report = next(explore(config, folder))
    first = explored[1][0]
    assert report["version"]["content_sha256"] == first["version"]["content_sha256"]
    assert report["selected"] == first["selected"]
    assert report["before"] == first["before"]


def test_settings_that_cannot_work_are_refused(copper: Path, tmp_path: Path) -> None:
    def refusal(*overrides: str) -> str:
        with pytest.raises((InputError, ValidationError)) as refused:
            next(explore(configured(copper, *overrides), tmp_path))
        return explain(refused.value) if isinstance(refused.value, ValidationError) else str(refused.value)

    assert "ensemble: " in refusal("ensemble=1")
    assert "rounds: " in refusal("rounds=two")
    assert "'published' or 'quantile'" in refusal("select.window=sigma")
    assert "select: low=5 should be below high=1" in refusal("select.low=5", "select.high=1")
    assert "select.low: " in refusal("select.low=0")
    assert "md.temperatures: " in refusal("md.temperatures=[]")
    assert "time: expected a number" in refusal("md.time=soon")
    assert "trainer.dtype: " in refusal("trainer.dtype=float33")
    assert "dataset.validation: " in refusal("dataset.validation=0")
    assert "rattle.copies" in refusal("rattle.copies=0")
    assert "missing forces" in refusal("engine.labels=[energy]")
    assert "dataset=NAME, or structures=FILE" in refusal("structures=null")
    for numbers in ("[28]", "[28,29]"):
        told = refusal(f"model.numbers={numbers}")
        assert "they hold Cu, the model is of Ni" in told
        assert "leave out model.numbers" in told
    assert not list(tmp_path.glob("*.json"))  # the mended line begins


def test_labels_of_two_levels_do_not_mix(
    explored: tuple[Path, list[dict[str, Any]]], copper: Path, tmp_path: Path
) -> None:
    data = explored[0] / "dataset" / "explored-0.1.0.zarr.zip"
    other = "engine.package=scipy"
    with pytest.raises(InputError, match="two kinds do not mix"):
        next(explore(configured(copper, f"dataset.name={data}", other), tmp_path))


def test_another_exploration_in_the_folder_is_refused(
    explored: tuple[Path, list[dict[str, Any]]], copper: Path
) -> None:
    with pytest.raises(InputError, match="another md;"):
        next(explore(configured(copper, "md.time=400fs"), explored[0]))
    line = ["model=painn", "engine=gpaw"]
    assert run_id([*line, "rounds=6", "retry=true", "workers.number=4", "workers=slurm"]) == run_id(line)
    assert run_id([*line, "md.time=400fs"]) != run_id(line)
    assert len(list(explore(configured(copper), explored[0]))) == 3  # all of it is there


def test_the_quantile_window_bounds_the_held_out_errors(
    explored: tuple[Path, list[dict[str, Any]]], copper: Path
) -> None:
    """At level 0.5 of n configurations the bound holds for the ⌈(n + 1) / 2⌉ with the smallest error / spread."""
    folder, _ = explored
    config = configured(copper, "select.window=quantile", "select.quantile=0.5")
    dataset = Dataset(folder / "dataset" / "explored-0.0.0.zarr.zip")
    first = Round(config, make_engine(config.engine), folder, 1, dataset)
    of = config.dataset
    held_out = fold_parts(dataset, of.split, of.fold, of.validation, config.seed)["validation"]
    error, spread = by_frame(predictions(first.checkpoint, dataset, held_out, FORCES, config.trainer))
    bounded = error <= first.scale() * spread * (1 + 1e-9)
    assert bounded.sum() == (len(held_out) + 2) // 2


def test_the_window_of_a_round_stays_that_of_its_runs(
    explored: tuple[Path, list[dict[str, Any]]], copper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which go on with it alone; another machine rounds the errors that it is fitted to in another way."""
    folder, _ = explored
    config = configured(copper)
    dataset = Dataset(folder / "dataset" / "explored-0.0.0.zarr.zip")
    begun = Round(config, make_engine(config.engine), folder, 1, dataset).window
    monkeypatch.setattr(Round, "scale", lambda _: 0.1)
    assert Round(config, make_engine(config.engine), folder, 1, dataset).window == begun


def test_the_quantile_window_bounds_the_errors_of_what_the_last_round_labelled(
    explored: tuple[Path, list[dict[str, Any]]], copper: Path
) -> None:
    """Errors and spreads of the last model, which had not seen them; members' spreads, whatever the calibration."""
    folder, reports = explored
    config = configured(copper, "select.window=quantile", "select.quantile=0.5")
    whole, grown = (Dataset(folder / "dataset" / f"explored-0.{k}.0.zarr.zip") for k in (0, 1))
    second = Round(config, make_engine(config.engine), folder, 2, grown)
    new = np.arange(len(whole), len(grown))
    last = load(folder / "round_1" / "checkpoint")
    error, spread = by_frame(predictions(last, grown, new, FORCES, config.trainer))
    members = spread / last.config.calibration[FORCES.name]
    bounded = error <= second.scale() * second.checkpoint.config.calibration[FORCES.name] * members * (1 + 1e-6)
    assert bounded.sum() == (len(new) + 2) // 2
    assert second.scale() != pytest.approx(reports[1]["window"]["scale"])


def test_a_run_that_is_lost_at_once_is_told_not_fatal(
    explored: tuple[Path, list[dict[str, Any]]], copper: Path, tmp_path: Path
) -> None:
    config, checkpoint = configured(copper), Path(explored[1][0]["checkpoint"])
    (lost,) = explore_all(plan(config, 1, [])[:1], checkpoint, 1e-9, config, tmp_path)
    assert len(lost.frames) == len(lost.largest) == 0
    assert lost.stopped is not None
    assert "force spread" in lost.stopped


def test_runs_begin_in_the_structures_strained_and_differ_from_round_to_round(copper: Path) -> None:
    first, second = plan(configured(copper), 1, []), plan(configured(copper), 2, [])
    assert [run.name for run in first] == ["explore_r1_00", "explore_r1_01"]
    assert first[1].atoms.get_volume() / first[0].atoms.get_volume() == pytest.approx(1.04**3)
    assert first[0].seed != second[0].seed

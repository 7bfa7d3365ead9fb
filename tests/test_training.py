"""Training: what is learned, measured, resumed and written; the loaders beneath it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import wandb
from conftest import train_config
from pydantic import ValidationError
from pytorch_lightning.plugins.io import TorchCheckpointIO
from safetensors.torch import load_file
from torch import nn

from ionecho.checkpoints.release import release
from ionecho.checkpoints.run import train
from ionecho.checkpoints.store import load
from ionecho.data.loader import STRUCTURE, Columns, GraphRecipe, InMemory, Streamed
from ionecho.data.metrics import calibration, calibration_factor, errors, summary
from ionecho.data.outputs import Output
from ionecho.data.store import Dataset
from ionecho.errors import InputError, explain
from ionecho.models.species import Statistics
from ionecho.nmr.hyperfine import ContactShift
from ionecho.training.data import fold_parts
from ionecho.training.descent import WholeFiles
from ionecho.training.evaluate import Predictions, part_metrics
from ionecho.training.fit import scales
from ionecho.training.losses import ScaledSquares
from ionecho.training.module import TrainingModule
from ionecho.training.schedules import cosine, inverse_decay
from ionecho.training.settings import TrainingSettings

RECIPE = GraphRecipe(4.0, (11,), "atoms", torch.float32)


def test_errors_of_a_constant_offset() -> None:
    true = np.random.default_rng(0).normal(size=500)
    found = errors(true + 3.0, true)
    assert found["rmse"] == pytest.approx(3.0)
    assert found["bias"] == pytest.approx(3.0)
    assert errors(np.full(500, true.mean()), true)["r2"] == pytest.approx(0.0)


def test_mean_of_fold_errors_is_not_the_pooled_error() -> None:
    folds = [80.0, 90.0, 100.0, 120.0, 150.0]
    assert summary(folds)["mean"] == pytest.approx(108.0)
    assert np.sqrt(np.mean(np.square(folds))) == pytest.approx(110.82, abs=5e-3)


def test_calibrated_normal_errors_are_found_calibrated() -> None:
    rng = np.random.default_rng(1)
    spread = rng.uniform(0.5, 2.0, 40_000)
    error = 1.7 * spread * rng.normal(size=spread.size)
    factor = calibration_factor(error, spread)
    assert factor == pytest.approx(1.7, rel=4 / np.sqrt(2 * spread.size))
    found = calibration(error, factor * spread, members=1000)
    assert found["rmse_over_spread"] == pytest.approx(1.0)
    assert found["expected_within"] == pytest.approx([0.6827, 0.9545], abs=1e-3)
    assert found["within_1"] == pytest.approx(0.6827, abs=0.01)
    assert found["within_2"] == pytest.approx(0.9545, abs=0.005)


@pytest.mark.parametrize(("members", "components"), [(2, 1), (2, 3), (4, 1), (4, 3)])
def test_errors_drawn_like_the_members_need_no_factor(members: int, components: int) -> None:
    """The spread of few members is itself uncertain, and of two it may vanish: the factor is one all the same."""
    rng = np.random.default_rng(members + components)
    drawn = rng.normal(size=(members + 1, 40_000, components))
    spread = np.sqrt(drawn[1:].var(0, ddof=1).sum(1))
    error = np.linalg.norm(drawn[0], axis=1)
    assert calibration_factor(error, spread) == pytest.approx(1.0, abs=0.02)
    found = calibration(error, spread, members, components=components)
    assert [found["within_1"], found["within_2"]] == pytest.approx(found["expected_within"], abs=0.01)
    assert calibration_factor(np.ones(3), np.array([0.0, 1.0, 1.0])) == pytest.approx(np.sqrt(1.5))
    for rounding in (0.0, 1e-13):
        with pytest.raises(InputError, match="members agree exactly"):
            calibration_factor(np.ones(3), np.array([0.0, rounding, rounding]))


def test_schedules() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    rates = []
    schedule = inverse_decay(optimizer, total_steps=20, rate=5.0, max_epochs=10, decay_epochs=10)
    for _ in range(21):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(1e-3)
    assert rates[20] == pytest.approx(1e-3 / 6)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = cosine(optimizer, total_steps=100, warmup=0.1, final=0.01)
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert max(rates) == pytest.approx(rates[10])
    assert rates[100] == pytest.approx(0.01)


def columns_of(path: Path) -> Columns:
    dataset = Dataset(path)
    return Columns(dataset, 0, len(dataset), (*STRUCTURE, "hyperfine_contact"))


def test_missing_labels_do_not_count(toy_dataset: Path) -> None:
    batch = InMemory(columns_of(toy_dataset), np.arange(4), ["hyperfine_contact"], RECIPE).__getitems__([0, 1, 2, 3])

    class Zero(nn.Module):
        def forward(self, graph):
            return {"hyperfine_contact": torch.zeros(len(graph.centres), requires_grad=True)}

    output, model = Output("hyperfine_contact", "centres"), Zero()
    labels = batch.labels["hyperfine_contact"]
    labels[batch.graph.centres[:3]] = float("nan")
    expected = labels[batch.graph.centres[3:]].square().mean()
    loss = ScaledSquares(output, 1.0, 1.0)(model(batch.graph), batch, 0.0)
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()


def test_streamed_batches_are_those_in_memory(toy_dataset: Path) -> None:
    dataset = Dataset(toy_dataset)
    indices = np.array([0, 3, 4, 9, 20, 21, 39])
    whole = InMemory(columns_of(toy_dataset), indices, ["hyperfine_contact"], RECIPE).__getitems__(range(7))
    streamed = list(Streamed(dataset, indices, ["hyperfine_contact"], RECIPE, batch_size=2, seed=None, block=8))
    assert [len(batch.graph.cell) for batch in streamed] == [2, 1, 1, 2, 1]
    for name in ("positions", "numbers", "shifts"):
        torch.testing.assert_close(
            torch.cat([getattr(batch.graph, name) for batch in streamed]), getattr(whole.graph, name)
        )
    labels = ["hyperfine_contact"]
    shuffled = [Streamed(dataset, indices, labels, RECIPE, batch_size=2, seed=seed, block=8) for seed in (1, 2, 1)]
    epochs = [torch.cat([batch.labels["hyperfine_contact"] for batch in order]) for order in shuffled]
    assert not torch.equal(epochs[0], epochs[1])
    torch.testing.assert_close(epochs[0], epochs[2])
    torch.testing.assert_close(epochs[0].sort().values, whole.labels["hyperfine_contact"].sort().values)


def test_parts_of_a_fold_are_disjoint_and_learning_curves_nested(toy_dataset: Path) -> None:
    dataset = Dataset(toy_dataset)
    parts = fold_parts(dataset, "configuration", 2, 0.1, seed=0)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(40))
    small = fold_parts(dataset, "configuration", 2, 0.1, seed=0, frames=8)
    large = fold_parts(dataset, "configuration", 2, 0.1, seed=0, frames=16)
    assert set(small["train"]) < set(large["train"]) < set(parts["train"])
    np.testing.assert_array_equal(small["test"], parts["test"])
    everything = fold_parts(dataset, "configuration", None, 0.1, seed=0)
    assert len(everything["test"]) == 0
    assert len(everything["train"]) == 36
    with pytest.raises(InputError, match="folds 0 to 4, not 5"):
        fold_parts(dataset, "configuration", 5, 0.1, seed=0)


def test_checkpoint_holds_what_was_measured(toy_checkpoint: Path) -> None:
    metrics = json.loads((toy_checkpoint / "metrics.json").read_text())
    ppm, mhz = metrics["test"]["hyperfine_contact_shift"], metrics["test"]["hyperfine_contact"]
    checkpoint = load(toy_checkpoint)
    table = pd.read_csv(toy_checkpoint.parent / "test_hyperfine_contact.csv")
    assert len(table) == mhz["n"] == 16
    assert np.sqrt(np.mean((table.predicted - table.true) ** 2)) == pytest.approx(mhz["rmse"])
    assert ppm["rmse"] / mhz["rmse"] == pytest.approx(7102, rel=1e-3)
    assert checkpoint.config.members == 2
    held = pd.read_csv(toy_checkpoint.parent / "validation_hyperfine_contact.csv")
    assert np.mean(((held.predicted - held.true) / held.spread) ** 2) == pytest.approx(1.0)
    for text in ("weiss_constant: -14.8", "Cite: nobody", "toy 1.0.0", "RMSE"):
        assert text in (toy_checkpoint / "README.md").read_text()
    assert "torch==" in (toy_checkpoint / "environment.txt").read_text()


class Killed(Exception):
    """Of a run, in the middle of it."""


def run_and_kill(config: TrainingSettings, folder: Path, epoch: int) -> None:
    """Train until this epoch ends."""

    def kill(self: TrainingModule) -> None:
        if self.current_epoch == epoch:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingModule, "on_train_epoch_end", kill, raising=False)
        with pytest.raises(Killed):
            train(config, folder)


def test_same_seed_same_weights_and_resumed_run_equals_uninterrupted(toy_dataset: Path, tmp_path: Path) -> None:
    weights = {}
    config = train_config(toy_dataset, "trainer.max_epochs=4")
    run_and_kill(config, tmp_path / "resumed", 2)
    for name in ("whole", "again", "resumed"):
        train(config, tmp_path / name)
        weights[name] = load_file(tmp_path / name / "checkpoint" / "weights.safetensors")
    for name in ("again", "resumed"):
        for key, value in weights["whole"].items():
            torch.testing.assert_close(weights[name][key], value, rtol=0, atol=0, msg=f"{name}: {key}")
    other = tmp_path / "other"
    train(train_config(toy_dataset, "trainer.max_epochs=4", "seed=1"), other)
    changed = load_file(other / "checkpoint" / "weights.safetensors")
    assert any(not torch.equal(changed[key], value) for key, value in weights["whole"].items())


def test_a_killed_run_that_was_moved_knows_its_best_epoch(toy_dataset: Path, tmp_path: Path) -> None:
    restless = ("trainer.ema_decay=null", "trainer.optimizer.lr=0.03", "trainer.schedule.final=1.0")
    config = train_config(toy_dataset, "trainer.max_epochs=6", *restless)
    train(config, tmp_path / "whole")
    best = torch.load(tmp_path / "whole" / "member_0" / "epochs" / "best.ckpt", weights_only=True)
    assert best["epoch"] < 4
    run_and_kill(config, tmp_path / "left", 4)
    (tmp_path / "left").rename(tmp_path / "moved")
    train(config, tmp_path / "moved")
    expected = load_file(tmp_path / "whole" / "checkpoint" / "weights.safetensors")
    found = load_file(tmp_path / "moved" / "checkpoint" / "weights.safetensors")
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0, msg=key)


@pytest.mark.parametrize("end", [("trainer.patience=2", "trainer.max_epochs=40"), ("trainer.max_epochs=3",)])
def test_a_run_killed_after_its_last_epoch_trains_no_further(
    toy_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: tuple[str, ...]
) -> None:
    """Killed at the same place twice, as its stop is not in what Lightning keeps."""
    restless = ("trainer.ema_decay=null", "trainer.optimizer.lr=0.03", "trainer.schedule.final=1.0")
    config = train_config(toy_dataset, *end, *restless)
    train(config, tmp_path / "whole")

    def kill() -> None:
        raise Killed

    def epoch(kept: str) -> int:
        return torch.load(tmp_path / "killed" / "member_0" / "epochs" / f"{kept}.ckpt", weights_only=True)["epoch"]

    lasts = []
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(wandb, "finish", kill)
            with pytest.raises(Killed):
                train(config, tmp_path / "killed")
        lasts.append(epoch("last"))
    train(config, tmp_path / "killed")
    assert lasts == [2 if len(end) == 1 else epoch("best") + 2] * 2  # the last, not the last that was the best
    assert lasts[0] < 39
    expected, found = (load_file(tmp_path / n / "checkpoint" / "weights.safetensors") for n in ("whole", "killed"))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0, msg=key)


def test_a_kept_epoch_is_whole_until_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the temporary folder is on another disk Lightning copies: what it does may be cut at any place."""

    def cut(_: object, __: object, path: str, ___: object) -> None:
        Path(path).write_bytes(b"ne")
        raise Killed

    path = tmp_path / "last.ckpt"
    path.write_bytes(b"old")
    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", cut)
    with pytest.raises(Killed):
        WholeFiles().save_checkpoint({}, path)
    assert path.read_bytes() == b"old"


def test_a_training_that_diverged_is_no_checkpoint(toy_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"member_0: the training diverged.*lower trainer\.optimizer\.lr"):
        train(train_config(toy_dataset, "trainer.max_epochs=4", "trainer.optimizer.lr=2"), tmp_path)
    assert not (tmp_path / "checkpoint").exists()


def test_cross_validation_and_learning_curve(toy_dataset: Path, tmp_path: Path) -> None:
    metrics = train(train_config(toy_dataset, "trainer.max_epochs=1", "cv.folds=5"), tmp_path / "cv")
    folds = [json.loads((tmp_path / "cv" / f"fold_{k}" / "checkpoint" / "metrics.json").read_text()) for k in range(5)]
    expected = [fold["test"]["hyperfine_contact"]["rmse"] for fold in folds]
    assert metrics["cv"]["configuration"]["errors"]["hyperfine_contact"]["rmse"]["folds"] == expected
    curve = train(train_config(toy_dataset, "trainer.max_epochs=1", "learning_curve=[8,24]"), tmp_path / "curve")
    assert [row["frames"] for row in curve["learning_curve"]] == [8, 24]
    assert len(pd.read_csv(tmp_path / "curve" / "learning_curve.csv")) == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.numbers=[8,11,25]"], "that the model does not know"),
        (
            ["model.numbers=[8,11,12,25,26]"],
            r"holds elements \[26\] of model.numbers.*say model.numbers=\[8, 11, 12, 25\]",
        ),
        (["learning_curve=[8,1000]"], "1000 training frames asked for"),
        (["+trainer.losses.efg=1.0"], "expected some of hyperfine_contact, energy_forces, relative_errors, found efg"),
        (
            ["+trainer.losses.energy_forces={rho: [[0, 0.5]], energy: total}"],
            "gives hyperfine_contact, no energy, forces",
        ),
        (["trainer.losses.hyperfine_contact=lots"], "expected a weight of 0 or more, found lots"),
        (["trainer.optimizer.name=Lion"], "trainer.optimizer.name: expected one of Adam, AdamW, MuonAdamW, found Lion"),
        (["~trainer.losses.hyperfine_contact"], "has to learn hyperfine_contact too"),
        (["model=painn", "model.centres=null"], "has no energy, forces; it holds hyperfine_contact"),
        (["cv.folds=7"], "split configuration of the dataset has 5 folds"),
        (["dataset.fold=5"], "has folds 0 to 4, not 5"),
        (["ensemble=2", "dataset.validation=0"], "to calibrate the spread on"),
        (["dataset.name=/nowhere/none.zarr.zip"], "no dataset"),
        (["dataset.contact_shift={temperature: 300}"], "expected {gyromagnetic_ratio, effective_moment"),
        (["ensemble=2", "member_overrides=[{cutoff: 4.0},{cutoff: 3.5}]"], "cutoff"),
    ],
)
def test_refusals(toy_dataset: Path, tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(train_config(toy_dataset, "trainer.max_epochs=1", *overrides), tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["trainer.dtype=float33"], "trainer.dtype"),
        (["resume=maybe"], "resume"),
        (["+trainer.epochs=3"], "trainer.epochs"),
        (["trainer.batch_size=0"], "trainer.batch_size"),
        (["trainer.max_epochs=1.5"], "trainer.max_epochs"),
        (["dataset.validation=null"], "dataset.validation"),
        (["dataset.validation=1.0"], "dataset.validation"),
        (["dataset.fold=abc"], "dataset.fold"),
        (["ensemble=two"], "ensemble"),
        (["seed=-1"], "seed"),
        (["trainer.accelerator=tpu"], "trainer.accelerator"),
        (["learning_curve=[]"], "learning_curve"),
        (["cv.folds=3", "learning_curve=[4]"], "give one of them"),
    ],
)
def test_settings_of_the_wrong_kind_are_named(toy_dataset: Path, tmp_path: Path, wrong: list[str], told: str) -> None:
    with pytest.raises(ValidationError) as error:
        train(train_config(toy_dataset, *wrong), tmp_path)
    assert told in explain(error.value)


def test_a_gpu_that_is_not_there_is_refused(toy_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in (torch.cuda, torch.backends.mps):
        monkeypatch.setattr(backend, "is_available", lambda: False)
    for name in ("gpu", "cuda", "mps"):
        with pytest.raises(ValidationError) as error:
            train(train_config(toy_dataset, f"trainer.accelerator={name}"), tmp_path)
        assert f"trainer.accelerator={name}: none is usable here; use auto or cpu" in explain(error.value)


def test_a_centre_without_labels_is_not_learned(toy_dataset: Path) -> None:
    model = SimpleNamespace(numbers=(8, 11, 25), centres=(11, 25))
    stats = {"hyperfine_contact": {11: Statistics(0.3, 0.1)}}
    with pytest.raises(InputError, match=r"no hyperfine_contact on the elements \[25\].*model\.centres"):
        scales(model, [Output("hyperfine_contact", "centres")], stats, Dataset(toy_dataset), np.arange(3))
    assert scales(
        model, [Output("hyperfine_contact", "atoms", auxiliary=True)], stats, Dataset(toy_dataset), np.arange(3)
    )


def test_a_negative_ratio_leaves_the_calibration_as_it_is(toy_dataset: Path) -> None:
    rng = np.random.default_rng(0)
    atoms = np.arange(200)
    output = Output("hyperfine_contact", "centres")
    spread = rng.uniform(0.5, 1, 200)
    predictions = Predictions(output, rng.normal(size=200), np.zeros(200), spread, 4, atoms % 40, None)
    found = [
        part_metrics(
            predictions, Dataset(toy_dataset), {"contact_shift": ContactShift(ratio, 3.87, 320, -14.8, 24, 1.5)}
        )
        for ratio in (5.77, -5.77)
    ]
    assert found[0]["hyperfine_contact_shift_calibration"] == found[1]["hyperfine_contact_shift_calibration"]


def test_a_folder_of_another_run_is_refused_and_begun_anew_on_request(toy_dataset: Path, tmp_path: Path) -> None:
    for name in ("notes.txt", "shifts.csv", "run.json"):
        (tmp_path / name).write_text("mine")
    train(train_config(toy_dataset, "trainer.max_epochs=1"), tmp_path)
    with pytest.raises(InputError, match="holds a run with another seed"):
        train(train_config(toy_dataset, "trainer.max_epochs=1", "seed=5"), tmp_path)
    train(train_config(toy_dataset, "trainer.max_epochs=1", "seed=5", "resume=never"), tmp_path)
    assert load(tmp_path / "checkpoint").config.training["seed"] == 5
    for name in ("notes.txt", "shifts.csv", "run.json"):
        assert (tmp_path / name).read_text() == "mine"


def test_what_is_no_run_is_not_cleared(toy_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "test_run.csv").write_text("mine")
    train(train_config(toy_dataset, "trainer.max_epochs=1", "resume=never"), tmp_path)
    assert (tmp_path / "test_run.csv").read_text() == "mine"


def test_release_joins_what_other_runs_measured(toy_checkpoint: Path, toy_dataset: Path, tmp_path: Path) -> None:
    train(train_config(toy_dataset, "trainer.max_epochs=1", "cv.folds=5"), tmp_path / "cv")
    train(train_config(toy_dataset, "trainer.max_epochs=1", "learning_curve=[8]"), tmp_path / "curve")
    runs = [tmp_path / "cv", tmp_path / "curve"]
    folder = release(toy_checkpoint.parent, runs, "Not at 900 K.", tmp_path / "models" / "toy")
    metrics = json.loads((folder / "metrics.json").read_text())
    card = (folder / "README.md").read_text()
    assert load(folder).sha256 == load(toy_checkpoint).sha256
    assert f"{metrics['cv']['configuration']['errors']['hyperfine_contact']['rmse']['mean']:.4g} ±" in card
    assert "Learning curve" in card
    assert "Not at 900 K." in card
    with pytest.raises(InputError, match="has the run finished"):
        release(toy_checkpoint.parent, [tmp_path])
    train(train_config(toy_dataset, "trainer.max_epochs=1", "cv.folds=5", "model.features=4"), tmp_path / "small")
    own = ("trainer.max_epochs=1", "ensemble=2", "member_overrides=[{features: 4},{features: 6}]", "learning_curve=[8]")
    train(train_config(toy_dataset, *own), tmp_path / "own")
    for name, changed in (("small", "features"), ("own", "member_overrides")):
        with pytest.raises(InputError, match=f"its model has another {changed}"):
            release(toy_checkpoint.parent, [tmp_path / name])

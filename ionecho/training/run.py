"""What `train.py` does: one fold into a checkpoint, or cross-validation, or a learning curve."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig
from rich.console import Console

from ionecho.checkpoints.card import model_card
from ionecho.checkpoints.store import FORMAT_VERSION, CheckpointConfig, save
from ionecho.config import changed, plain
from ionecho.data.build import build
from ionecho.data.files import write_json
from ionecho.data.lock import locked
from ionecho.data.quality import describe
from ionecho.data.registry import find_dataset
from ionecho.data.splits import fold_indices
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.models import build_model
from ionecho.models.ensemble import Ensemble
from ionecho.nmr.hyperfine import ContactShift
from ionecho.training.data import check_labels, fold_parts
from ionecho.training.evaluate import SHIFT, factor, part_metrics, predict_part
from ionecho.training.fit import fit_member, hyperparameters, of_member, reported
from ionecho.training.metrics import summary
from ionecho.training.module import label_of
from ionecho.training.settings import check_losses, check_settings

console = Console(soft_wrap=True)
REQUEST = "request.json"
PRODUCTS = (  # of a run, in its folder; the one that marks it as such goes last
    *("checkpoint*", "member_*", "fold_*", "frames_*", "metrics.json", "learning_curve.csv"),
    *("validation_*.csv", "test_*.csv", REQUEST),
)


def train(config: DictConfig, folder: Path) -> dict[str, Any]:
    """Run the training that `config` describes in `folder`, alone; what is finished there is not done again."""
    with locked(folder):
        return _train(config, folder)


def _train(config: DictConfig, folder: Path) -> dict[str, Any]:
    if config.resume not in ("auto", "never"):
        raise InputError(f"resume={config.resume}: expected auto or never")
    check_settings(config)
    if config.resume == "never" and (folder / REQUEST).exists():
        for leftover in (path for pattern in PRODUCTS for path in folder.glob(pattern)):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    dataset = open_dataset(config.dataset.name)
    console.print(f"{dataset.path.name}: {describe(dataset.quality)}; licence {dataset.attrs['licence']}")
    _check_request(config, dataset, folder)
    if config.learning_curve is not None:
        metrics = learning_curve(config, dataset, folder)
    elif config.cv.folds is not None:
        metrics = cross_validate(config, dataset, folder)
    else:
        metrics = fit_fold(config, dataset, config.dataset.fold, folder)
    write_json(folder / "metrics.json", metrics)
    return metrics


def _check_request(config: DictConfig, dataset: Dataset, folder: Path) -> None:
    """Refuse to go on in the folder of a run with other settings or other data."""
    asked = {key: value for key, value in plain(config).items() if key not in ("resume", "logger")}
    request = json.loads(json.dumps({**asked, "content_sha256": dataset.attrs["content_sha256"]}))
    stored = folder / REQUEST
    if not stored.exists():
        write_json(stored, request)
    elif (found := json.loads(stored.read_text())) != request:
        told = ", ".join(changed(found, request))
        raise InputError(f"{folder} holds a run with another {told}; use resume=never or another folder")


def open_dataset(name: str) -> Dataset:
    """The named dataset, built first if it is not there."""
    try:
        path = find_dataset(name)
    except InputError:
        path = build(name)
    return Dataset(path)


def cross_validate(config: DictConfig, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Train on every fold's complement: errors of each fold, their mean and standard deviation."""
    known = len(fold_indices(dataset, config.dataset.split))
    if config.cv.folds != known:
        raise InputError(f"cv.folds={config.cv.folds}: split {config.dataset.split} of the dataset has {known} folds")
    folds = [fit_fold(config, dataset, fold, folder / f"fold_{fold}") for fold in range(config.cv.folds)]
    names = [name for name in folds[0]["test"] if "rmse" in folds[0]["test"][name]]
    keys = ("rmse", "mae", "r2", "bias")
    joined = {n: {key: summary([fold["test"][n][key] for fold in folds]) for key in keys} for n in names}
    run = {"members": config.ensemble, "errors": joined}
    return {"cv": {config.dataset.split: run}, "data": folds[0]["data"]}


def learning_curve(config: DictConfig, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Test error of the fold against the number of training configurations, smaller sets nested in larger ones."""
    if config.dataset.fold is None:
        raise InputError("a learning curve needs a test fold: set dataset.fold")
    of = config.dataset
    fold_parts(dataset, of.split, of.fold, of.validation, config.seed, max(config.learning_curve))  # are there so many?
    rows = []
    for frames in config.learning_curve:
        metrics = fit_fold(config, dataset, config.dataset.fold, folder / f"frames_{frames}", frames)
        name = SHIFT if SHIFT in metrics["test"] else next(iter(metrics["test"]))
        rows.append({"frames": frames, "quantity": name, **metrics["test"][name]})
    pd.DataFrame(rows).to_csv(folder / "learning_curve.csv", index=False)
    return {"learning_curve": rows, "data": metrics["data"]}


def fit_fold(
    config: DictConfig, dataset: Dataset, fold: int | None, folder: Path, frames: int | None = None
) -> dict[str, Any]:
    """Train the ensemble of one fold, calibrate it on the validation part, test it, and write its checkpoint."""
    finished = folder / "checkpoint" / "metrics.json"
    if finished.exists():
        return json.loads(finished.read_text())
    settings = config.dataset
    parts = fold_parts(dataset, settings.split, fold, settings.validation, config.seed, frames)
    if config.ensemble > 1 and not len(parts["validation"]):
        raise InputError(f"ensemble={config.ensemble} needs dataset.validation > 0, to calibrate the spread on")
    converted = settings.contact_shift is not None and "hyperfine_contact" in config.trainer.losses
    shift = ContactShift.parse(settings.contact_shift) if converted else None
    own = [of_member(config, number) for number in range(config.ensemble)]
    untrained = [build_model(each.model.name, hyperparameters(each)) for each in own]
    Ensemble(untrained, {})  # refused before it is trained
    check_losses(untrained[0], config.trainer.losses)
    check_labels(dataset, parts, [label_of(output) for output in config.trainer.losses])
    console.print(f"fold {fold} of split {settings.split}: " + ", ".join(f"{len(v)} {k}" for k, v in parts.items()))
    members = []
    for number, each in enumerate(own):
        member, data = fit_member(each, dataset, parts, folder / f"member_{number}", config.seed + number)
        members.append(member)
    ensemble = Ensemble(members, {}).cpu()
    metrics: dict[str, Any] = {"data": _provenance(dataset, settings, fold, parts)}
    outputs = reported(config.trainer.losses, dataset)
    for part, loader in (("validation", data.val_dataloader), ("test", data.test_dataloader)):
        for output in outputs if len(parts[part]) else ():
            predictions = predict_part(ensemble, loader(), parts[part], output)
            if not len(predictions.true):  # of what is told but not learned
                continue
            if part == "validation":
                ensemble.calibration[output] = factor(predictions, output)
                predictions = predictions.scaled(ensemble.calibration[output])
            metrics.setdefault(part, {}).update(part_metrics(predictions, dataset, output, shift))
            predictions.table(dataset).to_csv(folder / f"{part}_{label_of(output)}.csv", index=False)
    checkpoint = CheckpointConfig(
        format_version=FORMAT_VERSION,
        name=config.name,
        model=config.model.name,
        hyperparameters=hyperparameters(config),
        members=config.ensemble,
        member_overrides=plain(config)["member_overrides"],
        calibration=ensemble.calibration,
        contact_shift=None if shift is None else shift.to_dict(),
        dataset=metrics["data"],
        training={"seed": config.seed, **plain(config.trainer)},
    )
    save(folder / "checkpoint", checkpoint, ensemble, metrics, model_card(checkpoint, metrics))
    return metrics


def _provenance(dataset: Dataset, settings: DictConfig, fold: int | None, parts: dict[str, Any]) -> dict[str, Any]:
    kept = ("name", "version", "content_sha256", "licence", "citation", "conventions")
    described = {name: dataset.attrs[name] for name in kept}
    sizes = {part: len(indices) for part, indices in parts.items()}
    return {
        **described,
        "split": settings.split,
        "validation": settings.validation,
        "fold": fold,
        "configurations": sizes,
    }

"""One fold, or cross-validation, or a learning curve; what becomes of a trained fold is for the caller to say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from ionecho.data.files import changed, write_json
from ionecho.data.lock import locked
from ionecho.data.metrics import summary
from ionecho.data.open import open_dataset
from ionecho.data.quality import describe
from ionecho.data.splits import fold_indices
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.models import build_model
from ionecho.models.ensemble import Ensemble
from ionecho.nmr.derived import DERIVED, Parameters, derived_from
from ionecho.training.baseline import mean_of_training
from ionecho.training.data import check_labels, fold_parts
from ionecho.training.domain import fit_dispersion, learn_domain
from ionecho.training.elements import elements_of, of_elements, told
from ionecho.training.evaluate import part_metrics, predict_part
from ionecho.training.fit import fit_member, reported
from ionecho.training.settings import DatasetSettings, TrainingSettings
from ionecho.training.start import Start

console = Console(soft_wrap=True)
REQUEST = "request.json"
PRODUCTS = (  # of a run, in its folder; the one that marks it as such goes last
    *("checkpoint*", "member_*", "fold_*", "frames_*", "metrics.json", "learning_curve.csv"),
    *("validation_*.csv", "test_*.csv", REQUEST),
)


@dataclass(frozen=True)
class Trained:
    """A trained and tested ensemble; `parameters` are those of the derived quantities, `metrics` the errors."""

    settings: TrainingSettings
    start: Start | None
    ensemble: Ensemble
    parameters: Mapping[str, Parameters]
    metrics: dict[str, Any]


Keep = Callable[[Path, Trained], None]
"""Keeps a trained ensemble in a folder, completely or not at all."""
Begin = Callable[[TrainingSettings], Start | None]
"""What a training with these settings begins with."""


def train(settings: TrainingSettings, folder: Path, keep: Keep, begin: Begin) -> dict[str, Any]:
    """Run the training in `folder`, alone; what is finished there is not done again.

    What the model's settings leave out the data tell (`of_elements`).
    """
    with locked(folder):
        return _train(settings, folder, keep, begin)


def _train(asked: TrainingSettings, folder: Path, keep: Keep, begin: Begin) -> dict[str, Any]:
    dataset = open_dataset(asked.dataset.name)
    settings = of_elements(asked, elements_of(dataset), dataset)
    start = begin(settings)
    if settings.resume == "never" and (folder / REQUEST).exists():
        for leftover in (path for pattern in PRODUCTS for path in folder.glob(pattern)):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    if settings.trainer.threads is not None:
        torch.set_num_threads(settings.trainer.threads)
    console.print(f"{dataset.path.name}: {describe(dataset.quality)}; licence {dataset.attrs['licence']}")
    if (line := told(settings, asked)) is not None:
        console.print(line)
    if start is not None:
        _tell_start(start)
    _check_request(settings, dataset, folder, start)
    if settings.learning_curve is not None:
        metrics = learning_curve(settings, dataset, folder, keep, start)
    elif settings.cv.folds is not None:
        metrics = cross_validate(settings, dataset, folder, keep, start)
    else:
        metrics = fit_fold(settings, dataset, settings.dataset.fold, folder, keep, start)
    write_json(folder / "metrics.json", metrics)
    return metrics


def _tell_start(start: Start) -> None:
    """Say what the training begins with."""
    told = "".join(f", {one} as {other}" for one, other in start.like.items())
    console.print(f"starts with the weights of {start.identity['checkpoint']}{told}")


def _check_request(settings: TrainingSettings, dataset: Dataset, folder: Path, start: Start | None) -> None:
    """Refuse to go on in the folder of a run with other settings, other data or another start."""
    decides = {**settings.request, "content_sha256": dataset.attrs["content_sha256"]}
    if start is not None:
        decides["start"] = dict(start.identity)
    request = json.loads(json.dumps(decides))
    stored = folder / REQUEST
    if not stored.exists():
        write_json(stored, request)
    elif told := ", ".join(changed(json.loads(stored.read_text()), request)):
        raise InputError(f"{folder} holds a run with another {told}; use resume=never or another folder")


def cross_validate(
    settings: TrainingSettings, dataset: Dataset, folder: Path, keep: Keep, start: Start | None
) -> dict[str, Any]:
    """Train on every fold's complement: errors of each fold, their mean and standard deviation."""
    split, count = settings.dataset.split, settings.cv.folds
    known = len(fold_indices(dataset, split))
    if count != known:
        raise InputError(f"cv.folds={count}: split {split} of the dataset has {known} folds")
    folds = [fit_fold(settings, dataset, fold, folder / f"fold_{fold}", keep, start) for fold in range(known)]
    names = [name for name in folds[0]["test"] if "rmse" in folds[0]["test"][name]]
    keys = ("rmse", "mae", "r2", "bias", "baseline", "relative", "about_mean")
    joined = {
        n: {key: summary([fold["test"][n][key] for fold in folds]) for key in keys if key in folds[0]["test"][n]}
        for n in names
    }
    run = {"members": settings.ensemble, "errors": joined}
    return {"cv": {split: run}, "data": folds[0]["data"]}


def learning_curve(
    settings: TrainingSettings, dataset: Dataset, folder: Path, keep: Keep, start: Start | None
) -> dict[str, Any]:
    """Test error of the fold against the number of training configurations, smaller sets nested in larger ones.

    Told is the first derived quantity, or the first label.
    """
    of, sizes = settings.dataset, settings.learning_curve or []
    if of.fold is None:
        raise InputError("a learning curve needs a test fold: set dataset.fold")
    fold_parts(dataset, of.split, of.fold, of.validation, settings.seed, max(sizes))  # are there so many?
    rows = []
    for frames in sizes:
        metrics = fit_fold(settings, dataset, of.fold, folder / f"frames_{frames}", keep, start, frames)
        told = [name for name, values in metrics["test"].items() if "rmse" in values]
        name = next((name for name in told if name in DERIVED), told[0])
        rows.append({"frames": frames, "quantity": name, **metrics["test"][name]})
    pd.DataFrame(rows).to_csv(folder / "learning_curve.csv", index=False)
    return {"learning_curve": rows, "data": metrics["data"]}


def fit_fold(
    settings: TrainingSettings,
    dataset: Dataset,
    fold: int | None,
    folder: Path,
    keep: Keep,
    start: Start | None = None,
    frames: int | None = None,
) -> dict[str, Any]:
    """Train the ensemble of one fold, calibrate it on the validation part, test it, and keep it."""
    finished = folder / "checkpoint" / "metrics.json"
    if finished.exists():
        return json.loads(finished.read_text())
    of = settings.dataset
    conversions = of.conversions
    parts = fold_parts(dataset, of.split, fold, of.validation, settings.seed, frames)
    if settings.ensemble > 1 and not len(parts["validation"]):
        raise InputError(f"ensemble={settings.ensemble} needs dataset.validation > 0, to calibrate the spread on")
    overridden = map(settings.of_member, range(settings.ensemble))
    untrained = [build_model(settings.model["name"], own) for own in overridden]
    Ensemble(untrained, {})  # refused before it is trained
    check_labels(dataset, parts, [output.label for output in settings.trainer.learned(untrained[0])])
    console.print(f"fold {fold} of split {of.split}: " + ", ".join(f"{len(v)} {k}" for k, v in parts.items()))
    members = []
    for number in range(settings.ensemble):
        member, data = fit_member(settings, number, dataset, parts, folder / f"member_{number}", start)
        members.append(member)
    ensemble = Ensemble(members, {}).cpu()
    ensemble.domain = learn_domain(ensemble, data.train_dataloader(), data.val_dataloader())
    metrics: dict[str, Any] = {"data": _provenance(dataset, of, fold, parts)}
    told = reported(untrained[0], dataset)
    for part, loader in (("validation", data.val_dataloader), ("test", data.test_dataloader)):
        for output in told if len(parts[part]) else ():
            predictions = predict_part(ensemble, loader(), parts[part], output)
            if not len(predictions.true):  # of what is told but not learned
                continue
            plain = part_metrics(mean_of_training(predictions, dataset, parts["train"]), dataset, conversions)
            if part == "validation":
                ensemble.calibration[output.name] = predictions.factor()
                predictions = predictions.scaled(ensemble.calibration[output.name])
                if predictions.distance is not None:
                    dispersion = fit_dispersion(predictions.error, predictions.distance, predictions.spread)
                    ensemble.dispersion[output.name] = dispersion
                    predictions = predictions.dispersed(dispersion)
            measured = part_metrics(predictions, dataset, conversions)
            for name in (name for name, values in plain.items() if "rmse" in values):
                measured[name]["baseline"] = plain[name]["rmse"]
            metrics.setdefault(part, {}).update(measured)
            predictions.table(dataset).to_csv(folder / f"{part}_{output.label}.csv", index=False)
            if ensemble.given is not None:
                blind = predict_part(ensemble, loader(), parts[part], output, blind=True)
                metrics.setdefault(f"{part}, blind", {}).update(part_metrics(blind, dataset, conversions))
    used = {
        entry.parameters.key: conversions[entry.parameters.key]
        for output in told
        for entry, _ in derived_from(output.label, conversions)
        if entry.parameters is not None
    }
    keep(folder / "checkpoint", Trained(settings, start, ensemble, used, metrics))
    return metrics


def _provenance(dataset: Dataset, settings: DatasetSettings, fold: int | None, parts: dict[str, Any]) -> dict[str, Any]:
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

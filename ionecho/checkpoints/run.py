"""A training whose every fold ends in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ionecho.checkpoints.card import model_card
from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import FORMAT_VERSION, Checkpoint, CheckpointConfig, load, save
from ionecho.training import run
from ionecho.training.run import Trained
from ionecho.training.settings import TrainingSettings
from ionecho.training.start import Start


def train(settings: TrainingSettings, folder: Path) -> dict[str, Any]:
    """Train in `folder`, into `folder/checkpoint` or one of each fold; returns the errors, also in metrics.json."""
    return run.train(settings, folder, keep, start_of)


def start_of(settings: TrainingSettings) -> Start | None:
    """What the training begins with.

    Raises
    ------
    InputError
        If the checkpoint is not there, or does not fit the members.
    """
    if settings.start is None:
        return None
    start = as_start(load(resolve(settings.start)), settings.start_as or {})
    for number in range(settings.ensemble):
        start.check(settings.model["name"], settings.of_member(number), number, settings.trainer.max_epochs)
    return start


def as_start(checkpoint: Checkpoint, like: Mapping[str, str]) -> Start:
    """A checkpoint as what a training begins with; elements that it does not know begin `like` others."""
    config = checkpoint.config
    dataset = {key: config.dataset[key] for key in ("name", "version")}
    identity = {"checkpoint": config.name, "sha256": checkpoint.sha256, "dataset": dataset}
    overrides = config.member_overrides or [{}] * config.members
    hyperparameters = [config.hyperparameters | own for own in overrides]
    return Start(identity, config.model, hyperparameters, list(checkpoint.model.members), like)


def keep(folder: Path, trained: Trained) -> None:
    """Write what was trained as a checkpoint with its card."""
    settings, metrics, start = trained.settings, trained.metrics, trained.start
    config = CheckpointConfig(
        format_version=FORMAT_VERSION,
        name=settings.name,
        model=settings.model["name"],
        hyperparameters=settings.hyperparameters,
        members=settings.ensemble,
        member_overrides=settings.member_overrides,
        calibration=trained.ensemble.calibration,
        dispersion={name: each.to_dict() for name, each in trained.ensemble.dispersion.items()},
        parameters={key: parameters.to_dict() for key, parameters in trained.parameters.items()},
        dataset=metrics["data"],
        start=None if start is None else {**start.identity, "like": dict(start.like)},
        training={"seed": settings.seed, **asdict(settings.trainer)},
    )
    save(folder, config, trained.ensemble, metrics, model_card(config, metrics))

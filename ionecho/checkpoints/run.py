"""A training whose every fold ends in a checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ionecho.checkpoints.card import model_card
from ionecho.checkpoints.store import FORMAT_VERSION, CheckpointConfig, save
from ionecho.training import run
from ionecho.training.run import Trained
from ionecho.training.settings import TrainingSettings


def train(settings: TrainingSettings, folder: Path) -> dict[str, Any]:
    """Train in `folder`, into `folder/checkpoint` or one of each fold; returns the errors, also in metrics.json."""
    return run.train(settings, folder, keep)


def keep(folder: Path, trained: Trained) -> None:
    """Write what was trained as a checkpoint with its card."""
    settings, metrics = trained.settings, trained.metrics
    config = CheckpointConfig(
        format_version=FORMAT_VERSION,
        name=settings.name,
        model=settings.model["name"],
        hyperparameters=settings.hyperparameters,
        members=settings.ensemble,
        member_overrides=settings.member_overrides,
        calibration=trained.ensemble.calibration,
        parameters={key: parameters.to_dict() for key, parameters in trained.parameters.items()},
        dataset=metrics["data"],
        training={"seed": settings.seed, **asdict(settings.trainer)},
    )
    save(folder, config, trained.ensemble, metrics, model_card(config, metrics))

"""What a training came to, as a run of Weights & Biases beside those of its members, which hold their curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import wandb

from ionecho.checkpoints.store import load
from ionecho.training.settings import TrainingSettings

ROWS = 2000  # of a parity plot, evenly chosen


def track(settings: TrainingSettings, metrics: Mapping[str, Any], folder: Path) -> None:
    """Log config, errors, parity, hashes and the report's figures, once, where the logger is wandb.

    Parameters
    ----------
    folder
        Of the finished training, with its report in `errors/`.
    """
    logger = dict(settings.logger)
    if logger.pop("name") != "wandb" or (folder / "wandb").exists() or not (folder / "checkpoint").exists():
        return
    offline = logger.pop("offline", True)
    run = wandb.init(
        dir=folder,
        name=f"{settings.name} result",
        group=settings.name,
        job_type="result",
        config={**settings.request, **hashes(metrics, folder)},
        mode="offline" if offline else "online",
        settings=wandb.Settings(silent=offline),
        **logger,
    )
    run.summary.update({part: metrics[part] for part in ("validation", "test") if part in metrics})
    for path in sorted(folder.glob("test_*.csv")):
        values = pd.read_csv(path)[["true", "predicted"]]
        table = wandb.Table(dataframe=values[:: -(-len(values) // ROWS)])
        run.log({f"parity/{path.stem.removeprefix('test_')}": wandb.plot.scatter(table, "true", "predicted")})
    for path in sorted((folder / "errors").glob("*.png")):
        run.log({f"report/{path.stem}": wandb.Image(str(path))})
    run.finish()


def hashes(metrics: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """By which dataset and checkpoint are known again."""
    return {
        "dataset_sha256": metrics["data"]["content_sha256"],
        "checkpoint_sha256": load(folder / "checkpoint").sha256,
    }

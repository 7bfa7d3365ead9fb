"""Loggers that say on the console only what a user can act on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wandb
from pytorch_lightning.loggers import WandbLogger


def quiet_wandb(save_dir: str, name: str, offline: bool = True, **options: Any) -> WandbLogger:
    """Weights & Biases, silent where it logs offline; `wandb sync` uploads what lies in `save_dir/wandb`."""
    Path(save_dir).mkdir(parents=True, exist_ok=True)  # wandb looks for a repository there, and warns where nothing is
    quiet = wandb.Settings(silent=offline)
    logger = WandbLogger(save_dir=save_dir, name=name, offline=offline, settings=quiet, group=name, **options)
    logger._wandb_init.pop("anonymous", None)  # which Lightning passes on though wandb has given it up
    return logger

"""Training by gradient descent. Killed at any moment, it goes on from its last epoch."""

from __future__ import annotations

import logging
import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import wandb
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, WeightAveraging
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from ionecho.errors import InputError
from ionecho.training.data import GraphDataModule
from ionecho.training.module import ERROR, TrainingModule
from ionecho.training.registry import LOGGERS, make
from ionecho.training.settings import TrainerSettings, TrainingSettings

# Lightning tells of itself (hardware that is not there, other products, its own deprecations), not of the training.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", module="pytorch_lightning")


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that appear whole: Lightning moves them from the temporary folder, which may be on another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside the place, then rename."""
        partial = f"{path}.partial"
        super().save_checkpoint(checkpoint, partial, storage_options)
        os.replace(partial, path)


class KeptEpoch(ModelCheckpoint):
    """Keeps one epoch, the last or the best, and knows it again where a killed run has been moved."""

    def __init__(self, folder: Path, name: str, monitor: str | None = None) -> None:
        super().__init__(
            folder, filename=name, monitor=monitor, save_on_train_epoch_end=True, enable_version_counter=False
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As Lightning does, with the files where they lie now."""

        def here(path: str) -> str:
            return os.path.join(str(self.dirpath), os.path.basename(path)) if path else path

        paths = {name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path")}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": scores, "dirpath": self.dirpath})


class Patience(EarlyStopping):
    """Early stopping that a run keeps to which is killed between its stop and its end."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop where the last epoch did: Lightning forgets that it had."""
        if self.stopping_reason is not EarlyStoppingReason.NOT_STOPPED:
            trainer.should_stop = True


class LoggedRun(pl.Callback):
    """Tells the logger what is trained on what, and ends its run where it began, in one of several processes.

    The next member is a run of its own.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before the first epoch."""
        for logger in trainer.loggers:
            logger.log_hyperparams(self.config)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After the last epoch was kept."""
        wandb.finish()


def descend(module: TrainingModule, data: GraphDataModule, settings: TrainingSettings, folder: Path) -> None:
    """Train in `folder`; the model is left with the weights of the best epoch, without validation data of the last."""
    logger = make(LOGGERS, settings.logger, "logger")(save_dir=str(folder), name=settings.name)
    recipe = settings.trainer
    has_validation = len(data.parts["validation"]) > 0
    config = {**settings.request, "dataset_sha256": data.dataset.attrs["content_sha256"]}
    epochs = folder / "epochs"
    keepers = [KeptEpoch(epochs, "last")]
    if has_validation:
        keepers.insert(0, KeptEpoch(epochs, "best", ERROR))  # before the last, which holds what the best is
    trainer = pl.Trainer(
        max_epochs=recipe.max_epochs,
        accelerator=recipe.accelerator,
        devices=recipe.devices,
        strategy=DDPStrategy(find_unused_parameters=True, start_method="spawn") if recipe.devices > 1 else "auto",
        use_distributed_sampler=False,
        gradient_clip_val=recipe.gradient_clip,
        callbacks=[*keepers, LearningRateMonitor("epoch"), *_callbacks(recipe, has_validation), LoggedRun(config)],
        logger=logger,
        plugins=[WholeFiles()],
        default_root_dir=folder,
        enable_model_summary=False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        limit_val_batches=None if has_validation else 0,
        reload_dataloaders_every_n_epochs=1,
    )
    last = epochs / "last.ckpt"
    trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None)
    kept = torch.load(keepers[0].best_model_path or last, map_location="cpu", weights_only=True)["state_dict"]
    weights = {name.removeprefix("model."): tensor for name, tensor in kept.items() if name.startswith("model.")}
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise InputError(f"{folder}: the training diverged (weights are not finite); lower trainer.optimizer.lr")
    module.model.load_state_dict(weights)


def moving_average(averaged: Tensor, current: Tensor, count: Tensor, decay: float) -> Tensor:
    """Exponential moving average of the weights whose decay grows to `decay`, so that it forgets the start."""
    weight = torch.clamp((1 + count) / (10 + count), max=decay)
    return torch.lerp(averaged, current, 1 - weight)  # which leaves alone what is not trained


def _callbacks(settings: TrainerSettings, has_validation: bool) -> list[pl.Callback]:
    callbacks: list[pl.Callback] = []
    if settings.ema_decay is not None:
        # Buffers are copied, not averaged: integer ones would be rounded down.
        callbacks.append(WeightAveraging(use_buffers=False, avg_fn=partial(moving_average, decay=settings.ema_decay)))
    if settings.patience is not None and has_validation:
        callbacks.append(Patience(ERROR, patience=settings.patience))
    return callbacks

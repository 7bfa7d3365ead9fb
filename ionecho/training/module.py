"""The Lightning module: any property model, trained on whatever labels its outputs name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ionecho.data.loader import Batch
from ionecho.data.schema import ARRAYS

ATOMS = "@atoms"  # suffix of outputs aligned with all atoms instead of the centres
ENERGY, FORCES, STRESS = "energy", f"forces{ATOMS}", "stress"  # of a potential


def label_of(output: str) -> str:
    """Label that an output is trained on: outputs are named by their label, aligned with the centres or with atoms."""
    return output.removesuffix(ATOMS)


def target_of(output: str, batch: Batch) -> Tensor:
    """Labels aligned with the output of that name: (K, ...) centres, (A, ...) atoms or (C, ...) configurations."""
    values = batch.labels[label_of(output)]
    aligned_with_centres = ARRAYS[label_of(output)].per == "atom" and not output.endswith(ATOMS)
    return values[batch.graph.centres] if aligned_with_centres else values


def is_reported(output: str) -> bool:
    """Whether its errors are reported: outputs at all atoms only help to train, unless they are vectors (forces)."""
    return not output.endswith(ATOMS) or ARRAYS[label_of(output)].shape == (3,)


class PropertyModule(pl.LightningModule):
    """Trains a model by weighted squared errors in units of each label's scale; missing labels do not count.

    Parameters
    ----------
    model
        Maps a graph to outputs in the labels' units, named as `label_of` says.
    losses
        Output -> weight.
    scales
        Output -> scale of its errors, in the label's unit.
    optimizer
        Makes the optimiser from the parameters.
    schedule
        Makes the learning-rate schedule from the optimiser and the number of epochs; stepped once an epoch's
        fraction (`interval`) has passed.
    loss
        Of outputs, batch and the fraction of the run that is done; None: the weighted squared errors.
    """

    def __init__(
        self,
        model: nn.Module,
        losses: Mapping[str, float],
        scales: Mapping[str, float],
        optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer],
        schedule: Callable[..., torch.optim.lr_scheduler.LRScheduler],
        seed: int,
        loss: Callable[[Mapping[str, Tensor], Batch, float], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.loss, self.total_steps = loss, 1
        self.model, self.losses, self.scales, self.seed = model, dict(losses), dict(scales), seed
        self.make_optimizer, self.make_schedule = optimizer, schedule

    def on_train_epoch_start(self) -> None:
        """Seed dropout by the epoch, so that a resumed run draws the same numbers."""
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The loss given, or the weighted sum of mean squared scaled errors."""
        outputs = self.model(batch.graph)
        if self.loss is not None:
            loss = self.loss(outputs, batch, self.trainer.global_step / self.total_steps)
        else:
            loss = torch.zeros((), device=self.device, dtype=batch.graph.positions.dtype)
            for name, weight in self.losses.items():
                loss = loss + weight * self._mean_square(outputs, name, batch)
        self.log("train/loss", loss, prog_bar=True, on_epoch=True, on_step=False, batch_size=len(batch.graph.cell))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Root of the mean squared error of every output over the validation part, in the label's unit."""
        outputs = self.model(batch.graph)
        for name in self.losses:
            target = target_of(name, batch)
            count = int(torch.isfinite(target).sum())
            square = self._mean_square(outputs, name, batch) * self.scales[name] ** 2
            self.log(f"val/{name}_mse", square, on_epoch=True, batch_size=max(count, 1))

    def on_validation_epoch_end(self) -> None:
        """Log what early stopping and the choice of the best epoch look at."""
        for number, name in enumerate(self.losses):
            rmse = self.trainer.callback_metrics[f"val/{name}_mse"].sqrt()
            self.log("val/rmse" if number == 0 else f"val/{name}_rmse", rmse, prog_bar=number == 0)

    def _mean_square(self, outputs: Mapping[str, Tensor], name: str, batch: Batch) -> Tensor:
        error = (outputs[name] - target_of(name, batch)) / self.scales[name]
        present = torch.isfinite(error)
        return torch.where(present, error, 0.0).square().sum() / present.sum().clamp(min=1)

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule as the config names them, the schedule stepped after every batch."""
        optimizer = self.make_optimizer(self.model.parameters())
        self.total_steps = int(self.trainer.estimated_stepping_batches)
        schedule = self.make_schedule(optimizer, total_steps=self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

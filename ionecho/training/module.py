"""The Lightning module: any model, trained on whatever its outputs are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ionecho.data.loader import Batch
from ionecho.data.outputs import Output
from ionecho.training.losses import Term, squares
from ionecho.training.processes import across

ERROR = "val/rmse"


class TrainingModule(pl.LightningModule):
    """Trains a model by the sum of terms; missing labels do not count.

    Parameters
    ----------
    model
        Maps a graph to outputs by name, in the labels' units.
    terms
        Of the loss.
    learned
        The outputs that the terms learn; the error of the first chooses the best epoch.
    optimizer
        Makes the optimiser from the parameters.
    schedule
        Makes the learning-rate schedule from the optimiser and the number of steps; stepped after every batch.
    """

    def __init__(
        self,
        model: nn.Module,
        terms: Sequence[Term],
        learned: Sequence[Output],
        optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer],
        schedule: Callable[..., torch.optim.lr_scheduler.LRScheduler],
        seed: int,
    ) -> None:
        super().__init__()
        self.model, self.terms, self.learned, self.seed = model, terms, learned, seed
        self.make_optimizer, self.make_schedule = optimizer, schedule
        self.total_steps = 1
        self.sums = torch.zeros(len(learned), 2)

    def on_train_epoch_start(self) -> None:
        """Seed dropout by the epoch, so that a resumed run draws the same numbers, and by the process."""
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch + 1_000_000_007 * self.global_rank)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The sum of the terms."""
        outputs = self.model(batch.graph)
        progress = self.trainer.global_step / self.total_steps
        loss = torch.stack([term(outputs, batch, progress) for term in self.terms]).sum()
        self.log("train/loss", loss, prog_bar=True, on_epoch=True, on_step=False, batch_size=1, sync_dist=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin anew."""
        self.sums = torch.zeros(len(self.learned), 2, device=self.device)

    def validation_step(self, batch: Batch, _: int) -> None:
        """Sum the squared errors of every output, in the label's unit squared, and count them."""
        outputs = self.model(batch.graph)
        for row, output in zip(self.sums, self.learned, strict=True):
            row += torch.stack(squares(outputs[output.name], batch, output))

    def on_validation_epoch_end(self) -> None:
        """Log what early stopping and the choice of the best epoch look at, of the whole validation part."""
        total, count = across(self.sums).T
        for number, (output, mean_square) in enumerate(zip(self.learned, total / count.clamp(min=1), strict=True)):
            name = f"val/{output.name}_rmse" if number else ERROR
            self.log(name, mean_square.sqrt(), prog_bar=number == 0, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule as the config names them, the schedule stepped after every batch."""
        optimizer = self.make_optimizer(self.model.parameters())
        self.total_steps = int(self.trainer.estimated_stepping_batches)
        schedule = self.make_schedule(optimizer, total_steps=self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

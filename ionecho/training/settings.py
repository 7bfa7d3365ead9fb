"""What `train.py` is told beside the model, the losses and the optimiser: checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

import torch
from omegaconf import DictConfig
from pydantic import BaseModel, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator, model_validator

from ionecho.config import plain
from ionecho.errors import InputError
from ionecho.models import PropertyModel


class TrainerSettings(BaseModel):
    """Of `conf/trainer/default.yaml`."""

    max_epochs: NonNegativeInt
    batch_size: PositiveInt
    dtype: Literal["float32", "float64"]
    ema_decay: float | None = Field(ge=0, lt=1)
    gradient_clip: float | None = Field(gt=0)
    patience: PositiveInt | None
    threads: PositiveInt | None
    memory_limit: NonNegativeFloat
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]

    @field_validator("accelerator")
    @classmethod
    def _is_there(cls, asked: str) -> str:
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        if not {"gpu": cuda or mps, "cuda": cuda, "mps": mps}.get(asked, True):
            raise ValueError(f"trainer.accelerator={asked}: none is usable here; use auto or cpu")
        return asked


class DatasetSettings(BaseModel):
    """What of the dataset is left out."""

    fold: NonNegativeInt | None
    validation: float = Field(ge=0, lt=1)


class CrossValidation(BaseModel):
    """Over the folds of the dataset's split."""

    folds: PositiveInt | None


class Settings(BaseModel):
    """Of `conf/train.yaml`."""

    seed: NonNegativeInt
    ensemble: PositiveInt
    learning_curve: list[PositiveInt] | None = Field(min_length=1)
    cv: CrossValidation
    dataset: DatasetSettings
    trainer: TrainerSettings

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if self.learning_curve is not None and self.cv.folds is not None:
            raise ValueError("learning_curve and cv.folds: give one of them, they are two runs")
        return self


def check_settings(config: DictConfig) -> None:
    """Raise pydantic's ValidationError, which the entry points print as a line, where a setting is wrong."""
    Settings.model_validate(plain(config))


def check_losses(model: PropertyModel, losses: Iterable[str]) -> None:
    """Raise InputError where the losses name what the model does not give, or lack what it cannot do without."""
    if wrong := set(losses).difference(model.outputs):
        raise InputError(f"trainer.losses: the model gives {', '.join(model.outputs)}, no {', '.join(sorted(wrong))}")
    if absent := set(model.needed).difference(losses):
        raise InputError(f"trainer.losses: the model has to learn {', '.join(sorted(absent))} too")

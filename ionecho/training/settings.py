"""What a training is told, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, Self

import torch
from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator, model_validator
from pydantic.dataclasses import dataclass

from ionecho.data.outputs import Output, named
from ionecho.data.points import PointRecipe
from ionecho.errors import InputError
from ionecho.nmr.derived import Parameters, gathered, parse_parameters
from ionecho.training.losses import Term, check_terms, learns

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainerSettings:
    """How a member is trained: `conf/trainer/default.yaml` and the model's recipe.

    `losses` are terms by name (an output -> its weight, or a paper's loss -> its settings), `optimizer` and `schedule`
    have a `name` and arguments, `memory_limit` is in GB, `threads` None takes all cores. `devices` processes share each
    batch, one on each GPU, or on the CPU: the result is that of one, but for rounding and for what dropout draws.
    `trains` says which layers of a model are trained that has its weights from another. `points` says which points of
    grids a batch holds: `count`, `tested`, `importance`; None takes all.
    """

    max_epochs: NonNegativeInt
    batch_size: PositiveInt
    dtype: Literal["float32", "float64"]
    losses: dict[str, Any]
    optimizer: dict[str, Any] | None
    schedule: dict[str, Any]
    ema_decay: float | None = Field(ge=0, lt=1)
    gradient_clip: float | None = Field(gt=0)
    patience: PositiveInt | None
    threads: PositiveInt | None
    memory_limit: NonNegativeFloat
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    devices: PositiveInt
    trains: Literal["all", "last"]
    points: PointRecipe | None = None

    @field_validator("accelerator")
    @classmethod
    def _is_there(cls, asked: str) -> str:
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        if not {"gpu": cuda or mps, "cuda": cuda, "mps": mps}.get(asked, True):
            raise ValueError(f"trainer.accelerator={asked}: none is usable here; use auto or cpu")
        return asked

    @model_validator(mode="after")
    def _can_descend(self) -> Self:
        if self.max_epochs and self.optimizer is None:
            raise ValueError("trainer.optimizer: epochs need one; give it, or max_epochs=0")
        gpus = 0 if self.accelerator == "cpu" else torch.cuda.device_count() or int(torch.backends.mps.is_available())
        if self.devices > max(1, gpus) and gpus:
            raise ValueError(f"trainer.devices={self.devices}: GPUs here: {gpus}; use that many, or accelerator=cpu")
        shared = self.batch_size if self.max_epochs else 1
        if self.devices > shared:
            raise ValueError(
                f"trainer.devices={self.devices}: no more than they can share, configurations of a batch: {shared}"
            )
        return self

    @property
    def point_recipe(self) -> PointRecipe:
        """Which points of grids a batch holds."""
        return self.points or PointRecipe(None)

    def terms(self, model: Any) -> dict[str, Term]:
        """The terms of the loss of a model, checked; a closed-form fit needs none."""
        return check_terms(self.losses, named(model.outputs), model.needed if self.max_epochs else ())

    def learned(self, model: Any) -> list[Output]:
        """The outputs that are learned: those of the terms, or what the model's closed-form fit needs."""
        outputs = named(model.outputs)
        return [outputs[name] for name in learns(self.terms(model).values()) or model.needed]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DatasetSettings:
    """Which data: the dataset, its split, the test fold (None: no test), and the share of the rest that validates.

    `centres` are the elements that models predict for whose settings do not say; None: those that have the label.
    `parameters` are those of derived quantities by key (`contact_shift`, ...), as plain mappings or None.
    """

    name: str
    split: str
    fold: NonNegativeInt | None
    validation: float = Field(ge=0, lt=1)
    parameters: dict[str, Any]
    centres: list[PositiveInt] | None = None

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, given: Any) -> Any:
        """Parameters stand beside the other keys in a config."""
        return gathered(getattr(given, "kwargs", given) or {})

    @property
    def conversions(self) -> dict[str, Parameters]:
        """The parameters, checked."""
        return parse_parameters(self.parameters)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CrossValidation:
    """Over the folds of the dataset's split."""

    folds: PositiveInt | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingSettings:
    """Of `conf/train.yaml`: `model` holds its `name` and hyperparameters, `member_overrides` those that differ.

    `start` names the checkpoint whose weights the members begin with; an element that it does not know begins as the
    one that `start_as` names, by symbol.
    """

    name: str
    seed: NonNegativeInt
    resume: Literal["auto", "never"]
    start: str | None
    start_as: dict[str, str] | None
    ensemble: PositiveInt
    member_overrides: list[dict[str, Any]]
    cv: CrossValidation
    learning_curve: list[PositiveInt] | None = Field(min_length=1)
    model: dict[str, Any]
    dataset: DatasetSettings
    trainer: TrainerSettings
    logger: dict[str, Any]

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if self.learning_curve is not None and self.cv.folds is not None:
            raise ValueError("learning_curve and cv.folds: give one of them, they are two runs")
        if self.trainer.trains != "all" and self.start is None:
            raise ValueError("trainer.trains=last: of a model with random weights; say start=CHECKPOINT, or trains=all")
        if self.start_as and self.start is None:
            raise ValueError(f"start_as={self.start_as}: of what? say start=CHECKPOINT, or leave it out")
        return self

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The model's own arguments."""
        return {key: value for key, value in self.model.items() if key != "name"}

    def of_member(self, number: int) -> dict[str, Any]:
        """Hyperparameters of one member, with what `member_overrides` sets for it.

        Raises
        ------
        InputError
            If there are overrides, but not one set a member.
        """
        given = self.member_overrides
        if given and len(given) != self.ensemble:
            raise InputError(
                f"member_overrides: expected none or one set of hyperparameters for each of {self.ensemble} members, "
                f"found {len(given)}"
            )
        return self.hyperparameters | (given[number] if given else {})

    @property
    def request(self) -> dict[str, Any]:
        """What decides the result, by which a run is known again."""
        dataset = asdict(self.dataset)
        parameters = dataset.pop("parameters")
        dataset.pop("centres")  # they are those of the model
        kept = {key: value for key, value in asdict(self).items() if key not in ("resume", "logger")}
        return {**kept, "dataset": {**dataset, **parameters}}


def training_settings(config: Mapping[str, Any]) -> TrainingSettings:
    """From a composed config; raises pydantic's ValidationError, or InputError, that says which setting is wrong."""
    return TrainingSettings(**{str(key): value for key, value in config.items()})

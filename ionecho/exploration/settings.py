"""What `explore.py` is told beside the model, the engine and the dynamics: checked before anything is labelled."""

from __future__ import annotations

from typing import Literal, Self

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ionecho.config import plain
from ionecho.dynamics.integrators import Thermostat
from ionecho.dynamics.run import Run
from ionecho.prediction.predict import usable
from ionecho.training.settings import DatasetSettings, TrainerSettings


class RunSettings(BaseModel):
    """Which simulations a round holds; what each is told is checked by `Thermostat` and `Run`."""

    temperatures: list[PositiveFloat] = Field(min_length=1)
    strains: list[float] = Field(min_length=1)
    seeds: list[NonNegativeInt] = Field(min_length=1)


class SelectSettings(BaseModel):
    """Which frames are labelled."""

    window: Literal["published", "quantile"]
    low: PositiveFloat
    high: PositiveFloat
    quantile: float = Field(gt=0, lt=1)
    per_round: PositiveInt
    resolution: NonNegativeFloat

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"select: low={self.low:g} should be below high={self.high:g}")
        return self


class ValidatedSettings(DatasetSettings):
    """Of the dataset, some of which calibrates the spread."""

    validation: float = Field(gt=0, lt=1)


class Settings(BaseModel):
    """Of `conf/explore.yaml`; `rattle` and `repeat` are checked with the structures."""

    seed: NonNegativeInt
    ensemble: int = Field(ge=2)  # a spread needs two members
    rounds: PositiveInt
    converged: float = Field(le=1)
    accept_level: bool
    retry: bool
    md: RunSettings
    select: SelectSettings
    trainer: TrainerSettings
    dataset: ValidatedSettings


def check_settings(config: DictConfig) -> None:
    """Raise InputError or pydantic's ValidationError, which the entry points print as a line, where one is wrong."""
    found = Settings.model_validate(plain(OmegaConf.masked_copy(config, list(Settings.model_fields))))
    usable(config.md.device, config.md.dtype)
    thermostat = Thermostat.of(config.md, found.md.temperatures[0], found.seed)
    Run.of(config.md, thermostat.timestep, found.select.high)

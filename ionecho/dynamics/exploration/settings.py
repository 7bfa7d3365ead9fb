"""What `explore.py` is told beside the model, the engine and the dynamics: checked before anything is labelled."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from omegaconf import DictConfig
from pydantic import BaseModel, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ionecho.config import plain

Share = Annotated[float, Field(ge=0, le=1)]


class RattleSettings(BaseModel):
    """Of the copies to begin with."""

    copies: PositiveInt
    displacement: tuple[NonNegativeFloat, NonNegativeFloat]
    strain: NonNegativeFloat


class RunSettings(BaseModel):
    """Which simulations a round holds; `Ensemble` and `Run` check the rest."""

    temperatures: list[PositiveFloat] = Field(min_length=1)
    strains: list[float] = Field(min_length=1)
    seeds: list[NonNegativeInt] = Field(min_length=1)


class SelectSettings(BaseModel):
    """Which frames are labelled."""

    window: Literal["published", "quantile"]
    low: NonNegativeFloat
    high: PositiveFloat
    quantile: float = Field(gt=0, lt=1)
    per_round: PositiveInt
    resolution: NonNegativeFloat

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"select: low={self.low:g} should be below high={self.high:g}")
        return self


class Settings(BaseModel):
    """Of `conf/explore.yaml`."""

    seed: NonNegativeInt
    ensemble: int = Field(ge=2)  # a spread needs two members
    rounds: PositiveInt
    converged: Share
    accept_level: bool
    retry: bool
    repeat: tuple[PositiveInt, PositiveInt, PositiveInt]
    rattle: RattleSettings
    md: RunSettings
    select: SelectSettings


def check_settings(config: DictConfig) -> None:
    """Raise pydantic's ValidationError, which the entry points print as a line, where a setting is wrong."""
    Settings.model_validate(plain(config))

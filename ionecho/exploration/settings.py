"""What an exploration is told, checked before anything is labelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic.dataclasses import dataclass

from ionecho.dynamics.integrators import Thermostat
from ionecho.dynamics.run import Run
from ionecho.dynamics.start import three_numbers
from ionecho.prediction.device import usable
from ionecho.structures.displace import Rattle
from ionecho.training.settings import STRICT, CrossValidation, DatasetSettings, TrainerSettings, TrainingSettings


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunSettings:
    """The simulations of a round, one for each combination of structure, temperature (K), strain and seed."""

    temperatures: list[PositiveFloat] = Field(min_length=1)
    strains: list[float] = Field(min_length=1)
    seeds: list[NonNegativeInt] = Field(min_length=1)
    ensemble: str  # the thermostat, by `Thermostat`
    time: str | float  # 500fs, 10ps, 1ns
    timestep: PositiveFloat  # fs
    thermostat_time: PositiveFloat  # fs
    pressure: float  # GPa, of npt
    barostat_time: PositiveFloat  # fs, of npt
    every: PositiveInt  # steps between frames, and between looks at the spread
    block: PositiveInt  # frames written at once
    contact_limit: PositiveFloat | None  # sums of covalent radii
    volume_limit: PositiveFloat | None  # share by which the volume may change
    heat_limit: float | None = Field(gt=1)  # times the temperature
    device: str
    dtype: str

    def thermostat(self, temperature: float, seed: int) -> Thermostat:
        """What a run at this temperature (K) keeps constant."""
        return Thermostat.of(vars(self), temperature, seed)

    def run(self, spread_limit: float) -> Run:
        """How long a run is, and when it stops; `spread_limit` in eV/Å."""
        return Run.of(vars(self), self.timestep, spread_limit)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelectSettings:
    """Which frames are labelled: those in the window, eV/Å, `per_round` at most and `resolution` (Å) apart."""

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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CopySettings:
    """Displaced copies to begin with: `copies` of each structure, `displacement` in Å, `strain` along each axis."""

    copies: NonNegativeInt
    strain: NonNegativeFloat
    displacement: tuple[NonNegativeFloat, NonNegativeFloat]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExploredDataset(DatasetSettings):
    """The dataset that grows, None for none to begin with; some of it calibrates the spread."""

    name: str | None = None  # type: ignore[assignment]
    validation: float = Field(gt=0, lt=1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CardSettings:
    """Of the versions' cards; None takes what the dataset to begin with says."""

    licence: str | None
    citation: str | None
    quality_gate: dict[str, Any]
    splits: dict[str, Any]


def _listed(structures: Any) -> Any:
    return [structures] if isinstance(structures, str) else structures


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExplorationSettings:
    """Of `conf/explore.yaml`; `workers` label with `engine` and simulate, `model` holds its name and arguments."""

    name: str
    output: str
    seed: NonNegativeInt
    start: str | None
    start_as: dict[str, str] | None
    ensemble: int = Field(ge=2)  # a spread needs two members
    member_overrides: list[dict[str, Any]]
    rounds: PositiveInt
    converged: float = Field(le=1)
    accept_level: bool
    structures: Annotated[list[str] | None, BeforeValidator(_listed)]
    repeat: Annotated[tuple[int, int, int], BeforeValidator(three_numbers)]
    rattle: CopySettings
    md: RunSettings
    select: SelectSettings
    retry: bool
    card: CardSettings
    model: dict[str, Any]
    trainer: TrainerSettings
    dataset: ExploredDataset
    engine: dict[str, Any]
    workers: dict[str, Any]
    logger: dict[str, Any]

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        usable(self.md.device, self.md.dtype)
        self.md.thermostat(self.md.temperatures[0], self.seed)
        self.md.run(self.select.high)
        return self

    @property
    def copies(self) -> Rattle:
        """The displaced copies, drawn by the seed."""
        return Rattle(**vars(self.rattle), seed=self.seed)

    def training(self, dataset: str) -> TrainingSettings:
        """The training on one version of the dataset."""
        return TrainingSettings(
            name=self.name,
            seed=self.seed,
            resume="auto",
            start=self.start,
            start_as=self.start_as,
            ensemble=self.ensemble,
            member_overrides=self.member_overrides,
            cv=CrossValidation(folds=None),
            learning_curve=None,
            model=self.model,
            dataset=DatasetSettings(**{**asdict(self.dataset), "name": dataset}),
            trainer=self.trainer,
            logger=self.logger,
        )

    @property
    def request(self) -> dict[str, Any]:
        """All settings, as they are stored."""
        return asdict(self)


def exploration_settings(config: Mapping[str, Any]) -> ExplorationSettings:
    """From a composed config; raises InputError or pydantic's ValidationError where a setting is wrong."""
    return ExplorationSettings(**config)

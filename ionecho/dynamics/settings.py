"""What a simulation is told, as `conf/simulate/simulate.yaml` writes it out."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import ase
from pydantic import BeforeValidator, Field, InstanceOf, PositiveFloat, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from ionecho.checkpoints.store import Checkpoint
from ionecho.dynamics.integrators import Thermostat
from ionecho.dynamics.run import Run
from ionecho.dynamics.start import three_numbers
from ionecho.errors import InputError
from ionecho.nmr.derived import gathered


@dataclass(frozen=True)
class SimulationSettings:
    """One run of molecular dynamics with the potential of a checkpoint."""

    checkpoint: str | InstanceOf[Checkpoint]  # name, folder, or owner/name on the Hub; or a loaded one
    structure: str | InstanceOf[ase.Atoms]  # a trajectory or file (its last frame), a prototype, or the atoms
    time: str | float  # 500fs, 10ps, 1ns; a bare number is in fs
    output: Path  # zarr folder, appears when complete
    arrangement: int = 0  # seed of what a prototype leaves open
    repeat: Annotated[tuple[int, int, int], BeforeValidator(three_numbers)] = (1, 1, 1)  # of the cell
    velocities: str = "draw"  # at `temperature`; keep: those that the structure holds
    engine: str = "ase"  # the integrator, of `INTEGRATORS`
    ensemble: str = "nvt_langevin"  # the thermostat, by `Thermostat`
    temperature: PositiveFloat = 300.0  # K
    timestep: PositiveFloat = 1.0  # fs
    thermostat_time: PositiveFloat = 100.0  # fs
    pressure: float = 0.0  # GPa, of npt
    barostat_time: PositiveFloat = 1000.0  # fs, of npt
    seed: Annotated[int, Field(ge=0)] = 0  # of the velocities and the thermostat
    replicas: Annotated[int, Field(ge=1)] = 1  # runs that differ by the seed, which counts up
    every: Annotated[int, Field(ge=1)] = 100  # steps between frames
    block: Annotated[int, Field(ge=1)] = 20  # frames written at once
    spread_limit: PositiveFloat | None = 5.0  # eV/Å, of the calibrated spread of a force
    contact_limit: PositiveFloat | None = 0.5  # sums of covalent radii
    heat_limit: Annotated[float, Field(gt=1)] | None = 2.0  # times the start's temperature
    volume_limit: PositiveFloat | None = 0.2  # share by which the volume may change
    pressure_error_limit: PositiveFloat | None = 1.0  # GPa, largest error of the pressure with which npt is run
    properties: str | tuple[str, ...] = ()  # checkpoints that predict every stored frame
    parameters: dict[str, Literal["checkpoint"] | dict[str, Any] | None] = field(default_factory=dict)  # of derived
    # quantities by key, which may stand beside the other keys; those that are not given are the checkpoint's
    device: str = "auto"
    dtype: str = "float64"
    threads: int | None = None  # of the CPU; none: all cores

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, given: ArgsKwargs) -> ArgsKwargs:
        return ArgsKwargs(given.args, gathered(given.kwargs or {}))

    def __post_init__(self) -> None:
        if self.velocities not in ("draw", "keep") or (self.velocities == "keep" and max(self.repeat) > 1):
            raise InputError(
                f"velocities={self.velocities}: expected draw, or keep for a structure that is not repeated"
            )

    @property
    def thermostat(self) -> Thermostat:
        """What is kept constant."""
        return Thermostat.of(vars(self), self.temperature, self.seed)

    @property
    def run(self) -> Run:
        """How long, and when to stop."""
        return Run.of(vars(self), self.timestep, self.spread_limit)

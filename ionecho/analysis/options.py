"""What the analyses of trajectories share: strict settings, and how their input is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ionecho.data.trajectory import Trajectory, cell_of, open_trajectory
from ionecho.errors import InputError, explain


def named_inputs(input: str | list[str], short: Callable[[Path], str]) -> dict[str, str]:
    """Name -> input: by its short name, or as it was given where two short ones are the same.

    Raises
    ------
    InputError
        If an input is given twice.
    """
    inputs = [input] if isinstance(input, str) else list(input)
    names = [short(Path(path)) for path in inputs]
    names = inputs if len(set(names)) < len(names) else names
    if len(set(names)) < len(names):
        raise InputError(f"input: {len(names) - len(set(names))} of {inputs} are given twice")
    return dict(zip(names, inputs, strict=True))


class Options(BaseModel):
    """Settings without hidden defaults: every entry is named in the config, and none besides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], analysis: str) -> Self:
        """Settings from a plain mapping; raises InputError naming every entry that is wrong."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise InputError(f"{analysis} settings: {explain(error)}") from error


class ReadOptions(Options):
    """What a text file of an MD code does not say itself; all None for zarr.

    `format` is ASE's name, `species` the elements of the LAMMPS types, `cell` 3 lengths (Å) or 3 lengths and 3 angles
    (degrees).
    """

    format: str | None
    species: list[str] | None
    cell: list[float] | None

    def open(self, path: Path, groups: list[str] | None = None, time_step: float | None = None) -> Trajectory:
        """The trajectory at `path`, of a dataset these groups, of text `time_step` fs between frames."""
        cell = None if self.cell is None else cell_of(self.cell)
        return open_trajectory(path, self.format, self.species, cell, time_step, groups)


class TimedReadOptions(ReadOptions):
    """With `time_step` fs between frames."""

    time_step: float | None = Field(gt=0)

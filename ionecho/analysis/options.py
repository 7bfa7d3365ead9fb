"""What the analyses share: strict settings, and how their inputs are read and named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ionecho.data.trajectory import Frames, Trajectory, cell_of, open_trajectory
from ionecho.errors import InputError, explain

SETTINGS = "analysis.settings"  # before every key of an analysis on the line
NAMED = re.compile(
    r"(?<![\w./'\"\0])(?:\w+(?=(?:\.\w+)*=)|(?<=\A)\w+(?=(?:\.\w+)*:)|\w+(?=\.[a-z]))(?:\.\w+)*(?![\w/(])"
)


class Options(BaseModel):
    """Settings without hidden defaults: every entry is named in the config, and none besides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], analysis: str) -> Self:
        """Settings from a plain mapping; raises InputError naming every entry that is wrong."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise InputError(f"{analysis}: {explain(error, SETTINGS)}") from error


def whole_keys(text: str, settings: Mapping[str, Any], inputs: Sequence[object]) -> str:
    """An error in which every setting stands by the whole key that a line has for it.

    Readers, and functions that serve several analyses, know settings by their last name (`species=[..]`, `map.fold`,
    or `fold:` at the beginning). Names of `inputs` stay as they are.
    """
    keys = sorted(_keys(settings), key=lambda key: key.count("."))
    names = [name for name in map(str, inputs) if name in text]
    for number, name in enumerate(names):
        text = text.replace(name, f"\0{number}\0")

    def whole(found: re.Match[str]) -> str:
        like = [key for key in keys if f".{key}".endswith(f".{found[0]}")]
        return f"{SETTINGS}.{like[0]}" if like else found[0]

    text = NAMED.sub(whole, text)
    for number, name in enumerate(names):
        text = text.replace(f"\0{number}\0", name)
    return text


def _keys(settings: Mapping[str, Any], within: str = "") -> Iterator[str]:
    for name, value in settings.items():
        yield f"{within}{name}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{within}{name}.")


class ReadOptions(Options):
    """How an input is read and which of its frames are used; None where it says so itself, as zarr does.

    Of each run (`groups` of them, None: all) the first `skip` frames are left out, and then every `every`-th is used;
    stored frames count, whether an analysis can use them or not.
    Of text files, `format` is ASE's name, `species` the elements of the LAMMPS types, `cell` 3 lengths (Å) or 3 lengths
    and 3 angles (degrees), `time_step` the fs between frames. Of xtc, trr, dcd, nc and h5md, `topology` is a structure
    file of the same atoms.
    """

    skip: int = Field(default=0, ge=0)
    every: int = Field(default=1, ge=1)
    groups: list[str] | None = None
    format: str | None = None
    species: list[str] | None = None
    cell: list[float] | None = None
    time_step: float | None = Field(default=None, gt=0)
    topology: str | None = None

    def open(self, path: Path) -> Trajectory:
        """The trajectory at `path`, of a dataset the groups asked for."""
        cell = None if self.cell is None else cell_of(self.cell)
        return open_trajectory(path, self.format, self.species, cell, self.time_step, self.groups, self.topology)

    def open_run(self, path: Path) -> Trajectory:
        """The same, of one run; raises InputError where there are several: no number is over different systems."""
        trajectory = self.open(path)
        used = self.runs(trajectory)
        if len(used) > 1:
            told = ", ".join(used[:8]) + (", ..." if len(used) > 8 else "")
            raise InputError(
                f"{path}: expected one run, found {len(used)} ({told}); choose one, for instance groups=[{used[0]}]"
            )
        return trajectory

    def runs(self, trajectory: Trajectory) -> list[str]:
        """Names of the runs used, none where the file tells none apart."""
        held = [] if trajectory.group is None else list(dict.fromkeys(trajectory.group.astype(str).tolist()))
        return [run for run in held if self.groups is None or run in self.groups]

    def frames(self, trajectory: Trajectory, size: int, names: Sequence[str] = ()) -> Iterator[Frames]:
        """The frames used with the arrays `names`, `size` read at once."""
        return trajectory.used(size, skip=self.skip, every=self.every, groups=self.groups, names=names)


class TrajectoryOptions(Options):
    """Settings with one way to `read`; its `skip`, `every` and `groups` may be given beside it instead of in it."""

    read: ReadOptions = ReadOptions()

    @model_validator(mode="before")
    @classmethod
    def _join(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        chosen = {name: values[name] for name in ("skip", "every", "groups") if name in values}
        rest = {name: value for name, value in values.items() if name not in chosen}
        inside = rest.get("read") or {}
        if twice := [name for name in chosen if name in inside]:
            raise ValueError(f"read.{twice[0]}: it stands beside read too; give {twice[0]} alone")
        return rest | {"read": {**inside, **chosen}} if chosen else rest


def one(inputs: Sequence[Path], analysis: str, cure: str = "analyse them one by one") -> Path:
    """The only input; raises InputError if there are several."""
    if len(inputs) != 1:
        raise InputError(f"{analysis}: expected one input, found {len(inputs)}; {cure}")
    return inputs[0]


def named_inputs(inputs: Sequence[Path], ending: bool = True) -> dict[str, Path]:
    """Inputs by their file names (without `ending`), with as many folders as tell them apart.

    Where files are called the same, by the folders alone.

    Raises
    ------
    InputError
        If one is given twice.
    """
    places = [path.absolute() for path in inputs]
    if len(set(places)) < len(places):
        raise InputError(f"input: {len(places) - len(set(places))} of {list(map(str, inputs))} are given twice")
    parts = [(place if ending else place.with_suffix("")).parts for place in places]
    if len(set(parts)) < len(parts):
        parts = [place.parts for place in places]
    end = 0  # parts at the end that all have in common
    while len(parts) > 1 and len({each[-1 - end] for each in parts}) == 1:
        end += 1
    for depth in range(end + 1, max(map(len, parts)) + 1):
        names = ["/".join(each[-depth : len(each) - end]) for each in parts]
        if len(set(names)) == len(names):
            break
    return dict(zip(names, inputs, strict=True))


def at_temperatures(
    inputs: Sequence[Path], given: float | list[float] | None
) -> Iterator[tuple[str, Path, float | None]]:
    """Each input with its name and the temperature (K) given for it, once for all or one each.

    Raises
    ------
    InputError
        If an input is given twice, or the number of temperatures is another than that of the inputs.
    """
    names = named_inputs(inputs)
    if isinstance(given, list) and len(given) != len(names):
        raise InputError(f"temperature: expected one or one an input ({len(names)}), found {len(given)}")
    temperatures = given if isinstance(given, list) else [given] * len(names)
    for (name, path), temperature in zip(names.items(), temperatures, strict=True):
        yield name, path, temperature

"""Shifts of mobile ions along trajectories: what the analyses of shifts take."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionecho.analysis.lattice import Framework
from ionecho.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ShiftSeries:
    """Shifts (ppm) of K centres over T frames of one or more trajectories, each contiguous and in time order.

    `positions` (T, K, 3) Å of the centres, framework drift removed, wrapped or not; `cell` (T or 1, 3, 3) Å;
    `group` (T,) trajectory of each frame; `frameworks` the immobile atoms of the first frame of each trajectory;
    `members` (M, T, K) ppm of the single models of an ensemble and `spread` (T, K) ppm their standard deviation;
    `time` (T,) fs; `temperatures` K of the trajectories simulated at one that is known; `source` what is known about
    the input; `notes` what a reader of the result has to know.
    """

    shift: Floats
    positions: Floats
    cell: Floats
    group: NDArray
    frameworks: dict[str, Framework]
    members: Floats | None = None
    spread: Floats | None = None
    time: Floats | None = None
    temperatures: Mapping[str, float] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frames, centres = self.shift.shape
        expected = {"positions": (frames, centres, 3), "group": (frames,)}
        expected |= {"time": (frames,)} if self.time is not None else {}
        expected |= {"spread": (frames, centres)} if self.spread is not None else {}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise InputError(f"series: {name} should have shape {shape}, found {getattr(self, name).shape}")
        if self.cell.shape not in [(frames, 3, 3), (1, 3, 3)]:
            raise InputError(f"series: cell should have shape {(frames, 3, 3)} or (1, 3, 3), found {self.cell.shape}")
        if self.members is not None and self.members.shape[1:] != self.shift.shape:
            raise InputError(f"series: members should be (M, {frames}, {centres}), found {self.members.shape}")
        if frames == 0 or not np.isfinite(self.shift).all():
            missing = np.flatnonzero(~np.isfinite(self.shift).all(axis=1)).tolist()
            where = f"{len(missing)} frames lack one, first {missing[0]}" if missing else "there is no frame"
            raise InputError(f"series: every centre needs a finite shift; {where}")
        if np.sum(self.group[1:] != self.group[:-1]) + 1 != len(self.groups):
            raise InputError("series: the frames of one trajectory must be contiguous; sort the frames by trajectory")
        together = self.group[1:] == self.group[:-1]
        if self.time is not None and (np.diff(self.time)[together] <= 0).any():
            raise InputError("series: the time of each trajectory must grow; sort its frames by time")
        if absent := set(self.groups) - set(self.frameworks):
            raise InputError(f"series: no reference framework for {', '.join(sorted(absent))}")

    @property
    def groups(self) -> list[str]:
        """Names of the trajectories in the order of their frames."""
        return list(dict.fromkeys(str(name) for name in self.group))

    def among(self, groups: Sequence[str]) -> ShiftSeries:
        """The frames of some trajectories."""
        return self._rows(np.isin(self.group.astype(str), groups), {name: self.frameworks[name] for name in groups})

    def of(self, group: str) -> ShiftSeries:
        """The frames of one trajectory."""
        return self._rows(self.group == group, {group: self.frameworks[group]})

    def _rows(self, kept: NDArray[np.bool_], frameworks: dict[str, Framework]) -> ShiftSeries:
        return replace(
            self,
            shift=self.shift[kept],
            positions=self.positions[kept],
            cell=self.cell if len(self.cell) == 1 else self.cell[kept],
            group=self.group[kept],
            frameworks=frameworks,
            members=None if self.members is None else self.members[:, kept],
            spread=None if self.spread is None else self.spread[kept],
            time=None if self.time is None else self.time[kept],
        )

    def sha256(self) -> str:
        """Hash of the shifts and positions analysed."""
        digest = hashlib.sha256(np.ascontiguousarray(self.shift, "<f8").tobytes())
        digest.update(np.ascontiguousarray(self.positions, "<f8").tobytes())
        return digest.hexdigest()


def joined(parts: Mapping[str, ShiftSeries]) -> ShiftSeries:
    """Series of several inputs, name -> series, as one; runs of the same name get that of the input before theirs.

    Raises
    ------
    InputError
        If the inputs hold different numbers of ions.
    """
    if len(parts) == 1:
        return next(iter(parts.values()))
    counts = {name: part.shift.shape[1] for name, part in parts.items()}
    if len(set(counts.values())) > 1:
        raise InputError(f"input: expected as many ions in each, found {counts}; analyse them one by one")
    runs = [run for part in parts.values() for run in part.groups]
    clash = len(set(runs)) < len(runs)

    def named(name: str, part: ShiftSeries, run: str) -> str:
        return run if not clash else name if len(part.groups) == 1 else f"{name} {run}"

    every = list(parts.values())
    models = {None if part.members is None else len(part.members) for part in every}
    return ShiftSeries(
        shift=np.concatenate([part.shift for part in every]),
        positions=np.concatenate([part.positions for part in every]),
        cell=np.concatenate([np.broadcast_to(part.cell, (len(part.shift), 3, 3)) for part in every]),
        group=np.array([named(name, part, str(run)) for name, part in parts.items() for run in part.group], object),
        frameworks={named(n, part, run): f for n, part in parts.items() for run, f in part.frameworks.items()},
        members=None
        if len(models) > 1 or None in models
        else np.concatenate([part.members for part in every if part.members is not None], axis=1),
        spread=_all([part.spread for part in every]),
        time=_all([part.time for part in every]),
        temperatures={named(n, part, run): t for n, part in parts.items() for run, t in part.temperatures.items()},
        source={name: dict(part.source) for name, part in parts.items()},
        notes=tuple(dict.fromkeys(note for part in every for note in part.notes)),
    )


def _all(values: Sequence[Floats | None]) -> Floats | None:
    known = [value for value in values if value is not None]
    return np.concatenate(known) if len(known) == len(values) else None

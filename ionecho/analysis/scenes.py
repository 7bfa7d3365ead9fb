"""Atoms in space for the reports: an even choice of the frames of one run, coloured by what was found of each ion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ionecho.analysis.options import ReadOptions
from ionecho.analysis.series import ShiftSeries
from ionecho.data.trajectory import Frames, Trajectory
from ionecho.report import Scene
from ionecho.report.scene import evenly

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def scene_of_series(series: ShiftSeries, element: str, kinds: Integers, names: Sequence[str], label: str) -> Scene:
    """Shifts of the ions of one run among its framework as it first was; `kinds` (T, K) index `names`."""
    (run,), ([framework]) = series.groups, series.frameworks.values()
    ions = series.shift.shape[1]
    chosen = evenly(len(series.shift), ions + len(framework.numbers))
    still = np.broadcast_to(framework.positions, (len(chosen), *framework.positions.shape))
    numbers = np.concatenate([np.full(ions, atomic_numbers[element]), framework.numbers])
    return Scene(
        numbers=numbers,
        positions=np.concatenate([series.positions[chosen], still], axis=1),
        cell=series.cell[:1] if len(series.cell) == 1 else series.cell[chosen],
        values=_of_atoms(series.shift[chosen], np.arange(ions), len(numbers)),
        label=label,
        times=_times(None if series.time is None else series.time[chosen], chosen),
        caption=f"{run}: {element} by its shift; the framework as in the first frame.",
        kinds=_named(kinds[chosen], names, np.arange(ions), len(numbers)),
    )


def scene_of_trajectory(
    trajectory: Trajectory,
    read: ReadOptions,
    what: str,
    label: str = "",
    values: Floats | None = None,
    atoms: NDArray[np.integer] | None = None,
    kinds: Integers | None = None,
    names: Sequence[str] = (),
    last: bool = False,
) -> Scene:
    """The first run of those that are used; of a file whose length is not known, its first frame.

    Parameters
    ----------
    what
        The colours in words.
    label
        Of the values, with the unit.
    last
        Whether the last frame is shown first.
    values, kinds
        (T, K) of the frames used, in the order of the file, and of the `atoms` (K,).
    """
    count = len(trajectory.numbers)
    stored = _stored(trajectory, read)
    rows = evenly(len(stored) if values is None else min(len(stored), len(values)), count)
    frames = [next(trajectory.blocks(int(stored[row]), 1)).part(0, 1) for row in rows]
    time = _joined(frames, "time")
    of = np.arange(0) if atoms is None else atoms
    held = np.full((len(rows), 0), np.nan) if values is None else values[rows]
    run = "" if trajectory.group is None else f" {trajectory.group[stored[0]]}"
    return Scene(
        numbers=trajectory.numbers,
        positions=np.concatenate([each.positions for each in frames]).astype(float),
        cell=np.concatenate([each.cell for each in frames]).astype(float),
        values=_of_atoms(held, of, count),
        label=label,
        times=_times(time, stored[rows]),
        caption=f"{trajectory.path.name}{run}: {what}.",
        kinds=None if kinds is None else _named(kinds[rows], names, of, count),
        first=len(rows) - 1 if last else 0,
    )


def _stored(trajectory: Trajectory, read: ReadOptions) -> NDArray[np.intp]:
    """Places in the file of the frames used of the first run."""
    chosen = trajectory.selection(read.skip, read.every, read.groups)
    if chosen is None or trajectory.group is None:
        end = read.skip + 1 if trajectory.n_frames is None else trajectory.n_frames
        return np.arange(read.skip, end, read.every)
    places = np.flatnonzero(chosen)
    return places[trajectory.group[places] == trajectory.group[places[0]]]


def _joined(frames: Sequence[Frames], name: str) -> NDArray | None:
    parts = [getattr(each, name) for each in frames]
    return None if any(part is None for part in parts) else np.concatenate(parts)


def _of_atoms(values: Floats, atoms: NDArray[np.integer], count: int) -> Floats:
    """Values (F, K) of some atoms as (F, count), NaN of the others."""
    made = np.full((len(values), count), np.nan)
    made[:, atoms] = values
    return made


def _named(kinds: Integers, names: Sequence[str], atoms: NDArray[np.integer], count: int) -> NDArray:
    made = np.full((len(kinds), count), "", object)
    made[:, atoms] = np.array(names, object)[kinds]
    return made


def _times(time: NDArray | None, frames: NDArray[np.integer]) -> list[str]:
    if time is None:
        return [f"frame {frame}" for frame in frames.tolist()]
    return [f"{each * 1e-3:.6g} ps" for each in time.tolist()]

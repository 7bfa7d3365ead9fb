"""Reads the shifts of mobile ions from predictions along a trajectory or from a labelled dataset, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ionecho.analysis.lattice import Framework
from ionecho.analysis.options import ReadOptions
from ionecho.analysis.series import ShiftSeries
from ionecho.analysis.systems import SAME_TEMPERATURE
from ionecho.data.outputs import MEMBERS, SPREAD
from ionecho.data.store import Dataset
from ionecho.data.trajectory import Trajectory, early_end, is_dataset
from ionecho.errors import InputError
from ionecho.nmr.derived import made_by
from ionecho.nmr.hyperfine import ContactShift, rescale

Floats = NDArray[np.float64]
Columns = dict[str, NDArray]  # each with a leading axis over frames

BLOCK = 512  # frames read at once
[SHIFT] = made_by(ContactShift.key)
COUPLING = SHIFT.label


def read_series(
    path: Path,
    element: str,
    conversion: ContactShift | None,
    time_per_frame: float | None,
    read: ReadOptions | None = None,
) -> tuple[ShiftSeries, ContactShift]:
    """Shifts of the ions of one element, and the conversion they were made with.

    Parameters
    ----------
    path
        Predictions or a dataset (zarr, zarr.zip) with contact couplings. Frames that lack a coupling are left out, and
        those of a dataset that carry a quality flag; predictions along a dataset hold all of its frames.
    element
        Symbol of the mobile ions; all other atoms are the framework whose drift is removed.
    conversion
        From couplings to shifts; None takes the one stored with the input.
    time_per_frame
        fs between successive frame numbers of an input without a time axis, None if unknown.
    read
        Which frames are used; None: all.
    """
    trajectory, runs, frameworks, frames = _read_runs(path, element, read or ReadOptions())
    conversion, stored_ratio, notes = settle_conversion(conversion, trajectory.attrs, path)
    columns = {name: np.concatenate([run[name] for run in runs.values()]) for name in next(iter(runs.values()))}

    def shifts(name: str) -> Floats | None:
        if name not in columns:
            return None
        return conversion(rescale(columns[name], stored_ratio, conversion.gyromagnetic_ratio))

    members, spread = shifts(COUPLING + MEMBERS), shifts(COUPLING + SPREAD)  # members are stored as (T, M, K)
    time = columns.get("time")
    if time is None and time_per_frame is not None:
        time = columns["frame"] * time_per_frame
    cell, left_out = columns["cell"], frames - len(columns["cell"])
    series = ShiftSeries(
        shift=conversion(rescale(columns[COUPLING], stored_ratio, conversion.gyromagnetic_ratio)),
        positions=columns["positions"],
        cell=cell[:1] if (cell == cell[0]).all() else cell,
        group=np.repeat(np.array(list(runs), object), [len(run["cell"]) for run in runs.values()]),
        frameworks=frameworks,
        members=None if members is None else members.swapaxes(0, 1),
        spread=None if spread is None else np.abs(spread),
        time=time,
        temperatures={} if trajectory.temperature is None else dict.fromkeys(runs, trajectory.temperature),
        source={"input": path.name, "attributes": trajectory.attrs},
        notes=(
            *notes,
            *early_end(trajectory.stopped),
            *_two_temperatures(trajectory.temperature, conversion),
            *([f"{left_out} of {frames} frames left out: quality flag or missing coupling."] if left_out else []),
        ),
    )
    return series, conversion


def framework_drift(positions: Floats, cell: Floats, reference: Framework) -> Floats:
    """Displacement (T, 3) Å, but for lattice vectors, of the framework atoms at `positions` (T, N, 3) as a body.

    `cell` is (T or 1, 3, 3). Each atom is taken to the image nearest to the circular mean of all: they vibrate about
    the body, which may drift as far as it likes.
    """
    fractional = positions @ np.linalg.inv(cell) - reference.positions @ np.linalg.inv(reference.cell)
    body = np.angle(np.exp(2j * np.pi * fractional).mean(axis=1, keepdims=True)) / (2 * np.pi)
    vibration = fractional - body
    return ((body + vibration - np.rint(vibration)) @ cell).mean(axis=1)


def _read_runs(
    path: Path, element: str, read: ReadOptions
) -> tuple[Trajectory, dict[str, Columns], dict[str, Framework], int]:
    """The last trajectory opened; of every run, in time order, its columns and first framework; frames in all.

    Runs of a dataset may differ in their atoms, so that each is opened by itself.
    """
    single = [read]
    if is_dataset(path):
        groups = read.groups or list(dict.fromkeys(Dataset(path).group.astype(str)))
        single = [read.model_copy(update={"groups": [group]}) for group in groups]
    parts: dict[str, list[Columns]] = {}
    frameworks: dict[str, Framework] = {}
    frames = 0
    for options in single:
        trajectory = options.open(path)
        numbers = trajectory.numbers[trajectory.numbers != atomic_numbers[element]]
        for name, columns, count in _columns(trajectory, element, options):
            frames += count
            fixed, cell = columns.pop("fixed"), columns["cell"]
            if len(cell):
                first = frameworks.setdefault(name, Framework(fixed[0], numbers, cell[0]))
                drift = framework_drift(fixed, cell, first)
                parts.setdefault(name, []).append(columns | {"positions": columns["positions"] - drift[:, None]})
    if len({blocks[0][COUPLING].shape[1] for blocks in parts.values()}) != 1:
        raise InputError(f"{path}: expected one number of {element}, at least 1, in every good configuration")
    return trajectory, {name: _in_order(blocks) for name, blocks in parts.items()}, frameworks, frames


def _columns(trajectory: Trajectory, element: str, read: ReadOptions) -> Iterator[tuple[str, Columns, int]]:
    """Block by block and run by run: its name, the good frames of it, and how many there were with the bad."""
    trajectory.refuse_missing([COUPLING])
    if trajectory.centres is None:
        raise InputError(
            f"{trajectory.path}: no array centres; expected predictions of {COUPLING} made with predict.py"
        )
    mobile = trajectory.numbers == atomic_numbers[element]
    selected = np.flatnonzero(mobile[trajectory.centres])
    if not selected.size:
        count = len(trajectory.centres)
        told = f"element={element}: none of the {count} predicted centres is {element}"
        raise InputError(f"{trajectory.path}: {told}; correct it")
    predicted = [name for name in (COUPLING, COUPLING + MEMBERS, COUPLING + SPREAD) if name in trajectory.stored]
    flags = [name for name in ("quality",) if name in trajectory.stored]
    for block in read.frames(trajectory, BLOCK, [*predicted, *flags]):
        labels = np.array(["trajectory"] * len(block) if block.group is None else list(map(str, block.group)))
        good = np.isfinite(block.arrays[COUPLING][..., selected]).all(axis=1)
        for name in flags:
            good &= block.arrays[name] == 0
        for run in dict.fromkeys(labels.tolist()):
            frames = block.rows((labels == run) & good)
            positions = np.asarray(frames.positions, float)
            columns: Columns = {"cell": np.asarray(frames.cell, float), "frame": np.asarray(frames.frame)}
            columns |= {} if frames.time is None else {"time": np.asarray(frames.time, float)}
            columns |= {name: np.asarray(frames.arrays[name], float)[..., selected] for name in predicted}
            columns |= {"positions": positions[:, trajectory.centres[selected]], "fixed": positions[:, ~mobile]}
            yield run, columns, int((labels == run).sum())


def _in_order(blocks: list[Columns]) -> Columns:
    """The columns of one run, in the order of its frame numbers."""
    order = np.argsort(np.concatenate([block["frame"] for block in blocks]), kind="stable")
    return {name: np.concatenate([block[name] for block in blocks])[order] for name in blocks[0]}


def settle_conversion(
    requested: ContactShift | None, attributes: Mapping[str, Any], path: Path
) -> tuple[ContactShift, float, list[str]]:
    """The conversion to apply, the gyromagnetic ratio (MHz/T) of the stored couplings, and notes on differences.

    The stored conversion is the attribute ``contact_shift`` of the input, or of its ``conventions``.
    """
    key = ContactShift.key
    found = attributes.get(key) or (attributes.get("conventions") or {}).get(key)
    stored = ContactShift(**found) if found else None
    if requested is None and stored is None:
        raise InputError(f"{path}: no {key} parameters stored with the input; give {key}={{..}}")
    if requested is None or stored is None:
        conversion = requested or stored
        assert conversion is not None
        notes = [] if stored else ["The input stores no conversion: its couplings are taken for the ratio requested."]
        return conversion, conversion.gyromagnetic_ratio, notes
    old, new = stored.to_dict(), requested.to_dict()
    changed = [f"{name} {old[name]:g} -> {new[name]:g}" for name in old if not np.isclose(old[name], new[name])]
    notes = [f"Shifts recomputed from the couplings, stored -> requested: {', '.join(changed)}."] if changed else []
    return requested, stored.gyromagnetic_ratio, notes


def _two_temperatures(simulated: float | None, conversion: ContactShift) -> list[str]:
    if simulated is None or np.isclose(simulated, conversion.temperature, rtol=SAME_TEMPERATURE):
        return []
    return [
        f"The ions move at {simulated:g} K, their couplings are converted at {conversion.temperature:g} K "
        "(contact_shift.temperature): the magnetisation is not that of the simulation."
    ]

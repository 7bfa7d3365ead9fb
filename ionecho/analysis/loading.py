"""Reads the shifts of mobile ions from predictions along a trajectory or from a labelled dataset, block by block."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ionecho.analysis.lattice import Framework
from ionecho.analysis.series import ShiftSeries
from ionecho.data.store import Dataset
from ionecho.data.trajectory import early_end, simulated_temperature
from ionecho.errors import InputError
from ionecho.nmr.hyperfine import ContactShift, rescale

Floats = NDArray[np.float64]

BLOCK = 512  # frames read at once
COUPLING = "hyperfine_contact"
SAME_TEMPERATURE = 0.02  # relative; a run without a thermostat has about the temperature it began with


def read_series(
    path: Path, element: str, conversion: ContactShift | None, time_per_frame: float | None
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
    """
    if not path.exists():
        raise InputError(f"no input at {path}: expected predictions or a dataset in zarr format")
    if path.suffix == ".zip" or (path / "atom_offsets").exists():
        return _read_dataset(Dataset(path), element, conversion, time_per_frame)
    return _read_predictions(path, element, conversion, time_per_frame)


def framework_drift(positions: Floats, cell: Floats, reference: Framework) -> Floats:
    """Displacement (T, 3) Å, but for lattice vectors, of the framework atoms at `positions` (T, N, 3) as a body.

    `cell` is (T or 1, 3, 3). Each atom is taken to the image nearest to the circular mean of all: they vibrate about
    the body, which may drift as far as it likes.
    """
    fractional = positions @ np.linalg.inv(cell) - reference.positions @ np.linalg.inv(reference.cell)
    body = np.angle(np.exp(2j * np.pi * fractional).mean(axis=1, keepdims=True)) / (2 * np.pi)
    vibration = fractional - body
    return ((body + vibration - np.rint(vibration)) @ cell).mean(axis=1)


def _read_predictions(
    path: Path, element: str, conversion: ContactShift | None, time_per_frame: float | None
) -> tuple[ShiftSeries, ContactShift]:
    try:
        group = zarr.open_group(str(path), mode="r")
    except FileNotFoundError as error:
        raise InputError(f"{path} is not a zarr group: expected predictions made with predict.py") from error
    arrays: dict[str, Any] = dict(group.arrays())
    if absent := {"positions", "cell", "numbers", "centres", COUPLING} - set(arrays):
        raise InputError(f"{path}: no array {', '.join(sorted(absent))}; expected predictions of {COUPLING}")
    numbers, centres = arrays["numbers"][:], arrays["centres"][:]
    selected = np.flatnonzero(numbers[centres] == atomic_numbers[element])
    if not selected.size:
        raise InputError(f"{path}: none of the {len(centres)} predicted centres is {element}; correct element")
    coupling = np.asarray(arrays[COUPLING][:], float)[:, selected]
    frames = np.arange(len(coupling))
    good = np.isfinite(coupling).all(axis=1)
    names = arrays["group"][:].astype(object) if "group" in arrays else np.full(frames.size, "trajectory", object)
    cell = np.asarray(arrays["cell"][:], float)
    number = arrays["frame"][:] if "frame" in arrays else frames
    kept = _in_order(names, number, np.flatnonzero(good))
    time = arrays["time"][:] if "time" in arrays else None
    if time is None and time_per_frame is not None:
        time = number * time_per_frame
    positions, frameworks = _centre_positions(
        arrays["positions"], cell, names, numbers != atomic_numbers[element], numbers, centres[selected]
    )
    conversion, stored_ratio, notes = settle_conversion(conversion, group.attrs.asdict(), path)

    def shifts(name: str) -> Floats | None:
        if name not in arrays:
            return None
        values = np.asarray(arrays[name][:], float)[kept][..., selected]
        return conversion(rescale(values, stored_ratio, conversion.gyromagnetic_ratio))

    members, spread = shifts(f"{COUPLING}_members"), shifts(f"{COUPLING}_std")  # members are stored as (T, M, K)
    series = ShiftSeries(
        shift=conversion(rescale(coupling[kept], stored_ratio, conversion.gyromagnetic_ratio)),
        positions=positions[kept],
        cell=cell if len(cell) == 1 else cell[kept],
        group=names[kept],
        frameworks=frameworks,
        members=None if members is None else members.swapaxes(0, 1),
        spread=None if spread is None else np.abs(spread),
        time=None if time is None else np.asarray(time, float)[kept],
        source={"input": path.name, "attributes": group.attrs.asdict()},
        notes=(
            *notes,
            *early_end(group.attrs.asdict().get("stopped")),
            *_two_temperatures(simulated_temperature(group), conversion),
            *_left_out(good),
        ),
    )
    return series, conversion


def _in_order(names: NDArray, number: NDArray, rows: NDArray[np.integer]) -> NDArray[np.integer]:
    """The rows, trajectory by trajectory as they come first, in the order of their frame numbers."""
    _, first, which = np.unique(names, return_index=True, return_inverse=True)
    return rows[np.lexsort((number[rows], first[which[rows]]))]


def _centre_positions(
    positions: Any, cell: Floats, names: NDArray, fixed: NDArray, numbers: NDArray, centres: NDArray
) -> tuple[Floats, dict[str, Framework]]:
    """Positions of the centres without the drift of the framework, and the framework each trajectory starts from."""
    result = np.empty((len(names), len(centres), 3))
    frameworks: dict[str, Framework] = {}
    for start in range(0, len(names), BLOCK):
        block = np.asarray(positions[start : start + BLOCK], float)
        cells = np.broadcast_to(cell if len(cell) == 1 else cell[start : start + BLOCK], (len(block), 3, 3))
        labels = names[start : start + BLOCK]
        for name in dict.fromkeys(labels):
            rows = np.flatnonzero(labels == name)
            first = Framework(block[rows[0], fixed], numbers[fixed], cells[rows[0]])
            drift = framework_drift(block[rows][:, fixed], cells[rows], frameworks.setdefault(str(name), first))
            result[start + rows] = block[rows][:, centres] - drift[:, None]
    return result, frameworks


def _read_dataset(
    dataset: Dataset, element: str, conversion: ContactShift | None, time_per_frame: float | None
) -> tuple[ShiftSeries, ContactShift]:
    if COUPLING not in dataset.names:
        raise InputError(f"{dataset.path}: no array {COUPLING}; it holds {', '.join(dataset.names)}")
    conversion, stored_ratio, notes = settle_conversion(conversion, dataset.attrs, dataset.path)
    group, frame, quality = (np.asarray(array) for array in (dataset.group, dataset.frame, dataset.quality))
    rows: dict[int, tuple[Floats, Floats, Floats]] = {}
    frameworks: dict[str, Framework] = {}
    for start, _, block in dataset.blocks(["numbers", "positions", "cell", COUPLING]):
        offsets = dataset.offsets[start : start + len(block["cell"]) + 1] - dataset.offsets[start]
        for index, (first, last) in enumerate(pairwise(offsets)):
            row, cell = start + index, block["cell"][index]
            numbers, positions, coupling = (block[name][first:last] for name in ("numbers", "positions", COUPLING))
            centre = numbers == atomic_numbers[element]
            if quality[row] or not np.isfinite(coupling[centre]).all():
                continue
            framework = Framework(positions[~centre], numbers[~centre], cell)
            reference = frameworks.setdefault(str(group[row]), framework)
            drift = framework_drift(framework.positions[None], cell[None], reference)
            rows[row] = coupling[centre], positions[centre] - drift, cell
    counts = {len(couplings) for couplings, *_ in rows.values()}
    if len(counts) != 1 or 0 in counts:
        raise InputError(f"{dataset.path}: expected one number of {element}, at least 1, in every good configuration")
    kept = _in_order(group, frame, np.array(list(rows)))
    couplings, centres, cells = (np.array(column) for column in zip(*(rows[row] for row in kept), strict=True))
    series = ShiftSeries(
        shift=conversion(rescale(couplings, stored_ratio, conversion.gyromagnetic_ratio)),
        positions=centres,
        cell=cells,
        group=group[kept],
        frameworks=frameworks,
        time=None if time_per_frame is None else frame[kept] * time_per_frame,
        source={"input": dataset.path.name, "attributes": dataset.attrs},
        notes=(*notes, *_left_out(np.isin(np.arange(len(dataset)), kept))),
    )
    return series, conversion


def settle_conversion(
    requested: ContactShift | None, attributes: Mapping[str, Any], path: Path
) -> tuple[ContactShift, float, list[str]]:
    """The conversion to apply, the gyromagnetic ratio (MHz/T) of the stored couplings, and notes on differences.

    The stored conversion is the attribute ``contact_shift`` of the input, or of its ``conventions``.
    """
    found = attributes.get("contact_shift") or (attributes.get("conventions") or {}).get("contact_shift")
    stored = ContactShift(**found) if found else None
    if requested is None and stored is None:
        raise InputError(f"{path}: no contact_shift parameters stored with the input; give contact_shift in the config")
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


def _left_out(good: NDArray) -> list[str]:
    bad = int((~good).sum())
    return [f"{bad} of {good.size} frames left out: quality flag or missing coupling."] if bad else []

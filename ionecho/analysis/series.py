"""Shifts of mobile ions along trajectories, as the analyses take them, and where they are read from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ionecho.analysis.lattice import Framework
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.nmr.hyperfine import ContactShift, rescale

Floats = NDArray[np.float64]

BLOCK = 512  # frames read at once
COUPLING, SHIFT = "hyperfine_contact", "hyperfine_contact_shift"


@dataclass(frozen=True)
class ShiftSeries:
    """Shifts (ppm) of K centres over T frames of one or more trajectories, each contiguous and in time order.

    `positions` (T, K, 3) Å of the centres, framework drift removed, wrapped or not; `cell` (T or 1, 3, 3) Å;
    `group` (T,) trajectory of each frame; `frameworks` the immobile atoms of the first frame of each trajectory;
    `members` (M, T, K) ppm of the single models of an ensemble; `time` (T,) fs; `source` what is known about the
    input; `notes` what a reader of the result has to know.
    """

    shift: Floats
    positions: Floats
    cell: Floats
    group: NDArray
    frameworks: dict[str, Framework]
    members: Floats | None = None
    time: Floats | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frames, centres = self.shift.shape
        expected = {"positions": (frames, centres, 3), "group": (frames,)}
        if self.time is not None:
            expected["time"] = (frames,)
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise InputError(f"series: {name} should have shape {shape}, found {getattr(self, name).shape}")
        if self.cell.shape not in [(frames, 3, 3), (1, 3, 3)]:
            raise InputError(f"series: cell should have shape {(frames, 3, 3)} or (1, 3, 3), found {self.cell.shape}")
        if self.members is not None and self.members.shape[1:] != self.shift.shape:
            raise InputError(f"series: members should be (M, {frames}, {centres}), found {self.members.shape}")
        if frames == 0 or not np.isfinite(self.shift).all():
            missing = np.flatnonzero(~np.isfinite(self.shift).all(axis=1))
            where = f"first in frame {missing[0]}, {missing.size} frames in all" if missing.size else "there is no frame"
            raise InputError(f"series: every centre needs a finite shift; {where}")
        if np.sum(self.group[1:] != self.group[:-1]) + 1 != len(self.groups):
            raise InputError("series: the frames of one trajectory must be contiguous; sort the frames by trajectory")
        if absent := set(self.groups) - set(self.frameworks):
            raise InputError(f"series: no reference framework for {', '.join(sorted(absent))}")

    @property
    def groups(self) -> list[str]:
        """Names of the trajectories in the order of their frames."""
        return list(dict.fromkeys(str(name) for name in self.group))

    def of(self, group: str) -> ShiftSeries:
        """The frames of one trajectory."""
        kept = self.group == group
        return replace(
            self,
            shift=self.shift[kept],
            positions=self.positions[kept],
            cell=self.cell if len(self.cell) == 1 else self.cell[kept],
            group=self.group[kept],
            frameworks={group: self.frameworks[group]},
            members=None if self.members is None else self.members[:, kept],
            time=None if self.time is None else self.time[kept],
        )

    def sha256(self) -> str:
        """Hash of the shifts and positions analysed."""
        digest = hashlib.sha256(np.ascontiguousarray(self.shift, "<f8").tobytes())
        digest.update(np.ascontiguousarray(self.positions, "<f8").tobytes())
        return digest.hexdigest()


def read_series(
    path: Path, conversion: ContactShift | None, element: str, time_per_frame: float | None
) -> tuple[ShiftSeries, ContactShift]:
    """Shifts of the ions of `element` from predictions along a trajectory or from a labelled dataset.

    Parameters
    ----------
    path
        Predictions (zarr, Format 2) or a dataset (zarr or zarr.zip, Format 1); frames with a quality flag or without
        a coupling are left out.
    conversion
        From couplings to shifts; None takes the one stored with the input.
    element
        Symbol of the mobile ions.
    time_per_frame
        fs between successive frame numbers, used where the input has no time axis.

    Returns
    -------
    The series, and the conversion applied.
    """
    if not path.exists():
        raise InputError(f"no input at {path}: expected predictions or a dataset in zarr format")
    if path.suffix == ".zip" or (path / "atom_offsets").exists():
        return _from_dataset(Dataset(path), conversion, element, time_per_frame)
    try:
        group = zarr.open_group(str(path), mode="r")
    except FileNotFoundError as error:
        raise InputError(f"{path} is not a zarr group: expected predictions made with predict.py") from error
    return _from_predictions(path, group, conversion, element, time_per_frame)


def _from_predictions(
    path: Path, group: zarr.Group, conversion: ContactShift | None, element: str, time_per_frame: float | None
) -> tuple[ShiftSeries, ContactShift]:
    arrays: dict[str, Any] = dict(group.arrays())
    if absent := {"positions", "cell", "numbers", "centres", COUPLING} - set(arrays):
        raise InputError(f"{path}: no array {', '.join(sorted(absent))}; expected predictions of {COUPLING}")
    numbers, centres = arrays["numbers"][:], arrays["centres"][:]
    selected = np.flatnonzero(numbers[centres] == atomic_numbers[element])
    if not selected.size:
        raise InputError(f"{path}: none of the {len(centres)} predicted centres is {element}; correct element")
    coupling = np.asarray(arrays[COUPLING][:], float)[:, selected]
    frames = len(coupling)
    good = np.isfinite(coupling).all(axis=1)
    if "quality" in arrays:
        good &= arrays["quality"][:] == 0
    names = arrays["group"][:].astype(object) if "group" in arrays else np.full(frames, "trajectory", object)
    cell = np.asarray(arrays["cell"][:], float)
    if len(cell) not in (1, frames):
        raise InputError(f"{path}: cell should hold 1 or {frames} frames, found {len(cell)}")
    fixed = np.flatnonzero(numbers != atomic_numbers[element])
    positions, frameworks = np.empty((frames, selected.size, 3)), {}
    for start in range(0, frames, BLOCK):
        stop = min(start + BLOCK, frames)
        block = np.asarray(arrays["positions"][start:stop], float)
        for name in dict.fromkeys(names[start:stop]):
            rows = np.flatnonzero(names[start:stop] == name)
            cells = cell if len(cell) == 1 else cell[start:stop][rows]
            frameworks.setdefault(str(name), Framework(block[rows[0], fixed], numbers[fixed], cells[0]))
            drift = framework_drift(block[rows][:, fixed], cells, frameworks[str(name)])
            positions[start + rows] = block[rows][:, centres[selected]] - drift[:, None]
    conversion, factor, notes = _conversion(conversion, group.attrs.asdict())
    convert = _Converter(conversion, factor)
    members = arrays.get(f"{COUPLING}_members")
    series = ShiftSeries(
        shift=convert(coupling[good]),
        positions=positions[good],
        cell=cell if len(cell) == 1 else cell[good],
        group=names[good],
        frameworks=frameworks,
        members=None if members is None else convert(np.asarray(members[:], float)[:, good][..., selected]),
        time=_time(arrays, good, time_per_frame),
        source={"input": path.name, "attributes": group.attrs.asdict()},
        notes=(*notes, *_left_out(good), *_compare_stored(arrays, convert(coupling), selected, good)),
    )
    return series, conversion


def _from_dataset(
    dataset: Dataset, conversion: ContactShift | None, element: str, time_per_frame: float | None
) -> tuple[ShiftSeries, ContactShift]:
    if COUPLING not in dataset.names:
        raise InputError(f"{dataset.path}: no array {COUPLING}; it holds {', '.join(dataset.names)}")
    conversion, factor, notes = _conversion(conversion, dataset.attrs)
    names = [str(name) for name in dataset.group]
    rows: list[tuple[int, Floats, Floats, Floats]] = []
    frameworks: dict[str, Framework] = {}
    for start, _, block in dataset.blocks(["numbers", "positions", "cell", COUPLING]):
        offsets = dataset.offsets[start : start + len(block["cell"]) + 1] - dataset.offsets[start]
        for local, (first, last) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
            atoms, cell, row = slice(first, last), block["cell"][local], start + local
            centre = block["numbers"][atoms] == atomic_numbers[element]
            positions, coupling = block["positions"][atoms], block[COUPLING][atoms][centre]
            if dataset.quality[row] or not np.isfinite(coupling).all():
                continue
            fixed = Framework(positions[~centre], block["numbers"][atoms][~centre], cell)
            drift = framework_drift(fixed.positions[None], cell[None], frameworks.setdefault(names[row], fixed))
            rows.append((row, coupling, positions[centre] - drift, cell))
    if len({len(coupling) for _, coupling, *_ in rows}) != 1:
        raise InputError(f"{dataset.path}: expected the same number of {element}, one or more, in every configuration")
    rows.sort(key=lambda entry: (names.index(names[entry[0]]), dataset.frame[entry[0]]))
    kept, couplings, positions, cells = (np.array(column) for column in zip(*rows, strict=True))
    good = np.isin(np.arange(len(dataset)), kept)
    series = ShiftSeries(
        shift=conversion(couplings * factor),
        positions=positions,
        cell=cells,
        group=dataset.group[kept],
        frameworks=frameworks,
        time=None if time_per_frame is None else dataset.frame[kept] * time_per_frame,
        source={"input": dataset.path.name, "attributes": dataset.attrs},
        notes=(*notes, *_left_out(good)),
    )
    return series, conversion

"""`ionecho data verify`: does a dataset keep the schema, its units, the NaN rules, and its hash?"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ionecho.data.card import DatasetCard
from ionecho.data.files import damage_told
from ionecho.data.schema import ARRAYS, LABELS
from ionecho.data.splits import leakage_report
from ionecho.data.store import LAYOUT, Dataset, content_sha256
from ionecho.errors import InputError

SEMANTIC_VERSION = re.compile(r"^\d+\.\d+\.\d+$")
REQUIRED_ATTRIBUTES = (
    "name",
    "version",
    "units",
    "level_of_theory",
    "conventions",
    "licence",
    "citation",
    "content_sha256",
    "splits",
)
TRACE_TOLERANCE = 1e-2  # of the largest component
ROUNDING = {"efg": 5e-3, "hyperfine_dipolar": 0.07}  # V/Å²; MHz: VASP's decimals, of 1 MHz/T, times the ratio of 1H


def against_card(path: Path, card: DatasetCard) -> list[str]:
    """Whether the content of the dataset at `path` is that of its card, as a problem or none."""
    told, found = card.ionecho.content_sha256, Dataset(path).attrs.get("content_sha256")
    return [f"content hash {found}, the card says {told}"] if told not in (None, found) else []


def verify(path: Path) -> list[str]:
    """Everything that is wrong with the dataset at `path`, one line each; an empty list means it is sound."""
    try:
        with damage_told(path):
            return _problems(Dataset(path))
    except InputError as error:
        return [str(error).removeprefix(f"{path}: ")]


def _problems(dataset: Dataset) -> list[str]:
    problems = _attributes(dataset) + _shapes(dataset)
    if problems:
        return problems
    if problems := _values(dataset) + _grids(dataset):
        return problems
    if content_sha256(dataset.zarr) != dataset.attrs["content_sha256"]:
        problems.append("content does not match content_sha256: the data changed after the dataset was made")
    for name in dataset.attrs["splits"]:
        report = leakage_report(dataset, name)
        if report["configurations_in_two_folds"]:
            problems.append(f"split {name}: {report['configurations_in_two_folds']} configurations in two folds")
    return problems


def _attributes(dataset: Dataset) -> list[str]:
    problems = [f"attribute {name} is missing" for name in REQUIRED_ATTRIBUTES if name not in dataset.attrs]
    version = str(dataset.attrs.get("version", ""))
    if not SEMANTIC_VERSION.match(version):
        problems.append(f"version {version!r} is not of the form 1.2.3")
    for name, unit in dataset.attrs.get("units", {}).items():
        if name in ARRAYS and unit != ARRAYS[name].unit:
            problems.append(f"{name}: unit {unit!r}, expected {ARRAYS[name].unit!r}")
    return problems


def _shapes(dataset: Dataset) -> list[str]:
    problems = [f"array {name} is missing" for name in ARRAYS if name not in LABELS and name not in dataset.names]
    offsets = dataset.offsets
    if offsets[0] != 0 or (np.diff(offsets) <= 0).any():
        problems.append("atom_offsets must begin at 0 and grow")
    for name in dataset.names:
        spec = ARRAYS[name]
        rows = {"configuration": len(dataset), "atom": int(offsets[-1]), "grid": int(dataset.grid_offsets[-1])}[
            spec.per
        ]
        if dataset.zarr[name].shape != (rows, *spec.shape):
            problems.append(f"{name}: shape {dataset.zarr[name].shape}, expected {(rows, *spec.shape)}")
        elif spec.dtype != "str" and dataset.zarr[name].dtype != spec.dtype:
            problems.append(f"{name}: type {dataset.zarr[name].dtype}, expected {spec.dtype}")
    if dataset.grid_offsets[0] != 0 or (np.diff(dataset.grid_offsets) != dataset.grid_shape.prod(1)).any():
        problems.append("grid_offsets must begin at 0 and grow by the product of each grid_shape")
    unknown = set(dataset.zarr.array_keys()) - set(ARRAYS) - set(LAYOUT)
    problems += [f"array {name} is not in the schema" for name in sorted(unknown)]
    identities = set(zip(dataset.group, dataset.frame.tolist(), strict=True))
    if len(identities) != len(dataset):
        problems.append(f"{len(dataset) - len(identities)} configurations share group and frame with another")
    return problems


def _values(dataset: Dataset) -> list[str]:
    problems: list[str] = []
    names = [name for name in dataset.names if ARRAYS[name].per != "grid"]
    all_zero = set(dataset.labels) & set(names)
    for start, _, arrays in dataset.blocks(names):
        first = int(dataset.offsets[start])
        for name, values in arrays.items():
            at = first if ARRAYS[name].per == "atom" else start
            where = "atom" if ARRAYS[name].per == "atom" else "configuration"
            if values.dtype.kind != "f":
                continue
            if np.nan_to_num(values).any():
                all_zero.discard(name)
            flat = values.reshape(len(values), -1)
            missing = np.isnan(flat)
            if np.isinf(flat).any():
                problems.append(f"{name}: infinite at {where} {at + int(np.argmax(np.isinf(flat).any(1)))}")
            if not ARRAYS[name].is_label and missing.any():
                problems.append(f"{name}: NaN at {where} {at + int(np.argmax(missing.any(1)))}")
            if (partly := missing.any(1) & ~missing.all(1)).any():
                problems.append(f"{name}: partly NaN at {where} {at + int(np.argmax(partly))}; missing is all NaN")
            if name in ROUNDING and (bad := _not_traceless_symmetric(values, ROUNDING[name])).any():
                problems.append(f"{name}: not traceless and symmetric at {where} {at + int(np.argmax(bad))}")
        problems += _numbers_and_cells(start, arrays)
    problems += [
        f"{name}: zero or missing everywhere; a missing label is NaN, never zero, and one that nothing has is left out "
        "(--without)"
        for name in sorted(all_zero)
    ]
    return problems


def _grids(dataset: Dataset) -> list[str]:
    """Grids, one at a time: finite (or missing whole), and an electron density that holds electrons."""
    problems = []
    for name in dataset.names:
        if ARRAYS[name].per != "grid":
            continue
        for index in np.flatnonzero(np.diff(dataset.grid_offsets)).tolist():
            values = dataset.rows(name, index, index + 1)
            if np.isnan(values).all():
                continue
            if not np.isfinite(values).all():
                problems.append(f"{name}: not finite at configuration {index}")
            elif name == "charge_density" and values.sum(dtype=float) <= 0:
                problems.append(f"{name}: integral over the cell is not positive at configuration {index}")
    return problems


def _not_traceless_symmetric(tensors: np.ndarray, rounding: float) -> np.ndarray:
    scale = rounding + TRACE_TOLERANCE * np.abs(tensors).max((1, 2))
    trace = np.abs(np.trace(tensors, axis1=1, axis2=2))
    skew = np.abs(tensors - tensors.swapaxes(1, 2)).max((1, 2))
    return (trace > scale) | (skew > scale)


def _numbers_and_cells(start: int, arrays: dict[str, np.ndarray]) -> list[str]:
    problems = []
    if ((arrays["numbers"] < 1) | (arrays["numbers"] > 118)).any():
        problems.append(f"numbers outside 1..118 after configuration {start}")
    flat_cells = arrays["pbc"].all(1) & (np.abs(np.linalg.det(arrays["cell"])) < 1e-3)
    if flat_cells.any():
        problems.append(f"cell without volume at configuration {start + int(np.argmax(flat_cells))}")
    return problems

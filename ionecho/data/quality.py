"""The quality gate: flags configurations by rule. Flagged ones stay in the set and out of the default splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ionecho.data.schema import ARRAYS, Quality
from ionecho.data.store import Dataset

MAD_TO_SIGMA = 1.4826  # of a normal distribution
MOST_NAMED = 10
FEWEST = 5  # of three values two agree by chance, and the third is an outlier


class QualityGate(BaseModel):
    """The rules, as a dataset's card states them."""

    model_config = ConfigDict(extra="forbid")

    energy_outlier_sigmas: float = Field(default=6.0, gt=0)
    """Robust standard deviations (median absolute deviation) within a group and composition of five or more."""
    max_moment: dict[str, float] = Field(default_factory=dict)
    """Largest moment in μB on ions that should carry none, by element."""
    required_labels: list[str] = Field(default_factory=list)
    """Labels that every configuration must have on at least one atom."""


def flag(dataset: Dataset, gate: QualityGate) -> NDArray[np.int64]:
    """Quality flags (C,): those set on import joined with those the gate finds."""
    flags = dataset.quality.astype(np.int64)
    flags[_energy_outliers(dataset, gate.energy_outlier_sigmas)] |= Quality.ENERGY_OUTLIER
    names = [name for name in {*gate.required_labels, *dataset.labels} if name in dataset.names]
    absent = [name for name in gate.required_labels if name not in dataset.names]
    if absent:
        flags |= Quality.MISSING_LABEL
    read = ["numbers", *(name for name in names if ARRAYS[name].per != "grid")]
    for start, stop, arrays in dataset.blocks(read):
        first = dataset.offsets[start:stop] - dataset.offsets[start]
        for name in set(gate.required_labels) & set(names):
            if ARRAYS[name].per == "grid":
                flags[start:stop][dataset.grid_shape[start:stop].prod(1) == 0] |= Quality.MISSING_LABEL
                continue
            missing = np.isnan(arrays[name].reshape(len(arrays[name]), -1)).any(1)
            if ARRAYS[name].per == "atom":
                missing = np.logical_and.reduceat(missing, first)
            flags[start:stop][missing] |= Quality.MISSING_LABEL
        flags[start:stop][_absurd(arrays, first)] |= Quality.ABSURD_VALUE
        if "magnetic_moment" in arrays:
            limit = np.full(len(chemical_symbols), np.inf)
            for element, moment in gate.max_moment.items():
                limit[chemical_symbols.index(element)] = moment
            excess = np.abs(arrays["magnetic_moment"]) > limit[arrays["numbers"]]
            flags[start:stop][np.logical_or.reduceat(excess, first)] |= Quality.UNEXPECTED_MOMENT
    return flags


def _absurd(arrays: Mapping[str, NDArray], first: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which configurations, whose atoms begin at `first`, hold a value beyond what its label can be."""
    found = np.zeros(len(first), bool)
    for name, values in arrays.items():
        if not ARRAYS[name].is_label:
            continue
        size = np.abs(np.nan_to_num(values, nan=0.0)).reshape(len(values), -1).max(1)
        if name == "energy":
            size = size / np.diff(np.append(first, len(arrays["numbers"])))
        beyond = size > ARRAYS[name].limit
        found |= np.logical_or.reduceat(beyond, first) if ARRAYS[name].per == "atom" else beyond
    return found


def told_labels(dataset: Dataset) -> list[str]:
    """A line for each label: its unit, and how many configurations have it, with the names of those that lack it."""
    lines = []
    for name in dataset.labels:
        has = np.zeros(len(dataset), bool)
        if ARRAYS[name].per == "grid":
            has = dataset.grid_shape.prod(1) > 0
        else:
            for start, stop, arrays in dataset.blocks([name]):
                there = np.isfinite(arrays[name].reshape(len(arrays[name]), -1)).all(1)
                offsets = dataset.offsets[start:stop] - dataset.offsets[start]
                has[start:stop] = np.logical_or.reduceat(there, offsets) if ARRAYS[name].per == "atom" else there
        without = f"; missing in {_named(dataset, ~has)}" if not has.all() else ""
        lines.append(f"{name} ({ARRAYS[name].unit}): {int(has.sum())} of {len(dataset)} configurations{without}")
    return lines


def told_flags(dataset: Dataset) -> list[str]:
    """A line for each reason for which configurations are flagged, with their names."""
    flags = [flag for flag in Quality if (dataset.quality & flag).any()]
    return [f"flagged, {_word(flag)}: {_named(dataset, (dataset.quality & flag) != 0)}" for flag in flags]


def _word(flag: Quality) -> str:
    return str(flag.name).lower().replace("_", " ")


def _named(dataset: Dataset, chosen: NDArray[np.bool_]) -> str:
    names = dataset.rows("source", 0, len(dataset))[chosen]
    return ", ".join(map(str, names[:MOST_NAMED])) + (
        f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    )


def _energy_outliers(dataset: Dataset, sigmas: float) -> NDArray[np.bool_]:
    if "energy" not in dataset.names:
        return np.zeros(len(dataset), bool)
    energy = dataset.rows("energy", 0, len(dataset))
    numbers = dataset.rows("numbers", 0, len(dataset))
    compositions = [np.sort(atoms).tobytes() for atoms in np.split(numbers, dataset.offsets[1:-1])]
    families: dict[tuple[str, bytes], list[int]] = defaultdict(list)
    for index, key in enumerate(zip(dataset.group, compositions, strict=True)):
        families[key].append(index)
    outlier = np.zeros(len(dataset), bool)
    for members in families.values():
        if len(members) < FEWEST:
            continue
        deviation = np.abs(energy[members] - np.nanmedian(energy[members]))
        sigma = MAD_TO_SIGMA * np.nanmedian(deviation)
        outlier[members] = deviation > sigmas * sigma if sigma > 0 else False
    return outlier


def describe(flags: NDArray[np.integer]) -> str:
    """One line for a user: how many configurations are flagged, and why."""
    counts = Counter(flag for value in flags for flag in Quality(int(value)))
    reasons = ", ".join(f"{count} {_word(flag)}" for flag, count in counts.items() if flag.name)
    flagged = int(np.count_nonzero(flags))
    return f"{flagged} of {len(flags)} configurations flagged" + (f" ({reasons})" if reasons else "")

"""The quality gate: flags configurations by rule. Flagged ones stay in the set and out of the default splits."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ionecho.data.schema import ARRAYS, Quality
from ionecho.data.store import Dataset

MAD_TO_SIGMA = 1.4826  # of a normal distribution
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
    names = [name for name in {*gate.required_labels, "magnetic_moment"} if name in dataset.names]
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
        if "magnetic_moment" in arrays:
            limit = np.full(len(chemical_symbols), np.inf)
            for element, moment in gate.max_moment.items():
                limit[chemical_symbols.index(element)] = moment
            excess = np.abs(arrays["magnetic_moment"]) > limit[arrays["numbers"]]
            flags[start:stop][np.logical_or.reduceat(excess, first)] |= Quality.UNEXPECTED_MOMENT
    return flags


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
    reasons = ", ".join(f"{count} {flag.name.lower().replace('_', ' ')}" for flag, count in counts.items() if flag.name)
    flagged = int(np.count_nonzero(flags))
    return f"{flagged} of {len(flags)} configurations flagged" + (f" ({reasons})" if reasons else "")

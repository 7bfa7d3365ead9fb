"""Whether labels that were made again are the published ones."""

from __future__ import annotations

import numpy as np

from ionecho.data.schema import ARRAYS
from ionecho.data.store import Dataset

TOLERANCE = 1e-6  # of the root mean square of a label
BLOCK = 64  # configurations compared at once
GRID_TOLERANCE = 1e-3  # of the densities', which are stored with few bits


def deviations(made: Dataset, published: Dataset) -> dict[str, float]:
    """Label -> largest difference, in root mean squares of the published label; empty if the configurations differ.

    Both hold their configurations in the same order, and nothing where a label is missing.
    """
    if len(made) != len(published) or made.labels != published.labels:
        return {}
    for name in ("numbers", "positions", "cell"):
        if not np.array_equal(made.rows(name, 0, len(made)), published.rows(name, 0, len(published))):
            return {}
    return {name: _deviation(name, made, published) for name in published.labels}


def agrees(apart: dict[str, float]) -> bool:
    """Whether every label is the same within its tolerance."""
    return all(value <= (GRID_TOLERANCE if ARRAYS[name].per == "grid" else TOLERANCE) for name, value in apart.items())


def _deviation(name: str, made: Dataset, published: Dataset) -> float:
    largest, total, count = 0.0, 0.0, 0
    for (_, _, new), (_, _, old) in zip(made.blocks([name], BLOCK), published.blocks([name], BLOCK), strict=True):
        found, known = np.asarray(new[name], float), np.asarray(old[name], float)
        if found.shape != known.shape or not np.array_equal(np.isfinite(found), np.isfinite(known)):
            return np.inf
        largest = max(largest, float(np.nanmax(np.abs(found - known), initial=0.0)))
        total, count = total + float(np.nansum(known**2)), count + int(np.isfinite(known).sum())
    return largest / np.sqrt(total / count) if total else largest

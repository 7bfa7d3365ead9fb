"""Histograms of shifts: total, per kind of site and outside of all sites, on common edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Histogram:
    """Counts on common `edges` (B + 1,) ppm: `total` (B,), and `parts`, name -> (B,), which add up to it exactly."""

    edges: Floats
    total: Integers
    parts: dict[str, Integers]
    mean: float


def common_edges(values: ArrayLike, width: float) -> Floats:
    """Edges at multiples of `width` (ppm) that enclose all values."""
    samples = np.asarray(values, float)
    low, high = np.floor(samples.min() / width), np.floor(samples.max() / width) + 1
    return width * np.arange(int(low), int(high) + 1, dtype=np.float64)


def site_histogram(shift: Floats, kinds: Integers, names: list[str], edges: Floats, outside: str) -> Histogram:
    """Histogram of `shift` (T, K) split by the kind of site `kinds` (T, K), -1 counting as `outside`."""
    parts = {name: np.histogram(shift[kinds == index], edges)[0] for index, name in enumerate(names)}
    parts[outside] = np.histogram(shift[kinds < 0], edges)[0]
    return Histogram(edges, np.histogram(shift, edges)[0], parts, float(shift.mean()))

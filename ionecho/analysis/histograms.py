"""Histograms of shifts: total, per kind of site and outside of all sites, on common edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


def draw_histogram(axes: Axes, histogram: Histogram, lines: Sequence[float], colours: dict[str, str]) -> None:
    """Total as an outline, parts as filled curves, `lines` (ppm) dashed; high shifts on the left."""
    samples, width = histogram.total.sum(), histogram.edges[1] - histogram.edges[0]
    for name, counts in histogram.parts.items():
        if counts.any():
            density = counts / samples / width * 1e3
            axes.stairs(density, histogram.edges, fill=True, alpha=0.45, color=colours[name], label=name)
            axes.stairs(density, histogram.edges, color=colours[name], lw=0.8)
    axes.stairs(histogram.total / samples / width * 1e3, histogram.edges, color="black", lw=1.2, label="all")
    for line in lines:
        axes.axvline(line, color="black", lw=1.2, ls="--")
    axes.set_xlim(histogram.edges[-1], histogram.edges[0])
    axes.set_ylim(0, 1.3 * histogram.total.max() / samples / width * 1e3)  # headroom for the legend
    axes.set_xlabel("Shift / ppm")
    axes.set_ylabel("Probability density / $10^{-3}$ ppm$^{-1}$")

"""How far ions have gone after a time: self part of the van Hove function, and its distance from a Gaussian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LAGS, SHOWN = 24, 4  # lags of the non-Gaussian parameter, of the distributions
ORIGINS = 2000  # of time, at most
BIN = 0.1  # Å
REACH = 0.999  # share of the displacements that is binned


@dataclass(frozen=True)
class VanHove:
    """`lags` (L,) fs, `alpha` (L,) = 3 <r^4> / (5 <r^2>^2) - 1, 0 for a Gaussian; `parts`, lag -> 4 pi r^2 G_s (B,).

    `edges` (B + 1,) Å of the distances r; each part has the area 1 but for what lies beyond the last edge.
    """

    lags: Floats
    alpha: Floats
    edges: Floats
    parts: Mapping[float, Floats]
    squares: Mapping[float, float]


def van_hove(paths: Floats, spacing: float, longest: int) -> VanHove:
    """Of paths (T, K, 3) Å `spacing` fs apart, at lags up to `longest` frames, over at most 2000 time origins.

    Hansen and McDonald, Theory of Simple Liquids, 2013, section 7.2; Rahman, Phys. Rev. 1964, 136, A405.
    """
    lags = np.unique(np.rint(np.geomspace(1, max(longest, 1), LAGS)).astype(int))
    shown = set(lags[np.unique(np.rint(np.linspace(0, len(lags) - 1, SHOWN)).astype(int))].tolist())
    alpha, kept, squares = [], {}, {}
    for lag in lags.tolist():
        stride = max(1, (len(paths) - lag) // ORIGINS)
        square = np.square(paths[lag::stride] - paths[:-lag:stride][: len(paths[lag::stride])]).sum(axis=-1)
        mean = float(square.mean())
        alpha.append(3 * float(np.square(square).mean()) / (5 * mean**2) - 1 if mean > 0 else 0.0)
        if lag in shown:
            kept[lag * spacing], squares[lag * spacing] = np.sqrt(square).ravel(), mean
    reach = max(float(np.quantile(distances, REACH)) for distances in kept.values())
    edges = np.arange(0.0, reach + 2 * BIN, BIN)
    return VanHove(
        lags=lags * spacing,
        alpha=np.array(alpha),
        edges=edges,
        parts={lag: np.histogram(found, edges)[0] / found.size / BIN for lag, found in kept.items()},
        squares=squares,
    )


def gaussian_part(distances: Floats, square: float) -> Floats:
    """4 pi r^2 G_s of a Gaussian with this mean squared displacement (Å²) in three dimensions, 1/Å."""
    return 4 * np.pi * distances**2 * (2 * np.pi * square / 3) ** -1.5 * np.exp(-1.5 * distances**2 / square)

"""First coordination shells: the first peak of g(r) and the minimum after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.signal import find_peaks

from ionecho.analysis.options import Options

Floats = NDArray[np.float64]


class PeakOptions(Options):
    """How the first peak is found: in g(r) smoothed by `smoothing` (Å), rising `prominence` above what is around."""

    smoothing: float = Field(ge=0)
    prominence: float = Field(gt=0)


@dataclass(frozen=True)
class FirstShell:
    """Height and position (Å) of the first peak, and of the minimum after it; None where there is no peak.

    `neighbours` of the first element are of the second up to the minimum, `neighbours_back` the other way round, with
    standard errors (None for a single frame).
    """

    peak: float | None
    height: float | None
    minimum: float | None
    neighbours: float | None
    neighbours_error: float | None
    neighbours_back: float | None


def first_peak(g: Floats, prominence: float) -> tuple[int | None, int | None]:
    """Bins of the first peak and of the lowest point between it and the second, None where there is no such peak."""
    peaks, _ = find_peaks(g, prominence=prominence)
    if len(peaks) < 2:
        return (int(peaks[0]) if len(peaks) else None), None
    between = g[peaks[0] : peaks[1] + 1]
    lowest = np.flatnonzero(between == between.min())  # an empty gap is cut in its middle
    return int(peaks[0]), int(peaks[0] + (lowest[0] + lowest[-1]) // 2)


def vertex(centres: Floats, g: Floats, peak: int) -> float:
    """Position of a maximum from the parabola through it and its neighbours."""
    left, top, right = g[peak - 1 : peak + 2]
    return float(centres[peak] + (left - right) / (left - 2 * top + right) / 2 * (centres[1] - centres[0]))

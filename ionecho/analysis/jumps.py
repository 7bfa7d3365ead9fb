"""Jumps of ions found in their paths, without knowing the sites, and the diffusivity that they would make alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Jumps:
    """`frames` and `ions` (n,) at which `vectors` (n, 3) Å were jumped, of all paths followed for `ion_time` fs."""

    frames: Integers
    ions: Integers
    vectors: Floats
    ion_time: float

    @property
    def squares(self) -> Floats:
        """Squared lengths (n,) Å²."""
        return np.square(self.vectors).sum(axis=1)

    def diffusivity(self, dimensions: int, squares: Floats | None = None) -> tuple[float, float]:
        """Sum of the squared lengths / (2 d ions time) in Å²/ps, and its relative variance: of jumps that know nothing
        of each other, of their number and lengths."""
        squares = self.squares if squares is None else squares
        total = float(squares.sum())
        variance = float(np.square(squares).sum()) / total**2 if total > 0 else np.inf
        return total / (2 * dimensions * self.ion_time * 1e-3), variance


def find_jumps(paths: Floats, spacing: float, distance: float, window: float) -> Jumps:
    """Where the running median of a path differs by more than `distance` (Å) before and after a frame.

    Every unbroken stretch of such frames is one jump, at its middle; jumps closer than a window merge. The vector leads
    from the median before it to that after it.

    Parameters
    ----------
    paths
        (T, K, 3) Å, unwrapped, `spacing` fs apart.
    distance
        Å, half of the distance of two sites.
    window
        fs of each median; shorter than ions stay, longer than they vibrate.
    """
    frames, ions, _ = paths.shape
    width = int(np.clip(round(window / spacing), 1, max(1, (frames - 1) // 2)))
    medians = median_filter(paths, size=(width, 1, 1), mode="nearest") if width > 1 else paths
    first = np.arange(frames - 2 * width + 1) + width // 2  # centre of the frames before, the others follow at once
    shift = np.linalg.norm(medians[first + width] - medians[first], axis=-1)  # (n, K)
    above = np.zeros((len(shift) + 2, ions), bool)
    above[1:-1] = shift > distance
    found: list[tuple[int, int, Floats]] = []
    for ion in np.flatnonzero(above.any(axis=0)):
        edges = np.flatnonzero(np.diff(above[:, ion].astype(int)))
        starts, ends = edges[::2].tolist(), (edges[1::2] - 1).tolist()
        merged = [[starts[0], ends[0]]]
        for start, end in zip(starts[1:], ends[1:], strict=True):
            if start - merged[-1][1] < width:
                merged[-1][1] = end
            else:
                merged.append([start, end])
        for start, end in merged:
            vector = medians[first[end] + width, ion] - medians[first[start], ion]
            if np.linalg.norm(vector) > distance:  # a way there and back is none
                found.append(((start + end) // 2 + width, int(ion), vector))
    return Jumps(
        frames=np.array([frame for frame, _, _ in found], int),
        ions=np.array([ion for _, ion, _ in found], int),
        vectors=np.array([vector for _, _, vector in found], float).reshape(-1, 3),
        ion_time=float((frames - 1) * spacing * ions),
    )

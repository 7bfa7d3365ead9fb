"""Maps of a quantity over the layer plane: samples, mean and spread in every bin of a fractional grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

VIEW_MARGIN = 0.8  # Å drawn around one repeat


@dataclass(frozen=True)
class PlaneMap:
    """A map on an (m, n) grid over one repeat of the layer, bin i covering [i/m, (i+1)/m) of its first vector.

    `count` (m, n) samples, `mean` and `deviation` (population sd) (m, n), NaN where `count` is below `n_min`;
    `plane` (2, 2) Å the two in-plane vectors of the repeat, `total` the sum of the quantity over all samples.
    """

    count: NDArray[np.int64]
    mean: Floats
    deviation: Floats
    plane: Floats
    n_min: int
    total: float

    @property
    def density(self) -> Floats:
        """Share of the samples per square angstrom, (m, n)."""
        area = abs(np.linalg.det(self.plane)) / self.count.size
        return self.count / (self.count.sum() * area)

    def corners(self) -> tuple[Floats, Floats]:
        """Cartesian x and y of the corners of the bins, both (m + 1, n + 1) Å."""
        u, v = np.meshgrid(*(np.arange(n + 1) / n for n in self.count.shape), indexing="ij")
        x, y = np.moveaxis(np.stack([u, v], -1) @ self.plane, -1, 0)
        return x, y

    def centres(self) -> Floats:
        """Fractional coordinates of the centres of the bins, (m, n, 2)."""
        return np.stack(np.meshgrid(*((np.arange(n) + 0.5) / n for n in self.count.shape), indexing="ij"), -1)


def plane_map(
    points: ArrayLike, values: ArrayLike, plane: Floats, bins: tuple[int, int], fold: tuple[int, int], n_min: int
) -> PlaneMap:
    """Map `values` (...,) at in-plane fractional `points` (..., 2) of the cell, folded onto one of its repeats.

    Parameters
    ----------
    points, values
        Samples; wrapped and unwrapped coordinates give the same map.
    plane
        (2, 2) Å, in-plane vectors of the whole cell.
    bins
        Grid over one repeat.
    fold
        Repeats of the layer along the two vectors of the cell.
    n_min
        Bins with fewer samples are masked.
    """
    scaled = np.asarray(points, float).reshape(-1, 2) * fold
    scaled -= np.floor(scaled)
    index = np.minimum((scaled * bins).astype(int), np.asarray(bins) - 1)
    flat = np.ravel_multi_index(tuple(index.T), bins)
    samples = np.asarray(values, float).ravel()
    origin = samples.mean()  # sums of squares about it keep their digits
    size = bins[0] * bins[1]
    count = np.bincount(flat, minlength=size)
    first = np.bincount(flat, samples - origin, minlength=size)
    second = np.bincount(flat, (samples - origin) ** 2, minlength=size)
    filled = np.maximum(count, 1)
    mean = first / filled
    deviation = np.sqrt(np.maximum(second / filled - mean**2, 0.0))
    masked = count < max(n_min, 1)
    return PlaneMap(
        count=count.reshape(bins),
        mean=np.where(masked, np.nan, mean + origin).reshape(bins),
        deviation=np.where(masked, np.nan, deviation).reshape(bins),
        plane=plane / np.asarray(fold)[:, None],
        n_min=n_min,
        total=float(samples.sum()),
    )

"""States of redox-active ions along trajectories, transfers of charge, and the hops of mobile ions beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

Floats = NDArray[np.float64]
LEVELS = 256  # thresholds that are tried
SEPARATION = 4.0  # standard deviations between the means, below which the two states are not told apart


@dataclass(frozen=True)
class Split:
    """Values in two classes: means and standard deviations (2,) from low to high, and the threshold between."""

    threshold: float
    means: Floats
    deviations: Floats

    @property
    def separation(self) -> float:
        """Distance of the means in units of the larger deviation."""
        return float((self.means[1] - self.means[0]) / max(self.deviations.max(), 1e-9))

    @property
    def decided(self) -> bool:
        """Whether the two classes are told apart."""
        return self.separation > SEPARATION


def split(values: Floats) -> Split | None:
    """The threshold of the largest variance between classes (Otsu, IEEE Trans. Syst. Man Cybern. 1979, 9, 62).

    It is put half-way between the means. None where all values are the same.
    """
    ordered = np.sort(values, axis=None)
    if ordered[-1] - ordered[0] < 1e-9:
        return None
    sums, counts = np.cumsum(ordered), np.arange(1, ordered.size + 1)
    cuts = np.unique(np.searchsorted(ordered, np.linspace(ordered[0], ordered[-1], LEVELS)[1:-1], side="right")) - 1
    cuts = cuts[(cuts >= 0) & (cuts < ordered.size - 1)]
    low, high = sums[cuts] / counts[cuts], (sums[-1] - sums[cuts]) / (ordered.size - counts[cuts])
    best = cuts[np.argmax(counts[cuts] * (ordered.size - counts[cuts]) * (high - low) ** 2)]
    parts = ordered[: best + 1], ordered[best + 1 :]
    means, deviations = (np.array([getattr(part, of)() for part in parts]) for of in ("mean", "std"))
    return Split(float(means.mean()), means, deviations)


def lowest(values: Floats, count: int) -> NDArray[np.bool_]:
    """Which of the ions (T, K) have the `count` lowest values of their frame."""
    ranks = np.argsort(np.argsort(values, axis=1, kind="stable"), axis=1, kind="stable")
    return ranks < count


def held(states: NDArray[np.bool_], frames: int) -> NDArray[np.bool_]:
    """States (T, K) without excursions shorter than about half of `frames`.

    In every frame the ions that hold in most of the `frames` about it, as many as hold there on average, so that none
    is lost while holes flicker. Of ions that hold equally often, those that do so in the frame itself.
    """
    frame = np.arange(len(states))
    first, stop = np.maximum(frame - frames // 2, 0), np.minimum(frame + frames // 2 + 1, len(states))
    sums = np.concatenate([np.zeros_like(states[:1], np.int64), np.cumsum(states, axis=0)])
    votes = sums[stop] - sums[first]
    number = np.rint(votes.sum(1) / (stop - first))
    ranks = np.argsort(np.argsort(-(2 * votes + states), axis=1, kind="stable"), axis=1, kind="stable")
    return ranks < number[:, None]


@dataclass(frozen=True)
class Transfer:
    """Between `frame` - 1 and `frame` holes left the ions `left` and came to the ions `came`."""

    frame: int
    left: tuple[int, ...]
    came: tuple[int, ...]


def transfers(holes: NDArray[np.bool_]) -> list[Transfer]:
    """Frames at which the arrangement of the holes (T, K) changes."""
    found = []
    for frame in 1 + np.flatnonzero((holes[1:] != holes[:-1]).any(1)):
        before, after = holes[frame - 1], holes[frame]
        left, came = (tuple(np.flatnonzero(each).tolist()) for each in (before & ~after, after & ~before))
        found.append(Transfer(int(frame), left, came))
    return found


@dataclass(frozen=True)
class Hop:
    """Ion `ion` moves by `vector` (3,) Å about `frame`."""

    frame: int
    ion: int
    vector: Floats


def hops(paths: Floats, window: int, distance: float) -> list[Hop]:
    """Hops along continuous paths (T, K, 3) Å: medians of the frames before and after differ by more than `distance`.

    Contiguous frames over the threshold are one hop, at their middle; hops nearer than a window merge.
    """
    frames, ions, _ = paths.shape
    found = []
    for ion in range(ions):
        middle = [
            np.median(paths[max(t - window, 0) : t, ion], axis=0) - np.median(paths[t : t + window, ion], axis=0)
            for t in range(1, frames)
        ]
        shifts = -np.array(middle).reshape(-1, 3)
        sizes = np.linalg.norm(shifts, axis=1)
        runs, count = label(sizes > distance)
        for run in range(1, count + 1):
            own = np.flatnonzero(runs == run)
            found.append(Hop(int(1 + round(own.mean())), ion, shifts[own[np.argmax(sizes[own])]]))
    return sorted(found, key=lambda hop: hop.frame)


@dataclass(frozen=True)
class Coincidence:
    """How many transfers have a hop within the window, and how many would by chance."""

    transfers: int
    hops: int
    matched: int
    chance: float

    @property
    def share(self) -> float:
        """Share of the transfers that have a hop."""
        return self.matched / self.transfers if self.transfers else np.nan

    @property
    def error(self) -> float:
        """Standard error of the share, of a binomial distribution with one more of each outcome."""
        share = (self.matched + 1) / (self.transfers + 2)
        return float(np.sqrt(share * (1 - share) / (self.transfers + 2)))


def coincidence(changes: list[Transfer], moves: list[Hop], frames: int, window: int) -> Coincidence:
    """Transfers with a hop at most `window` frames away; by chance 1 - exp(-(2 w + 1) R) of R hops a frame."""
    times = np.array([hop.frame for hop in moves])
    matched = sum(bool(len(times)) and bool((np.abs(times - each.frame) <= window).any()) for each in changes)
    chance = 1 - np.exp(-(2 * window + 1) * len(moves) / max(frames, 1))
    return Coincidence(len(changes), len(moves), matched, float(chance))


def nearest_distances(centres: Floats, others: Floats, cell: Floats, count: int) -> Floats:
    """Mean distance (T, K) Å of centres (T, K, 3) to the `count` nearest of others (T, N, 3), cell (T, 3, 3).

    To the nearest image in fractional coordinates, which is that in space up to half the smallest height of the cell.
    """
    inverse = np.linalg.inv(cell)
    offset = np.einsum("tkni, tij -> tknj", others[:, None] - centres[:, :, None], inverse)
    offset -= np.round(offset)
    distances = np.linalg.norm(np.einsum("tkni, tij -> tknj", offset, cell), axis=-1)
    return np.sort(distances, axis=2)[:, :, :count].mean(2)


def continuous(positions: Floats, cell: Floats) -> Floats:
    """Paths (T, K, 3) Å without jumps over the cell's faces, steps to the nearest image."""
    steps = np.einsum("tki, tij -> tkj", np.diff(positions, axis=0), np.linalg.inv(cell[1:]))
    steps -= np.round(steps)
    moved = np.einsum("tki, tij -> tkj", steps, cell[1:])
    return positions[:1] + np.concatenate([np.zeros_like(positions[:1]), np.cumsum(moved, axis=0)])


class Run(NamedTuple):
    """What is read: (T, K) of the centres, (T, ions, 3) Å of the mobile ions."""

    moments: Floats
    charges: Floats | None
    distances: Floats
    places: Floats  # (T, K, 3) Å
    paths: Floats
    time: Floats | None
    expected: int
    numbers: NDArray[np.integer]  # (N,) of all atoms
    mobile: NDArray[np.integer]  # indices of the mobile ions
    cell: Floats  # (T, 3, 3) Å


class Redox(NamedTuple):
    """What is found; `holes` (T, K) before, `steady` after short excursions are left out."""

    run: Run
    of_moments: Split | None
    of_charges: Split | None
    holes: NDArray[np.bool_]
    steady: NDArray[np.bool_]
    changes: list[Transfer]
    moves: list[Hop]
    together: Coincidence

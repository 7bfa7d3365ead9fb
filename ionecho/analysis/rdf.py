"""Radial distribution functions of every pair of elements, and coordination numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import gaussian_filter1d

from ionecho.analysis.autoregression import mean_variance
from ionecho.analysis.options import Options, ReadOptions
from ionecho.analysis.shells import FirstShell, PeakOptions, first_peak, vertex
from ionecho.analysis.statistics import student_factor
from ionecho.data.trajectory import Trajectory
from ionecho.errors import InputError
from ionecho.geometry.neighbours import build_graph

Floats = NDArray[np.float64]

BATCH = 8  # frames whose neighbours are found at once
PARTS = 64  # sums kept along a trajectory, whose scatter is the error; joined in pairs when twice as many
MOST = 0.8  # share of the bins whose errors have converged, for the whole to have


class RdfOptions(Options):
    """Everything the analysis depends on besides the inputs; see conf/analysis/rdf.yaml for each entry."""

    r_max: float = Field(gt=0)
    bin_width: float = Field(gt=0)
    peak: PeakOptions
    read: ReadOptions
    read_reference: ReadOptions
    reference: str | None = None

    @property
    def edges(self) -> Floats:
        """Edges of the bins, Å; the last is r_max or the next one above."""
        bins = int(np.ceil(self.r_max / self.bin_width - 1e-9))
        return np.linspace(0.0, bins * self.bin_width, bins + 1)


@dataclass(frozen=True)
class PairDistribution:
    """g(r) of one pair of elements on the `centres` (B,) Å of the bins, with its standard error.

    `running` (B,) is the number of neighbours of the first element up to the upper edge of each bin.
    """

    centres: Floats
    g: Floats
    error: Floats
    running: Floats
    shell: FirstShell
    converged: bool


@dataclass(frozen=True)
class Distributions:
    """All pairs of one input: `frames`, atoms by element, half of the least height of a cell (Å).

    `converged` unless errors are lower bounds, of too few frames or of frames too much alike.

    `stopped` is why its simulation ended early, if it did.
    """

    pairs: dict[str, PairDistribution]
    counts: dict[str, int]
    frames: int
    converged: bool
    half_height: float
    stopped: str | None


def pair_names(symbols: list[str]) -> list[str]:
    """``Na-O`` and so on, every pair once, in the order of `symbols`."""
    return [f"{a}-{b}" for a, b in combinations_with_replacement(symbols, 2)]


class _Histograms:
    """Counts of distances of every pair of elements along a trajectory, in at most 2 PARTS sums over equal parts."""

    def __init__(self, bins: int, pairs: int) -> None:
        self.bins, self.pairs = bins, pairs
        self.length = 1  # frames a part
        self.parts: list[tuple[int, Floats, Floats]] = []  # frames, counts, counts x volume

    def add(self, counts: Floats, volume: float) -> None:
        """One frame."""
        if not self.parts or self.parts[-1][0] == self.length:
            if len(self.parts) == 2 * PARTS:
                pairs = zip(self.parts[::2], self.parts[1::2], strict=True)
                self.parts = [(n + m, a + b, v + w) for (n, a, v), (m, b, w) in pairs]
                self.length *= 2
            self.parts.append((0, np.zeros((self.pairs, self.bins)), np.zeros((self.pairs, self.bins))))
        frames, total, weighted = self.parts[-1]
        self.parts[-1] = (frames + 1, total + counts, weighted + counts * volume)

    def means(self) -> tuple[Floats, Floats, Floats]:
        """Frames (n,), mean counts and mean counts x volume (n, P, B) of the parts."""
        frames = np.array([part[0] for part in self.parts], float)
        counts, weighted = (np.array([part[column] for part in self.parts]) for column in (1, 2))
        return frames, counts / frames[:, None, None], weighted / frames[:, None, None]


def distributions(path: Path, frames: ReadOptions, options: RdfOptions) -> Distributions:
    """g(r) of all pairs of elements, every periodic image within r_max counted.

    g_ab(r) = <V n_ab(r)> / (N_a N_b v(r)) with n_ab the ordered pairs in a bin, v its shell's volume and V the cell's
    (Allen and Tildesley, Computer Simulation of Liquids, 2017, section 8.2). An ideal gas of N atoms has 1 for two
    elements and 1 - 1/N for one. Memory does not grow with the number of frames.

    Raises
    ------
    InputError
        If `path` cannot be read, is not periodic in all directions, or holds no frame of those asked for.
    """
    trajectory = frames.open(path)
    if not trajectory.pbc.all():
        found = f"found pbc {trajectory.pbc.tolist()}"
        raise InputError(f"{path}: expected a cell periodic in three directions, {found}; give cell=[a,b,c] (Å)")
    present = Counter(chemical_symbols[number] for number in trajectory.numbers)
    symbols = list(present)
    kind = np.array([symbols.index(chemical_symbols[number]) for number in trajectory.numbers])
    first, second = np.triu_indices(len(symbols))
    code = np.zeros((len(symbols), len(symbols)), int)
    code[first, second] = code[second, first] = np.arange(len(first))
    edges = options.edges
    histograms = _Histograms(len(edges) - 1, len(first))
    half_height = np.inf
    for block in frames.frames(trajectory, BATCH * frames.every):
        positions, cell = np.asarray(block.positions, float), np.asarray(block.cell, float)
        if not np.isfinite(positions).all():
            bad = np.flatnonzero(~np.isfinite(positions).all(axis=(1, 2)))
            raise InputError(f"{path}: frame {block.frame[bad[0]]}: expected finite positions")  # type: ignore[index]
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=1)
        half_height = min(half_height, float(heights.min()) / 2)
        for counts, box in zip(_count(positions, cell, trajectory, kind, code, edges), cell, strict=True):
            histograms.add(counts, abs(float(np.linalg.det(box))))
    atoms = np.array(list(present.values()), float)
    twice = np.where(first == second, 1.0, 2.0)  # both orders of two elements fall into one histogram
    ordered = (twice * atoms[first] * atoms[second])[:, None] * (4 / 3 * np.pi * np.diff(edges**3))
    lengths, counts, weighted = histograms.means()
    per_atom = counts / (twice * atoms[first])[:, None]
    ratio = atoms[first] / atoms[second]
    pairs = {
        name: _pair(edges, lengths, weighted[:, p] / ordered[p], per_atom[:, p], ratio[p], options)
        for p, name in enumerate(pair_names(symbols))
    }
    told = all(pair.converged for pair in pairs.values())
    return Distributions(pairs, dict(present), int(lengths.sum()), told, half_height, trajectory.stopped)


def _count(
    positions: Floats, cell: Floats, trajectory: Trajectory, kind: NDArray, code: NDArray, edges: Floats
) -> Floats:
    """Ordered pairs (T, P, B) of every frame, pair of elements and bin."""
    frames, atoms, _ = positions.shape
    numbers = [trajectory.numbers] * frames
    graph = build_graph(
        list(positions),
        list(cell),
        numbers,
        [trajectory.pbc] * frames,
        cutoff=float(edges[-1]),
        centres=[],
        pairs_of="atoms",
        dtype=torch.float64,
    )
    i, j = graph.pairs.numpy()
    distance = graph.vectors().norm(dim=1).numpy()
    bins = np.minimum((distance / edges[1]).astype(int), len(edges) - 2)  # the cut-off itself rounds up
    pair = code[kind[i % atoms], kind[j % atoms]]
    pairs = code.max() + 1
    flat = ((i // atoms) * pairs + pair) * (len(edges) - 1) + bins
    return np.bincount(flat, minlength=frames * pairs * (len(edges) - 1)).reshape(frames, pairs, -1).astype(float)


def _pair(
    edges: Floats, frames: Floats, g: Floats, per_atom: Floats, ratio: float, options: RdfOptions
) -> PairDistribution:
    """From means over parts (n, B) of g(r) and of the neighbours of one atom of the first element in each bin."""
    centres, weights = (edges[1:] + edges[:-1]) / 2, frames / frames.sum()
    mean = weights @ g
    running = np.cumsum(per_atom, axis=1)
    error, converged = _errors(g)
    smooth = gaussian_filter1d(mean, options.peak.smoothing / options.bin_width) if options.peak.smoothing else mean
    peak, minimum = first_peak(smooth, options.peak.prominence)
    back = None if minimum is None else float(weights @ running[:, minimum]) * ratio
    shell = FirstShell(
        peak=None if peak is None else vertex(centres, smooth, peak),
        height=None if peak is None else float(mean[peak]),
        minimum=None if minimum is None else float(edges[minimum + 1]),
        neighbours=None if minimum is None else float(weights @ running[:, minimum]),
        neighbours_error=None
        if minimum is None or len(g) < 2
        else float(_errors(running[:, minimum : minimum + 1])[0][0]),
        neighbours_back=back,
    )
    return PairDistribution(centres, mean, error, weights @ running, shell, converged)


def _errors(parts: Floats) -> tuple[Floats, bool]:
    """Standard errors (B,) of the means over parts (n, B), of correlated parts too, and whether most have converged."""
    if len(parts) < 2:
        return np.full(parts.shape[1], np.nan), False
    found = [mean_variance(series) for series in parts.T]
    errors = [each.variance**0.5 * student_factor(each.freedom) for each in found]
    told = [each.converged for each in found if each.variance > 0]
    return np.array(errors), not told or bool(np.mean(told) > MOST)

"""Paths of mobile ions: unwrapped displacements relative to the framework, streamed from a trajectory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.cell import Cell
from ase.data import atomic_masses, chemical_symbols
from numpy.typing import NDArray

from ionecho.analysis.options import ReadOptions
from ionecho.data.trajectory import Frames, Trajectory
from ionecho.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK = 128  # frames read at once
ONE_CELL = 1.01  # lattice vectors, with room for rounding
UNEVEN = 1e-3  # relative difference of time steps that counts as one


@dataclass(frozen=True)
class IonPaths:
    """Displacements (T, K, 3) Å of the mobile ions since the first frame, `spacing` fs apart.

    `since_first` maps every element to its mean squared displacement since the first frame (T,) Å²; `drift` (T, 3) Å
    is what was subtracted, the centre of mass of the `framework` elements (empty: nothing was). `cell` (3, 3) Å is
    that of the first frame. `longest_step` is the longest step between frames, in lattice vectors.
    """

    displacements: Floats
    spacing: float
    since_first: dict[str, Floats]
    drift: Floats
    framework: tuple[str, ...]
    cell: Floats
    longest_step: float

    def sha256(self) -> str:
        """Hash of the displacements, which decide all results."""
        return hashlib.sha256(np.ascontiguousarray(self.displacements).data).hexdigest()


def follow(
    trajectory: Trajectory,
    element: str,
    framework: Sequence[str] | None,
    read: ReadOptions,
    *,
    remove_drift: bool,
    unwrap: bool,
    longest_step: float,
) -> IonPaths:
    """Displacements of the ions of one element relative to the framework.

    Steps between successive frames are taken in fractional coordinates, to the nearest image where `unwrap`, and made
    Cartesian in the later frame's cell: motion with a cell that changes is no displacement. Held in memory are the
    displacements of the mobile ions in the frames kept: 24 bytes an ion and frame, twice that while they are joined.

    Parameters
    ----------
    element
        Symbol of the mobile ions.
    framework
        Elements whose centre of mass is at rest; None: all but the mobile one.
    read
        The frames that are kept; all after the first are followed.
    remove_drift
        Whether that centre's motion is subtracted.
    unwrap
        Whether positions may have been wrapped into the cell; False for continuous coordinates.
    longest_step
        Of a lattice vector; with `unwrap`, a longer step is refused, as half a vector is ambiguous.

    Raises
    ------
    InputError
        If an element is missing, frames are not evenly spaced in time, several trajectories are mixed, positions are
        no numbers, or steps cannot be told from wraps.
    """
    path, skip, every = trajectory.path, read.skip, read.every
    symbols = np.array([chemical_symbols[number] for number in trajectory.numbers])
    mobile = symbols == element
    still = _framework(symbols, element, framework, path)
    weights = atomic_masses[trajectory.numbers] * still * remove_drift
    kinds = {str(kind): symbols == kind for kind in dict.fromkeys(symbols)}
    if remove_drift and not still.any():
        raise InputError(f"{path}: holds only {element}, expected a framework; set remove_drift=false")
    if unwrap and not trajectory.pbc.any():
        raise InputError(
            f"{path}: holds no periodic cell, so what was wrapped cannot be followed; give cell=[a,b,c] (Å), "
            "or unwrap=false if coordinates are continuous"
        )
    tracker = _Tracker(path, symbols, trajectory.pbc, unwrap, longest_step)
    blocks: list[tuple[Floats, Floats, dict[str, Floats], Floats]] = []
    runs: set[str] = set()
    first = skip
    for frames in trajectory.used(BLOCK, skip=skip, groups=read.groups):
        time = _times(frames, runs, path)
        kept = slice((skip - first) % every, None, every)
        moved = tracker.advance(frames, first)[kept]
        drift = np.einsum("tni,n->ti", moved, weights) / (weights.sum() or 1.0)
        moved -= drift[:, None]
        squares = np.square(moved).sum(axis=-1)
        blocks.append(
            (
                moved[:, mobile],
                drift,
                {kind: squares[:, members].mean(axis=1) for kind, members in kinds.items()},
                time,
            )
        )
        first += len(frames)
    if first < skip + 4 * every:
        raise InputError(f"{path}: {max(first - skip, 0)} frames after skip={skip}, expected at least {4 * every}")
    tracker.finish()
    displacements, drifts, since_first, times = zip(*blocks, strict=True)
    return IonPaths(
        displacements=np.concatenate(displacements),
        spacing=every * _spacing(np.concatenate(times), skip, path),
        since_first={kind: np.concatenate([squares[kind] for squares in since_first]) for kind in kinds},
        drift=np.concatenate(drifts),
        framework=tuple(dict.fromkeys(symbols[weights > 0].tolist())),
        cell=tracker.first_cell,
        longest_step=tracker.longest,
    )


class _Tracker:
    """Adds up the steps of all atoms from frame to frame; holds one frame."""

    def __init__(self, path: Path, symbols: NDArray, pbc: NDArray, unwrap: bool, limit: float) -> None:
        self.path, self.symbols, self.pbc, self.unwrap, self.limit = path, symbols, pbc, unwrap, limit
        self.before: Floats | None = None  # (1, N, 3) fractional
        self.moved = np.zeros((1, len(symbols), 3))
        self.first_cell = np.zeros((3, 3))
        self.longest = 0.0
        self.lowest, self.highest = np.full(3, np.inf), np.full(3, -np.inf)  # fractional coordinates seen

    def advance(self, frames: Frames, first: int) -> Floats:
        """Displacements (T, N, 3) Å since the first frame; `first` is the number of the first of these frames."""
        positions, cell = np.asarray(frames.positions, float), np.asarray(frames.cell, float)
        if not self.pbc.all():
            cell = np.stack([Cell(box).complete().array for box in cell])
        bad = ~np.isfinite(positions).all(axis=(1, 2)) | (np.abs(np.linalg.det(cell)) < 1e-6)
        if bad.any():
            frame = first + int(bad.argmax())
            raise InputError(f"{self.path}: frame {frame}: expected finite positions and a cell with a volume")
        fractional = np.linalg.solve(cell.swapaxes(1, 2), positions.swapaxes(1, 2)).swapaxes(1, 2)
        if self.before is None:
            self.before, self.first_cell = fractional[:1], cell[0]
        steps = np.diff(np.concatenate([self.before, fractional]), axis=0)
        wraps = np.rint(steps) * self.pbc
        if self.unwrap:
            steps -= wraps
        self.lowest = np.minimum(self.lowest, fractional.min(axis=(0, 1)))
        self.highest = np.maximum(self.highest, fractional.max(axis=(0, 1)))
        self._check(steps, first)
        moved = self.moved + np.cumsum(steps @ cell, axis=0)
        self.before, self.moved = fractional[-1:], moved[-1:].copy()
        return moved

    def _check(self, steps: Floats, first: int) -> None:
        """Refuse steps that may as well be others plus a lattice vector."""
        lengths = np.abs(steps) * self.pbc
        self.longest = max(self.longest, float(lengths.max()))
        if self.unwrap and lengths.max() > self.limit:
            frame, atom, axis = np.unravel_index(lengths.argmax(), lengths.shape)
            raise InputError(
                f"{self.path}: frame {first + frame}: {self.symbols[atom]} {atom} moved by {lengths.max():.2f} of "
                f"lattice vector {'abc'[axis]} since the frame before, expected at most longest_step={self.limit}: its "
                "path is ambiguous. Write frames more often, or set unwrap=false if the coordinates are continuous"
            )

    def finish(self) -> None:
        """Refuse coordinates said to be continuous that leap by a lattice vector but stay in one cell."""
        span = (self.highest - self.lowest)[self.pbc]
        if not self.unwrap and self.longest > 0.5 and span.max() < ONE_CELL:
            raise InputError(
                f"{self.path}: an atom moved by {self.longest:.2f} of a lattice vector between frames while all stay "
                "in one cell, expected continuous coordinates with unwrap=false; set unwrap=true"
            )


def _framework(symbols: NDArray, element: str, framework: Sequence[str] | None, path: Path) -> NDArray[np.bool_]:
    """Which atoms are the framework."""
    present = ", ".join(dict.fromkeys(symbols))
    if element not in symbols:
        raise InputError(f"{path}: element={element} is not in it; expected one of {present}")
    wanted = sorted(set(symbols) - {element}) if framework is None else list(framework)
    if absent := set(wanted) - set(symbols):
        raise InputError(
            f"{path}: framework={wanted}: {', '.join(sorted(absent))} not in it; expected some of {present}"
        )
    if element in wanted:
        raise InputError(f"framework: expected elements that stay, found the mobile {element} among {wanted}")
    return np.isin(symbols, wanted)


def _times(frames: Frames, groups: set[str], path: Path) -> Floats:
    """Times (T,) fs of frames of the one trajectory whose name is in `groups`."""
    groups |= set() if frames.group is None else {str(name) for name in frames.group}
    if len(groups) > 1:
        raise InputError(f"{path}: holds several trajectories ({', '.join(sorted(groups))}), expected one")
    if frames.time is None:
        raise InputError(
            f"{path}: holds no time, expected frames evenly spaced in time; give time_step=.. (fs between frames)"
        )
    return np.asarray(frames.time, float)


def _spacing(times: Floats, skip: int, path: Path) -> float:
    steps = np.diff(times)
    spacing = float(np.median(steps))
    uneven = np.abs(steps - spacing) > UNEVEN * spacing
    if spacing <= 0 or uneven.any():
        frame = skip + int(uneven.argmax()) + 1
        raise InputError(
            f"{path}: frames are not evenly spaced: {steps[frame - skip - 1]:g} fs before frame {frame}, "
            f"expected {spacing:g} fs; cut the trajectory there"
        )
    return spacing

"""What is read of a trajectory: blocks of frames, and of those the ones that an analysis uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ionecho.data.schema import ARRAYS, Configuration
from ionecho.errors import InputError

SMALLEST_VOLUME = 0.1  # Å³ an atom; less means wrong units or a missing cell
FLAT = 1e-6  # of the volume that three vectors of these lengths could have
BLOCK = 256  # frames read at once where the caller does not say


@dataclass(frozen=True)
class Frames:
    """Consecutive frames: positions (T, N, 3) Å, cell (T, 3, 3) Å, time (T,) fs if known, group (T,) if there are.

    `arrays` holds what was asked for by name, each with a leading T, in the units of Format 2.
    """

    positions: NDArray[np.floating]
    cell: NDArray[np.floating]
    time: NDArray[np.floating] | None = None
    group: NDArray | None = None
    frame: NDArray[np.integer] | None = None
    arrays: dict[str, NDArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.positions)

    def part(self, start: int, stop: int) -> Frames:
        """The frames start..stop."""
        return self.rows(slice(start, stop))

    def rows(self, chosen: slice | NDArray) -> Frames:
        """The frames of a slice, mask or list."""
        known = {name: getattr(self, name) for name in ("time", "group", "frame")}
        known = {name: None if array is None else array[chosen] for name, array in known.items()}
        arrays = {name: array[chosen] for name, array in self.arrays.items()}
        return Frames(self.positions[chosen], self.cell[chosen], **known, arrays=arrays)


class Trajectory:
    """`path`, `numbers` (N,), `pbc` (3,), and what else is known of the frames, which come in blocks.

    `group` and `frame` (T,) are the run of each frame and its number in it, `stored` the names of the arrays that
    `blocks` can add, `centres` (K,) the atoms that those by atom are of. `temperature` K is that of the simulation,
    `friction_time` (fs) the relaxation time of Langevin dynamics, `stopped` why it ended early; `attrs` the attributes.
    """

    path: Path
    numbers: NDArray[np.integer]
    pbc: NDArray[np.bool_]
    n_frames: int | None = None
    temperature: float | None = None
    friction_time: float | None = None
    stopped: str | None = None
    group: NDArray | None = None
    frame: NDArray[np.integer] | None = None
    centres: NDArray[np.integer] | None = None
    stored: Sequence[str] = ()
    attrs: Mapping[str, Any] = {}

    def blocks(self, start: int, size: int, names: Sequence[str] = ()) -> Iterator[Frames]:
        """Blocks of at most `size` frames from `start` on, with the arrays `names`.

        Raises
        ------
        InputError
            If an array is not there, a frame cannot be read, or its atoms or its cell are not where they can be.
        """
        self.refuse_missing(names)
        for frames in self._blocks(start, size, names):
            refuse_unusable(frames, self.numbers, self.pbc, f"{self.path}: ", start)
            yield frames
            start += len(frames)

    def _blocks(self, start: int, size: int, names: Sequence[str]) -> Iterator[Frames]:
        """The same, of what a format is."""
        raise NotImplementedError

    def array(self, name: str) -> NDArray:
        """A stored array of all frames, (T, ...)."""
        return np.concatenate([block.arrays[name] for block in self.blocks(0, BLOCK, [name])])

    def configurations(self, group: str, source: str) -> Iterator[Configuration]:
        """All frames without labels, as those of one `group`; where they come from is `source` with their number."""
        frame = 0
        for block in self.blocks(0, BLOCK):
            for positions, cell in zip(block.positions, block.cell, strict=True):
                yield Configuration(self.numbers, positions, cell, self.pbc, group, frame, f"{source}#{frame}")
                frame += 1

    def refuse_missing(self, names: Sequence[str]) -> None:
        """Raise InputError if one of the arrays `names` is not stored."""
        if absent := [name for name in names if name not in self.stored]:
            held = ", ".join(self.stored) or "none"
            raise InputError(
                f"{self.path}: no array {', '.join(absent)}; it holds {held}; `predict.py` makes predictions"
            )

    def used(
        self,
        size: int,
        *,
        skip: int = 0,
        every: int = 1,
        groups: Sequence[str] | None = None,
        names: Sequence[str] = (),
    ) -> Iterator[Frames]:
        """The frames that an analysis uses, in the order of the file; `frame` is their place in it if not stored.

        Parameters
        ----------
        size
            Frames read at once.
        skip, every
            Of every run, in the order of its frame numbers, the first `skip` are left out and then each `every`-th is
            used. Frames as they are stored count, those without a label or with a quality flag too.
        groups
            Runs (`group`) that are used; None: all.
        names
            Arrays that come with them.

        Raises
        ------
        InputError
            If a run is unknown or holds no frame after `skip`, or an array is not stored.
        """
        chosen = self.selection(skip, every, groups)
        first, count = skip if chosen is None else int(chosen.argmax()), 0
        for frames in self.blocks(first, size, names):
            numbers = np.arange(first, first + len(frames))
            frames = frames if frames.frame is not None else replace(frames, frame=numbers)
            kept = frames.rows((numbers - skip) % every == 0 if chosen is None else chosen[numbers])
            first += len(frames)
            count += len(kept)
            if len(kept):
                yield kept
        if not count:
            raise InputError(f"{self.path}: no frame after skip={skip}, expected at least one")

    def selection(self, skip: int, every: int, groups: Sequence[str] | None) -> NDArray[np.bool_] | None:
        """Which frames (T,) are used; None: no runs are told apart."""
        if self.group is None:
            if groups is not None:
                raise InputError(f"{self.path}: holds no `group` to choose {list(groups)} from; set groups=null")
            return None
        labels = self.group.astype(str)
        runs = list(dict.fromkeys(labels))
        if absent := set(groups or ()) - set(runs):
            known = ", ".join(sorted(runs))
            raise InputError(f"{self.path}: no group {', '.join(sorted(absent))}, expected some of {known}")
        chosen, short = np.zeros(len(labels), bool), []
        for run in runs if groups is None else groups:
            rows = np.flatnonzero(labels == run)
            if self.frame is not None:
                rows = rows[np.argsort(self.frame[rows], kind="stable")]
            chosen[rows[skip::every]] = True
            short += [run] if len(rows) <= skip else []
        if short:
            told = ", ".join(short)
            raise InputError(f"{self.path}: no frame after skip={skip} of {told}; expected one of each trajectory")
        return chosen


def refuse_holes(configuration: Configuration) -> None:
    """Raise InputError for positions or a cell that cannot be, and for a label of which parts are no numbers."""
    numbers, pbc = np.asarray(configuration.numbers), np.asarray(configuration.pbc)
    one = Frames(np.asarray(configuration.positions, float)[None], np.asarray(configuration.cell, float)[None])
    refuse_unusable(one, numbers, pbc, f"{configuration.source}: ", configuration.frame)
    for name, value in configuration.labels.items():
        shape = (len(numbers), *ARRAYS[name].shape) if ARRAYS[name].per == "atom" else ARRAYS[name].shape
        if ARRAYS[name].per == "grid" or np.shape(value) != shape:
            continue  # another shape is refused where it is stored
        rows = np.asarray(value, float).reshape(len(numbers) if ARRAYS[name].per == "atom" else 1, -1)
        if (odd := ~np.isfinite(rows).all(1) & ~np.isnan(rows).all(1)).any():
            atom = int(odd.argmax())
            where = f" of {chemical_symbols[numbers[atom]]} {atom}" if ARRAYS[name].per == "atom" else ""
            told = f"{name}{where} is {rows[atom].tolist()}, expected numbers, or nan alone where it is missing"
            raise InputError(f"{configuration.source}: {told}")


def refuse_unusable(
    frames: Frames, numbers: NDArray[np.integer], pbc: NDArray[np.bool_], where: str = "", first: int = 0
) -> None:
    """Raise InputError for the first frame whose positions or cell are no numbers, or whose periodic cell is flat.

    Parameters
    ----------
    where
        Stands before the error.
    first
        Number of the first of these frames.
    """
    bad = ~np.isfinite(frames.positions).all(2)
    if bad.any():
        frame, atom = np.argwhere(bad)[0]
        told = f"{chemical_symbols[numbers[atom]]} {atom} at {frames.positions[frame, atom].tolist()}"
        raise InputError(f"{where}frame {first + frame}: positions that are not numbers: {told}")
    if (odd := ~np.isfinite(frames.cell).all((1, 2))).any():
        frame = int(odd.argmax())
        raise InputError(f"{where}frame {first + frame}: a cell that is not numbers: {frames.cell[frame].tolist()}")
    if not pbc.any():
        return
    vectors = frames.cell[:, pbc]
    area = np.sqrt(np.abs(np.linalg.det(vectors @ vectors.swapaxes(1, 2))))  # the volume, of three vectors
    flat = ~(area > FLAT * np.linalg.norm(vectors, axis=2).prod(1))
    if pbc.all():
        flat |= ~(area >= SMALLEST_VOLUME * frames.positions.shape[1])
    if flat.any():
        frame = int(flat.argmax())
        what = f"{area[frame] / frames.positions.shape[1]:.2g} Å³ an atom" if pbc.all() else "no area"
        told = f"a cell of {what} ({frames.cell[frame].tolist()}); expected lattice vectors in Å"
        raise InputError(f"{where}frame {first + frame}: {told}")

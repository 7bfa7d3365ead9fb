"""What is read of a trajectory: blocks of frames, and of those the ones that an analysis uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionecho.data.schema import Configuration
from ionecho.errors import InputError

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
        """Blocks of at most `size` frames from `start` on, with the arrays `names`."""
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
        chosen = self._chosen(skip, every, groups)
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

    def _chosen(self, skip: int, every: int, groups: Sequence[str] | None) -> NDArray[np.bool_] | None:
        """Which frames (T,) are used; None: no runs are told apart."""
        if self.group is None:
            if groups is not None:
                raise InputError(f"{self.path}: holds no `group` to choose {list(groups)} from; set groups to null")
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

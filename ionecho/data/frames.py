"""What is read of a trajectory: blocks of frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionecho.errors import InputError


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
        values = [getattr(self, each.name) for each in fields(self)[:-1]]
        arrays = {name: array[chosen] for name, array in self.arrays.items()}
        return Frames(*(None if array is None else array[chosen] for array in values), arrays)  # type: ignore[arg-type, call-arg]


class Trajectory:
    """`numbers` (N,), `pbc` (3,), and what else is known of the frames, which come in blocks.

    `group` and `frame` (T,) are the run of each frame and its number in it, `stored` the names of the arrays that
    `blocks` can add, `centres` (K,) the atoms that those by atom are of. `temperature` K is that of the simulation,
    `friction_time` (fs) the relaxation time of Langevin dynamics, `stopped` why it ended early; `attrs` the attributes.
    """

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

    def refuse_missing(self, names: Sequence[str], path: Path) -> None:
        """Raise InputError if one of the arrays `names` is not stored."""
        if absent := [name for name in names if name not in self.stored]:
            held = ", ".join(self.stored) or "none"
            raise InputError(f"{path}: no array {', '.join(absent)}; it holds {held}; `predict.py` makes predictions")

"""Frames in memory, read as a trajectory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import ase
import numpy as np

from ionecho.data.frames import Frames, Trajectory
from ionecho.errors import InputError


class Images(Trajectory):
    """ASE atoms, the same ones in every frame.

    Raises
    ------
    InputError
        If there is no frame, or one holds other atoms than the first.
    """

    path = Path("frames in memory")

    def __init__(self, images: Sequence[ase.Atoms]) -> None:
        if not images:
            raise InputError("predict: expected one frame or more, found none")
        self.images, self.n_frames = images, len(images)
        self.numbers, self.pbc = images[0].numbers, images[0].pbc
        for number, atoms in enumerate(images):
            if not np.array_equal(atoms.numbers, self.numbers):
                raise InputError(f"predict: frame {number} holds other atoms than frame 0; predict them one by one")

    def _blocks(self, start: int, size: int, names: Sequence[str]) -> Iterator[Frames]:
        for first in range(start, len(self.images), size):
            block = self.images[first : first + size]
            yield Frames(
                np.stack([atoms.positions for atoms in block]), np.stack([atoms.cell.array for atoms in block])
            )

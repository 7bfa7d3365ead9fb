"""Atoms in space for the page: a few frames, coloured by a value of each atom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from ionecho.report.style import SEQUENTIAL, ramp

Floats = NDArray[np.float64]

FRAMES, ATOMS = 24, 30_000  # of a scene at most, the latter over all frames
OUTLIERS = 0.02  # share of the values beyond each end of the colours


def evenly(count: int, atoms: int) -> NDArray[np.intp]:
    """Which of `count` frames of so many atoms a scene shows."""
    shown = max(1, min(FRAMES, ATOMS // max(atoms, 1), count))
    return np.unique(np.linspace(0, count - 1, shown).round().astype(np.intp))


@dataclass(frozen=True)
class Scene:
    """Frames of one trajectory.

    `numbers` (N,) and `positions` (F, N, 3) Å of the atoms, `cell` (F or 1, 3, 3) Å, all zero for none; `values` (F, N)
    are what colours them, NaN for atoms without, and `label` says what they are, with the unit: panels with that label
    on their x axis show the value of an atom that is chosen. `kinds` (F, N) are names, as of sites, which curves of the
    figures have too ("" for none); `times` (F,) says which frame is which, and `first`
    is the one shown first.
    """

    numbers: NDArray[np.integer]
    positions: Floats
    cell: Floats
    values: Floats
    label: str
    times: Sequence[str]
    caption: str
    kinds: NDArray | None = None
    first: int = 0

    @property
    def content(self) -> dict[str, Any]:
        """What the page needs, as plain data; atoms are wrapped into the cell."""
        cells = np.broadcast_to(self.cell, (len(self.positions), 3, 3))
        positions = self.positions
        if np.abs(np.linalg.det(cells)).min() > 0:
            positions = np.mod(positions @ np.linalg.inv(cells), 1.0) @ cells
        known = self.values[np.isfinite(self.values)]
        ends = np.quantile(known, [OUTLIERS, 1 - OUTLIERS]).tolist() if known.size else [0.0, 1.0]
        kinds = [] if self.kinds is None else self.kinds.astype(str).tolist()
        elements = sorted(set(self.numbers.tolist()))
        return {
            "symbols": [chemical_symbols[number] for number in self.numbers],
            "looks": {
                chemical_symbols[number]: {
                    "colour": to_hex(jmol_colors[number]),
                    "radius": round(0.3 * float(covalent_radii[number]), 3),
                }
                for number in elements
            },
            "positions": [[round(value, 2) for value in frame.ravel().tolist()] for frame in positions],
            "cells": [[round(value, 3) for value in cell.ravel().tolist()] for cell in self.cell],
            "values": [[float(f"{value:.5g}") if np.isfinite(value) else None for value in row] for row in self.values],
            "kinds": kinds,
            "label": self.label,
            "ends": ends,
            "colours": ramp(SEQUENTIAL),
            "times": list(self.times),
            "first": self.first,
        }

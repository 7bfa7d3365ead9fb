"""Dipolar couplings of Na against the field of points at the Mn: python -m validation.dipolar_points [NAMES].

Labels of ferromagnetic datasets, or files of such, by default `p2_gpaw` and `p2_nmmo`. Every Mn is a point with its
share of the cell's moment; all images are summed. Covalent spin on O and Na is left out: the slope is only near one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.constants as si
from numpy.typing import NDArray

from ionecho.data.open import open_dataset
from ionecho.data.store import Dataset
from ionecho.nmr.isotopes import isotope

DEFAULT = ("p2_gpaw", "p2_nmmo")
CONFIGURATIONS = 20
WIDTH = 0.6  # Å of the points, as Gaussians
CUTOFF = 12.0  # 1/Å
FIELD = si.mu_0 / (4 * np.pi) * -si.value("electron g factor") * si.value("Bohr magneton") * 1e30  # T Å³ for <S_z> = 1


def field_of_points(cell: NDArray, vectors: NDArray) -> NDArray:
    """Mean of (3 r r - r²) / r⁵ over points at `vectors` (P, 3) in Å from a nucleus and images, (3, 3) in 1/Å³."""
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    most = np.ceil(CUTOFF * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
    waves = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in most)), -1).reshape(-1, 3)
    waves = waves[np.any(waves, axis=1)] @ reciprocal
    unit = waves / np.linalg.norm(waves, axis=1)[:, None]
    weights = np.exp(-np.square(WIDTH / 2 * waves).sum(1)) * np.cos(vectors @ waves.T).mean(0)
    tensor = -4 * np.pi / abs(np.linalg.det(cell)) * np.einsum("g, gi, gj -> ij", weights, unit, unit)
    return tensor - np.eye(3) * np.trace(tensor) / 3


def compare(dataset: Dataset) -> tuple[float, float]:
    """Slope through zero and correlation of the labels' components with those of the points."""
    labels, points = [], []
    for index in np.linspace(0, len(dataset) - 1, min(CONFIGURATIONS, len(dataset))).astype(int):
        numbers, positions, cell, tensors = (
            dataset.rows(name, index, index + 1) for name in ("numbers", "positions", "cell", "hyperfine_dipolar")
        )
        for atom in np.flatnonzero(numbers == 11):
            labels.append(tensors[atom])
            points.append(field_of_points(cell[0], positions[numbers == 25] - positions[atom]))
    ratio = isotope("23Na").gyromagnetic_ratio
    found, expected = np.ravel(labels), FIELD * ratio * np.ravel(points)
    return float(found @ expected / (expected @ expected)), float(np.corrcoef(found, expected)[0, 1])


def main(names: Sequence[str] = DEFAULT) -> None:
    """Print a line for each dataset."""
    for name in names:
        slope, correlation = compare(Dataset(Path(name)) if Path(name).exists() else open_dataset(name))
        print(f"{name}: {slope:.3f} times the field of points, correlation {correlation:.4f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or DEFAULT)

"""Which frames of a simulation are worth a label: a window of force uncertainty, then the farthest from all known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

import ase
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ionecho.errors import InputError
from ionecho.geometry.neighbours import build_graph
from ionecho.geometry.radial import SmearedOrbitals
from ionecho.geometry.soap import AtomicDensity, power_spectrum
from ionecho.models.species import Species

Floats = NDArray[np.floating]
CUTOFF, CUTOFF_WIDTH, SIGMA, N_MAX, L_MAX = 5.0, 1.0, 0.5, 4, 4  # of the SOAP that tells frames apart; Å
PROBES = 16  # configurations that set the scale of its distances


@dataclass(frozen=True)
class Window:
    """Frames with low <= score <= high (eV/Å) are worth a label; the score is `scale` times the ensemble's spread.

    The spread of an atom is that of its force, σ_i = √(Σ_m |F_mi - F̄_i|² / (M - 1)) times the checkpoint's calibration,
    and a frame's is the largest of its atoms. Below `low` the model knows the frame; above `high` it is lost, and the
    labels would be of structures that the true dynamics never visit (Energy Storage Mater. 2023, 63, 103023: 1 and
    5 eV/Å, on the members' standard deviation as it is).
    """

    low: float
    high: float
    scale: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise InputError(f"select.low, select.high: expected 0 < low < high, found {self.low}, {self.high}")

    @property
    def spread_limit(self) -> float:
        """The calibrated spread, eV/Å, at which a simulation stops."""
        return self.high / self.scale

    def inside(self, score: Floats) -> NDArray[np.integer]:
        """Indices of the scores (T,) in the window."""
        return np.flatnonzero((score >= self.low) & (score <= self.high))


def conformal_factor(error: Floats, spread: Floats, level: float) -> float:
    """Factor q for which q times the spread bounds the error of a further configuration with probability `level`.

    Split conformal prediction: q is the ⌈(n + 1) level⌉-th smallest error / spread of the n held-out configurations
    (Hu et al., Mach. Learn.: Sci. Technol. 2022, 3, 045028). The bound holds for configurations like those held out.

    Raises
    ------
    InputError
        If n is too small for the level.
    """
    least, rank = least_held_out(level), ceil(round((len(error) + 1) * level, 9))
    if len(error) < least:
        raise InputError(
            f"select.quantile={level} needs {least} held-out configurations, found {len(error)}; "
            "begin another output with a higher dataset.validation, or with select.window=published"
        )
    return float(np.sort(error / spread)[rank - 1])


def least_held_out(level: float) -> int:
    """Fewest configurations by which an error can be bounded with probability `level`."""
    if not 0 < level < 1:
        raise InputError(f"select.quantile: expected a number between 0 and 1, found {level}")
    return ceil(round(level / (1 - level), 9))


class MeanSOAP:
    """A configuration as the mean power spectrum of the atoms of each element, of unit length.

    Parameters
    ----------
    numbers
        Atomic numbers that the configurations may hold.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers, self.species = tuple(numbers), Species(numbers)
        radial = [SmearedOrbitals(CUTOFF, CUTOFF_WIDTH, SIGMA, N_MAX, L_MAX).double() for _ in numbers]
        self.density = AtomicDensity(radial, [CUTOFF] * len(radial), L_MAX).double()

    def __call__(self, configurations: Iterable[ase.Atoms]) -> Tensor:
        """Descriptors (F, D) of F configurations."""
        with torch.no_grad():
            rows = [self._mean(atoms) for atoms in configurations]
        return torch.nn.functional.normalize(torch.stack(rows)) if rows else torch.empty(0, 0, dtype=torch.float64)

    def _mean(self, atoms: ase.Atoms) -> Tensor:
        graph = build_graph(
            [atoms.positions],
            [atoms.cell.array],
            [atoms.numbers],
            [atoms.pbc],
            cutoff=CUTOFF,
            centres=self.numbers,
            pairs_of="atoms",
            dtype=torch.float64,
        )
        species = self.species(graph.numbers)
        spectrum = power_spectrum(self.density(graph, species))
        total = spectrum.new_zeros(len(self.numbers), spectrum.shape[1]).index_add(0, species, spectrum)
        return (total / species.bincount(minlength=len(total)).clamp(min=1)[:, None]).flatten()

    def resolution(self, configurations: Sequence[ase.Atoms], displacement: float) -> float:
        """Median distance between a configuration and its copy displaced by `displacement` Å (standard deviation)."""
        rng = np.random.default_rng(0)
        probes = [configurations[k] for k in np.linspace(0, len(configurations) - 1, PROBES).round().astype(int)]
        moved = [atoms.copy() for atoms in probes]
        for atoms in moved:
            atoms.positions += rng.normal(scale=displacement, size=atoms.positions.shape)
        return float((self(probes) - self(moved)).norm(dim=1).median())


def farthest_points(
    candidates: Tensor, known: Tensor, count: int, distance: float
) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
    """Up to `count` candidates (F, D), each the farthest from all that is known (K, D) or chosen before it.

    Returns
    -------
    Indices of the chosen candidates in the order of their choice, and their distances. The choice ends where the
    farthest is within `distance` of what is known: the rest are duplicates.
    """
    nearest = torch.full((len(candidates),), torch.inf, dtype=candidates.dtype)
    if len(known) and len(candidates):
        nearest = torch.cdist(candidates, known, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    chosen: list[int] = []
    distances: list[float] = []
    while len(chosen) < min(count, len(candidates)):
        farthest = int(nearest.argmax())
        if not nearest[farthest] > distance:
            break
        chosen.append(farthest)
        distances.append(float(nearest[farthest]))
        nearest = torch.minimum(nearest, (candidates - candidates[farthest]).norm(dim=1))
    return np.array(chosen, dtype=int), np.array(distances)

"""Minimum-energy paths by the nudged elastic band (ASE's), with any calculator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import ase
import numpy as np
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from numpy.typing import NDArray

from ionecho.errors import InputError


@dataclass(frozen=True)
class Path:
    """A converged band: images, energies (I,) in eV above the first, and the length of the path to each (I,) in Å."""

    images: Sequence[ase.Atoms]
    energies: NDArray[np.floating]
    length: NDArray[np.floating]

    @property
    def barrier(self) -> float:
        """Highest energy of the band above its first image, eV (science B15)."""
        return float(self.energies.max())


def minimum_energy_path(
    initial: ase.Atoms,
    final: ase.Atoms,
    calculator: Callable[[], Calculator],
    images: int,
    force: float,
    steps: int,
) -> Path:
    """Relax the ends, then the band, with a climbing image (Henkelman et al., J. Chem. Phys. 2000, 113, 9901).

    Parameters
    ----------
    initial, final
        The same atoms in the same order and cell; the way between them is the shortest under periodic boundaries.
    calculator
        Makes a calculator; every image has its own.
    images
        Number of images, ends included.
    force
        Largest force on an atom of an end, and of the band across it, at which a relaxation ends, eV/Å.
    steps
        Most steps of each relaxation.

    Raises
    ------
    InputError
        If the ends hold other atoms, or a relaxation does not end in `steps`.
    """
    if images < 3:
        raise InputError(f"images: expected at least 3, the ends included, found {images}")
    if not np.array_equal(initial.numbers, final.numbers) or not np.allclose(initial.cell, final.cell):
        raise InputError("neb: the two ends should hold the same atoms in the same order and cell")
    ends = [_with(end, calculator()) for end in (initial, final)]
    for end in ends:
        _converge(BFGS(end, logfile=None), force, steps, "an end")
    way, _ = find_mic(ends[1].positions - ends[0].positions, ends[0].cell, ends[0].pbc)
    band = [ends[0]]
    for index in range(1, images - 1):
        image = _with(ends[0], calculator())
        image.positions += way * index / (images - 1)
        band.append(image)
    band.append(ends[1])
    neb = NEB(band, method="improvedtangent", climb=False)
    if images > 3:
        neb.interpolate("idpp", mic=bool(ends[0].pbc.any()))
    _converge(FIRE(neb, logfile=None), 3 * force, steps, "the band")
    neb.climb = True
    _converge(FIRE(neb, logfile=None), force, steps, "the climbing band")
    energies = np.array([image.get_potential_energy() for image in band])
    return Path(band, energies - energies[0], _lengths(band))


def _with(atoms: ase.Atoms, calculator: Calculator) -> ase.Atoms:
    copy = atoms.copy()
    copy.calc = calculator
    return copy


def _converge(optimizer: BFGS | FIRE, force: float, steps: int, what: str) -> None:
    if not optimizer.run(fmax=force, steps=steps):
        raise InputError(
            f"neb: {what} is not relaxed to {force} eV/Å after {steps} steps; allow more, or check the ends"
        )


def _lengths(band: Sequence[ase.Atoms]) -> NDArray[np.floating]:
    """Length of the path from the first image to each, all atoms together, Å."""
    steps = [
        np.linalg.norm(find_mic(after.positions - before.positions, before.cell, before.pbc)[0])
        for before, after in pairwise(band)
    ]
    return np.concatenate([[0.0], np.cumsum(steps)])

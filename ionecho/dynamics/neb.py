"""Minimum-energy paths by the nudged elastic band (ASE's), with any calculator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

STAGES = ("first end", "last end", "band", "climbing band")  # relaxed one after the other
BAND, CLIMBING = 2, 3
FIRE_MEMORY = ("vel", "dt", "a", "Nsteps")


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


@dataclass(frozen=True)
class Snapshot:
    """Where a relaxation stands: all that it needs to go on as if it had not been interrupted.

    Attributes
    ----------
    stage, step
        Index into `STAGES`, and steps taken in it.
    positions
        Of both ends (2, N, 3), then of the images (I, N, 3), Å.
    memory
        What the optimiser knows of the steps before; empty at the first.
    """

    stage: int
    step: int
    positions: NDArray[np.floating]
    memory: Mapping[str, NDArray]


def minimum_energy_path(
    initial: ase.Atoms,
    final: ase.Atoms,
    calculator: Callable[[], Calculator],
    images: int,
    force: float,
    steps: int,
    begin: Snapshot | None = None,
    watch: Callable[[Snapshot, float], None] | None = None,
) -> Path:
    """Relax the ends, then the band, with a climbing image (Henkelman et al., J. Chem. Phys. 2000, 113, 9901).

    Parameters
    ----------
    initial, final
        The same atoms in the same order and cell; the way between them is the shortest under periodic boundaries.
    calculator
        Makes a calculator; every image has its own. The atoms it is given bear their name in `info["source"]`.
    images
        Number of images, ends included.
    force
        Largest force on an atom of an end, and of the band across it, at which a relaxation ends, eV/Å.
    steps
        Most steps of each relaxation.
    begin
        Snapshot of an earlier call with the same arguments, to go on from.
    watch
        Told the snapshot and the largest force, eV/Å, after every step.

    Raises
    ------
    InputError
        If the ends hold other atoms, or a relaxation does not end in `steps`.
    """
    if images < 3:
        raise InputError(f"images: expected at least 3, the ends included, found {images}")
    same = np.array_equal(initial.numbers, final.numbers) and np.array_equal(initial.pbc, final.pbc)
    if not same or not np.allclose(initial.cell, final.cell):
        raise InputError("neb: the two ends should hold the same atoms in the same order, cell and periodicity")
    at = begin or Snapshot(0, 0, np.stack([initial.positions, final.positions]), {})
    indices = (0, images - 1) if len(at.positions) == 2 else range(images)
    band = [
        _image(final if index == images - 1 else initial, positions, calculator, index)
        for index, positions in zip(indices, at.positions, strict=True)
    ]
    for stage in range(at.stage, len(STAGES)):
        if stage == BAND and len(band) == 2:
            band = _interpolated(band, calculator, images)
        _relax(band, at if stage == at.stage else Snapshot(stage, 0, at.positions, {}), force, steps, watch)
    energies = np.array([image.get_potential_energy() for image in band])
    return Path(band, energies - energies[0], path_length([image.positions for image in band], initial))


def path_length(positions: Sequence[NDArray[np.floating]], atoms: ase.Atoms) -> NDArray[np.floating]:
    """Length of the path from the first image to each, all atoms together, Å, by the cell and pbc of `atoms`."""
    steps = [
        np.linalg.norm(find_mic(after - before, atoms.cell, atoms.pbc)[0]) for before, after in pairwise(positions)
    ]
    return np.concatenate([[0.0], np.cumsum(steps)])


def _image(atoms: ase.Atoms, positions: NDArray, calculator: Callable[[], Calculator], index: int) -> ase.Atoms:
    image = atoms.copy()
    image.set_positions(positions, apply_constraint=False)
    image.calc = calculator()
    image.info["source"] = f"image {index}"
    return image


def _interpolated(ends: Sequence[ase.Atoms], calculator: Callable[[], Calculator], images: int) -> list[ase.Atoms]:
    """The ends and images between them by the image-dependent pair potential (Smidstrup et al., JCP 2014, 140, 214106).

    A single image between the ends lies halfway.
    """
    first, last = ends
    way, _ = find_mic(last.positions - first.positions, first.cell, first.pbc)
    between = [
        _image(first, first.positions + way * index / (images - 1), calculator, index) for index in range(1, images - 1)
    ]
    band = [first, *between, last]
    if images > 3:
        NEB(band, method="improvedtangent").interpolate("idpp", mic=bool(first.pbc.any()))
    return band


def _relax(
    band: Sequence[ase.Atoms],
    at: Snapshot,
    force: float,
    steps: int,
    watch: Callable[[Snapshot, float], None] | None,
) -> None:
    """One stage, from where `at` says it stands."""
    optimizer: BFGS | FIRE
    if at.stage < BAND:
        optimizer = BFGS(band[at.stage], logfile=None)
    else:
        optimizer = FIRE(NEB(list(band), method="improvedtangent", climb=at.stage == CLIMBING), logfile=None)
    if at.step:
        _recall(optimizer, at)
    limit = 3 * force if at.stage == BAND else force
    for converged in optimizer.irun(fmax=limit, steps=max(0, steps - at.step)):
        if watch is not None:
            positions = np.stack([image.positions for image in band])
            largest = optimizer.optimizable.gradient_norm(optimizer.optimizable.get_gradient())
            watch(Snapshot(at.stage, optimizer.nsteps, positions, _memory(optimizer)), float(largest))
        if converged:
            return
    raise InputError(
        f"neb: the {STAGES[at.stage]} is not relaxed to {limit:g} eV/Å after {steps} steps; allow more, "
        "or check the ends"
    )


def _memory(optimizer: BFGS | FIRE) -> dict[str, NDArray]:
    if not optimizer.nsteps:
        return {}
    if isinstance(optimizer, BFGS):
        return {"hessian": np.array(optimizer.H), "positions": optimizer.pos0, "forces": optimizer.forces0}
    return {name: np.array(getattr(optimizer, name)) for name in FIRE_MEMORY}


def _recall(optimizer: BFGS | FIRE, at: Snapshot) -> None:
    """What `_memory` kept; ASE's own restart files leave out a part of FIRE's."""
    optimizer.nsteps = at.step
    if isinstance(optimizer, BFGS):
        known = tuple(at.memory[name] for name in ("hessian", "positions", "forces"))
        optimizer.load = lambda: (*known, optimizer.maxstep)  # type: ignore[method-assign]
        optimizer.read()
    else:
        for name, value in at.memory.items():
            setattr(optimizer, name, value if value.ndim else value.item())

"""Barriers along minimum-energy paths, and how far another level of theory is from them on the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ase.geometry import find_mic
from ase.utils.forcecurve import fit_raw
from numpy.typing import NDArray
from pydantic import Field

from ionecho.analysis.options import Options
from ionecho.data.store import Dataset
from ionecho.data.trajectory import is_dataset, open_trajectory
from ionecho.errors import InputError

Floats = NDArray[np.float64]


class BarrierOptions(Options):
    """Everything the analysis depends on besides the inputs; see conf/analysis/barrier.yaml for each entry."""

    tolerance: float = Field(gt=0)
    reference: str | None = None


@dataclass(frozen=True)
class Band:
    """The images of a path: positions (I, N, 3) Å, continuous from image to image, and what was computed on them.

    `energies` (I,) eV, `forces` (I, N, 3) eV/Å if stored, `length` (I,) Å of the path up to each image, `spread` (I,)
    eV/Å the largest of an ensemble's on an atom. `request` is what the path was asked for, and of whom.
    """

    numbers: NDArray[np.integer]
    cell: Floats
    pbc: NDArray[np.bool_]
    positions: Floats
    length: Floats
    energies: Floats
    forces: Floats | None
    spread: Floats | None
    request: Mapping[str, Any]

    @property
    def computed_by(self) -> str:
        """The checkpoint or engine."""
        return str(self.request.get("checkpoint") or _engine(self.request))


@dataclass(frozen=True)
class Barrier:
    """Energies (I,) eV above the first image, NaN where not known, and the barriers over the known ones, eV."""

    energies: Floats
    top: int  # the highest image
    forward: float
    backward: float | None
    reaction_energy: float | None
    fit: Fit | None


@dataclass(frozen=True)
class Fit:
    """Cubic pieces through energies and tangential forces: a curve (M,) in Å and eV, its maximum, and the barriers."""

    length: Floats
    energies: Floats
    position: float
    forward: float
    backward: float


@dataclass(frozen=True)
class Comparison:
    """Another level of theory on the images of a path; differences are the path's less the reference's.

    `energy_rmse` (eV) is over the labelled images but the first, where it is zero; `force_rmse` (eV/Å) over components,
    of all labelled images and of each, (I,). `forces` (I, N, 3) are the reference's, `attributes` its dataset's.
    """

    attributes: Mapping[str, Any]
    labelled: int
    barrier: Barrier
    difference: Floats
    forward_difference: float | None
    energy_rmse: float
    forces: Floats | None
    force_rmse: float | None
    force_rmse_of_images: Floats | None

    @property
    def computed_by(self) -> str:
        """The engine."""
        return _engine(self.attributes)


def read_band(path: Path) -> Band:
    """The output of `ionecho neb`.

    Raises
    ------
    InputError
        If it is something else.
    """
    trajectory = None if is_dataset(path) else open_trajectory(path)
    if trajectory is None or not {"path_length", "potential_energy"} <= set(trajectory.stored):
        raise InputError(f"{path}: no path_length in it; expected a path from `ionecho neb`")
    optional = [name for name in ("forces", "forces_std") if name in trajectory.stored]
    names = ["path_length", "potential_energy", *optional]
    images = next(trajectory.blocks(0, trajectory.n_frames or 0, names))
    cell, spread = np.asarray(images.cell[0]), images.arrays.get("forces_std")
    return Band(
        trajectory.numbers,
        cell,
        trajectory.pbc,
        _continuous(images.positions, cell, trajectory.pbc),
        images.arrays["path_length"],
        images.arrays["potential_energy"],
        images.arrays.get("forces"),
        None if spread is None else spread.max(axis=1),
        trajectory.attrs["request"],
    )


def _engine(attributes: Mapping[str, Any]) -> str:
    level = attributes.get("level_of_theory", {})
    return str(level.get("engine") or level.get("code", "engine not said"))


def _continuous(positions: NDArray[np.floating], cell: Floats, pbc: NDArray[np.bool_]) -> Floats:
    """Each image where it is nearest to the one before under periodic boundaries."""
    steps = [find_mic(after - before, cell, pbc)[0] for before, after in pairwise(positions)]
    return np.concatenate([positions[:1], positions[0] + np.cumsum(steps, axis=0)])


def barrier(positions: Floats, energies: Floats, forces: Floats | None) -> Barrier:
    """Barriers of a path by its highest image, and by a fit where every energy and force is known.

    Parameters
    ----------
    positions
        Images (I, N, 3) Å, continuous.
    energies
        (I,) eV; NaN where not known, but not for the first.
    forces
        (I, N, 3) eV/Å.
    """
    above = energies - energies[0]
    top, last = int(np.nanargmax(above)), float(above[-1])
    complete = forces is not None and np.isfinite(energies).all() and np.isfinite(forces).all()
    return Barrier(
        above,
        top,
        forward=float(above[top]),
        backward=None if np.isnan(last) else float(above[top] - last),
        reaction_energy=None if np.isnan(last) else last,
        fit=_fit(positions, above, forces) if complete else None,
    )


def _fit(positions: Floats, energies: Floats, forces: Floats | None) -> Fit:
    curve = fit_raw(energies, forces, positions)
    highest = int(np.argmax(curve.fit_energies))
    height = float(curve.fit_energies[highest])
    return Fit(curve.fit_path, curve.fit_energies, float(curve.fit_path[highest]), height, height - float(energies[-1]))


def compare(band: Band, own: Barrier, reference: Path, options: BarrierOptions) -> Comparison:
    """A labelled dataset on the images of `band`; an image that it does not hold is left out.

    Raises
    ------
    InputError
        If it has no energies, or lacks the first image or all others.
    """
    dataset = Dataset(reference)
    if "energy" not in dataset.labels:
        raise InputError(f"{reference}: no energies in it; labels: {', '.join(dataset.labels)}")
    energies, forces = _labels(band, dataset, options.tolerance)
    known = np.isfinite(energies)
    if not known[0] or known.sum() < 2:
        held = ", ".join(map(str, np.flatnonzero(known))) or "none"
        raise InputError(
            f"{reference}: expected labels of the first image of the path and of others, within {options.tolerance} Å; "
            f"found images: {held}. Label them with `ionecho label run NAME input=PATH.zarr engine=..`"
        )
    other = barrier(band.positions, energies, forces)
    difference = own.energies - other.energies
    squares = None if band.forces is None or forces is None else np.square(band.forces - forces).mean(axis=(1, 2))
    return Comparison(
        dataset.attrs,
        int(known.sum()),
        other,
        difference,
        forward_difference=own.forward - other.forward if known[own.top] else None,
        energy_rmse=float(np.sqrt(np.square(difference[1:][known[1:]]).mean())),
        forces=forces,
        force_rmse=None if squares is None else float(np.sqrt(np.nanmean(squares))),
        force_rmse_of_images=None if squares is None else np.sqrt(squares),
    )


def _labels(band: Band, dataset: Dataset, tolerance: float) -> tuple[Floats, Floats | None]:
    """Energies (I,) and forces (I, N, 3) of the configurations nearest to the images; NaN where none is near enough."""
    names = ("energy", "forces") if "forces" in dataset.labels else ("energy",)
    nearest = np.full(len(band.positions), tolerance)
    energies, forces = np.full(len(band.positions), np.nan), np.full_like(band.positions, np.nan)
    for start, stop, block in dataset.blocks(("numbers", "positions", "cell", *names)):
        offsets = dataset.offsets[start : stop + 1] - dataset.offsets[start]
        for index, atoms in enumerate(map(slice, offsets[:-1], offsets[1:])):
            same = np.array_equal(block["numbers"][atoms], band.numbers)
            if not same or np.abs(block["cell"][index] - band.cell).max() > tolerance:
                continue
            moved = (band.positions - block["positions"][atoms]).reshape(-1, 3)
            distance = find_mic(moved, band.cell, band.pbc)[1].reshape(len(nearest), -1).max(axis=1)
            for image in np.flatnonzero(distance <= nearest):
                nearest[image], energies[image] = distance[image], block["energy"][index]
                if "forces" in block:
                    forces[image] = block["forces"][atoms]
    return energies, forces if "forces" in names else None

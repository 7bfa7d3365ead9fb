"""What the analysis of redox reads: moments and charges of the centres, distances, paths of the mobile ions."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.data import atomic_numbers
from pydantic import Field

from ionecho.analysis.options import ReadOptions, TrajectoryOptions
from ionecho.analysis.redox import Run, continuous, nearest_distances
from ionecho.data.registry import find_input
from ionecho.data.trajectory import Trajectory
from ionecho.errors import InputError

BLOCK = 256


class Settings(TrajectoryOptions):
    """Which arrays tell the states, of which ions; valences are those of the centres without a hole.

    `reference` is a dataset of the same atoms (of it `reference_groups`), whose charges and spin densities stand
    beside; `grids` the predicted densities of the run, of which slices of `field` are shown.
    """

    centre: str
    ion: str
    ligand: str
    moment: str
    charge: str | None
    valences: dict[str, int]
    hold: int = Field(ge=1)
    hop_window: int = Field(ge=1)
    hop_distance: float = Field(gt=0)
    window: int = Field(ge=0)
    reference: str | None = None
    reference_groups: list[str] | None = None
    grids: str | None = None
    field: str


def read_run(trajectory: Trajectory, settings: Settings) -> Run:
    """Moments, charges and distances of the centres, and the paths of the mobile ions.

    Raises
    ------
    InputError
        If elements, valences or arrays are missing, or the composition allows no number of holes.
    """
    numbers = trajectory.numbers
    own = {name: np.flatnonzero(numbers == atomic_numbers[getattr(settings, name)]) for name in ("centre", "ligand")}
    if absent := [getattr(settings, name) for name, atoms in own.items() if not len(atoms)]:
        raise InputError(f"{trajectory.path}: holds no {', '.join(absent)}; set centre=.. and ligand=..")
    mobile = np.flatnonzero(numbers == atomic_numbers[settings.ion])
    valences = {atomic_numbers[symbol]: valence for symbol, valence in settings.valences.items()}
    if unknown := sorted(set(numbers.tolist()) - set(valences)):
        raise InputError(f"{trajectory.path}: expected valences={{..}} of all elements, found none of {unknown}")
    expected = -sum(valences[number] for number in numbers.tolist())
    if not 0 <= expected <= len(own["centre"]):
        raise InputError(
            f"{trajectory.path}: its composition asks for {expected} holes on {len(own['centre'])} {settings.centre}; "
            f"expected 0 to {len(own['centre'])}, see valences={{..}}"
        )
    names = [settings.moment, *([settings.charge] if settings.charge else [])]
    parts: dict[str, list[Any]] = {name: [] for name in (*names, "distances", "places", "mobile", "cell", "time")}
    for frames in settings.read.frames(trajectory, BLOCK, names):
        for name in names:
            values = frames.arrays[name]
            rows = own["centre"] if values.shape[1] == len(numbers) else _rows(trajectory, own["centre"], name)
            parts[name].append(values[:, rows].astype(float))
        places = frames.positions[:, own["centre"]].astype(float)
        ligands, cell = frames.positions[:, own["ligand"]].astype(float), np.asarray(frames.cell, float)
        parts["distances"].append(nearest_distances(places, ligands, cell, 6))
        parts["places"].append(places)
        parts["mobile"].append(frames.positions[:, mobile].astype(float))
        parts["cell"].append(cell)
        parts["time"].append(np.full(len(frames), np.nan) if frames.time is None else frames.time)
    joined = {name: np.concatenate(blocks) for name, blocks in parts.items()}
    if not np.isfinite(joined[settings.moment]).all():
        raise InputError(
            f"{trajectory.path}: {settings.moment} of some {settings.centre} is missing; choose groups=[..]"
        )
    time = joined["time"] if np.isfinite(joined["time"]).all() else None
    charges = joined[settings.charge] if settings.charge else None
    paths = continuous(joined["mobile"], joined["cell"])
    structure = numbers, mobile, joined["cell"]
    of_centres = joined[settings.moment], charges, joined["distances"], joined["places"]
    return Run(*of_centres, paths, time, expected, *structure)


def read_reference(run: Run, settings: Settings) -> Run | None:
    """The same of the frames of the reference, at its own structures; None without a reference.

    Raises
    ------
    InputError
        If it holds other atoms than the run, or in another order.
    """
    if settings.reference is None:
        return None
    path, groups = find_input(settings.reference), settings.reference_groups
    own = settings.model_copy(update={"read": ReadOptions(groups=groups)})
    trajectory = own.read.open_run(path)
    if not np.array_equal(trajectory.numbers, run.numbers):
        raise InputError(f"{path}: expected the atoms of the run, in its order; choose reference_groups")
    return read_run(trajectory, own)


def _rows(trajectory: Trajectory, centres: np.ndarray, name: str) -> np.ndarray:
    known = [] if trajectory.centres is None else trajectory.centres.tolist()
    if absent := set(centres.tolist()) - set(known):
        raise InputError(f"{trajectory.path}: {name} is not known of atom {min(absent)}; predict it for this element")
    return np.array([known.index(centre) for centre in centres.tolist()])

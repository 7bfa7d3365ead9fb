"""The report of redox: states of ions along a run, transfers of charge beside hops, distances by state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase.data import atomic_numbers

from ionecho.analysis.options import one
from ionecho.analysis.redox import (
    Floats,
    Redox,
    Run,
    coincidence,
    held,
    hops,
    lowest,
    split,
    transfers,
)
from ionecho.analysis.redox_fields import Fields
from ionecho.analysis.redox_figures import STATES, figures
from ionecho.analysis.redox_reading import Settings as Settings
from ionecho.analysis.redox_reading import read_reference, read_run
from ionecho.analysis.scenes import scene_of_trajectory
from ionecho.data.registry import find_input
from ionecho.data.store import Dataset
from ionecho.data.trajectory import Trajectory, early_end
from ionecho.report import Number, Report, Scene, Table, by_unit

FLICKER = 10  # a transfer in fewer times `hold` frames is told of
CONVENTIONS = {
    "hole": "an ion whose moment is below the threshold, half-way between the means of two classes (Otsu)",
    "undecided": "means of the classes closer than four standard deviations: holes are then the lowest moments",
    "holes_expected": "minus the sum of `valences` over the atoms",
    "transfer": "a frame at which the arrangement of the holes changes: in each frame those ions have one that "
    "have it in most of `hold` frames about it, as many as there are",
    "hop": "medians of `hop_window` frames before and after differ by more than `hop_distance`",
    "chance": "1 - exp(-(2 window + 1) R), R hops a frame: what independent hops would match",
    "distance": "mean over the six nearest ligands",
}
UNITS = by_unit(
    {
        "": "frames ions holes_expected holes_found frames_as_expected transfers hops matched share share_error chance "
        "disagreements decided separation cosine frame ion hole left came",
        "Å": "distance distance_error distance_difference distance_difference_error moved",
        "μB": "moment moment_threshold moment_hole moment_other",
        "e": "charge charge_threshold charge_hole charge_other charge_gap",
        "fs": "time",
    }
)


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """States of the centres along one trajectory, from predicted or computed moments and charges.

    Raises
    ------
    InputError
        If elements or arrays are missing, or the composition allows no number of holes.
    """
    trajectory = settings.read.open_run(one(inputs, "redox"))
    found = _analysed(read_run(trajectory, settings), settings)
    reference = read_reference(found.run, settings)
    return Report(
        analysis="redox",
        title="Oxidation states along a run",
        headline=_headline(found, settings),
        numbers=_numbers(found, settings.window),
        units=UNITS,
        notes=_notes(found, settings, trajectory),
        tables=_tables(found, settings),
        figures=figures(found, settings.centre, settings.ligand, settings.ion, reference, _fields(found.run, settings)),
        scene=_scene(trajectory, found, settings),
        settings=settings,
        conventions=CONVENTIONS,
        source={name: trajectory.attrs[name] for name in ("checkpoint", "states") if name in trajectory.attrs},
    )


def _fields(run: Run, settings: Settings) -> dict[str, Fields]:
    """Spin densities of the run, and of the reference where it has some."""
    if settings.grids is None or not run.paths.shape[1]:
        return {}
    fields = {"model": Fields(Dataset(find_input(settings.grids)), settings.field, run, None)}
    if settings.reference is not None and settings.field in (other := Dataset(find_input(settings.reference))).labels:
        fields["reference"] = Fields(other, settings.field, run, settings.reference_groups)
    return fields


def _scene(trajectory: Trajectory, found: Redox, settings: Settings) -> Scene:
    centres = np.flatnonzero(trajectory.numbers == atomic_numbers[settings.centre])
    what, kinds = f"{settings.centre} by its moment", 1 - found.holes.astype(np.int64)
    values = found.run.moments
    return scene_of_trajectory(trajectory, settings.read, what, "moment / μB", values, centres, kinds, STATES)


def _analysed(read: Run, settings: Settings) -> Redox:
    of_moments = split(read.moments)
    of_charges = None if read.charges is None else split(read.charges)
    some = 0 < read.expected < read.moments.shape[1]
    by_threshold = some and of_moments is not None and of_moments.decided
    holes = read.moments < of_moments.threshold if by_threshold and of_moments else lowest(read.moments, read.expected)
    steady = held(holes, settings.hold)
    changes = transfers(steady)
    moves = hops(read.paths, settings.hop_window, settings.hop_distance)
    together = coincidence(changes, moves, len(holes), settings.window)
    return Redox(read, of_moments, of_charges, holes, steady, changes, moves, together)


def _by_state(values: Floats, holes: np.ndarray) -> tuple[float, float]:
    """Means with and without a hole; NaN where there is none."""
    with_hole, without = (float(values[each].mean()) if each.any() else np.nan for each in (holes, ~holes))
    return with_hole, without


def _difference(found: Redox) -> tuple[float, float]:
    """Distances without minus with a hole, and the standard error over the ions' own means."""
    means = [
        np.array([found.run.distances[each[:, k], k].mean() for k in range(each.shape[1]) if each[:, k].any()])
        for each in (~found.holes, found.holes)
    ]
    if any(len(each) < 2 for each in means):
        with_hole, without = _by_state(found.run.distances, found.holes)
        return without - with_hole, np.nan
    error = np.sqrt(sum(each.var(ddof=1) / len(each) for each in means))
    return float(means[0].mean() - means[1].mean()), float(error)


def _disagreements(found: Redox) -> np.ndarray | None:
    """Ions and frames whose charge says another state than their moment; None where charges tell no states."""
    if found.of_charges is None or found.run.charges is None or not found.of_charges.decided:
        return None
    return (found.run.charges > found.of_charges.threshold) != found.holes


def _cosines(found: Redox, window: int) -> Floats:
    """Cosine between the way of the electron, against that of the hole, and that of each ion that hops with it."""
    values = []
    for change in found.changes:
        if len(change.left) != 1 or len(change.came) != 1:
            continue
        places = found.run.places[change.frame]
        electron = places[change.left[0]] - places[change.came[0]]
        for hop in found.moves:
            if abs(hop.frame - change.frame) <= window:
                values.append(electron @ hop.vector / np.linalg.norm(electron) / np.linalg.norm(hop.vector))
    return np.array(values)


def _headline(found: Redox, settings: Settings) -> list[str | Number]:
    read, together = found.run, found.together
    right = float(np.mean(found.holes.sum(1) == read.expected))
    lines: list[str | Number] = [
        f"{read.expected} of {read.moments.shape[1]} {settings.centre} hold a hole by composition, and in {right:.1%} "
        f"of {len(read.moments)} frames by their moments.",
        f"There are {together.transfers} transfers of charge and {together.hops} hops of {settings.ion}.",
    ]
    if together.transfers:
        lines.append(
            Number(
                f"Share of the transfers with a hop within {settings.window} frames",
                together.share,
                together.error,
                "",
                remark=f", {together.chance:.2f} by chance",
            )
        )
    difference, error = _difference(found)
    if np.isfinite(difference):
        name = f"{settings.centre}-{settings.ligand} is shorter where {settings.centre} holds a hole by"
        lines.append(Number(name, difference, error if np.isfinite(error) else None, "Å"))
    return lines


def _numbers(found: Redox, window: int) -> dict[str, Any]:
    read, apart = found.run, _disagreements(found)
    cosines = _cosines(found, window)
    difference, error = _difference(found)
    numbers: dict[str, Any] = {
        "frames": len(read.moments),
        "ions": read.moments.shape[1],
        "holes_expected": read.expected,
        "holes_found": float(found.holes.sum(1).mean()),
        "frames_as_expected": float(np.mean(found.holes.sum(1) == read.expected)),
        **asdict(found.together),
        "share": found.together.share,
        "share_error": found.together.error,
        "disagreements": None if apart is None else float(apart.mean()),
        "distance_difference": difference,
        "distance_difference_error": error,
        "cosine": float(cosines.mean()) if len(cosines) else None,
    }
    for name, of in (("moment", found.of_moments), ("charge", found.of_charges)):
        values = read.moments if name == "moment" else read.charges
        if of is not None and values is not None:
            with_hole, without = _by_state(values, found.holes)
            numbers[f"{name}s"] = {
                f"{name}_threshold": of.threshold,
                f"{name}_hole": with_hole,
                f"{name}_other": without,
                "separation": of.separation,
                "decided": of.decided,
            }
    return numbers


def _notes(found: Redox, settings: Settings, trajectory: Trajectory) -> list[str]:
    notes = early_end(trajectory.stopped)
    if 0 < found.run.expected < found.run.moments.shape[1] and not (found.of_moments and found.of_moments.decided):
        notes.append("moments fall into no two classes: states are undecided, the lowest moments are taken as holes.")
    if found.run.charges is not None and not (found.of_charges and found.of_charges.decided):
        notes.append("charges fall into no two classes, so they are not compared with the moments.")
    if trajectory.attrs.get("states") == "found by the model":
        notes.append(
            "the states are those of the likeliest arrangement of each frame by itself, not of a followed hole; the "
            "card of the checkpoint tells how often it is right."
        )
    frames, changes = len(found.run.moments), len(found.changes)
    if changes * FLICKER * settings.hold > frames:
        notes.append(
            f"there is a transfer every {frames / changes:.1f} frames at hold={settings.hold}: the arrangement "
            "flickers, and these are no events; let hold cover several vibrations."
        )
    if len(found.run.moments) < 2 * settings.hop_window:
        notes.append(
            f"{len(found.run.moments)} frames are too few for the medians of hop_window on both sides of a hop."
        )
    return notes


def _tables(found: Redox, settings: Settings) -> dict[str, Table]:
    read = found.run
    frames, ions = read.moments.shape
    columns: dict[str, Any] = {"frame": np.repeat(np.arange(frames), ions), "ion": np.tile(np.arange(ions), frames)}
    if read.time is not None:
        columns["time"] = np.repeat(read.time, ions)
    columns |= {"hole": found.holes.ravel().astype(int), "moment": read.moments.ravel()}
    if read.charges is not None:
        columns["charge"] = read.charges.ravel()
    columns["distance"] = read.distances.ravel()
    changes = pd.DataFrame(
        [
            {"frame": c.frame, "left": " ".join(map(str, c.left)), "came": " ".join(map(str, c.came))}
            for c in found.changes
        ],
        columns=["frame", "left", "came"],
    )
    moves = pd.DataFrame(
        [{"frame": hop.frame, "ion": hop.ion, "moved": float(np.linalg.norm(hop.vector))} for hop in found.moves],
        columns=["frame", "ion", "moved"],
    )
    return {
        "ions": Table(pd.DataFrame(columns)),
        "transfers": Table(changes, "Transfers of charge", "Holes left and came to these ions, counted from 0."),
        "hops": Table(moves, f"Hops of {settings.ion}", "Ions counted from 0."),
    }

"""Figures of the analysis of redox."""

from __future__ import annotations

from functools import partial

import numpy as np

from ionecho.analysis.redox import Floats, Redox, Run
from ionecho.analysis.redox_fields import MOST, Fields, farthest, moved, slices
from ionecho.report import Axis, Bins, Curve, Figure, Level, Mesh, Panel
from ionecho.report.panel import HAIR, THIN
from ionecho.report.style import DENSITY, PALETTE

BINS = 40
STATES = ("with a hole", "without")


def figures(
    found: Redox, centre: str, ligand: str, ion: str, reference: Run | None, fields: dict[str, Fields]
) -> dict[str, Figure]:
    """States along the run, against the way of the ion that goes farthest, distributions by state, slices of fields."""
    hop = f"Against the way of the {ion} that goes farthest."
    hop += "" if reference is None else " Squares: the reference, at its own structures."
    split = f"Moments, and distances to {ligand}, by state."
    made = {
        "states": Figure(
            partial(_states, found, centre, ion), "States of the ions along the run.", ["ions"], (), 1, 2.0, "x", True
        ),
        "hop": Figure(partial(_hop, found, reference, centre, ion), hop, ["ions"], height=2.8),
        "distributions": Figure(partial(_distributions, found, centre, ligand), split, ["ions"], columns=3),
    }
    if fields:
        spin = f"Spin density in the plane of the way of the {ion} (dot) and the nearest {centre}: before, amid, after."
        made["spin"] = Figure(lambda _: slices(fields), spin, columns=MOST, height=2.3)
    return made


def _states(found: Redox, centre: str, ion: str, _: list[str]) -> list[Panel]:
    x, label = _time(found.run)
    values, text = _values(found.run)
    ions = values.shape[1]
    lines = [Curve(x, values[:, k], f"{centre} {k}", PALETTE[k], width=THIN) for k in range(min(ions, len(PALETTE)))]
    edges = np.concatenate([x, [x[-1] + (x[-1] - x[-2] if len(x) > 1 else 1.0)]])
    across, up = np.meshgrid(edges, np.arange(ions + 1) - 0.5, indexing="ij")
    hops = [Level(x[hop.frame], colour=PALETTE[1], dash="-", width=HAIR) for hop in found.moves]
    holes = Mesh(across, up, found.steady.astype(float), colours=DENSITY, ends=(0.0, 1.0))
    title = f"dark: with a hole; lines: hops of {ion}"
    return [
        Panel(Axis(label), Axis(text), lines, legend="upper right"),
        Panel(Axis(label), Axis("ion", ends=(ions - 0.5, -0.5)), [holes, *hops], title),
    ]


def _hop(found: Redox, reference: Run | None, centre: str, ion: str, _: list[str]) -> list[Panel]:
    values, text = _values(found.run)
    lines = []
    if found.run.paths.shape[1]:
        own = farthest(found.run)
        way = np.linalg.norm(found.run.paths[:, own] - found.run.paths[0, own], axis=1)
        order = np.argsort(way, kind="stable")
        shown = range(min(values.shape[1], len(PALETTE)))
        lines = [Curve(way[order], values[order, k], f"{centre} {k}", PALETTE[k], symbol="o", size=2.5) for k in shown]
        if reference is not None:
            there, of_reference = (
                np.linalg.norm(moved(reference.paths[:, own], found.run, own), axis=1),
                _values(reference)[0],
            )
            lines += [
                Curve(there, of_reference[:, k], "", PALETTE[k], "", symbol="s", size=5.0, hollow=True) for k in shown
            ]
    return [Panel(Axis(f"way of the {ion} / Å"), Axis(text), lines)]


def _distributions(found: Redox, centre: str, ligand: str, _: list[str]) -> list[Panel]:
    columns = {"moment / μB": found.run.moments, f"{centre}-{ligand} / Å": found.run.distances}
    if found.run.charges is not None:
        columns["charge / e"] = found.run.charges
    made: list[Panel] = []
    for label, values in columns.items():
        edges = np.linspace(values.min(), values.max() + 1e-9, BINS + 1)
        split = (values[found.holes], PALETTE[1]), (values[~found.holes], PALETTE[0])
        marks = [
            Bins(edges, np.histogram(part, edges)[0], name, colour, filled=True)
            for name, (part, colour) in zip(STATES, split, strict=True)
        ]
        made.append(Panel(Axis(label), Axis("ions and frames", ends=(0, None)), marks, legend=None if made else "best"))
    return made


def _values(read: Run) -> tuple[Floats, str]:
    return (read.moments, "moment / μB") if read.charges is None else (read.charges, "charge / e")


def _time(read: Run) -> tuple[Floats, str]:
    if read.time is None:
        return np.arange(len(read.moments), dtype=float), "frame"
    return read.time / 1000, "time / ps"

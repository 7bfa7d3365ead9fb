"""Figures of the analysis of redox."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure as Canvas

from ionecho.analysis.redox import Floats, Redox, Run
from ionecho.report.style import DOUBLE, PALETTE


def draw_states(found: Redox, centre: str, partner: str, _: list[str]) -> Canvas:
    canvas = Canvas(figsize=(DOUBLE, 3.2))
    upper, lower = canvas.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    x, name = _axis(found.run)
    values, text = (
        (found.run.moments, "moment / μB") if found.run.charges is None else (found.run.charges, "charge / e")
    )
    for ion in range(min(values.shape[1], len(PALETTE))):
        upper.plot(x, values[:, ion], color=PALETTE[ion], lw=0.8, label=f"{centre} {ion}")
    upper.set_ylabel(text)
    upper.margins(y=0.25)
    upper.legend(ncols=4, loc="upper right")
    lower.imshow(found.steady.T, aspect="auto", cmap="Greys", extent=(x[0], x[-1] + 1e-9, values.shape[1] - 0.5, -0.5))
    for hop in found.moves:
        lower.axvline(x[hop.frame], color=PALETTE[1], lw=0.5)
    lower.set(xlabel=name, ylabel="ion", title=f"dark: with a hole; lines: hops of {partner}")
    return canvas


def draw_hop(found: Redox, centre: str, partner: str, _: list[str]) -> Canvas:
    canvas = Canvas(figsize=(DOUBLE / 2, 2.8))
    axis = canvas.subplots()
    values, text = (
        (found.run.moments, "moment / μB") if found.run.charges is None else (found.run.charges, "charge / e")
    )
    if found.run.paths.shape[1]:
        way = np.linalg.norm(found.run.paths - found.run.paths[:1], axis=2)
        way = way[:, way.max(0).argmax()]
        order = np.argsort(way, kind="stable")
        for ion in range(min(values.shape[1], len(PALETTE))):
            axis.plot(way[order], values[order, ion], "o-", ms=2.5, color=PALETTE[ion], label=f"{centre} {ion}")
        axis.legend()
    axis.set(xlabel=f"way of the {partner} / Å", ylabel=text)
    return canvas


def draw_distributions(found: Redox, centre: str, partner: str, _: list[str]) -> Canvas:
    canvas = Canvas(figsize=(DOUBLE, 2.5))
    columns = {"moment / μB": found.run.moments, f"{centre}-{partner} / Å": found.run.distances}
    if found.run.charges is not None:
        columns["charge / e"] = found.run.charges
    for axis, (name, values) in zip(canvas.subplots(1, len(columns)), columns.items(), strict=True):
        bins = np.linspace(values.min(), values.max() + 1e-9, 41)
        parts = [values[found.holes], values[~found.holes]]
        axis.hist(parts, bins, stacked=True, color=[PALETTE[1], PALETTE[0]], label=["with a hole", "without"])
        axis.set(xlabel=name, ylabel="ions and frames")
    canvas.axes[0].legend()
    return canvas


def _axis(read: Run) -> tuple[Floats, str]:
    if read.time is None:
        return np.arange(len(read.moments), dtype=float), "frame"
    return read.time / 1000, "time / ps"

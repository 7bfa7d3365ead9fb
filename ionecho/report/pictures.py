"""Figures as pictures, by matplotlib."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Circle

from ionecho.report.content import SHOWN, Figure
from ionecho.report.panel import Band, Bins, Curve, Level, Mark, Mesh, Panel, Rings, Text
from ionecho.report.style import DOUBLE, SINGLE, figure_style

TAGS = {"sub": r"$_\\mathrm{\1}$", "sup": r"$^\\mathrm{\1}$", "i": r"$\1$"}


def draw(figure: Figure, panels: Sequence[Panel], path: Path) -> Path:
    """Draw the panels into a file; raises ValueError where they are more than a page shows."""
    if len(panels) > SHOWN:
        raise ValueError(f"{path.name}: {len(panels)} panels, expected at most {SHOWN}; draw the names given alone")
    with figure_style():
        _canvas(figure, panels).savefig(path)
    return path


def _canvas(figure: Figure, panels: Sequence[Panel]) -> Canvas:
    columns = max(1, min(figure.columns, len(panels)))
    rows = -(-len(panels) // columns)
    canvas = Canvas(figsize=(DOUBLE if columns > 1 or figure.wide else SINGLE, figure.height * rows))
    shared_x, shared_y = (axis in figure.shared for axis in "xy")
    axes = list(canvas.subplots(rows, columns, squeeze=False, sharex=shared_x, sharey=shared_y).flat)
    for spare in axes[len(panels) :]:
        spare.remove()
    for place, (axis, panel) in enumerate(zip(axes, panels, strict=False)):
        _draw_panel(axis, panel)
        left, below = panels[place - place % columns], panels[place + columns :: columns]
        axis.set_ylabel("" if panel is not left and panel.y.label == left.y.label else typeset(panel.y.label))
        axis.set_xlabel("" if below and below[0].x.label == panel.x.label else typeset(panel.x.label))
        if "x" in figure.shared:
            axis.tick_params(labelbottom=not below)
    outside: dict[str, Any] = {}
    for axis, panel in zip(axes, panels, strict=False):
        outside |= _entries(axis) if panel.legend == "outside" else {}
    if outside:
        canvas.legend(list(outside.values()), list(outside), loc="outside upper center", ncols=6)
    return canvas


def typeset(text: str) -> str:
    """Texts of panels as matplotlib writes them."""
    for tag, written in TAGS.items():
        text = re.sub(f"<{tag}>(.*?)</{tag}>", written, text)
    return text


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for name, axis in (("x", panel.x), ("y", panel.y)):
        if axis.log:
            axes.set(**{f"{name}scale": "log"})
        if not axis.ticks:
            axes.set(**{f"{name}ticks": []})
    for mark in panel.marks:
        _draw(mark, axes)
    if panel.equal:
        axes.set_aspect("equal")
    axes.set_title(typeset(panel.title), loc="left")
    axes.set_xlim(*panel.x.ends, auto=None)
    axes.set_ylim(*panel.y.ends, auto=None)
    entries = _entries(axes)
    if panel.legend and panel.legend != "outside" and entries:
        place: Any = panel.legend
        axes.legend(list(entries.values()), list(entries), loc=place, title=panel.legend_title or None)


def _entries(axes: Axes) -> dict[str, Any]:
    """What the legend shows by its text, each once."""
    handles, labels = axes.get_legend_handles_labels()
    return {label: handle for handle, label in zip(handles, labels, strict=True)}


@singledispatch
def _draw(mark: Mark, axes: Axes) -> None:
    raise TypeError(type(mark).__name__)


@_draw.register
def _(mark: Curve, axes: Axes) -> None:
    x, y = np.asarray(mark.x, float), np.asarray(mark.y, float)
    error = None if mark.error is None else np.asarray(mark.error, float)
    label = typeset(mark.name) or None
    look: dict[str, Any] = {
        "color": mark.colour,
        "ls": mark.dash or "none",
        "lw": mark.width,
        "marker": mark.symbol or None,
        "ms": mark.size,
        "mew": 0.0 if not mark.hollow else 1.0,
        "mfc": "white" if mark.hollow else mark.colour,
        "alpha": mark.opacity,
        "label": label,
        "zorder": 3 if mark.dash == "--" else 2,
    }
    if mark.limits:
        axes.errorbar(x, y, 0.4 * y, uplims=True, fmt="_", ms=6, lw=1.0, color=mark.colour, label=label)
    elif mark.symbol and error is not None:
        axes.errorbar(x, y, error, elinewidth=1.0, capsize=2, **look)
    else:
        axes.plot(x, y, drawstyle="steps-post" if mark.steps else "default", **look)
        if error is not None:
            _draw(Band(x, y - error, y + error, mark.colour), axes)


@_draw.register
def _(mark: Band, axes: Axes) -> None:
    x, low, high = (np.asarray(values, float) for values in (mark.x, mark.low, mark.high))
    axes.fill_between(x, low, high, color=mark.colour, alpha=0.2, lw=0)


@_draw.register
def _(mark: Bins, axes: Axes) -> None:
    heights, edges = np.asarray(mark.heights, float), np.asarray(mark.edges, float)
    if mark.filled:
        axes.stairs(heights, edges, fill=True, alpha=0.45, color=mark.colour, label=typeset(mark.name) or None)
        axes.stairs(heights, edges, color=mark.colour, lw=mark.width)
    else:
        axes.stairs(heights, edges, color=mark.colour, lw=mark.width, label=typeset(mark.name) or None)


@_draw.register
def _(mark: Level, axes: Axes) -> None:
    line = axes.axvline if mark.axis == "x" else axes.axhline
    line(mark.at, color=mark.colour, lw=mark.width, ls=mark.dash, label=typeset(mark.name) or None)


@_draw.register
def _(mark: Mesh, axes: Axes) -> None:
    shown, (low, high) = np.ma.masked_invalid(mark.values), mark.limits
    corner = np.array([mark.x[0, 0], mark.y[0, 0]])
    vectors = [np.array([mark.x[end], mark.y[end]]) - corner for end in ((-1, 0), (0, -1))]
    for copy in np.ndindex(3, 3) if mark.periodic else [(1, 1)]:
        shift = sum((n - 1) * vector for n, vector in zip(copy, vectors, strict=True))
        drawn = axes.pcolormesh(
            mark.x + shift[0], mark.y + shift[1], shown, cmap=mark.colours, vmin=low, vmax=high, rasterized=True
        )
    if mark.label:
        figure = axes.get_figure()
        assert figure is not None
        where: dict[str, Any] = {"location": "top", "shrink": 0.95} if mark.periodic else {}
        figure.colorbar(drawn, ax=axes, label=typeset(mark.label), aspect=25, **where)


@_draw.register
def _(mark: Rings, axes: Axes) -> None:
    for index, centre in enumerate(np.asarray(mark.centres, float)):
        axes.add_patch(Circle((centre[0], centre[1]), mark.radius, fill=False, ec=mark.colour, lw=1.0))
        if index == 0:
            axes.plot([], [], color=mark.colour, label=typeset(mark.name) or None)


@_draw.register
def _(mark: Text, axes: Axes) -> None:
    axes.annotate(typeset(mark.text), (mark.x, mark.y), xytext=(4, 0), textcoords="offset points", va="top", fontsize=7)

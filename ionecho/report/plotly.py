"""Figures as plotly.js draws them: traces and a layout as plain data, long series thinned to what a screen shows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionecho.report.content import Figure
from ionecho.report.panel import Axis, Band, Bins, Curve, Level, Mark, Mesh, Panel, Rings, Text
from ionecho.report.style import ramp

Floats = NDArray[np.float64]
Trace = dict[str, Any]

INCH, NARROW = 120, 640  # pixels of the page; width of a single panel
GAP = (0.09, 78.0)  # between columns, share of the width; between rows, pixels
MARGIN = {"l": 64, "r": 10, "t": 34, "b": 46}
COLUMNS, PIXELS = 800, 300  # of a curve: pieces that keep their lowest and highest point; of points: cells an axis
IMAGE = 220  # pixels an axis of a periodic mesh
DASHES = {"-": "solid", "--": "dash", ":": "dot"}
SYMBOLS = {"o": "circle", "s": "square"}
BAR = 46.0  # pixels above a panel, for a colour bar


def drawing(figure: Figure, panels: Sequence[Panel]) -> dict[str, Any]:
    """`data` and `layout` of plotly.js; curves of one name and colour are one entry of the legend."""
    columns = max(1, min(figure.columns, len(panels)))
    rows = -(-len(panels) // columns)
    above = BAR if any(isinstance(mark, Mesh) and mark.label for panel in panels for mark in panel.marks) else 0.0
    height = rows * (figure.height * INCH + above)
    data: list[Trace] = []
    layout: dict[str, Any] = {"height": height, "margin": MARGIN | {"t": MARGIN["t"] + above}}
    layout |= {"annotations": [], "shapes": []} | ({"width": NARROW} if columns == 1 and not figure.wide else {})
    told = set[tuple[str, str]]()
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        key = str(place + 1) if place else ""
        x, y = _domain(column, columns, GAP[0]), _domain(rows - 1 - row, rows, (GAP[1] + above) / height)
        layout[f"xaxis{key}"] = _axis(panel.x, x, f"y{key}", "x" if "x" in figure.shared and place else "")
        layout[f"yaxis{key}"] = _axis(
            panel.y, y, f"x{key}", "y" if "y" in figure.shared and place and not panel.equal else ""
        )
        if panel.equal:
            layout[f"yaxis{key}"] |= {"scaleanchor": f"x{key}", "constrain": "domain"}
            layout[f"xaxis{key}"] |= {"constrain": "domain"}
        if panel.title:
            layout["annotations"].append(_title(panel.title, key, 4 + above))
        for mark in panel.marks:
            for trace in _traces(mark, panel):
                name = (trace.get("name", ""), _colour(trace))
                shown = bool(name[0]) and name not in told
                told.add(name)
                if trace["type"] == "heatmap" and "colorbar" in trace:
                    trace["colorbar"] |= {"x": sum(x) / 2, "y": y[1], "yanchor": "bottom", "len": x[1] - x[0]}
                data.append(
                    trace
                    | {"xaxis": f"x{key}", "yaxis": f"y{key}", "showlegend": shown}
                    | ({"legendgroup": "|".join(name)} if name[0] else {})
                )
            layout["annotations"] += _texts(mark, key)
            layout["shapes"] += _shapes(mark, key)
    return {"data": data, "layout": layout}


def thinned(x: ArrayLike, y: ArrayLike, *, log: tuple[bool, bool], line: bool) -> NDArray[np.intp]:
    """Indices that look like all: of a line the ends of each piece of the axis, of points one in each pixel."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) <= 2 * COLUMNS:
        return np.arange(len(x))
    across, up = (_cells(values, scale, n) for values, scale, n in zip((x, y), log, _grain(line), strict=True))
    if not line:
        return np.sort(np.unique(across * PIXELS + up, return_index=True)[1])
    order = np.lexsort((y, across))
    first = np.flatnonzero(np.diff(across[order], prepend=-1))
    last = np.append(first[1:], len(order)) - 1
    return np.unique(np.concatenate([order[first], order[last], [0, len(x) - 1]]))


def _grain(line: bool) -> tuple[int, int]:
    return (COLUMNS, 1) if line else (PIXELS, PIXELS)


def _cells(values: Floats, log: bool, count: int) -> NDArray[np.intp]:
    """The piece of the axis that each value lies in."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.log(values) if log else values
    seen = scaled[np.isfinite(scaled)]
    low, width = (seen.min(), np.ptp(seen) or 1.0) if seen.size else (0.0, 1.0)
    return np.clip(np.nan_to_num((scaled - low) / width) * count, 0, count - 1).astype(np.intp)


def _domain(index: int, count: int, gap: float) -> list[float]:
    width = (1 - gap * (count - 1)) / count
    return [index * (width + gap), min(index * (width + gap) + width, 1.0)]


def _axis(axis: Axis, domain: list[float], anchor: str, matches: str) -> dict[str, Any]:
    made: dict[str, Any] = {"domain": domain, "anchor": anchor, "title": {"text": axis.label, "standoff": 6}}
    made |= {"type": "log", "exponentformat": "power"} if axis.log else {}
    made |= {"showticklabels": False, "ticks": ""} if not axis.ticks else {}
    if axis.ends != (None, None):
        made["range"] = [None if end is None else float(np.log10(end) if axis.log else end) for end in axis.ends]
    return made | ({"matches": matches} if matches else {})


def _title(text: str, key: str, up: float) -> dict[str, Any]:
    place = {"xref": f"x{key} domain", "yref": f"y{key} domain", "x": 0, "y": 1, "yshift": up}
    return place | {"text": text, "showarrow": False, "xanchor": "left", "yanchor": "bottom"}


def _colour(trace: Trace) -> str:
    look: dict[str, Any] = trace.get("line") or trace.get("marker") or {}
    return str(look.get("color", ""))


def _plain(values: ArrayLike) -> list[Any]:
    """Seven digits, NaN as None."""
    array = np.asarray(values, float)
    return [None if not np.isfinite(value) else float(f"{value:.7g}") for value in array.ravel().tolist()]


@singledispatch
def _traces(mark: Mark, panel: Panel) -> list[Trace]:
    return []


@_traces.register
def _(mark: Curve, panel: Panel) -> list[Trace]:
    line = bool(mark.dash)
    kept = thinned(mark.x, mark.y, log=(panel.x.log, panel.y.log), line=line)
    x, y = (np.asarray(values, float)[kept] for values in (mark.x, mark.y))
    mode = "+".join([*["lines"] * line, *["markers"] * bool(mark.symbol or mark.limits)])
    symbol = "triangle-down" if mark.limits else SYMBOLS.get(mark.symbol, "circle") + "-open" * mark.hollow
    trace: Trace = {"type": "scatter", "mode": mode, "x": _plain(x), "y": _plain(y), "name": mark.name}
    if line:
        trace["line"] = {"color": mark.colour, "width": 1.3 * mark.width, "dash": DASHES[mark.dash]}
        trace["line"] |= {"shape": "hv"} if mark.steps else {}
    if mark.symbol or mark.limits:
        trace["marker"] = {"color": mark.colour, "size": 1.5 * mark.size, "symbol": symbol}
    if mark.opacity < 1:
        trace["opacity"] = mark.opacity
    if mark.error is None:
        return [trace]
    error = np.asarray(mark.error, float)[kept]
    if mark.symbol:
        return [trace | {"error_y": {"type": "data", "array": _plain(error), "thickness": 1.2, "width": 3}}]
    return [trace, *_traces(Band(x, y - error, y + error, mark.colour), panel)]


@_traces.register
def _(mark: Band, panel: Panel) -> list[Trace]:
    x, low, high = (np.asarray(values, float) for values in (mark.x, mark.low, mark.high))
    shown = np.isfinite(low) & np.isfinite(high)
    around = {"x": np.concatenate([x[shown], x[shown][::-1]]), "y": np.concatenate([high[shown], low[shown][::-1]])}
    trace: Trace = {"type": "scatter", "mode": "lines", "fill": "toself", "hoverinfo": "skip"}
    trace |= {name: _plain(values) for name, values in around.items()}
    return [trace | {"line": {"width": 0, "color": mark.colour}, "fillcolor": _faint(mark.colour, 0.2)}]


@_traces.register
def _(mark: Bins, panel: Panel) -> list[Trace]:
    edges, heights = np.asarray(mark.edges, float), np.asarray(mark.heights, float)
    x, y = np.repeat(edges, 2), np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])
    trace: Trace = {"type": "scatter", "mode": "lines", "x": _plain(x), "y": _plain(y), "name": mark.name}
    trace["line"] = {"color": mark.colour, "width": 1.3 * mark.width}
    return [trace | ({"fill": "tozeroy", "fillcolor": _faint(mark.colour, 0.4)} if mark.filled else {})]


@_traces.register
def _(mark: Mesh, panel: Panel) -> list[Trace]:
    low, high = mark.limits
    colours = ramp(mark.colours)
    scale = [[index / (len(colours) - 1), colour] for index, colour in enumerate(colours)]
    trace: Trace = {
        "type": "heatmap",
        "colorscale": scale,
        **(_lattice(mark, panel) if mark.periodic else _straight(mark)),
    }
    trace |= {"zmin": low, "zmax": high, "hoverongaps": False, "showscale": bool(mark.label)}
    bar = {"title": {"text": mark.label, "side": "top"}, "thickness": 8, "outlinewidth": 0, "orientation": "h"}
    return [trace | ({"colorbar": bar} if mark.label else {})]


@_traces.register
def _(mark: Rings, panel: Panel) -> list[Trace]:
    turn = np.linspace(0, 2 * np.pi, 33)
    circle = mark.radius * np.stack([np.cos(turn), np.sin(turn)], -1)
    outlines = [np.vstack([centre + circle, [[np.nan, np.nan]]]) for centre in np.asarray(mark.centres, float)]
    x, y = np.vstack(outlines).T
    trace: Trace = {"type": "scatter", "mode": "lines", "x": _plain(x), "y": _plain(y), "name": mark.name}
    return [trace | {"line": {"color": mark.colour, "width": 1.5}, "hoverinfo": "name"}]


def _straight(mark: Mesh) -> Trace:
    return {"x": _plain(mark.x[:, 0]), "y": _plain(mark.y[0]), "z": [_plain(row) for row in mark.values.T]}


def _lattice(mark: Mesh, panel: Panel) -> Trace:
    """Pixels of a panel with given ends, and the lattice that the page fills them from."""
    x, y = (np.linspace(*axis.ends, IMAGE) for axis in (panel.x, panel.y))  # type: ignore[arg-type]
    corner = np.array([mark.x[0, 0], mark.y[0, 0]])
    vectors = np.array([[mark.x[end], mark.y[end]] for end in ((-1, 0), (0, -1))]) - corner
    values, inverse = ([_plain(row) for row in rows] for rows in (mark.values, np.linalg.inv(vectors)))
    return {"x": _plain(x), "y": _plain(y), "lattice": {"corner": _plain(corner), "inverse": inverse, "values": values}}


def _texts(mark: Mark, key: str) -> list[dict[str, Any]]:
    if not isinstance(mark, Text):
        return []
    place = {"xref": f"x{key}", "yref": f"y{key}", "x": mark.x, "y": mark.y, "text": mark.text.replace("\n", "<br>")}
    return [place | {"showarrow": False, "xanchor": "left", "yanchor": "top", "align": "left", "xshift": 4}]


def _shapes(mark: Mark, key: str) -> list[dict[str, Any]]:
    if not isinstance(mark, Level):
        return []
    across = {"x0": mark.at, "x1": mark.at, "y0": 0, "y1": 1, "xref": f"x{key}", "yref": f"y{key} domain"}
    along = {"y0": mark.at, "y1": mark.at, "x0": 0, "x1": 1, "yref": f"y{key}", "xref": f"x{key} domain"}
    line = {"color": mark.colour, "width": 1.3 * mark.width, "dash": DASHES[mark.dash]}
    shape: dict[str, Any] = {"type": "line", "line": line, **(across if mark.axis == "x" else along)}
    return [shape | ({"name": mark.name, "showlegend": True} if mark.name else {})]


def _faint(colour: str, share: float) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{share})"

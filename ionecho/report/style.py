"""One look for all figures: journal column widths, thin lines, colours that colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.colors import to_hex

SINGLE, DOUBLE = 3.35, 6.9  # inches, one and two columns
RESOLUTION = 300  # dots per inch
GREY = "#999999"
# Okabe and Ito's palette (jfly.uni-koeln.de/color), without yellow, which is too pale for lines,
# and a violet and a brown.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#6A3D9A", "#8C510A"]
SEQUENTIAL, SPREAD, DENSITY = "viridis", "cividis", "Greys"  # colour maps of means, spreads and densities

_RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"],
    "mathtext.fontset": "dejavusans",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.linewidth": 0.7,
    "axes.prop_cycle": cycler(color=PALETTE),
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "legend.handlelength": 1.4,
    "figure.constrained_layout.use": True,
    "savefig.dpi": RESOLUTION,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw what is inside in the common style."""
    with mpl.rc_context(_RC):
        yield


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, in order; the palette repeats after eight."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def shades(steps: Sequence[int]) -> dict[int, str]:
    """Colours from light to dark for the steps of a series."""
    scale = mpl.colormaps[SEQUENTIAL].reversed()
    return {step: to_hex(scale(0.1 + 0.85 * i / max(len(steps) - 1, 1))) for i, step in enumerate(steps)}


def ramp(name: str, steps: int = 32) -> list[str]:
    """So many colours of a colour map, from its low end to its high end."""
    return [to_hex(colour) for colour in mpl.colormaps[name].resampled(steps)(range(steps))]

"""What a figure shows, as data: panels with axes and marks. The writers of pictures and of pages draw it, each once.

Texts are plain, in Unicode (`Å⁻¹`), but for <sub>, <sup> and <i>. Marks without a `name` are not in the legend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionecho.report.style import GREY, SEQUENTIAL

Floats = NDArray[np.float64]
THIN, HAIR, BOLD = 0.8, 0.5, 1.6  # widths of lines, points
BLACK = "#000000"


@dataclass(frozen=True)
class Axis:
    """`label` with its unit; `ends` are what it begins and ends with (None: as the data), the higher perhaps first.

    An axis without `ticks` has arbitrary units.
    """

    label: str = ""
    log: bool = False
    ends: tuple[float | None, float | None] = (None, None)
    ticks: bool = True


@dataclass(frozen=True)
class Curve:
    """A line through (x, y), its points as symbols, or both; `error` (n,) of y is a band about a line, bars on symbols.

    `dash` is "-", "--", ":" or "" for no line, `symbol` "o", "s" (square) or "" for none; `limits` are upper limits.
    """

    x: ArrayLike
    y: ArrayLike
    name: str = ""
    colour: str = BLACK
    dash: str = "-"
    width: float = 1.2
    symbol: str = ""
    size: float = 4.0
    hollow: bool = False
    error: ArrayLike | None = None
    limits: bool = False
    steps: bool = False
    opacity: float = 1.0


@dataclass(frozen=True)
class Band:
    """The area between `low` and `high` (n,) over `x` (n,)."""

    x: ArrayLike
    low: ArrayLike
    high: ArrayLike
    colour: str = BLACK


@dataclass(frozen=True)
class Bins:
    """A histogram: `heights` (n,) between `edges` (n + 1,)."""

    edges: ArrayLike
    heights: ArrayLike
    name: str = ""
    colour: str = BLACK
    width: float = 1.2
    filled: bool = False


@dataclass(frozen=True)
class Level:
    """A straight line across the panel `at` a value of one `axis`, "x" or "y"."""

    at: float
    axis: str = "x"
    name: str = ""
    colour: str = BLACK
    dash: str = "--"
    width: float = THIN


@dataclass(frozen=True)
class Mesh:
    """`values` (m, n) as colours of cells with corners `x`, `y`, both (m + 1, n + 1); cells of NaN stay blank.

    The corners are a lattice or have straight rows and columns. A `periodic` mesh goes on beyond its lattice vectors.
    `label` is that of the colour bar; without one there is none. `ends` of the colours: None as the values.
    """

    x: Floats
    y: Floats
    values: Floats
    label: str = ""
    colours: str = SEQUENTIAL
    ends: tuple[float | None, float | None] = (None, None)
    periodic: bool = False

    @property
    def limits(self) -> tuple[float, ...]:
        """Values of the ends of the colours."""
        finite = self.values[np.isfinite(self.values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        return tuple(float(own) if end is None else end for own, end in zip((low, high), self.ends, strict=True))


@dataclass(frozen=True)
class Rings:
    """Circles of one `radius` about `centres` (n, 2)."""

    centres: ArrayLike
    radius: float
    name: str = ""
    colour: str = GREY


@dataclass(frozen=True)
class Text:
    """A text beside the point (x, y)."""

    x: float
    y: float
    text: str


Mark = Band | Bins | Curve | Level | Mesh | Rings | Text


@dataclass(frozen=True)
class Panel:
    """`marks` between two axes. `legend` is its place in a picture (None: none), outside of all panels if "outside"."""

    x: Axis
    y: Axis
    marks: Sequence[Mark]
    title: str = ""
    legend: str | None = "best"
    legend_title: str = ""
    equal: bool = False


def diagonal(*values: ArrayLike) -> Curve:
    """The line y = x over the range of all values."""
    every = np.concatenate([np.ravel(np.asarray(each, float)) for each in values])
    every = every[np.isfinite(every)]
    ends = [every.min(), every.max()] if every.size else [0.0, 1.0]
    return Curve(ends, ends, colour=GREY, width=THIN)

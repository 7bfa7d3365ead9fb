"""Cubic B-splines on equidistant knots in torch, four of them nonzero at any point."""

from __future__ import annotations

import torch
from torch import Tensor

DEGREE = 3


def cubic_splines(r: Tensor, start: Tensor | float, stop: float, intervals: int) -> tuple[Tensor, Tensor, Tensor]:
    """The four cubic B-splines that are nonzero at each point, and their slopes.

    `intervals` equal intervals between `start` and `stop` carry `intervals + 3` splines of unit sum, each over four
    intervals (de Boor, A Practical Guide to Splines, 1978; Xie, Rupp and Hennig, npj Comput. Mater. 2023, 9, 162,
    eq. 4). Points outside are taken to the nearer end: an expansion whose first three coefficients are equal goes on
    as a constant below `start`, one whose last three vanish as zero beyond `stop`, both with two continuous
    derivatives. Differentiable in `r`.

    Parameters
    ----------
    r
        Points (P,), Å.
    start, stop
        Ends of the interval, Å; `start` may differ from point to point (P,).
    intervals
        Number of intervals.

    Returns
    -------
    first, values, slopes
        Index (P,) of the first nonzero spline; values (4, P) and slopes (4, P) in 1/Å of the splines first, ...,
        first + 3.
    """
    width = (stop - start) / intervals
    x = ((r - start) / width).clamp(0.0, intervals)
    first = x.detach().long().clamp(max=intervals - 1)
    t = x - first
    s = 1.0 - t
    t2, s2 = t * t, s * s
    values = torch.stack([s2 * s, 4.0 - 3.0 * t2 * (1.0 + s), 4.0 - 3.0 * s2 * (1.0 + t), t2 * t]) / 6.0
    slopes = torch.stack([-s2, t * (3.0 * t - 4.0), s * (4.0 - 3.0 * s), t2]) / (2.0 * width)
    return first, values, slopes

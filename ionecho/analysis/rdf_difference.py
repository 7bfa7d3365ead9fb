"""How far the radial distribution functions of an input are from those of a reference."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from ionecho.analysis.rdf import Distributions
from ionecho.errors import InputError
from ionecho.report.digits import ROUNDING


@dataclass(frozen=True)
class PairDifference:
    """`difference` = sum |g - g_ref| / sum (g + g_ref): 0 the same, 1 nowhere at the same distance.

    `noise` is what the errors of both alone would make of it, `peak_shift` (Å) how much farther the first peak is out.
    """

    difference: float
    noise: float
    weight: float
    peak_shift: float | None
    neighbours_change: float | None


def compare(found: Distributions, reference: Distributions) -> dict[str, PairDifference]:
    """Differences of all pairs that both have, weighted by the share of their atoms, 2 c_a c_b (c_a² for one element).

    Raises
    ------
    InputError
        If they have no element in common.
    """
    shared = [symbol for symbol in found.counts if symbol in reference.counts]
    if not shared:
        raise InputError(f"reference: holds {', '.join(reference.counts)}, expected some of {', '.join(found.counts)}")
    differences = {}
    for a, b in combinations_with_replacement(shared, 2):
        name = f"{a}-{b}"
        mine = found.pairs[name]
        other = reference.pairs[name if name in reference.pairs else f"{b}-{a}"]
        total = float((mine.g + other.g).sum())
        scatter = np.sqrt(2 / np.pi) * np.hypot(mine.error, other.error).sum()
        weight = found.counts[a] * found.counts[b] * (1 if a == b else 2)
        back = other.shell.neighbours if name in reference.pairs else other.shell.neighbours_back
        differences[name] = PairDifference(
            difference=_exact(float(np.abs(mine.g - other.g).sum()) / total) if total else 0.0,
            noise=float(scatter / total) if total else 0.0,
            weight=weight / sum(found.counts[symbol] for symbol in shared) ** 2,
            peak_shift=_change(mine.shell.peak, other.shell.peak),
            neighbours_change=_change(mine.shell.neighbours, back),
        )
    return differences


def overall(differences: dict[str, PairDifference], name: str) -> float:
    """Weighted mean over the pairs of `difference` or `noise`."""
    return float(sum(each.weight * getattr(each, name) for each in differences.values()))


def _exact(difference: float, scale: float = 1.0) -> float:
    """A difference of numbers of some scale, zero where it is their rounding."""
    return difference if abs(difference) > ROUNDING * abs(scale) else 0.0


def _change(value: float | None, reference: float | None) -> float | None:
    return None if value is None or reference is None else _exact(value - reference, max(value, reference))

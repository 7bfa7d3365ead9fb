"""Radial distribution functions of one input, beside those of a reference."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from ionecho.analysis.rdf import Distributions, RdfOptions, distributions, draw_pair
from ionecho.analysis.rdf_difference import PairDifference, compare, overall
from ionecho.data.registry import find_input
from ionecho.data.trajectory import early_end
from ionecho.errors import InputError
from ionecho.report.files import plain
from ionecho.report.html import Table
from ionecho.report.report import Figure, Report
from ionecho.report.style import DOUBLE, PALETTE, PANELS

COLUMNS = 3
CONVENTIONS = {
    "g": "pairs in a shell over N_a N_b / V times its volume, periodic images counted; 1 for an ideal gas",
    "error": "standard error of the mean of contiguous blocks of frames",
    "first_peak": "first maximum of the smoothed g(r) that rises by the prominence; parabola through three bins",
    "neighbours": "of the first element, atoms of the second up to the lowest point between the first two peaks",
    "difference": "sum |g - g_ref| / sum (g + g_ref) up to r_max: 0 the same, 1 nowhere at the same distance",
    "noise": "the difference that the block errors of both would make between equal g(r)",
    "overall": "mean over pairs weighted by 2 c_a c_b (c_a² for one element), c the share of atoms",
}


def run(input: str | list[str], settings: Mapping[str, Any]) -> Report:
    """g(r) of `input`, compared with the reference where there is one.

    Raises
    ------
    InputError
        If the settings or an input cannot be used.
    """
    options = RdfOptions.parse(settings, "rdf")
    if not isinstance(input, str):
        raise InputError(f"rdf: expected one input, found {len(input)}; a second one goes into reference=")
    found = distributions(Path(input), options.read, options)
    reference, other, differences = options.reference, None, dict[str, PairDifference]()
    if reference is not None:
        other = distributions(find_input(reference), options.read_reference, options)
        differences = compare(found, other)
    name = _name(input, options.read.groups)
    reference = None if reference is None else _name(reference, options.read_reference.groups)
    frames = tables(found, other, differences)
    caption = "Å; neighbours of the first element, and of the second. Data: shells.csv."
    shown = [Table("First shells", frames["shells"].round(3), caption)]
    if differences:
        caption = "g(r) against the reference; peak_shift in Å, the input's less the reference's."
        shown.append(Table("Differences", frames["differences"].round(4), f"{caption} Data: differences.csv."))
    sources = {"input": (name, found)} | ({"reference": (str(reference), other)} if other is not None else {})
    whole = {key: overall(dict(differences), key) for key in ("difference", "noise")} if differences else None
    return Report(
        analysis="rdf",
        title="Radial distribution functions",
        headline=_headline(name, found, reference, whole, options),
        notes=_notes(sources, options),
        numbers={**_entries(sources), "overall": whole, "differences": dict(differences)},
        tables=frames,
        shown=shown,
        figures=_figures(sources),
        settings=options,
        conventions=CONVENTIONS,
    )


def _name(source: str, groups: list[str] | None) -> str:
    return Path(source).name if groups is None else f"{Path(source).name} ({', '.join(groups)})"


def _entries(sources: Mapping[str, tuple[str, Distributions]]) -> dict[str, Any]:
    return {
        role: {
            "name": label,
            "frames": each.frames,
            "blocks": each.blocks,
            "atoms": each.counts,
            "half_height_A": each.half_height,
            "pairs": {pair: plain(result.shell) for pair, result in each.pairs.items()},
        }
        for role, (label, each) in sources.items()
    }


def _headline(
    name: str, found: Distributions, reference: str | None, whole: Mapping[str, float] | None, options: RdfOptions
) -> list[str]:
    lines = [
        f"{name}: g(r) of {len(found.pairs)} pairs of elements up to {options.edges[-1]:g} Å in bins of "
        f"{options.bin_width:g} Å, {found.frames} frames."
    ]
    if whole is not None:
        lines.append(
            f"Difference to {reference}: {whole['difference']:.2%} over all pairs "
            f"({whole['noise']:.2%} expected of the errors alone)."
        )
    return lines


def _notes(sources: Mapping[str, tuple[str, Distributions]], options: RdfOptions) -> list[str]:
    notes: list[str] = []
    for role, (_, each) in sources.items():
        notes += [f"{role}: {note}" for note in early_end(each.stopped)]
        if each.half_height < options.edges[-1]:
            notes.append(
                f"{role}: beyond {each.half_height:.2f} Å, half of the cell, atoms are seen with their images."
            )
        if each.blocks < options.blocks:
            notes.append(f"{role}: {each.frames} frames make {each.blocks} blocks, not {options.blocks}.")
    elements = [set(each.counts) for _, each in sources.values()]
    if single := sorted(elements[0] ^ elements[-1]):
        notes.append(f"not compared, as only one of both holds it: {', '.join(single)}.")
    return notes


def tables(
    found: Distributions, other: Distributions | None, differences: Mapping[str, PairDifference]
) -> dict[str, pd.DataFrame]:
    """Name of a csv file -> its table; the first column is the pair of elements."""
    frames = {"rdf": _curves(found), "shells": _shells(found)}
    if other is not None:
        frames |= {"rdf_reference": _curves(other), "shells_reference": _shells(other)}
        frames["differences"] = pd.DataFrame([{"pair": name, **vars(each)} for name, each in differences.items()])
    return frames


def _curves(found: Distributions) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"pair": name, "r": p.centres, "g": p.g, "error": p.error, "neighbours": p.running})
        for name, p in found.pairs.items()
    )


def _shells(found: Distributions) -> pd.DataFrame:
    return pd.DataFrame([{"pair": name, **vars(pair.shell)} for name, pair in found.pairs.items()])


def _figures(sources: Mapping[str, tuple[str, Distributions]]) -> list[Figure]:
    """The pairs, at most eight in a figure."""
    (_, found), dashed = sources["input"], "; dashed: the reference" if "reference" in sources else ""
    pages = [list(found.pairs)[start : start + PANELS] for start in range(0, len(found.pairs), PANELS)]
    caption = f"g(r) of pairs of elements with one standard error{dashed}. Data: rdf.csv."
    return [
        Figure("rdf" if number == 0 else f"rdf_{number}", partial(_draw, sources, names), caption)
        for number, names in enumerate(pages)
    ]


def _draw(sources: Mapping[str, tuple[str, Distributions]], names: list[str]) -> Canvas:
    rows = -(-len(names) // COLUMNS)
    canvas = Canvas(figsize=(DOUBLE, 0.4 + 1.6 * rows))
    axes = list(np.array(canvas.subplots(rows, COLUMNS, squeeze=False)).flat)
    for axis, name in zip(axes, names, strict=False):
        for (label, each), colour in zip(sources.values(), PALETTE, strict=False):
            of_pairs = {frozenset(pair.split("-")): values for pair, values in each.pairs.items()}
            if (values := of_pairs.get(frozenset(name.split("-")))) is not None:
                draw_pair(axis, values, label, colour, dashed=colour != PALETTE[0])
        axis.set_title(name.replace("-", "–"), loc="left")
    for spare in axes[len(names) :]:
        spare.remove()
    for axis in axes[max(0, len(names) - COLUMNS) : len(names)]:
        axis.set_xlabel("$r$ / Å")
    for axis in axes[: len(names) : COLUMNS]:
        axis.set_ylabel("$g(r)$")
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside upper center", ncols=2)
    return canvas

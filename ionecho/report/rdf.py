"""Report of radial distribution functions: summary.json, tables, figures and one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
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
from ionecho.report.files import SUMMARY, plain, report_folder, write_json
from ionecho.report.html import Figure, Table, render_page
from ionecho.report.style import DOUBLE, PALETTE, figure_style

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


def run(input: str, output: str, settings: Mapping[str, Any], reference: str | None) -> dict[str, Any]:
    """g(r) of `input`, compared with `reference` where given; writes the report folder `output`, its summary.

    Raises
    ------
    InputError
        If the settings, an input or the output folder cannot be used.
    """
    options = RdfOptions.parse(settings, "rdf")
    if not isinstance(input, str):
        raise InputError(f"rdf: expected one input, found {len(input)}; a second one goes into reference=")
    found = distributions(Path(input), options.read, options)
    other, differences = None, dict[str, PairDifference]()
    if reference is not None:
        other = distributions(find_input(reference), options.read_reference, options)
        differences = compare(found, other)
    name = _name(input, options.read.groups)
    reference = None if reference is None else _name(reference, options.read_reference.groups)
    summary = summarise(name, found, reference, other, differences, options)
    write_report(found, other, differences, summary, Path(output))
    return summary


def _name(source: str, groups: list[str] | None) -> str:
    return Path(source).name if groups is None else f"{Path(source).name} ({', '.join(groups)})"


def summarise(
    name: str,
    found: Distributions,
    reference: str | None,
    other: Distributions | None,
    differences: Mapping[str, PairDifference],
    options: RdfOptions,
) -> dict[str, Any]:
    """All numbers, settings and conventions as plain data (the content of summary.json)."""
    sources = {"input": (name, found)} | ({"reference": (str(reference), other)} if other is not None else {})
    entries = {
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
    whole = {key: overall(dict(differences), key) for key in ("difference", "noise")} if differences else None
    return plain(
        {
            "analysis": "rdf",
            "ionecho": version("ionecho"),
            "headline": _headline(name, found, reference, whole, options),
            **entries,
            "overall": whole,
            "differences": dict(differences),
            "settings": options,
            "conventions": CONVENTIONS,
            "notes": _notes(sources, options),
        }
    )


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


def write_report(
    found: Distributions,
    other: Distributions | None,
    differences: Mapping[str, PairDifference],
    summary: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write summary.json, the csv tables, the figure and report.html into `folder`, all at once."""
    with report_folder(folder) as target:
        frames = tables(found, other, differences)
        for name, frame in frames.items():
            frame.to_csv(target / f"{name}.csv", index=False)
        with figure_style():
            figure = _draw(found, other, summary, target / "rdf.png")
        write_json(target / SUMMARY, summary)
        caption = "Å; neighbours of the first element, and of the second. Data: shells.csv."
        shown = [Table("First shells", frames["shells"].round(3), caption)]
        if differences:
            caption = "g(r) against the reference; peak_shift in Å, the input's less the reference's."
            shown.append(Table("Differences", frames["differences"].round(4), f"{caption} Data: differences.csv."))
        page = render_page(
            "Radial distribution functions",
            summary["headline"],
            summary["notes"],
            shown,
            [figure],
            {name: summary[name] for name in ("settings", "conventions")},
        )
        (target / "report.html").write_text(page, encoding="utf-8")


def _draw(found: Distributions, other: Distributions | None, summary: Mapping[str, Any], path: Path) -> Figure:
    rows = -(-len(found.pairs) // COLUMNS)
    canvas = Canvas(figsize=(DOUBLE, 0.4 + 1.6 * rows))
    axes = list(np.array(canvas.subplots(rows, COLUMNS, squeeze=False)).flat)
    references = {} if other is None else {frozenset(name.split("-")): pair for name, pair in other.pairs.items()}
    for axis, (name, pair) in zip(axes, found.pairs.items(), strict=False):
        draw_pair(axis, pair, summary["input"]["name"], PALETTE[0], dashed=False)
        reference = references.get(frozenset(name.split("-")))
        if reference is not None:
            draw_pair(axis, reference, summary["reference"]["name"], PALETTE[1], dashed=True)
        axis.set_title(name.replace("-", "–"), loc="left")
    for spare in axes[len(found.pairs) :]:
        spare.remove()
    for axis in axes[max(0, len(found.pairs) - COLUMNS) : len(found.pairs)]:
        axis.set_xlabel("$r$ / Å")
    for axis in axes[: len(found.pairs) : COLUMNS]:
        axis.set_ylabel("$g(r)$")
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside upper center", ncols=2)
    canvas.savefig(path)
    caption = "g(r) of every pair of elements with one standard error"
    return Figure(path, f"{caption}{'' if other is None else '; dashed: the reference'}. Data: rdf.csv.")

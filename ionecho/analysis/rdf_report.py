"""The report of radial distribution functions: numbers, tables and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from ionecho.analysis.options import ReadOptions, one
from ionecho.analysis.rdf import Distributions, distributions
from ionecho.analysis.rdf import RdfOptions as Settings
from ionecho.analysis.rdf_difference import PairDifference, compare, overall
from ionecho.analysis.scenes import scene_of_trajectory
from ionecho.data.registry import find_input
from ionecho.data.trajectory import early_end
from ionecho.report import Axis, Curve, Figure, Panel, Report, Table, by_unit
from ionecho.report.panel import Mark
from ionecho.report.style import PALETTE

COLUMNS = 3
CONVENTIONS = {
    "g": "pairs in a shell over N_a N_b / V times its volume, periodic images counted; 1 for an ideal gas",
    "error": "of the mean over frames, from its spectrum at zero frequency, with Student's factor",
    "first_peak": "first maximum of the smoothed g(r) that rises by the prominence; parabola through three bins",
    "neighbours": "of the first element, atoms of the second up to the lowest point between the first two peaks",
    "difference": "sum |g - g_ref| / sum (g + g_ref) up to r_max: 0 the same, 1 nowhere at the same distance",
    "noise": "the difference that the block errors of both would make between equal g(r)",
    "overall": "mean over pairs weighted by 2 c_a c_b (c_a² for one element), c the share of atoms",
}
UNITS = by_unit(
    {
        "Å": "r peak minimum peak_shift half_height_A",
        "": "frames atoms g error height neighbours neighbours_error neighbours_back neighbours_change "
        "difference noise weight",
    }
)


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """g(r) of one input, compared with the reference where given.

    Raises
    ------
    InputError
        If an input cannot be used.
    """
    path = one(inputs, "rdf", "a second one goes into reference=")
    trajectory = settings.read.open(path)
    sources = {"input": (_name(path, settings.read), distributions(path, settings.read, settings))}
    differences: dict[str, PairDifference] = {}
    if settings.reference is not None:
        read = settings.read_reference
        other = distributions(find_input(settings.reference), read, settings)
        sources["reference"] = (_name(Path(settings.reference), read), other)
        differences = compare(sources["input"][1], sources["reference"][1])
    whole = {key: overall(differences, key) for key in ("difference", "noise")} if differences else None
    caption = "g(r) of every pair of elements with one standard error"
    names = list(sources["input"][1].pairs)
    return Report(
        analysis="rdf",
        title="Radial distribution functions",
        headline=_headline(sources, whole, settings),
        numbers={role: _numbers(*source) for role, source in sources.items()}
        | {"overall": whole, "differences": differences},
        units=UNITS,
        notes=[*_together(settings.read.runs(trajectory)), *_notes(sources, settings)],
        tables=_tables({role: found for role, (_, found) in sources.items()}, differences),
        figures={
            "rdf": Figure(
                partial(_panels, sources),
                f"{caption}{'; dashed: the reference' if differences else ''}.",
                [name for name in ("rdf", "rdf_reference") if name == "rdf" or differences],
                names,
                columns=COLUMNS,
                height=1.7,
            )
        },
        scene=scene_of_trajectory(trajectory, settings.read, "atoms by their element"),
        settings=settings,
        conventions=CONVENTIONS,
    )


def _name(source: Path, read: ReadOptions) -> str:
    return source.name if read.groups is None else f"{source.name} ({', '.join(read.groups)})"


def _numbers(name: str, found: Distributions) -> dict[str, object]:
    return {
        "name": name,
        "frames": found.frames,
        "converged": found.converged,
        "atoms": found.counts,
        "half_height_A": found.half_height,
        "pairs": {pair: result.shell for pair, result in found.pairs.items()},
    }


def _headline(
    sources: Mapping[str, tuple[str, Distributions]], whole: Mapping[str, float] | None, options: Settings
) -> list[str]:
    name, found = sources["input"]
    lines = [
        f"{name}: g(r) of {len(found.pairs)} pairs of elements up to {options.edges[-1]:g} Å in bins of "
        f"{options.bin_width:g} Å, {found.frames} frames."
    ]
    if whole is not None:
        lines.append(
            f"Difference to {sources['reference'][0]}: {whole['difference']:.2%} over all pairs "
            f"({whole['noise']:.2%} expected of the errors alone)."
        )
    return lines


def _together(runs: Sequence[str]) -> list[str]:
    if len(runs) < 2:
        return []
    return [f"input: g(r) is over the frames of {len(runs)} runs together; read.groups=[{runs[0]}] takes one alone."]


def _notes(sources: Mapping[str, tuple[str, Distributions]], options: Settings) -> list[str]:
    notes: list[str] = []
    for role, (_, each) in sources.items():
        notes += [f"{role}: {note}" for note in early_end(each.stopped)]
        if each.half_height < options.edges[-1]:
            notes.append(
                f"{role}: beyond {each.half_height:.2f} Å, half of the cell, atoms are seen with their images."
            )
        if not each.converged:
            notes.append(f"{role}: not converged over {each.frames} frames: the errors are lower bounds.")
    elements = [set(each.counts) for _, each in sources.values()]
    if single := sorted(elements[0] ^ elements[-1]):
        notes.append(f"not compared, as only one of both holds it: {', '.join(single)}.")
    return notes


def _tables(sources: Mapping[str, Distributions], differences: Mapping[str, PairDifference]) -> dict[str, Table]:
    """Name of a csv file -> its table; the first column is the pair of elements."""
    shown = "Neighbours of the first element, and back: of the second"
    made: dict[str, Table] = {}
    for role, found in sources.items():
        ending = "" if role == "input" else f"_{role}"
        title = "First shells" + (f" of the {role}" if ending else "")
        made |= {f"rdf{ending}": Table(_curves(found)), f"shells{ending}": Table(_shells(found), title, f"{shown}.")}
    if differences:
        caption = "g(r) against the reference; peak_shift is the input's less the reference's."
        rows = pd.DataFrame([{"pair": name, **vars(each)} for name, each in differences.items()])
        made["differences"] = Table(rows, "Differences", caption)
    return made


def _curves(found: Distributions) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"pair": name, "r": p.centres, "g": p.g, "error": p.error, "neighbours": p.running})
        for name, p in found.pairs.items()
    )


def _shells(found: Distributions) -> pd.DataFrame:
    return pd.DataFrame([{"pair": name, **vars(pair.shell)} for name, pair in found.pairs.items()])


def _panels(sources: Mapping[str, tuple[str, Distributions]], names: list[str]) -> list[Panel]:
    made: dict[str, list[Mark]] = {name: [] for name in names}
    for (role, (label, found)), colour in zip(sources.items(), PALETTE, strict=False):
        pairs = {frozenset(name.split("-")): pair for name, pair in found.pairs.items()}
        dash = "--" if role == "reference" else "-"
        for name, marks in made.items():
            if (pair := pairs.get(frozenset(name.split("-")))) is not None:
                marks.append(Curve(pair.centres, pair.g, label, colour, dash, width=1.0, error=pair.error))
    x, y = Axis("<i>r</i> / Å", ends=(0, None)), Axis("<i>g</i>(<i>r</i>)", ends=(0, None))
    return [Panel(x, y, marks, name.replace("-", "–"), "outside") for name, marks in made.items()]

"""The report of barriers along minimum-energy paths: numbers, tables and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase.data import chemical_symbols

from ionecho.analysis.barrier import Band, Barrier, Comparison, Floats, barrier, compare, read_band
from ionecho.analysis.barrier import BarrierOptions as Settings
from ionecho.analysis.options import named_inputs
from ionecho.data.registry import find_input
from ionecho.report import Axis, Curve, Figure, Panel, Report, Scene, Table, by_unit
from ionecho.report.panel import BLACK, Mark, diagonal
from ionecho.report.scene import evenly
from ionecho.report.style import colours

CONVENTIONS = {
    "barrier": "highest energy of the images less that of the first (forward) or of the last (backward)",
    "fit": "cubic pieces through the energies and the forces along the path; its maximum may lie between images",
    "path_length": "sum of |R_i+1 - R_i| over all coordinates, to the nearest periodic image",
    "reference": "the same images computed by another level of theory, not its own path",
    "difference": "the path's less the reference's, energies above the first image",
    "force_rmse": "over the Cartesian components on all atoms of the labelled images",
    "force_spread": "largest standard deviation of the ensemble's forces on an atom",
}
UNITS = by_unit(
    {
        "eV": "forward_eV backward_eV reaction_energy_eV forward backward reaction_energy fit_forward fit_backward "
        "forward_difference energy_rmse energy reference difference",
        "eV/Å": "largest_force_spread force_rmse force_spread",
        "Å": "path_length_A path_length length position_A fit_position",
        "": "images image highest_image",
    }
)
ERRORS = ["forward_difference", "energy_rmse", "force_rmse"]
MOVED = 0.2  # Å
Paths = Mapping[str, tuple[Band, Barrier]]


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """Barriers of one path or several, the first compared with the reference where given.

    Raises
    ------
    InputError
        If an input or the reference cannot be used.
    """
    bands = {name: read_band(path) for name, path in named_inputs(inputs, ending=False).items()}
    paths = {name: (band, barrier(band.positions, band.energies, band.forces)) for name, band in bands.items()}
    name, compared = None, None
    if settings.reference is not None:
        name, first = Path(settings.reference).name, next(iter(paths.values()))
        compared = compare(*first, find_input(settings.reference), settings)
    numbers = _entries(paths, name, compared)
    caption = "Energy of the images above the first, with the fit"
    caption += "" if compared is None else "; squares: the reference on the same images"
    caption += "; right: forces on them" if compared is not None and compared.force_rmse is not None else ""
    tables = _tables(paths, compared, numbers)
    curves = [each for each in ("images", "fit") if each in tables]
    return Report(
        analysis="barrier",
        title="Barriers",
        headline=_headline(paths, name, compared),
        numbers=numbers,
        units=UNITS,
        notes=_notes(paths, name, compared),
        tables=tables,
        figures={
            "barrier": Figure(partial(_panels, paths, name, compared), f"{caption}.", curves, list(paths), height=2.6)
        },
        scene=_scene(*next(iter(paths.items()))),
        settings=settings,
        conventions=CONVENTIONS,
        source=_source(paths, compared),
    )


def _scene(name: str, path: tuple[Band, Barrier]) -> Scene:
    band, found = path
    chosen = evenly(len(band.length), len(band.numbers))
    moved = np.linalg.norm(band.positions - band.positions[:1], axis=-1)
    moved[:, moved.max(axis=0) < MOVED] = np.nan
    told = [f"image {image}, {found.energies[image]:.3f} eV" for image in chosen.tolist()]
    return Scene(
        numbers=band.numbers,
        positions=band.positions[chosen],
        cell=band.cell[None],
        values=moved[chosen],
        label="Displacement / Å",
        times=told,
        caption=f"{name}: atoms that move by more than {MOVED} Å, by how far they are from the first image.",
        first=int(np.abs(chosen - found.top).argmin()),
    )


def _headline(paths: Paths, reference: str | None, compared: Comparison | None) -> list[str]:
    first, (_, begun) = next(iter(paths.items()))
    headline = [_line(name, band, found) for name, (band, found) in paths.items()]
    headline += [
        f"The barrier of {name} differs from that of {first} by {found.forward - begun.forward:+.3f} eV."
        for name, (_, found) in list(paths.items())[1:]
    ]
    return headline if compared is None else [*headline, _compared_line(first, str(reference), compared)]


def _entries(paths: Paths, reference: str | None, compared: Comparison | None) -> dict[str, Any]:
    entries = {
        name: {
            "computed_by": band.computed_by,
            "images": len(band.length),
            "path_length_A": band.length[-1],
            **_numbers(found),
            "largest_force_spread": None if band.spread is None else band.spread.max(),
        }
        for name, (band, found) in paths.items()
    }
    other = compared and {
        "name": reference,
        "computed_by": compared.computed_by,
        "images": compared.labelled,
        **_numbers(compared.barrier),
        **{key: getattr(compared, key) for key in ERRORS},
    }
    return {"paths": entries, "reference": other}


def _source(paths: Paths, compared: Comparison | None) -> dict[str, Any]:
    known = {} if compared is None else compared.attributes
    kept = {key: known[key] for key in ("level_of_theory", "content_sha256") if key in known}
    return {"paths": {name: band.request for name, (band, _) in paths.items()}, "reference": kept}


def _numbers(found: Barrier) -> dict[str, Any]:
    fit = found.fit
    return {
        "highest_image": found.top,
        "forward_eV": found.forward,
        "backward_eV": found.backward,
        "reaction_energy_eV": found.reaction_energy,
        "fit": fit and {"forward_eV": fit.forward, "backward_eV": fit.backward, "position_A": fit.position},
    }


def _line(name: str, band: Band, found: Barrier) -> str:
    fit = "" if found.fit is None else f" ({found.fit.forward:.3f} and {found.fit.backward:.3f} eV by the fit)"
    over = f"{len(band.length)} images over {band.length[-1]:.2f} Å"
    return (
        f"The barrier of {name} is {found.forward:.3f} eV, back {found.backward:.3f} eV{fit}, the reaction energy "
        f"{found.reaction_energy:.3f} eV, by {band.computed_by}: {over}."
    )


def _compared_line(first: str, reference: str, compared: Comparison) -> str:
    line = f"On {compared.labelled} of these images {reference} ({compared.computed_by}) finds "
    if compared.forward_difference is not None:
        line += f"a barrier of {compared.barrier.forward:.3f} eV, from which {first} differs by "
        line += f"{compared.forward_difference:+.3f} eV, and "
    line += f"energies from which {first} differs by {1e3 * compared.energy_rmse:.0f} meV"
    forces = "" if compared.force_rmse is None else f", forces by {1e3 * compared.force_rmse:.0f} meV/Å"
    return f"{line}{forces} (root mean square)."


def _notes(paths: Paths, reference: str | None, compared: Comparison | None) -> list[str]:
    notes = []
    first, (begun, _) = next(iter(paths.items()))
    for name, (band, found) in paths.items():
        if found.top in (0, len(band.length) - 1):
            notes.append(
                f"{name}: no barrier in between, the highest image is {'an end' if found.top else 'the first'}."
            )
        if any(band.request[end] != begun.request[end] for end in ("initial", "final")):
            notes.append(f"{name} was asked for between other structures than {first}.")
    if compared is not None and compared.labelled < len(begun.length):
        notes.append(
            f"{reference} labels {compared.labelled} of {len(begun.length)} images; its barrier is over these."
        )
    return notes


def _tables(paths: Paths, compared: Comparison | None, numbers: Mapping[str, Any]) -> dict[str, Table]:
    """Name of a csv file -> its table; the first column is the path."""
    rows = [{"path": name} | row for name, row in numbers["paths"].items()]
    if compared is not None:
        reference = dict(numbers["reference"])
        rows.append({"path": f"{reference.pop('name')} (reference)"} | reference)
    known = [{key: value for key, value in row.items() if value is not None} for row in rows]
    barriers = pd.json_normalize(known, sep="_")
    barriers.columns = [str(name).removesuffix("_eV").removesuffix("_A") for name in barriers]
    errors = barriers.reindex(columns=["path", *ERRORS]).dropna(thresh=2)
    barriers = barriers.drop(columns=ERRORS, errors="ignore")
    images = pd.concat([_images(name, band, found) for name, (band, found) in paths.items()], ignore_index=True)
    if compared is not None:
        extra = {"reference": compared.barrier.energies, "difference": compared.difference}
        extra |= {} if compared.force_rmse_of_images is None else {"force_rmse": compared.force_rmse_of_images}
        images = images.join(pd.DataFrame(extra))
    curves = [
        pd.DataFrame({"path": name, "length": found.fit.length, "energy": found.fit.energies})
        for name, (_, found) in paths.items()
        if found.fit is not None
    ]
    tables = {
        "barriers": Table(barriers, "Barriers", "By the highest image, and by the fit."),
        "images": Table(images, "Images", "Energies above the first image."),
    }
    if compared is not None:
        caption = "The first path's less the reference's, root mean squares over the labelled images."
        tables["errors"] = Table(errors, "Errors against the reference", caption)
    return tables | ({"fit": Table(pd.concat(curves))} if curves else {})


def _images(name: str, band: Band, found: Barrier) -> pd.DataFrame:
    columns = {"path": name, "image": np.arange(len(band.length)), "length": band.length, "energy": found.energies}
    return pd.DataFrame(columns | ({} if band.spread is None else {"force_spread": band.spread}))


def _panels(paths: Paths, reference: str | None, compared: Comparison | None, names: list[str]) -> list[Panel]:
    band, marks = next(iter(paths.values()))[0], list[Mark]()
    for name, colour in colours(names).items():
        each, found = paths[name]
        marks += _profile(each.length, found, f"{name}: {each.computed_by}", colour, reference=False)
    if compared is not None:
        told = f"{reference}: {compared.computed_by}"
        marks += _profile(band.length, compared.barrier, told, BLACK, reference=True)
    made = [Panel(Axis("path length / Å"), Axis("energy / eV"), marks)]
    return made if compared is None or compared.forces is None else [*made, _forces(band, compared.forces)]


def _profile(length: Floats, found: Barrier, name: str, colour: str, reference: bool) -> list[Mark]:
    """Energies of the images over the length of the path, and the fit; a reference has open squares, dashed."""
    symbol, dash = ("s", "--") if reference else ("o", "-")
    marks: list[Mark] = [Curve(length, found.energies, name, colour, "", symbol=symbol, hollow=reference)]
    if found.fit is not None:
        marks.append(Curve(found.fit.length, found.fit.energies, "", colour, dash, 1.0))
    return marks


def _forces(band: Band, reference: Floats) -> Panel:
    """Components of the path's forces over the reference's, by element."""
    assert band.forces is not None
    symbols = np.array([chemical_symbols[number] for number in band.numbers])
    marks: list[Mark] = [diagonal(reference, band.forces[np.isfinite(reference).all(axis=(1, 2))])]
    for symbol, colour in colours(list(dict.fromkeys(symbols.tolist()))).items():
        there, here = (forces[:, symbols == symbol].ravel() for forces in (reference, band.forces))
        marks.append(Curve(there, here, symbol, colour, "", symbol="o", size=2))
    x, y = Axis("force of the reference / eV Å⁻¹"), Axis("force of the path / eV Å⁻¹")
    return Panel(x, y, marks, legend="upper left", equal=True)

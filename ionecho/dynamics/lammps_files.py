"""A UF3 checkpoint as files of LAMMPS, and the lines of an input script that use them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from torch import Tensor

from ionecho.checkpoints.store import Checkpoint
from ionecho.errors import InputError
from ionecho.geometry.splines import DEGREE, cubic_splines
from ionecho.models.uf3 import UF3

LINE = 1023  # characters
ROWS = 1000  # of a table
NEAREST = 0.4  # Å
CLOSE = 1e-6  # Å, between knots that are one


def only_uf3(model: Any) -> UF3:
    """A copy of the one UF3 of an ensemble, in double precision on the CPU.

    Raises
    ------
    InputError
        If it is another model or has several members.
    """
    members = list(getattr(model, "members", [model]))
    if len(members) != 1 or not isinstance(members[0], UF3):
        found = f"{len(members)} of {type(members[0]).__name__}"
        raise InputError(f"LAMMPS has our model uf3 alone, of one member; found {found}; simulate it with engine=ase")
    return copy.deepcopy(members[0]).to("cpu", torch.float64)


def export(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write `<name>.uf3`, `<name>.table` and `<name>.in`, the lines of an input script that use them.

    The splines and the wall are the model's own, as splines; the screened Coulomb repulsion is a table. The one-body
    energies, which pair styles lack, stand in `<name>.in` as a remark.

    Returns
    -------
    Path
        `<name>.in`; it names the other two by their file names, so that all move together.

    Raises
    ------
    InputError
        If the checkpoint is no single UF3.
    """
    model, name = only_uf3(checkpoint.model), checkpoint.config.name
    symbols = elements(model)
    folder.mkdir(parents=True, exist_ok=True)
    write_splines(model, folder / f"{name}.uf3")
    write_repulsion(model, folder / f"{name}.table")
    energies = ", ".join(f"{symbol} {float(value)!r}" for symbol, value in zip(symbols, model.one_body, strict=True))
    remarks = [
        f"{name}, weights sha256 {checkpoint.sha256}",
        f"atom types: {', '.join(f'{number} {symbol}' for number, symbol in enumerate(symbols, start=1))}",
        f"one-body energies in eV an atom, not part of the pair styles: {energies}",
        "before this file: units metal, newton on",
    ]
    lines = folder / f"{name}.in"
    commands = pair_commands(model, f"{name}.uf3", f"{name}.table")
    lines.write_text("".join(f"# {remark}\n" for remark in remarks) + "".join(f"{line}\n" for line in commands))
    return lines


def pair_commands(model: UF3, splines: str, repulsion: str) -> Iterator[str]:
    """The `pair_style` and `pair_coeff` lines for the files of `write_splines` and `write_repulsion`."""
    symbols = elements(model)
    yield f"pair_style hybrid/overlay uf3 3 table spline {ROWS}"
    yield f"pair_coeff * * uf3 {splines} {' '.join(symbols)}"
    for a, b in combinations_with_replacement(range(len(symbols)), 2):
        yield f"pair_coeff {a + 1} {b + 1} table {repulsion} {symbols[a]}-{symbols[b]} {model.cutoff!r}"


def elements(model: UF3) -> list[str]:
    """Symbols of the model's elements, in the order of the atom types."""
    return [chemical_symbols[number] for number in model.numbers]


def write_repulsion(model: UF3, path: Path) -> None:
    """Write the screened Coulomb repulsion of all pairs of elements as tables of `pair_style table`, from 0.4 Å on.

    LAMMPS stops where two atoms are nearer. Between the rows it interpolates by cubic splines.
    """
    r = torch.linspace(NEAREST, model.cutoff, ROWS, dtype=torch.float64)
    symbols = elements(model)
    with path.open("w") as file:
        file.write("# UNITS: metal\n")
        for a, b in combinations_with_replacement(range(len(symbols)), 2):
            kinds = _kinds(r, a, b)
            terms = zip(model.repulsion(r, *kinds), model.wall(r, *kinds), strict=True)
            energy, slope = ((whole - wall).tolist() for whole, wall in terms)
            file.write(f"\n{symbols[a]}-{symbols[b]}\nN {ROWS} R {NEAREST!r} {model.cutoff!r}\n\n")
            rows = zip(range(1, ROWS + 1), r.tolist(), energy, slope, strict=True)
            file.writelines(f"{row} {distance:.12g} {e:.12g} {-s:.12g}\n" for row, distance, e, s in rows)


def write_splines(model: UF3, path: Path) -> None:
    """Write the potential file of `pair_style uf3`.

    LAMMPS does not check that a distance lies between the knots. Hence one interval more at either end: from zero to
    the inner radius, where the expansion is the constant that the model has there, and beyond the cut-off.
    """
    symbols = elements(model)
    with path.open("w") as file:
        for a, first in enumerate(symbols):
            for b, second in enumerate(symbols[a:], start=a):
                file.writelines(_two_body_block(model, a, b, f"{first} {second}"))
        for a, centre in enumerate(symbols):
            for b, first in enumerate(symbols):
                for c, second in enumerate(symbols[b:], start=b):
                    file.writelines(_three_body_block(model, (a, b, c), f"{centre} {first} {second}"))


def _two_body_block(model: UF3, a: int, b: int, symbols: str) -> Iterator[str]:
    """Half of the splines of a pair, as LAMMPS counts every pair twice, and of the wall, a spline with a knot more."""
    inner = model.inner[a, b].item()
    open_knots = _knots(inner, model.cutoff, model.intervals)[:-DEGREE]
    foot = model.foot()[a, b].item()
    knots = np.sort(np.append(open_knots[np.abs(open_knots - foot) > CLOSE], [foot, *[open_knots[-1]] * DEGREE]))
    sites = np.convolve(knots[1:-1], np.full(DEGREE, 1 / DEGREE), "valid")  # Greville's
    r = torch.from_numpy(sites)
    first, values, _ = cubic_splines(r, inner, model.cutoff, model.intervals)
    spline = (model.two_body[a, b].unfold(0, DEGREE + 1, 1)[first].T * values).sum(0)
    wall, _ = model.wall(r, *_kinds(r, a, b))
    coefficients = make_interp_spline(sites, 0.5 * (spline + wall).numpy(), k=DEGREE, t=knots).c
    yield from _header(f"2B {symbols}")
    yield f"{model.cutoff!r} {len(knots)}\n{_row(knots)}\n{len(coefficients)}\n{_row(coefficients)}\n#\n"


def _three_body_block(model: UF3, kinds: tuple[int, int, int], symbols: str) -> Iterator[str]:
    """The splines of r_ij, r_ik and r_jk, their knots in the opposite order."""
    a, b, c = kinds
    reach = model.three_body_cutoff
    knots = [
        _knots(model.inner[b, c].item(), 2 * reach, model.base_intervals),
        _knots(model.inner[a, c].item(), reach, model.side_intervals),
        _knots(model.inner[a, b].item(), reach, model.side_intervals),
    ]
    coefficients = np.pad(model.three_body[kinds].numpy(), 1, "edge")
    yield from _header(f"3B {symbols}")
    yield f"{2 * reach!r} {reach!r} {reach!r} {' '.join(str(len(row)) for row in knots)}\n"
    yield from (f"{_row(row)}\n" for row in knots)
    yield f"{' '.join(map(str, coefficients.shape))}\n"
    yield from (f"{_row(row)}\n" for row in coefficients.reshape(-1, coefficients.shape[2]))
    yield "#\n"


def _kinds(r: Tensor, a: int, b: int) -> tuple[Tensor, Tensor]:
    return torch.full(r.shape, a), torch.full(r.shape, b)


def _header(interaction: str) -> Iterator[str]:
    """The first two lines of a block; `nk` says that knots are not equidistant, the rest is fixed."""
    yield f"#UF3 POT UNITS: metal DATE: - AUTHOR: ionecho CITATION: -\n{interaction} 0 {DEGREE} nk\n"


def _knots(inner: float, stop: float, intervals: int) -> NDArray:
    """Zero, four times, and equidistant knots from the inner radius to four beyond the cut-off.

    The splines that begin at the inner radius or later are those of the model. Those before it have one coefficient in
    common, so that it does not matter how they differ.
    """
    steps = np.arange(intervals + DEGREE + 2)
    return np.concatenate([np.zeros(DEGREE + 1), inner + (stop - inner) / intervals * steps])


def _row(values: NDArray) -> str:
    """Numbers in one line, in full precision; LAMMPS reads up to 1023 characters."""
    line = " ".join(repr(float(value)) for value in values)
    if len(line) > LINE:
        raise InputError(f"uf3: LAMMPS reads lines of up to {LINE} characters, {len(values)} splines need {len(line)}")
    return line

"""LAMMPS text dumps, read one frame at a time. What the file does not say (elements, identities) is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

import ase
import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from ionecho.errors import InputError
from ionecho.structures.text import numbers, open_text

STARTS = ("ITEM: TIMESTEP", "ITEM: UNITS", "ITEM: TIME\n")
TIME = "time_fs"  # of `Atoms.info`
COORDINATES = (("xu", "yu", "zu"), ("xsu", "ysu", "zsu"), ("x", "y", "z"), ("xs", "ys", "zs"))  # continuous first
IMAGES = ("ix", "iy", "iz")
FEMTOSECONDS = {"metal": 1e3, "real": 1.0}  # of one unit of time; both have Å
UNSAID = "C"  # in the column `element` of a dump without dump_modify element
SPECIES = "species=[..], the element of every type in order"
SAME_MASS = 0.02  # of an element's, u


def is_dump(head: str) -> bool:
    """Whether the file begins as LAMMPS begins a text dump."""
    return head.lstrip().startswith(STARTS)


def read_dump(path: Path, species: Sequence[str] | None = None) -> Iterator[ase.Atoms]:
    """Frames of a dump, atoms in the order of their ids.

    `info["timestep"]` is the time step, `info["time_fs"]` the time where the dump tells it with its units. Positions
    that LAMMPS wrapped are taken with their image flags, where there are.

    Parameters
    ----------
    species
        Element of every type, in order, where the dump has no column `element`.

    Raises
    ------
    InputError
        If nothing tells the elements, frames have no ids, or one of them is cut.
    """
    with open_text(path) as file:
        unit, first = None, None
        for frame, items in enumerate(_frames(file, path)):
            where = f"{path}: frame {frame}"
            unit = items.get("UNITS", [unit])[0]
            if unit not in (None, *FEMTOSECONDS):
                raise InputError(f"{where}: units {unit}, expected metal or real, whose lengths are in Å")
            columns, rows = items["columns"], items["ATOMS"]
            if frame and "id" not in columns:
                raise InputError(
                    f"{path}: no column id, so atoms may change order from frame to frame; dump id type x y z"
                )
            atoms = _atoms(columns, rows, items, species, where)
            atoms.info["timestep"] = _whole(items["TIMESTEP"][0], where)
            if unit is not None and "TIME" in items:
                atoms.info[TIME] = FEMTOSECONDS[unit] * numbers(items["TIME"][0], 1, where)[0]
            identities = atoms.info.pop("ids")
            first = identities if first is None else first
            if not np.array_equal(identities, first):
                raise InputError(f"{where}: other ids of atoms than in frame 0: atoms were lost or added")
            yield atoms


def _frames(file: IO[str], path: Path) -> Iterator[dict[str, list[str]]]:
    """The items of every frame: name -> lines."""
    items: dict[str, list[str]] = {}
    frame = 0
    for line in file:
        where = f"{path}: frame {frame}"
        if not line.strip():
            continue
        if not line.startswith("ITEM: "):
            raise InputError(f"{where}: expected ITEM: ..., found {line.strip()[:40]!r}")
        name = line.removeprefix("ITEM: ").strip()
        if name.startswith("ATOMS"):
            if missing := {"TIMESTEP", "NUMBER OF ATOMS", "BOX BOUNDS"} - set(items):
                raise InputError(f"{where}: no {', '.join(sorted(missing))} before its atoms")
            count = _whole(items["NUMBER OF ATOMS"][0], where)
            rows = list(islice(file, count))
            if len(rows) < count or not rows or not rows[-1].strip() or not rows[-1].endswith("\n"):
                raise InputError(f"{where} breaks off within row {max(len(rows), 1)} of {count}; leave that frame out")
            yield {**items, "ATOMS": rows, "columns": name.split()[1:]}
            items, frame = {}, frame + 1
        elif name.startswith("BOX BOUNDS"):
            items["BOX BOUNDS"] = [name.removeprefix("BOX BOUNDS"), *islice(file, 3)]
        else:
            items[name] = [line.strip() for line in islice(file, 1)]
            if not items[name]:
                break
    if "TIMESTEP" in items:
        raise InputError(f"{path}: frame {frame} breaks off before its atoms; leave it out")


def _whole(text: str, where: str) -> int:
    if not text.isdigit():
        raise InputError(f"{where}: expected a whole number, found {text!r}")
    return int(text)


def _atoms(
    columns: list[str], rows: list[str], items: dict[str, list[str]], species: Sequence[str] | None, where: str
) -> ase.Atoms:
    words = [row.split() for row in rows]
    for row, each in zip(rows, words, strict=True):
        if len(each) < len(columns):
            raise InputError(f"{where}: expected {' '.join(columns)}, found {row.strip()!r}")
    table = dict(zip(columns, zip(*(each[: len(columns)] for each in words), strict=True), strict=True))
    ids = np.array([_whole(word, where) for word in table.get("id", ())], dtype=int)
    order = np.argsort(ids, kind="stable") if len(ids) else np.arange(len(rows))
    if len(np.unique(ids)) < len(ids):
        raise InputError(f"{where}: an id stands with two atoms")
    cell, origin, pbc = _box(items["BOX BOUNDS"], where)
    names = next((names for names in COORDINATES if set(names) <= set(columns)), None)
    if names is None:
        raise InputError(f"{where}: no coordinates among its columns {', '.join(columns)}; expected x y z or the like")
    positions = _floats(table, names, where)
    if "s" in names[0]:
        positions = positions @ cell + origin
    if "u" not in names[0] and set(IMAGES) <= set(columns):
        positions = positions + _floats(table, IMAGES, where) @ cell
    kinds = _elements(table, species, where)
    atoms = ase.Atoms(kinds[order], positions=positions[order], cell=cell, pbc=pbc)
    atoms.info["ids"] = ids[order] if len(ids) else np.arange(len(rows))
    return atoms


def _floats(table: dict[str, tuple[str, ...]], names: Sequence[str], where: str) -> NDArray[np.floating]:
    """Columns (N, n)."""
    try:
        return np.array([table[name] for name in names], dtype=float).T
    except ValueError as error:
        raise InputError(f"{where}: {error} among {', '.join(names)}") from error


def _elements(table: dict[str, tuple[str, ...]], species: Sequence[str] | None, where: str) -> NDArray[np.integer]:
    """Atomic numbers (N,): by `species` and the types, else as the file names them, or by their masses."""
    if species is not None:
        kinds = [_whole(word, where) for word in table.get("type", ())]
        if not kinds:
            raise InputError(f"{where}: no column type, which species={list(species)} is for; leave it out")
        if min(kinds) < 1 or max(kinds) > len(species):
            raise InputError(f"{where}: types 1 to {max(kinds)}, species={list(species)} names {len(species)}")
        named = [species[kind - 1] for kind in kinds]
        own = table.get("element", named)
        other = next((pair for pair in zip(own, named, strict=True) if pair[0] != pair[1]), None)
        if other is not None and set(own) != {UNSAID}:
            raise InputError(f"{where}: its column element has {other[0]} where species= has {other[1]}; leave one out")
        return np.array([atomic_numbers[name] for name in named])
    if "element" in table:
        if set(table["element"]) == {UNSAID} and len(types := set(table.get("type", ()))) > 1:
            told = f"all of its {len(types)} types are {UNSAID}, which LAMMPS writes where no one says more"
            raise InputError(f"{where}: {told}; give {SPECIES}")
        if unknown := sorted(set(table["element"]) - set(chemical_symbols[1:])):
            raise InputError(
                f"{where}: {', '.join(unknown)} in its column element, which are no elements; {_cure(table)}"
            )
        return np.array([atomic_numbers[name] for name in table["element"]])
    if "mass" in table:
        masses = _floats(table, ["mass"], where)[:, 0]
        apart = np.abs(masses[:, None] - np.nan_to_num(atomic_masses[1:104], nan=np.inf))
        if (apart.min(axis=1) > SAME_MASS).any():
            odd = float(masses[apart.min(axis=1) > SAME_MASS][0])
            raise InputError(f"{where}: no element has a mass of {odd:g}; {_cure(table)}")
        return 1 + apart.argmin(axis=1)
    if "type" in table and set(table["type"]) <= set(chemical_symbols[1:]):
        return np.array([atomic_numbers[name] for name in table["type"]])  # dump_modify types labels
    known = sorted(set(table.get("type", ())), key=lambda kind: (len(kind), kind))
    found = f"types {', '.join(known)}" if known else f"columns {', '.join(table)}"
    raise InputError(f"{where}: the dump has {found} but names no elements; {_cure(table)}")


def _cure(table: Mapping[str, object]) -> str:
    """How elements are told of a dump with these columns."""
    return f"give {SPECIES}" if "type" in table else "dump id element x y z, with dump_modify element"


def _box(lines: list[str], where: str) -> tuple[NDArray[np.floating], NDArray[np.floating], list[bool]]:
    """Cell (3, 3), its origin (3,) and along which vectors it is periodic."""
    words = lines[0].split()
    if len(lines) < 4:
        raise InputError(f"{where}: its box breaks off")
    if len(words) < 3 or not all(set(word) <= set("pfsm") for word in words[-3:]):
        raise InputError(f"{where}: which directions are periodic is not said; write ITEM: BOX BOUNDS pp pp pp")
    pbc = [word.startswith("p") for word in words[-3:]]
    general = words[:2] == ["abc", "origin"]
    tilted = len(lines[1].split()) > 2
    rows = np.array([numbers(line, 4 if general else 3 if tilted else 2, f"{where}, box") for line in lines[1:]])
    if general:
        return rows[:, :3], rows[:, 3], pbc
    low, high = rows[:, 0].copy(), rows[:, 1].copy()
    xy, xz, yz = rows[:, 2] if tilted else (0.0, 0.0, 0.0)
    low -= [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]  # the bounds enclose the tilted box
    high -= [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    lx, ly, lz = high - low
    return np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]]), low, pbc

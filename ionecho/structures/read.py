"""Structures from a file, and how one is known."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
from ase.io.formats import UnknownFileTypeError, filetype, string2index
from numpy.typing import NDArray

from ionecho.errors import InputError
from ionecho.structures.lammps_dump import is_dump, read_dump
from ionecho.structures.outcar import Run, read_outcar
from ionecho.structures.text import extended_comment, head, open_text, refuse_endless
from ionecho.structures.xdatcar import is_xdatcar, read_xdatcar


def images(
    path: Path, format: str | None = None, species: Sequence[str] | None = None, index: str = ":"
) -> Iterator[ase.Atoms]:
    """The structures of a file, one at a time: what it is follows from its content first, then from its name.

    Parameters
    ----------
    format
        ASE's name of the format, where neither tells.
    species
        Element of every LAMMPS type, of a dump that names none.
    index
        Which of them, as ASE takes it.

    Raises
    ------
    InputError
        If it cannot be read, its sites are partly occupied, or nothing tells its elements.
    """
    begin, read = head(path), 0
    if path.exists() and not path.stat().st_size:
        raise InputError(f"{path}: an empty file; write it anew")
    dump = format == "lammps-dump-text" or (format is None and is_dump(begin))
    if species is not None and not dump:
        raise InputError(f"{path}: no LAMMPS dump, whose types species= is for; leave it out")
    try:
        if dump:
            yield from _chosen(read_dump(path, species), index)
        elif format == "vasp-xdatcar" or (format is None and is_xdatcar(path, begin)):
            yield from _chosen(read_xdatcar(path), index)
        elif format == "vasp-out" or (format is None and (begin.startswith(" vasp.") or "outcar" in path.name.lower())):
            yield from _chosen((step.atoms for step in read_outcar(path, Run())), index)
        else:
            kind = format or filetype(str(path))
            extended = kind == "extxyz"
            if kind == "vasp":
                refuse_endless(path)
            options: dict[str, Any] = {"properties_parser": extended_comment} if extended else {}
            with open_text(path) if extended else nullcontext(path) as file:
                for atoms in ase.io.iread(file, index=index, format=kind, do_not_split_by_at_sign=True, **options):
                    refuse_disorder(atoms, path)
                    if not len(atoms):
                        raise InputError(f"{path}: a structure without atoms; take it out")
                    if (unknown := np.flatnonzero(atoms.numbers < 1)).size:
                        raise InputError(f"{path}: atom {unknown[0]} is of no element (X); name it in the file")
                    yield atoms
                    read += 1
    except InputError:
        raise
    except UnknownFileTypeError as error:
        raise InputError(f"{path}: neither content nor name tells its format; give it as ASE names it") from error
    except Exception as error:  # of any of ASE's readers
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if isinstance(error, KeyError) and str(error.args[0]).isalpha():
            told = f"{error.args[0]!r} names no element"
        told = str(error) if isinstance(error, EOFError) else told
        raise InputError(f"{path}: cannot be read{f' from frame {read} on' if read else ''} ({told})") from error


def _chosen(frames: Iterator[ase.Atoms], index: str) -> Iterator[ase.Atoms]:
    """Those of `index`, in bounded memory where it counts from the start."""
    chosen = string2index(index)
    if isinstance(chosen, slice) and all(part is None or part >= 0 for part in (chosen.start, chosen.stop)):
        return islice(frames, chosen.start, chosen.stop, chosen.step)
    if chosen == -1:
        return iter(deque(frames, maxlen=1))
    found: Any = list(frames)[chosen]  # type: ignore[index]
    return iter([found] if isinstance(found, ase.Atoms) else found)


def last_image(name: str) -> ase.Atoms:
    """The last structure of a file; raises InputError as `images` does."""
    found = deque(images(Path(name), index="-1"), maxlen=1)
    if not found:
        raise InputError(f"{name}: holds no structure")
    return found[0]


def refuse_disorder(atoms: ase.Atoms, where: object) -> None:
    """Raise InputError for sites that a CIF says are partly occupied: ASE fills each with its first element."""
    sites = atoms.info.get("occupancy", {})
    for shares in sites.values() if isinstance(sites, Mapping) else ():
        if isinstance(shares, Mapping) and (len(shares) > 1 or min(shares.values(), default=1.0) < 1.0):
            told = ", ".join(f"{element} {share:g}" for element, share in shares.items())
            raise InputError(f"{where}: a site is partly occupied ({told}); give an ordered cell in its place")


def structure_sha256(numbers: NDArray, positions: NDArray, cell: NDArray) -> str:
    """SHA-256 of elements, positions and cell, bit by bit."""
    parts = (np.asarray(numbers, "<i8"), np.asarray(positions, "<f8"), np.asarray(cell, "<f8"))
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def describe(atoms: ase.Atoms) -> dict[str, Any]:
    """Formula, a hash of elements, positions and cell, what is periodic, and masses that are the structure's own."""
    digest = structure_sha256(atoms.numbers, atoms.positions, np.array(atoms.cell))
    masses = {"masses": atoms.get_masses().tolist()} if atoms.has("masses") else {}
    known = {"formula": atoms.get_chemical_formula(), "structure_sha256": digest, "pbc": atoms.pbc.tolist()}
    return known | masses

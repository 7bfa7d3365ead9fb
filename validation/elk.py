"""Elk, all electrons in APW and local orbitals (`apt install elk-lapw`), for the references of labels."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

import ase
import numpy as np
from ase import units

SPECIES = Path("/usr/share/elk-lapw/species")
PBE = {"xctype": "20", "gmaxvr": "24.0", "lmaxapw": "10", "lmaxo": "8", "lmaxi": "2", "sppath": "'./'"}


def run(atoms: ase.Atoms, settings: Mapping[str, str], cores: Collection[str] = ()) -> Path:
    """The folder, under outputs/elk, of a finished run; what is there already is not run again.

    Parameters
    ----------
    settings
        Blocks of Elk's input, besides those of `PBE` and of the structure.
    cores
        Elements whose s states below the valence are all in the core (`_with_s_core`).
    """
    if not SPECIES.exists():
        raise SystemExit("elk-lapw is not installed: apt install elk-lapw")
    elements = {symbol: (SPECIES / f"{symbol}.in").read_text() for symbol in atoms.symbols}
    files = {f"{name}.in": _with_s_core(text) if name in cores else text for name, text in elements.items()}
    files["elk.in"] = _input(atoms, settings)
    folder = Path("outputs/elk") / hashlib.sha256("".join(files.values()).encode()).hexdigest()[:8]
    if not (folder / "finished").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        subprocess.run(["elk-lapw"], cwd=folder, env=os.environ | one_thread, check=True, stdout=subprocess.DEVNULL)
        (folder / "finished").touch()
    return folder


def _input(atoms: ase.Atoms, settings: Mapping[str, str]) -> str:
    """Elk's blocks, lengths in bohr."""
    cell = "\n".join(" ".join(f"{x:.8f}" for x in vector) for vector in np.array(atoms.cell) / units.Bohr)
    rows = [str(len(set(atoms.symbols)))]
    for symbol in dict.fromkeys(atoms.symbols):
        places = atoms.get_scaled_positions()[atoms.symbols == symbol]
        rows += [f"'{symbol}.in'", str(len(places)), *(" ".join(f"{x:.10f}" for x in place) for place in places)]
    blocks = {**PBE, **settings, "avec": cell, "atoms": "\n".join(rows)}
    return "\n\n".join(f"{name}\n{content}" for name, content in blocks.items()) + "\n"


def _with_s_core(species: str) -> str:
    """The highest s state that has a local orbital of its own moved to the core, as Elk's example of Fe has it.

    The core is polarised by itself, with the Dirac equation. A semicore s state in the valence would have what it and
    the core exchange a second time.
    """
    lines = species.splitlines()
    head = next(number for number, line in enumerate(lines) if "nlorb" in line)
    orbitals = [lines[start : start + 3] for start in range(head + 1, len(lines) - 2, 3)]
    own = next(orbital for orbital in orbitals if orbital[0].split()[0] == "0" and orbital[2].split()[2] == "T")
    orbitals.remove(own)
    states = [number for number, line in enumerate(lines[:head]) if line.split()[1:3] == ["0", "1"]]
    semicore = next(number for number in states if lines[number].split()[4] == "F")
    lines[semicore] = " ".join([*lines[semicore].split()[:4], "T"])
    return "\n".join([*lines[:head], f"{len(orbitals)} : nlorb", *(line for each in orbitals for line in each)]) + "\n"

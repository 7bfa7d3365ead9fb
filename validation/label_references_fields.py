"""Contact fields at nuclei in crystals, GPAW against Elk (all electrons): python -m validation.label_references_fields.

PBE, ferromagnetic: bcc Fe, whose field was measured, and NaCrO2, in which Na has its spin from a transition metal
through O. Elk needs nearly all its empty states: an hour and a half of one core. In T; positive is along the moment.

`... NaCrO2 rgkmax=8.0 --core Na,Cr --mesh 3` takes one of them, sets blocks of Elk's input, the elements whose semicore
s is in the core, and the k-points along each vector.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import ase
import numpy as np
from ase.build import bulk
from ase.spacegroup import crystal
from numpy.typing import NDArray

from ionecho.labelling.paw import hyperfine_tensors
from validation import elk
from validation.label_references import crystalline

ELK = {
    "tasks": "0\n110",
    "nrmtscf": "4.0",
    "spinpol": ".true.",
    "spincore": ".true.",
    "bfieldc": "0.0 0.0 0.01",  # at the start
    "reducebf": "0.5",
    "epspot": "1.e-5",
    "maxscl": "100",
}


@dataclass(frozen=True)
class Crystal:
    """Structure, mesh, blocks for Elk, and for each of its runs the elements whose semicore s is in the core."""

    atoms: ase.Atoms
    mesh: tuple[int, int, int]
    settings: dict[str, str]
    cores: tuple[tuple[str, ...], ...]


def _nacro2() -> ase.Atoms:
    return crystal(
        ["Na", "Cr", "O"],
        [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.2655)],
        spacegroup=166,
        cellpar=[2.975, 2.975, 15.97, 90, 90, 120],
        primitive_cell=True,
    )


IRON = {"rgkmax": "8.0", "lorbcnd": ".true.", "nempty": "80"}
CRYSTALS = {
    "Fe": Crystal(bulk("Fe", "bcc", a=2.8702), (10, 10, 10), IRON, (("Fe",), ())),
    "NaCrO2": Crystal(_nacro2(), (5, 5, 5), {"rgkmax": "7.0", "nempty": "50"}, (("Na", "Cr"),)),
}
MOMENTS = {"Fe": 2.3, "Cr": 3.0}


def by_gpaw(given: Crystal) -> NDArray:
    """Fields at all nuclei, of the valence alone and of all, (2, N)."""
    atoms = given.atoms.copy()
    atoms.set_initial_magnetic_moments([MOMENTS.get(symbol, 0.0) for symbol in atoms.symbols])
    calculator = crystalline(atoms, given.mesh, setups={})
    ratios = np.full(len(atoms), calculator.get_magnetic_moment() / 2)  # the field in T for a coupling to <S_z> in MHz
    tensors = [hyperfine_tensors(calculator, ratios, core_polarisation) for core_polarisation in (False, True)]
    return np.trace(tensors, axis1=2, axis2=3) / 3


def by_elk(given: Crystal, cores: tuple[str, ...]) -> NDArray:
    """The same of all electrons, (N,)."""
    blocks = ELK | given.settings | {"ngridk": " ".join(map(str, given.mesh))}
    folder = elk.run(given.atoms, blocks, cores)
    found = [line.split()[-1] for line in (folder / "MOSSBAUER.OUT").read_text().splitlines() if "tesla" in line]
    moment = float((folder / "MOMENT.OUT").read_text().split()[-1])
    return np.array(found, float) * np.sign(moment)


def main(crystal: str | None, blocks: Sequence[str], core: str | None, mesh: int | None) -> None:
    """Print a line for each crystal and nucleus by GPAW, then for each core of Elk's too."""
    for name in [crystal] if crystal else CRYSTALS:
        known = CRYSTALS[name]
        settings = known.settings | dict(block.split("=", 1) for block in blocks)
        cores = known.cores if core is None else (tuple(filter(None, core.split(","))),)
        given = replace(known, settings=settings, cores=cores, mesh=known.mesh if mesh is None else (mesh, mesh, mesh))
        valence, whole = by_gpaw(given)
        for atom, symbol in enumerate(given.atoms.symbols):
            print(f"{name} {symbol}: GPAW {whole[atom]:.3f} (valence alone {valence[atom]:.3f})", flush=True)
        for cores in given.cores:
            reference = by_elk(given, cores)
            for atom, symbol in enumerate(given.atoms.symbols):
                where = f"semicore s of {', '.join(cores)} in Elk's core" if cores else "Elk's default core"
                ratio = whole[atom] / reference[atom]
                print(f"{name} {symbol}: Elk {reference[atom]:.3f}, ratio {ratio:.3f} ({where})", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crystal", nargs="?", choices=CRYSTALS)
    parser.add_argument("blocks", nargs="*")
    parser.add_argument("--core")
    parser.add_argument("--mesh", type=int)
    main(**vars(parser.parse_args()))

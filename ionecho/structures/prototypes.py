"""Starting cells of the materials that the project's own datasets are about, built from their published structures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations
from typing import Any

import ase
import numpy as np
from ase.cell import Cell
from ase.geometry import get_distances
from ase.spacegroup import crystal
from numpy.typing import NDArray

from ionecho.errors import InputError
from ionecho.structures.lps import GLASS, LPS

P2_SHIFT = {"p63mcm": 0, "p6322": 1}  # honeycomb of the second layer, in sites of the first: Mg over Mg, or over Mn
DIVALENT = {"p2": "Mg", "p2_ni": "Ni"}  # both in the cell of the Mg compound
P2_CELL = Cell.fromcellpar([5.0095, 5.0095, 11.218, 90, 90, 120])  # Å, a quarter of Chem. Sci. 2022, 13, 7863
P2_OXYGEN = 1.04  # height of the oxygen planes over the metal planes, Å
NEAREST, NEXT_PRISM = 2.5, 1.8  # Å, least distance of two Na; prisms that share a face are 1.67 Å apart
# Fractional sites (x, y) in the sqrt(3) x sqrt(3) cell: the metals, and how far the two oxygen planes lie from them.
METAL = np.array([[0, 0], [2 / 3, 1 / 3], [1 / 3, 2 / 3]])
BELOW, ABOVE = np.array([1 / 3, 0]), np.array([1 / 3, 1 / 3])
# Oxygens that face each other over an interlayer lie on one line; the prisms stand over the other two kinds of site.
P2_PRISMS = [
    np.column_stack([np.concatenate([METAL, METAL + free]), np.full(6, height)])
    for height, free in ((0.5, BELOW), (0.0, ABOVE))
]

NVP_LENGTHS = ((8.43, 21.52), (8.73, 21.80))  # a, c in Å of NaV2(PO4)3 and Na3V2(PO4)3, hexagonal
NVP_SITES = {"V": (0, 0, 0.1465), "P": (0.289, 0, 0.25), "O1": (0.178, -0.027, 0.192), "O2": (0.190, 0.169, 0.086)}


def p2_layered(stacking: str, seed: int, divalent: str = "Mg") -> ase.Atoms:
    """P2-type Na4[Mg2Mn4]O12, two honeycomb layers in a sqrt(3) x sqrt(3) cell of 22 atoms.

    Parameters
    ----------
    stacking
        `p63mcm`: Mg over Mg along c; `p6322`: Mg over Mn.
    divalent
        The element in the place of Mg.
    seed
        Draws two of the six prismatic sites of each interlayer (three share faces with the octahedra, three edges), no
        two closer than 2.5 Å.
    """
    rng = np.random.default_rng(seed)
    filled = [_draw(_allowed_pairs(interlayer), rng) for interlayer in P2_PRISMS]
    return _p2(stacking, np.concatenate(filled), divalent)


def p2_hop(stacking: str, seed: int) -> tuple[ase.Atoms, ase.Atoms]:
    """The ends of a hop of one interlayer's two Na over faces to the next prisms, the other ions as in `p2_layered`.

    In this small cell every edge prism has a common face with every face prism, so that one Na cannot move alone.
    """
    rng = np.random.default_rng(seed)
    first, second = P2_PRISMS
    start = _draw(_allowed_pairs(first), rng)
    ends = [
        pair for pair in _allowed_pairs(first) if 0.1 < _distances(np.stack([start[0], pair[0]]))[0, 1] < NEXT_PRISM
    ]
    end = _draw(ends, rng)
    rest = _draw(_allowed_pairs(second), rng)
    return _p2(stacking, np.concatenate([start, rest])), _p2(stacking, np.concatenate([end, rest]))


def _p2(stacking: str, sodium: NDArray[np.floating], divalent: str = "Mg") -> ase.Atoms:
    """The two layers with Na at these fractional sites (N, 3); atoms in the order Na, Mg (or other), Mn, O."""
    if stacking not in P2_SHIFT:
        raise InputError(f"stacking: expected {' or '.join(P2_SHIFT)}, found {stacking!r}")
    symbols, sites = ["Na"] * len(sodium), list(sodium)
    for layer, (height, lower, upper) in enumerate(((0.25, BELOW, ABOVE), (0.75, ABOVE, BELOW))):
        for index, site in enumerate(METAL):
            symbols += [divalent if index == P2_SHIFT[stacking] * layer else "Mn", "O", "O"]
            sites.append(np.array([*site, height]))
            sites.append(np.array([*(site + lower), height - P2_OXYGEN / P2_CELL.lengths()[2]]))
            sites.append(np.array([*(site + upper), height + P2_OXYGEN / P2_CELL.lengths()[2]]))
    atoms = ase.Atoms(symbols, scaled_positions=np.array(sites), cell=P2_CELL, pbc=True)
    atoms.wrap()
    return atoms[np.argsort([["Na", divalent, "Mn", "O"].index(symbol) for symbol in atoms.symbols], kind="stable")]


def _allowed_pairs(interlayer: NDArray[np.floating]) -> list[NDArray[np.floating]]:
    """Pairs (2, 3) of the prisms of an interlayer that two Na can fill."""
    distances = _distances(interlayer)
    return [interlayer[list(pair)] for pair in combinations(range(len(interlayer)), 2) if distances[pair] > NEAREST]


def _distances(sites: NDArray[np.floating]) -> NDArray[np.floating]:
    """Distances of fractional sites under periodic boundaries, Å."""
    return get_distances(sites @ P2_CELL, cell=P2_CELL, pbc=True)[1]


def _draw(choices: list[Any], rng: np.random.Generator) -> Any:
    return choices[rng.integers(len(choices))]


def nvp(sodium: int, seed: int) -> ase.Atoms:
    """NASICON-type Na_x V2(PO4)3, R-3c, two formula units in the rhombohedral cell of 34 atoms and the sodium.

    Lengths are linear in x between NaV2(PO4)3 and Na3V2(PO4)3 (Energy Storage Mater. 2023, 63, 103023: Na1 is filled
    before Na2, the volume is linear in x).

    Parameters
    ----------
    sodium
        Na atoms in the cell, 2 (x = 1) to 6 (x = 3).
    seed
        Draws which of the six Na2 sites are filled.
    """
    first, second, framework = _nvp_sites(sodium)
    return _nvp([*first, *_shuffled(second, seed)[: sodium - 2]], framework)


def nvp_hop(sodium: int, seed: int) -> tuple[ase.Atoms, ase.Atoms]:
    """The ends of a hop of one Na from Na1 to the nearest empty Na2, the others as in `nvp`."""
    first, second, framework = _nvp_sites(sodium)
    second = _shuffled(second, seed)
    filled, empty = second[: sodium - 2], second[sodium - 2 :]
    nearest = get_distances(first[:1], empty, cell=framework.cell, pbc=True)[1].argmin()
    start, end = (_nvp([moving, *first[1:], *filled], framework) for moving in (first[0], empty[nearest]))
    return start, end


def _nvp_sites(sodium: int) -> tuple[NDArray[np.floating], NDArray[np.floating], ase.Atoms]:
    """Positions of the two Na1 and the six Na2 in Å, and V2(PO4)3, at the lengths for so many Na."""
    if not 2 <= sodium <= 6:
        raise InputError(f"sodium: expected 2 to 6 atoms in two formula units, found {sodium}")
    filling = (sodium - 2) / 4
    a, c = ((1 - filling) * poor + filling * rich for poor, rich in zip(*NVP_LENGTHS, strict=True))
    sites = {"Na1": (0, 0, 0), "Na2": (0.64, 0, 0.25), **NVP_SITES}
    cell = crystal(
        [name.rstrip("12") for name in sites],
        list(sites.values()),
        spacegroup=167,
        cellpar=[a, a, c, 90, 90, 120],
        primitive_cell=True,
    )
    kinds = cell.arrays["spacegroup_kinds"]
    return cell.positions[kinds == 0], cell.positions[kinds == 1], _plain(cell)[kinds > 1]


def _nvp(sodium: list[NDArray[np.floating]], framework: ase.Atoms) -> ase.Atoms:
    atoms = ase.Atoms(f"Na{len(sodium)}", np.array(sodium), cell=framework.cell, pbc=True) + framework
    return atoms[np.argsort([["Na", "V", "P", "O"].index(symbol) for symbol in atoms.symbols], kind="stable")]


def _shuffled(sites: NDArray[np.floating], seed: int) -> NDArray[np.floating]:
    return np.random.default_rng(seed).permutation(sites)


def _plain(atoms: ase.Atoms) -> ase.Atoms:
    """Elements, positions and cell alone."""
    return ase.Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)


PROTOTYPES: Mapping[str, Callable[[int], ase.Atoms]] = {
    **{
        f"{prefix}_{stacking}": partial(p2_layered, stacking, divalent=divalent)
        for prefix, divalent in DIVALENT.items()
        for stacking in P2_SHIFT
    },
    **LPS,
    **GLASS,
    **{f"nvp_{sodium}": partial(nvp, sodium) for sodium in range(2, 7)},
}
"""Name -> cell, by the seed that draws what the structure leaves open (the arrangement of the mobile ions)."""

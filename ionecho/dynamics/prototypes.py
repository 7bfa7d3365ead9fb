"""Starting cells of the materials that the project's own datasets are about, built from their published structures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations

import ase
import numpy as np
from ase.cell import Cell
from ase.geometry import get_distances
from ase.spacegroup import crystal
from numpy.typing import NDArray

from ionecho.errors import InputError

P2_SHIFT = {"p63mcm": 0, "p6322": 1}  # honeycomb of the second layer, in sites of the first: Mg over Mg, or over Mn
P2_LENGTHS = (5.0095, 11.218)  # a, c in Å: a quarter of the 88-atom cells of Chem. Sci. 2022, 13, 7863
P2_OXYGEN = 1.04  # height of the oxygen planes over the metal planes, Å
NEAREST_SODIUM = 2.5  # Å
# Fractional sites (x, y) in the sqrt(3) x sqrt(3) cell: the metals, and how far the two oxygen planes lie from them.
METAL = np.array([[0, 0], [2 / 3, 1 / 3], [1 / 3, 2 / 3]])
BELOW, ABOVE = np.array([1 / 3, 0]), np.array([1 / 3, 1 / 3])

NVP_LENGTHS = ((8.43, 21.52), (8.73, 21.80))  # a, c in Å of NaV2(PO4)3 and Na3V2(PO4)3, hexagonal
NVP_SITES = {"V": (0, 0, 0.1465), "P": (0.289, 0, 0.25), "O1": (0.178, -0.027, 0.192), "O2": (0.190, 0.169, 0.086)}


def p2_layered(stacking: str, seed: int) -> ase.Atoms:
    """P2-type Na4[Mg2Mn4]O12, two honeycomb layers in a sqrt(3) x sqrt(3) cell of 22 atoms.

    Parameters
    ----------
    stacking
        `p63mcm`: Mg over Mg along c; `p6322`: Mg over Mn.
    seed
        Draws two of the six prismatic sites of each interlayer (three share faces with the octahedra, three edges), no
        two closer than 2.5 Å.
    """
    if stacking not in P2_SHIFT:
        raise InputError(f"stacking: expected {' or '.join(P2_SHIFT)}, found {stacking!r}")
    a, c = P2_LENGTHS
    cell = Cell.fromcellpar([a, a, c, 90, 90, 120])
    symbols: list[str] = []
    sites: list[NDArray] = []
    for layer, (height, lower, upper) in enumerate(((0.25, BELOW, ABOVE), (0.75, ABOVE, BELOW))):
        for index, site in enumerate(METAL):
            symbols += ["Mg" if index == P2_SHIFT[stacking] * layer else "Mn", "O", "O"]
            sites.append(np.array([*site, height]))
            sites.append(np.array([*(site + lower), height - P2_OXYGEN / c]))
            sites.append(np.array([*(site + upper), height + P2_OXYGEN / c]))
    # Oxygens that face each other over an interlayer lie on one line; the prisms stand over the other two sites.
    rng = np.random.default_rng(seed)
    for height, free in ((0.5, BELOW), (0.0, ABOVE)):
        for site in _two_apart(np.concatenate([METAL, METAL + free]), cell, rng):
            symbols.append("Na")
            sites.append(np.array([*site, height]))
    atoms = ase.Atoms(symbols, scaled_positions=np.array(sites), cell=cell, pbc=True)
    atoms.wrap()
    order = np.argsort([["Na", "Mg", "Mn", "O"].index(symbol) for symbol in atoms.symbols], kind="stable")
    return atoms[order]


def _two_apart(sites: NDArray, cell: Cell, rng: np.random.Generator) -> NDArray:
    points = np.column_stack([sites, np.zeros(len(sites))]) @ cell
    _, distances = get_distances(points, cell=cell, pbc=True)
    allowed = [pair for pair in combinations(range(len(sites)), 2) if distances[pair] > NEAREST_SODIUM]
    return sites[list(allowed[rng.integers(len(allowed))])]


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
    kinds = np.array([list(sites)[kind] for kind in cell.arrays["spacegroup_kinds"]])
    second = np.flatnonzero(kinds == "Na2")
    filled = np.random.default_rng(seed).permutation(second)[: sodium - 2]
    keep = (kinds != "Na2") | np.isin(np.arange(len(cell)), filled)
    atoms = ase.Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True)[keep]
    return atoms[np.argsort(["Na V P O".split().index(symbol) for symbol in atoms.symbols], kind="stable")]


PROTOTYPES: Mapping[str, Callable[[int], ase.Atoms]] = {
    **{f"p2_{stacking}": partial(p2_layered, stacking) for stacking in P2_SHIFT},
    **{f"nvp_{sodium}": partial(nvp, sodium) for sodium in range(2, 7)},
}
"""Name -> cell, by the seed that draws what the structure leaves open (the arrangement of the mobile ions)."""

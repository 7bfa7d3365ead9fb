"""Li3PS4: the ordered crystals, Frenkel pairs in them, and random packings to melt and quench."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import ase
import numpy as np
from ase.geometry import get_distances
from ase.spacegroup import crystal
from ase.units import _amu
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ionecho.errors import InputError

# Measured lengths (Homma et al., Solid State Ionics 2011, 182, 53), sites relaxed with the engine of lps_gpaw:
# python -m validation.relaxed_sites.
GAMMA = {
    "Li1": (0.2432, 0.3148, 0.9990),
    "Li2": (0.0, 0.1497, 0.4884),
    "P": (0.0, 0.8182, 0.0002),
    "S1": (0.2196, 0.6704, 0.8897),
    "S2": (0.0, 0.1153, 0.8872),
    "S3": (0.0, 0.8112, 0.3364),
}
BETA = {
    "Li1": (0.3346, 0.0311, 0.6137),
    "Li2": (0.0, 0.0, 0.5),
    "P": (0.0888, 0.25, 0.8492),
    "S1": (0.1538, 0.0384, 0.7297),
    "S2": (0.9368, 0.25, 0.7240),
    "S3": (0.1007, 0.25, 0.1824),
}
PS = 2.05  # Å, P-S bond
PS4 = PS / np.sqrt(3) * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
P2S7_BRIDGE, P2S7_ANGLE, P2S6_PP = 2.12, 110.0, 2.25  # Å, degrees, Å: P-S and P-S-P of the bridge; P-P
# Least distances of ions that are not bonded, in a packing and of an interstitial Li, Å.
APART = {("P", "P"): 3.8, ("P", "S"): 2.9, ("S", "S"): 2.7, ("Li", "Li"): 2.0, ("Li", "P"): 2.4, ("Li", "S"): 2.0}
TRIES = 1000
DENSITIES = (1.80, 1.95)  # g/cm³, of the packings; gamma 1.93, beta 1.85


def lps_crystal(phase: str, seed: int) -> ase.Atoms:
    """gamma-Li3PS4, Pmn2_1, 16 atoms, or beta-Li3PS4, Pnma, 32 atoms with Li on 8d and 4b; the seed draws nothing.

    The Li of beta is spread over 8d, 4b and 4c at 573 K (Homma et al.); here the two that give whole occupations.
    """
    sites, group, lengths = {
        "gamma": (GAMMA, 31, [7.708, 6.535, 6.137]),
        "beta": (BETA, 62, [12.819, 8.219, 6.123]),
    }[phase]
    symbols = [name.rstrip("123") for name in sites]
    atoms = crystal(symbols, list(sites.values()), spacegroup=group, cellpar=[*lengths, 90, 90, 90])
    return ase.Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)


def lps_frenkel(phase: str, seed: int) -> ase.Atoms:
    """A crystal with one Li moved into a void, more than 2 Å away: the seed draws which Li, and where."""
    rng = np.random.default_rng(seed)
    atoms = lps_crystal(phase, seed)
    moved = int(rng.choice(np.flatnonzero(atoms.symbols == "Li")))
    rest = atoms.copy()
    del rest[moved]
    for _ in range(TRIES):
        point = rng.uniform(size=(1, 3)) @ rest.cell
        away = get_distances(point, atoms.positions[[moved]], atoms.cell, True)[1].item()
        if away > 2.0 and _fits(["Li"], point, rest):
            atoms.positions[moved] = point
            return atoms
    raise InputError(f"lps_frenkel: no void for Li in {phase} with seed {seed}")


def lps_packed(units: Mapping[str, int], seed: int, densities: tuple[float, float] = DENSITIES) -> ase.Atoms:
    """Randomly placed and turned thiophosphate ions and Li in a cube, a start for a melt.

    Parameters
    ----------
    units
        How many of each of `ANIONS`, with Li for their charge.
    seed
        Draws all places, and the density.
    densities
        Smallest and largest, g/cm³.
    """
    rng = np.random.default_rng(seed)
    anions = [ANIONS[name] for name, count in units.items() for _ in range(count)]
    lithium = sum(charge for _, charge in anions)
    mass = sum(anion.get_masses().sum() for anion, _ in anions) + lithium * ase.Atoms("Li").get_masses().sum()
    edge = np.cbrt(mass * _amu * 1e27 / rng.uniform(*densities))  # kg in g, m³ in Å³ over cm³
    for _ in range(TRIES):
        atoms = ase.Atoms(cell=[edge] * 3, pbc=True)
        if all(_inserted(atoms, ion, rng) for ion in [*(anion for anion, _ in anions), *lithium * [ase.Atoms("Li")]]):
            return atoms[np.argsort([["Li", "P", "S"].index(symbol) for symbol in atoms.symbols], kind="stable")]
    raise InputError(f"lps_packed: {dict(units)} do not fit with seed {seed}")


def _corner_sharing() -> ase.Atoms:
    """P2S7, two PS4 tetrahedra with one S in common, mirror images turned so that their other S are far apart."""
    half = np.radians(P2S7_ANGLE / 2)
    end = P2S7_BRIDGE * np.array([np.sin(half), 0, -np.cos(half)])
    arm = end + _turned(PS4[[0, 2, 3, 4]], PS4[1], -end)

    def unit(angle: float) -> ase.Atoms:
        turned = end + Rotation.from_rotvec(angle * end / P2S7_BRIDGE).apply(arm - end)
        return ase.Atoms("SPSSSPSSS", np.concatenate([np.zeros((1, 3)), turned, turned * [-1, 1, 1]]))

    turns = map(unit, np.radians(np.arange(0, 120, 10)))
    return max(turns, key=lambda unit: unit[unit.symbols == "S"].get_all_distances()[np.triu_indices(7, 1)].min())


def _ethane_like() -> ase.Atoms:
    """P2S6, two PS3 joined by a bond between the P, staggered."""
    bond = np.array([0, 0, P2S6_PP])
    first = _turned(PS4[[0, 2, 3, 4]], PS4[1], bond)
    return ase.Atoms("PSSSPSSS", np.concatenate([first, bond - first]))


def _turned(
    shape: NDArray[np.floating], axis: NDArray[np.floating], along: NDArray[np.floating]
) -> NDArray[np.floating]:
    """A shape (N, 3) turned so that `axis` points along another direction."""
    return Rotation.align_vectors(along[None], axis[None])[0].apply(shape)


ANIONS = {
    "PS4": (ase.Atoms("PSSSS", PS4), 3),
    "P2S7": (_corner_sharing(), 4),
    "P2S6": (_ethane_like(), 4),
    "S": (ase.Atoms("S"), 2),
}
"""Thiophosphate ions of the glass, and the charge of each that Li balances."""


def _inserted(atoms: ase.Atoms, unit: ase.Atoms, rng: np.random.Generator) -> bool:
    """Add a unit at a random place and turn where it fits; whether it did."""
    for _ in range(TRIES // 10):
        turned = unit.copy()
        turned.positions = Rotation.random(rng=rng).apply(unit.positions) + rng.uniform(size=3) @ atoms.cell
        if _fits(turned.get_chemical_symbols(), turned.positions, atoms):
            atoms += turned
            return True
    return False


def _fits(symbols: list[str], positions: NDArray[np.floating], rest: ase.Atoms) -> bool:
    """Whether ions at these positions (N, 3) keep the least distances from all of `rest`."""
    if not len(rest):
        return True
    least = np.array([[APART[min(a, b), max(a, b)] for b in rest.symbols] for a in symbols])
    return bool((get_distances(positions, rest.positions, rest.cell, True)[1] > least).all())


LPS: Mapping[str, Callable[[int], ase.Atoms]] = {
    **{f"lps_{phase}": partial(lps_crystal, phase) for phase in ("gamma", "beta")},
    **{f"lps_frenkel_{phase}": partial(lps_frenkel, phase) for phase in ("gamma", "beta")},
    **{f"lps_packed_{units}": partial(lps_packed, {"PS4": units}) for units in (2, 3)},
}
"""Name -> cell of Li3PS4, by its seed."""
GLASS: Mapping[str, Callable[[int], ase.Atoms]] = {
    "lps_packed_p2s7": partial(lps_packed, {"P2S7": 1, "PS4": 1}),
    "lps_packed_p2s6": partial(lps_packed, {"P2S6": 1, "PS4": 1}),
}
"""The same, with other thiophosphate ions and less Li2S than Li3PS4."""

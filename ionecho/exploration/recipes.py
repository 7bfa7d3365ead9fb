"""The configurations of the project's own datasets: `ionecho sample NAME` writes them again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ionecho.data.archives import pack
from ionecho.data.schema import Configuration
from ionecho.data.store import DatasetWriter
from ionecho.errors import InputError
from ionecho.exploration.sampling import WORK, configuration, hopping, quenched, rattled, simulated
from ionecho.structures.coordination import (
    octahedra_intact,
    phosphate_intact,
    thiophosphate_glass,
    thiophosphate_intact,
)
from ionecho.structures.lps import lps_packed
from ionecho.structures.prototypes import PROTOTYPES, nvp_hop, p2_hop

P2_POTENTIAL, LPS_POTENTIAL, NVP_POTENTIAL = "uf3-p2_nmmo", "uf3-lgps", "nvp_xtb"
P2_TAUGHT_POTENTIAL = "painn-p2_gpaw"
MAGNESIUM, NICKEL = 12, 28
QUENCH = ((1200.0, 2), (900.0, 1), (600.0, 1), (300.0, 2))  # K and frames of each stage
GLASS_QUENCH = ((1200.0, 2), (900.0, 2), (600.0, 2), (300.0, 2))
GLASSES = {  # ions, g/cm³, number of quenches: at other densities than the quenches, and with other anions
    "ps4_light": ({"PS4": 2}, (1.50, 1.75), 20),
    "ps4_dense": ({"PS4": 2}, (1.95, 2.15), 20),
    "ps4_24": ({"PS4": 3}, (1.65, 2.00), 20),
    "p2s7": ({"P2S7": 1, "PS4": 1}, (1.65, 2.00), 20),
    "p2s6": ({"P2S6": 1, "PS4": 1}, (1.65, 2.00), 20),
    "p2s7_s": ({"P2S7": 1, "S": 1, "PS4": 1}, (1.65, 2.00), 10),
}


def p2_gpaw() -> Iterator[Configuration]:
    """P2-type Na2/3(Mg1/3Mn2/3)O2, both stackings: displaced cells, dynamics at three temperatures, hops of Na.

    The potential knows crystals near 300 K alone: a run ends where an octahedron breaks.
    """
    for stacking, displaced in (("p63mcm", 22), ("p6322", 9)):
        prototype = PROTOTYPES[f"p2_{stacking}"]
        yield from rattled(prototype, f"rattled_{stacking}", displaced)
        for seed, temperature in enumerate(6 * (300, 600, 900)):
            group = f"md_{stacking}_{temperature}K_{seed}"
            yield from simulated(prototype, group, P2_POTENTIAL, temperature, seed, 8, octahedra_intact)
        for seed in range(3):
            yield from hopping(partial(p2_hop, stacking), f"hop_{stacking}_{seed}", P2_POTENTIAL, seed, 7)


def p2_nnmo_gpaw() -> Iterator[Configuration]:
    """P2-type Na2/3(Ni1/3Mn2/3)O2, both stackings: as `p2_gpaw`, but calmer, with Ni where the runs had Mg.

    Mg2+ and Ni2+ are alike in radius and charge, so that a potential of PBE + U of the Mg compound draws the frames.
    """
    for found in _calm_p2():
        yield replace(found, numbers=np.where(found.numbers == MAGNESIUM, NICKEL, found.numbers))


def _calm_p2() -> Iterator[Configuration]:
    for stacking in ("p63mcm", "p6322"):
        prototype = PROTOTYPES[f"p2_{stacking}"]
        yield from rattled(prototype, f"rattled_{stacking}", 12)
        for seed, temperature in enumerate(6 * (300, 400, 500), start=100):
            group = f"md_{stacking}_{temperature}K_{seed}"
            yield from simulated(
                prototype, group, P2_TAUGHT_POTENTIAL, temperature, seed, 6, octahedra_intact, spacing=200
            )
        for seed in range(100, 103):
            yield from hopping(partial(p2_hop, stacking), f"hop_{stacking}_{seed}", P2_TAUGHT_POTENTIAL, seed, 7)


def lps_gpaw() -> Iterator[Configuration]:
    """Li3PS4: gamma and beta, relaxed, displaced and at three temperatures; Frenkel pairs; quenches; glass."""
    temperatures = (300, 500, 700)
    for phase, displaced, runs, frames in (("gamma", 40, 9, 8), ("beta", 14, 3, 4)):
        prototype = PROTOTYPES[f"lps_{phase}"]
        yield configuration(prototype(0), f"relaxed_{phase}", 0)
        yield from rattled(prototype, f"rattled_{phase}", displaced)
        for seed, temperature in enumerate(runs * temperatures):
            group = f"md_{phase}_{temperature}K_{seed}"
            yield from simulated(prototype, group, LPS_POTENTIAL, temperature, seed, frames, thiophosphate_intact, 2.0)
    for seed in range(6):
        yield from simulated(
            PROTOTYPES["lps_frenkel_gamma"],
            f"frenkel_gamma_{seed}",
            LPS_POTENTIAL,
            500,
            seed,
            8,
            thiophosphate_intact,
            2.0,
        )
    for units, runs in ((2, 26), (3, 4)):
        for seed in range(runs):
            packed = PROTOTYPES[f"lps_packed_{units}"](seed)
            yield from quenched(packed, f"quench_{8 * units}_{seed}", LPS_POTENTIAL, QUENCH, seed, thiophosphate_intact)
    yield from _lps_glass()


def _lps_glass() -> Iterator[Configuration]:
    """Glass of several densities, with P2S7 and P2S6 too; hot beta and Frenkel pairs of it."""
    for name, (ions, densities, runs) in GLASSES.items():
        for seed in range(100, 100 + runs):
            packed, group = lps_packed(ions, seed, densities), f"glass_{name}_{seed}"
            yield from quenched(packed, group, LPS_POTENTIAL, GLASS_QUENCH, seed, thiophosphate_glass)
    for seed, temperature in enumerate(4 * (500, 700, 900), start=100):
        for prototype in ("lps_beta", "lps_frenkel_beta"):
            yield from simulated(
                PROTOTYPES[prototype],
                f"hot_{prototype.removeprefix('lps_')}_{temperature}K_{seed}",
                LPS_POTENTIAL,
                temperature,
                seed,
                2,
                thiophosphate_intact,
                2.0,
                spacing=500,
            )


def nvp_gpaw() -> Iterator[Configuration]:
    """Na_x V2(PO4)3, x from 1 to 3 in steps of a half: displaced, at three temperatures, and hops from Na1 to Na2."""
    for sodium in range(2, 7):
        prototype = PROTOTYPES[f"nvp_{sodium}"]
        yield from rattled(prototype, f"rattled_{sodium}", 3)
        for temperature in (300, 600, 1000):
            group = f"md_{sodium}_{temperature}K"
            yield from simulated(prototype, group, NVP_POTENTIAL, temperature, sodium, 3, phosphate_intact, spacing=400)
        yield from hopping(partial(nvp_hop, sodium), f"hop_{sodium}", NVP_POTENTIAL, sodium, 5)


RECIPES: Mapping[str, Callable[[], Iterable[Configuration]]] = {
    "lps_gpaw": lps_gpaw,
    "nvp_gpaw": nvp_gpaw,
    "p2_gpaw": p2_gpaw,
    "p2_nnmo_gpaw": p2_nnmo_gpaw,
}


def write(name: str, path: Path) -> Path:
    """Write the unlabelled configurations of a recipe to one file, at once or not at all.

    They are ordered by frame, then by group, so that what is labelled first is a fair part of the whole.

    Raises
    ------
    InputError
        If there is no such recipe, or the file exists.
    """
    if name not in RECIPES:
        raise InputError(f"no recipe {name!r}; known: {', '.join(RECIPES)}")
    if path.suffix != ".zip" or path.exists():
        raise InputError(f"output: expected a new file that ends in .zarr.zip, found {path}; choose another")
    path.parent.mkdir(parents=True, exist_ok=True)
    working = WORK / name
    shutil.rmtree(working, ignore_errors=True)
    found = sorted(RECIPES[name](), key=lambda found: (found.frame, found.group))
    DatasetWriter(working, []).append(found)
    pack(working, path)
    shutil.rmtree(working)
    return path

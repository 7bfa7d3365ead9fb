"""The configurations of the project's own datasets: `ionecho sample NAME` writes them again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import ase
import numpy as np

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.registry import REPOSITORY
from ionecho.data.schema import Configuration
from ionecho.data.store import DatasetWriter, open_zarr, pack
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Ensemble
from ionecho.dynamics.neb import minimum_energy_path
from ionecho.dynamics.prototypes import P2_SHIFT, PROTOTYPES, p2_hop
from ionecho.dynamics.simulate import Run, simulate
from ionecho.dynamics.structure import describe
from ionecho.errors import InputError
from ionecho.labelling.structures import read_structures

P2_POTENTIAL = "uf3-p2_nmmo"
OCTAHEDRON, HOLE = 2.6, 2.0  # Å, eV
WORK = REPOSITORY / "outputs" / "recipes"


def rattled(prototype: Callable[[int], ase.Atoms], group: str, count: int) -> Iterator[Configuration]:
    """Cells strained by up to 2 % along the axes, the mobile ions arranged anew, atoms displaced by 0.04 to 0.12 Å."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        atoms = prototype(seed)
        atoms.set_cell(atoms.cell * (1 + rng.uniform(-0.02, 0.02, 3))[:, None], scale_atoms=True)
        atoms.positions += rng.normal(scale=rng.uniform(0.04, 0.12), size=(len(atoms), 3))
        yield configuration(atoms, group, seed)


def configuration(atoms: ase.Atoms, group: str, frame: int) -> Configuration:
    """An unlabelled configuration of a recipe."""
    source = f"recipe {group}#{frame}"
    return Configuration(atoms.numbers, atoms.positions, np.array(atoms.cell), atoms.pbc, group, frame, source)


def simulated(
    prototype: str, group: str, checkpoint: str, temperature: float, seed: int, frames: int
) -> Iterator[Configuration]:
    """Frames 100 fs apart of a run at constant volume, the cell strained by up to 1 % along each axis.

    The potential knows crystals near 300 K alone: the run ends where an octahedron breaks, or where the energy falls by
    more than 2 eV, into a hole of the potential.
    """
    rng = np.random.default_rng(seed)
    atoms = PROTOTYPES[prototype](seed)
    atoms.set_cell(atoms.cell * (1 + rng.uniform(-0.01, 0.01, 3))[:, None], scale_atoms=True)
    ensemble = Ensemble("nvt_langevin", temperature, 1.0, 100.0, 0.0, 1000.0, seed)
    settings = Run(steps=100 * frames, every=100, block=frames, spread_limit=None, contact_limit=0.5)
    loaded = load(resolve(checkpoint))
    identity = {"checkpoint": checkpoint, "checkpoint_sha256": loaded.sha256, **describe(atoms)}
    path = simulate(atoms, Potential(loaded.model), ensemble, settings, identity, WORK / f"{group}.zarr")
    energy = open_zarr(path, "r")["potential_energy"][:]
    for found in read_structures([str(path)], every=1):
        if not octahedra_intact(found) or energy[found.frame] < energy[0] - HOLE:
            return
        found.source = f"recipe {group}#{found.frame}"
        yield found


def octahedra_intact(found: Configuration) -> bool:
    """Whether every Mg and Mn has six O within 2.6 Å."""
    atoms = found.atoms
    metal, oxygen = np.isin(atoms.numbers, (12, 25)), atoms.numbers == 8
    return bool(np.all((atoms.get_all_distances(mic=True)[metal][:, oxygen] < OCTAHEDRON).sum(1) == 6))


def hopping(
    ends: Callable[[int], tuple[ase.Atoms, ase.Atoms]], group: str, checkpoint: str, seed: int, images: int
) -> Iterator[Configuration]:
    """Images of the minimum-energy path of a hop, displaced by 0.03 Å; the relaxed ends are left out."""
    model = load(resolve(checkpoint)).model
    path = minimum_energy_path(*ends(seed), lambda: Potential(model), images, force=0.1, steps=500)
    rng = np.random.default_rng(seed)
    for frame, atoms in enumerate(path.images[1:-1]):
        atoms.positions += rng.normal(scale=0.03, size=(len(atoms), 3))
        yield configuration(atoms, group, frame)


def p2_gpaw() -> Iterator[Configuration]:
    """P2-type Na2/3(Mg1/3Mn2/3)O2, both stackings: displaced cells, dynamics at three temperatures, hops of Na."""
    for stacking in P2_SHIFT:
        prototype = f"p2_{stacking}"
        yield from rattled(PROTOTYPES[prototype], f"rattled_{stacking}", 24)
        for seed, temperature in enumerate(6 * (300, 600, 900)):
            yield from simulated(prototype, f"md_{stacking}_{temperature}K_{seed}", P2_POTENTIAL, temperature, seed, 8)
        for seed in range(3):
            yield from hopping(partial(p2_hop, stacking), f"hop_{stacking}_{seed}", P2_POTENTIAL, seed, 7)


def lps_gpaw() -> Iterator[Configuration]:
    """Li3PS4."""
    yield from rattled(PROTOTYPES["lps_gamma"], "rattled_gamma", 40)


RECIPES: Mapping[str, Callable[[], Iterable[Configuration]]] = {"lps_gpaw": lps_gpaw, "p2_gpaw": p2_gpaw}


def write(name: str) -> Path:
    """Write the unlabelled configurations of a recipe beside its card, one file, at once or not at all.

    They are ordered by frame, then by group, so that what is labelled first is a fair part of the whole.
    """
    if name not in RECIPES:
        raise InputError(f"no recipe {name!r}; known: {', '.join(RECIPES)}")
    path = REPOSITORY / "datasets" / name / "structures.zarr.zip"
    path.parent.mkdir(exist_ok=True)
    working = WORK / name
    shutil.rmtree(working, ignore_errors=True)
    found = sorted(RECIPES[name](), key=lambda found: (found.frame, found.group))
    DatasetWriter(working, []).append(found)
    pack(working, path)
    shutil.rmtree(working)
    return path

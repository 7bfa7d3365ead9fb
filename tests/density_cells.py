"""A small crystal with the elements and the holes of a sodium vanadium oxide, for the tests of density models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ase
import numpy as np
import torch
from conftest import graph_of

from ionecho.data.loader import Batch
from ionecho.geometry.graph import Graph
from ionecho.models import build_model
from ionecho.models.species import Statistics

NUMBERS, CENTRES = [8, 11, 15, 23], [23]
OXIDATION = {"radial": 2, "valences": {8: -2, 11: 1, 15: 5, 23: 3}, "width": 0.1, "prior": 1.0}
HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    "density": {
        "cutoff": 4.0,
        "spherical": [0.8, 1.3, 2.4],
        "radii": [0.8, 1.4, 2.5],
        "l_max": 2,
        "channels": 4,
        "layers": 2,
        "radial": 4,
        "width": 8,
        "electrons": {8: 6, 11: 7, 15: 5, 23: 13},
        "unpaired": [2, 1],
        "oxidation": OXIDATION,
    },
    "deep_dft": {"cutoff": 3.0, "features": 8, "interactions": 2, "radial": 6},
    "oxidation": {"cutoff": 5.0, **OXIDATION},
}
STATISTICS = {"magnetic_moment": {z: Statistics(1.5 if z == 23 else 0.0, 0.4) for z in NUMBERS}}


def crystal(seed: int) -> ase.Atoms:
    """NaV2PO6, displaced: the two V share one hole (1 + 2 x 3 + 5 - 12 = 0: none) or, without Na, one."""
    rng = np.random.default_rng(seed)
    cell = np.array([[6.4, 0.3, 0.0], [-0.5, 6.0, 0.4], [0.2, 0.1, 6.9]]) + rng.normal(0, 0.05, (3, 3))
    fractional = np.array(
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0.5], [0.27, 0, 0.05], [0, 0.3, 0], [0, 0, 0.28], [0.5, 0.5, 0.2],
         [0.77, 0.5, 0.5], [0.5, 0.8, 0.5]]
    )  # fmt: skip
    atoms = ase.Atoms("V2PO6", scaled_positions=fractional, cell=cell, pbc=True)
    atoms.rattle(0.08, seed=seed)
    return atoms


def build(name: str) -> Any:
    """A model with small hyperparameters and random weights, fitted to a few crystals."""
    torch.manual_seed(0)
    model = build_model(name, {"numbers": NUMBERS, "centres": CENTRES, **HYPERPARAMETERS[name]}).double()
    model.fit(STATISTICS, [batch_of(model, crystal(seed), seed) for seed in range(4)])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def graph_for(model: Any, structures: list[ase.Atoms], dtype: torch.dtype = torch.float64) -> Graph:
    return graph_of(structures, model.cutoff, model.pairs_of, model.centres, dtype)


def with_points(graph: Graph, places: np.ndarray, configuration: np.ndarray | None = None) -> Graph:
    """A graph with points, of its first configuration where it is not said."""
    owner = np.zeros(len(places), int) if configuration is None else configuration
    return replace(graph, points=torch.tensor(places).to(graph.positions), point_configuration=torch.tensor(owner))


def some_points(atoms: ase.Atoms, count: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3)) @ atoms.cell.array


def moments(atoms: ase.Atoms) -> np.ndarray:
    """The V nearer to its O has lost an electron."""
    own = np.flatnonzero(atoms.numbers == 23)
    distances = [np.sort(atoms.get_distances(v, np.flatnonzero(atoms.numbers == 8), mic=True))[:3].mean() for v in own]
    values = np.zeros(len(atoms))
    values[own] = np.where(np.argsort(np.argsort(distances)) == 0, 1.0, 1.8)
    return values


def batch_of(model: Any, atoms: ase.Atoms, seed: int) -> Batch:
    """Densities of Gaussians at 200 points, with moments and charges."""
    graph = with_points(graph_for(model, [atoms]), some_points(atoms, 200, seed))
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3) @ atoms.cell.array
    vectors = graph.points.numpy()[:, None, None] - atoms.positions[:, None] - shifts
    gaussians = np.exp(-2 * np.square(vectors).sum(-1)).sum(-1)
    own = moments(atoms)
    volumes = torch.full((200,), atoms.get_volume() / 200, dtype=torch.float64)
    labels = {
        "charge_density": gaussians @ (0.2 * atoms.numbers),
        "spin_density": gaussians @ own,
        "magnetic_moment": own,
        "bader_charge": 0.1 * atoms.numbers - 0.3 * own,
        "bader_moment": own,
    }
    graph = replace(graph, states=torch.from_numpy(own))
    return Batch(graph, {name: torch.from_numpy(values) for name, values in labels.items()}, volumes)

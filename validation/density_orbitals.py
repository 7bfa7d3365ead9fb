"""Where a model of densities errs: shares by element, and which orbitals of V hold the spin.

python -m validation.density_orbitals CHECKPOINT [--validation 0.1]: of a checkpoint that was trained on fold 0 of the
split `group` of nvp_gpaw with that share held out, given the states, on some of its training cells and on the groups
held out to validate (never on the test part). Shares are ∫|error| about each element over ∫|density|. The spin within
1.25 Å of a V, if its orbitals are products of one radial function with the five of l = 2, is that of a matrix of their
occupations (5, 5), which the components l = 0, 2, 4 of the spin tell one to one: its error is set beside its spread
about equal occupations.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sphericart.torch import SphericalHarmonics

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.points import PointRecipe
from ionecho.data.store import Dataset
from ionecho.geometry.graph import Graph
from ionecho.geometry.probes import atoms_within_reach
from ionecho.training.data import GraphDataModule, fold_parts
from ionecho.training.fit import recipe
from ionecho.training.run import open_dataset

V, SPHERE, V4 = 23, 1.25, 1.4  # Å; μB, below which a V holds a hole
ELEMENTS = {"O": 8, "Na": 11, "P": 15, "V": V}
FIELDS = ("charge_density", "spin_density")
EVEN = [0, *range(4, 9), *range(16, 25)]  # components of l = 0, 2, 4
Floats = NDArray[np.float64]


def couplings() -> tuple[Floats, tuple[NDArray, NDArray]]:
    """∫ Y_lm Y_2a Y_2b for the even components (15, 15) and the pairs a <= b, twice those of a < b."""
    heights, weights = np.polynomial.legendre.leggauss(12)
    angles = 2 * np.pi * np.arange(24) / 24
    z, phi = np.meshgrid(heights, angles, indexing="ij")
    s = np.sqrt(1 - z**2)
    directions = np.stack([s * np.cos(phi), s * np.sin(phi), z], -1).reshape(-1, 3)
    values = SphericalHarmonics(4)(torch.from_numpy(directions)).numpy()
    pairs = np.triu_indices(5)
    products = values[:, 4 + pairs[0]] * values[:, 4 + pairs[1]] * np.where(pairs[0] == pairs[1], 1, 2)
    return (values[:, EVEN] * np.repeat(weights * 2 * np.pi / 24, 24)[:, None]).T @ products, pairs


def occupations(vectors: Floats, spin: Floats, volume: float) -> Floats:
    """Matrix (5, 5) of a spin density at points about V, each of a volume in Å³."""
    coupling, pairs = couplings()
    components = volume * SphericalHarmonics(4)(torch.from_numpy(vectors)).numpy()[:, EVEN].T @ spin
    matrix = np.zeros((5, 5))
    matrix[pairs] = np.linalg.solve(coupling, components)
    return matrix + np.triu(matrix, 1).T


def spheres(dataset: Dataset, index: int) -> Iterator[tuple[int, Floats, Floats, float]]:
    """Each V of a cell: its index, vectors to the grid points about it, the spin there, and the volume of a point."""
    configuration, spin = dataset[index], dataset.grid("spin_density", index).astype(float)
    cell, shape = configuration.cell, np.array(spin.shape)
    inverse = np.linalg.inv(cell)
    reach = np.ceil(SPHERE * np.linalg.norm(inverse, axis=0) * shape).astype(int) + 1
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1).reshape(-1, 3)
    for atom in np.flatnonzero(configuration.numbers == V):
        place = configuration.positions[atom] @ inverse
        points = steps + np.floor(place * shape).astype(int)
        vectors = (points / shape - place) @ cell
        near = np.linalg.norm(vectors, axis=1) < SPHERE
        yield int(atom), vectors[near], spin[tuple((points[near] % shape).T)], abs(np.linalg.det(cell)) / spin.size


def shares(outputs: dict[str, torch.Tensor], labels: dict[str, torch.Tensor], graph: Graph, sums: dict) -> None:
    """Add ∫|error| over ∫|density| of random points by the element of the nearest atom."""
    atoms, points, vectors = atoms_within_reach(graph, 4.0)
    distance = vectors.norm(dim=1)
    nearest = torch.full((len(graph.points),), np.inf).scatter_reduce_(0, points, distance, "amin")  # type: ignore[arg-type]
    element = torch.zeros(len(nearest), dtype=torch.long)
    own = distance == nearest[points]
    element[points[own]] = graph.numbers[atoms[own]]
    for field in FIELDS:
        error, size = (outputs[field] - labels[field]).abs(), labels[field].abs().sum()
        for number in element.unique().tolist():
            sums[field, number] += float(error[element == number].sum() / size)


def main() -> None:
    """Print shares by element and errors of occupations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--validation", type=float, default=0.1)
    parser.add_argument("--every", type=int, default=4, help="training cells looked at")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset, model = open_dataset("nvp_gpaw"), load(resolve(options.checkpoint)).model.members[0].eval()
    parts = fold_parts(dataset, "group", 0, options.validation, 0)
    for part, indices in (("training", parts["train"][:: options.every]), ("validation", parts["validation"])):
        if not len(indices):
            continue
        points = recipe(model, "float32", PointRecipe(6000, 6000))
        data = GraphDataModule(dataset, {"test": indices}, [*FIELDS, model.given], points, 1, 0, 4.0)
        sums: dict[tuple[str, int], float] = defaultdict(float)
        rows: dict[bool, list[tuple[float, float, float]]] = defaultdict(list)
        for index, batch in zip(indices.tolist(), data.test_dataloader(), strict=True):
            configuration = dataset[index]
            with torch.inference_mode():
                shares(model(batch.graph), batch.labels, batch.graph, sums)
            for atom, vectors, true, volume in spheres(dataset, index):
                places = torch.from_numpy(configuration.positions[atom] + vectors).float()
                owner = torch.zeros(len(places), dtype=torch.long)
                with torch.inference_mode():
                    found = model(replace(batch.graph, points=places, point_configuration=owner))["spin_density"]
                told = found.double().numpy()
                right, wrong = (occupations(vectors, values, volume) for values in (true, told))
                spread = np.linalg.norm(right - np.trace(right) / 5 * np.eye(5))
                local = np.abs(told - true).sum() / np.abs(true).sum()
                hole = bool(configuration.labels["magnetic_moment"][atom] < V4)
                rows[hole].append((np.linalg.norm(wrong - right), spread, local))
        print(f"{part}, {len(indices)} cells")
        for field in FIELDS:
            own = {number: sums[field, number] / len(indices) for number in (8, 11, 15, V)}
            told = ", ".join(
                f"{name} {own[number]:.2%}" for number, name in ((8, "O"), (11, "Na"), (15, "P"), (V, "V"))
            )
            print(f"  {field}: {sum(own.values()):.2%} of the integral, about {told}")
        for hole, name in ((True, "V4+"), (False, "V3+")):
            error, spread, local = np.array(rows[hole]).T
            print(
                f"  {len(error)} {name}: occupations err by {np.sqrt(np.mean(error**2)):.3f}, their spread is "
                f"{np.sqrt(np.mean(spread**2)):.3f}; ∫|error| within {SPHERE} Å {local.mean():.1%}"
            )


if __name__ == "__main__":
    main()

"""What any model of charges and states has to beat, and what checkpoints reach: python -m validation.density_controls.

On the held-out groups of a fold (default 0 of the split `group` of nvp_gpaw): Bader charges of V from the mean of their
class (V3+ or V4+) and from that with four distances and the moment by least squares, given the true states;
arrangements of the holes by chance and by `oxidation`, on all folds. `--checkpoint` adds, on whole grids, the densities
of a model and the Bader charges that follow from them, given the states and blind.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.points import PointRecipe
from ionecho.data.store import Dataset
from ionecho.door.config import compose
from ionecho.geometry.bader import valence_bader
from ionecho.geometry.graph import Graph
from ionecho.models import build_model
from ionecho.models.oxidation import _lowest
from ionecho.prediction.grids import slabs
from ionecho.training.data import GraphDataModule, fold_parts
from ionecho.training.elements import elements_of, of_elements
from ionecho.training.fit import recipe
from ionecho.training.run import open_dataset
from ionecho.training.settings import training_settings

V, O = 23, 8  # noqa: E741
FIELDS = ("charge_density", "spin_density")


def geometry(dataset: Dataset, index: int) -> np.ndarray:
    """Of every V: the mean, spread, shortest and longest of its six shortest distances to O, (K, 4) Å."""
    atoms = dataset[index].atoms
    own, other = (np.flatnonzero(atoms.numbers == number) for number in (V, O))
    distances = [np.sort(atoms.get_distances(v, other, mic=True))[:6] for v in own]
    return np.array([[d.mean(), d.std(), d[0], d[-1]] for d in distances])


def charges(dataset: Dataset, train: np.ndarray, test: np.ndarray) -> None:
    """Errors of the class mean and of linear regression."""

    def rows(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        moment, charge, features = [], [], []
        for index in indices:
            configuration = dataset[index]
            own = configuration.numbers == V
            moment.append(configuration.labels["magnetic_moment"][own])
            charge.append(configuration.labels["bader_charge"][own])
            features.append(geometry(dataset, index))
        return np.concatenate(moment), np.concatenate(charge), np.concatenate(features)

    moment, charge, features = rows(train)
    tested, true, there = rows(test)
    means = [charge[(moment < 1.4) == state].mean() for state in (False, True)]
    print(f"class mean: {np.abs(np.where(tested < 1.4, means[1], means[0]) - true).mean():.4f} e")
    for name, of in (("class and geometry", lambda m: m < 1.4), ("moment and geometry", lambda m: m)):
        design, wanted = (
            np.column_stack([np.ones(len(m)), of(m), f]) for m, f in ((moment, features), (tested, there))
        )
        weights = np.linalg.lstsq(design, charge, rcond=None)[0]
        print(f"{name}, linear: {np.abs(wanted @ weights - true).mean():.4f} e")


def arrangements(dataset: Dataset) -> None:
    """How often the exact arrangement is found in groups left out."""
    asked = training_settings(compose("train", ["model=oxidation", "dataset=nvp_gpaw", "logger=csv"]))
    settings = of_elements(asked, elements_of(dataset), dataset)
    exact, single, chance, likely = [], [], [], []
    for fold in range(5):
        parts = fold_parts(dataset, "group", fold, 0.0, 0)
        model = build_model("oxidation", settings.hyperparameters).double()
        data = GraphDataModule(dataset, parts, ["magnetic_moment"], recipe(model, "float64"), 1, 0, 4.0)
        model.fit({}, data.train_dataloader())
        for batch in data.test_dataloader():
            (holes,) = model.holes(batch.graph)
            states = model.arrangements(holes)
            if len(states) > 1:
                true = _lowest(batch.labels["magnetic_moment"][batch.graph.centres], holes.number)
                energies = model.energies(holes, states)
                found = states[energies.argmin()]
                exact.append(bool((found == true).all()))
                single.append(float((found == true).double().mean()))
                chance.append(1 / len(states))
                at = (states == true).all(1).nonzero().squeeze(1)
                likely.append(float(torch.softmax(-energies / model.width, 0)[at].sum()))
    error = np.sqrt(np.mean(exact) * (1 - np.mean(exact)) / len(exact))
    print(
        f"exact arrangement of {len(exact)} mixed cells, groups left out: {np.mean(exact):.3f} ± {error:.3f}, a V "
        f"{np.mean(single):.3f}, mean P of the true one {np.mean(likely):.3f}; by chance {np.mean(chance):.3f}"
    )


def whole_grids(dataset: Dataset, test: np.ndarray, name: str, limit: int) -> None:
    """Errors of densities on whole grids, and of Bader charges of V that follow from them."""
    checkpoint = load(resolve(name))
    model = checkpoint.model.members[0].eval()  # type: ignore[attr-defined]
    data = GraphDataModule(
        dataset, {"test": test[:limit]}, [model.given], recipe(model, "float32", PointRecipe(1)), 1, 0, 4.0
    )
    electrons = compose("train", ["model=density", "dataset=nvp_gpaw"])["model"]["electrons"]
    for blind in (False, True):
        wrong, size, moved = np.zeros(2), np.zeros(2), []
        for index, batch in zip(test[:limit], data.test_dataloader(), strict=True):
            graph: Graph = replace(batch.graph, states=None) if blind else batch.graph
            n1, n2, n3 = dataset.grid_shape[index].tolist()
            found = np.concatenate([part for _, part in slabs(model, graph, (n1, n2, n3), FIELDS)], 1)
            true = np.stack([dataset.grid(field, int(index)) for field in FIELDS])
            wrong += np.abs(found - true).sum((1, 2, 3))
            size += np.abs(true).sum((1, 2, 3))
            configuration = dataset[int(index)]
            own = configuration.numbers == V
            valence = np.array(
                [electrons[str(z)] if str(z) in electrons else electrons[z] for z in configuration.numbers]
            )
            cores = configuration.numbers - valence
            basins = valence_bader(found[0].astype(float), configuration.cell, configuration.positions, cores)
            charge = configuration.numbers - basins.electrons
            moved.append(np.abs(charge - configuration.labels["bader_charge"])[own])
        told = "blind" if blind else "given"
        ratios = ", ".join(f"{field} {ratio:.2%}" for field, ratio in zip(FIELDS, wrong / size, strict=True))
        print(
            f"{name}, {told}, {len(moved)} whole grids: {ratios}, "
            f"Bader charge of V {np.concatenate(moved).mean():.4f} e"
        )


def main() -> None:
    """Print the controls, then the checkpoint's figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--checkpoint")
    parser.add_argument("--cells", type=int, default=10)
    options = parser.parse_args()
    dataset = open_dataset("nvp_gpaw")
    parts = fold_parts(dataset, "group", options.fold, 0.0, 0)
    charges(dataset, parts["train"], parts["test"])
    arrangements(dataset)
    if options.checkpoint:
        whole_grids(dataset, parts["test"], options.checkpoint, options.cells)


if __name__ == "__main__":
    main()

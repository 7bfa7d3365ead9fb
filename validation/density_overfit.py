"""Whether models of densities hold densities of VASP: python -m validation.density_overfit [--model deep_dft].

A model is trained on one CHGCAR until it has it, by what trains on any dataset, and its field evaluated on all points
of the grid: ∫|error| / ∫|density| of charge and spin, and what the predicted and the true densities integrate to. By
default on the two valence densities with a spin grid that pymatgen is tested with, of `IONECHO_MIRROR`: Li, and LiH,
whose spin is zero. States of Li are the file's own spin within 1 Å. A density that a model cannot overfit is one that
it cannot learn either; how it does elsewhere this does not tell.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ionecho.data.importers.density import read_chgcar
from ionecho.data.points import PointRecipe
from ionecho.data.schema import Configuration
from ionecho.data.store import Dataset, DatasetWriter, content_sha256
from ionecho.door.config import compose
from ionecho.prediction.grids import slabs
from ionecho.training.data import GraphDataModule
from ionecho.training.elements import elements_of, of_elements
from ionecho.training.fit import fit_member, recipe
from ionecho.training.settings import training_settings

SPHERE = 1.0  # Å
NOTHING = 1e-3  # μB: less ∫|spin| is none
FIELDS = ("charge_density", "spin_density")
IONS = {"Li": "{3: 0}", "HLi": "{3: 1, 1: -1}"}  # valences by formula
RECIPES = {
    "density": [
        "++model.electrons={1: 1, 3: 3}",
        "model.unpaired=[0,1]",
        "~trainer.losses",
        "+trainer.losses={relative_errors: {charge_density: 1.0, spin_density: 0.3}}",
        "trainer.max_epochs=200",
        "trainer.ema_decay=0.99",
    ],
    "deep_dft": ["trainer.batch_size=1", "trainer.max_epochs=1500", "trainer.ema_decay=0.99"],
}


def moments(configuration: Configuration) -> np.ndarray:
    """Spin within a sphere about every atom, μB."""
    spin = configuration.labels["spin_density"]
    axes = np.stack(np.meshgrid(*(np.arange(n) / n for n in spin.shape), indexing="ij"), -1)
    volume = abs(np.linalg.det(configuration.cell)) / spin.size
    found = []
    for place in configuration.positions @ np.linalg.inv(configuration.cell):
        offset = axes - place
        offset -= np.round(offset)
        found.append(volume * spin[np.linalg.norm(offset @ configuration.cell, axis=-1) < SPHERE].sum())
    return np.array(found)


def overfitted(name: str, configuration: Configuration, overrides: Sequence[str], folder: Path) -> np.ndarray:
    """Fields (2, n1, n2, n3) on the grid of the one configuration that a model has learned."""
    writer = DatasetWriter(folder / "one.zarr", [*FIELDS, "magnetic_moment"])
    writer.append([configuration])
    writer.group.update_attributes({"content_sha256": content_sha256(writer.group)})
    dataset = Dataset(folder / "one.zarr")
    asked = [f"model={name}", "dataset=own", f"dataset.name={dataset.path}", "dataset.centres=[3]"]
    asked += ["dataset.validation=0", "trainer.threads=1", "logger=csv", *RECIPES[name]]
    if name == "density":
        asked.append(f"++model.oxidation.valences={IONS[configuration.atoms.get_chemical_formula()]}")
    settings = of_elements(training_settings(compose("train", [*asked, *overrides])), elements_of(dataset), dataset)
    nothing = np.array([], int)
    parts = {"train": np.array([0]), "validation": nothing, "test": nothing}
    model, _ = fit_member(settings, 0, dataset, parts, folder / "run", None)
    one = recipe(model, "float32", PointRecipe(1))
    (batch,) = GraphDataModule(dataset, parts, [model.given], one, 1, 0, 4.0).train_dataloader()
    return np.concatenate([part for _, part in slabs(model.eval(), batch.graph, configuration.grid_shape, FIELDS)], 1)


def main() -> None:
    """Train, and print the errors and integrals on whole grids."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overrides", nargs="*", help="of `train.py`")
    parser.add_argument("--model", default="density", choices=RECIPES)
    parser.add_argument("--files", type=Path, nargs="+")
    options = parser.parse_args()
    mirror = Path(os.environ.get("IONECHO_MIRROR", ""), "density")
    for path in options.files or [mirror / "CHGCAR.spin.gz", mirror / "LiH_SCAN_CHGCAR.gz"]:
        (configuration,) = read_chgcar(path)
        configuration.labels["magnetic_moment"] = moments(configuration)
        with tempfile.TemporaryDirectory() as folder:
            grids = overfitted(options.model, configuration, options.overrides, Path(folder))
        print(f"{options.model}, {path.name}: {configuration.atoms.symbols}, {configuration.grid_shape} points")
        for field, predicted in zip(FIELDS, grids.astype(float), strict=True):
            true = configuration.labels[field].astype(float)
            volume = configuration.atoms.get_volume() / true.size
            told = f"integral {volume * predicted.sum():.4f}, of the file {volume * true.sum():.4f}"
            if volume * np.abs(true).sum() > NOTHING:
                told += f"; ∫|error| / ∫|density| {np.abs(predicted - true).sum() / np.abs(true).sum():.2%}"
            print(f"  {field}: {told}")


if __name__ == "__main__":
    main()

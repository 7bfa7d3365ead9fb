"""What it is worth to a potential to be told which V are V4+: python -m validation.told_states RUN [OVERRIDES].

A copy of nvp_gpaw, in which the V4+ (moments below 1.4 μB) are an element of their own (Cr stands for it), is trained
on and tested like nvp_gpaw itself: `python -m validation.told_states RUN model=painn trainer.max_epochs=100` beside
`python train.py model=painn dataset=nvp_gpaw trainer.max_epochs=100`. Killed, it goes on with the same line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ionecho.checkpoints.run import keep
from ionecho.data.store import Dataset, DatasetWriter, content_sha256
from ionecho.door.config import compose
from ionecho.training.elements import elements_of, of_elements
from ionecho.training.run import fit_fold, open_dataset
from ionecho.training.settings import training_settings

LABELS = ("energy", "forces")
V, V4, THRESHOLD = 23, 24, 1.4


def told(dataset: Dataset, path: Path) -> Dataset:
    """The good cells with their splits; V4+ by another number."""
    writer = DatasetWriter(path, LABELS)
    for index in map(int, dataset.good[writer.committed[0] :]):
        found = dataset[index]
        holes = (found.numbers == V) & (found.labels["magnetic_moment"] < THRESHOLD)
        labels = {name: found.labels[name] for name in LABELS}
        writer.append([replace(found, numbers=np.where(holes, V4, found.numbers), labels=labels)])
    attrs = {key: value for key, value in dataset.attrs.items() if key not in ("committed", "schema_version")}
    writer.group.update_attributes({**attrs, "content_sha256": content_sha256(writer.group)})
    return Dataset(path)


def main(folder: Path, overrides: Sequence[str]) -> None:
    """Print the errors on the parts left out."""
    dataset = told(open_dataset("nvp_gpaw"), folder / "told.zarr")
    given = ["dataset=nvp_gpaw", "name=${model.name}-told", *overrides]
    settings = of_elements(training_settings(compose("train", given)), elements_of(dataset), dataset)
    metrics = fit_fold(settings, dataset, settings.dataset.fold, folder, keep)
    for part in ("validation", "test"):
        for name, unit in (("energy_per_atom", "meV/atom"), ("forces", "meV/Å")):
            error = metrics[part][name]
            numbers = ", ".join(f"{key} {1000 * error[key]:.3g}" for key in ("rmse", "mae", "baseline"))
            print(f"{part}, {name}: {numbers} {unit}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

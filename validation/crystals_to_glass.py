"""Train on crystals of lps_gpaw, test on its quenched Li3PS4: python -m validation.crystals_to_glass RUN [OVERRIDES].

Takes a folder for the run, and overrides of conf/train.yaml: `python -m validation.crystals_to_glass RUN
model=tensor_sum ensemble=2`. Killed, it goes on with the same line. Validation holds out whole runs of crystals.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ionecho.checkpoints.run import keep
from ionecho.data.splits import SplitRecipe, make_split
from ionecho.door.config import compose
from ionecho.training.elements import elements_of, of_elements
from ionecho.training.run import fit_fold, open_dataset
from ionecho.training.settings import training_settings

KINDS = SplitRecipe(kind="group", family="^(quench|glass|)")


def main(folder: Path, overrides: Sequence[str]) -> None:
    """Print the errors on the quenched cells."""
    given = ["dataset=lps_gpaw", "dataset.split=phase", "dataset.fold=1", "name=${model.name}-crystals", *overrides]
    settings = training_settings(compose("train", given))
    dataset = open_dataset(settings.dataset.name)
    crystals, _, quenched = make_split(dataset, KINDS)
    dataset.attrs["splits"]["phase"] = [crystals, quenched]
    dataset.attrs["families"]["phase"] = dataset.attrs["families"]["group"]
    settings = of_elements(settings, elements_of(dataset), dataset)
    metrics = fit_fold(settings, dataset, settings.dataset.fold, folder, keep)
    for part in ("validation", "test"):
        for name, values in metrics[part].items():
            if {"rmse", "rank_correlation"} & set(values):
                print(part, name, {key: value for key, value in values.items() if not isinstance(value, dict)})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""Where a model errs: the configurations of largest error, their atoms coloured by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from ase.data import atomic_numbers

from ionecho.data.registry import find_dataset
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.report import Scene
from ionecho.report.scene import ATOMS, FRAMES


def worst(folder: Path, found: Mapping[str, pd.DataFrame], units: Mapping[str, str]) -> Scene | None:
    """Those of the first label of atoms, of one composition; None where there is none, or the dataset is not at hand.

    Parameters
    ----------
    folder
        Of the training run, whose metrics name the dataset.
    found
        As of `read_predictions`.
    """
    labels = [label for label, values in found.items() if "element" in values]
    dataset = _dataset(folder / "metrics.json")
    if dataset is None or not labels:
        return None
    label, values = labels[0], found[labels[0]]
    squared = ((values.predicted - values["true"]) ** 2).groupby(values.configuration).mean()
    ranked = [int(index) for index in squared.sort_values(ascending=False).index]
    elements = np.split(dataset.rows("numbers", 0, len(dataset)), dataset.offsets[1:-1])
    numbers = elements[ranked[0]]
    predicted_for = np.isin(numbers, [atomic_numbers[symbol] for symbol in values.element.unique()])
    alike = [k for k in ranked if np.array_equal(elements[k], numbers)][: max(1, min(FRAMES, ATOMS // len(numbers)))]
    structures = [next(dataset.configurations(k, k + 1)) for k in alike]
    coloured = np.full((len(alike), len(numbers)), np.nan)
    for row, configuration in enumerate(alike):
        rows = values[values.configuration == configuration]
        if len(rows) % predicted_for.sum():  # atoms without a label
            return None
        errors = (rows.predicted - rows["true"]).to_numpy().reshape(predicted_for.sum(), -1)
        coloured[row, predicted_for] = np.linalg.norm(errors, axis=1) if errors.shape[1] > 1 else errors[:, 0]
    unit = units[label]
    size = "length of the error" if errors.shape[1] > 1 else "error, predicted less true"
    return Scene(
        numbers=numbers,
        positions=np.stack([structure.positions for structure in structures]),
        cell=np.stack([structure.cell for structure in structures]),
        values=coloured,
        label=f"Error of {label} / {unit}",
        times=[f"{dataset.group[k]}#{dataset.frame[k]}, RMSE {np.sqrt(squared[k]):.3g} {unit}" for k in alike],
        caption=f"The configurations that {label} errs most on, the worst first: {size} of each atom.",
    )


def _dataset(metrics: Path) -> Dataset | None:
    """That of the run, if it is built and its content is the same."""
    if not metrics.exists():
        return None
    told = json.loads(metrics.read_text())["data"]
    try:
        dataset = Dataset(find_dataset(told["name"]))
    except InputError:
        return None
    return dataset if dataset.attrs["content_sha256"] == told["content_sha256"] else None

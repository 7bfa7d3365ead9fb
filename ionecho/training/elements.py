"""What the data tell a model where its settings leave it out: the elements it knows, and those it predicts for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.models import build_model, model_class
from ionecho.training.settings import TrainingSettings

OTHER = "other"  # beside atomic numbers: of every element that is not among them


def elements_of(dataset: Dataset) -> list[int]:
    """Atomic numbers of all its atoms, each once."""
    return [int(number) for number in np.unique(dataset.rows("numbers", 0, len(dataset)))]


def of_elements(
    settings: TrainingSettings, elements: Sequence[int], dataset: Dataset | None = None
) -> TrainingSettings:
    """The settings with `numbers` and `centres` of the model, and one value an element where they go by element.

    `numbers` that are None become `elements`. `centres` that are None become what the model's `centres_are` says: all
    elements, or those of the dataset's settings, or those that have its label in `dataset`. A mapping from atomic
    numbers and "other" becomes a list in the order of `numbers`.

    Raises
    ------
    InputError
        If what the model predicts for has to be said, and is not.
    """
    given = settings.model
    numbers = list(given.get("numbers") or elements)
    model = _listed(given, numbers) | {"numbers": numbers}
    model["centres"] = list(given.get("centres") or _centres(model, settings.dataset.centres, dataset))
    members = [_listed(own, own.get("numbers") or numbers) for own in settings.member_overrides]
    return replace(settings, model=model, member_overrides=members)


def told(settings: TrainingSettings, asked: TrainingSettings) -> str | None:
    """A line that says what was taken from the data, if anything was."""
    names = [key for key in ("numbers", "centres") if not asked.model.get(key)]
    found = (f"model.{key} {', '.join(chemical_symbols[z] for z in settings.model[key])}" for key in names)
    return f"by the data: {'; '.join(found)}" if names else None


def _listed(hyperparameters: Mapping[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """With lists in the place of mappings by element that say what others have."""
    found = dict(hyperparameters)
    for name, value in hyperparameters.items():
        if isinstance(value, Mapping) and OTHER in value:
            by_element = {str(key): one for key, one in value.items()}
            found[name] = [by_element.get(str(number), by_element[OTHER]) for number in numbers]
    return found


def _centres(model: Mapping[str, Any], chosen: Sequence[int] | None, dataset: Dataset | None) -> list[int]:
    numbers, kind = model["numbers"], model_class(model["name"]).centres_are
    if kind == "all":
        return list(numbers)
    if chosen:
        return list(chosen)
    if kind == "chosen" or dataset is None:
        told = ", ".join(f"{number} {chemical_symbols[number]}" for number in numbers)
        raise InputError(f"model.centres: say which ions {model['name']} is of, some of {told}")
    untrained = build_model(
        model["name"], {key: value for key, value in model.items() if key != "name"} | {"centres": numbers}
    )
    labels = [output.label for output in untrained.outputs if output.at == "centres" and not output.auxiliary]
    having = set().union(*(_labelled(dataset, label) for label in labels if label in dataset.labels))
    return [number for number in numbers if number in having] or list(numbers)


def _labelled(dataset: Dataset, label: str) -> set[int]:
    """Elements that have a label by atom."""
    found: set[int] = set()
    for _, _, arrays in dataset.blocks(["numbers", label]):
        values: NDArray = arrays[label]
        there = np.isfinite(values.reshape(len(values), -1)).all(1)
        found |= set(np.unique(arrays["numbers"][there]).tolist())
    return found

"""Predictions of a trained ensemble over a part of a fold, and their errors in the labels' and in derived units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ionecho.data.loader import Batch
from ionecho.data.metrics import calibration, calibration_factor, errors, magnitudes, tensor_errors
from ionecho.data.outputs import SPREAD, Output
from ionecho.data.store import Dataset
from ionecho.models.domain import DISTANCE, Dispersion
from ionecho.models.ensemble import Ensemble
from ionecho.nmr.comparison import compared
from ionecho.nmr.derived import Parameters, derived_from

MANY = 1_000_000  # members whose spread is known exactly
MOST_GROUPS = 16  # whose errors are told one by one


@dataclass(frozen=True)
class Predictions:
    """One output over many configurations: the rows that have a label, in its unit.

    `predicted` and `true` (n, ...); `spread` (n,) the invariant size of the members' disagreement, calibrated as the
    ensemble is, None of a single member; `distance` (n,) from what was learned, None where it is not known;
    `configuration` (n,) index in the dataset; `element` (n,) atomic number, None
    where rows belong to configurations.
    """

    output: Output
    predicted: NDArray[np.floating]
    true: NDArray[np.floating]
    spread: NDArray[np.floating] | None
    members: int
    configuration: NDArray[np.integer]
    element: NDArray[np.integer] | None
    distance: NDArray[np.floating] | None = None

    @property
    def error(self) -> NDArray[np.floating]:
        """Invariant size (n,) of the errors."""
        return self.output.size(self.predicted - self.true)

    def table(self, dataset: Dataset) -> pd.DataFrame:
        """One row a component; the spread of a row is shared evenly by its components, in squares."""
        parts = self.predicted[0].size if len(self.predicted) else 1
        columns: dict[str, NDArray] = {"predicted": self.predicted.ravel(), "true": self.true.ravel()}
        if self.spread is not None:
            columns["spread"] = np.repeat(self.spread / np.sqrt(parts), parts)
        if self.distance is not None:
            columns["distance"] = np.repeat(self.distance, parts)
        columns["configuration"] = np.repeat(self.configuration, parts)
        if self.element is None:
            columns["atoms"] = np.diff(dataset.offsets)[columns["configuration"]]
        else:
            columns["element"] = np.repeat(self.element, parts)
        return pd.DataFrame(columns)

    def scaled(self, factor: float) -> Predictions:
        """The same with the spread times `factor`."""
        return self if self.spread is None else replace(self, spread=factor * self.spread)

    def dispersed(self, dispersion: Dispersion) -> Predictions:
        """The same with the spread that goes with the distance; it is sharp, unlike that of a few members."""
        assert self.distance is not None
        return replace(self, spread=dispersion(self.distance, self.spread), members=MANY)

    def factor(self) -> float:
        """What calibrates the spread: 1 for a single member."""
        return 1.0 if self.spread is None else calibration_factor(self.error, self.spread)


def predict_part(
    ensemble: Ensemble, loader: DataLoader[Batch], indices: NDArray[np.integer], output: Output, blind: bool = False
) -> Predictions:
    """Predictions of `output` where its label is present, over a loader that keeps the order of `indices`.

    `blind`: without the states that the model may be given.
    """
    predicted, true, spread, configuration, element, distance = [], [], [], [], [], []
    first = 0
    ensemble.eval()
    with torch.inference_mode():
        for batch in loader:
            graph = replace(batch.graph, states=None) if blind else batch.graph
            results, target = ensemble(graph), output.target(batch)
            present = output.present(target)
            owner, numbers = output.owner(batch)
            predicted.append(results[output.name][present].double().numpy())
            true.append(target[present].double().numpy())
            configuration.append(indices[first + owner[present].numpy()])
            if numbers is not None:
                element.append(numbers[present].numpy())
            if output.name + SPREAD in results:
                spread.append(results[output.name + SPREAD][present].double().numpy())
            if DISTANCE in results and output.at == "centres":
                distance.append(results[DISTANCE][present].double().numpy())
            first += len(batch.graph.cell)
    return Predictions(
        output,
        np.concatenate(predicted),
        np.concatenate(true),
        np.concatenate(spread) if spread else None,
        MANY if output.name in ensemble.dispersion else len(ensemble.members),
        np.concatenate(configuration),
        np.concatenate(element) if element else None,
        np.concatenate(distance) if distance else None,
    )


def part_metrics(
    predictions: Predictions, dataset: Dataset, parameters: Mapping[str, Parameters] | None = None
) -> dict[str, Any]:
    """Errors by component in the label's unit and in those of the quantities derived from it.

    Where one is the label times a number (a shift, an energy an atom, ...), errors by element, by group and of the
    spread are told in it, else in the label's unit.
    """
    output, atoms = predictions.output, np.diff(dataset.offsets)[predictions.configuration]
    of_rows = atoms.reshape(-1, *[1] * (predictions.true.ndim - 1))
    found = derived_from(output.label, parameters or {})
    metrics: dict[str, Any] = {}
    if not any(entry.in_place for entry, _ in found):
        metrics[output.label] = _errors(predictions.predicted, predictions.true)
    if output.at == "points":
        metrics[output.label]["of_integral"] = _relative(predictions)
        return metrics
    leading, name = predictions, output.label
    for entry, own in found:
        predicted, true = (entry.function(values, own, of_rows) for values in (predictions.predicted, predictions.true))
        metrics[entry.name] = errors(predicted.ravel(), true.ravel())
        if output.is_tensor and output.per_atom:
            metrics[entry.name]["zero"] = magnitudes(true)
        if entry.linear:
            spread = predictions.spread
            if spread is not None:
                spread = np.abs(entry.function(spread, own, atoms))
            name, leading = entry.name, replace(predictions, predicted=predicted, true=true, spread=spread)
    for comparison, own in compared(output.label, output.is_tensor and output.per_atom, parameters or {}):
        if not (comparison.of_nothing or predictions.predicted.any()):
            continue
        metrics[comparison.name] = magnitudes(comparison.function(predictions.predicted, predictions.true, own))
        if comparison.of_nothing:
            nothing = np.zeros_like(predictions.true)
            metrics[comparison.name]["zero"] = magnitudes(comparison.function(nothing, predictions.true, own))
    return metrics | _by_part(leading, dataset, name)


def _errors(predicted: NDArray[np.floating], true: NDArray[np.floating]) -> dict[str, Any]:
    return tensor_errors(predicted, true) if true.ndim == 3 else errors(predicted.ravel(), true.ravel())


def _relative(predictions: Predictions) -> dict[str, float]:
    """Σ |y - ŷ| / Σ |y| over the points of all configurations, and the standard error over these."""
    place = np.unique(predictions.configuration, return_inverse=True)[1]
    wrong, size = (
        np.bincount(place, np.abs(of)) for of in (predictions.predicted - predictions.true, predictions.true)
    )
    ratio = float(wrong.sum() / size.sum())
    scatter = (wrong - ratio * size).std(ddof=1) / size.mean() if len(size) > 1 else np.nan
    return {"error": ratio, "standard_error": float(scatter / np.sqrt(len(size))), "configurations": len(size)}


def _by_part(predictions: Predictions, dataset: Dataset, name: str) -> dict[str, Any]:
    """Errors by element, by group, and of the spread."""
    metrics: dict[str, Any] = {}
    predicted, true = predictions.predicted, predictions.true

    def of(rows: NDArray[np.bool_]) -> dict[str, Any]:
        return _errors(predicted[rows], true[rows])

    element = predictions.element
    if element is not None and (predictions.output.kind != "scalar" or len(np.unique(element)) > 1):
        metrics[f"{name}_by_element"] = {chemical_symbols[z]: of(element == z) for z in np.unique(element)}
    groups = dataset.group[predictions.configuration]
    if len(names := sorted(set(groups))) <= MOST_GROUPS:
        metrics[f"{name}_by_group"] = {group: of(groups == group) for group in names}
    if predictions.spread is not None:
        metrics[f"{name}_calibration"] = calibration(
            predictions.error, predictions.spread, predictions.members, components=predictions.output.components
        )
    return metrics

"""Predictions of a trained ensemble over a part of a fold, and their errors in the labels' and derived units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from ase.data import chemical_symbols
from ase.units import GPa
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from ionecho.data.loader import Batch
from ionecho.data.schema import ARRAYS
from ionecho.data.store import Dataset
from ionecho.models.ensemble import SPREAD, Ensemble
from ionecho.nmr.hyperfine import ContactShift
from ionecho.training.metrics import calibration, calibration_factor, errors
from ionecho.training.module import ATOMS, STRESS, label_of, target_of

SHIFT = "hyperfine_contact_shift"


@dataclass(frozen=True)
class Predictions:
    """One output over many configurations, in the label's unit; tensors by component, their indices repeated."""

    predicted: NDArray[np.floating]  # (n,)
    true: NDArray[np.floating]  # (n,)
    spread: NDArray[np.floating] | None  # (n,), calibrated as the ensemble is
    members: int
    configuration: NDArray[np.integer]  # (n,) index in the dataset
    element: NDArray[np.integer] | None  # (n,) atomic number, of labels an atom

    def table(self, dataset: Dataset) -> pd.DataFrame:
        """One row a value; of labels a configuration with its number of atoms."""
        columns = {name: value for name, value in vars(self).items() if value is not None and name != "members"}
        if self.element is None:
            columns["atoms"] = np.diff(dataset.offsets)[self.configuration]
        return pd.DataFrame(columns)

    def scaled(self, calibration: float) -> Predictions:
        """The same with the spread times `calibration`."""
        return self if self.spread is None else replace(self, spread=calibration * self.spread)


def predict_part(
    ensemble: Ensemble, loader: DataLoader[Batch], indices: NDArray[np.integer], output: str
) -> Predictions:
    """Predictions of `output` where its label is present, over a loader that keeps the order of `indices`."""
    predicted, true, spread, configuration, element = [], [], [], [], []
    of_atoms = ARRAYS[label_of(output)].per == "atom"
    first = 0
    ensemble.eval()
    with torch.inference_mode():
        for batch in loader:
            results = ensemble(batch.graph)
            target = target_of(output, batch)
            present = torch.isfinite(target)
            if ARRAYS[label_of(output)].shape == (3,):
                present = present.all(1, keepdim=True).expand_as(target)
            owner = torch.arange(len(batch.graph.cell))
            if of_atoms:
                atoms = torch.arange(len(batch.graph.numbers)) if output.endswith(ATOMS) else batch.graph.centres
                owner = batch.graph.configuration[atoms]
                element.append(_by_component(batch.graph.numbers[atoms], target)[present].numpy())
            predicted.append(results[output][present].double().numpy())
            true.append(target[present].double().numpy())
            configuration.append(indices[first + _by_component(owner, target)[present].numpy()])
            if output + SPREAD in results:
                spread.append(results[output + SPREAD][present].double().numpy())
            first += len(batch.graph.cell)
    return Predictions(
        np.concatenate(predicted),
        np.concatenate(true),
        np.concatenate(spread) if spread else None,
        len(ensemble.members),
        np.concatenate(configuration),
        np.concatenate(element) if of_atoms else None,
    )


def _by_component(index: Tensor, values: Tensor) -> Tensor:
    """Indices (n,) repeated over the components of values (n, ...)."""
    return index.view(-1, *[1] * (values.ndim - 1)).expand_as(values)


def factor(predictions: Predictions, output: str) -> float:
    """Calibration of the spread: 1 for a single member."""
    if predictions.spread is None:
        return 1.0
    return calibration_factor(*_lengths(predictions.predicted - predictions.true, predictions.spread, output)[:2])


def _lengths(
    error: NDArray[np.floating], spread: NDArray[np.floating], output: str
) -> tuple[NDArray[np.floating], NDArray[np.floating], int]:
    """Errors, spreads and the number of components: of vectors, lengths over all three (science.md B4)."""
    if ARRAYS[label_of(output)].shape != (3,):
        return error, spread, 1
    return np.linalg.norm(error.reshape(-1, 3), axis=1), np.linalg.norm(spread.reshape(-1, 3), axis=1), 3


def part_metrics(predictions: Predictions, dataset: Dataset, output: str, shift: ContactShift | None) -> dict[str, Any]:
    """Errors in the label's unit, in ppm where there is a conversion, by group, and of the spread.

    Energies are reported as `energy_per_atom`, vectors by component and by element, their spreads by atom; stresses as
    `stress_GPa` by component and as `pressure_GPa`.
    """
    metrics: dict[str, Any] = {}
    if output == STRESS:
        predicted, true = (values.reshape(-1, 3, 3) / GPa for values in (predictions.predicted, predictions.true))
        pressures = (-np.trace(values, axis1=1, axis2=2) / 3 for values in (predicted, true))
        return {"stress_GPa": errors(predicted.ravel(), true.ravel()), "pressure_GPa": errors(*pressures)}
    name, unit = label_of(output), np.ones(1)
    if output == "energy":
        name, unit = "energy_per_atom", 1.0 / np.diff(dataset.offsets)[predictions.configuration]
    elif shift is not None and output == "hyperfine_contact":
        metrics[output] = errors(predictions.predicted, predictions.true)
        name, unit = SHIFT, np.full(1, shift.ppm_per_mhz)
    predicted, true = unit * predictions.predicted, unit * predictions.true
    metrics[name] = errors(predicted, true)
    if predictions.element is not None and ARRAYS[label_of(output)].shape:
        metrics[f"{name}_by_element"] = {
            chemical_symbols[z]: errors(predicted[predictions.element == z], true[predictions.element == z])
            for z in np.unique(predictions.element)
        }
    groups = dataset.group[predictions.configuration]
    if len(names := sorted(set(groups))) <= 16:
        metrics[f"{name}_by_group"] = {g: errors(predicted[groups == g], true[groups == g]) for g in names}
    if predictions.spread is not None:
        error, spread, components = _lengths(predicted - true, np.abs(unit) * predictions.spread, output)
        metrics[f"{name}_calibration"] = calibration(error, spread, predictions.members, components=components)
    return metrics

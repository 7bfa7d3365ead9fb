"""Errors of a model on labels made after it, against those it foretold (Energy Storage Mater. 2023, 63, 103023)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from ionecho.checkpoints.store import Checkpoint
from ionecho.data.outputs import POTENTIAL, Output
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.training.data import GraphDataModule
from ionecho.training.evaluate import Predictions, part_metrics, predict_part
from ionecho.training.fit import recipe
from ionecho.training.settings import TrainerSettings

ENERGY, FORCES, _ = POTENTIAL
Floats = NDArray[np.floating]


def predictions(
    checkpoint: Checkpoint, dataset: Dataset, indices: NDArray[np.integer], output: Output, trainer: TrainerSettings
) -> Predictions:
    """Predictions of a checkpoint's ensemble for some configurations of a dataset, in double precision."""
    model = checkpoint.model.double()
    parts, labels = {"test": indices}, [output.label]
    graphs = recipe(model, "float64")
    data = GraphDataModule(dataset, parts, labels, graphs, trainer.batch_size, 0, trainer.memory_limit)
    return predict_part(model, data.test_dataloader(), indices, output)


def by_frame(forces: Predictions) -> tuple[Floats, Floats]:
    """Largest error and largest spread of an atom's force in every configuration, both (C,) in eV/Å."""
    if forces.spread is None:
        raise InputError("the spread of forces needs an ensemble of 2 members or more")
    error, spread = forces.error, forces.spread
    _, owner = np.unique(forces.configuration, return_inverse=True)
    largest = np.zeros((2, owner.max() + 1))
    np.maximum.at(largest[0], owner, error)
    np.maximum.at(largest[1], owner, spread)
    return largest[0], largest[1]


def honest_test(
    checkpoint: Checkpoint, dataset: Dataset, new: NDArray[np.integer], scale: float, trainer: TrainerSettings
) -> dict[str, Any]:
    """Errors on configurations that the model was not trained on, and how well its spread foretold them.

    Returns
    -------
    Errors and calibration of forces (eV/Å, by component) and of the energy an atom (eV); the score (`scale` times the
    largest spread) and the largest force error of every frame, and the rank correlation of the two.
    """
    forces = predictions(checkpoint, dataset, new, FORCES, trainer)
    metrics = part_metrics(forces, dataset)
    metrics |= part_metrics(predictions(checkpoint, dataset, new, ENERGY, trainer), dataset)
    error, spread = by_frame(forces)
    correlation = spearmanr(spread, error).statistic if len(error) > 2 else np.nan
    return {
        **{name: metrics[name] for name in ("forces", "forces_calibration", "energy_per_atom")},
        "frames": {"score": (scale * spread).tolist(), "error": error.tolist()},
        "rank_correlation": float(correlation) if np.isfinite(correlation) else None,
    }

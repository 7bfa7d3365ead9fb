"""What a model has to beat: the mean of the training part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ionecho.data.store import Dataset
from ionecho.training.evaluate import Predictions
from ionecho.training.fit import by_composition, grid_statistics, statistics


def mean_of_training(predictions: Predictions, dataset: Dataset, train: NDArray[np.integer]) -> Predictions:
    """The same labels as the training part alone would predict them, whatever the structure.

    Of an element by its mean, which vectors have not, of tensors that of the isotropic part; of a configuration by its
    composition; of points by the mean over the grids.
    """
    label = predictions.output.label
    if predictions.output.at == "points":
        predicted = np.full_like(predictions.true, grid_statistics(dataset, train, label).mean)
    elif predictions.element is None:
        predicted = by_composition(dataset, train, label)[predictions.configuration]
    else:
        known = statistics(dataset, train, [label])[label]
        means = [known[number].mean if number in known else 0.0 for number in predictions.element.tolist()]
        one = np.eye(3) if predictions.output.kind == "tensor" else np.ones(predictions.true.shape[1:])
        predicted = np.multiply.outer(np.array(means), one)
    return replace(predictions, predicted=predicted, spread=None)

"""What a model has to beat: the mean of the training part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ionecho.data.store import Dataset
from ionecho.training.evaluate import Predictions
from ionecho.training.fit import by_composition, statistics


def mean_of_training(predictions: Predictions, dataset: Dataset, train: NDArray[np.integer]) -> Predictions:
    """The same labels as the training part alone would predict them, whatever the structure.

    Of an element by its mean, which vectors and tensors do not have; of a configuration by its composition.
    """
    label = predictions.output.label
    if predictions.element is None:
        predicted = by_composition(dataset, train, label)[predictions.configuration]
    else:
        known = statistics(dataset, train, [label])[label]
        means = [known[number].mean if number in known else 0.0 for number in predictions.element.tolist()]
        predicted = np.zeros_like(predictions.true) + np.reshape(means, (-1, *[1] * (predictions.true.ndim - 1)))
    return replace(predictions, predicted=predicted, spread=None)

"""What a trained model is at home in, and how its errors grow away from there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from ionecho.data.loader import Batch
from ionecho.models.domain import FEATURES, Dispersion, Domain
from ionecho.models.ensemble import Ensemble

LINEAR = 1.0, 0.5  # growth of errors with the distance before any was seen: in proportion, and how sure that is
SMALLEST = 1e-3  # spread or distance, relative to their root mean square


def learn_domain(ensemble: Ensemble, train: Iterable[Batch], held_out: Iterable[Batch]) -> Domain | None:
    """The domain of the first member, its home the part held out, or else the training part; None without features."""
    model: Any = ensemble.members[0].eval()

    def seen(batches: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in batches:
            with torch.inference_mode():
                outputs = model(batch.graph)
            if FEATURES not in outputs:
                return
            yield outputs[FEATURES], model.centre_species(batch.graph.numbers[batch.graph.centres])

    first = next(seen(train), None)
    if first is None:
        return None
    domain = Domain(len(model.centres), first[0].shape[1]).to(first[0].dtype)
    domain.learn(seen(train))
    distances = [domain(*part) for part in seen(held_out)] or [domain(*part) for part in seen(train)]
    domain.settle(torch.cat(distances))
    return domain


def fit_dispersion(error: NDArray, distance: NDArray, spread: NDArray | None) -> Dispersion:
    """How the size of errors (n,) grows with the distance (n,), and with the members' spread (n,) where there is one.

    Greatest likelihood of normal errors, the exponents not below zero. Where few errors tell little, they stay near the
    growth of a linear model, and near none with the spread.
    """
    logs = [_log(distance), np.zeros_like(error) if spread is None else _log(spread)]
    expected = np.array([LINEAR[0], 0.0])

    def unlikely(parameters: NDArray) -> float:
        level, exponents = parameters[0], parameters[1:]
        log_sigma = level + exponents[0] * logs[0] + exponents[1] * logs[1]
        likelihood = np.sum(log_sigma + 0.5 * np.square(error) * np.exp(-2 * log_sigma))
        return float(likelihood + 0.5 * np.sum(np.square((exponents - expected) / LINEAR[1])))

    start = np.array([0.5 * np.log(np.mean(np.square(error)) + np.finfo(float).tiny), *expected])
    bounds = [(None, None), (0.0, None), (0.0, 0.0 if spread is None else None)]
    _, *exponents = minimize(unlikely, start, method="L-BFGS-B", bounds=bounds).x.tolist()
    shape = np.exp(exponents[0] * logs[0] + exponents[1] * logs[1])
    return Dispersion(float(np.sqrt(np.mean(np.square(error / shape)))), *exponents)


def _log(values: NDArray) -> NDArray:
    return np.log(np.maximum(values, SMALLEST * np.sqrt(np.mean(np.square(values)))))

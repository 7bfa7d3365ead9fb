"""One member: build, fit what has a closed form on the training part, train, and keep the best epoch's weights."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from ionecho.data.loader import GraphRecipe
from ionecho.data.outputs import Output
from ionecho.data.points import PointRecipe
from ionecho.data.schema import ARRAYS
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.models import build_model
from ionecho.models.species import Statistics
from ionecho.training.data import GraphDataModule
from ionecho.training.descent import descend
from ionecho.training.losses import scaled
from ionecho.training.module import TrainingModule
from ionecho.training.registry import OPTIMIZERS, SCHEDULES, make
from ionecho.training.settings import TrainingSettings
from ionecho.training.start import Start, train_last

ROUNDING = 1e-12  # relative, of a least-squares fit


def reported(model: Any, dataset: Dataset) -> list[Output]:
    """Outputs whose errors are told: those of the model that the dataset has labels for."""
    return [output for output in model.outputs if not output.auxiliary and output.label in dataset.labels]


def recipe(model: Any, dtype: str, points: PointRecipe | None = None) -> GraphRecipe:
    """The graphs a model needs."""
    drawn = points or PointRecipe(None)
    return GraphRecipe(model.cutoff, tuple(model.centres), model.pairs_of, getattr(torch, dtype), model.given, drawn)


def statistics(dataset: Dataset, train: NDArray, labels: Sequence[str]) -> dict[str, dict[int, Statistics]]:
    """Mean and standard deviation of every atomic label, by element, over the training part.

    Vectors and traceless tensors have no mean, a tensor that of its isotropic part; all have one deviation for all
    components: rotation commutes with both.
    """
    in_train = _atoms_of(dataset, train)
    atomic = [name for name in labels if ARRAYS[name].per == "atom"]
    sums: dict[str, dict[int, NDArray]] = {name: defaultdict(lambda: np.zeros(3)) for name in atomic}
    for start, stop, arrays in dataset.blocks(["numbers", *atomic]):
        chosen = in_train[dataset.offsets[start] : dataset.offsets[stop]]
        for name, number in product(atomic, np.unique(arrays["numbers"][chosen])):
            values = arrays[name][chosen & (arrays["numbers"] == number)].astype(float)
            values = values[np.isfinite(values).reshape(len(values), -1).all(1)]
            kind = ARRAYS[name].kind
            total = np.trace(values, axis1=1, axis2=2).sum() if kind == "tensor" else values.sum() * (kind == "scalar")
            sums[name][int(number)] += (len(values), total, np.square(values).sum())
    return {
        name: {number: _statistics(name, *of) for number, of in of_elements.items() if of[0]}
        for name, of_elements in sums.items()
    }


def _statistics(label: str, count: float, total: float, squares: float) -> Statistics:
    """Of `count` rows, the sum of their numbers or traces, and that of their squared components."""
    size = math.prod(ARRAYS[label].shape)
    diagonal = 3 if ARRAYS[label].kind == "tensor" else 1
    mean = total / (count * diagonal)
    variance = squares / (count * size) - mean**2 * diagonal / size
    return Statistics(mean, math.sqrt(max(variance, 0.0)))


def _atoms_of(dataset: Dataset, configurations: NDArray) -> NDArray[np.bool_]:
    """Which atoms of the dataset belong to these configurations."""
    return np.repeat(np.isin(np.arange(len(dataset)), configurations), np.diff(dataset.offsets))


def scales(
    model: Any, outputs: Sequence[Output], stats: dict[str, dict[int, Statistics]], dataset: Dataset, train: NDArray
) -> dict[str, float]:
    """Scale of each output's errors: the standard deviation of its label over the elements it covers.

    That of a label a configuration is the standard deviation of what its composition does not tell.
    """
    found = {}
    for output in outputs:
        if output.at == "points":
            found[output.name] = grid_statistics(dataset, train, output.label).std or 1.0
            continue
        if not output.per_atom:
            found[output.name] = _beyond_composition(dataset, train, output.label)
            continue
        elements = model.numbers if output.at == "atoms" else model.centres
        known = stats.get(output.label, {})
        spreads = [known[z].std for z in elements if z in known]
        if not spreads or (output.at == "centres" and len(spreads) < len(set(elements))):
            bare = sorted(set(elements) - set(known))
            raise InputError(f"no {output.label} on the elements {bare} in the training part; see model.centres")
        found[output.name] = float(np.sqrt(np.mean(np.square(spreads)))) or 1.0
    return found


def grid_statistics(dataset: Dataset, train: NDArray, label: str) -> Statistics:
    """Mean and standard deviation of a grid over the training part."""
    sums = np.zeros(3)
    for index in train:
        values = dataset.rows(label, int(index), int(index) + 1).astype(float)
        values = values[np.isfinite(values)]
        sums += (values.size, values.sum(), np.square(values).sum())
    count, total, squares = sums
    if not count:
        raise InputError(f"{dataset.path}: no {label} in the training part; choose another loss")
    return Statistics(total / count, math.sqrt(max(squares / count - (total / count) ** 2, 0.0)))


def _beyond_composition(dataset: Dataset, train: NDArray, label: str) -> float:
    """Standard deviation of a label (C, ...) about what the compositions tell; one where that is all but rounding."""
    values = dataset.rows(label, 0, len(dataset))
    error = (values - by_composition(dataset, train, label))[train]
    left = float(np.sqrt(np.nanmean(error**2)))
    return left if left > ROUNDING * np.nanmax(np.abs(values[train])) else 1.0


def by_composition(dataset: Dataset, train: NDArray, label: str) -> NDArray:
    """What the numbers of atoms of each element tell of a label (C, ...), by least squares over the training part."""
    numbers = dataset.rows("numbers", 0, len(dataset))
    elements = np.unique(numbers)
    counts = np.add.reduceat((numbers[:, None] == elements).astype(float), dataset.offsets[:-1])
    values = dataset.rows(label, 0, len(dataset))
    known = train[np.isfinite(values[train].reshape(len(train), -1)).all(axis=1)]
    if not len(known):
        raise InputError(f"{dataset.path}: no {label} in the training part; choose another loss")
    of_elements, _, _, _ = np.linalg.lstsq(counts[known], values[known].reshape(len(known), -1), rcond=None)
    return (counts @ of_elements).reshape(values.shape)


def check_elements(model: Any, dataset: Dataset, train: NDArray) -> None:
    """Refuse a model that does not know an element of the dataset, or would not learn one that it is said to know."""
    numbers = dataset.rows("numbers", 0, len(dataset))
    present, learned = (set(np.unique(of).tolist()) for of in (numbers, numbers[_atoms_of(dataset, train)]))
    wrong = []
    if unknown := present - set(model.numbers):
        wrong.append(
            f"it holds elements {sorted(unknown)} that the model does not know ({sorted(model.numbers)}); "
            "add them to model.numbers, or leave it out"
        )
    if absent := set(model.numbers) - learned:
        cure = "choose another split or fold" if absent & present else f"say model.numbers={sorted(learned)}"
        wrong.append(
            f"no configuration of the training part holds elements {sorted(absent)} of model.numbers, "
            f"which the model would then claim to know; {cure}"
        )
    if not present & set(model.centres):
        wrong.append(f"it holds none of model.centres {sorted(model.centres)}; choose some of {sorted(present)}")
    if wrong:
        raise InputError(f"{dataset.path}: {'; '.join(wrong)}")


def fit_member(
    settings: TrainingSettings,
    number: int,
    dataset: Dataset,
    parts: dict[str, NDArray],
    folder: Path,
    start: Start | None = None,
) -> tuple[nn.Module, GraphDataModule]:
    """Train one member in `folder`; a killed run goes on from its last epoch, a finished one is loaded.

    It begins with the weights of the start, where there is one. With `trainer.max_epochs` 0 it is what its closed-form
    fit gives.
    """
    trainer, seed = settings.trainer, settings.seed + number
    pl.seed_everything(seed, verbose=False)
    schedule = make(SCHEDULES, trainer.schedule, "trainer.schedule")
    model = build_model(settings.model["name"], settings.of_member(number)).to(getattr(torch, trainer.dtype))
    check_elements(model, dataset, parts["train"])
    learned = trainer.learned(model)
    labels = sorted({output.label for output in (*learned, *reported(model, dataset))})
    data = GraphDataModule(
        dataset,
        parts,
        labels,
        recipe(model, trainer.dtype, trainer.point_recipe),
        trainer.batch_size,
        seed,
        trainer.memory_limit,
    )
    weights = folder / "weights.safetensors"
    if weights.exists():
        model.load_state_dict(load_file(weights))
        return model, data
    stats = statistics(dataset, parts["train"], labels)
    if start is None:
        model.fit(stats, data.train_dataloader())
    else:
        start.give(model, number)
        model.rescale(stats, data.train_dataloader())
    if trainer.trains == "last":
        train_last(model)
    if trainer.max_epochs:
        assert trainer.optimizer is not None
        optimizer = make(OPTIMIZERS, trainer.optimizer, "trainer.optimizer")
        losses = scaled(trainer.terms(model), scales(model, learned, stats, dataset, parts["train"]))
        module = TrainingModule(model, losses, learned, optimizer, schedule, seed)
        descend(module, data, settings, folder)
    partial = weights.with_suffix(".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, partial)
    partial.replace(weights)
    return model, data

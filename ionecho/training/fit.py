"""One member: build, fit what has a closed form on the training part, train, and keep the best epoch's weights."""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file, save_file
from torch import nn

from ionecho.config import plain
from ionecho.data.loader import GraphRecipe
from ionecho.data.schema import ARRAYS
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.models import build_model
from ionecho.models.species import Statistics
from ionecho.training.data import GraphDataModule
from ionecho.training.descent import descend
from ionecho.training.module import ATOMS, ENERGY, FORCES, STRESS, is_reported, label_of

ROUNDING = 1e-12  # relative, of a least-squares fit


def hyperparameters(config: DictConfig) -> dict[str, Any]:
    """The model's own arguments."""
    return {key: value for key, value in plain(config.model).items() if key != "name"}


def reported(losses: Iterable[str], dataset: Dataset) -> list[str]:
    """Outputs whose errors are told: those learned, and the stress of potentials where the dataset has it."""
    stress = [STRESS] if {ENERGY, FORCES} <= set(losses) and STRESS in dataset.labels else []
    return [name for name in losses if is_reported(name)] + stress


def of_member(config: DictConfig, number: int) -> DictConfig:
    """The config of one member of an ensemble: its hyperparameters with what `member_overrides` sets for it.

    Raises
    ------
    InputError
        If there are overrides, but not one set a member.
    """
    given = config.member_overrides
    if given and len(given) != config.ensemble:
        raise InputError(
            f"member_overrides: expected none or one set of hyperparameters for each of {config.ensemble} members, "
            f"found {len(given)}"
        )
    joined = OmegaConf.merge(config, {"model": given[number]}) if given else config
    assert isinstance(joined, DictConfig)
    return joined


def recipe(model: Any, dtype: str) -> GraphRecipe:
    """The graphs a model needs."""
    return GraphRecipe(model.cutoff, tuple(model.centres), model.pairs_of, getattr(torch, dtype))


def statistics(dataset: Dataset, train: NDArray, labels: Sequence[str]) -> dict[str, dict[int, Statistics]]:
    """Mean and standard deviation of every atomic label, by element, over the training part."""
    in_train = _atoms_of(dataset, train)
    atomic = [name for name in labels if ARRAYS[name].per == "atom"]
    sums: dict[str, dict[int, NDArray]] = {name: defaultdict(lambda: np.zeros(3)) for name in atomic}
    for start, stop, arrays in dataset.blocks(["numbers", *atomic]):
        chosen = in_train[dataset.offsets[start] : dataset.offsets[stop]]
        for name, number in product(atomic, np.unique(arrays["numbers"][chosen])):
            values = arrays[name][chosen & (arrays["numbers"] == number)].astype(float)
            values = values[np.isfinite(values)]
            sums[name][int(number)] += (values.size, values.sum(), np.square(values).sum())
    return {
        name: {
            number: Statistics(total / count, math.sqrt(max(squares / count - (total / count) ** 2, 0.0)))
            for number, (count, total, squares) in of_elements.items()
            if count
        }
        for name, of_elements in sums.items()
    }


def _atoms_of(dataset: Dataset, configurations: NDArray) -> NDArray[np.bool_]:
    """Which atoms of the dataset belong to these configurations."""
    return np.repeat(np.isin(np.arange(len(dataset)), configurations), np.diff(dataset.offsets))


def scales(
    model: Any, losses: Sequence[str], stats: dict[str, dict[int, Statistics]], dataset: Dataset, train: NDArray
) -> dict[str, float]:
    """Scale of each output's errors: the standard deviation of its label over the elements it covers.

    That of a label a configuration is the standard deviation of what its composition does not tell.
    """
    found = {}
    for output in losses:
        if ARRAYS[label_of(output)].per == "configuration":
            found[output] = _beyond_composition(dataset, train, label_of(output))
            continue
        elements = model.numbers if output.endswith(ATOMS) else model.centres
        known = stats.get(label_of(output), {})
        spreads = [known[z].std for z in elements if z in known]
        if not spreads or (not output.endswith(ATOMS) and len(spreads) < len(set(elements))):
            bare = sorted(set(elements) - set(known))
            raise InputError(f"no {label_of(output)} on the elements {bare} in the training part; see model.centres")
        found[output] = float(np.sqrt(np.mean(np.square(spreads)))) or 1.0
    return found


def _beyond_composition(dataset: Dataset, train: NDArray, label: str) -> float:
    """Standard deviation of a label (C, ...) about its least-squares fit by the numbers of atoms of each element.

    One where the fit leaves no more than rounding.
    """
    numbers = dataset.rows("numbers", 0, len(dataset))
    elements = np.unique(numbers)
    counts = np.add.reduceat((numbers[:, None] == elements).astype(float), dataset.offsets[:-1])[train]
    values = dataset.rows(label, 0, len(dataset))[train].reshape(len(train), -1)
    present = np.isfinite(values).all(axis=1)
    if not present.any():
        raise InputError(f"{dataset.path}: no {label} in the training part; choose another loss")
    known, _, _, _ = np.linalg.lstsq(counts[present], values[present], rcond=None)
    left = float(np.sqrt(np.mean((values[present] - counts[present] @ known) ** 2)))
    return left if left > ROUNDING * np.abs(values[present]).max() else 1.0


def check_elements(model: Any, dataset: Dataset, train: NDArray) -> None:
    """Refuse a model that does not know an element of the dataset, or would not learn one that it is said to know."""
    numbers = dataset.rows("numbers", 0, len(dataset))
    present, learned = (set(np.unique(of).tolist()) for of in (numbers, numbers[_atoms_of(dataset, train)]))
    if unknown := present - set(model.numbers):
        raise InputError(
            f"{dataset.path} holds elements {sorted(unknown)} that the model does not know ({sorted(model.numbers)}); "
            "add them to model.numbers"
        )
    if absent := set(model.numbers) - learned:
        cure = "choose another split or fold" if absent & present else f"say model.numbers={sorted(learned)}"
        raise InputError(
            f"{dataset.path}: no configuration of the training part holds elements {sorted(absent)} of model.numbers, "
            f"which the model would then claim to know; {cure}"
        )
    if not present & set(model.centres):
        raise InputError(f"{dataset.path} holds none of the model's centres {sorted(model.centres)}")


def fit_member(
    config: DictConfig, dataset: Dataset, parts: dict[str, NDArray], folder: Path, seed: int
) -> tuple[nn.Module, GraphDataModule]:
    """Train one member in `folder`; a killed run goes on from its last epoch, a finished one is loaded.

    With `trainer.max_epochs` 0 it is what its closed-form fit gives.
    """
    pl.seed_everything(seed, verbose=False)
    settings = config.trainer
    _check_schedule(settings)
    model = build_model(config.model.name, hyperparameters(config)).to(getattr(torch, settings.dtype))
    check_elements(model, dataset, parts["train"])
    labels = sorted({label_of(output) for output in (*settings.losses, *reported(settings.losses, dataset))})
    data = GraphDataModule(
        dataset, parts, labels, recipe(model, settings.dtype), settings.batch_size, seed, settings.memory_limit
    )
    weights = folder / "weights.safetensors"
    if weights.exists():
        model.load_state_dict(load_file(weights))
        return model, data
    stats = statistics(dataset, parts["train"], labels)
    model.fit(stats, data.train_dataloader())
    if settings.max_epochs:
        errors = scales(model, list(settings.losses), stats, dataset, parts["train"])
        descend(config, model, errors, data, folder, seed)
    partial = weights.with_suffix(".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, partial)
    partial.replace(weights)
    return model, data


def _check_schedule(settings: DictConfig) -> None:
    """Another schedule than the model's leaves the model's settings of its own behind: say so before anything runs."""
    schedule = instantiate(settings.schedule)
    if unknown := sorted(set(schedule.keywords) - set(inspect.signature(schedule.func).parameters)):
        name, drop = schedule.func.__name__, " ".join(f"~trainer.schedule.{key}" for key in unknown)
        raise InputError(f"trainer.schedule: {name} takes no {', '.join(unknown)}; leave out with {drop}")

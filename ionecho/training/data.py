"""The Lightning data module: one fold of a split as training, validation and test batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler

from ionecho.data.loader import STRUCTURE, Batch, Columns, GraphRecipe, InMemory, Streamed
from ionecho.data.schema import ARRAYS
from ionecho.data.splits import fold_indices, hold_out
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.training.processes import share


def fold_parts(
    dataset: Dataset, split: str, fold: int | None, validation: float, seed: int, frames: int | None = None
) -> dict[str, NDArray]:
    """Configuration indices of the parts `train`, `validation` and `test` of a fold.

    `fold=None` trains on every good configuration and has no test part. `frames` keeps the first so many of a
    seeded order of the training part, so that smaller training sets are nested in larger ones (learning curve).
    """
    folds = fold_indices(dataset, split)
    if fold is not None and not 0 <= fold < len(folds):
        raise InputError(f"{dataset.path}: split {split} has folds 0 to {len(folds) - 1}, not {fold}")
    test = folds[fold] if fold is not None else np.array([], dtype=np.int64)
    rest = np.setdiff1d(np.concatenate(folds), test)
    if not len(rest):
        raise InputError(f"{dataset.path}: split {split} has all configurations in fold {fold}: nothing to train on")
    family = dataset.attrs.get("families", {}).get(split)
    train, held = hold_out(dataset, folds, rest, validation, seed, family)
    if frames is not None:
        if frames > len(train):
            raise InputError(
                f"{dataset.path}: {frames} training frames asked for, fold {fold} of {split} has {len(train)}"
            )
        train = np.sort(np.random.default_rng(seed).permutation(train)[:frames])
    return {"train": train, "validation": held, "test": test}


def check_labels(dataset: Dataset, parts: Mapping[str, NDArray], labels: Sequence[str]) -> None:
    """Refuse parts of a fold in which no configuration has a label: nothing could be learned, chosen or tested."""
    present = {name: np.zeros(len(dataset), bool) for name in labels if name in dataset.labels}
    for start, stop, arrays in dataset.blocks(present):
        for name, values in arrays.items():
            known = np.isfinite(values.reshape(len(values), -1)).all(1)
            if ARRAYS[name].per == "atom":
                known = np.logical_or.reduceat(known, dataset.offsets[start:stop] - dataset.offsets[start])
            present[name][start:stop] = known
    for part, indices in parts.items():
        if absent := [name for name in present if len(indices) and not present[name][indices].any()]:
            raise InputError(f"{dataset.path}: no {', '.join(absent)} in the {part} part; choose another fold or split")


class GraphDataModule(pl.LightningDataModule):
    """Serves batches; in memory when labels and neighbour lists fit into `memory_limit` GB, else streamed in blocks."""

    def __init__(
        self,
        dataset: Dataset,
        parts: dict[str, NDArray],
        labels: Sequence[str],
        recipe: GraphRecipe,
        batch_size: int,
        seed: int,
        memory_limit: float,
    ) -> None:
        super().__init__()
        if grids := [name for name in labels if ARRAYS[name].per == "grid"]:
            raise InputError(f"{dataset.path}: {', '.join(grids)} lies on a grid, which no model here learns yet")
        missing = [name for name in labels if name not in dataset.labels]
        if missing:
            have = ", ".join(dataset.labels)
            raise InputError(
                f"{dataset.path} has no {', '.join(missing)}; it holds {have}. Choose another model or dataset, or "
                "other losses of the model's: ~trainer.losses '+trainer.losses={NAME: 1.0}'"
            )
        self.dataset, self.parts, self.labels, self.recipe = dataset, parts, list(labels), recipe
        self.batch_size, self.seed = batch_size, seed
        self.in_memory = self._bytes_needed() <= memory_limit * 1e9
        if self.in_memory:
            columns = Columns(dataset, 0, len(dataset), (*STRUCTURE, *self.labels))
            self.sets = {part: InMemory(columns, indices, self.labels, recipe) for part, indices in parts.items()}

    def _bytes_needed(self) -> float:
        """Of the arrays, and of the graphs that are kept, by that of one configuration."""
        names = (*STRUCTURE, *self.labels)
        first = int(next(iter(np.concatenate(list(self.parts.values()))), 0))
        graph = InMemory(Columns(self.dataset, first, first + 1, names), np.array([first]), self.labels, self.recipe)[
            0
        ].graph
        kept = sum(value.nbytes for value in vars(graph).values() if isinstance(value, torch.Tensor))
        return self.dataset.nbytes(names) + kept / len(graph.numbers) * float(self.dataset.offsets[-1])

    def _loader(self, part: str, shuffle_seed: int | None) -> DataLoader[Batch]:
        if not self.in_memory:
            arguments = (self.dataset, self.parts[part], self.labels, self.recipe, self.batch_size, shuffle_seed)
            return DataLoader(Streamed(*arguments, share=share), batch_size=None)
        batches = Batches(len(self.sets[part]), self.batch_size, shuffle_seed)
        return DataLoader(self.sets[part], batch_sampler=batches, collate_fn=_as_it_is)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled by the seed and the epoch alone, so that a resumed run sees the same batches."""
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        return self._loader("train", self.seed * 1_000_003 + epoch)

    def val_dataloader(self) -> Any:
        """In the order of the dataset; empty when nothing is held out."""
        return self._loader("validation", None) if len(self.parts["validation"]) else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """In the order of the dataset."""
        return self._loader("test", None)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch to the trainer's device."""
        return batch.to(device)


class Batches(Sampler[list[int]]):
    """Batches in a random order fixed by its seed, however often it is iterated (Lightning does so twice on resuming).

    Without a seed in order. Each of several processes gets its share of every batch.
    """

    def __init__(self, length: int, size: int, seed: int | None) -> None:
        self.length, self.size, self.seed = length, size, seed

    def __len__(self) -> int:
        return -(-self.length // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(self.length))
        if self.seed is not None:
            order = np.random.default_rng(self.seed).permutation(self.length).tolist()
        for first in range(0, self.length, self.size):
            yield list(share(order[first : first + self.size]))


def _as_it_is(batch: Any) -> Any:
    return batch

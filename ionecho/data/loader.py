"""Batches for training: from memory when the labels fit, else shuffled within blocks read one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as MapDataset
from torch.utils.data import IterableDataset

from ionecho.data.schema import ARRAYS
from ionecho.data.store import Dataset
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import PairsOf, build_graph

STRUCTURE = ("numbers", "positions", "cell", "pbc")
BLOCK = 512


@dataclass(frozen=True)
class Batch:
    """A graph and its labels: (C, ...) a configuration or (A, ...) an atom, NaN where missing."""

    graph: Graph
    labels: dict[str, Tensor]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Batch:
        """The same batch on another device, its floating-point arrays in another precision."""
        labels = {name: value.to(device=device, dtype=dtype) for name, value in self.labels.items()}
        return Batch(self.graph.to(device, dtype), labels)

    def unlabelled(self) -> Batch:
        """The same batch with all labels missing."""
        return Batch(self.graph, {name: torch.full_like(value, torch.nan) for name, value in self.labels.items()})


@dataclass(frozen=True)
class GraphRecipe:
    """What a model needs of a configuration: neighbours within `cutoff` Å of all atoms or of the centres alone."""

    cutoff: float
    centres: tuple[int, ...]  # atomic numbers
    pairs_of: PairsOf
    dtype: torch.dtype


class Columns:
    """Ragged arrays of some configurations of a dataset, in memory."""

    def __init__(self, dataset: Dataset, start: int, stop: int, names: Sequence[str]) -> None:
        self.start = start
        self.offsets = dataset.offsets[start : stop + 1] - dataset.offsets[start]
        self.arrays = {name: dataset.rows(name, start, stop) for name in names}

    def row(self, name: str, index: int) -> NDArray:
        """Array `name` of configuration `index` (counted in the dataset)."""
        at = index - self.start
        if ARRAYS[name].per == "atom":
            return self.arrays[name][self.offsets[at] : self.offsets[at + 1]]
        return self.arrays[name][at : at + 1]

    def gather(self, name: str, indices: Sequence[int]) -> NDArray:
        """Array `name` of many configurations, concatenated."""
        return np.concatenate([self.row(name, index) for index in indices])


def _graph(columns: Columns, indices: Sequence[int], recipe: GraphRecipe) -> Graph:
    structure = {name: [columns.row(name, index) for index in indices] for name in STRUCTURE}
    return build_graph(
        structure["positions"],
        [cell[0] for cell in structure["cell"]],
        structure["numbers"],
        [pbc[0] for pbc in structure["pbc"]],
        cutoff=recipe.cutoff,
        centres=recipe.centres,
        pairs_of=recipe.pairs_of,
        dtype=recipe.dtype,
    )


def _labels(columns: Columns, indices: Sequence[int], names: Sequence[str], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: torch.from_numpy(columns.gather(name, indices)).to(dtype) for name in names}


class InMemory(MapDataset[Batch]):
    """Configurations held in memory; a neighbour list is made when first asked for and kept."""

    def __init__(self, columns: Columns, indices: NDArray[np.integer], labels: Sequence[str], recipe: GraphRecipe):
        self.columns, self.indices, self.labels, self.recipe = columns, indices, labels, recipe
        self.graphs: dict[int, Graph] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> Batch:
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[int]) -> Batch:
        """A whole batch at once (torch's batched fetching); of no items, a configuration without labels."""
        chosen = [int(self.indices[item]) for item in items or [0]]
        for index in chosen:
            if index not in self.graphs:
                self.graphs[index] = _graph(self.columns, [index], self.recipe)
        graph = Graph.concatenate([self.graphs[index] for index in chosen])
        batch = Batch(graph, _labels(self.columns, chosen, self.labels, self.recipe.dtype))
        return batch if items else batch.unlabelled()


class Streamed(IterableDataset[Batch]):
    """Batches of a dataset larger than memory: blocks in random order, configurations shuffled within each.

    One block is in memory at a time. The order is fixed by the seed; `seed=None` keeps that of the dataset. `share`
    chooses what is served of a batch; where that is nothing, a configuration of it without labels.
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: NDArray[np.integer],
        labels: Sequence[str],
        recipe: GraphRecipe,
        batch_size: int,
        seed: int | None,
        block: int = BLOCK,
        share: Callable[[Sequence[int]], Sequence[int]] = list,
    ) -> None:
        self.share = share
        self.dataset, self.labels, self.recipe, self.batch_size, self.block = dataset, labels, recipe, batch_size, block
        self.blocks = [indices[indices // block == k] for k in np.unique(indices // block)]
        self.seed = seed

    def __len__(self) -> int:
        return sum(-(-len(members) // self.batch_size) for members in self.blocks)

    def __iter__(self) -> Iterator[Batch]:
        random = None if self.seed is None else np.random.default_rng(self.seed)
        order = range(len(self.blocks)) if random is None else random.permutation(len(self.blocks))
        for number in order:
            members = self.blocks[number]
            start, stop = int(members.min()), int(members.max()) + 1
            columns = Columns(self.dataset, start, stop, (*STRUCTURE, *self.labels))
            if random is not None:
                members = random.permutation(members)
            for first in range(0, len(members), self.batch_size):
                batch = members[first : first + self.batch_size].tolist()
                own = self.share(batch)
                chosen = own or batch[:1]
                labels = _labels(columns, chosen, self.labels, self.recipe.dtype)
                served = Batch(_graph(columns, chosen, self.recipe), labels)
                yield served if own else served.unlabelled()

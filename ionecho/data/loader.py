"""Batches for training: from memory when the labels fit, else shuffled within blocks read one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as MapDataset
from torch.utils.data import IterableDataset

from ionecho.data.points import PointRecipe, positions
from ionecho.data.schema import ARRAYS
from ionecho.data.store import Dataset
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import PairsOf, build_graph

STRUCTURE = ("numbers", "positions", "cell", "pbc")
BLOCK = 512


@dataclass(frozen=True)
class Batch:
    """A graph and its labels: (C, ...) a configuration, (A, ...) an atom or (Q,) a point, NaN where missing.

    `volumes` (Q,) in Å³ are what the points stand for: sums weighted with them are integrals over the cells.
    """

    graph: Graph
    labels: dict[str, Tensor]
    volumes: Tensor | None = None

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Batch:
        """The same batch on another device, its floating-point arrays in another precision."""
        labels = {name: value.to(device=device, dtype=dtype) for name, value in self.labels.items()}
        volumes = None if self.volumes is None else self.volumes.to(device=device, dtype=dtype)
        return Batch(self.graph.to(device, dtype), labels, volumes)

    def unlabelled(self) -> Batch:
        """The same batch with all labels missing."""
        labels = {name: torch.full_like(value, torch.nan) for name, value in self.labels.items()}
        return replace(self, labels=labels)


@dataclass(frozen=True)
class GraphRecipe:
    """What a model needs of a configuration: neighbours within `cutoff` Å of all atoms or of the centres alone.

    `given` is the label that states of atoms are taken from, None where the model is told none; `points` are those of
    grids.
    """

    cutoff: float
    centres: tuple[int, ...]  # atomic numbers
    pairs_of: PairsOf
    dtype: torch.dtype
    given: str | None = None
    points: PointRecipe = field(default_factory=lambda: PointRecipe(None))


class Columns:
    """Ragged arrays of some configurations of a dataset, in memory."""

    def __init__(self, dataset: Dataset, start: int, stop: int, names: Sequence[str]) -> None:
        self.start = start
        self.offsets = dataset.offsets[start : stop + 1] - dataset.offsets[start]
        self.grid_offsets = dataset.grid_offsets[start : stop + 1] - dataset.grid_offsets[start]
        self.shapes = dataset.grid_shape[start:stop]
        self.arrays = {name: dataset.rows(name, start, stop) for name in names}

    def row(self, name: str, index: int) -> NDArray:
        """Array `name` of configuration `index` (counted in the dataset)."""
        at = index - self.start
        offsets = {"atom": self.offsets, "grid": self.grid_offsets}.get(ARRAYS[name].per)
        first, last = (at, at + 1) if offsets is None else (offsets[at], offsets[at + 1])
        return self.arrays[name][first:last]

    def grid_shape(self, index: int) -> NDArray[np.integer]:
        """Points of the grids of configuration `index` along each lattice vector; zeros without grids."""
        return self.shapes[index - self.start]

    def gather(self, name: str, indices: Sequence[int]) -> NDArray:
        """Array `name` of many configurations, concatenated."""
        return np.concatenate([self.row(name, index) for index in indices])


def _graph(columns: Columns, indices: Sequence[int], recipe: GraphRecipe) -> Graph:
    structure = {name: [columns.row(name, index) for index in indices] for name in STRUCTURE}
    graph = build_graph(
        structure["positions"],
        [cell[0] for cell in structure["cell"]],
        structure["numbers"],
        [pbc[0] for pbc in structure["pbc"]],
        cutoff=recipe.cutoff,
        centres=recipe.centres,
        pairs_of=recipe.pairs_of,
        dtype=recipe.dtype,
    )
    if recipe.given is None or recipe.given not in columns.arrays:
        return graph
    return replace(graph, states=torch.from_numpy(columns.gather(recipe.given, indices)).to(recipe.dtype))


def _batch(
    graph: Graph,
    columns: Columns,
    indices: Sequence[int],
    labels: Sequence[str],
    recipe: GraphRecipe,
    random: np.random.Generator,
) -> Batch:
    """A graph with its labels, and with points where some of them lie on grids."""
    grids = [name for name in labels if ARRAYS[name].per == "grid"]
    rows = {name: columns.gather(name, indices) for name in labels if name not in grids}
    volumes = None
    if grids:
        drawn = [recipe.points.draw(columns, index, random) for index in indices]
        for name in grids:
            parts = [columns.row(name, index)[points] for index, (points, _) in zip(indices, drawn, strict=True)]
            rows[name] = np.concatenate(parts)
        cells = [columns.row("cell", index)[0] for index in indices]
        places = [
            positions(points, columns.grid_shape(index), cell)
            for index, cell, (points, _) in zip(indices, cells, drawn, strict=True)
        ]
        shares = [share * abs(np.linalg.det(cell)) for cell, (_, share) in zip(cells, drawn, strict=True)]
        volumes = torch.from_numpy(np.concatenate(shares)).to(recipe.dtype)
        owner = torch.repeat_interleave(torch.tensor([len(points) for points, _ in drawn]))
        there = torch.from_numpy(np.concatenate(places)).to(recipe.dtype)
        graph = replace(graph, points=there, point_configuration=owner)
    return Batch(graph, {name: torch.from_numpy(values).to(recipe.dtype) for name, values in rows.items()}, volumes)


class InMemory(MapDataset[Batch]):
    """Configurations held in memory; a neighbour list is made when first asked for and kept.

    Points of grids are drawn by `seed`, which may be set anew for an epoch, and by the configurations asked for.
    """

    def __init__(self, columns: Columns, indices: NDArray[np.integer], labels: Sequence[str], recipe: GraphRecipe):
        self.columns, self.indices, self.labels, self.recipe = columns, indices, labels, recipe
        self.graphs: dict[int, Graph] = {}
        self.seed = 0

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
        random = np.random.default_rng([self.seed, *chosen])
        batch = _batch(graph, self.columns, chosen, self.labels, self.recipe, random)
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
            columns = Columns(self.dataset, start, stop, columns_of(self.labels, self.recipe))
            if random is not None:
                members = random.permutation(members)
            for first in range(0, len(members), self.batch_size):
                batch = members[first : first + self.batch_size].tolist()
                own = self.share(batch)
                chosen = own or batch[:1]
                of_points = np.random.default_rng([self.seed or 0, *chosen])
                graph = _graph(columns, chosen, self.recipe)
                served = _batch(graph, columns, chosen, self.labels, self.recipe, of_points)
                yield served if own else served.unlabelled()


def columns_of(labels: Sequence[str], recipe: GraphRecipe) -> list[str]:
    """Arrays of a dataset that batches are made of."""
    return list(
        dict.fromkeys([*STRUCTURE, *labels, *([recipe.given] if recipe.given else []), *recipe.points.importance])
    )

"""What every model is: what it knows, what it predicts for, what it gives, and how it is fitted."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ionecho.data.loader import Batch
from ionecho.data.outputs import POTENTIAL, Output
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.models.species import Species, Statistics


class Model(nn.Module):
    """Maps a graph to what `outputs` say, by name, in the labels' units.

    Parameters
    ----------
    numbers, centres
        Atomic numbers it knows, and predicts for.
    cutoff
        Neighbour cut-off, Å.
    """

    pairs_of: Literal["atoms", "centres"]
    outputs: tuple[Output, ...]
    needed: tuple[str, ...]
    """Names of the outputs that have to be learned."""
    last: tuple[str, ...] = ()
    """Beginnings of the names of the weights that make up the last layers."""
    centres_are: Literal["all", "labelled", "chosen"] = "labelled"
    """What it predicts for where no setting says: all elements, those that have its label, or it has to be said."""
    given: str | None = None
    """Label by atom that its states are told by, where they are."""
    finds_states: bool = True
    """Whether it finds states that it is not told; else all are the mean of those it learned from."""
    sums_images: bool = False
    """Whether atoms matter beyond every cut-off, as in lattice sums."""

    def __init__(self, numbers: Sequence[int], centres: Sequence[int], cutoff: float) -> None:
        super().__init__()
        if unknown := sorted(set(centres) - set(numbers)):
            raise InputError(f"model.centres: {unknown} are not among model.numbers {list(numbers)}; add them there")
        self.numbers, self.centres, self.cutoff = tuple(numbers), tuple(centres), cutoff
        self.species, self.centre_species = Species(numbers), Species(centres)

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """The outputs by name and, where the model can say what it sees of its centres, their `FEATURES` (K, F).

        Features are invariant; how far they are from those of the training part tells where the model is not at home.
        """
        raise NotImplementedError

    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Set the scaling from `statistics[label][atomic number]`, and what has a closed form from the training part.

        `batches` can be run through more than once.
        """
        raise NotImplementedError

    def rescale(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """As `fit`, of a model that has the weights of another: set the scaling of the labels alone."""
        self.fit(statistics, batches)

    def entries(self, like: Mapping[int, int]) -> dict[str, dict[int, list[Hashable]]]:
        """What the entries of weights stand for that go by elements: name of the weight -> axis -> one key an entry.

        They are taken over by key where a model begins with the weights of another; those not named here, whole. An
        element in `like` goes by another's number.
        """
        return {}


class AtomicModel(Model):
    """Labels of atoms, learned in units of their standard deviation over the atoms of an element, about its mean.

    A vector or a traceless tensor has no mean, and that of a tensor is isotropic: rotation commutes with the scaling.
    """

    mean: Tensor  # (labels, elements) in the labels' units
    std: Tensor  # (labels, elements)

    def __init__(self, numbers: Sequence[int], centres: Sequence[int], cutoff: float) -> None:
        super().__init__(numbers, centres, cutoff)
        self.labels = list(dict.fromkeys(output.label for output in self.outputs))
        self.register_buffer("mean", torch.zeros(len(self.labels), len(self.numbers)))
        self.register_buffer("std", torch.ones(len(self.labels), len(self.numbers)))

    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Take the mean and the standard deviation of every label, element by element, from the training part."""
        for row, label in enumerate(self.labels):
            for number, known in statistics.get(label, {}).items():
                element = self.numbers.index(number)
                self.mean[row, element], self.std[row, element] = known.mean, known.std or 1.0

    def scaling(self, label: str, species: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (n,) and standard deviation (n,) of a label at atoms of these elements (n,)."""
        row = self.labels.index(label)
        return self.mean[row, species], self.std[row, species]


class PotentialModel(Model):
    """An interatomic potential: energy, forces and stress, of all elements that it knows."""

    pairs_of = "atoms"
    centres_are = "all"
    outputs = POTENTIAL
    needed: tuple[str, ...] = ("energy",)

    def __init__(self, numbers: Sequence[int], centres: Sequence[int], cutoff: float) -> None:
        super().__init__(numbers, centres, cutoff)
        if set(numbers) != set(centres):
            raise InputError(
                f"a potential predicts for every element: expected centres {list(numbers)}, found {list(centres)}"
            )

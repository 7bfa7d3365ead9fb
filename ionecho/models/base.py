"""What every model is: what it knows, what it predicts for, what it gives, and how it is fitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

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

    def __init__(self, numbers: Sequence[int], centres: Sequence[int], cutoff: float) -> None:
        super().__init__()
        if unknown := sorted(set(centres) - set(numbers)):
            raise InputError(f"model.centres: {unknown} are not among model.numbers {list(numbers)}; add them there")
        self.numbers, self.centres, self.cutoff = tuple(numbers), tuple(centres), cutoff
        self.species, self.centre_species = Species(numbers), Species(centres)

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """The outputs by name."""
        raise NotImplementedError

    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Set the scaling from `statistics[label][atomic number]`, and what has a closed form from the training part.

        `batches` can be run through more than once.
        """
        raise NotImplementedError


class PotentialModel(Model):
    """An interatomic potential: energy, forces and stress, of all elements that it knows."""

    pairs_of = "atoms"
    outputs = POTENTIAL
    needed: tuple[str, ...] = ("energy",)

    def __init__(self, numbers: Sequence[int], centres: Sequence[int], cutoff: float) -> None:
        super().__init__(numbers, centres, cutoff)
        if set(numbers) != set(centres):
            raise InputError(
                f"a potential predicts for every element: expected centres {list(numbers)}, found {list(centres)}"
            )

"""What a model gives, as data: from a label's kind and place follow target, scale, size of an error, and columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ionecho.data.loader import Batch
from ionecho.data.schema import ARRAYS, Array, Kind
from ionecho.errors import InputError

Place = Literal["configurations", "centres", "atoms", "points"]
PER = {"configurations": "configuration", "centres": "atom", "atoms": "atom", "points": "grid"}
AUXILIARY = "auxiliary_"
SPREAD = "_std"
MEMBERS = "_members"
DRIVING = {"energy", "forces"}


@dataclass(frozen=True)
class Output:
    """A label of the schema that a model gives, and where.

    Parameters
    ----------
    label
        Name in the schema, whose unit the output has.
    at
        Rows of the output: `configurations` (C, ...), `centres` (K, ...), `atoms` (A, ...) or grid `points` (P, ...).
    auxiliary
        Whether it only helps to train: it is neither reported nor predicted.

    Raises
    ------
    InputError
        If the schema has no such label, or has it elsewhere.
    """

    label: str
    at: Place
    auxiliary: bool = False

    def __post_init__(self) -> None:
        if self.label not in ARRAYS or not ARRAYS[self.label].is_label:
            raise InputError(f"output: {self.label!r} is no label of the schema")
        if ARRAYS[self.label].per != PER[self.at]:
            raise InputError(f"output: {self.label} is a label per {ARRAYS[self.label].per}, not at {self.at}")

    @property
    def name(self) -> str:
        """Key of the output in what the model returns, in losses and in calibrations."""
        return (AUXILIARY if self.auxiliary else "") + self.label

    @property
    def array(self) -> Array:
        """The label's entry in the schema."""
        return ARRAYS[self.label]

    @property
    def kind(self) -> Kind:
        """How it turns with the structure."""
        kind = self.array.kind
        assert kind is not None
        return kind

    @property
    def components(self) -> int:
        """Independent components of a row: 1, 3, 5 or 6."""
        return {"scalar": 1, "vector": 3, "traceless": 5, "tensor": 6}[self.kind]

    @property
    def is_tensor(self) -> bool:
        """Whether its rows are symmetric tensors."""
        return self.kind in ("traceless", "tensor")

    @property
    def per_atom(self) -> bool:
        """Whether every row belongs to an atom."""
        return self.array.per == "atom"

    def target(self, batch: Batch) -> Tensor:
        """The labels of a batch in the rows of the output; of tensors the symmetric part, which spectra show."""
        values = batch.labels[self.label]
        values = (values + values.mT) / 2 if self.is_tensor else values
        return values[batch.graph.centres] if self.at == "centres" else values

    def present(self, values: Tensor) -> Tensor:
        """Rows (n,) of values (n, ...) that have all of their components: one that lacks some is missing."""
        return values.isfinite().flatten(1).all(1) if values.ndim > 1 else values.isfinite()

    def size(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Invariant size (n,) of rows (n, ...): the magnitude of a number, the length of a vector or tensor."""
        return np.sqrt(np.square(values).reshape(len(values), -1).sum(1))

    def spread(self, members: Tensor) -> Tensor:
        """Standard deviation (n,) of members (M, n, ...), M - 1 in the denominator; of tensors over all components."""
        return members.var(0).flatten(1).sum(1).sqrt() if members.ndim > 2 else members.std(0)

    def owner(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Configuration (n,) in the batch of every row, and its atomic number (n,) where rows belong to atoms."""
        graph = batch.graph
        if not self.per_atom:
            return torch.arange(len(graph.cell)), None
        atoms = graph.centres if self.at == "centres" else torch.arange(len(graph.numbers))
        return graph.configuration[atoms], graph.numbers[atoms]


def named(outputs: Iterable[Output]) -> dict[str, Output]:
    """Outputs by name."""
    return {output.name: output for output in outputs}


def drives_ions(outputs: Iterable[Output]) -> bool:
    """Whether these are the outputs of an interatomic potential."""
    return {output.name for output in outputs} >= DRIVING


def units(outputs: Iterable[Output]) -> dict[str, str]:
    """Units of the outputs, their spreads and their members."""
    return {output.name + suffix: output.array.unit for output in outputs for suffix in ("", SPREAD, MEMBERS)}


POTENTIAL = (Output("energy", "configurations"), Output("forces", "atoms"), Output("stress", "configurations"))
"""The outputs of an interatomic potential."""

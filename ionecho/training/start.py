"""Fine-tuning: a training that begins with the weights of another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor, nn

from ionecho.errors import InputError
from ionecho.models.base import Model

ELEMENTS = ("numbers", "centres")


@dataclass(frozen=True)
class Start:
    """A trained model to begin with: its members, what they were made with, and by what it is known.

    Parameters
    ----------
    identity
        Name and hash of the checkpoint, name and version of its dataset.
    name, hyperparameters
        Of the model in the registry, and of each member.
    like
        Elements that the start does not know, and which each begins as, by symbol.
    """

    identity: Mapping[str, Any]
    name: str
    hyperparameters: Sequence[Mapping[str, Any]]
    members: Sequence[nn.Module]
    like: Mapping[str, str]

    @property
    def title(self) -> str:
        """As errors call it."""
        return f"start={self.identity['checkpoint']}"

    def check(self, name: str, hyperparameters: Mapping[str, Any], number: int, epochs: int) -> None:
        """Refuse a member whose weights could not be those of the start.

        Raises
        ------
        InputError
            If nothing is trained by descent, the model or its hyperparameters differ, or no centre is known.
        """
        if not epochs:
            raise InputError(f"{self.title}: without epochs nothing of its weights is left; leave start out")
        if name != self.name:
            raise InputError(f"{self.title} is a {self.name}, not a {name}; add model={self.name}")
        own = self.hyperparameters[number % len(self.members)]
        other = [
            f"model.{key}={own.get(key)}"
            for key in sorted({*own, *hyperparameters} - {*ELEMENTS})
            if own.get(key) != hyperparameters.get(key)
        ]
        if other:
            raise InputError(f"{self.title} has other hyperparameters; say {' '.join(other)}".replace(", ", ","))
        if not set(own["centres"]) & set(hyperparameters["centres"]):
            known, asked = (_symbols(of["centres"]) for of in (own, hyperparameters))
            raise InputError(f"{self.title} was trained for {known}, and knows nothing of {asked}; leave start out")
        self._check_elements(hyperparameters["numbers"])

    def _check_elements(self, numbers: Sequence[int]) -> None:
        known = {chemical_symbols[number] for member in self.hyperparameters for number in member["numbers"]}
        unknown = [chemical_symbols[number] for number in numbers if chemical_symbols[number] not in known]
        if missing := [symbol for symbol in unknown if symbol not in self.like]:
            example = ", ".join(f"{symbol}: .." for symbol in missing)
            told = f"which of {', '.join(sorted(known))} behaves most alike: start_as={{{example}}}"
            raise InputError(f"{self.title} does not know {', '.join(missing)}; say {told}")
        if wrong := [f"{one}: {other}" for one, other in self.like.items() if one not in unknown or other not in known]:
            told = f"elements of the model that {self.title} does not know, as one of {', '.join(sorted(known))}"
            raise InputError(f"start_as={{{', '.join(wrong)}}}: expected {told}")

    @torch.no_grad()
    def give(self, model: Model, number: int) -> None:
        """Give member `number` its weights: members of the start in turn, matched by element.

        Raises
        ------
        InputError
            If the weights of the model do not go by elements, and the start has others.
        """
        source = self.members[number % len(self.members)]
        like = {atomic_numbers[one]: atomic_numbers[other] for one, other in self.like.items()}
        given, entries = source.state_dict(), model.entries(like)
        of_source = source.entries({})  # type: ignore[operator]
        learned = dict(model.named_parameters())
        for name, own in model.state_dict().items():
            if name in entries:
                _fill(own, given[name], entries[name], of_source[name])
            elif name in given and given[name].shape == own.shape:
                own.copy_(given[name])
            elif name in learned:
                raise InputError(
                    f"{self.title} was trained on {_symbols(source.numbers)}: the weights of {self.name} do not go by "  # type: ignore[arg-type]
                    f"elements, so it cannot go on with {_symbols(model.numbers)}; leave start out"
                )


Axes = Mapping[int, Sequence[Hashable]]


def _fill(own: Tensor, given: Tensor, axes: Axes, of_given: Axes) -> None:
    """Copy the entries that stand for the same along each axis; the others stay as they are."""
    here, there = [torch.arange(size) for size in own.shape], [torch.arange(size) for size in given.shape]
    for axis, entries in axes.items():
        place = {entry: index for index, entry in enumerate(of_given[axis])}
        shared = [(index, place[entry]) for index, entry in enumerate(entries) if entry in place]
        here[axis], there[axis] = torch.tensor(shared, dtype=torch.long).view(-1, 2).T
    own[torch.meshgrid(*here, indexing="ij")] = given[torch.meshgrid(*there, indexing="ij")].to(own)


def train_last(model: Model) -> None:
    """Keep all parameters as they are but those of the last layers."""
    if not model.last:
        raise InputError("trainer.trains=last: the model does not say which layers are its last; use all")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(model.last))


def _symbols(numbers: Sequence[int]) -> str:
    return ", ".join(chemical_symbols[number] for number in numbers)

"""What `ionecho label` is told, as `conf/label.yaml` writes it out."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from ionecho.data.quality import QualityGate
from ionecho.data.schema import Configuration
from ionecho.data.splits import SplitRecipe
from ionecho.errors import InputError
from ionecho.labelling.structures import displaced_copies, read_structures
from ionecho.structures.displace import Rattle


@dataclass(frozen=True)
class CardSettings:
    """Of the card of the dataset that is made."""

    version: str
    pretty_name: str | None  # none: its name
    licence: str
    citation: str
    quality_gate: QualityGate
    splits: dict[str, SplitRecipe]


@dataclass(frozen=True)
class LabelSettings:
    """What is to be labelled, by which engine, and on which workers."""

    input: list[str]  # structure files, trajectories or datasets
    every: PositiveInt  # so many-th frame
    rattle: Rattle  # displaced copies of every structure in its place, if any
    retry: bool  # label failed configurations again
    published: bool  # begin with the labels of published versions of the same level of theory
    engine: dict[str, Any]  # as `make_engine` takes them
    workers: dict[str, Any]  # as `executor` takes them
    card: CardSettings

    def configurations(self) -> list[Configuration]:
        """Of the input, or displaced copies of them.

        Raises
        ------
        InputError
            If there are none.
        """
        found = list(read_structures(self.input, self.every))
        if self.rattle.copies:
            found = list(displaced_copies(found, self.rattle))
        if not found:
            raise InputError(f"input: {', '.join(self.input)} holds no configuration")
        return found

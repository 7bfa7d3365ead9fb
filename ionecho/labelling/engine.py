"""What an engine is: something that labels one configuration, and says at which level of theory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ionecho.data.schema import GOOD, Quality
from ionecho.errors import InputError
from ionecho.labelling.objects import make

ENGINES = {
    "ase": "ionecho.labelling.ase_engine.ASEEngine",
    "files": "ionecho.labelling.files_engine.FilesEngine",
    "gpaw": "ionecho.labelling.gpaw_engine.GPAWEngine",
    "potential": "ionecho.dynamics.potential_engine.PotentialEngine",
}


class EngineError(Exception):
    """An engine did not label a configuration; the text is its reason."""


@dataclass(frozen=True)
class Labels:
    """What an engine found for one configuration: labels in the schema's units, and what is worth keeping with them."""

    values: dict[str, NDArray[np.floating]]
    quality: Quality = GOOD
    provenance: dict[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """An engine is a module with one class, an entry in `ENGINES`, and a file in `conf/engine/` that names it.

    Attributes
    ----------
    labels
        Labels of the schema that every configuration gets.
    conventions
        Signs and normalisations of the labels, as they stand in the dataset's card.
    """

    labels: tuple[str, ...]
    conventions: Mapping[str, Any]

    def level_of_theory(self) -> dict[str, Any]:
        """Engine, version and every setting that the labels depend on."""

    def check(self, symbols: set[str]) -> dict[str, str]:
        """Asked before anything is labelled: element -> checksum of the PAW dataset read for it, of engines that do.

        Raises
        ------
        InputError
            If the engine, as it is set, cannot label these elements.
        """

    def label(self, atoms: ase.Atoms) -> Labels:
        """Label one configuration.

        Raises
        ------
        EngineError
            If the engine fails or does not converge.
        """


def refuse_other_than_elements(**settings: Any) -> None:
    """Raise InputError for a key that is no symbol of an element: an engine would take no notice of `mn`."""
    for setting, given in settings.items():
        names = given if isinstance(given, Mapping) else ()
        if unknown := [str(name) for name in names if name not in chemical_symbols]:
            raise InputError(f"engine.{setting}: expected symbols such as Mn, found {', '.join(unknown)}")


def make_engine(settings: Mapping[str, Any]) -> Engine:
    """The engine of settings as in `conf/engine/*.yaml`, one of `ENGINES`; one that is not installed is refused.

    Raises
    ------
    InputError
        That says what is wrong with the settings, or how to install the engine.
    """
    if isinstance(labels := settings.get("labels", []), str):
        raise InputError(f"engine.labels: expected a list such as [energy,forces], found {labels}")
    engine: Engine = make(settings, ENGINES.values(), "engine")
    return engine

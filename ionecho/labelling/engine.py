"""What an engine is: something that labels one configuration, and says at which level of theory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, get_type_hints

import ase
import numpy as np
from ase.data import chemical_symbols
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, ValidationError, create_model

from ionecho.config import plain
from ionecho.data.schema import GOOD, Quality
from ionecho.errors import InputError, explain

INSTALLED_HERE = ("gpaw", "tblite", "distributed", "dask_jobqueue")
INSTALL = "`make labelling` installs the engines and what they need of the system (docs/labelling.md)"


class EngineError(Exception):
    """An engine did not label a configuration; the text is its reason."""


@dataclass(frozen=True)
class Labels:
    """What an engine found for one configuration: labels in the schema's units, and what is worth keeping with them."""

    values: dict[str, NDArray[np.floating]]
    quality: Quality = GOOD
    provenance: dict[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """An engine is a module with one class, and a file in `conf/engine/` that makes it.

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


def make_engine(config: DictConfig) -> Engine:
    """The engine of a config (`conf/engine/*.yaml`); one that is not installed is refused with the cure."""
    if isinstance(labels := config.get("labels", []), str):
        raise InputError(f"engine.labels: expected a list such as [energy,forces], found {labels}")
    return make(config, "engine")


def make(config: DictConfig, what: str) -> Any:
    """The object of a config with a `_target_` of ours: potentials as engines lie in `dynamics`, all others here."""
    target = str(config.get("_target_", ""))
    if not target.startswith(("ionecho.labelling.", "ionecho.dynamics.")):
        raise InputError(f"{what}: _target_ should lie in ionecho.labelling or ionecho.dynamics, found {target!r}")
    _check_types(config, target, what)
    try:
        return instantiate(config, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from error
        missing = _missing_module(error)
        if missing is None:
            raise
        name, package = target.rpartition(".")[2], missing.partition(".")[0]
        if find_spec(package):
            raise InputError(f"{what} {name}: there is no {missing}") from error
        cure = INSTALL if package in INSTALLED_HERE else f"install it into {sys.prefix}"
        raise InputError(f"{what} {name} needs {package}, not installed: {cure}") from error


def _check_types(config: DictConfig, target: str, what: str) -> None:
    """Raise InputError for values of another type than the signature of the target names.

    They are not converted: levels of theory are known by a hash of what was given.
    """
    module, _, name = target.rpartition(".")
    try:
        made = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return  # `instantiate` tells
    is_class = isinstance(made, type)
    types = get_type_hints(made.__init__ if is_class else made, include_extras=True)
    said = {key: value for key, value in plain(config).items() if not OmegaConf.is_missing(config, key)}
    objects = {key for key, value in said.items() if isinstance(value, Mapping) and "_target_" in value}
    given = {key: value for key, value in said.items() if key in types and key not in objects}
    fields: dict[str, Any] = {key: (types[key], ...) for key in given}
    whole: dict[str, Any] = {what: (create_model(name, __config__=ConfigDict(strict=True), **fields), ...)}
    try:
        create_model(name, **whole).model_validate({what: given})
    except ValidationError as error:
        raise InputError(explain(error)) from error


def _missing_module(error: BaseException | None) -> str | None:
    """Name of the module whose import failed, somewhere behind an error."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            return error.name
        error = error.__cause__ or error.__context__
    return None

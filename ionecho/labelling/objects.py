"""Objects that settings name by `_target_`, as the files in `conf/` write them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from ionecho.errors import InputError, explain

TARGET, PARTIAL, ARGUMENTS = "_target_", "_partial_", "_args_"
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
INSTALLED_HERE = ("gpaw", "tblite", "distributed", "dask_jobqueue")
INSTALL = "`make labelling` installs the engines and what they need of the system (docs/labelling.md)"
# Modules that neither start a program nor write a file: a card from elsewhere may name what is in them.
HARMLESS = ("ase.calculators.emt", "ase.calculators.lj", "ase.calculators.morse", "ase.cell", "tblite.ase")


def make(settings: Mapping[str, Any], registered: Collection[str], what: str) -> Any:
    """What the settings name, one of `registered`, made of the other keys; objects among these may be any.

    Parameters
    ----------
    settings
        `{_target_: package.module.Name, ...}`. With `_partial_: true` a nested object is what makes it later.
    registered
        Dotted names.
    what
        Stands before every error: `engine`.

    Raises
    ------
    InputError
        If the name is not registered, a module is not installed, a value has another type than the signature names,
        or the object refuses what it is given.
    """
    name = str(settings.get(TARGET, ""))
    if name not in registered:
        raise InputError(f"{what}: {TARGET} should be one of {', '.join(sorted(registered))}, found {name!r}")
    label = f"{what} {name.rpartition('.')[2]}"
    call = _found(name, label)
    _check(call, settings, what)
    return _called(call, _arguments(settings, label), label)


def refuse_foreign(settings: Any, registered: Collection[str], said: str, source: str) -> None:
    """Refuse objects that a card from elsewhere names, unless they are registered, harmless, or `said` on the line.

    Raises
    ------
    InputError
        That names the object, and its `source`.
    """
    for name in _named(settings):
        if name not in registered and name.rpartition(".")[0] not in HARMLESS and name not in said:
            raise InputError(
                f"{source} names {name}, which was not run here before and may do anything; "
                "if you trust it, say its _target_ on the line too"
            )


def _named(settings: Any) -> Iterator[str]:
    """Every `_target_` in nested settings."""
    if isinstance(settings, Mapping):
        if TARGET in settings:
            yield str(settings[TARGET])
        settings = list(settings.values())
    if isinstance(settings, list):
        for value in settings:
            yield from _named(value)


def _nested(value: Any, label: str) -> Any:
    """A value with the objects in it made."""
    if isinstance(value, list):
        return [_nested(part, label) for part in value]
    if not isinstance(value, Mapping):
        return value
    arguments = _arguments(value, label)
    if TARGET not in value:
        return arguments
    call = _found(str(value[TARGET]), label)
    return (
        partial(call, *arguments.pop(ARGUMENTS, []), **arguments)
        if value.get(PARTIAL)
        else _called(call, arguments, label)
    )


def _arguments(settings: Mapping[str, Any], label: str) -> dict[str, Any]:
    if TARGET not in settings:
        return {key: _nested(value, label) for key, value in settings.items()}
    return {key: _nested(value, label) for key, value in settings.items() if key not in (TARGET, PARTIAL)}


def _called(call: Callable[..., Any], arguments: dict[str, Any], label: str) -> Any:
    try:
        return call(*arguments.pop(ARGUMENTS, []), **arguments)
    except (InputError, ValidationError, OSError):
        raise
    except ModuleNotFoundError as error:
        raise InputError(_missing(error, label)) from error
    except Exception as error:  # of any calculator or cluster
        raise InputError(f"{label}: {getattr(call, '__name__', call)} refuses its settings: {error}") from error


def _found(name: str, label: str) -> Callable[..., Any]:
    """The class or function of a dotted name."""
    module, _, attribute = name.rpartition(".")
    if not module:
        raise InputError(f"{label}: expected {TARGET}: package.module.Name, found {name!r}")
    try:
        found: Callable[..., Any] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise InputError(_missing(error, label)) from error
    except AttributeError as error:
        raise InputError(f"{label}: there is no {name}") from error
    except ImportError as error:
        raise InputError(f"{label}: {module} does not load: {error}") from error
    return found


def _missing(error: ModuleNotFoundError, label: str) -> str:
    package = str(error.name).partition(".")[0]
    if find_spec(package):
        return f"{label}: there is no {error.name}"
    cure = INSTALL if package in INSTALLED_HERE else f"install it into {sys.prefix}"
    return f"{label} needs {package}, not installed: {cure}"


def _check(call: Callable[..., Any], settings: Mapping[str, Any], what: str) -> None:
    """Raise InputError for values of another type than the signature names, and for those that are not said.

    They are not converted: levels of theory are known by a hash of what was given.
    """
    signature: Callable[..., Any] = call.__init__ if isinstance(call, type) else call  # type: ignore[misc]
    types = get_type_hints(signature, include_extras=True)
    objects = {key for key, value in settings.items() if isinstance(value, Mapping) and TARGET in value}
    fields: dict[str, Any] = {}
    for key, parameter in inspect.signature(call).parameters.items():
        if key in settings and key in types and key not in objects:
            fields[key] = (types[key], ...)
        elif key not in settings and parameter.default is parameter.empty and parameter.kind not in VARIADIC:
            raise InputError(f"{what}.{key}: expected a value, say {what}.{key}=...")
    given = {key: settings[key] for key in fields}
    name = getattr(call, "__name__", what)
    whole: dict[str, Any] = {what: (create_model(name, __config__=ConfigDict(strict=True), **fields), ...)}
    try:
        create_model(name, **whole).model_validate({what: given})
    except ValidationError as error:
        raise InputError(explain(error)) from error

"""Lines as people type them: files are opened whatever they are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ionecho.errors import InputError

HOME = "~/"
PATHS = (
    "input",
    "output",
    "structure",
    "structures",
    "reference",
    "initial",
    "final",
    "checkpoint",
    "start",
    "topology",
)


def readable(overrides: Sequence[str]) -> list[str]:
    """The same, with names of files in quotes where Hydra's grammar needs them.

    Raises
    ------
    InputError
        If a value is no file and cannot be read without quotes; it shows the line that can.
    """
    return [override if override.startswith("-") else _readable(override) for override in overrides]


def _readable(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or value[:1] in ("'", '"'):
        return override
    listed = value.startswith("[") and value.endswith("]") and not Path(value).exists()
    typed = [name.strip() for name in value[1:-1].split(",")] if listed else [value]
    names = [_at_home(name) for name in typed]
    in_quotes = f"{key}=[{','.join(map(_quoted, names))}]" if listed else f"{key}={_quoted(names[0])}"
    if names != typed:
        return in_quotes
    of_a_file = key.rpartition(".")[2].lstrip("+") in PATHS
    try:
        read = OverridesParser.create().parse_override(override)
        text = not read.is_sweep_override() and isinstance(read.value(), str)
        means_itself = listed or (read.value() == value and "${" not in value if text else not of_a_file)
    except HydraException as error:
        if of_a_file or all(_there(name) for name in names):
            return in_quotes
        raise InputError(f"{key}: {value!r} cannot be read as it stands; put it into quotes: '{in_quotes}'") from error
    return override if means_itself or not _there(value) else in_quotes


def _at_home(name: str) -> str:
    """`~/` is the user's folder also behind the = of a line, where no shell says so."""
    return name if not name.startswith(HOME) or _there(name) else str(Path(name).expanduser())


def _there(name: str) -> bool:
    try:
        return bool(name) and Path(name).exists()
    except OSError:
        return False


def _quoted(name: str) -> str:
    if name[:1] in ("'", '"'):
        return name
    escaped = name.replace("\\", "\\\\") if name.endswith("\\") else name
    escaped = escaped.replace("${", "\\${")
    return '"' + escaped.replace('"', '\\"') + '"'

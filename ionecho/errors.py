"""The one exception a user is meant to read."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError


class InputError(ValueError):
    """Input that cannot be served: says what and where, what was expected, what was found, and how to mend it.

    The entry points print it as one line and leave with exit code 2.
    """


def explain(error: ValidationError, within: str = "") -> str:
    """Every setting that is wrong by its whole key, of which `within` is the beginning; what was expected and found."""
    return "; ".join(_told(each, within) for each in error.errors())


def _told(each: Any, within: str) -> str:
    key = ".".join(map(str, filter(None, (within, *each["loc"]))))
    if each["type"] == "value_error":
        text = str(each["ctx"]["error"])
        return text if not within else f"{key}: {text}"
    if each["type"] == "missing":
        return f"{key}: expected a value, found none"
    if each["type"] == "extra_forbidden":
        return f"{key}: no such setting"
    return f"{key}: {each['msg']}, found {each['input']!r}"


class IonEchoWarning(UserWarning):
    """Something a user should know but that does not stop the work (a missing gyromagnetic ratio, a dropped label)."""

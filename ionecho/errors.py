"""The one exception a user is meant to read."""

from __future__ import annotations

from pydantic import ValidationError


class InputError(ValueError):
    """Input that cannot be served: says what and where, what was expected, what was found, and how to mend it.

    The entry points print it as one line and leave with exit code 2.
    """


def explain(error: ValidationError) -> str:
    """Every setting that is wrong, with what was expected and found."""
    return "; ".join(
        str(each["ctx"]["error"])
        if each["type"] == "value_error"
        else f"{'.'.join(map(str, each['loc']))}: expected a value, found none"
        if each["type"] == "missing"
        else f"{'.'.join(map(str, each['loc']))}: {each['msg']}, found {each['input']!r}"
        for each in error.errors()
    )


class IonEchoWarning(UserWarning):
    """Something a user should know but that does not stop the work (a missing gyromagnetic ratio, a dropped label)."""

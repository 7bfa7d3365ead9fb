"""The one exception a user is meant to read."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be served: says what and where, what was expected, what was found, and how to mend it.

    The entry points print it as one line and leave with exit code 2.
    """


class IonEchoWarning(UserWarning):
    """Something a user should know but that does not stop the work (a missing gyromagnetic ratio, a dropped label)."""

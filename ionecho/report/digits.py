"""Numbers as text: as many digits as their error allows."""

from __future__ import annotations

import math

DIGITS = 4  # of a number without an error
ROUNDING = 1e-12  # of a number: a smaller error is that of the arithmetic
PLAIN = range(-3, 6)  # powers of ten written out
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def rounded(value: float, error: float | None = None, digits: int = DIGITS) -> str:
    """`value ± error` without a unit, the value cut where its error begins; so many `digits` where there is none.

    An error has two digits; one of rounding alone is left out. Very large and very small numbers get a power of ten.
    """
    error = error if error is not None and math.isfinite(error) and error > ROUNDING * abs(value) else None
    if isinstance(value, int) and error is None:
        return str(value)
    if not math.isfinite(value):
        return "–"
    size = math.floor(math.log10(max(abs(value), error or 0.0) or 1.0))
    place = size - digits + 1 if error is None else math.floor(math.log10(error)) - 1  # of the last digit
    power = 0 if size in PLAIN else size
    text = _cut(value, place, power)
    text = _trimmed(text) if error is None else f"{text} ± {_cut(error, place, power)}"
    if power:
        text = f"{text if error is None else f'({text})'} × 10{str(power).translate(SUPERSCRIPT)}"
    return text


def _cut(number: float, place: int, power: int) -> str:
    return f"{round(number, -place) / 10.0**power:.{max(0, power - place)}f}"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text

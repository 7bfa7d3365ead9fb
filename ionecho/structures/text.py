"""Text files as people have them: compressed or not, whatever they are called, with a stray byte in a comment."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase.data import atomic_numbers
from ase.io.extxyz import key_val_str_to_dict
from numpy.typing import NDArray

from ionecho.errors import InputError

MAGIC: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
GLUED = re.compile(r"(?<=[0-9.])(?=[-+][0-9]*\.)")  # 0.5-0.5, but not 1.0E-05 or 1.0-105
NINE = re.compile(r"""(?i)\b(stress|virial)s?\s*=\s*["'{]([^"'}]*)["'}]""")
SKEW = 1e-3  # of the largest component, how far a printed stress may be from symmetric
SIX = re.compile(r"""\b(stress|virial)\s*=\s*(["'{\[])([^"'}\]]*)["'}\]]""")
# as codes write it in plain XYZ
CLOCK = re.compile(r"(?i)(?:^\s*(step)|\b(timestep):)\s*[:=#]?\s*(\d+)(?=[\s,;]|$)(?!\s*fs)")
LAST = re.compile(r"(?:^|\s)[-+]?\d+(?:\.(\d*))?\s*$")
UNREAD = {b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z", b"\x1f\x9d": "compress (.Z)"}
HEAD = 4096  # characters by which a format is known
MOST_COLUMNS = 10_000  # of an atom's row in extended XYZ
SHORTEST_ROW = 6  # bytes of an atom, "0 0 0" and the end of its line
PACKED = 1_000  # times smaller than its text a compressed file may be
DECIMALS = 5  # of a number written to a fixed width


def open_text(path: Path) -> IO[str]:
    """A text file, decompressed by what its first bytes say; bytes that are no UTF-8 become question marks.

    Its end can be read some thousand times (`Bounded`).
    """
    with path.open("rb") as file:
        start = file.read(6)
    if packed := next((name for magic, name in UNREAD.items() if start.startswith(magic)), None):
        raise InputError(f"{path}: compressed by {packed}, which is not read; unpack it, or take gz, bz2 or xz")
    opener = next((opener for magic, opener in MAGIC.items() if start.startswith(magic)), None)
    raw = path.open("rb") if opener is None else opener(path, "rb")
    return Bounded(raw, encoding="utf-8", errors="replace")  # type: ignore[arg-type]


class Bounded(io.TextIOWrapper):
    """Text whose end is given some times, not for ever: a reader may ask for more lines than there are."""

    left = 10_000
    before = ""  # the line before

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        """The next line.

        Raises
        ------
        EOFError
            If the end was given too often, or cuts a number.
        """
        line = super().readline(size)
        if line[-1:].isdigit() and _decimals(line) < _decimals(self.before) >= DECIMALS:
            raise EOFError(f"it ends within a number, {line.split()[-1]}; leave that frame out, or end the line")
        self.before = line
        self.left -= not line
        if self.left < 0:
            raise EOFError("it ends before the atoms that it counts")
        return line


def _decimals(line: str) -> int:
    """Digits behind the point of the number that ends a line; -1 where none does."""
    match = LAST.search(line)
    return -1 if match is None else len(match[1] or "")


def head(path: Path) -> str:
    """The first characters of a text file; empty of one that cannot be decompressed."""
    try:
        with open_text(path) as file:
            return file.read(HEAD)
    except (OSError, EOFError, lzma.LZMAError):
        return ""


def refuse_endless(path: Path) -> None:
    """Hold the atoms that the head of a POSCAR or CHGCAR counts against the size of the file.

    Raises
    ------
    InputError
        If it has no room for a row each: readers set memory aside before they look for them.
    """
    with path.open("rb") as file:
        packed = file.read(6).startswith(tuple(MAGIC))
    size = path.stat().st_size * (PACKED if packed else 1)
    for line in head(path).splitlines()[5:7]:
        counts = [int(word) for word in line.split() if word.isdigit()]
        if SHORTEST_ROW * sum(counts) > size:
            raise InputError(f"{path}: its head counts {sum(counts)} atoms ({line.strip()!r}), a file of {size} bytes")


def numbers(row: str, count: int, where: str) -> list[float]:
    """The first `count` numbers of a row; those that a minus sign glues together are told apart.

    Raises
    ------
    InputError
        With the text of the row, if it holds fewer, or something else.
    """
    words = GLUED.sub(" ", row).split()
    try:
        found = [float(word) for word in words[:count]]
    except ValueError as error:
        glued = any(word.count(".") > 1 for word in words[:count])
        why = "numbers run together" if glued else "a number did not fit its columns" if "*" in row else "no number"
        raise InputError(f"{where}: expected {count} numbers, found {row.strip()!r}: {why}") from error
    if len(found) < count:
        glued = any(word.count(".") > 1 for word in words)
        why = "numbers run together" if glued else f"it breaks off after {len(found)}"
        raise InputError(f"{where}: expected {count} numbers, found {row.strip()!r}: {why}")
    return found


def table(rows: Sequence[str], count: int, where: str) -> NDArray[np.floating]:
    """Rows of `count` numbers (n, count), read at once where all is well."""
    try:
        found = np.array([row.split()[:count] for row in rows], dtype=float)
    except ValueError:
        found = np.empty(0)
    if found.shape == (len(rows), count):
        return found
    return np.array([numbers(row, count, f"{where}, row {number}") for number, row in enumerate(rows, start=1)])


def extended_comment(line: str) -> dict[str, Any]:
    """The keys of a comment line of extended XYZ, `stress` and `virial` also as six numbers in ASE's order.

    Of a line that is no list of keys, as codes write it in plain XYZ, what tells the time (`Atoms. Timestep: 2000`).
    """
    for found in NINE.finditer(line):
        _refuse_skew(found[1], found[2])
    told = dict(key_val_str_to_dict(SIX.sub(_nine, line)))
    if match := CLOCK.search(line):
        name = match[1] or match[2]
        told = {key: value for key, value in told.items() if key.lower() not in (name.lower(), f"{name.lower()}:")}
        told[name] = int(match[3])
    _refuse_endless_rows(str(told.get("Properties", "")))
    return told


def _refuse_endless_rows(properties: str) -> None:
    """Raise ValueError for more columns than a row holds: readers set memory aside before they look for them."""
    counts = [int(word) for word in properties.split(":")[2::3] if word.isdigit()]
    if sum(counts) > MOST_COLUMNS:
        raise ValueError(f"Properties counts {sum(counts)} columns an atom")


def _refuse_skew(name: str, text: str) -> None:
    """Raise ValueError for nine numbers that are no symmetric tensor: readers keep six of them."""
    words = text.replace(",", " ").split()
    if len(words) != 9:
        return
    tensor = np.array(words, dtype=float).reshape(3, 3)
    skew = np.abs(tensor - tensor.T).max()
    if skew > SKEW * np.abs(tensor).max():
        raise ValueError(f"{name} is not symmetric: its components differ by {skew:g} from those across the diagonal")


def _nine(found: re.Match[str]) -> str:
    words = found[3].replace(",", " ").split()
    if len(words) != 6:
        return found[0]
    xx, yy, zz, yz, xz, xy = words
    return f'{found[1]}="{xx} {xy} {xz} {xy} {yy} {yz} {xz} {yz} {zz}"'


def element(name: str, where: str) -> int:
    """Atomic number of an element as VASP names it: Li, Li_sv, Li_sv/4a2f0c.

    Raises
    ------
    InputError
        If there is no such element.
    """
    symbol = re.split(r"[_/.\d]", name, maxsplit=1)[0]
    if symbol not in atomic_numbers or symbol == "X":
        raise InputError(f"{where}: {name!r} names no element")
    return atomic_numbers[symbol]

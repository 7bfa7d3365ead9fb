"""Writing results: strict JSON, and folders that appear complete or not at all."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from ionecho.data.files import replace_folder
from ionecho.data.lock import locked
from ionecho.errors import InputError

SUMMARY = "summary.json"
WRITTEN = (".json", ".html", ".csv", ".png")  # endings of what a report consists of


def plain(value: Any) -> Any:
    """`value` as what JSON can hold: dataclasses, models and arrays unfolded, NaN and infinities as None."""
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as strict JSON."""
    path.write_text(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


@contextmanager
def report_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes it on success; an earlier report there is replaced.

    Raises
    ------
    InputError
        If `target` holds something that is not a report.
    """
    target = target.resolve()
    if target.exists() and not _is_report(target):
        raise InputError(f"{target} exists and is not a report (no {SUMMARY}) alone; choose another output folder")
    partial = target.with_name(f".{target.name}.partial")
    with locked(target):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        replace_folder(partial, target)


def _is_report(folder: Path) -> bool:
    """Whether what is there may go: nothing, or the files of an analysis and none besides."""
    if folder.is_file():
        return False
    held = list(folder.iterdir())
    if any(path.suffix not in WRITTEN for path in held):
        return False
    summary = folder / SUMMARY
    return not held or (summary.exists() and "analysis" in json.loads(summary.read_text(encoding="utf-8")))

"""Files of a report, in a folder that appears complete or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ionecho.data.files import replace_folder
from ionecho.data.lock import locked
from ionecho.errors import InputError

SUMMARY = "summary.json"
WRITTEN = (".json", ".html", ".csv", ".png")  # endings of what a report consists of


def write_json(path: Path, content: Any) -> None:
    """Strict JSON, readable by any program and by people."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


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
    return not held or (summary.exists() and '"analysis"' in summary.read_text(encoding="utf-8"))

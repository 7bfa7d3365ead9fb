"""The analyses by name: modules with `run(input, settings)` that gives a `Report`, and a yaml each in conf/analysis."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from ionecho.errors import InputError
from ionecho.report.report import Report

ANALYSES: dict[str, str] = {
    "barrier": "ionecho.analysis.barrier_report",
    "diffusion": "ionecho.analysis.diffusion_report",
    "dynamic_shift": "ionecho.analysis.dynamic_shift_report",
    "errors": "ionecho.analysis.errors",
    "rdf": "ionecho.analysis.rdf_report",
}


def analyze(name: str, input: str | list[str], settings: Mapping[str, Any]) -> Report:
    """Run one analysis on an input, or on several.

    Raises
    ------
    InputError
        If there is no such analysis, or the settings or an input cannot be used.
    """
    if name not in ANALYSES:
        raise InputError(f"analysis.name: expected one of {', '.join(ANALYSES)}, found {name!r}")
    found: Report = importlib.import_module(ANALYSES[name]).run(input, settings)
    return found

"""Analyses of trajectories and of models, each a module with `Settings` and `run(inputs, settings) -> Report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ionecho.data.registry import find_inputs
from ionecho.errors import InputError
from ionecho.report import Report

ANALYSES = {
    "barrier": "ionecho.analysis.barrier_report",
    "diffusion": "ionecho.analysis.diffusion_report",
    "dynamic_shift": "ionecho.analysis.dynamic_shift_report",
    "errors": "ionecho.analysis.errors",
    "rdf": "ionecho.analysis.rdf_report",
    "redox": "ionecho.analysis.redox_report",
    "spectrum": "ionecho.analysis.spectrum_report",
    "spin_echo": "ionecho.analysis.spin_echo_report",
    "tensors": "ionecho.analysis.tensors_report",
}


def analyze(name: str, input: str | Path | Sequence[str | Path], settings: Mapping[str, Any]) -> Report:
    """What the analysis `name` makes of one input or several: paths, patterns, or names of built datasets.

    `settings` are those of conf/analysis/NAME.yaml.

    Raises
    ------
    InputError
        If there is no such analysis, or the settings or an input cannot be used.
    """
    if name not in ANALYSES:
        raise InputError(f"analysis.name: expected one of {', '.join(ANALYSES)}, found {name!r}")
    module = import_module(ANALYSES[name])
    report: Report = module.run(find_inputs(input), module.Settings.parse(settings, name))
    return report

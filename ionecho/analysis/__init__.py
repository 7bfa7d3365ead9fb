"""Analyses of trajectories and of models, each a module with `Settings` and `run(inputs, settings) -> Report`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ionecho.analysis.options import whole_keys
from ionecho.data.registry import find_inputs
from ionecho.errors import InputError
from ionecho.labelling.workers import executor, in_order
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
    inputs, parsed = find_inputs(input), module.Settings.parse(settings, name)
    try:
        report: Report = module.run(inputs, parsed)
    except InputError as error:
        raise InputError(whole_keys(str(error), settings, inputs)) from error
    return report


def analyze_each(
    name: str,
    input: str | Path | Sequence[str | Path],
    settings: Mapping[str, Any],
    output: Path,
    workers: Mapping[str, Any] | None = None,
) -> Iterator[tuple[Path, list[str]]]:
    """A report on each of the inputs alone, in `output/<name of the input>`: its folder and headline, in their order.

    They are made here, one after another, or on workers (settings as in `conf/workers/*.yaml`).

    Raises
    ------
    InputError
        If two inputs have the same name, or as `analyze`.
    """
    paths = find_inputs(input)
    if twice := sorted({path.stem for path in paths if [other.stem for other in paths].count(path.stem) > 1}):
        raise InputError(f"input: two are called {twice[0]}, and reports go by the inputs' names; rename one")
    calls = [(name, path.absolute(), dict(settings), output.absolute() / path.stem) for path in paths]
    if workers is None:
        yield from ((output / call[1].stem, _written(*call)) for call in calls)
        return
    with executor(workers) as pool:
        for call, headline in in_order(pool, workers["number"], _written, calls, lambda call: f"{call[1]}"):
            yield output / call[1].stem, headline


def _written(name: str, path: Path, settings: Mapping[str, Any], folder: Path) -> list[str]:
    report = analyze(name, path, settings)
    report.write(folder)
    return list(report.summary["headline"])

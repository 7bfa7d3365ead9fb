"""The report folder: strict JSON, tables that repeat the numbers, figures, one self-contained page."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure as Canvas

from ionecho.analysis import ANALYSES
from ionecho.analysis import analyze as analyze_by_name
from ionecho.analysis.dynamic_shift import DynamicShift, analyze
from ionecho.analysis.dynamic_shift_report import report as report_of
from ionecho.analysis.dynamic_shift_report import total_shift
from ionecho.data.lock import locked
from ionecho.errors import InputError
from ionecho.report.files import plain, report_folder
from ionecho.report.html import Table
from ionecho.report.report import Figure, Report
from ionecho.report.style import figure_style
from tests.p2_layers import series
from tests.test_analysis_dynamic_shift import CONVERSION, settings, write_predictions


@pytest.fixture(scope="module")
def result() -> DynamicShift:
    return analyze(series(64, {"p63mcm": 0, "p6322": 1}, seed=0), settings(), CONVERSION)


@pytest.fixture(scope="module")
def folder(result: DynamicShift, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("out") / "report"
    report_of(result).write(target)
    return target


def test_summary_is_strict_json_with_settings_and_conventions(result, folder):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    summary = json.loads((folder / "summary.json").read_text(), parse_constant=refuse)
    assert summary == report_of(result).summary
    assert summary["dynamic_shift"] == result.overall.blocks.mean
    assert summary["composition"] == "delta_total = delta_FC only"
    assert summary["contact_shift"]["ppm_per_mhz"] == pytest.approx(CONVERSION.ppm_per_mhz)
    assert summary["settings"]["sites"]["radius"] == 0.8
    assert summary["groups"]["p6322"]["errors"]["not_known"] == [
        "ensemble",
        "bias",
        "effective_moment",
        "weiss_constant",
    ]
    assert len(summary["source"]["sha256_of_shifts_and_positions"]) == 64


def test_tables_repeat_the_numbers(result, folder):
    sites = pd.read_csv(folder / "sites.csv")
    assert sites.groupby("group").occupation.sum().to_numpy() == pytest.approx(1.0)
    histogram = pd.read_csv(folder / "histogram.csv").set_index("group")
    parts = [*(site.name for site in result.overall.sites), "uncovered"]
    np.testing.assert_array_equal(histogram[parts].sum(axis=1), histogram["total"])
    counts = pd.read_csv(folder / "map.csv").groupby("group")["count"].sum()
    assert counts["p63mcm"] == 64 * 16
    blocks = pd.read_csv(folder / "blocks.csv")
    np.testing.assert_allclose(blocks[blocks.group == "all"].error, result.overall.blocks.errors)
    windows = pd.read_csv(folder / "windows.csv")
    assert windows[windows.group == "p63mcm"].frames_50.sum() == 16


def test_page_is_self_contained(folder):
    page = (folder / "report.html").read_text()
    assert not re.search(r"""src=["'](?!data:)""", page)
    links = set(re.findall(r"""href=["'](.*?)["']""", page))
    assert links == {"summary.json", *(f"{name}.csv" for name in ("blocks", "sites", "histogram", "map", "windows"))}
    assert all((folder / link).exists() for link in links)
    assert page.count("data:image/png;base64,") == len(list(folder.glob("*.png"))) == 5
    for text in ("delta_total = delta_FC only", "weiss_constant", "Mn-Mg", "not the site-weighted mean"):
        assert text in page


def test_additive_terms_are_in_the_sentence(result):
    additive = {"orbital": -10.0, "pseudocontact": 0.0, "quadrupole": {"coupling": 3.0, "asymmetry": 0.3}}
    changed = DynamicShift(**{**vars(result), "settings": settings(additive=additive, larmor_frequency=105.8)})
    assert total_shift(changed) == "delta_total = delta_FC + -10 ppm (orbital) + -20.70 ppm (quadrupole-induced)"


def test_report_replaces_a_report_and_nothing_else(folder, tmp_path):
    with report_folder(folder) as target:
        (target / "summary.json").write_text("{}")
    assert [path.name for path in folder.iterdir()] == ["summary.json"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="not a report"), report_folder(tmp_path / "mine"):
        pass
    (folder / "notes.txt").write_text("of mine, in a report")
    with pytest.raises(InputError, match="not a report"), report_folder(folder):
        pass
    with pytest.raises(KeyError), report_folder(tmp_path / "new"):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with (
        locked(tmp_path / "new"),
        pytest.raises(InputError, match="written by another process"),
        report_folder(tmp_path / "new"),
    ):
        pass


def test_plain_data():
    value = {"a": np.float64("nan"), 1: (np.int64(3), np.array([1.5, np.inf])), "b": Path("x"), "c": True}
    assert plain(value) == {"a": None, "1": [3, [1.5, None]], "b": "x", "c": True}


def test_the_config_runs_from_predictions_to_report(tmp_path):
    data = series(40, {"p63mcm": 0}, seed=1)
    write_predictions(tmp_path / "pred.zarr", data, CONVERSION, np.zeros((40, 3)))
    config = yaml.safe_load((Path(__file__).parents[1] / "conf/analysis/dynamic_shift.yaml").read_text())
    report = analyze_by_name(config["name"], str(tmp_path / "pred.zarr"), config["settings"])
    assert report.summary["dynamic_shift"] == pytest.approx(data.shift.mean())
    report.write(tmp_path / "report")
    assert json.loads((tmp_path / "report" / "summary.json").read_text()) == report.summary


def test_an_analysis_is_found_by_its_name(tmp_path, monkeypatch):
    """A toy, added by registration alone."""

    def run(input: str, settings: dict) -> Report:
        frame = pd.DataFrame({"r": [1.0, 2.0]})

        def draw() -> Canvas:
            canvas = Canvas()
            canvas.subplots().plot(frame.r)
            return canvas

        shown = [Table("Lengths", frame, "Å. Data: lengths.csv.")]
        figures = [Figure("lengths", draw, "Lengths. Data: lengths.csv.")]
        told = [f"{input}: 1.5 ± 0.5 Å"]
        return Report("toy", "Toy", told, [], {"mean_A": 1.5}, {"lengths": frame}, shown, figures, settings, {})

    module = SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "toy_analysis", module)
    monkeypatch.setitem(ANALYSES, "toy", "toy_analysis")
    analyze_by_name("toy", "x", {"a": 1}).write(tmp_path / "report")
    assert json.loads((tmp_path / "report" / "summary.json").read_text())["mean_A"] == 1.5
    assert '<a href="lengths.csv">' in (tmp_path / "report" / "report.html").read_text()
    with pytest.raises(InputError, match=r"expected one of barrier, .* found 'toys'"):
        analyze_by_name("toys", "x", {})


@pytest.mark.parametrize("count", [2, 17])
def test_many_trajectories_are_as_readable_as_few(count, tmp_path):
    phases = {f"run_{number:02d}": number % 2 for number in range(count)}
    report = report_of(analyze(series(24, phases, seed=2), settings(), CONVERSION))
    assert len(report.figures) == min(count, 8) + 3
    with figure_style():
        assert all(len(figure.draw().axes) <= 8 for figure in report.figures)
    assert report.tables["sites"].group.nunique() == count + 1

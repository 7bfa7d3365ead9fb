"""The report folder: strict JSON, tables that repeat the numbers, figures, one self-contained page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from ionecho import analysis
from ionecho.analysis.dynamic_shift import DynamicShift, analyze
from ionecho.analysis.dynamic_shift_report import report, total_shift
from ionecho.data.lock import locked
from ionecho.errors import InputError
from ionecho.report import Axis, Curve, Figure, Number, Panel, Report, Table, once, rounded
from ionecho.report.content import SHOWN
from ionecho.report.files import report_folder
from ionecho.report.html import ROWS
from ionecho.report.plain import plain
from tests.p2_layers import series
from tests.test_analysis_dynamic_shift import CONVERSION, settings, write_predictions


@pytest.fixture(scope="module")
def result() -> DynamicShift:
    return analyze(series(64, {"p63mcm": 0, "p6322": 1}, seed=0), settings(), CONVERSION)


@pytest.fixture(scope="module")
def folder(result: DynamicShift, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("out") / "report"
    report(result).write(target)
    return target


def test_summary_is_strict_json_with_settings_and_conventions(result, folder):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    summary = json.loads((folder / "summary.json").read_text(), parse_constant=refuse)
    assert summary == report(result).summary
    assert "dynamic_shift" not in summary  # of two systems
    assert summary["systems"]["p6322"]["dynamic_shift"] == result.systems["p6322"].blocks.mean
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
    parts = [*result.names, "uncovered"]
    np.testing.assert_array_equal(histogram[parts].sum(axis=1), histogram["total"])
    counts = pd.read_csv(folder / "map.csv").groupby("group")["count"].sum()
    assert counts["p63mcm"] == 64 * 16
    blocks = pd.read_csv(folder / "blocks.csv")
    np.testing.assert_allclose(blocks[blocks.group == "p6322"].error, result.groups["p6322"].blocks.errors)
    windows = pd.read_csv(folder / "windows.csv")
    assert windows[windows.group == "p63mcm"].frames_50.sum() == 16


def test_page_is_self_contained(folder):
    page = (folder / "report.html").read_text()
    assert not re.search(r"""<[^>]* src=["'](?!data:)""", page.split("<script")[0])
    assert not re.search(r"<(script|link|style)[^>]* (src|href)=(?!.data:)", page)
    linked = {*re.findall(r'<a href="([^"]*)"', page)}
    assert linked == {path.name for path in folder.iterdir()} - {"report.html"}
    assert page.count('src="data:image/png;base64,') == len(list(folder.glob("*.png"))) == 8
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
    made = analysis.analyze(config["name"], tmp_path / "pred.zarr", config["settings"])
    made.write(tmp_path / "report")
    summary = made.summary
    assert summary["dynamic_shift"] == pytest.approx(data.shift.mean())
    assert json.loads((tmp_path / "report" / "summary.json").read_text()) == summary


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1234.5678, 3.4, "1234.6 ± 3.4"),
        (1234.5678, 12.3, "1235 ± 12"),
        (12345.0, 120.0, "12340 ± 120"),
        (0.5, 0.0961, "0.500 ± 0.096"),
        (2.71e-6, 1.3e-7, "(2.71 ± 0.13) × 10⁻⁶"),
        (3e-9, None, "3 × 10⁻⁹"),
        (0.123456, float("nan"), "0.1235"),
        (5.9999999999999991, 2.8e-16, "6"),
        (16, None, "16"),
        (float("nan"), None, "–"),
    ],
)
def test_numbers_have_the_digits_that_their_errors_allow(value, error, text):
    assert rounded(value, error) == text
    missing = " (too few samples for an error)" if error is not None and np.isnan(error) else ""
    assert str(Number("x", value, error, "ppm")) == f"x: {text} ppm{missing}"


def test_what_holds_for_all_is_said_once():
    notes = once({"a": ["long.", "short."], "b": ["long."], "c": ["long.", "odd."]})
    assert notes == ["long.", "a: short.", "c: odd."]
    assert once({"a": ["long."]}) == ["a: long."]
    assert once({str(n): ["x."] if n else [] for n in range(12)}) == ["1, 2, 3, 4, 5, 6, 7, 8 and 3 more: x."]


def lines(names: list[str]) -> list[Panel]:
    return [Panel(Axis("time / ps"), Axis("shift / ppm"), [Curve([0, 1], [1, 2], name)], name) for name in names]


def toy(count: int) -> Report:
    """A report of so many trajectories."""
    names = [f"run {n}" for n in range(count)]
    frame = pd.DataFrame({"run": names, "shift": 1234.567, "shift_error": 3.21, "hops": [None, *range(1, count)]})
    return Report(
        analysis="toy",
        title="A <toy>",
        headline=["One line.", Number("mean", 1234.567, 3.21, "ppm")],
        numbers={"shift": 1234.567},
        units={"shift": "ppm", "hops": ""},
        tables={"runs": Table(frame, "Runs", "All of them."), "raw": Table(frame)},
        figures={"lines": Figure(lines, "Lines.", ["raw"], names)},
    )


def test_tables_of_the_page_carry_units_errors_and_links(tmp_path):
    toy(ROWS + 16).write(tmp_path / "r")
    page = (tmp_path / "r" / "report.html").read_text()
    assert "shift /\u00a0ppm" in page
    assert page.count("1234.6 ± 3.2") == ROWS + 1  # the rows, and the headline
    assert f"The first {ROWS} of {ROWS + 16} rows." in page
    assert 'Data: <a href="runs.csv" download="runs.csv">runs.csv</a>' in page
    assert "A &lt;toy&gt;" in page
    assert pd.read_csv(tmp_path / "r" / "runs.csv").shift_error.tolist() == [3.21] * (ROWS + 16)


def test_figures_have_at_most_eight_panels(tmp_path):
    toy(17).write(tmp_path / "r")
    page = (tmp_path / "r" / "report.html").read_text()
    assert f"The first {SHOWN} of 17." in page
    assert 'Data: <a href="raw.csv" download="raw.csv">raw.csv</a>' in page

    def greedy(_: list[str]) -> list[Panel]:
        return lines([str(n) for n in range(SHOWN + 1)])

    crowded = Report("toy", "Toy", [], {}, {}, figures={"many": Figure(greedy, "Many.")})
    with pytest.raises(ValueError, match=r"many\.png: 9 panels, expected at most 8"):
        crowded.write(tmp_path / "crowded")
    assert not (tmp_path / "crowded").exists()


def test_seventeen_trajectories_are_as_readable_as_two(tmp_path):
    many = report(analyze(series(32, {f"run{n}": n % 2 for n in range(17)}, seed=2), settings(), CONVERSION))
    assert len(many.headline) <= SHOWN + 1
    assert len(many.notes) < 8
    many.write(tmp_path / "r")
    assert len(many.summary["groups"]) == 17
    assert len(list((tmp_path / "r").glob("map*.png"))) <= SHOWN
    few = report(analyze(series(32, {"run0": 0, "run1": 1}, seed=2), settings(), CONVERSION))
    few.write(tmp_path / "few")
    names = [{path.name for path in (tmp_path / name).glob("*.png")} for name in ("few", "r")]
    few_others, many_others = ({name for name in written if "map" not in name} for written in names)
    assert few_others == many_others
    assert pd.read_csv(tmp_path / "r" / "map.csv").group.nunique() == 17


def leaves(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Keys of the numbers in plain data, without places in lists."""
    if isinstance(value, dict):
        return [leaf for key, entry in value.items() for leaf in leaves(entry, (*path, key))]
    if isinstance(value, list):
        return [leaf for entry in value for leaf in leaves(entry, path)]
    return [path] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_every_number_has_its_unit(result):
    made = report(result)
    for path in leaves(plain({**made.numbers, **made.physics})):
        places = {path[-1], ".".join(path[-2:]), *path[-2:-1]}
        assert places & set(made.units), path


TOY = """
from ionecho.analysis.options import Options, one
from ionecho.data.trajectory import open_trajectory
from ionecho.report import Number, Report


class Settings(Options):
    name: str


def run(inputs, settings):
    trajectory = open_trajectory(one(inputs, "toy"))
    frames = next(trajectory.blocks(0, 10, [settings.name]))
    mean = float(frames.arrays[settings.name].mean())
    return Report("toy", "Toy", [Number("mean", mean, None, "MHz")], {"mean": mean}, {"mean": "MHz"}, settings=settings)
"""


def test_an_analysis_is_one_module_found_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "toy_analysis.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(analysis.ANALYSES, "toy", "toy_analysis")
    data = series(10, {"p63mcm": 0}, seed=1)
    write_predictions(tmp_path / "pred.zarr", data, CONVERSION, np.zeros((10, 3)))
    made = analysis.analyze("toy", tmp_path / "pred.zarr", {"name": "hyperfine_contact"})
    made.write(tmp_path / "r")
    assert made.summary["mean"] == pytest.approx(data.shift.mean() / CONVERSION.ppm_per_mhz)
    assert (tmp_path / "r" / "report.html").exists()
    with pytest.raises(InputError, match="no array efg; it holds hyperfine_contact, hyperfine_contact_members"):
        analysis.analyze("toy", tmp_path / "pred.zarr", {"name": "efg"})
    with pytest.raises(InputError, match=r"toy: analysis\.settings\.word: no such setting"):
        analysis.analyze("toy", tmp_path / "pred.zarr", {"name": "efg", "word": 1})
    with pytest.raises(InputError, match=r"expected one of barrier, .* found 'magic'"):
        analysis.analyze("magic", tmp_path, {})


def test_reports_know_no_analysis():
    for file in (Path(analysis.__file__).parents[1] / "report").glob("*.py"):
        assert not {*analysis.ANALYSES} - {"errors"} & {*re.findall(r"[a-z_]+", file.read_text())}, file

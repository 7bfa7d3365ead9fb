"""The report folder: strict JSON, tables that repeat the numbers, figures, one self-contained page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ionecho.analysis.dynamic_shift import DynamicShift, analyze
from ionecho.data.lock import locked
from ionecho.errors import InputError
from ionecho.report.dynamic_shift import summarise, total_shift, write_report
from ionecho.report.files import plain, report_folder
from tests.p2_layers import series
from tests.test_analysis_dynamic_shift import CONVERSION, settings, write_predictions


@pytest.fixture(scope="module")
def result() -> DynamicShift:
    return analyze(series(64, {"p63mcm": 0, "p6322": 1}, seed=0), settings(), CONVERSION)


@pytest.fixture(scope="module")
def folder(result: DynamicShift, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("out") / "report"
    write_report(result, target)
    return target


def test_summary_is_strict_json_with_settings_and_conventions(result, folder):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    summary = json.loads((folder / "summary.json").read_text(), parse_constant=refuse)
    assert summary == summarise(result)
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
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
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
    config = OmegaConf.load(Path(__file__).parents[1] / "conf/analysis/dynamic_shift.yaml")
    summary = instantiate(config)(str(tmp_path / "pred.zarr"), str(tmp_path / "report"))
    assert summary["dynamic_shift"] == pytest.approx(data.shift.mean())
    assert json.loads((tmp_path / "report" / "summary.json").read_text()) == summary

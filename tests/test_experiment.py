"""The experiment beside the computed lines: tables, fits of spectra with sidebands, assignment in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ionecho.analysis.curie_weiss import fit_curie_weiss, shift_at
from ionecho.analysis.experiment import SpectrumOptions, assign, read_experiment
from ionecho.errors import InputError
from ionecho.nmr.hyperfine import ContactShift

LARMOR = 105.93e6


def lorentzian(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    return width / (2 * np.pi) / ((x - centre) ** 2 + width**2 / 4)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_fractions_of_two_stackings(tmp_path):
    """Published lines of P2-Na2/3(Ni1/3Mn2/3)O2 at 1493 and 1406 ppm, .82 and .18 of the area with their sidebands."""
    rng, x = np.random.default_rng(0), np.linspace(2200, 700, 3000)
    step = 30e3 / LARMOR * 1e6  # 283 ppm
    clean = 0.0 * x
    for centre, area in ((1493.0, 0.82), (1406.0, 0.18)):
        for order, share in ((-1, 0.2), (0, 0.6), (1, 0.2)):
            clean += area * share * lorentzian(x, centre + order * step, 30.0)
    noisy = clean + 0.01 * clean.max() * rng.normal(size=x.size) + 0.05 * clean.max()
    rows = "\n".join(f"{shift},{height}" for shift, height in zip(x, noisy, strict=True))
    path = write(tmp_path / "spectrum.csv", f"shift,intensity\n{rows}\n")
    options = SpectrumOptions(positions=[1480.0, 1420.0], spinning_rate=30e3, sidebands=1)
    found = read_experiment(path, options, LARMOR)
    assert [peak.shift for peak in found.peaks] == pytest.approx([1493, 1406], abs=2)
    np.testing.assert_allclose(found.fractions, [0.82, 0.18], atol=0.01)
    assert found.peaks[1].width == pytest.approx(30, abs=3)
    for peak, area in zip(found.peaks, (0.82, 0.18), strict=True):
        assert peak.area == pytest.approx(area, abs=4 * peak.area_error)
        assert peak.area_error < 0.02
    assert np.abs(found.spectrum.fitted - clean[::-1] - 0.05 * clean.max()).max() < 0.02 * clean.max()


def test_gaussian_lines_are_fitted_too(tmp_path):
    x = np.linspace(0, 100, 800)
    heights = 3 * np.exp(-((x - 40) ** 2) / (2 * 5**2)) + 0.01 * np.random.default_rng(1).normal(size=x.size)
    path = write(
        tmp_path / "s.csv", "shift,intensity\n" + "\n".join(f"{a},{b}" for a, b in zip(x, heights, strict=True))
    )
    (peak,) = read_experiment(path, SpectrumOptions(positions=[45.0], shape="gaussian"), LARMOR).peaks
    assert peak.shift == pytest.approx(40, abs=4 * peak.shift_error)
    assert peak.area == pytest.approx(3 * 5 * np.sqrt(2 * np.pi), rel=0.01)
    assert peak.width == pytest.approx(5 * np.sqrt(8 * np.log(2)), rel=0.01)


def test_lines_are_assigned_in_order_whatever_the_offset(tmp_path):
    path = write(tmp_path / "lines.csv", "# 23Na\nshift, area, width\n1406,18,50\n1493,82,40\n")
    experiment = read_experiment(path, SpectrumOptions(), LARMOR)
    np.testing.assert_allclose(experiment.fractions, [0.82, 0.18])
    found = assign([1636.0, 1721.0], experiment)  # P6_3/mcm below P6_322
    assert [(each.line, each.peak) for each in found] == [(1, 0), (0, 1)]
    assert [each.offset for each in found] == [228.0, 230.0]
    assert [each.residual for each in found] == [-1.0, 1.0]
    assert found[0].corrected is None


def test_more_lines_than_peaks_take_those_whose_offsets_agree(tmp_path):
    path = write(tmp_path / "lines.csv", "shift,area\n1000,1\n1500,1\n2000,2\n")
    experiment = read_experiment(path, SpectrumOptions(), LARMOR)
    found = assign([2210.0, 1700.0, 1400.0, 1190.0], experiment)
    assert [(each.line, experiment.peaks[each.peak].shift) for each in found] == [(0, 2000), (1, 1500), (3, 1000)]
    assert found[1].corrected == pytest.approx(1500, abs=3)
    (one,) = assign([1650.0], experiment)
    assert one.line == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shift,height\n1,2\n", "no column area"),
        ("shift,area\n1493,\n", "row 1: expected a number as area"),
        ("shift,area\n1493,0\n", "an area above 0"),
        ("shift,intensity\n1,2\n2,3\n", "spectrum.positions"),
        ("", "cannot read"),
    ],
)
def test_wrong_tables_are_named(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        read_experiment(write(tmp_path / "x.csv", text), SpectrumOptions(), LARMOR)


def test_shift_with_temperature_is_that_of_the_conversion():
    at = {t: ContactShift(11.26952167, 3.87, t, -14.8, 24.0, 1.5) for t in (300.0, 320.0, 400.0)}
    contact = float(at[320.0](10.0))
    predicted = shift_at([300.0, 400.0], contact, 320.0, -14.8, -8.0)
    np.testing.assert_allclose(predicted, [float(at[300.0](10.0)) - 8, float(at[400.0](10.0)) - 8])
    fit = fit_curie_weiss([300.0, 320.0, 400.0], [*predicted[:1], contact - 8, *predicted[1:]], [1.0, 1.0, 1.0], -14.8)
    assert fit.slope == pytest.approx(contact * 334.8)
    assert fit.offset == pytest.approx(-8)
    with pytest.raises(InputError, match="above Theta"):
        shift_at([5.0], contact, 320.0, 10.0, 0.0)

"""The analysis spectrum end to end, on trajectories with planted tensors and exchange."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import REPOSITORY
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from planted_echo import matrices, write_planted
from test_echo import jumps

from ionecho.analysis.spectrum_report import Settings, run
from ionecho.errors import InputError
from ionecho.nmr.hyperfine import ContactShift
from ionecho.nmr.isotopes import isotope

pytest.importorskip("mrsimulator")

RATIO = isotope("23Na").gyromagnetic_ratio
SHIFT = ContactShift(RATIO, 3.87, 320.0, -14.8, 24.0, 1.5)
SITES = {"element": "O", "cutoff": 2.5, "window": 1, "kinds": {"low": [0, 0], "high": [1, 6]}}


def settings(**changes: object) -> Settings:
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = compose("analyze", overrides=["analysis=spectrum", "input=i", "output=o"])
    values = OmegaConf.to_container(config.analysis.settings, resolve=True)
    return Settings.parse({**values, "samples": 40, "points": 1024, **changes}, "spectrum")


def write_two_sites(path: Path, probability: float, anisotropy: float = 0.03) -> np.ndarray:
    """Na that jump between 1000 and 2000 ppm (beside an O), frames 1 ps apart; gives the sites."""
    rng = np.random.default_rng(1)
    sites = jumps(rng, 400, 20, 2, probability)
    sodium = np.stack([np.tile(np.arange(20) * 6.0, (400, 1)), 3.0 * sites, 0.0 * sites], -1)
    oxygen = np.broadcast_to(np.stack([np.arange(20) * 6.0, np.full(20, 4.0), np.zeros(20)], -1), (400, 20, 3))
    axis = matrices(np.array([0, 0, np.sqrt(3 / 2), 0, 0]))  # of one direction, V_zz = 1
    axes = np.array([axis, np.diag([1.0, -0.5, -0.5])])
    group = zarr.open_group(str(path), mode="w")
    arrays = {
        "positions": np.concatenate([sodium, oxygen], axis=1),
        "cell": np.diag([120.0, 20.0, 20.0])[None],
        "numbers": np.array([11] * 20 + [8] * 20),
        "time": np.arange(400) * 1000.0,
        "centres": np.arange(20),
        "hyperfine_contact": np.array([1000.0, 2000.0])[sites] / SHIFT.ppm_per_mhz,
        "hyperfine_dipolar": anisotropy * axes[sites],
    }
    for name, values in arrays.items():
        group.create_array(name, data=values)
    group.attrs.update(pbc=[True] * 3, contact_shift=SHIFT.to_dict())
    return sites


def test_limits_and_exchange_of_two_sites(tmp_path: Path):
    sites = write_two_sites(tmp_path / "two.zarr", 0.05)
    report = run([tmp_path / "two.zarr"], settings(sites=SITES))
    table = report.tables["spectrum"].frame
    curves = dict(iter(table.groupby("curve")))
    mean = 1000 + 1000 * sites.mean()
    top = {name: float(part["shift"].iloc[part["intensity"].argmax()]) for name, part in curves.items()}
    assert min(abs(top["no exchange"] - shift) for shift in (1000, 2000)) < 15
    assert top["all ions averaged"] == pytest.approx(mean, abs=15)
    assert top["exchange between sites"] == pytest.approx(mean, abs=15)
    for name, part in curves.items():
        middle = (part["shift"] * part["intensity"]).sum() / part["intensity"].sum()
        drawn = 500 / 40**0.5 if name == "no exchange" else 0.0  # standard error of 40 samples
        assert middle == pytest.approx(mean, abs=3 * drawn + 30)
    found = report.summary["exchange"]
    assert found["k_ex"] == pytest.approx(2 * 0.05 / 1e-12, rel=0.1)
    assert found["ratio"] == pytest.approx(found["k_ex"] / (2 * np.pi * 1e-3 * RATIO * 9.4e6), rel=0.05)
    # both axes differ: their mean has half of the size
    anisotropy = 0.03 * SHIFT.ppm_per_mhz
    assert report.summary["anisotropy"] == pytest.approx(anisotropy, rel=1e-6)
    assert abs(report.summary["all_anisotropy"]) == pytest.approx(anisotropy / 2, rel=0.1)


def test_slow_exchange_has_the_lines_of_both_sites(tmp_path: Path):
    write_two_sites(tmp_path / "two.zarr", 0.0, anisotropy=0.0)
    group = zarr.open_group(str(tmp_path / "two.zarr"), mode="a")
    group["time"][:] = np.arange(400) * 1e12
    report = run([tmp_path / "two.zarr"], settings(sites=SITES))
    part = report.tables["spectrum"].frame.query("curve == 'exchange between sites'")
    for shift in (1000, 2000):
        near = part[np.abs(part["shift"] - shift) < 100]
        assert near["shift"].iloc[near["intensity"].argmax()] == pytest.approx(shift, abs=15)


def test_quadrupole_of_averaged_gradients_narrows(tmp_path: Path):
    write_planted(tmp_path / "li.zarr", 1, frames=300, ions=12, sites=4, probability=0.2)
    nucleus = {"isotope": "7Li", "gyromagnetic_ratio": 16.5485, "quadrupole_moment": -0.0401}
    options = {"interaction": "quadrupole", "rotor_frequency": 0.0, "width": 150.0, "broadening": 300.0, **nucleus}
    (tmp_path / "seen.csv").write_text("-100,0.1\n0,1\n100,0.1\n")
    report = run([tmp_path / "li.zarr"], settings(experiment=str(tmp_path / "seen.csv"), **options))
    table = report.tables["spectrum"].frame
    moments = {n: ((p["shift"] - p["shift"].mean()) ** 2 * p["intensity"]).sum() for n, p in table.groupby("curve")}
    assert moments["all ions averaged"] < moments["each ion averaged"] < moments["no exchange"]
    report.write(tmp_path / "r")
    assert (tmp_path / "r" / "spectrum.png").exists()


def test_what_cannot_be_used_is_refused(tmp_path: Path):
    write_planted(tmp_path / "li.zarr", 1, frames=20, ions=4, sites=2, probability=0.2)
    with pytest.raises(InputError, match="no array hyperfine_contact"):
        run([tmp_path / "li.zarr"], settings())
    (tmp_path / "bad.csv").write_text("a,b\n")
    with pytest.raises(InputError, match="experiment"):
        run([tmp_path / "li.zarr"], settings(experiment=str(tmp_path / "bad.csv")))

"""Known answers of radial distribution functions: gas, crystals, mixtures, errors, P2 layers."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import ase
import ase.build
import ase.io
import numpy as np
import pytest
import zarr
from conftest import REPOSITORY, run_entry
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from omegaconf import OmegaConf

from ionecho.analysis import analyze
from ionecho.analysis.rdf import Distributions, RdfOptions, _Histograms, distributions, pair_names
from ionecho.analysis.rdf_difference import compare, overall
from ionecho.data.trajectory import open_trajectory
from ionecho.errors import InputError


def settings(**changes: object) -> RdfOptions:
    """The settings of the config; `skip`, `every` and `groups` are those of the input."""
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = compose("analyze", overrides=["analysis=rdf", "input=i", "output=o"])
    plain = OmegaConf.to_container(config.analysis.settings, resolve=True)
    for name in {"skip", "every", "groups"} & set(changes):
        plain["read"][name] = changes.pop(name)
    return RdfOptions.parse({**plain, **changes}, "rdf")


def write(path: Path, frames: list[ase.Atoms], labels: list[str] | None = None) -> Path:
    group = zarr.open_group(str(path), mode="w")
    arrays = {"positions": np.stack([atoms.positions for atoms in frames]), "numbers": frames[0].numbers}
    arrays["cell"] = np.stack([np.array(atoms.cell) for atoms in frames])
    for name, values in arrays.items():
        group.create_array(name, data=values)
    if labels is not None:
        group.create_array("group", data=np.array(labels, dtype=np.dtypes.StringDType()))
    group.attrs.update(pbc=[True] * 3)
    return path


def measure(path: Path, frames: list[ase.Atoms], labels: list[str] | None = None, **changes: object) -> Distributions:
    options = settings(**changes)
    return distributions(write(path, frames, labels), options.read, options)


def gas(seed: int, frames: int, symbols: str, cell: NDArray) -> list[ase.Atoms]:
    rng = np.random.default_rng(seed)
    count = len(ase.Atoms(symbols))
    return [
        ase.Atoms(symbols, scaled_positions=rng.uniform(size=(count, 3)), cell=cell, pbc=True) for _ in range(frames)
    ]


CELL = np.array([[14.0, 0.0, 0.0], [4.0, 13.0, 0.0], [-2.0, 3.0, 15.0]])


def test_ideal_gas_is_one_within_poisson_errors(tmp_path):
    """1 for two elements, 1 - 1/N for one; the number of pairs in a bin is Poisson distributed."""
    frames = gas(0, 40, "Li60S40", CELL)
    found = measure(tmp_path / "a.zarr", frames, r_max=5.5, bin_width=0.25)
    edges, volume = np.arange(23) * 0.25, abs(np.linalg.det(CELL))
    for name, (a, b) in {"Li-Li": (60, 60), "Li-S": (60, 40), "S-S": (40, 40)}.items():
        expected = 1 - (1 / a if name[:2] == name[-2:] or name == "S-S" else 0)
        same = name in ("Li-Li", "S-S")
        unordered = 40 * a * (b - 1) / 2 if same else 40 * a * b
        pairs = unordered * 4 / 3 * np.pi * np.diff(edges**3) / volume
        deviation = (found.pairs[name].g - expected) / (expected / np.sqrt(pairs))
        populated = pairs > 20
        assert np.abs(deviation[populated]).max() < 4
        assert np.square(deviation[populated]).mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / populated.sum()))


def test_errors_are_those_of_repeated_runs(tmp_path):
    runs = [
        measure(tmp_path / "a.zarr", gas(seed, 240, "Li30S30", CELL), r_max=5.0, bin_width=0.5) for seed in range(12)
    ]
    values = np.array([run.pairs["Li-S"].g[3:] for run in runs])
    errors = np.array([run.pairs["Li-S"].error[3:] for run in runs])
    ratio = np.mean(errors**2) / values.var(axis=0, ddof=1).mean()
    assert all(run.pairs["Li-S"].converged for run in runs)
    few = 1 + 10 / 240  # raised for so few frames
    assert ratio == pytest.approx(few, abs=4 * few * np.sqrt(2 / (11 * values.shape[1])))
    assert 0.93 < np.mean(np.abs(values - values.mean(axis=0)) <= 2 * errors) <= 1


def test_coordination_of_perfect_crystals(tmp_path):
    fcc = measure(tmp_path / "fcc.zarr", [ase.build.bulk("Cu", "fcc", 3.6, cubic=True)])
    assert fcc.pairs["Cu-Cu"].shell.neighbours == 12
    assert fcc.pairs["Cu-Cu"].shell.peak == pytest.approx(3.6 / np.sqrt(2), abs=0.05)
    salt = measure(tmp_path / "salt.zarr", [ase.build.bulk("NaCl", "rocksalt", 5.64, cubic=True)]).pairs
    assert [salt[pair].shell.neighbours for pair in ("Na-Na", "Na-Cl", "Cl-Cl")] == [12, 6, 12]
    assert salt["Na-Cl"].shell.neighbours_back == 6
    fluorite = measure(tmp_path / "fluorite.zarr", [ase.build.bulk("CaF2", "fluorite", 5.46, cubic=True)]).pairs
    assert (fluorite["Ca-F"].shell.neighbours, fluorite["Ca-F"].shell.neighbours_back) == (8, 4)


def test_primitive_cell_and_supercell_agree_far_beyond_the_cell(tmp_path):
    """One atom a cell, r_max of several cells: periodic images are counted, the atom's own included."""
    primitive = ase.build.bulk("Cu", "fcc", 3.61)  # no distance on the edge of a bin
    one = measure(tmp_path / "one.zarr", [primitive], r_max=9.0)
    many = measure(tmp_path / "many.zarr", [primitive.repeat((5, 4, 3))], r_max=9.0)
    np.testing.assert_allclose(one.pairs["Cu-Cu"].g, many.pairs["Cu-Cu"].g, atol=1e-9)
    assert one.half_height == pytest.approx(3.61 / np.sqrt(3) / 2)
    shells = [12, 6, 24, 12, 24, 8]
    radii = 3.61 * np.sqrt(np.arange(1, 7) / 2) + 0.1
    running = np.interp(radii, one.pairs["Cu-Cu"].centres + 0.025, one.pairs["Cu-Cu"].running)
    np.testing.assert_allclose(running, np.cumsum(shells))


def test_running_number_is_the_integral_of_g(tmp_path):
    found = measure(tmp_path / "a.zarr", gas(2, 6, "Li20S10", CELL), r_max=5.0, bin_width=0.1)
    pair = found.pairs["Li-S"]
    volumes = 4 / 3 * np.pi * np.diff((np.arange(51) * 0.1) ** 3)
    density = 10 / abs(np.linalg.det(CELL))
    np.testing.assert_allclose(pair.running, np.cumsum(pair.g * volumes * density), rtol=1e-9)


def test_a_changing_cell_is_normalised_by_its_own_volume(tmp_path):
    frames = [atoms for scale in (0.9, 1.1) for atoms in gas(3, 20, "Li100", CELL * scale)]
    pair = measure(tmp_path / "a.zarr", frames, r_max=5.0, bin_width=1.0).pairs["Li-Li"]
    assert np.abs(pair.g[2:] - 0.99).max() < 4 * 0.99 / np.sqrt(40 * 99 * 50 * 4 / 3 * np.pi * 19 / 2700)


def test_memory_is_bounded_and_nothing_lost():
    histograms = _Histograms(bins=1, pairs=1)
    for frame in range(1000):
        histograms.add(np.array([[float(frame)]]), 2.0)
    assert len(histograms.parts) <= 128
    frames, counts, weighted = histograms.means()
    assert frames.sum() == 1000
    assert (frames @ counts.ravel()) == sum(range(1000))
    assert (weighted == 2 * counts).all()
    assert all(a < b for a, b in pairwise(counts.ravel()))
    assert frames[:-1].max() == frames[:-1].min() >= frames[-1]


def crystal(seed: int, frames: int, lattice: float, rattle: float) -> list[ase.Atoms]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(frames):
        atoms = ase.build.bulk("NaCl", "rocksalt", lattice, cubic=True).repeat(2)
        atoms.positions += rng.normal(0.0, rattle, atoms.positions.shape)
        found.append(atoms)
    return found


def test_difference_of_equal_crystals_is_noise_and_of_stretched_ones_is_seen(tmp_path):
    first = measure(tmp_path / "a.zarr", crystal(0, 40, 5.64, 0.1))
    second = measure(tmp_path / "b.zarr", crystal(1, 40, 5.64, 0.1))
    wide = measure(tmp_path / "c.zarr", crystal(2, 40, 5.84, 0.1))
    itself = compare(first, first)
    assert overall(itself, "difference") == 0.0
    assert {each.peak_shift for each in itself.values()} <= {0.0, None}
    same, other = compare(first, second), compare(first, wide)
    assert sum(each.weight for each in same.values()) == pytest.approx(1.0)
    assert overall(same, "difference") == pytest.approx(overall(same, "noise"), rel=0.3)
    assert overall(other, "difference") > 10 * overall(other, "noise")
    # widths of a peak 0.1 sqrt 2 in each direction, so the position is known to a fraction of a bin
    assert other["Na-Cl"].peak_shift == pytest.approx(-0.1, abs=0.025)
    assert other["Na-Cl"].neighbours_change == pytest.approx(0.0, abs=0.01)


def test_pairs_are_found_in_any_order_of_elements(tmp_path):
    salt = ase.build.bulk("NaCl", "rocksalt", 5.64, cubic=True)
    turned = salt[np.argsort(salt.numbers)[::-1]]
    differences = compare(measure(tmp_path / "a.zarr", [salt]), measure(tmp_path / "b.zarr", [turned]))
    assert set(differences) == {"Na-Na", "Na-Cl", "Cl-Cl"}
    assert {each.difference for each in differences.values()} == {0.0}
    assert {each.peak_shift for each in differences.values()} <= {0.0, None}
    assert {each.neighbours_change for each in differences.values()} <= {0.0, None}
    assert pair_names(["Na", "Cl"]) == ["Na-Na", "Na-Cl", "Cl-Cl"]
    with pytest.raises(InputError, match="reference: holds Cu, expected some of Na, Cl"):
        compare(measure(tmp_path / "a.zarr", [salt]), measure(tmp_path / "c.zarr", [ase.build.bulk("Cu", "fcc", 3.6)]))


def test_groups_skip_and_every_choose_frames(tmp_path):
    frames = crystal(3, 12, 5.64, 0.05) + crystal(4, 12, 5.84, 0.05)
    labels = ["a"] * 12 + ["b"] * 12
    only = measure(tmp_path / "x.zarr", frames, labels, groups=["b"], every=2)
    expected = measure(tmp_path / "y.zarr", frames[12::2])
    np.testing.assert_allclose(only.pairs["Na-Cl"].g, expected.pairs["Na-Cl"].g)
    assert only.frames == 6
    later = measure(tmp_path / "w.zarr", frames, labels, groups=["b"], skip=3, every=2)
    np.testing.assert_allclose(later.pairs["Na-Cl"].g, measure(tmp_path / "v.zarr", frames[15::2]).pairs["Na-Cl"].g)
    np.testing.assert_allclose(
        measure(tmp_path / "z.zarr", frames, skip=12).pairs["Na-Cl"].g,
        measure(tmp_path / "y.zarr", frames[12:]).pairs["Na-Cl"].g,
    )
    for changes, said in (
        ({"groups": ["c"]}, "no group c, expected some of a, b"),
        ({"skip": 24}, "no frame after skip=24"),
    ):
        with pytest.raises(InputError, match=said):
            measure(tmp_path / "x.zarr", frames, labels, **changes)
    with pytest.raises(InputError, match="holds no `group`"):
        measure(tmp_path / "x.zarr", frames, groups=["a"])


def test_a_group_of_a_dataset_of_several_compositions():
    cells = REPOSITORY / "datasets" / "lps_gpaw" / "structures.zarr.zip"
    with pytest.raises(InputError, match="configurations differ in their atoms"):
        open_trajectory(cells)
    chosen = open_trajectory(cells, groups=["rattled_beta"])
    frames = list(chosen.blocks(1, 2))
    assert chosen.n_frames == 14 == 1 + sum(map(len, frames))
    assert max(map(len, frames)) <= 2
    assert all((block.group == "rattled_beta").all() for block in frames)
    assert np.concatenate([block.frame for block in frames]).tolist() == list(range(1, 14))
    assert dict(Counter(chosen.numbers.tolist())) == {3: 12, 15: 4, 16: 16}


@pytest.mark.parametrize(("entry", "said"), [({"bin_width": 0.0}, "bin_width"), ({"rmax": 3.0}, "rmax")])
def test_wrong_settings_are_named(entry, said):
    with pytest.raises(InputError, match=f"rdf: analysis.settings.{said}"):
        settings(**entry)


def test_a_molecule_has_no_radial_distribution(tmp_path):
    ase.io.write(tmp_path / "m.extxyz", ase.build.molecule("H2O"))
    with pytest.raises(InputError, match="periodic in three directions"):
        distributions(tmp_path / "m.extxyz", settings().read, settings())


def test_from_the_command_line_to_the_report(tmp_path):
    md = write(tmp_path / "md.zarr", crystal(5, 10, 5.64, 0.1))
    reference = write(tmp_path / "dft.zarr", crystal(6, 4, 5.64, 0.12))
    output = tmp_path / "report"
    line = ["analysis=rdf", f"input={md}", f"reference={reference}", f"output={output}", "analysis.settings.r_max=6"]
    found = run_entry("analyze.py", *line)
    assert found.returncode == 0, found.stderr
    summary = json.loads((output / "summary.json").read_text())
    assert summary["input"]["pairs"]["Na-Cl"]["neighbours"] == pytest.approx(6.0)
    assert not summary["reference"]["converged"]
    assert summary["overall"]["difference"] > 0
    assert any("half of the cell" in note for note in summary["notes"])
    assert any("reference: not converged over 4 frames" in note for note in summary["notes"])
    page = (output / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "Differences" in page


def test_a_list_of_inputs_is_refused():
    with pytest.raises(InputError, match="expected one input, found 2"):
        analyze("rdf", ["a", "b"], settings().model_dump())


@pytest.mark.mirror
def test_p2_layers_of_the_published_set(p2_nmmo):
    """Metals are in octahedra of O and see 6 metals; in P6_3/mcm Mg is straight above Mg, in P6_322 above Mn."""
    phases = {}
    for phase in ("p63mcm", "p6322"):
        options = settings(r_max=6.0, every=15, groups=[phase])
        phases[phase] = distributions(p2_nmmo.path, options.read, options)
        pairs = phases[phase].pairs
        for metal in ("Mg", "Mn"):
            assert pairs[f"{metal}-O"].shell.neighbours == pytest.approx(6.0)
        assert pairs["Mg-Mn"].shell.neighbours == pytest.approx(6.0)
        assert pairs["Mn-Mn"].shell.neighbours == pytest.approx(3.0)
        assert 1.85 < pairs["Mn-O"].shell.peak < pairs["Mg-O"].shell.peak < 2.15
    differences = compare(phases["p63mcm"], phases["p6322"])
    assert max(differences, key=lambda pair: differences[pair].difference) == "Mg-Mg"


@pytest.mark.mirror
def test_thiophosphate_tetrahedra(mirror):
    """Li6PS5Cl at 500 K: every P keeps its 4 S."""
    path = mirror / "traj_li6ps5x_500K/Li6PS5Cl_50p_run1_XDATCAR.gz"
    options = settings(r_max=5.0, every=10)
    found = distributions(path, options.read, options)
    assert found.pairs["S-P"].shell.neighbours_back == pytest.approx(4.0)
    assert found.pairs["S-P"].shell.peak == pytest.approx(2.06, abs=0.03)

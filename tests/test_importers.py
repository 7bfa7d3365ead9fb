"""Importers against numbers printed in the files themselves, and against what users stumble over."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from conftest import REPOSITORY, p2_crystal, toy_card, toy_coupling, write_toy_xyz

from ionecho.data.build import build_from
from ionecho.data.card import ImportRecipe, read_card
from ionecho.data.importers import arrays, ase_files, deepmd, importer, magres, pymatgen_json, vasp
from ionecho.data.store import Dataset
from ionecho.errors import InputError, IonEchoWarning
from ionecho.nmr.isotopes import isotope
from ionecho.nmr.quadrupole import asymmetry, quadrupole_coupling

QUIET = lambda _: None  # noqa: E731
ISOTOPES = {"Li": "7Li", "O": "17O"}


def test_vasp_hyperfine_is_rescaled_to_the_true_gyromagnetic_ratio(mirror: Path) -> None:
    path = mirror / "vasp_fixtures" / "OUTCAR_fc.gz"
    (found,) = vasp.read(path, isotopes=ISOTOPES, gyromagnetic_ratio=100.0)
    ratios = np.array([isotope(name).gyromagnetic_ratio for name in ("7Li", "7Li", "17O")])
    np.testing.assert_allclose(found.labels["hyperfine_contact"], np.array([-0.052, -0.052, 0.321]) * ratios / 100)
    (core,) = vasp.read(path, isotopes=ISOTOPES, gyromagnetic_ratio=100.0, contact_column="A_1c")
    assert core.labels["hyperfine_contact"][2] == pytest.approx(-0.048 * ratios[2] / 100)
    own = {"Li": 16.5, "O": -5.8}
    (whole,) = vasp.read(path, isotopes=ISOTOPES, gyromagnetic_ratio=own, contact_column="A_tot+A_1c")
    assert whole.labels["hyperfine_contact"][2] == pytest.approx((0.321 - 0.048) * ratios[2] / -5.8)
    with pytest.raises(InputError, match="gyromagnetic_ratio names Li, not O"):
        list(vasp.read(path, isotopes=ISOTOPES, gyromagnetic_ratio={"Li": 16.5}))
    with pytest.raises(InputError, match="contact_column A_core is none of"):
        list(vasp.read(path, isotopes=ISOTOPES, gyromagnetic_ratio=1.0, contact_column="A_tot+A_core"))


def test_vasp_without_a_gyromagnetic_ratio_warns_and_takes_vasps_default(mirror: Path) -> None:
    with pytest.warns(IonEchoWarning, match="1 MHz/T"):
        (found,) = vasp.read(mirror / "vasp_fixtures" / "OUTCAR_fc.gz", isotopes=ISOTOPES)
    assert found.labels["hyperfine_contact"][0] == pytest.approx(-0.052 * isotope("7Li").gyromagnetic_ratio)
    with pytest.raises(InputError, match="need an isotope for O"):
        list(vasp.read(mirror / "vasp_fixtures" / "OUTCAR_fc.gz", isotopes={"Li": "7Li"}))


def test_vasp_efg(mirror: Path) -> None:
    (found,) = vasp.read(mirror / "vasp_fixtures" / "OUTCAR_efg_AlPO4.gz")
    assert found.labels["efg"].shape == (42, 3, 3)
    np.testing.assert_allclose(
        found.labels["efg"][0], [[-2.568, 1.36, 4.832], [1.36, 6.806, 0.422], [4.832, 0.422, -4.238]]
    )


@pytest.mark.parametrize(
    ("file", "isotropic"),
    [
        ("vasp_fixtures/OUTCAR_cs_hydromagnesite.gz", {0: 32.1706, 1: 21.1883, 2: 28.1241}),
        ("namo2f2_23na_nmr/NaNbO2F2_APO_NMR_OUTCAR.gz", {0: 567.4548, 4: 576.8288, 16: 196.1046}),
    ],
)
def test_vasp_shielding_is_minus_the_printed_total_shift(mirror: Path, file: str, isotropic: dict) -> None:
    (found,) = vasp.read(mirror / file)
    mean = np.trace(found.labels["shielding"], axis1=1, axis2=2) / 3
    for atom, value in isotropic.items():
        assert mean[atom] == pytest.approx(value, abs=1e-4)


def test_truncated_outcar_is_named(mirror: Path, tmp_path: Path) -> None:
    text = gzip.decompress((mirror / "vasp_fixtures" / "OUTCAR_fc.gz").read_bytes()).decode()
    cut = tmp_path / "OUTCAR1"
    cut.write_text(text[: text.index("Fermi contact") + 400])
    with pytest.raises(InputError, match="OUTCAR1"):
        list(vasp.read(cut, isotopes=ISOTOPES, gyromagnetic_ratio=1.0))
    (tmp_path / "empty").write_text("")
    with pytest.raises(InputError, match="empty"):
        list(vasp.read(tmp_path / "empty"))


def test_extended_xyz_round_trip(tmp_path: Path) -> None:
    atoms = p2_crystal(0)
    rng = np.random.default_rng(0)
    forces, stress, efg = rng.normal(size=(11, 3)), rng.normal(size=6), rng.normal(size=(11, 9))
    atoms.calc = SinglePointCalculator(atoms, energy=-3.5, forces=forces, stress=stress)
    atoms.arrays["coupling"] = toy_coupling(atoms)
    atoms.arrays["efg_dft"] = efg
    atoms.set_constraint(FixAtoms([0, 1]))
    ase.io.write(tmp_path / "a.extxyz", [atoms, atoms])
    found = list(ase_files.read(tmp_path / "a.extxyz", keys={"hyperfine_contact": "coupling", "efg": "efg_dft"}))
    assert [configuration.frame for configuration in found] == [0, 1]
    labels = found[1].labels
    assert labels["energy"] == pytest.approx(-3.5)
    np.testing.assert_allclose(labels["forces"], forces, atol=1e-7)  # of fixed atoms too
    assert labels["stress"][1, 2] == pytest.approx(stress[3], abs=1e-7)
    np.testing.assert_allclose(labels["efg"], efg.reshape(11, 3, 3), atol=1e-7)


def test_a_key_that_is_not_there_is_an_error_not_a_zero(tmp_path: Path) -> None:
    write_toy_xyz(tmp_path, 1)
    with pytest.raises(InputError, match=r"no key 'A_iso' for hyperfine_contact; the file has .*coupling"):
        list(ase_files.read(tmp_path / "frame_0.extxyz", keys={"hyperfine_contact": "A_iso"}))
    with pytest.raises(InputError, match="unknown options"):
        importer("extxyz", {"kyes": {}})


def test_a_file_without_a_finished_step_is_bad(mirror: Path, tmp_path: Path) -> None:
    text = gzip.decompress((mirror / "vasp_fixtures" / "OUTCAR_fc.gz").read_bytes()).decode()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "OUTCAR").write_text(text[: text.index("TOTAL-FORCE") - 2000])
    card = toy_card(build=ImportRecipe(importer="vasp_outcar", pattern="OUTCAR"))
    with pytest.raises(InputError, match="holds no finished configuration"):
        build_from(tmp_path / "files", card, tmp_path / "toy.zarr.zip", QUIET)


def test_bad_files_are_reported_one_by_one_and_skipped_only_on_request(tmp_path: Path) -> None:
    write_toy_xyz(tmp_path / "files" / "run", 8)
    (tmp_path / "files" / "run" / "frame_3.extxyz").write_text("4\nnot a structure\nNa 0 0\n")
    with pytest.raises(InputError, match=r"frame_3\.extxyz.*--skip-bad"):
        build_from(tmp_path / "files", toy_card(), tmp_path / "toy.zarr.zip", QUIET)
    lines: list[str] = []
    path = build_from(tmp_path / "files", toy_card(), tmp_path / "toy.zarr.zip", lines.append, skip_bad=True)
    assert Dataset(path).frame.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert sum("frame_3.extxyz" in line for line in lines) == 1


def test_many_configurations_in_one_file_form_a_group(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    frames = [p2_crystal(k) for k in range(70)]
    for atoms in frames:
        atoms.arrays["coupling"] = toy_coupling(atoms)
    ase.io.write(tmp_path / "files" / "run.extxyz", frames)
    shutil.copy(tmp_path / "files" / "run.extxyz", tmp_path / "files" / "twin.extxyz")
    card = toy_card()
    card.ionecho.build.pattern, card.ionecho.build.frames = "*.extxyz", None
    dataset = Dataset(build_from(tmp_path / "files", card, tmp_path / "toy.zarr.zip", QUIET))
    assert set(dataset.group) == {"run.extxyz", "twin.extxyz"}
    assert dataset.frame[:70].tolist() == list(range(70))


@pytest.mark.parametrize("anion", ["Nb", "Ta"])
@pytest.mark.parametrize("structure", ["APO", "ES", "FO"])
def test_couplings_of_vasp_gradients_are_those_vasp_prints(mirror: Path, anion: str, structure: str) -> None:
    """C_Q and eta of the OUTCAR's own table, from our gradients; VASP prints both with three decimals."""
    path = mirror / "namo2f2_23na_nmr" / f"Na{anion}O2F2_{structure}_NMR_OUTCAR.gz"
    table = gzip.decompress(path.read_bytes()).decode().split("ion       Cq(MHz)       eta       Q (mb)")[1]
    rows = re.findall(r"^ +\d+ +(-?[\d.]+) +([\d.]+) +(-?[\d.]+) *$", table, re.MULTILINE)
    (found,) = vasp.read(path)
    printed = np.array(rows[: len(found)], dtype=float)
    sodium = found.numbers == 11
    assert sodium.sum() == 4
    moment = printed[:, 2] / 1000  # barn
    assert set(moment[sodium]) == {isotope("23Na").quadrupole_moment}
    coupling = np.array([quadrupole_coupling(efg, q) for efg, q in zip(found.labels["efg"], moment, strict=True)]) / 1e6
    # 2.418 MHz a barn V/A^2; 5e-4 V/A^2 on each component of a gradient moves V_zz by at most 1.5e-3
    slack = 5e-4 + 1.5e-3 * 2.418 * np.abs(moment)
    assert (np.abs(coupling - printed[:, 0]) < slack).all()
    eta, defined = asymmetry(found.labels["efg"][sodium], tolerance=0.1)
    assert defined.all()
    np.testing.assert_allclose(eta, printed[sodium, 1], atol=2e-3)


MAGRES = """#$magres-abinitio-v1.0
[atoms]
units lattice Angstrom
lattice         3.0 0.0 0.0 0.5 3.5 0.0 0.0 0.25 4.0
units atom Angstrom
atom Na Na 1    0.1 0.2 0.3
atom F F 1      1.5 1.6 1.7
[/atoms]
[magres]
units ms ppm
ms Na 1         550.0 1.0 2.0 -1.0 560.0 3.0 -2.0 -3.0 570.0
ms F 1          200.0 0.0 0.0 0.0 210.0 4.0 0.0 5.0 220.0
units efg au
efg Na 1        -0.1000000000 0.0200000000 0.0 0.0200000001 -0.2000000000 0.0 0.0 0.0 0.3000000000
efg F 1         0.5 0.0 0.1 0.0 -0.25 0.0 0.1 0.0 -0.25
[/magres]
"""


def test_magres_in_the_units_and_order_of_the_schema(tmp_path: Path) -> None:
    (tmp_path / "a.magres").write_text(MAGRES)
    (found,) = magres.read(tmp_path / "a.magres")
    np.testing.assert_array_equal(found.cell[1], [0.5, 3.5, 0])
    assert found.numbers.tolist() == [11, 9]
    assert found.labels["shielding"][0, 0, 2] == 2
    assert found.labels["shielding"][0, 2, 0] == -2
    np.testing.assert_allclose(found.labels["efg"][1, 0, 2], 0.1 * 97.173624424, rtol=1e-8)
    np.testing.assert_array_equal(found.labels["efg"], found.labels["efg"].swapaxes(1, 2))
    np.testing.assert_allclose(np.trace(found.labels["efg"], axis1=1, axis2=2), 0, atol=1e-12)
    # C_Q[MHz] = 234.9647785 Q[barn] V_zz[a.u.]
    coupling = quadrupole_coupling(found.labels["efg"][0], 0.104)
    vzz = 0.3  # the other two components mix with each other only
    assert coupling == pytest.approx(234.9647785e6 * 0.104 * vzz, rel=1e-7)


def test_magres_that_is_damaged_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.magres"
    file.write_text(MAGRES.replace("0.3000000000", "0.3010000000"))
    with pytest.raises(InputError, match="efg of atom 0 is off symmetric and traceless"):
        list(magres.read(file))
    file.write_text(MAGRES.replace("efg F 1 ", "# efg F 1 "))
    with pytest.raises(InputError, match=r"a\.magres"):
        list(magres.read(file))
    file.write_text(MAGRES.replace("efg au", "efg V/A^2"))
    with pytest.raises(InputError, match="Unrecognized units"):
        list(magres.read(file))
    file.write_text(MAGRES.partition("[magres]")[0])
    with pytest.raises(InputError, match="neither ms nor efg"):
        list(magres.read(file))
    file.write_text("not this format\n")
    with pytest.raises(InputError, match=r"not a whole \.magres file"):
        list(magres.read(file))


@pytest.fixture
def deepmd_system(tmp_path: Path) -> Path:
    """Two sets of an Ar dimer, E = 2 / r: forces and virial follow from its derivatives."""
    separation = np.array([2.0, 2.5, 4.0])
    (tmp_path / "type.raw").write_text("1\n0\n")
    (tmp_path / "type_map.raw").write_text("Ar\nNe\n")
    for number, frames in enumerate((slice(0, 2), slice(2, 3))):
        r = separation[frames]
        part = tmp_path / f"set.{number:03d}"
        part.mkdir()
        zero = np.zeros_like(r)
        pull = 2 / r**2
        np.save(part / "coord.npy", np.stack([zero, zero, zero, r, zero, zero], 1))
        np.save(part / "box.npy", np.tile(np.diag([10.0, 20.0, 30.0]).ravel(), (len(r), 1)))
        np.save(part / "energy.npy", 2 / r)
        np.save(part / "force.npy", np.stack([-pull, zero, zero, pull, zero, zero], 1))
        virial = np.zeros((len(r), 9))
        virial[:, 0] = r * pull  # -dE/dstrain along x
        np.save(part / "virial.npy", virial)
    return tmp_path / "type.raw"


def test_deepmd_sets_follow_one_another_and_stress_is_tensile_positive(deepmd_system: Path) -> None:
    found = list(deepmd.read(deepmd_system))
    assert [configuration.frame for configuration in found] == [0, 1, 2]
    assert found[2].numbers.tolist() == [10, 18]
    assert found[2].positions[1, 0] == 4
    assert found[2].pbc.all()
    assert found[2].labels["energy"] == 0.5
    assert found[0].labels["forces"][:, 0].tolist() == [-0.5, 0.5]
    # a repelling pair pushes the cell outwards: stress = (1/V) dE/dstrain_xx = -(2 / r) / V, negative
    assert found[0].labels["stress"][0, 0] == pytest.approx(-1.0 / 6000)
    assert np.count_nonzero(found[0].labels["stress"]) == 1


def test_deepmd_without_boundaries_or_with_its_own_type_map(deepmd_system: Path) -> None:
    (deepmd_system.parent / "nopbc").touch()
    (deepmd_system.parent / "type_map.raw").unlink()
    found = next(deepmd.read(deepmd_system, type_map=["Li", "S"]))
    assert not found.pbc.any()
    assert not found.cell.any()
    assert found.numbers.tolist() == [16, 3]
    assert "stress" not in found.labels
    with pytest.raises(InputError, match=r"type_map\.raw: cannot be read .*give type_map"):
        next(deepmd.read(deepmd_system))


def test_deepmd_errors_name_file_and_shapes(deepmd_system: Path) -> None:
    part = deepmd_system.parent / "set.001"
    np.save(part / "force.npy", np.zeros((1, 9)))
    with pytest.raises(InputError, match=r"set\.001/force\.npy: expected shape \(1, 6\), found \(1, 9\)"):
        list(deepmd.read(deepmd_system))
    np.save(part / "coord.npy", np.zeros((2, 6)))
    with pytest.raises(InputError, match=r"set\.001/box\.npy: expected shape \(2, 9\), found \(1, 9\)"):
        list(deepmd.read(deepmd_system))
    deepmd_system.write_text("0 2")
    with pytest.raises(InputError, match=r"types should be 0 to 1 \(Ar, Ne\), found '2'"):
        list(deepmd.read(deepmd_system))
    (part / "real_atom_types.npy").touch()
    deepmd_system.write_text("0 0")
    with pytest.raises(InputError, match="mixed types"):
        list(deepmd.read(deepmd_system))


def test_npz_with_named_keys(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    given = {"R": rng.random((3, 2, 3)), "F": rng.random((3, 2, 3)), "E": np.array([1.0, np.nan, 3.0])}
    np.savez(tmp_path / "a.npz", Z=[3, 16], L=np.eye(3) * 7, **given)
    names = {"numbers": "Z", "positions": "R"}
    found = list(arrays.read(tmp_path / "a.npz", keys={"forces": "F", "energy": "E"}, cell="L", **names))
    np.testing.assert_array_equal([configuration.labels["forces"] for configuration in found], given["F"])
    assert found[2].cell[1, 1] == 7
    assert np.isnan(found[1].labels["energy"])
    isolated = next(arrays.read(tmp_path / "a.npz", keys={}, cell=None, **names))
    assert not isolated.pbc.any()
    with pytest.raises(InputError, match="no key 'energy' for energy; the file has Z, L, R, F, E"):
        list(arrays.read(tmp_path / "a.npz", keys={"energy": "energy"}, cell="L", **names))
    with pytest.raises(InputError, match=r"energy should have shape \(3,\), found \(3, 2, 3\)"):
        list(arrays.read(tmp_path / "a.npz", keys={"energy": "F"}, cell="L", **names))
    with pytest.raises(InputError, match="unknown labels"):
        list(arrays.read(tmp_path / "a.npz", keys={"charge_density": "F"}, cell="L", **names))


def test_lgps_units_and_signs_by_physics(mirror: Path) -> None:
    """Forces balance, and the pressure falls with the volume as a bulk modulus of tens of GPa asks."""
    recipe = read_card(REPOSITORY / "datasets" / "lgps_pbe" / "README.md").ionecho.build
    found = list(arrays.read(mirror / "lgps_pbe" / "lgps_400atom_sub300.npz", **recipe.options))
    assert len(found) == 300
    forces = np.array([configuration.labels["forces"] for configuration in found])
    assert np.abs(forces.sum(1)).max() < 1e-4  # float32 of the file
    assert np.bincount(found[0].numbers)[[3, 15, 16, 32]].tolist() == [160, 32, 192, 16]
    volume = np.array([abs(np.linalg.det(configuration.cell)) for configuration in found])
    stress = np.array([configuration.labels["stress"] for configuration in found])
    pressure = -np.trace(stress, axis1=1, axis2=2) / 3 * 160.2176634  # GPa
    modulus = -np.polyfit(volume, pressure, 1)[0] * volume.mean()
    assert modulus == pytest.approx(24.3, abs=4.5)  # three standard errors of the slope


def test_lgps_frames_without_a_virial_have_no_stress(mirror: Path) -> None:
    recipe = read_card(REPOSITORY / "datasets" / "lgps_pbe" / "README.md").ionecho.build
    found = list(arrays.read(mirror / "lgps_pbe" / "lgps_50atom.npz", **recipe.options))
    missing = [np.isnan(configuration.labels["stress"]).all() for configuration in found]
    assert (len(found), sum(missing), missing[590]) == (3260, 590, False)
    energy = np.array([configuration.labels["energy"] for configuration in found]) / 50
    assert -4.4 < energy.min() < energy.max() < -3.9  # eV an atom


def test_pymatgen_json_of_27al_gradients(mirror: Path) -> None:
    found = list(pymatgen_json.read(mirror / "al27_efg_cs" / "example_data.json", keys={"efg": "efg"}))
    assert (len(found), sum(len(configuration) for configuration in found)) == (20, 587)
    first = found[0]
    assert first.numbers.tolist() == [13] * 4 + [29] * 2 + [8] * 8
    np.testing.assert_allclose(first.positions[0], [-0.28697918, 3.40826446, 4.6043163], atol=1e-6)
    np.testing.assert_array_equal(first.labels["efg"][0, 0], [-1.028, 5.896, -0.851])
    aluminium = np.concatenate([c.labels["efg"][c.numbers == 13] for c in found])
    coupling = quadrupole_coupling(aluminium, isotope("27Al").quadrupole_moment) / 1e6
    assert 1 < np.median(np.abs(coupling)) < 15  # MHz, where 27Al in solids lies
    assert np.abs(coupling).max() < 50


def test_pymatgen_json_of_another_shape_is_refused(tmp_path: Path) -> None:
    sites = [{"species": [{"element": "Li", "occu": 0.5}], "abc": [0, 0, 0]}]
    record = {"structure": {"lattice": {"matrix": np.eye(3).tolist()}, "sites": sites}, "efg": None}
    file = tmp_path / "a.json"
    file.write_text(json.dumps([record]))
    with pytest.raises(InputError, match="no record has a key 'efg'"):
        list(pymatgen_json.read(file, keys={"efg": "efg"}))
    with pytest.raises(InputError, match="a site holds more than one element, or part of one"):
        list(pymatgen_json.read(file, keys={}))
    file.write_text(json.dumps(record))
    with pytest.raises(InputError, match="expected a list of records"):
        list(pymatgen_json.read(file, keys={}))
    file.write_text(json.dumps([record])[:-9])
    with pytest.raises(InputError, match="not a whole JSON file"):
        list(pymatgen_json.read(file, keys={}))

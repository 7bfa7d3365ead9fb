"""Importers against numbers printed in the files themselves, and against what users stumble over."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from conftest import p2_crystal, toy_card, toy_coupling, write_toy_xyz

from ionecho.data.build import build_from
from ionecho.data.card import ImportRecipe
from ionecho.data.importers import ase_files, importer, vasp
from ionecho.data.store import Dataset
from ionecho.errors import InputError, IonEchoWarning
from ionecho.nmr.isotopes import isotope

QUIET = lambda _: None  # noqa: E731
ISOTOPES = {"Li": "7Li", "O": "17O"}


def test_vasp_hyperfine_is_rescaled_to_the_true_gyromagnetic_ratio(mirror: Path) -> None:
    path = mirror / "vasp_fixtures" / "OUTCAR_fc.gz"
    (found,) = vasp.read(path, isotopes=ISOTOPES, gyromagnetic_ratio=100.0)
    ratios = np.array([isotope(name).gyromagnetic_ratio for name in ("7Li", "7Li", "17O")])
    np.testing.assert_allclose(found.labels["hyperfine_contact"], np.array([-0.052, -0.052, 0.321]) * ratios / 100)
    (core,) = vasp.read(path, isotopes=ISOTOPES, gyromagnetic_ratio=100.0, contact_column="A_1c")
    assert core.labels["hyperfine_contact"][2] == pytest.approx(-0.048 * ratios[2] / 100)


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

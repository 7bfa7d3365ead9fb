"""What people ask of `ionecho label` for the first time: what is refused, with which words, and what is taken over."""

from __future__ import annotations

import gc
import json
import os
import shutil
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT
from conftest import EMT_ENGINE

from ionecho.data.card import FRONT_MATTER, read_card
from ionecho.data.importers.ase_files import from_atoms
from ionecho.data.importers.ase_files import read as read_file
from ionecho.data.store import Dataset
from ionecho.data.trajectory import TextTrajectory
from ionecho.door import label as commands
from ionecho.dynamics.start import read_structure
from ionecho.errors import InputError
from ionecho.labelling.publish import adoptable
from ionecho.labelling.queue import key
from ionecho.labelling.structures import read_structures
from tests.emt_labels import lines_of_provenance, rattled, refusal


@pytest.fixture(autouse=True)
def cells(home: Path) -> None:
    ase.io.write("cells.xyz", rattled(5))


def test_files_are_told_apart_by_what_their_names_differ_in() -> None:
    for name in ("Na0.67MnO2.cif", "Na0.5MnO2.cif", "r1/POSCAR", "r2/POSCAR", "md.xyz.gz", "x.cif", "x.xyz"):
        Path(name).parent.mkdir(exist_ok=True)
        ase.io.write(name, rattled(1, start=len(name))[0], format="vasp" if "POSCAR" in name else None)

    def groups(*names: str) -> list[str]:
        return [configuration.group for configuration in read_structures(names, every=1)]

    assert groups("Na0.67MnO2.cif", "Na0.5MnO2.cif", "md.xyz.gz") == ["Na0.67MnO2", "Na0.5MnO2", "md"]
    assert groups("r1/POSCAR", "r2/POSCAR", "r2/POSCAR") == ["r1/POSCAR", "r2/POSCAR"]
    assert groups("x.cif", "x.xyz") == [f"{Path.cwd()}/x.cif", f"{Path.cwd()}/x.xyz"]


CIF = """data_cell
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 4.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M "P 1"
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cl1 Cl 0.5 0.5 0.5 1.0
"""


@pytest.mark.parametrize(
    ("sites", "told"), [("Na1 Na 0 0 0 0.67", "Na 0.67"), ("Mn1 Mn 0 0 0 0.67\nMg1 Mg 0 0 0 0.33", "Mn 0.67, Mg 0.33")]
)
def test_partly_occupied_sites_are_refused(sites: str, told: str) -> None:
    """ASE would fill each with its first element: another compound."""
    Path("frac.cif").write_text(CIF + sites + "\n")
    for reader in (
        lambda: list(read_file(Path("frac.cif"))),
        lambda: read_structure("frac.cif", 0, [1, 1, 1]),
        lambda: TextTrajectory(Path("frac.cif"), None, None, None, None),
    ):
        with pytest.raises(InputError, match=rf"frac\.cif: a site is partly occupied \({told}\)"):
            reader()
    Path("whole.cif").write_text(CIF + "Na1 Na 0 0 0 1.0\n")
    assert len(list(read_file(Path("whole.cif")))) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("rattle.displacement=0.05", "displacement"),
        ("rattle.displacement=[0.2,0.1]", r"rattle.displacement: expected the smaller first, found [0.2, 0.1]"),
        ("rattle.copies=ten", "copies"),
        ("rattle.copies=-3", "copies"),
        ("every=two", "every: Input should be a valid integer"),
        ("every=0", "every: Input should be greater than 0, found 0"),
        ("input=5", "input: Input should be a valid string, found 5"),
        ("published=perhaps", "published: Input should be a valid boolean"),
        ("workers.number=two", "workers.number: Input should be a valid integer, found 'two'"),
        ("workers.number=0", "workers.number: Input should be greater than 0, found 0"),
        ("engine.package=7", "engine.package: Input should be a valid string, found 7"),
        ("engine.moments={cu: 1}", "engine.moments: expected symbols such as Mn, found cu"),
        ("card.splits=null", "splits"),
        ("engine.calculator=emt", "engine.calculator: expected"),
        ("engine.labels=energy", "engine.labels: expected a list"),
        ("engine.labels=[energy,efg]", "engine.keys: say which of the calculator's results is efg"),
        ("engine.labels=[energy,magnetic_moment]", "engine.calculator"),
        ("engine.calculator._target_=ase.calculators.emt.EMTT", "there is no ase.calculators.emt.EMTT"),
        ("engine.calculator._target_=not_there.MACE", "needs not_there, not installed: install it into"),
    ],
)
def test_wrong_settings_end_with_one_line_before_anything_is_labelled(
    wrong: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EMT, "implemented_properties", ["energy", "forces", "stress"])
    engine = [setting for setting in EMT_ENGINE if setting.partition("=")[0] != wrong.partition("=")[0]]
    if "magnetic_moment" in wrong:
        told = "engine.labels: EMT gives energy, forces, stress, not magnetic_moment"
    assert told in refusal(capsys, "mine", "input=cells.xyz", *engine, wrong)


def test_settings_may_change_while_nothing_is_labelled(here: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(EMT, "calculate", lambda self, *_: self.results.update(energy=np.nan))
        with pytest.raises(InputError, match="nothing is labelled yet"):
            commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE, "engine.labels=[energy]"])
    commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE, "engine.labels=[energy,forces]"])
    assert len(lines_of_provenance(home / "labels" / "copper")) == 5
    with pytest.raises(InputError, match="labels of two kinds do not mix"):
        commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE, "engine.labels=[energy]"])


def test_the_same_atoms_with_other_periodicity_are_another_configuration() -> None:
    atoms = rattled(1)[0]
    names = []
    for pbc in (True, [True, True, False], False):
        atoms.pbc = pbc
        names.append(key(from_atoms(atoms, {}, "x", 0)))
    assert [name[20:] for name in names] == ["", "-c", "-abc"]


def test_what_is_written_into_a_card_stays_there(here: None, home: Path) -> None:
    commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE])
    path = home / "datasets" / "copper" / "README.md"
    text = path.read_text().replace("license: cc-by-4.0", "license: mit").replace("version: 1.0.0", "version: 1.1.0")
    path.write_text(text.replace("citation: unpublished", "citation: A. Student 2026") + "\nIn my words.\n")
    ase.io.write("cells.xyz", rattled(7))
    commands.run_labels("copper", [])
    card = read_card(path)
    assert (card.license, card.ionecho.version, card.ionecho.citation) == ("mit", "1.1.0", "A. Student 2026")
    assert "In my words." in FRONT_MATTER.sub("", path.read_text())
    assert len(Dataset(path.with_name(card.filename))) == 7
    commands.run_labels("copper", ["card.version=1.2.0", "card.licence=cc0-1.0"])
    card = read_card(path)
    assert (card.license, card.ionecho.version, card.ionecho.citation) == ("cc0-1.0", "1.2.0", "A. Student 2026")


def test_status_counts_what_is_published(here: None, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE])
    (home / "labels" / "copper").rename(home / "labels" / "gone")
    capsys.readouterr()
    commands.show_status("copper", [])
    assert "0 labelled, 5 in published versions, 0 waiting, 0 failed" in capsys.readouterr().out


def test_status_and_failures_are_of_the_input(here: None, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = rattled(2, start=5)
    other[0].numbers[0] = 11
    ase.io.write("other.xyz", other)
    commands.run_labels("copper", ["input=[cells.xyz,other.xyz]", *EMT_ENGINE])
    assert "6 configurations, 1 failed" in capsys.readouterr().out
    for show in (commands.show_status, commands.run_labels):
        show("copper", ["input=cells.xyz", *EMT_ENGINE, "card.version=2.0.0"])
        told = capsys.readouterr().out
        assert "5 labelled" in told or "5 configurations, 0 failed" in told
        assert "other.xyz" not in told


def test_no_is_no(here: None, home: Path) -> None:
    line = ["input=cells.xyz", *EMT_ENGINE]
    commands.run_labels("copper", line)
    commands.run_labels("copper", [*line, "published=no"])
    assert (home / "labels" / "copper-anew").is_dir()


def test_labels_of_another_level_are_left_with_a_word(
    here: None, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE])
    (home / "labels" / "copper").rename(home / "labels" / "gone")
    line = ["input=cells.xyz", *EMT_ENGINE, "+engine.settings.set=b", "+engine.calculator.asap_cutoff=true"]
    commands.run_labels("copper", [*line, "card.version=2.0.0"])
    told = capsys.readouterr().out
    assert (
        "copper-1.0.0.zarr.zip: its labels are not taken over, arguments is {} there and {'asap_cutoff': True}" in told
    )


def test_configurations_are_written_for_a_code_that_runs_elsewhere(home: Path, here: None) -> None:
    """The outputs of what was written are found by the line that asks for the same copies."""
    copies = ["input=cells.xyz", "rattle.copies=2", "rattle.seed=3"]
    commands.write_configurations(Path("copies.xyz"), copies)
    run = ase.io.read("copies.xyz", ":")
    for number, atoms in enumerate(run):
        atoms.calc = EMT()
        atoms.get_forces()
        Path(f"runs/{number}").mkdir(parents=True)
        ase.io.write(f"runs/{number}/out.xyz", atoms)
    files = ["engine=files", "engine.folder=runs", "engine.pattern='*/out.xyz'", "engine.importer=extxyz"]
    files += ["engine.labels=[energy,forces]", "engine.settings={code: EMT}"]
    commands.run_labels("copper", [*copies, *files])
    dataset = Dataset(home / "datasets" / "copper" / "copper-1.0.0.zarr.zip")
    assert len(dataset) == 10
    assert len(set(dataset.group)) == 5


def test_of_a_mixed_version_only_labels_of_the_engine_are_taken_over(here: None, home: Path) -> None:
    commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE])
    published = Dataset(home / "datasets" / "copper" / "copper-1.0.0.zarr.zip")
    engine = commands.job_of("copper", []).engine
    assert [index for index, _ in adoptable(published, engine)] == [0, 1, 2, 3, 4]
    published.attrs["provenance"][3]["level_sha256"] = "0" * 64
    assert [index for index, _ in adoptable(published, engine)] == [0, 1, 2, 4]


def test_a_scheduler_that_takes_no_job_ends_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("dask_jobqueue")
    line = ["input=cells.xyz", *EMT_ENGINE, "workers=slurm", "workers.number=1", "+workers.cluster.interface=lo"]
    monkeypatch.setenv("PATH", str(tmp_path / "bin") + os.pathsep + "/usr/bin:/bin")
    with pytest.raises(InputError, match=r"workers: none was started: .*No such file or directory: 'sbatch'") as first:
        commands.run_labels("copper", line)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho invalid partition specified >&2\nexit 1\n")
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    with pytest.raises(InputError, match=r"workers: none was started: (.|\n)*invalid partition specified"):
        commands.run_labels("copper", line)
    del first  # until here, what the first call left alive must not hold the queue
    gc.collect()
    assert not [record for record in caplog.records if record.exc_info]


def test_failures_tell_how_to_go_on(here: None, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = rattled(5)
    mixed[2].numbers[0] = 11
    ase.io.write("cells.xyz", mixed)
    commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE])
    assert "what failed is tried again with retry=true" in capsys.readouterr().out
    folds = Dataset(home / "datasets" / "copper" / "copper-1.0.0.zarr.zip").attrs["splits"]["configuration"]
    assert len(folds) == 4  # one for each that is left
    assert len(json.loads((home / "labels" / "copper" / "failures.json").read_text())) == 1


def test_a_card_from_elsewhere_names_no_program(home: Path, here: None, capsys: pytest.CaptureFixture[str]) -> None:
    """EMT is harmless; a class that was never named here is imported only if the line names it too."""
    commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE])
    shutil.rmtree(home / "labels" / "copper")
    commands.run_labels("copper", [])
    card = home / "datasets" / "copper" / "README.md"
    card.write_text(card.read_text().replace("ase.calculators.emt.EMT", "not_there.Evil"))
    assert "needs not_there" in refusal(capsys, "copper", "retry=true")
    shutil.rmtree(home / "labels" / "copper")
    told = refusal(capsys, "copper", "retry=true")
    assert "the card of copper names not_there.Evil, which was not run here before" in told
    assert "needs not_there" in refusal(capsys, "copper", "engine.calculator._target_=not_there.Evil")

"""The engines that are always there: any ASE calculator, and finished outputs in a folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT
from conftest import EMT_ENGINE

from ionecho.data.store import Dataset
from ionecho.door import label as commands
from ionecho.door.config import compose
from ionecho.errors import InputError
from ionecho.labelling.engine import EngineError, make_engine
from tests.emt_labels import calculators, rattled, refusal

pytestmark = pytest.mark.usefixtures("home")


def test_the_level_of_theory_tells_objects_apart_by_what_is_in_them(here: None) -> None:
    def level(*overrides: str) -> dict[str, object]:
        config = compose("label", ["input=x", *EMT_ENGINE, *overrides])
        return make_engine(config["engine"]).level_of_theory()

    cell = "+engine.calculator.mode={{_target_: ase.cell.Cell, array: [[{0}, 0, 0], [0, 1, 0], [0, 0, 1]]}}"
    assert level(cell.format(1)) == level(cell.format(1)) != level(cell.format(2))
    assert level("+engine.keys={energy: free_energy}") != level()


@pytest.mark.parametrize(("engine", "package"), [("gpaw", "gpaw"), ("tblite", "tblite")])
def test_a_missing_engine_is_one_line_with_the_cure(
    engine: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ase.io.write("cells.xyz", rattled(1))
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "ionecho.labelling.gpaw_engine", raising=False)
    monkeypatch.delattr("ionecho.labelling.gpaw_engine", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    text = refusal(capsys, "mine", "input=cells.xyz", f"engine={engine}")
    assert f"needs {package}, not installed: `make labelling` installs" in text


def test_results_under_other_keys_and_in_a_folder_of_their_own(
    tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    config: dict[str, Any] = {
        "_target_": "ionecho.labelling.ase_engine.ASEEngine",
        "labels": ["energy", "efg"],
        "package": "ase",
        "settings": {"code": "none"},
        "moments": {"Cu": 1.5},
        "keys": {"energy": "free_energy", "efg": "efg_tensors"},
        "calculator": {"_target_": "slow_calculators.Tensors", "_partial_": True},
    }
    calculators(tmp_path, "Tensors")
    labels = make_engine(config).label(rattled(1)[0])
    assert labels.values["energy"] == -7.0
    assert labels.values["efg"].shape == (4, 3, 3)
    np.testing.assert_array_equal(labels.values["efg"][2], np.diag([1.0, 1.0, -2.0]))
    assert Path.cwd() == tmp_path
    config["calculator"]["_target_"] = "slow_calculators.Unconverged"
    with pytest.raises(EngineError, match="did not converge"):
        make_engine(config).label(rattled(1)[0])
    config["keys"]["efg"] = "efg"
    with pytest.raises(EngineError, match="no key 'efg'"):
        make_engine(config).label(rattled(1)[0])
    config["settings"] = {}
    with pytest.raises(InputError, match="say which code and version"):
        make_engine(config)


def test_what_a_calculator_relaxed_or_did_not_compute_is_no_label(
    tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    relaxing, vasp = (
        compose("label", [*calculators(tmp_path, name), "engine.labels=[energy,forces]"])["engine"]
        for name in ("Relaxing", "Vasp")
    )
    with pytest.raises(EngineError, match=r"moved the atoms.*nsw=0"):
        make_engine(relaxing).label(rattled(1)[0])
    assert set(make_engine(vasp).label(rattled(1)[0]).values) == {"energy", "forces"}
    vasp["labels"] = ["energy", "magnetic_moment"]
    with pytest.raises(EngineError, match=r"exactly 0.*ispin=2"):
        make_engine(vasp).label(rattled(1)[0])
    vasp["labels"] = ["energy", "stress"]
    with pytest.raises(EngineError, match="gave no stress"):
        make_engine(vasp).label(rattled(1)[0])


def test_labels_that_are_not_finite_are_a_failure(here: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EMT, "calculate", lambda self, *_: self.results.update(energy=np.nan))
    ase.io.write("cells.xyz", rattled(5))
    with pytest.raises(InputError, match="nothing is labelled yet"):
        commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE, "engine.labels=[energy]"])
    failures = json.loads((home / "labels" / "copper" / "failures.json").read_text()).values()
    assert [failure["reason"] for failure in failures] == ["not finite: energy"] * 5


def outputs(folder: Path, cells: list[ase.Atoms]) -> None:
    """Finished EMT runs, one a folder, as extended XYZ."""
    for number, atoms in enumerate(cells):
        (folder / str(number)).mkdir(parents=True)
        atoms.calc = EMT()
        atoms.get_forces()
        ase.io.write(folder / str(number) / "out.xyz", atoms)


def test_finished_outputs_are_matched_by_their_atoms(here: None, home: Path) -> None:
    """Whole cells away, a little off, in another order of files: the same atoms; others are not taken for them."""
    cells = rattled(7)
    ase.io.write("cells.xyz", cells)
    run = [atoms.copy() for atoms in reversed(cells[:6])]
    run[0].positions[1] += 2 * run[0].cell[0] - run[0].cell[2] + 0.002
    outputs(Path("runs"), run)
    Path("runs/7").mkdir()
    Path("runs/7/out.xyz").write_text("4\nbroken\nCu 0")
    engine = ["engine=files", "engine.folder=runs", "engine.pattern='*/out.xyz'", "engine.importer=extxyz"]
    engine.append("engine.labels=[energy,forces]")
    commands.run_labels("copper", ["input=cells.xyz", *engine, "engine.settings={code: EMT}"])
    dataset = Dataset(home / "datasets" / "copper" / "copper-1.0.0.zarr.zip")
    assert len(dataset) == 6
    energies = [atoms.calc.results["energy"] for atoms in reversed(run)]
    np.testing.assert_allclose(dataset.rows("energy", 0, 6), energies, atol=1e-7)
    assert [entry["file"] for entry in dataset.attrs["provenance"]] == [f"{k}/out.xyz" for k in range(5, -1, -1)]
    assert dataset.attrs["level_of_theory"]["code"] == "EMT"
    (failure,) = json.loads((home / "labels" / "copper" / "failures.json").read_text()).values()
    assert failure["reason"].startswith(
        f"no finished output in {Path('runs').resolve()} holds these atoms; 1 of its files"
    )


def test_finished_outputs_that_do_not_fit_or_fit_twice(tmp_path: Path) -> None:
    cells = rattled(2)
    outputs(tmp_path / "runs", cells)
    config: dict[str, Any] = {
        "_target_": "ionecho.labelling.files_engine.FilesEngine",
        "folder": str(tmp_path / "runs"),
        "pattern": "*/out.xyz",
        "importer": "extxyz",
        "options": {},
        "labels": ["energy"],
        "tolerance": 0.01,
        "settings": {"code": "EMT"},
    }
    engine = make_engine(config)
    assert engine.label(cells[1]).values["energy"] == pytest.approx(cells[1].calc.results["energy"])
    shifted, stretched, swapped = cells[0].copy(), cells[0].copy(), cells[0].copy()
    shifted.positions[2, 0] += 0.02
    stretched.set_cell(stretched.cell * 1.01)
    swapped.numbers[0] = 13
    for atoms in (shifted, stretched, swapped):
        with pytest.raises(Exception, match=r"no finished output in .* holds these atoms$"):
            engine.label(atoms)
    (tmp_path / "runs" / "9").mkdir()
    ase.io.write(tmp_path / "runs" / "9" / "out.xyz", cells[1])
    with pytest.raises(Exception, match=r"1/out\.xyz and .*9/out\.xyz hold the same atoms"):
        make_engine(config).label(cells[1])
    for name, value, told in (
        ("settings", {}, "say what made"),
        ("folder", "nowhere", "no folder"),
        ("importer", "vasp", "unknown importer"),
        ("labels", ["efgs"], "unknown"),
    ):
        with pytest.raises(InputError, match=told):
            make_engine({**config, name: value})

"""What people ask of `ionecho data import` for the first time: few files, damaged ones, files that were put right."""

from __future__ import annotations

import gzip
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from conftest import refused

from ionecho.data.card import read_card, write_card
from ionecho.data.commands import app
from ionecho.data.importers import density, vasp
from ionecho.data.store import Dataset
from ionecho.data.verify import verify
from ionecho.errors import InputError


@pytest.fixture(autouse=True)
def runs(home: Path) -> None:
    Path("runs").mkdir()


def run(name: str, frames: int, energy: float = -1.0, **results: object) -> None:
    """A trajectory `runs/NAME.extxyz` of displaced copper."""
    images = []
    for seed in range(frames):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed + 100 * len(name) + ord(name[0]))
        atoms.calc = SinglePointCalculator(atoms, energy=energy, **results)
        images.append(atoms)
    Path("runs", name).parent.mkdir(exist_ok=True)
    ase.io.write(f"runs/{name}.extxyz", images)


def data(*line: str) -> None:
    """`ionecho data LINE`, in this process."""
    app(list(line), standalone_mode=False)


def load(*options: str) -> Dataset:
    given = ["--importer", "extxyz", "--pattern", "**/*.extxyz*", "--licence", "mit", "--citation", "me"]
    data("import", "mine", "runs", *given, *options)
    return Dataset(next(Path("home/datasets/mine").glob("*.zarr.zip")))


def refusal(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The one line of an import that is refused."""
    return refused(capsys, lambda: load(*options))


def test_frames_of_a_run_stay_together_and_the_card_tells_what_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        run(name, 4)
    dataset = load()
    assert "dataset.split=group" in capsys.readouterr().out
    assert sorted(sorted(fold) for fold in dataset.attrs["splits"]["group"]) == [[f"{name}.extxyz"] for name in "abc"]
    assert len(dataset.attrs["splits"]["configuration"]) == 5
    card = read_card(Path("home/datasets/mine/README.md"))
    assert card.ionecho.elements == ["Cu"]
    assert card.size_categories == ["n<1K"]
    assert card.ionecho.splits["group"].folds == 3


@pytest.mark.parametrize(("frames", "splits"), [(1, {"configuration"}), (7, {"block", "configuration"})])
def test_one_file_is_enough(frames: int, splits: set[str]) -> None:
    run("a", frames)
    assert set(load().attrs["splits"]) == splits


def test_a_file_that_was_put_right_or_taken_away_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    run("a", 3)
    run("b", 4)
    whole = Path("runs/b.extxyz").read_text().splitlines()
    Path("runs/b.extxyz").write_text("\n".join(whole[:-3]))
    assert "b.extxyz" in refusal(capsys)
    run("b", 4, energy=-7.0)
    dataset = load()
    np.testing.assert_array_equal(dataset.rows("energy", 0, 7), [-1.0] * 3 + [-7.0] * 4)


def test_settings_that_fail_at_the_end_do_not_cost_the_import(capsys: pytest.CaptureFixture[str]) -> None:
    run("a", 3)
    assert "a configuration split needs 2 to 3 folds, found 9" in refusal(capsys, "--folds", "9")
    assert Path("home/datasets/mine/mine-1.0.0.zarr").is_dir()
    assert len(load()) == 3


def test_damaged_files_are_named_and_skipped_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    run("a", 3)
    packed = gzip.compress(Path("runs/a.extxyz").read_bytes())
    Path("runs/half.extxyz.gz").write_bytes(packed[: len(packed) // 2])
    Path("runs/plain.extxyz.gz").write_text("no gzip")
    assert "runs/half.extxyz.gz" in refusal(capsys)
    assert len(load("--skip-bad")) >= 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--importer", "npz"], "importer npz: missing a required argument: 'keys'"),
        (["--frames", "1:4:0"], "--frames: expected a step of 1 or more"),
        (["--pattern", "/etc/*"], "pattern '/etc/*'"),
        (["--pattern", ""], "pattern ''"),
        (["--conventions", "{run: 2024-01-05}"], "--conventions: Object of type date"),
        (["--level-of-theory", "PBE"], "--level-of-theory: expected a mapping"),
        (["--without", "moment"], "--without: unknown labels moment"),
        (["--options", "{keys: [energy]}"], "a.extxyz: cannot be read"),
    ],
)
def test_wrong_options_end_with_one_line(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("a", 3)
    assert told in refusal(capsys, *options)


def test_folders_of_one_name_are_no_one_group(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/run/f_1", "b/run/f_2"):
        Path("runs", name).parent.mkdir(parents=True)
        run(name, 1)
    assert "have one name" in refusal(capsys, "--frames", "1:9:1")


def test_labels_that_some_lack_or_that_are_all_zero_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    run("a", 2)
    run("b", 2, magmoms=np.zeros(4))
    assert "has magnetic_moment, which the first configuration lacks" in refusal(capsys)
    assert load("--without", "magnetic_moment").labels == ["energy"]
    run("b", 2, magmoms=np.zeros(4), forces=np.ones((4, 3)))
    assert load("--without", "magnetic_moment", "--without", "forces", "--version", "1.1.0").labels == ["energy"]
    for name in ("a", "b"):
        run(name, 2, magmoms=np.zeros(4))
    assert "magnetic_moment: zero or missing everywhere" in refusal(capsys, "--version", "2.0.0")


def test_the_energy_is_the_one_the_forces_are_derivatives_of() -> None:
    run("a", 2, energy=-1.0, free_energy=-1.5)
    assert load().rows("energy", 0, 2).tolist() == [-1.5, -1.5]


def test_verify_holds_a_dataset_against_its_card(capsys: pytest.CaptureFixture[str]) -> None:
    run("a", 3)
    load()
    data("verify", "mine")
    path = Path("home/datasets/mine/README.md")
    card = read_card(path)
    card.ionecho.content_sha256 = "a" * 64
    write_card(path, card, "")
    with pytest.raises(InputError, match="the card says aaaa"):
        data("verify", "mine")


def test_dipolar_couplings_may_be_rounded_as_vasp_rounds_them(tmp_path: Path) -> None:
    """0.033 0.033 -0.067 MHz, printed for 1 MHz/T, of 7Li."""
    for number, tensor in enumerate(([0.033, 0.033, -0.067], [0.02, 0.033, -0.043])):
        run("a", 3)
        images = ase.io.read("runs/a.extxyz", ":")
        for atoms in images:
            atoms.arrays["dipolar"] = np.tile(np.diag(np.array(tensor) * 16.5).ravel(), (4, 1))
        ase.io.write("runs/a.extxyz", images)
        line = ["--options", "{keys: {hyperfine_dipolar: dipolar}}", "--version", f"{number + 1}.0.0"]
        if number == 0:
            assert not verify(load(*line).path)
        else:
            with pytest.raises(InputError, match="not traceless"):
                load(*line)


@pytest.mark.parametrize("block", [" Fermi contact", " Dipolar hyperfine", "General timing"])
def test_an_outcar_that_breaks_off_after_its_forces_is_refused(mirror: Path, tmp_path: Path, block: str) -> None:
    text = gzip.decompress((mirror / "vasp_fixtures" / "OUTCAR_fc.gz").read_bytes()).decode()
    (tmp_path / "OUTCAR").write_text(text[: text.index(block)])
    with pytest.raises(InputError, match=r"OUTCAR: cut or killed in step 1"):
        list(vasp.read(tmp_path / "OUTCAR", isotopes={"Li": "7Li", "O": "17O"}, gyromagnetic_ratio=1.0))


def test_a_chgcar_that_breaks_off_between_its_grids_is_refused(mirror: Path, tmp_path: Path) -> None:
    text = gzip.decompress((mirror / "density" / "CHGCAR.spin.gz").read_bytes()).decode()
    (tmp_path / "CHGCAR").write_text(text)
    whole = next(density.read_chgcar(tmp_path / "CHGCAR"))
    assert set(whole.labels) == {"charge_density", "spin_density"}
    first = text.index("augmentation")
    header = " ".join(map(str, whole.grid_shape))
    second = next(i for i in range(first, len(text)) if " ".join(text[i : i + 40].split("\n")[0].split()) == header)
    for cut in (second, text.index("\n", first) + 30, text.index("augmentation", first + 1) - 1):
        (tmp_path / "CHGCAR").write_text(text[: text.rindex("\n", 0, cut) + 1])
        with pytest.raises(InputError, match=r"in what stands before another|grid values expected"):
            list(density.read_chgcar(tmp_path / "CHGCAR"))

"""The dataset format: round trip, missing labels, hash, resumed writing, verification."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import toy_card, toy_configuration, write_toy_xyz

from ionecho.data.archives import keeping_zeros
from ionecho.data.build import build, build_from
from ionecho.data.card import Source, write_card
from ionecho.data.fetch import sha256
from ionecho.data.schema import ARRAYS, LABELS, Quality, voigt_to_tensor
from ionecho.data.store import Dataset, DatasetWriter, content_sha256
from ionecho.data.verify import verify
from ionecho.errors import InputError

QUIET = lambda _: None  # noqa: E731
HELD = ("energy", "forces", "magnetic_moment", "hyperfine_contact")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    write_toy_xyz(tmp_path / "files" / "run", 12)
    return build_from(tmp_path / "files", toy_card(), tmp_path / "toy-1.0.0.zarr.zip", QUIET)


def test_round_trip_with_configurations_of_different_size(tmp_path: Path) -> None:
    configurations = [toy_configuration(k) for k in range(3)]
    for name in ("numbers", "positions"):
        setattr(configurations[1], name, getattr(configurations[1], name)[:5])
    configurations[1].labels = {"energy": np.array(-1.0)}
    writer = DatasetWriter(tmp_path / "set.zarr", HELD)
    writer.append(configurations[:2])
    writer.append(configurations[2:])
    dataset = Dataset(tmp_path / "set.zarr")
    assert np.diff(dataset.offsets).tolist() == [11, 5, 11]
    for index, configuration in enumerate(configurations):
        for name in ("positions", "cell", "numbers", *HELD):
            stored = dataset.rows(name, index, index + 1)
            expected = configuration.array(name)
            np.testing.assert_array_equal(stored if ARRAYS[name].per == "atom" else stored[0], expected)
    assert np.isnan(dataset.rows("forces", 1, 2)).all()
    assert dataset.group.tolist() == ["a"] * 3


def test_hash_does_not_depend_on_chunks_but_on_content(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path / "a.zarr", HELD)
    writer.append([toy_configuration(k) for k in range(5)])
    original = zarr.open_group(tmp_path / "a.zarr", mode="r")
    copy = zarr.open_group(tmp_path / "b.zarr", mode="w")
    for name, array in original.arrays():
        values = array[:]
        dtype = str if values.dtype.kind == "T" else values.dtype
        chunks = tuple(max(1, n // 2) for n in values.shape)
        copy.create_array(name, shape=values.shape, chunks=chunks, dtype=dtype, compressors=None)[:] = values
    assert content_sha256(copy) == content_sha256(original)
    copy["forces"][3, 1] += 1e-12
    assert content_sha256(copy) != content_sha256(original)


def test_uncommitted_rows_of_a_killed_writer_are_dropped(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path / "set.zarr", HELD)
    writer.append([toy_configuration(0)])
    writer.group["positions"].append(np.zeros((7, 3)))
    writer.group["group"].append(np.array(["half"]))
    again = DatasetWriter(tmp_path / "set.zarr", HELD)
    again.append([toy_configuration(1)])
    whole = DatasetWriter(tmp_path / "whole.zarr", HELD)
    whole.append([toy_configuration(0), toy_configuration(1)])
    assert content_sha256(again.group) == content_sha256(whole.group)


def test_writer_refuses_other_arrays_than_the_folder_holds(tmp_path: Path) -> None:
    DatasetWriter(tmp_path / "set.zarr", ["energy"])
    with pytest.raises(InputError, match="remove it"):
        DatasetWriter(tmp_path / "set.zarr", ["forces"])
    with pytest.raises(InputError, match="unknown labels"):
        DatasetWriter(tmp_path / "other.zarr", ["enrgy"])


def test_a_label_of_the_wrong_shape_is_refused(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path / "set.zarr", HELD)
    with pytest.raises(InputError, match=r"forces should have shape \(11, 3\), found \(3, 11\)"):
        writer.append([toy_configuration(0, forces=np.zeros((3, 11)))])


def test_built_dataset_is_sound_and_reproducible(built: Path, tmp_path: Path) -> None:
    assert verify(built) == []
    dataset = Dataset(built)
    again = build_from(tmp_path / "files", toy_card(), tmp_path / "again.zarr.zip", QUIET)
    assert dataset.attrs["content_sha256"] == Dataset(again).attrs["content_sha256"]
    assert dataset.attrs["units"]["hyperfine_contact"] == "MHz"
    assert dataset.frame.tolist() == list(range(12))
    assert not built.with_suffix("").exists()


def test_card_hash_that_does_not_match_is_refused(built: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="that is a new version"):
        build_from(tmp_path / "files", toy_card(content_sha256="0" * 64), tmp_path / "c.zarr.zip", QUIET)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda g: g["positions"].__setitem__((3, 0), np.nan), "positions: NaN at atom 3"),
        (lambda g: g["hyperfine_contact"].__setitem__(3, 9.0), "content does not match"),
        (
            lambda g: g["hyperfine_contact"].__setitem__(slice(None), 0.0),
            "hyperfine_contact: zero or missing everywhere",
        ),
        (
            lambda g: g["hyperfine_contact"].__setitem__(slice(None), np.r_[np.nan, np.zeros(65)]),
            "zero or missing everywhere",
        ),
        (lambda g: g["numbers"].__setitem__(0, 0), r"numbers outside 1\.\.118"),
        (lambda g: g["frame"].__setitem__(0, 1), "share group and frame"),
        (lambda g: g.attrs.update(version="one"), "not of the form"),
        (lambda g: g.attrs.update(units={"positions": "nm"}), "unit 'nm', expected 'Å'"),
    ],
)
def test_verify_finds_damage(tmp_path: Path, damage, message: str) -> None:
    write_toy_xyz(tmp_path / "files" / "run", 6)
    path = build_from(tmp_path / "files", toy_card(), tmp_path / "toy.zarr.zip", QUIET)
    folder = tmp_path / "toy"
    zipfile.ZipFile(path).extractall(folder)
    with keeping_zeros():
        damage(zarr.open_group(folder, mode="a"))
    assert any(re.search(message, problem) for problem in verify(folder))


def test_voigt_order_is_that_of_ase() -> None:
    tensor = voigt_to_tensor(np.array([1.0, 2, 3, 4, 5, 6]))
    np.testing.assert_array_equal(tensor, [[1, 6, 5], [6, 2, 4], [5, 4, 3]])


def test_schema_is_complete() -> None:
    assert set(LABELS) <= set(ARRAYS)
    assert {array.per for array in ARRAYS.values()} == {"atom", "configuration", "grid"}
    assert Quality(0) == 0


def test_import_with_other_options_is_begun_anew(tmp_path: Path) -> None:
    write_toy_xyz(tmp_path / "files" / "run", 40)
    for number in range(40):
        file = tmp_path / "files" / "run" / f"frame_{number}.extxyz"
        file.write_text(file.read_text().replace("coupling", "right") if number == 36 else file.read_text())
    target = tmp_path / "toy.zarr.zip"
    with pytest.raises(InputError, match="no key 'coupling'"):
        build_from(tmp_path / "files", toy_card(), target, QUIET)
    card = toy_card()
    card.ionecho.build.frames = (0, 35, 1)
    card.ionecho.build.options = {"keys": {"magnetic_moment": "coupling"}}
    assert Dataset(build_from(tmp_path / "files", card, target, QUIET)).labels == ["magnetic_moment"]


def test_a_version_never_changes(built: Path, tmp_path: Path) -> None:
    write_toy_xyz(tmp_path / "files" / "run", 13, seed=5)
    with pytest.raises(InputError, match="raise the version"):
        build_from(tmp_path / "files", toy_card(), built, QUIET)
    assert len(Dataset(built)) == 12


@pytest.fixture
def folder_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset `toy` whose upstream is a folder of the mirror."""
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IONECHO_MIRROR", str(tmp_path / "mirror"))
    folder = tmp_path / "mirror" / "toy_files"
    write_toy_xyz(folder / "run", 10)
    address = (tmp_path / "page.html").as_uri()
    source = Source(file="toy_files", sha256=sha256(folder), url=address, licence="mit")
    (tmp_path / "home" / "datasets" / "toy").mkdir(parents=True)
    write_card(tmp_path / "home" / "datasets" / "toy" / "README.md", toy_card(source=source), "# toy")
    return folder


def test_a_folder_of_the_mirror_is_read_in_place(folder_source: Path) -> None:
    files = sorted(folder_source.rglob("*"))
    assert len(Dataset(build("toy", QUIET))) == 10
    assert sorted(folder_source.rglob("*")) == files


def test_a_folder_with_other_files_is_refused(folder_source: Path) -> None:
    (folder_source / "run" / "frame_3.extxyz").rename(folder_source / "run" / "frame_11.extxyz")
    with pytest.raises(InputError, match="checksum"):
        build("toy", QUIET)


def test_a_page_instead_of_an_archive_is_named(folder_source: Path, tmp_path: Path) -> None:
    folder_source.rename(tmp_path / "elsewhere")
    (tmp_path / "page.html").write_text("<html>log in to download</html>")
    with pytest.raises(InputError, match=r"page\.html: no archive; fetch the card's files by hand into IONECHO_MIRROR"):
        build("toy", QUIET)

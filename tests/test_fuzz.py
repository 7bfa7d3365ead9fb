"""Damaged and invented files: only errors of ours, in bounded time and memory, and what is read is what is there.

`IONECHO_FUZZ` sets how many cases each reader gets (`make fuzz`: 10 000); here 200, always the same ones.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import ase.io
import numpy as np
import pytest
import zarr
from conftest import p2_crystal, toy_configuration
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_real_inputs import MAGRES, dump, extxyz, outcar, xdatcar

from ionecho.checkpoints.store import load
from ionecho.data.archives import pack
from ionecho.data.card import read_card
from ionecho.data.importers import IMPORTERS
from ionecho.data.schema import LABELS
from ionecho.data.store import Dataset, DatasetWriter, content_sha256
from ionecho.data.trajectory import open_trajectory
from ionecho.data.trajectory_writer import append
from ionecho.errors import InputError
from ionecho.structures.read import images

CASES = int(os.environ.get("IONECHO_FUZZ", "200"))
SLOWEST = 10.0  # s a case
MOST_MEMORY = 1 << 30  # bytes that reading adds
cases = settings(
    max_examples=CASES,
    deadline=1e3 * SLOWEST,
    derandomize="IONECHO_FUZZ" not in os.environ,
    database=None,
    print_blob=True,
    phases=[Phase.generate],  # what fails is told as it is: to make it smaller takes more than all of the rest
    suppress_health_check=list(HealthCheck),
)
TOKENS = b"nan|inf|-1|0|1e999|1e30|****|\x00|\xff\xfe|\n\n| |{|-|999999999999".split(b"|")
edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "drop", "insert", "repeat", "number"]),
        st.floats(0, 1),
        st.integers(1, 40),
        st.sampled_from(TOKENS),
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, changes: list[tuple[str, float, int, bytes]]) -> bytes:
    """The content with these edits made."""
    found = bytearray(content)
    for kind, where, length, token in changes:
        at = min(int(where * len(found)), max(len(found) - 1, 0))
        if kind == "flip" and found:
            found[at] ^= 1 << length % 8
        elif kind == "cut":
            del found[at:]
        elif kind == "drop":
            del found[at : at + length]
        elif kind == "insert":
            found[at:at] = token
        elif kind == "repeat":
            found[at:at] = found[at : at + 8 * length]
        elif kind == "number":
            while at < len(found) and not chr(found[at]).isdigit():
                at += 1
            end = at
            while end < len(found) and chr(found[end]) in "0123456789.eE+-":
                end += 1
            found[at:end] = token
    return bytes(found)


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Fail where reading takes more memory than it may."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < MOST_MEMORY, f"{grown} bytes more"


def only_ours(work: Callable[[], object]) -> bool:
    """Whether the work is done; it may only fail with an error of ours, in one line that names something."""
    try:
        work()
    except InputError as error:
        return not str(error).strip()
    return True


def cube(path: Path) -> None:
    with path.open("w") as file:
        ase.io.write(file, p2_crystal(0), format="cube", data=np.random.default_rng(0).random((3, 3, 4)))


def chgcar(path: Path) -> None:
    ase.io.write(path, p2_crystal(0), format="vasp")
    values = "\n".join(" ".join(f"{x:.10E}" for x in row) for row in np.random.default_rng(0).random((9, 4)))
    path.write_text(path.read_text() + f"\n   3   3   4\n{values}\n")


def deepmd(path: Path) -> None:
    path.write_text("0 0 1\n")
    (path.parent / "type_map.raw").write_text("Na O\n")
    (path.parent / "set.000").mkdir(exist_ok=True)
    for name, width in {"coord": 9, "box": 9, "force": 9, "virial": 9}.items():
        values = np.random.default_rng(0).random((2, width)) + 4 * np.eye(3).ravel()
        np.save(path.parent / "set.000" / f"{name}.npy", values)


def npz(path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = {"positions": rng.random((2, 3, 3)), "cell": np.tile(5 * np.eye(3), (2, 1, 1)), "energy": rng.random(2)}
    np.savez(path, numbers=[11, 11, 8], **frames)


def pymatgen(path: Path) -> None:
    site = {"species": [{"element": "Na", "occu": 1}], "abc": [0.1, 0.2, 0.3]}
    record = {"structure": {"lattice": {"matrix": np.eye(3).tolist()}, "sites": [site]}, "energy": -1.0}
    path.write_text(json.dumps([record, record]))


def magres(path: Path) -> None:
    rows = "ms Na 1 1 2 3 4 5 6 7 8 9\nms Na 2 1 2 3 4 5 6 7 8 9"
    path.write_text(MAGRES.format(key="ms", unit="ppm", rows=rows))


IMPORTED: dict[str, tuple[str, Callable[[Path], object], dict]] = {
    "vasp_outcar": ("OUTCAR", lambda path: path.write_text(outcar(1, (False, True, False))), {}),
    "chgcar": ("CHGCAR", chgcar, {}),
    "cube": ("a.cube", cube, {}),
    "magres": ("a.magres", magres, {}),
    "deepmd": ("type.raw", deepmd, {}),
    "npz": ("a.npz", npz, {"keys": {"energy": "energy"}}),
    "pymatgen_json": ("a.json", pymatgen, {"keys": {"energy": "energy"}}),
    "extxyz": ("a.extxyz", lambda path: extxyz(path, ['energy=-1 stress="1 2 3 4 5 6"', "energy=-2"]), {}),
    "ase": ("b.extxyz", lambda path: extxyz(path, ['energy=-1 virial="1 2 3 4 5 6"', "energy=-2"]), {}),
}


@pytest.mark.parametrize("name", IMPORTERS)
def test_importers(name: str, tmp_path: Path) -> None:
    file, write, options = IMPORTED[name]
    write(tmp_path / file)
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    whole = {path: path.read_bytes() for path in files}

    def imported() -> None:
        for configuration in IMPORTERS[name](tmp_path / file, **options):
            for label in configuration.labels:
                assert label in LABELS
                configuration.array(label)
            assert len(configuration.positions) == len(configuration.numbers) > 0

    assert only_ours(imported)

    @cases
    @given(edits, st.integers(0, len(files) - 1))
    def fuzz(changes: list, which: int) -> None:
        files[which].write_bytes(damaged(whole[files[which]], changes))
        try:
            only_ours(imported)
        finally:
            files[which].write_bytes(whole[files[which]])

    fuzz()


TRAJECTORIES: dict[str, Callable[[Path], object]] = {
    "XDATCAR": lambda path: path.write_text(xdatcar(numbers=(1, 2, 3))),
    "run.lammpstrj": lambda path: dump(path, [0, 10, 20], "id element x y z ix iy iz"),
    "run.extxyz": lambda path: extxyz(path, ["energy=-1", "energy=-2"]),
    "OUTCAR": lambda path: path.write_text(outcar(learned=(False, True))),
    "run.traj": lambda path: ase.io.write(path, [p2_crystal(seed) for seed in range(3)]),
}


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_trajectories(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    TRAJECTORIES[name](path)
    whole = path.read_bytes()

    def followed() -> None:
        for frames in open_trajectory(path, time_step=1.0).blocks(0, 2):
            assert np.isfinite(frames.positions).all()
            assert np.isfinite(frames.cell).all()

    assert only_ours(followed)

    @cases
    @given(edits)
    def fuzz(changes: list) -> None:
        path.write_bytes(damaged(whole, changes))
        only_ours(followed)

    fuzz()


coordinates = st.integers(1, 6).flatmap(lambda atoms: arrays(float, (2, atoms, 3), elements=st.floats(-99, 99)))


@cases
@given(coordinates, st.floats(1.0, 50.0), st.sampled_from([6, 9, 12]))
def test_what_is_read_is_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, places: np.ndarray, length: float, digits: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "there"
    folder.mkdir(exist_ok=True)
    count = places.shape[1]
    cell = f"{length!r} 0 0\n0 {length!r} 0\n0 0 {length!r}"

    def rows(values: np.ndarray, before: Callable[[int], str] = lambda atom: "") -> str:
        lines = (before(atom) + " ".join(f"{x:.{digits}f}" for x in row) for atom, row in enumerate(values))
        return "\n".join(lines) + "\n"

    text = {"XDATCAR": f"toy\n1.0\n{cell}\nNa\n{count}\n", "d.lammpstrj": "", "a.xyz": ""}
    for frame, place in enumerate(places):
        text["XDATCAR"] += f"Direct configuration= {frame + 1}\n" + rows(place / length)
        text["d.lammpstrj"] += f"ITEM: TIMESTEP\n{frame}\nITEM: NUMBER OF ATOMS\n{count}\nITEM: BOX BOUNDS pp pp pp\n"
        text["d.lammpstrj"] += f"0 {length!r}\n" * 3 + "ITEM: ATOMS id element x y z\n"
        text["d.lammpstrj"] += rows(place, lambda atom: f"{atom + 1} Na ")
        lattice = f"{length!r} 0 0 0 {length!r} 0 0 0 {length!r}"
        text["a.xyz"] += f'{count}\nLattice="{lattice}" Properties=species:S:1:pos:R:3\n' + rows(place, lambda _: "Na ")
    for name, content in text.items():
        (folder / name).write_text(content)
        found = np.array([atoms.positions for atoms in images(folder / name)])
        np.testing.assert_allclose(found, places, atol=length * 10.0**-digits)


def stored(folder: Path) -> Path:
    """A sealed set of three configurations, as one file."""
    writer = DatasetWriter(folder / "a.zarr", ["energy", "forces"])
    writer.append([toy_configuration(seed) for seed in range(3)])
    writer.group.attrs["content_sha256"] = content_sha256(writer.group)
    pack(folder / "a.zarr", folder / "a.zarr.zip")
    return folder / "a.zarr.zip"


def test_datasets(tmp_path: Path) -> None:
    path = stored(tmp_path)
    whole = path.read_bytes()

    def contents() -> dict[str, np.ndarray]:
        dataset = Dataset(path)
        return {name: dataset.rows(name, 0, len(dataset)) for name in dataset.names}

    expected = contents()

    @cases
    @given(edits)
    def fuzz(changes: list) -> None:
        path.write_bytes(damaged(whole, changes))

        def unchanged() -> None:
            found = contents()
            assert found.keys() == expected.keys()
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values)

        only_ours(unchanged)

    fuzz()


def test_stored_trajectories(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "t.zarr", mode="w")
    group.create_array("numbers", data=np.array([11, 17]))
    rng = np.random.default_rng(0)
    append(
        group,
        0,
        {"positions": rng.normal(size=(4, 2, 3)), "cell": np.tile(9 * np.eye(3), (4, 1, 1))},
        2,
        pbc=[True] * 3,
    )
    files = sorted(path for path in (tmp_path / "t.zarr").rglob("*") if path.is_file())
    whole = {path: path.read_bytes() for path in files}

    def followed() -> None:
        for frames in open_trajectory(tmp_path / "t.zarr").blocks(0, 2):
            assert np.isfinite(frames.positions).all()

    assert only_ours(followed)

    @cases
    @given(edits, st.integers(0, len(files) - 1))
    def fuzz(changes: list, which: int) -> None:
        files[which].write_bytes(damaged(whole[files[which]], changes))
        try:
            only_ours(followed)
        finally:
            files[which].write_bytes(whole[files[which]])

    fuzz()


def test_cards(tmp_path: Path) -> None:
    whole = (Path(__file__).parents[1] / "datasets" / "p2_nmmo" / "README.md").read_bytes()[:4000]

    @cases
    @given(edits)
    def fuzz(changes: list) -> None:
        (tmp_path / "README.md").write_bytes(damaged(whole, changes))
        only_ours(lambda: read_card(tmp_path / "README.md"))

    fuzz()


@pytest.mark.parametrize("file", ["config.yaml", "weights.safetensors", "manifest.json", "metrics.json"])
def test_checkpoints(file: str, tmp_path: Path) -> None:
    """Damage is found by the manifest; without one, as in the oldest format, by what reads the file."""
    for name, source in {"new": "models/uf3-p2_nmmo", "old": "tests/checkpoints/painn_of_format_1"}.items():
        shutil.copytree(Path(__file__).parents[1] / source, tmp_path / name)
    present = [tmp_path / name / file for name in ("new", "old") if (tmp_path / name / file).exists()]
    whole = {path: path.read_bytes() for path in present}

    @cases
    @given(edits, st.integers(0, len(present) - 1))
    def fuzz(changes: list, which: int) -> None:
        path = present[which]
        path.write_bytes(damaged(whole[path], changes))
        try:
            loaded = only_ours(lambda: load(path.parent))
            assert (
                not loaded or path.read_bytes() == whole[path] or path.parent.name == "old" or file == "manifest.json"
            )
        finally:
            path.write_bytes(whole[path])

    fuzz()

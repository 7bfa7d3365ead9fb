"""Density grids: in the dataset format, and from CHGCAR and cube files against what the files themselves say."""

from __future__ import annotations

import gzip
import re
import zipfile
from pathlib import Path
from unittest.mock import Mock

import ase
import numpy as np
import pytest
import zarr
from ase.io.cube import write_cube
from ase.units import Bohr
from conftest import toy_card, toy_configuration

from ionecho.data.build import build_from
from ionecho.data.card import ImportRecipe
from ionecho.data.importers import density
from ionecho.data.schema import Configuration
from ionecho.data.splits import SplitRecipe
from ionecho.data.store import Dataset, DatasetWriter, content_sha256
from ionecho.data.verify import verify
from ionecho.errors import InputError
from ionecho.labelling.engine import Labels
from ionecho.labelling.publish import publish
from ionecho.labelling.queue import LabelQueue

QUIET = lambda _: None  # noqa: E731
GRIDS = ("energy", "charge_density", "spin_density")


def with_grids(seed: int, shape: tuple[int, int, int] | None) -> Configuration:
    """A toy configuration with random densities of this shape, or without."""
    rng = np.random.default_rng(seed)
    configuration = toy_configuration(seed)
    configuration.labels = {"energy": configuration.labels["energy"]}
    if shape is not None:
        for name in ("charge_density", "spin_density"):
            configuration.labels[name] = rng.random(shape).astype("float32")
    return configuration


def electrons(configuration: Configuration, name: str = "charge_density") -> float:
    """Integral of a grid over the cell."""
    volume = abs(np.linalg.det(configuration.cell))
    return float(np.mean(configuration.labels[name], dtype=float) * volume)


def printed_blocks(path: Path) -> list[np.ndarray]:
    """The grids of a CHGCAR as printed, (size,) each, found by the line of its dimensions."""
    text = gzip.decompress(path.read_bytes()).decode()
    header = re.search(r"\n *\n( +\d+ +\d+ +\d+)\n", text)[1]
    size = int(np.prod([int(word) for word in header.split()]))
    return [np.array(part.split()[:size], dtype=float) for part in text.split(f"{header}\n")[1:]]


def test_ragged_grids_of_different_shape_come_back_as_they_were(tmp_path: Path) -> None:
    shapes = [(3, 4, 5), None, (2, 2, 7), (6, 5, 4)]
    configurations = [with_grids(seed, shape) for seed, shape in enumerate(shapes)]
    writer = DatasetWriter(tmp_path / "set.zarr", GRIDS)
    writer.append(configurations[:3])
    writer.append(configurations[3:])
    dataset = Dataset(tmp_path / "set.zarr")
    assert dataset.grid_shape.tolist() == [[3, 4, 5], [0, 0, 0], [2, 2, 7], [6, 5, 4]]
    assert dataset.grid_offsets.tolist() == [0, 60, 60, 88, 208]
    for index in (0, 2, 3):
        for name in ("charge_density", "spin_density"):
            np.testing.assert_array_equal(dataset.grid(name, index), configurations[index].labels[name])
    with pytest.raises(InputError, match="configuration 1 has no grid 'charge_density'"):
        dataset.grid("charge_density", 1)
    with pytest.raises(InputError, match="no grid 'energy'"):
        dataset.grid("energy", 0)


def test_labelled_grids_are_published_as_they_came(tmp_path: Path) -> None:
    """Of different shapes, labelled in another order than the dataset's."""
    found = [with_grids(seed, shape) for seed, shape in enumerate([(3, 4, 5), (2, 2, 7), (6, 5, 4)])]
    expected = [dict(configuration.labels) for configuration in found]
    engine = Mock(labels=GRIDS, conventions={})
    engine.level_of_theory.return_value = {"engine": "none"}
    card = toy_card(build=None, splits={"configuration": SplitRecipe(kind="configuration", folds=2)})
    with LabelQueue(tmp_path / "queue", GRIDS, {}) as queue:
        for index in (2, 0, 1):
            queue.add(found[index], Labels(expected[index]))
        published = publish(queue, engine, card, tmp_path / "set", found)
    assert verify(published) == []
    for index, labels in enumerate(expected):
        for name in ("charge_density", "spin_density"):
            np.testing.assert_array_equal(Dataset(published).grid(name, index), labels[name])


def test_a_missing_grid_is_nan_and_two_grids_share_their_points(tmp_path: Path) -> None:
    alone = with_grids(0, (3, 3, 3))
    del alone.labels["spin_density"]
    writer = DatasetWriter(tmp_path / "set.zarr", GRIDS)
    writer.append([alone])
    assert np.isnan(Dataset(tmp_path / "set.zarr").grid("spin_density", 0)).all()
    unequal = with_grids(1, (3, 3, 3))
    unequal.labels["spin_density"] = np.ones((3, 3, 4))
    with pytest.raises(InputError, match=r"spin_density should have shape \(3, 3, 3\), found \(3, 3, 4\)"):
        writer.append([unequal])
    unequal.labels["charge_density"] = np.ones(27)
    with pytest.raises(InputError, match=r"charge_density should have shape \(n1, n2, n3\)"):
        writer.append([unequal])


def test_a_killed_writer_drops_half_written_grids(tmp_path: Path) -> None:
    first, second = with_grids(0, (5, 4, 3)), with_grids(1, (3, 3, 3))
    writer = DatasetWriter(tmp_path / "set.zarr", GRIDS)
    writer.append([first])
    writer.group["charge_density"].append(np.zeros(11, "float32"))
    writer.group["grid_shape"].append(np.array([[9, 9, 9]]))
    DatasetWriter(tmp_path / "set.zarr", GRIDS).append([second])
    DatasetWriter(tmp_path / "whole.zarr", GRIDS).append([first, second])
    opened = [zarr.open_group(tmp_path / name, mode="r") for name in ("set.zarr", "whole.zarr")]
    assert content_sha256(opened[0]) == content_sha256(opened[1])


def test_hash_depends_on_every_grid_value_and_shape(tmp_path: Path) -> None:
    DatasetWriter(tmp_path / "set.zarr", GRIDS).append([with_grids(0, (4, 3, 2))])
    group = zarr.open_group(tmp_path / "set.zarr", mode="a")
    hashes = [content_sha256(group)]
    group["grid_shape"][0] = [2, 3, 4]
    hashes.append(content_sha256(group))
    group["spin_density"][17] += 1e-6
    hashes.append(content_sha256(group))
    assert len(set(hashes)) == 3


def test_a_dataset_without_grids_has_no_grid_arrays(tmp_path: Path) -> None:
    DatasetWriter(tmp_path / "set.zarr", ["energy"]).append([with_grids(0, None)])
    dataset = Dataset(tmp_path / "set.zarr")
    assert not [name for name in dataset.zarr.array_keys() if "grid" in name or "density" in name]
    assert dataset.grid_shape.tolist() == [[0, 0, 0]]


@pytest.fixture
def built(mirror: Path, tmp_path: Path) -> Path:
    """A folder dataset of two real densities, one with spin: two files are two groups."""
    (tmp_path / "files").mkdir()
    for name in ("CHGCAR.spin.gz", "LiH_SCAN_CHGCAR.gz"):
        (tmp_path / "files" / name).symlink_to(mirror / "density" / name)
    recipe = ImportRecipe(importer="chgcar", pattern="*CHGCAR*", options={"keepbits": 12})
    card = toy_card(build=recipe, splits={})
    packed = build_from(tmp_path / "files", card, tmp_path / "toy.zarr.zip", QUIET)
    zipfile.ZipFile(packed).extractall(tmp_path / "open.zarr")
    return tmp_path / "open.zarr"


def test_densities_are_built_into_a_sound_dataset(built: Path) -> None:
    dataset = Dataset(built)
    assert verify(built) == []
    assert dataset.attrs["units"]["charge_density"] == "e/Å³"
    assert dataset.labels == ["charge_density", "spin_density"]
    volumes = np.abs(np.linalg.det(dataset.rows("cell", 0, 2)))
    counts = [dataset.grid("charge_density", i).mean(dtype=float) * volumes[i] for i in range(2)]
    np.testing.assert_allclose(counts, [1.0, 4.0], rtol=1e-5)  # rounding to 12 bits averages out


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda g: g["charge_density"].__setitem__(5, np.nan), "charge_density: not finite at configuration 0"),
        (lambda g: g["charge_density"].__setitem__(slice(None), -1.0), "not positive at configuration 0"),
        (lambda g: g["grid_shape"].__setitem__((0, 0), 47), "grow by the product of each grid_shape"),
        (lambda g: g["spin_density"].resize((7,)), "spin_density: shape"),
        (lambda g: g["spin_density"].__setitem__(9, 1.0), "content does not match"),
    ],
)
def test_verify_finds_damaged_grids(built: Path, damage, message: str) -> None:
    damage(zarr.open_group(str(built), mode="a"))
    assert any(message in problem for problem in verify(built))


@pytest.mark.parametrize(
    ("file", "valence", "spin"),
    [("CHGCAR.nospin.gz", 1, None), ("CHGCAR.spin.gz", 1, -0.0203), ("LiH_SCAN_CHGCAR.gz", 4, 0.0)],
)
def test_chgcar_holds_the_electrons_and_the_moment(mirror: Path, file: str, valence: int, spin: float | None) -> None:
    (found,) = density.read_chgcar(mirror / "density" / file)
    assert electrons(found) == pytest.approx(valence, abs=1e-6)
    assert ("spin_density" in found.labels) == (spin is not None)
    if spin is not None:
        assert electrons(found, "spin_density") == pytest.approx(spin, abs=1e-4)


@pytest.mark.parametrize(
    "file",
    [
        *("CHGCAR.spin.gz", "LiH_SCAN_CHGCAR.gz", "CHGCAR.Fe3O4_ref.gz"),
        *("YPO4-static_AECCAR0.gz", "YMgPO4-static_AECCAR2.gz"),
    ],
)
def test_chgcar_values_and_their_order_are_those_printed(mirror: Path, file: str) -> None:
    (found,) = density.read_chgcar(mirror / "density" / file)
    volume = abs(np.linalg.det(found.cell))
    blocks = printed_blocks(mirror / "density" / file)
    assert len(blocks) == len(found.labels)
    for values, printed in zip(found.labels.values(), blocks, strict=True):
        n1, n2, _ = values.shape
        for i, j, k in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (7, 30, 21)):
            expected = printed[i + n1 * (j + n2 * k)] / volume
            assert values[i, j, k] == pytest.approx(expected, rel=1e-6)  # float32
        assert values.mean(dtype=float) * volume == pytest.approx(printed.mean(), rel=1e-6, abs=1e-9)


def test_the_density_peaks_at_the_ions(mirror: Path) -> None:
    """The point with the most electrons of LiH is on an ion: axes and positions belong together."""
    (found,) = density.read_chgcar(mirror / "density" / "LiH_SCAN_CHGCAR.gz")
    grid = found.labels["charge_density"]
    highest = np.array(np.unravel_index(grid.argmax(), grid.shape)) / grid.shape
    separation = highest - found.positions @ np.linalg.inv(found.cell)
    assert (np.abs(separation - np.round(separation)).max(1) < 2 / 48).any()


def chgcar(path: Path, blocks: int, tail: str = "") -> None:
    """A CHGCAR of one Li on a 2 x 2 x 2 grid."""
    grid = "   2   2   2\n 1.0 2.0 3.0 4.0 5.0\n 6.0 7.0 8.0\naugmentation occupancies   1   2\n  0.1E+00 0.2E+00\n"
    head = "Li\n 1.0\n 2 0 0\n 0 2 0\n 0 0 2\n Li\n 1\nDirect\n 0 0 0\n\n"
    path.write_text(head + grid * blocks + tail)


def test_what_is_no_single_collinear_density_is_refused(tmp_path: Path) -> None:
    chgcar(tmp_path / "CHGCAR", 2)
    (found,) = density.read_chgcar(tmp_path / "CHGCAR")
    np.testing.assert_array_equal(found.labels["spin_density"], found.labels["charge_density"])
    assert found.labels["charge_density"][1, 0, 1] == 6 / 8
    chgcar(tmp_path / "CHGCAR", 4)
    with pytest.raises(InputError, match="CHGCAR: 4 grids, so a non-collinear run"):
        list(density.read_chgcar(tmp_path / "CHGCAR"))
    chgcar(tmp_path / "CHG", 1, "Li at another step\n")
    with pytest.raises(InputError, match="'Li at another step' after a grid"):
        list(density.read_chgcar(tmp_path / "CHG"))
    text = (tmp_path / "CHGCAR").read_text()
    (tmp_path / "cut").write_text(text[: text.index(" 6.0")])
    with pytest.raises(InputError, match="cut: 8 grid values expected, found 5"):
        list(density.read_chgcar(tmp_path / "cut"))
    (tmp_path / "cut").write_text("")
    with pytest.raises(InputError, match="cut: not a CHGCAR"):
        list(density.read_chgcar(tmp_path / "cut"))


def test_cube_holds_the_electrons_it_was_written_with(tmp_path: Path) -> None:
    """A periodic Gaussian of 4 electrons on one ion, in a sheared cell with its grid off the origin."""
    cell = np.array([[4.0, 0, 0], [1.0, 5.0, 0], [0, 0.5, 6.0]])
    shape, width, ion, origin = (20, 25, 30), 0.5, np.array([2.1, 2.4, 2.6]), np.array([0.3, -0.2, 0.7])
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), -1) @ cell + origin
    images = np.array(list(np.ndindex(3, 3, 3))) - 1
    distances = [np.linalg.norm(points - ion - image @ cell, axis=-1) for image in images]
    grid = 4 * sum(np.exp(-(r**2) / (2 * width**2)) for r in distances) / (2 * np.pi * width**2) ** 1.5
    with (tmp_path / "rho.cube").open("w") as file:
        write_cube(file, ase.Atoms("O", [ion], cell=cell), grid * Bohr**3, origin=origin)
    (found,) = density.read_cube(tmp_path / "rho.cube")
    assert electrons(found) == pytest.approx(4, rel=1e-5)  # the file has six decimals of the voxel
    np.testing.assert_allclose(found.cell, cell, atol=1e-4)
    np.testing.assert_allclose(found.positions, [ion - origin], atol=1e-5)
    np.testing.assert_allclose(found.labels["charge_density"], grid, rtol=1e-5, atol=1e-7)
    (spin,) = density.read_cube(tmp_path / "rho.cube", label="spin_density", pbc=False)
    assert list(spin.labels) == ["spin_density"]
    assert not spin.pbc.any()


def test_cube_of_cp2k_is_read_in_e_per_cubic_angstrom(mirror: Path) -> None:
    path = mirror / "density" / "benzene_or_elec.cube.gz"
    (found,) = density.read_cube(path)
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    voxel = abs(np.linalg.det([[float(word) for word in line.split()[1:]] for line in lines[3:6]]))  # bohr³
    values = np.array(" ".join(lines[15:]).split(), dtype=float)
    assert found.labels["charge_density"].shape == (23, 23, 24)
    assert sorted(set(found.numbers.tolist())) == [8, 24]
    assert electrons(found) == pytest.approx(values.sum() * voxel, rel=1e-6)
    assert found.labels["charge_density"][0, 0, 1] == pytest.approx(0.44819e-2 / Bohr**3, rel=1e-6)


def test_cube_of_a_stride_that_does_not_divide_the_grid_is_found_by_its_electrons(mirror: Path) -> None:
    """Every second point of 45 x 45 x 48: 23 voxels are 2 % longer than the cell, which holds 4 Cr (14) and 5 O (6)."""
    path = mirror / "density" / "benzene_or_elec.cube.gz"
    with pytest.raises(
        InputError, match=r"86 electrons expected, found 89\.21; a stride that does not divide the grid does that"
    ):
        list(density.read_cube(path, electrons=86))
    assert len(list(density.read_cube(path, electrons=89))) == 1


def test_cubes_of_other_things_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "rho.cube").open("w") as file:
        write_cube(file, ase.Atoms("O", [[0, 0, 0]], cell=[2, 2, 2]), np.ones((3, 3, 3)))
    lines = (tmp_path / "rho.cube").read_text().splitlines()
    for number in (2, 3):
        negative = [*lines[:number], "  -" + lines[number].lstrip(), *lines[number + 1 :]]
        (tmp_path / "bad.cube").write_text("\n".join(negative))
        with pytest.raises(InputError, match=r"bad\.cube: a negative count"):
            list(density.read_cube(tmp_path / "bad.cube"))
    (tmp_path / "bad.cube").write_text("\n".join(lines[:-2]))
    with pytest.raises(InputError, match=r"bad\.cube: not a whole cube file"):
        list(density.read_cube(tmp_path / "bad.cube"))
    with pytest.raises(InputError, match="label 'elf' is none of"):
        list(density.read_cube(tmp_path / "rho.cube", label="elf"))


@pytest.mark.parametrize("keepbits", [0, 7, 12, 23])
def test_rounding_the_mantissa_keeps_its_bound(keepbits: int) -> None:
    values = np.random.default_rng(0).lognormal(sigma=5, size=(8, 9, 10)).astype("float32")
    given = values.copy()
    found = density.rounded(values, keepbits)
    np.testing.assert_array_equal(values, given)
    error = np.abs(found / values - 1).max()
    assert error <= 2.0 ** -(keepbits + 1)
    bits = found.view("uint32")
    assert not (bits & (2 ** (23 - keepbits) - 1)).any()
    np.testing.assert_array_equal(density.rounded(values, None), values)
    assert density.rounded(np.zeros(3), keepbits).tolist() == [0, 0, 0]

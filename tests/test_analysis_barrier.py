"""Known answers of barriers: an analytic path, another level of theory on its images, and the way a user goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from conftest import EMT_ENGINE, run_entry, vacancy_hop
from numpy.typing import NDArray

from ionecho.analysis import analyze
from ionecho.analysis.barrier import Barrier, BarrierOptions, Comparison, barrier, compare, read_band
from ionecho.data.schema import Configuration
from ionecho.data.store import DatasetWriter
from ionecho.door import label as commands
from ionecho.door.neb import find_path
from ionecho.errors import InputError

HEIGHT, TILT, LENGTH = 0.4, 0.1, 4.0  # eV, eV, Å
CELL = np.diag([5.0, 5.0, 5.0])
NUMBERS = np.array([11, 8])
OPTIONS = BarrierOptions(tolerance=1e-3)


def hop(images: int) -> tuple[NDArray, NDArray, NDArray]:
    """Na over a cosine barrier on a tilted line through the cell's border: positions, energies, forces."""
    s = np.linspace(0, LENGTH, images)
    along = np.array([1.0, 2.0, 2.0]) / 3
    energies = HEIGHT / 2 * (1 - np.cos(2 * np.pi * s / LENGTH)) + TILT * s / LENGTH
    slope = HEIGHT * np.pi / LENGTH * np.sin(2 * np.pi * s / LENGTH) + TILT / LENGTH
    positions = np.stack([np.array([3.0, 3.0, 3.0]) + s[:, None] * along, np.zeros((images, 3))], axis=1)
    forces = np.stack([-slope[:, None] * along, np.zeros((images, 3))], axis=1)
    return positions, energies - 50.0, forces


def height() -> float:
    """Of the tilted cosine, on a fine grid."""
    s = np.linspace(0, 1, 100_001)
    return float((HEIGHT / 2 * (1 - np.cos(2 * np.pi * s)) + TILT * s).max())


def write(path: Path, images: int, wrapped: bool = False, forces: bool = True) -> Path:
    positions, energies, slopes = hop(images)
    group = zarr.open_group(str(path), mode="w")
    group.create_array("positions", data=positions % 5.0 if wrapped else positions)
    group.create_array("cell", data=CELL[None])
    group.create_array("numbers", data=NUMBERS)
    group.create_array("potential_energy", data=energies)
    group.create_array("path_length", data=np.linspace(0, LENGTH, images))
    if forces:
        group.create_array("forces", data=slopes)
    ends = {name: {"structure_sha256": name} for name in ("initial", "final")}
    group.attrs.update(pbc=[True] * 3, request={"checkpoint": "toy", **ends})
    return path


def reference(path: Path, images: int, chosen: list[int], scale: float = 1.1, moved: float = 0.0) -> Path:
    """A dataset with these images in this order: energies and forces larger by `scale`, far lower in all."""
    positions, energies, forces = hop(images)
    writer = DatasetWriter(path, ["energy", "forces"])
    for frame, image in enumerate(chosen):
        labels = {"energy": np.array((energies[image] + 50.0) * scale - 900.0), "forces": forces[image] * scale}
        at = (positions[image] + moved) % 5.0
        writer.append([Configuration(NUMBERS, at, CELL, np.ones(3, bool), "g", frame, f"s{image}", labels=labels)])
    other = Configuration(NUMBERS[::-1], positions[0], CELL, np.ones(3, bool), "g", 99, "other atoms", labels=labels)
    writer.append([other])
    writer.group.attrs["level_of_theory"] = {"engine": "analytic"}
    return path


def measure(path: Path) -> Barrier:
    band = read_band(path)
    return barrier(band.positions, band.energies, band.forces)


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_fit_finds_a_top_between_images(tmp_path: Path, wrapped: bool) -> None:
    """Error of a cubic piece: h^4 max|E''''| / 384 = 0.3 meV for these eight images."""
    found = measure(write(tmp_path / "a.zarr", images=8, wrapped=wrapped))
    assert found.fit is not None
    assert found.fit.forward == pytest.approx(height(), abs=1e-3)
    assert found.fit.backward == pytest.approx(height() - TILT, abs=1e-3)
    assert found.forward == pytest.approx(0.43734, abs=1e-5)  # of the image beside the top, 13 meV lower
    assert found.reaction_energy == pytest.approx(TILT)
    assert found.backward == pytest.approx(found.forward - TILT)


def test_an_image_on_the_top_is_the_barrier_with_and_without_forces(tmp_path: Path) -> None:
    positions, energies, _ = hop(9)
    level = energies - TILT * np.linspace(0, 1, 9)
    assert barrier(positions, level, None).forward == pytest.approx(HEIGHT, abs=1e-12)
    assert measure(write(tmp_path / "a.zarr", images=9, forces=False)).fit is None


def test_a_reference_is_matched_by_its_atoms_in_any_order(tmp_path: Path) -> None:
    """Energies and forces larger by a tenth: every difference is a tenth of the path's own value."""
    path = write(tmp_path / "a.zarr", images=8)
    band, own = read_band(path), measure(path)
    found = compare(band, own, reference(tmp_path / "r.zarr", 8, [5, 0, 7, 3, 1, 2, 6, 4]), OPTIONS)
    assert (found.labelled, found.computed_by) == (8, "analytic")
    np.testing.assert_allclose(found.difference, -0.1 * own.energies, atol=1e-9)
    assert found.forward_difference == pytest.approx(-0.1 * own.forward)
    assert found.energy_rmse == pytest.approx(0.1 * np.sqrt(np.square(own.energies[1:]).mean()))
    assert found.force_rmse == pytest.approx(0.1 * np.sqrt(np.square(band.forces).mean()))  # type: ignore[arg-type]
    assert found.barrier.fit is not None
    assert found.barrier.fit.forward == pytest.approx(1.1 * height(), abs=1.1e-3)


def partly(tmp_path: Path, chosen: list[int], **changes: float) -> Comparison:
    path = write(tmp_path / "a.zarr", images=8)
    return compare(read_band(path), measure(path), reference(tmp_path / "r.zarr", 8, chosen, **changes), OPTIONS)


def test_a_reference_of_some_images_has_no_fit_and_a_barrier_only_with_the_highest(tmp_path: Path) -> None:
    found = partly(tmp_path, [0, 4])
    assert (found.labelled, found.barrier.fit, found.barrier.backward) == (2, None, None)
    assert found.barrier.top == 4
    assert found.forward_difference == pytest.approx(-0.1 / 1.1 * found.barrier.forward)
    assert np.isnan(found.difference[1])


def test_the_barrier_is_not_compared_without_the_highest_image(tmp_path: Path) -> None:
    assert partly(tmp_path, [0, 2]).forward_difference is None


@pytest.mark.parametrize(("chosen", "moved"), [([1, 2, 3], 0.0), ([0], 0.0), (list(range(8)), 0.01)])
def test_a_reference_of_other_structures_is_refused(tmp_path: Path, chosen: list[int], moved: float) -> None:
    with pytest.raises(InputError, match="expected labels of the first image of the path and of others"):
        partly(tmp_path, chosen, moved=moved)


def test_what_is_no_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a path from `ionecho neb`"):
        read_band(reference(tmp_path / "r.zarr", 8, [0]))
    with pytest.raises(InputError, match="no input"):
        read_band(tmp_path / "none.zarr")


def test_two_paths_with_a_partial_reference_are_told_apart(tmp_path: Path) -> None:
    inputs = [str(write(tmp_path / f"{name}.zarr", images=n)) for name, n in (("a", 8), ("b", 5))]
    labels = str(reference(tmp_path / "r.zarr", 8, [0, 4]))
    report = analyze("barrier", inputs, {"tolerance": 1e-3, "reference": labels})
    report.write(tmp_path / "report")
    summary = report.summary
    assert [entry["images"] for entry in summary["paths"].values()] == [8, 5]
    assert summary["notes"] == [f"{labels} labels 2 of 8 images; its barrier is over these."]
    images = pd.read_csv(tmp_path / "report" / "images.csv")
    assert images["reference"].notna().sum() == 2
    np.testing.assert_allclose(images["energy"][images.path == "b"], hop(5)[1] - hop(5)[1][0], atol=1e-9)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Label in this process, into a home of the test."""

    @contextmanager
    def thread(_: object) -> Iterator[Executor]:
        with ThreadPoolExecutor(1) as pool:
            yield pool

    monkeypatch.setattr("ionecho.labelling.job.executor", thread)
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("here")
def test_a_path_is_found_labelled_and_reported(tmp_path: Path) -> None:
    """The engine that relaxed the path labels its images: no difference at all."""
    path = find_path(tmp_path / "ml.zarr", [*vacancy_hop(tmp_path), *EMT_ENGINE, "images=5"])
    splits = "++card.splits={configuration: {kind: configuration, folds: 2}}"
    commands.run_labels("ml", [f"input={path}", *EMT_ENGINE, splits])
    output = tmp_path / "report"
    found = run_entry("analyze.py", "analysis=barrier", f"input={path}", "reference=ml", f"output={output}")
    assert found.returncode == 0, found.stderr
    summary = json.loads((output / "summary.json").read_text())
    assert {file.name for file in output.iterdir()} >= {"report.html", "barrier.png", "barriers.csv", "images.csv"}
    assert {"forward_difference", "energy_rmse", "force_rmse"} < set(pd.read_csv(output / "errors.csv"))
    assert pd.read_csv(output / "barriers.csv").path.tolist() == ["ml", "ml (reference)"]
    own, other = summary["paths"]["ml"], summary["reference"]
    assert own["highest_image"] == 2
    assert own["backward_eV"] == pytest.approx(own["forward_eV"], abs=1e-3)  # both ends are a vacancy
    assert own["fit"]["forward_eV"] == pytest.approx(own["forward_eV"], abs=5e-3)  # the climbing image is on the top
    assert own["computed_by"] == other["computed_by"]
    assert other["images"] == 5
    assert other["energy_rmse"] == pytest.approx(0, abs=1e-9)
    assert other["force_rmse"] == pytest.approx(0, abs=1e-9)

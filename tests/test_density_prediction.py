"""Whole grids of the density model: equal to its values at points, written slab by slab, exported and read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
import zarr
from ase.calculators.vasp import VaspChargeDensity
from density_cells import (
    CENTRES,
    HYPERPARAMETERS,
    NUMBERS,
    build,
    crystal,
    graph_for,
    moments,
    some_points,
    with_points,
)

from ionecho.checkpoints.store import FORMAT_VERSION, Checkpoint, CheckpointConfig, load, save
from ionecho.data.density_files import export_density
from ionecho.data.importers.density import read_chgcar, read_cube
from ionecho.data.points import PointRecipe
from ionecho.data.store import Dataset
from ionecho.data.trajectory import open_trajectory
from ionecho.errors import InputError
from ionecho.geometry.orbitals import AtomPoints, Orbitals
from ionecho.geometry.probes import atoms_within_reach, grid_points
from ionecho.geometry.waves import Waves, orders
from ionecho.models.ensemble import Ensemble
from ionecho.prediction.device import PredictionSettings
from ionecho.prediction.grids import GridSettings, slabs, write_grids
from ionecho.prediction.predictor import Predictor
from ionecho.training.losses import RelativeErrors

FIELDS = ("charge_density", "spin_density")
SETTINGS = PredictionSettings.choose("cpu", "float64", 1, 4, None)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    model = build("density").float()
    config = CheckpointConfig(
        format_version=FORMAT_VERSION, name="toy", model="density",
        hyperparameters={"numbers": NUMBERS, "centres": CENTRES, **HYPERPARAMETERS["density"]}, members=1,
        calibration={}, parameters={}, training={"seed": 0},
        dataset={"name": "toy", "version": "1.0.0", "content_sha256": "0", "conventions": {}},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("toy")
    save(folder / "toy", config, Ensemble([model], {}), {}, "card")
    return load(folder / "toy")


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trajectory") / "t.zarr"
    frames = [crystal(seed) for seed in range(3)]
    group = zarr.open_group(folder, mode="w")
    group["positions"] = np.stack([atoms.positions for atoms in frames])
    group["cell"] = np.stack([atoms.cell.array for atoms in frames])
    group["numbers"] = frames[0].numbers
    group["magnetic_moment"] = np.stack([moments(atoms) for atoms in frames])
    return folder


def predictor(checkpoint: Checkpoint, place: Path, **more: Any) -> Predictor:
    return Predictor(checkpoint, {}, open_trajectory(place), SETTINGS, **more)


def test_orbitals_are_orthonormal_and_their_waves_are_their_fourier_transforms() -> None:
    orbitals = Orbitals([0.8, 1.3, 2.0], 4).double()
    edge, count = 9.0, 48
    cell = edge * torch.eye(3).double()
    there = grid_points(cell, (count,) * 3, 0, count**3) - edge / 2
    unit = torch.zeros(25, 25, 3, 2).double()
    unit[torch.arange(25), torch.arange(25), 1, 0] = 1.0
    primitives = orbitals.primitives(unit)
    values = torch.einsum("pkn, akn -> pa", orbitals.values(there), primitives[..., 0])
    volume = (edge / count) ** 3
    np.testing.assert_allclose(volume * values.T @ values, np.eye(25), atol=2e-4)
    vectors = torch.tensor([[0.0, 0, 0], [1.0, -0.7, 0.4], [-2.0, 0.9, 3.1]]).double()
    expected = volume * torch.exp(-1j * (there @ vectors.T)).T @ values.to(torch.complex128)
    found = torch.stack(
        [orbitals.waves(primitives[k : k + 1], torch.zeros(1, 3).double(), vectors)[:, 0] for k in range(25)], 1
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(orbitals.integrals(primitives)[:, 0], volume * values.sum(0), atol=1e-4)


def test_waves_are_evaluated_on_any_part_of_a_grid() -> None:
    cell = torch.tensor([[4.0, 0.2, 0], [-1.0, 5.0, 0.3], [0, 0.4, 4.5]]).double()
    held, vectors, half = orders(cell, 5.0)
    coefficients = torch.zeros(1, 2 * half[0] + 1, 2 * half[1] + 1, half[2] + 1, dtype=torch.complex128)
    random = torch.randn(len(held), 2, generator=torch.Generator().manual_seed(0)).double()
    for h, (a, b) in zip(held.tolist(), random.tolist(), strict=True):
        if h[2] > 0 or h == [0, 0, 0]:
            coefficients[0, h[0] + half[0], h[1] + half[1], h[2]] = complex(a, b if any(h) else 0.0)
    waves, shape = Waves(coefficients), (7, 20, 9)
    whole = torch.cat([values for _, values in waves.slabs(shape)], 1)[0]
    places = grid_points(cell, shape, 0, 7 * 20 * 9)
    at = coefficients[0][tuple((held + torch.tensor([half[0], half[1], 0])).unbind(1))]
    twice = torch.where(held[:, 2] > 0, 2.0, 1.0)
    expected = (torch.exp(1j * (places @ vectors.T)) @ (twice * at)).real.view(shape)
    np.testing.assert_allclose(whole, expected, atol=1e-10)
    ranges = [range(2, 5), range(0, 20, 3), range(4, 9)]
    part = torch.cat([values for _, values in waves.slabs(shape, ranges)], 1)[0]
    np.testing.assert_allclose(part, whole[np.ix_(*ranges)], atol=1e-12)
    assert float(waves.means[0]) == pytest.approx(float(whole.mean()), abs=1e-10)


def test_a_grid_holds_the_values_at_its_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what the reach cuts off and the waves leave out."""
    model, atoms, shape = build("density"), crystal(0), (10, 11, 12)
    graph = graph_for(model, [atoms])
    by_waves = np.concatenate([values for _, values in slabs(model, graph, shape, FIELDS)], 1)
    monkeypatch.setattr("ionecho.prediction.grids.MOST_ATOMS", 0)
    monkeypatch.setattr("ionecho.prediction.grids.SLAB", 300)
    by_points = np.concatenate([values for _, values in slabs(model, graph, shape, FIELDS)], 1)
    places = grid_points(torch.from_numpy(atoms.cell.array), shape, 0, 1320).numpy()
    with torch.no_grad():
        outputs = model(with_points(graph, places))
    for number, name in enumerate(FIELDS):
        np.testing.assert_allclose(by_points[number].ravel(), outputs[name], atol=1e-12)
        assert np.abs(by_waves[number] - by_points[number]).sum() < 0.03 * np.abs(by_points[number]).sum()


def test_atoms_within_reach_are_those_of_all_images() -> None:
    atoms = crystal(0)
    graph = with_points(graph_for(build("oxidation"), [atoms]), some_points(atoms, 20) + 3 * atoms.cell.array[0])
    atom, point, vectors = atoms_within_reach(graph, 7.0)
    shifts = np.stack(np.meshgrid(*[np.arange(-3, 7)] * 3, indexing="ij"), -1).reshape(-1, 3) @ atoms.cell.array
    assert graph.points is not None
    all_vectors = graph.points.numpy()[:, None, None] - atoms.positions[:, None] - shifts
    near = np.linalg.norm(all_vectors, axis=-1) < 7.0
    assert len(atom) == near.sum()
    counts = np.zeros((20, len(atoms)), int)
    np.add.at(counts, (point.numpy(), atom.numpy()), 1)
    np.testing.assert_array_equal(counts, near.sum(-1))
    assert float(vectors.norm(dim=1).max()) < 7.0
    assert AtomPoints.of(atom, point, vectors).valid.sum() == len(atom)


def test_points_drawn_by_importance_give_the_mean_of_the_grid() -> None:
    class Grid:
        values = np.random.default_rng(0).random(5000) ** 8

        def row(self, name: str, index: int) -> np.ndarray:
            return self.values

        def grid_shape(self, index: int) -> np.ndarray:
            return np.array([50, 10, 10])

    grid: Any = Grid()
    for importance, error in (({}, None), ({"charge_density": 0.7}, None)):
        recipe = PointRecipe(200, importance=importance)
        found = []
        for seed in range(200):
            points, shares = recipe.draw(grid, 0, np.random.default_rng(seed))
            found.append((shares * grid.values[points]).sum())
        error = np.std(found, ddof=1) / np.sqrt(len(found))
        assert abs(np.mean(found) - grid.values.mean()) < 4 * error
    assert error < 0.001
    points, shares = PointRecipe(None).draw(grid, 0, np.random.default_rng(0))
    np.testing.assert_array_equal(points, np.arange(5000))
    assert shares.sum() == pytest.approx(1)
    with pytest.raises(InputError, match="sum of at most 1"):
        PointRecipe(10, importance={"charge_density": 0.7, "spin_density": 0.4})


def test_the_relative_error_of_drawn_points_is_that_of_the_integrals() -> None:
    from density_cells import batch_of

    batch = batch_of(build("oxidation"), crystal(0), 0)
    assert batch.volumes is not None
    true = batch.labels["charge_density"]
    loss = RelativeErrors(charge_density=2.0)
    assert float(loss({"charge_density": 0.9 * true}, batch, 0.0)) == pytest.approx(0.2)
    missing = replace(batch, labels={"charge_density": torch.where(true > true.median(), torch.nan, true)})
    assert float(loss({"charge_density": 0.9 * true}, missing, 0.0)) == pytest.approx(0.2)


def test_predicted_grids_are_a_dataset_that_a_killed_run_completes(
    checkpoint: Checkpoint, trajectory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = predictor(checkpoint, trajectory, states="input")
    settings = GridSettings(spacing=0.5, normalise=True)
    written: list[int] = []
    from ionecho.prediction import grids

    finished = grids._finished

    def dies(*arguments: Any) -> np.ndarray:
        written.append(1)
        if len(written) == 3:
            raise KeyboardInterrupt
        return finished(*arguments)

    monkeypatch.setattr(grids, "_finished", dies)
    with pytest.raises(KeyboardInterrupt):
        write_grids(made, open_trajectory(trajectory), "t", tmp_path / "g.zarr", settings)
    monkeypatch.setattr(grids, "_finished", finished)
    evaluated: list[int] = []
    evaluate = grids.slabs
    monkeypatch.setattr(grids, "slabs", lambda *arguments: evaluated.append(1) or evaluate(*arguments))
    place = write_grids(made, open_trajectory(trajectory), "t", tmp_path / "g.zarr", settings)
    assert len(evaluated) == 1  # once a frame, of those that were not there
    dataset = Dataset(place)
    assert len(dataset) == 3
    assert list(tmp_path.glob("*")) == [place]
    assert len(dataset.attrs["integrals"]) == 3
    assert dataset.labels == list(FIELDS)
    for index in range(3):
        atoms = crystal(index)
        volume = atoms.get_volume()
        assert dataset.grid("charge_density", index).mean(dtype=float) * volume == pytest.approx(67, rel=1e-5)
        assert dataset.grid("spin_density", index).mean(dtype=float) * volume == pytest.approx(3, rel=1e-5)
        assert max(dataset[index].cell[0] / dataset.grid_shape[index][0]) <= 0.5
    with pytest.raises(InputError, match="another run"):
        write_grids(made, open_trajectory(trajectory), "t", place, GridSettings(spacing=0.4))


def test_a_region_holds_the_same_values_and_nothing_beyond(
    checkpoint: Checkpoint, trajectory: Path, tmp_path: Path
) -> None:
    made = predictor(checkpoint, trajectory)
    whole = Dataset(write_grids(made, open_trajectory(trajectory), "t", tmp_path / "w.zarr", GridSettings(spacing=0.5)))
    settings = GridSettings(spacing=0.5, every=2, around=[0], radius=2.0)
    part = Dataset(write_grids(made, open_trajectory(trajectory), "t", tmp_path / "p.zarr", settings))
    assert len(part) == 2
    values, expected = part.grid("charge_density", 1), whole.grid("charge_density", 2)
    held = np.isfinite(values)
    np.testing.assert_array_equal(values[held], expected[held])
    atoms = crystal(2)
    share = 4 / 3 * np.pi * 8 / atoms.get_volume()
    assert held.mean() == pytest.approx(share, rel=0.1)
    with pytest.raises(InputError, match="hold a region only"):
        export_density(part[1], tmp_path / "CHGCAR", "charge_density")
    bad = GridSettings(spacing=0.5, around=[9])
    with pytest.raises(InputError, match=r"grids.around: expected atoms 0 to 8, found \[9\]"):
        write_grids(made, open_trajectory(trajectory), "t", tmp_path / "b.zarr", bad)


def test_states_are_told_or_found(checkpoint: Checkpoint, trajectory: Path) -> None:
    told, found = predictor(checkpoint, trajectory, states="input"), predictor(checkpoint, trajectory)
    frames = next(open_trajectory(trajectory).blocks(0, 3, told.told))
    assert told.physics["states"] == "magnetic_moment of the input"
    assert set(told(frames, 0)) == {"bader_charge", "bader_moment", "magnetic_moment"}
    other = replace(frames, arrays={"magnetic_moment": frames.arrays["magnetic_moment"][:, ::-1].copy()})
    assert np.abs(told(frames, 0)["bader_moment"] - found(frames, 0)["bader_moment"]).max() >= 0
    other.arrays["magnetic_moment"][:, :2] = frames.arrays["magnetic_moment"][:, 1::-1]
    assert np.abs(told(frames, 0)["bader_moment"] - told(other, 0)["bader_moment"]).max() > 1e-3
    assert found.physics["states"] == "found by the model"
    blind = replace(checkpoint, model=Ensemble([build("deep_dft")], {}))
    states = Predictor(blind, {}, open_trajectory(trajectory), SETTINGS).physics["states"]
    assert states == "not known, all alike: the mean"
    nothing = replace(checkpoint, model=Ensemble([build("oxidation")], {}))
    with pytest.raises(InputError, match="states=input: expected model, or input where"):
        Predictor(nothing, {}, open_trajectory(trajectory), SETTINGS, "input")


def test_exported_densities_are_read_again(checkpoint: Checkpoint, trajectory: Path, tmp_path: Path) -> None:
    made = predictor(checkpoint, trajectory)
    settings = GridSettings(spacing=0.4)
    configuration = Dataset(write_grids(made, open_trajectory(trajectory), "t", tmp_path / "g.zarr", settings))[1]
    (again,) = read_chgcar(export_density(configuration, tmp_path / "CHGCAR", "charge_density"))
    for name in FIELDS:
        np.testing.assert_allclose(again.labels[name], configuration.labels[name], rtol=2e-6, atol=1e-9)
    np.testing.assert_allclose(again.cell, configuration.cell, atol=1e-8)
    theirs = VaspChargeDensity(tmp_path / "CHGCAR")
    np.testing.assert_allclose(theirs.chg[0], configuration.labels["charge_density"], rtol=2e-6, atol=1e-9)
    np.testing.assert_allclose(theirs.chgdiff[0], configuration.labels["spin_density"], rtol=2e-6, atol=1e-9)
    (cube,) = read_cube(export_density(configuration, tmp_path / "s.cube", "spin_density"), "spin_density")
    np.testing.assert_allclose(cube.labels["spin_density"], configuration.labels["spin_density"], rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(cube.positions, configuration.positions, atol=1e-7)
    assert ase.io.read(tmp_path / "s.cube").get_chemical_formula() == crystal(1).get_chemical_formula()

"""Predictions along trajectories: formats agree, runs resume, bad input is refused."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
import zarr
from ase.calculators.emt import EMT
from conftest import REPOSITORY, p2_crystal
from dying_workers import Dying

from ionecho.checkpoints.store import Checkpoint, load
from ionecho.data.metrics import calibration
from ionecho.data.outputs import Output
from ionecho.data.trajectory import Frames, cell_of, open_trajectory
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Thermostat
from ionecho.dynamics.run import Run
from ionecho.dynamics.simulate import simulate
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.models.ensemble import Ensemble
from ionecho.nmr.derived import parse_parameters
from ionecho.nmr.hyperfine import ContactShift
from ionecho.nmr.isotopes import isotope
from ionecho.nmr.quadrupole import quadrupole_coupling
from ionecho.prediction.device import PredictionSettings
from ionecho.prediction.predictor import Predictor, conversions, predictors
from ionecho.prediction.stream import describe_input, predict
from ionecho.structures.prototypes import PROTOTYPES

FRAMES = 23


@pytest.fixture
def checkpoint(toy_checkpoint: Path) -> Checkpoint:
    return load(toy_checkpoint)


@pytest.fixture(scope="module")
def frames() -> list[ase.Atoms]:
    images = [p2_crystal(k) for k in range(FRAMES)]
    for atoms in images:
        atoms.wrap()
    return images


@pytest.fixture(scope="module")
def folder(frames: list[ase.Atoms], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same frames as extended XYZ, XDATCAR, LAMMPS dump and zarr."""
    place = tmp_path_factory.mktemp("trajectory")
    ase.io.write(place / "t.extxyz", frames)
    ase.io.write(place / "XDATCAR", frames, format="vasp-xdatcar")
    group = zarr.open_group(place / "t.zarr", mode="w")
    group.create_array("positions", data=np.stack([atoms.positions for atoms in frames]))
    group.create_array("cell", data=np.array(frames[0].cell)[None])
    group.create_array("numbers", data=frames[0].numbers)
    group.create_array("time", data=4000.0 * np.arange(FRAMES))
    (place / "t.lammpstrj").write_text("".join(_lammps_frame(atoms, 10 * k) for k, atoms in enumerate(frames)))
    return place


def _lammps_frame(atoms: ase.Atoms, step: int) -> str:
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = np.array(atoms.cell)
    low, high = min(0, xy, xz, xy + xz), max(0, xy, xz, xy + xz)
    bounds = [(low, lx + high, xy), (min(0, yz), ly + max(0, yz), xz), (0, lz, yz)]
    lines = [f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(atoms)}\nITEM: BOX BOUNDS xy xz yz pp pp pp"]
    lines += [" ".join(f"{value:.10f}" for value in bound) for bound in bounds]
    lines.append("ITEM: ATOMS id type x y z")
    kinds = {11: 1, 12: 2, 25: 3, 8: 4}
    for number, (z, position) in enumerate(zip(atoms.numbers, atoms.positions, strict=True), start=1):
        lines.append(f"{number} {kinds[z]} " + " ".join(f"{x:.8f}" for x in position))
    return "\n".join(lines) + "\n"


def run(
    checkpoint: Checkpoint,
    path: Path,
    output: Path,
    block: int = 5,
    workers: dict[str, int] | None = None,
    **options: object,
) -> zarr.Group:
    trajectory = open_trajectory(path, **options)  # type: ignore[arg-type]
    parameters = conversions(checkpoint, {})
    predictor = Predictor(checkpoint, parameters, trajectory, PredictionSettings.choose("cpu", "float32", 2, block, 3))
    return zarr.open_group(predict(predictor, trajectory, path.name, output, workers), mode="r")


def test_every_format_gives_the_same_predictions(checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
    expected = run(checkpoint, folder / "t.extxyz", tmp_path / "xyz.zarr")
    assert expected["hyperfine_contact"].shape == (FRAMES, 2)
    assert expected["hyperfine_contact_members"].shape == (FRAMES, 2, 2)
    for name, options in (
        ("XDATCAR", {}),
        ("t.zarr", {}),
        ("t.lammpstrj", {"species": ["Na", "Mg", "Mn", "O"]}),
    ):
        found = run(checkpoint, folder / name, tmp_path / f"{name}.pred.zarr", **options)
        for array in ("hyperfine_contact", "hyperfine_contact_std"):
            np.testing.assert_allclose(found[array][:], expected[array][:], atol=2e-5)
    assert run(checkpoint, folder / "t.zarr", tmp_path / "t.zarr.pred.zarr")["time"][3] == 12_000


def test_predictions_carry_units_physics_and_shifts(checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
    group = run(checkpoint, folder / "t.zarr", tmp_path / "p.zarr")
    factor = ContactShift(**checkpoint.config.parameters["contact_shift"]).ppm_per_mhz
    np.testing.assert_allclose(
        group["hyperfine_contact_shift"][:], factor * group["hyperfine_contact"][:].astype(float), rtol=1e-5
    )
    assert group.attrs["contact_shift"] == checkpoint.config.parameters["contact_shift"]
    assert group.attrs["checkpoint_sha256"] == checkpoint.sha256
    assert group.attrs["units"]["hyperfine_contact_shift"] == "ppm"
    np.testing.assert_array_equal(group["centres"][:], [0, 1])


def test_predictions_do_not_depend_on_the_block(checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
    small = run(checkpoint, folder / "t.zarr", tmp_path / "a.zarr", block=1)
    large = run(checkpoint, folder / "t.zarr", tmp_path / "b.zarr", block=100)
    np.testing.assert_allclose(small["hyperfine_contact"][:], large["hyperfine_contact"][:], atol=1e-5)


def test_workers_give_the_same_bytes_and_one_that_dies_costs_its_block(
    checkpoint: Checkpoint, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(checkpoint, folder / "t.extxyz", tmp_path / "one.zarr", block=4)
    workers = {"number": 1}
    for name, deaths in {"two": set(), "killed": {2, 4, 7}}.items():
        monkeypatch.setattr("ionecho.prediction.stream.executor", lambda _, deaths=deaths: nullcontext(Dying(deaths)))
        run(checkpoint, folder / "t.extxyz", tmp_path / f"{name}.zarr", block=4, workers=workers)
    files = [path.relative_to(tmp_path / "one.zarr") for path in (tmp_path / "one.zarr").rglob("*") if path.is_file()]
    for name in ("two", "killed"):
        for file in files:
            assert (tmp_path / f"{name}.zarr" / file).read_bytes() == (tmp_path / "one.zarr" / file).read_bytes(), file
    monkeypatch.setattr("ionecho.prediction.stream.executor", lambda _: nullcontext(Dying(set(range(1, 99)))))
    with pytest.raises(InputError, match="3 of them died over the block of frame 0"):
        run(checkpoint, folder / "t.extxyz", tmp_path / "none.zarr", block=4, workers=workers)


def test_a_killed_run_goes_on_and_equals_a_whole_one(
    checkpoint: Checkpoint, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(checkpoint, folder / "t.zarr", tmp_path / "whole.zarr")
    calls: list[int] = []
    predict_block = Predictor.__call__

    def dies(self: Predictor, frames: object, first: int) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict_block(self, frames, first)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "__call__", dies)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, folder / "t.zarr", tmp_path / "cut.zarr")
    assert not (tmp_path / "cut.zarr").exists()
    resumed = run(checkpoint, folder / "t.zarr", tmp_path / "cut.zarr")
    assert len(calls) == 3 + 3  # two blocks were done, three were left
    for name in ("hyperfine_contact", "hyperfine_contact_std", "positions", "time"):
        np.testing.assert_array_equal(resumed[name][:], whole[name][:])
    monkeypatch.undo()
    with pytest.raises(InputError, match="of another run"):
        run(checkpoint, folder / "t.extxyz", tmp_path / "cut.zarr")


def test_a_potential_gives_forces_and_their_spread_along_a_trajectory(tmp_path: Path) -> None:
    """What its calculator gives frame by frame; float32 on disk."""
    potential = load(REPOSITORY / "models" / "painn-p2_gpaw")
    images = [PROTOTYPES["p2_p63mcm"](0) for _ in range(3)]
    for seed, atoms in enumerate(images):
        atoms.rattle(0.05, seed=seed)
    ase.io.write(tmp_path / "t.extxyz", images)
    trajectory = open_trajectory(tmp_path / "t.extxyz")
    settings = PredictionSettings.choose("cpu", "float64", 1, 2, None)
    output = predict(Predictor(potential, {}, trajectory, settings), trajectory, "t", tmp_path / "t.zarr")
    found = zarr.open_group(output, mode="r")
    for index, atoms in enumerate(images):
        atoms.calc = Potential(potential.model)
        assert found["energy"][index] == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
        np.testing.assert_allclose(found["forces"][index], atoms.get_forces(), atol=1e-4)
        np.testing.assert_allclose(found["forces_std"][index], atoms.calc.results["forces_std"], atol=1e-4)
    shapes = {name: found[name].shape for name in ("energy", "energy_members", "stress")}
    assert shapes == {"energy": (3,), "energy_members": (3, 4), "stress": (3, 3, 3)}
    assert found.attrs["calibration"]["forces"] == potential.config.calibration["forces"]
    assert found.attrs["units"]["forces"] == found.attrs["units"]["forces_std"] == "eV/Å"
    attached = predictors("painn-p2_gpaw", images[0], {}, settings)
    how = Thermostat("nve", 300, 1, 100, 0, 1000, 0), Run(2, 1, 1, None, 0.5, None, None)
    with pytest.raises(InputError, match=r"painn-p2_gpaw is a potential; predict\.py applies it"):
        simulate(images[0], EMT(), *how, {}, tmp_path / "md.zarr", properties=attached)


def test_the_spread_of_a_coupling_covers_as_often_as_members_of_its_size_should(frames: list[ase.Atoms]) -> None:
    """Four members drawn about tensors whose largest component is decided, calibrated on the tensors."""
    count, rng = 4000, np.random.default_rng(0)
    turns = np.linalg.qr(rng.normal(size=(2 * count, 3, 3)))[0]
    truth = turns @ np.diag([-0.3, -0.7, 1.0]) @ turns.mT

    class Drawn(torch.nn.Module):
        numbers, centres, cutoff, pairs_of = (8, 11, 12, 25), (11,), 3.0, "centres"
        outputs, given, finds_states = (Output("efg", "centres"),), None, False

        def __init__(self, seed: int) -> None:
            super().__init__()
            noise = 0.02 * np.random.default_rng(seed).normal(size=truth.shape)
            noise = (noise + noise.mT) / 2
            noise -= np.trace(noise, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
            self.register_buffer("drawn", torch.from_numpy(truth + noise))

        def forward(self, graph: Graph) -> dict[str, torch.Tensor]:
            return {"efg": self.drawn[: len(graph.centres)]}

    model = Ensemble([Drawn(seed) for seed in range(1, 5)], {"efg": 0.5})  # the mean of four errs by half of one
    config = SimpleNamespace(name="drawn", calibration={"efg": 0.5})
    settings = PredictionSettings.choose("cpu", "float64", 1, count, count)
    nucleus = parse_parameters({"quadrupole": {"isotope": "7Li", "tolerance": 1e-6}})
    stub: Any = SimpleNamespace(model=model, config=config)
    along = Frames(np.repeat(frames[0].positions[None], count, 0), np.repeat(frames[0].cell.array[None], count, 0))
    found = Predictor(stub, nucleus, frames[0], settings)(along, 0)
    assert found["efg"].shape == (count, 2, 3, 3)
    assert found["efg_std"].shape == found["quadrupolar_coupling_std"].shape == (count, 2)
    expected = 1e-3 * quadrupole_coupling(truth, isotope("7Li").quadrupole_moment)
    for error, name, components in (
        (np.linalg.norm(found["efg"].reshape(-1, 9) - truth.reshape(-1, 9), axis=1), "efg", 5),
        (np.abs(found["quadrupolar_coupling"].ravel() - expected), "quadrupolar_coupling", 1),
    ):
        told = calibration(error, found[f"{name}_std"].ravel(), 4, components=components)
        assert told["rmse_over_spread"] == pytest.approx(1.0, abs=0.03)
        assert [told["within_1"], told["within_2"]] == pytest.approx(told["expected_within"], abs=0.02)


def test_predictions_grow_with_the_run_they_are_made_from(
    checkpoint: Checkpoint, frames: list[ase.Atoms], tmp_path: Path
) -> None:
    settings, source = PredictionSettings.choose("cpu", "float64", 1, 2, None), tmp_path / "md.zarr"

    def predicted(count: int, output: str) -> zarr.Group:
        shutil.rmtree(source, ignore_errors=True)
        group = zarr.open_group(source, mode="w")
        group.create_array("positions", data=np.stack([atoms.positions for atoms in frames[:count]]))
        group.create_array("cell", data=np.array(frames[0].cell)[None])
        group.create_array("numbers", data=frames[0].numbers)
        group.attrs["request"] = {"seed": 0}
        trajectory = open_trajectory(source)
        made = Predictor(checkpoint, {}, trajectory, settings)
        return zarr.open_group(predict(made, trajectory, describe_input(source, []), tmp_path / output), mode="r")

    assert predicted(3, "grown.zarr")["positions"].shape[0] == 3
    grown, whole = predicted(5, "grown.zarr"), predicted(5, "whole.zarr")
    np.testing.assert_array_equal(grown["hyperfine_contact"][:], whole["hyperfine_contact"][:])
    assert len(grown["hyperfine_contact"][:]) == 5
    with pytest.raises(InputError, match="has more frames than the input, 5"):
        predicted(3, "grown.zarr")


def test_refusals(checkpoint: Checkpoint, frames: list[ase.Atoms], tmp_path: Path) -> None:
    def written(name: str, atoms: ase.Atoms) -> Path:
        ase.io.write(tmp_path / name, atoms)
        return tmp_path / name

    nickel = frames[0].copy()
    nickel.numbers[2] = 28
    with pytest.raises(InputError, match="holds Ni, which toy was not trained on"):
        run(checkpoint, written("ni.extxyz", nickel), tmp_path / "p.zarr")
    oxide = frames[0][frames[0].numbers == 8]
    with pytest.raises(InputError, match=r"none of the elements toy predicts for \(Na\)"):
        run(checkpoint, written("o.extxyz", oxide), tmp_path / "p.zarr")
    molecule = frames[0].copy()
    molecule.pbc, molecule.cell = False, None
    with pytest.raises(InputError, match="give the cell"):
        run(checkpoint, written("m.extxyz", molecule), tmp_path / "p.zarr")
    served = run(checkpoint, tmp_path / "m.extxyz", tmp_path / "q.zarr", cell=np.array(frames[0].cell))
    assert served["hyperfine_contact"].shape == (1, 2)
    shrunk = frames[0].copy()
    shrunk.set_cell(0.1 * np.array(shrunk.cell), scale_atoms=True)
    with pytest.raises(InputError, match="expected lattice vectors in Å"):
        run(checkpoint, written("nm.extxyz", shrunk), tmp_path / "r.zarr")
    broken = tmp_path / "XDATCAR"
    ase.io.write(broken, frames[:3], format="vasp-xdatcar")
    broken.write_text(broken.read_text()[:-300])
    with pytest.raises(InputError, match="XDATCAR"):
        run(checkpoint, broken, tmp_path / "s.zarr")
    assert not (tmp_path / "p.zarr").exists()
    with pytest.raises(InputError, match=r"ni\.extxyz: it holds a periodic cell; leave out cell="):
        open_trajectory(tmp_path / "ni.extxyz", cell=np.eye(3))
    with pytest.raises(InputError, match="no LAMMPS dump, whose types species= is for"):
        open_trajectory(tmp_path / "ni.extxyz", species=["Na"])
    for wrong in ({"time_step": 0}, {"time_step": "abc"}, {"species": 5}, {"species": "Na"}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))}="):
            open_trajectory(tmp_path / "ni.extxyz", **wrong)
    for cell in (10, ["a", "b", "c"], [1.0, 2.0], [-1.0, 2.0, 3.0]):
        with pytest.raises(InputError, match=r"cell=.*expected 3 lengths"):
            cell_of(cell)
    for block in ("abc", 2.5, 0):
        with pytest.raises(InputError, match=f"block={block}: expected a whole number"):
            PredictionSettings.choose("cpu", "float32", 1, block, None)
    with pytest.raises(InputError, match="no input at"):
        open_trajectory(tmp_path / "nothing.xyz")


def test_real_trajectory_formats_are_read(mirror: Path) -> None:
    trajectory = open_trajectory(mirror / "traj_li6ps5x_500K" / "Li6PS5I_100p_run1_XDATCAR.gz")
    blocks = list(trajectory.blocks(0, 64))
    assert sum(map(len, blocks)) == 100
    assert len(trajectory.numbers) == 416
    np.testing.assert_allclose(next(trajectory.blocks(64, 1)).positions, blocks[1].positions[:1])

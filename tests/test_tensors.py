"""Tensors: known answers of lattices and conventions, imports, tables, and the path from files to a model."""

from __future__ import annotations

import json
from pathlib import Path

import ase
import numpy as np
import pytest
import torch
import zarr
from conftest import graph_of, toy_card, toy_configuration
from scipy.spatial.transform import Rotation

import ionecho
from ionecho.checkpoints.run import train
from ionecho.data.build import build_from
from ionecho.data.card import ImportRecipe
from ionecho.data.convert import write_magres_of
from ionecho.data.importers import magres, pymatgen_json
from ionecho.data.metrics import tensor_errors
from ionecho.data.outputs import Output
from ionecho.data.store import Dataset, DatasetWriter
from ionecho.data.table import tensor_table, write_magres_files
from ionecho.data.trajectory import open_trajectory
from ionecho.door.config import compose
from ionecho.errors import InputError
from ionecho.geometry.dipoles import dipolar_tensors
from ionecho.geometry.tensors import components, traceless
from ionecho.models import build_model
from ionecho.nmr.comparison import axis_angle, compared, field_directions
from ionecho.nmr.derived import Quadrupole
from ionecho.nmr.quadrupole import quadrupolar_frequency, quadrupole_coupling
from ionecho.nmr.site_table import Conventions
from ionecho.nmr.tensor_convention import chemical_shift, euler_angles, herzfeld_berger
from ionecho.training.fit import statistics
from ionecho.training.settings import training_settings


def random_tensors(count: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, 3, 3))
    values = values + values.swapaxes(1, 2)
    return values - np.trace(values, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3


LATTICES = {  # V_zz of unit charges in a uniform background, times a³ (see nmr/quadrupole.py for the sign)
    "tetragonal 1.1": (ase.Atoms("Li", cell=np.diag([1, 1, 1.1]), pbc=True), -1.0763619),
    "hexagonal 1.6": (
        ase.Atoms("Li2", cell=[1, 1, 1.6, 90, 90, 120], scaled_positions=[[0, 0, 0], [1 / 3, 2 / 3, 0.5]], pbc=True),
        0.1523942,
    ),
}


@pytest.mark.parametrize("cutoff", [5.0, 7.0])
@pytest.mark.parametrize("lattice", LATTICES)
def test_the_dipolar_sum_is_that_of_the_lattice(lattice: str, cutoff: float) -> None:
    atoms, expected = LATTICES[lattice]
    atoms = atoms.copy()
    atoms.set_cell(3.0 * atoms.cell, scale_atoms=True)
    graph = graph_of([atoms], cutoff, "centres", [3])
    found = dipolar_tensors(graph, torch.ones(len(atoms), dtype=torch.float64), cutoff)
    assert 27 * float(found[0, 2, 2]) == pytest.approx(expected, abs=3e-3)
    torch.testing.assert_close(found, found.mT)


def test_components_of_degree_two_keep_the_norm() -> None:
    tensors = torch.from_numpy(random_tensors(4))
    found = components(tensors)
    torch.testing.assert_close(found.norm(dim=1), tensors.flatten(1).norm(dim=1))
    torch.testing.assert_close(traceless(found), tensors)
    x, y, z = tensors.diagonal(dim1=1, dim2=2).unbind(1)
    torch.testing.assert_close(found[:, 2], 1.5**0.5 * z)
    torch.testing.assert_close(found[:, 4], (x - y) / 2**0.5)


def test_shifts_span_and_skew() -> None:
    isotropic, span, skew = herzfeld_berger(np.diag([10.0, -2.0, -8.0]))
    assert (isotropic, span, skew) == (pytest.approx(0.0), pytest.approx(18.0), pytest.approx(-1 / 3))
    shift = chemical_shift(np.diag([560.0, 550.0, 540.0]), 551.0, -1.0)
    np.testing.assert_allclose(shift, np.diag([-9.0, 1.0, 11.0]))
    assert herzfeld_berger(np.eye(3))[2] == 0.0


def test_euler_angles_turn_the_axes_onto_the_principal_ones() -> None:
    tensors = random_tensors(50)
    angles = euler_angles(tensors)
    assert (angles[:, 1] <= 90).all()
    assert (angles[:, 2] < 180).all()
    turned = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix()
    frames = turned.swapaxes(1, 2) @ tensors @ turned
    principal = frames.diagonal(axis1=1, axis2=2)
    np.testing.assert_allclose(frames, principal[:, None] * np.eye(3), atol=1e-12)
    size = np.abs(principal)
    assert (size[:, 2] >= size[:, 0]).all()
    assert (size[:, 0] >= size[:, 1]).all()


def test_euler_angles_of_a_tensor_along_the_axes_are_told_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    tensor = np.diag([-1.0, -2.0, 3.0])
    turned = Rotation.from_euler("ZYZ", euler_angles(tensor), degrees=True).as_matrix()
    np.testing.assert_allclose((turned.T @ tensor @ turned).diagonal(), [-2.0, -1.0, 3.0], atol=1e-12)
    assert not recwarn.list


def test_comparisons_of_tensors() -> None:
    axial = np.diag([-1.0, -1.0, 2.0])[None]
    tilt = Rotation.from_euler("x", 25, degrees=True).as_matrix()
    assert axis_angle(axial, tilt @ axial @ tilt.T)[0] == pytest.approx(25.0)
    assert axis_angle(axial, -axial)[0] == pytest.approx(0.0)
    tensors = random_tensors(20)
    moment = -0.0401
    frequency = quadrupolar_frequency(tensors[:, None], field_directions(512), moment, 1.5)
    values = np.sort(np.abs(np.linalg.eigvalsh(tensors)))
    eta = (values[:, 1] - values[:, 0]) / values[:, 2]
    expected = np.abs(quadrupole_coupling(tensors, moment)) * np.sqrt((1 + eta**2 / 3) / 20)
    np.testing.assert_allclose(np.sqrt(np.mean(frequency**2, axis=1)), expected, rtol=0.01)
    given = {"quadrupole": Quadrupole("7Li", 1e-3)}
    assert [entry.name for entry, _ in compared("efg", True, given)] == ["quadrupolar_frequency", "axis_angle"]
    assert [entry.name for entry, _ in compared("hyperfine_dipolar", True, {})] == ["axis_angle"]
    told = tensor_errors(np.zeros_like(tensors), tensors)
    assert told["relative"] == pytest.approx(1.0)
    assert tensor_errors(np.broadcast_to(tensors.mean(0), tensors.shape), tensors)["about_mean"] == pytest.approx(1.0)


def dataset_of(folder: Path, labels: dict[str, np.ndarray]) -> Dataset:
    """Three configurations of the same labels."""
    writer = DatasetWriter(folder / "tensors.zarr", list(labels))
    for seed in range(3):
        writer.append([toy_configuration(seed, **labels)])
    return Dataset(folder / "tensors.zarr")


def test_a_tensor_has_the_mean_of_its_isotropic_part(tmp_path: Path) -> None:
    shielding = 500.0 * np.eye(3) + random_tensors(11)
    found = statistics(dataset_of(tmp_path, {"shielding": shielding}), np.arange(3), ["shielding"])["shielding"][11]
    assert found.mean == pytest.approx(500.0)
    assert found.std == pytest.approx(np.sqrt(np.mean((shielding[:2] - 500.0 * np.eye(3)) ** 2)))


def test_a_table_and_magres_files_say_what_the_labels_do(tmp_path: Path) -> None:
    efg, shielding = random_tensors(11), 500.0 * np.eye(3) + random_tensors(11, seed=1)
    dataset = dataset_of(tmp_path, {"efg": efg, "shielding": shielding})
    table = tensor_table(dataset, Conventions.parse(["23Na"], ["Na:510:-1"]))
    assert len(table) == 33
    sodium = table[(table.element == "Na") & (table.frame == 0)]
    np.testing.assert_allclose(sodium.delta_iso_ppm, [10.0, 10.0])
    np.testing.assert_allclose(sodium.C_Q_MHz, 1e-6 * quadrupole_coupling(efg[:2], 0.104))
    assert table[table.element == "O"].C_Q_MHz.isna().all()
    assert write_magres_files(dataset, tmp_path / "files") == 3
    (found,) = magres.read(tmp_path / "files" / "a-0.magres")
    np.testing.assert_allclose(found.labels["efg"], efg, atol=1e-6)
    np.testing.assert_allclose(found.labels["shielding"], shielding, atol=1e-6)
    with pytest.raises(InputError, match="ELEMENT:intercept:slope"):
        Conventions.parse([], ["Na:5"])


def test_one_writer_of_magres_for_datasets_and_predictions(tmp_path: Path) -> None:
    """Tensors that are not symmetric as they are, and lines of the atoms that have one alone."""
    shielding = 500.0 * np.eye(3) + np.random.default_rng(0).normal(size=(11, 3, 3))
    shielding[3, 0, 1], efg = np.nan, np.full((11, 3, 3), np.nan)
    dataset = dataset_of(tmp_path, {"shielding": shielding, "efg": efg})
    assert write_magres_files(dataset, tmp_path / "files") == 3
    stored, configuration = dataset[0].labels["shielding"], dataset[0]
    group = zarr.open_group(tmp_path / "pred.zarr", mode="w")
    arrays = {"positions": configuration.positions[None], "cell": configuration.cell[None]}
    arrays |= {"shielding": stored[None], "centres": np.arange(11), "numbers": configuration.numbers}
    for name, values in arrays.items():
        group.create_array(name, data=values)
    write_magres_of(open_trajectory(tmp_path / "pred.zarr"), tmp_path / "of.magres")
    text = (tmp_path / "of.magres").read_text()
    assert text == (tmp_path / "files" / "a-0.magres").read_text()
    rows = [line.split()[3:] for line in text.splitlines() if line.startswith("  ms")]
    np.testing.assert_array_equal(np.array(rows, float), np.delete(stored, 3, 0).reshape(10, 9))
    assert "efg" not in text


def test_json_of_jarvis(tmp_path: Path) -> None:
    tensor = [[0.512, 0.1, 0.0], [0.1, -0.2, 0.0], [0.0, 0.0, -0.311]]
    atoms = {"lattice_mat": (4.0 * np.eye(3)).tolist(), "coords": [[0.0, 0.0, 0.0], [0.5, 0.5, 0.25]]}
    atoms |= {"elements": ["Na", "Cl"], "abc": [4, 4, 4], "angles": [90, 90, 90], "cartesian": False, "props": ["", ""]}
    record = {"jid": "JVASP-0", "atoms": atoms, "efg_raw_tensor": [tensor, np.zeros((3, 3)).tolist()]}
    file = tmp_path / "efg.json"
    file.write_text(json.dumps([record]))
    read = {"keys": {"efg": "efg_raw_tensor"}, "structure": "atoms"}
    (found,) = pymatgen_json.read(file, **read)
    np.testing.assert_allclose(found.positions[1], [2.0, 2.0, 1.0])
    assert found.numbers.tolist() == [11, 17]
    np.testing.assert_allclose(found.labels["efg"][0], np.array(tensor) - 0.001 / 3 * np.eye(3))
    record["efg_raw_tensor"][0][0][0] = 0.9
    file.write_text(json.dumps([record]))
    with pytest.raises(InputError, match=r"efg\.json#0: efg of atom 0 is off symmetric and traceless by"):
        list(pymatgen_json.read(file, **read))


def test_tensors_with_a_trace_are_learned_with_it() -> None:
    hyperparameters = {"numbers": [8, 11, 12, 25], "centres": [11], "cutoff": 4.0, "label": "shielding"}
    small = {"surroundings_cutoff": 4.0, "radial": 3, "l_max": 2, "channels": 2, "features": 4, "width": 8}
    model = build_model("tensor_sum", hyperparameters | small | {"multipoles": 2, "moments": None})
    assert model.outputs == (Output("shielding", "centres"),)
    model.mean[0] = 500.0
    atoms = toy_configuration(0).atoms
    found = model(graph_of([atoms], 4.0, "atoms", dtype=torch.float32))["shielding"]
    assert (found.diagonal(dim1=1, dim2=2).mean(1) - 500).abs().max() < 5
    with pytest.raises(InputError, match="expected a label that is a tensor"):
        build_model(
            "tensor_sum", hyperparameters | small | {"label": "hyperfine_contact", "multipoles": 2, "moments": None}
        )


@pytest.mark.mirror
def test_from_outcars_to_a_table_and_a_model(mirror: Path, tmp_path: Path) -> None:
    """A smoke test of the path: six cells are too few to learn from."""
    recipe = ImportRecipe(importer="vasp_outcar", pattern="*_NMR_OUTCAR.gz", options={})
    card = toy_card("na", build=recipe, elements=["Na", "Nb", "Ta", "O", "F"])
    card.ionecho.splits["configuration"].folds = 3
    file = build_from(mirror / "namo2f2_23na_nmr", card, tmp_path / "na-1.0.0.zarr.zip", lambda _: None)
    table = tensor_table(Dataset(file), Conventions.parse(["23Na"], ["Na:551.3:-1.0"]))
    sodium = table[table.element == "Na"]
    assert sodium.delta_iso_ppm.between(-60, 20).all()
    assert sodium.C_Q_MHz.abs().between(0.01, 5).all()
    given = ["model=sa_gpr", "model.numbers=[8,9,11,41,73]", "model.centres=[11]", "model.cutoff=4.0", "model.n_max=2"]
    data = ["dataset=own", f"dataset.name={file}", "dataset.validation=0"]
    nucleus = "dataset.quadrupole={isotope: 23Na, tolerance: 0.001}"
    settings = training_settings(compose("train", [*given, *data, nucleus, "model.l_max=2", "logger=csv"]))
    metrics = train(settings, tmp_path / "run")
    assert metrics["test"]["quadrupolar_coupling"]["zero"]["mae"] > 0
    assert metrics["test"]["efg"]["relative"] < 3


@pytest.mark.mirror
def test_from_json_to_a_table_and_a_model(mirror: Path, tmp_path: Path) -> None:
    """The same of 27Al in 20 crystals of 25 elements."""
    recipe = ImportRecipe(
        importer="pymatgen_json", pattern="*.json", options={"keys": {"efg": "efg", "shielding": "cs"}}
    )
    card = toy_card("al", build=recipe, elements=["Al"])
    file = build_from(mirror / "al27_efg_cs", card, tmp_path / "al-1.0.0.zarr.zip", lambda _: None)
    table = tensor_table(Dataset(file), Conventions.parse(["27Al"], ["Al:550:-1.0"]))
    aluminium = table[table.element == "Al"]
    assert len(table) == 587
    assert aluminium.C_Q_MHz.iloc[0] == pytest.approx(9.51442 * 0.35446, rel=1e-3)  # V/Å² times e 146.6 mb / h
    assert aluminium.C_Q_MHz.abs().max() < 40
    given = ["model=tensor_sum", "model.centres=[13]", "dataset.quadrupole={isotope: 27Al, tolerance: 0.001}"]
    data = ["dataset=own", f"dataset.name={file}", "dataset.fold=null", "dataset.validation=0", "logger=csv"]
    train(training_settings(compose("train", [*given, *data, "trainer.max_epochs=1"])), tmp_path / "run")
    tensors = ionecho.load(str(tmp_path / "run" / "checkpoint")).predict(Dataset(file)[0].atoms)["efg"]
    assert np.isfinite(tensors).all()
    np.testing.assert_allclose(np.trace(tensors, axis1=1, axis2=2), 0, atol=1e-5)

"""Models in metatomic files, run in ASE by metatomic's calculator: the numbers of our own, whatever the size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import torch
from ase.stress import full_3x3_to_voigt_6_stress

import ionecho
from ionecho.checkpoints.metatomic_file import export
from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.checkpoints.traced import traced
from ionecho.dynamics.calculator import Potential
from ionecho.errors import InputError
from ionecho.structures.prototypes import PROTOTYPES

metatomic_ase = pytest.importorskip("metatomic_ase")
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL, LARGE = (1, 1, 1), (2, 2, 1)


def calculator(file: Path, **options: object) -> metatomic_ase.MetatomicCalculator:
    libraries = file.with_name(f"{file.stem}-extensions")
    return metatomic_ase.MetatomicCalculator(
        file, extensions_directory=libraries if libraries.exists() else None, **options
    )


def crystals(name: str) -> list[ase.Atoms]:
    """Rattled cells of the model's own kind, sheared, one smaller than its cut-off and one of four cells."""
    cell = PROTOTYPES[name](0)
    found = []
    for seed, repeat in enumerate((SMALL, LARGE)):
        atoms = cell.repeat(repeat)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * np.eye(3, k=1)), scale_atoms=True)
        atoms.rattle(0.05, seed=seed)
        found.append(atoms)
    return found


@pytest.mark.parametrize("name", ["painn-p2_gpaw", "deep_pot-p2_nmmo", "uf3-p2_nmmo"])
def test_a_potential_is_the_same_in_ase(name: str, tmp_path: Path) -> None:
    checkpoint = load(resolve(name))
    theirs, ours = calculator(export(checkpoint, tmp_path)), Potential(checkpoint.model)
    for atoms in crystals("p2_p63mcm"):
        theirs.calculate(atoms, ["energy", "forces", "stress"], [])
        ours.calculate(atoms, ["energy", "forces", "stress"], [])
        assert theirs.results["energy"] == pytest.approx(ours.results["energy"], abs=1e-6)
        np.testing.assert_allclose(theirs.results["forces"], ours.results["forces"], atol=1e-6)
        np.testing.assert_allclose(theirs.results["stress"], ours.results["stress"], atol=1e-6)
        assert np.abs(ours.results["forces"]).max() > 0.1


def test_a_potential_is_the_same_in_torch_sim(tmp_path: Path) -> None:
    torch_sim = pytest.importorskip("torch_sim")
    from torch_sim.models.metatomic import MetatomicModel

    checkpoint, cells = load(resolve("painn-p2_gpaw")), crystals("p2_p63mcm")
    ours, theirs = Potential(checkpoint.model), MetatomicModel(model=str(export(checkpoint, tmp_path)), device="cpu")
    found = theirs(torch_sim.io.atoms_to_state(cells, torch.device("cpu"), torch.float64))
    forces = found["forces"].split([len(atoms) for atoms in cells])
    for atoms, energy, force, stress in zip(cells, found["energy"], forces, found["stress"], strict=True):
        ours.calculate(atoms, ["energy", "forces", "stress"], [])
        assert float(energy) == pytest.approx(ours.results["energy"], abs=1e-6)
        np.testing.assert_allclose(force.detach(), ours.results["forces"], atol=1e-6)
        voigt = full_3x3_to_voigt_6_stress(stress.detach().numpy())
        np.testing.assert_allclose(voigt, ours.results["stress"], atol=1e-6)


def test_an_ensemble_gives_its_members_and_energies_by_atom(tmp_path: Path) -> None:
    from metatomic.torch import ModelOutput

    checkpoint, (small, large) = load(resolve("painn-p2_gpaw")), crystals("p2_p63mcm")
    theirs, ours = calculator(export(checkpoint, tmp_path)), Potential(checkpoint.model)
    asked = {"energy": ModelOutput(unit="eV", sample_kind="atom"), "energy_ensemble": ModelOutput(unit="eV")}
    found = theirs.run_model([small, large], asked)
    atomic, members = found["energy"].block(), found["energy_ensemble"].block().values.detach().numpy()
    assert atomic.samples.names == ["system", "atom"]
    for system, atoms in enumerate((small, large)):
        ours.calculate(atoms)
        own = atomic.values[atomic.samples.column("system") == system]
        assert len(own) == len(atoms)
        assert float(own.sum()) == pytest.approx(ours.results["energy"], abs=1e-6)
        assert members[system].mean() == pytest.approx(ours.results["energy"], abs=1e-6)
        spread = checkpoint.config.calibration["energy"] * members[system].std(ddof=1)
        assert spread == pytest.approx(ours.results["energy_std"], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "structure"),
    [("spin_transfer-p2_nmmo", "p2_p63mcm"), ("nn_nmr-p2_nmmo", "p2_p63mcm"), ("tensor_sum-lps_gpaw", "lps_gamma")],
)
def test_shifts_and_tensors_of_atoms_are_the_same_in_ase(name: str, structure: str, tmp_path: Path) -> None:
    checkpoint = load(resolve(name))
    theirs = calculator(export(checkpoint, tmp_path))
    offered = {key: value for key, value in theirs._model.capabilities().outputs.items() if key.startswith("ionecho::")}
    cells = crystals(structure)
    found = theirs.run_model(cells, offered)
    for system, atoms in enumerate(cells):
        expected = ionecho.load(name).predict(atoms, dtype="float64")
        for key, values in found.items():
            block = values.block()
            chosen = (block.samples.column("system") == system).numpy()
            own, ours = block.values.detach().numpy()[chosen][..., 0], expected[key.removeprefix("ionecho::")]
            np.testing.assert_array_equal(block.samples.column("atom").numpy()[chosen], expected["centres"])
            np.testing.assert_allclose(own, ours, atol=1e-6, err_msg=key)
            assert np.abs(ours).max() > 1e-3
    units = json.loads(theirs._model.metadata().extra["units"])
    assert set(units) == set(offered)


def test_the_file_runs_where_we_are_not(tmp_path: Path) -> None:
    """In a process of its own that never imports IonEcho."""
    file = export(load(resolve("spin_transfer-p2_nmmo")), tmp_path)
    (small, _) = crystals("p2_p63mcm")
    ase.io.write(tmp_path / "cell.xyz", small)
    code = (
        "import ase.io, sys; from metatomic_ase import MetatomicCalculator; from metatomic.torch import ModelOutput\n"
        f"file = {str(file.with_suffix(''))!r}\n"
        "calculator = MetatomicCalculator(file + '.pt', extensions_directory=file + '-extensions')\n"
        "asked = {'ionecho::hyperfine_contact_shift': ModelOutput(sample_kind='atom')}\n"
        f"found = calculator.run_model(ase.io.read({str(tmp_path / 'cell.xyz')!r}), asked)\n"
        "print(*found['ionecho::hyperfine_contact_shift'].block().values.flatten().tolist())\n"
        "assert 'ionecho' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = ionecho.load("spin_transfer-p2_nmmo").predict(small, dtype="float64")["hyperfine_contact_shift"]
    np.testing.assert_allclose([float(word) for word in done.stdout.split()], expected, atol=1e-4)


def test_a_model_that_cannot_be_recorded_is_refused() -> None:
    """A branch that goes by the number of atoms is taken as on the structure that was recorded."""
    model = load(resolve("uf3-p2_nmmo")).model.double()

    def large_or_small(graph: object) -> dict[str, torch.Tensor]:
        energy = model(graph)["energy"]
        return {"energy": energy if graph.numbers.shape[0] > 20 else 2 * energy}  # type: ignore[attr-defined]

    with pytest.raises(InputError, match=r"recorded energy of 8 atoms differs from the model by .* of its size"):
        traced(model.requires_grad_(False), large_or_small)


def test_a_model_that_finds_states_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"density-nvp_gpaw finds the states of ions .* Use predict.py"):
        export(load(resolve("density-nvp_gpaw")), tmp_path)
    with pytest.raises(InputError, match="deep_dft-nvp_gpaw gives nothing by atom"):
        export(load(resolve("deep_dft-nvp_gpaw")), tmp_path)
    assert list(tmp_path.iterdir()) == []

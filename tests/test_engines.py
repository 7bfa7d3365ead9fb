"""The engines that are installed on request: forces against finite differences, tensors, reasons of failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest

from ionecho.door.config import compose
from ionecho.errors import InputError
from ionecho.geometry.bader import valence_bader
from ionecho.labelling.engine import Engine, EngineError, make_engine


def engine(name: str, *overrides: str) -> Engine:
    """The engine `conf/engine/NAME.yaml` with these overrides."""
    pytest.importorskip(name, reason=f"{name} comes with `make labelling`")
    mesh = ["engine.kpoints={size: [1, 1, 1], density: null, gamma: true}"] if name == "gpaw" else []
    return make_engine(compose("label", [f"engine={name}", *mesh, *overrides])["engine"])


def slope(labeller: Engine, atoms: ase.Atoms, atom: int, axis: int, step: float) -> float:
    """Minus the derivative of the energy by central difference, eV/Å."""
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[atom, axis] += sign * step
        energies.append(float(labeller.label(moved).values["energy"]))
    return (energies[1] - energies[0]) / (2 * step)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path_factory.getbasetemp() / "home"))


def hydrogen() -> ase.Atoms:
    """A stretched molecule, askew in a small box."""
    return ase.Atoms("H2", [[0, 0, 0], [0.1, 0.2, 1.1]], cell=[3.2, 3.3, 3.6], pbc=True)


def test_gpaw_forces_are_the_derivatives_of_its_energy_and_a_rerun_agrees() -> None:
    """At 300 eV in steps of 0.02 Å the difference quotient keeps within 0.02 eV/Å of forces of some eV/Å."""
    gpaw = engine("gpaw", "engine.cutoff=300")
    labels = gpaw.label(hydrogen())
    forces = labels.values["forces"]
    assert np.abs(forces).max() > 1
    np.testing.assert_allclose(forces.sum(0), 0, atol=0.02)
    assert forces[1, 2] == pytest.approx(slope(gpaw, hydrogen(), 1, 2, 0.02), abs=0.02)
    efg = labels.values["efg"]
    np.testing.assert_allclose(np.trace(efg, axis1=1, axis2=2), 0, atol=1e-10)
    np.testing.assert_allclose(efg, efg.transpose(0, 2, 1), atol=1e-12)
    assert labels.provenance["iterations"] > 3
    assert len(labels.provenance["paw"]["H"]["sha256"]) == 64
    again = gpaw.label(hydrogen())
    for name, value in labels.values.items():
        np.testing.assert_allclose(again.values[name], value, rtol=1e-6, atol=1e-6 * np.abs(value).max(), err_msg=name)


def test_gpaw_stress_is_the_derivative_of_its_energy() -> None:
    """Along the longest axis; 500 eV, as the basis changes with the cell."""
    gpaw = engine("gpaw", "engine.cutoff=500", "engine.labels=[energy,stress]")

    def energy(strain: float) -> float:
        atoms = hydrogen()
        atoms.set_cell(atoms.cell.array * [1, 1, 1 + strain], scale_atoms=True)
        return float(gpaw.label(atoms).values["energy"])

    stress = gpaw.label(hydrogen()).values["stress"]
    slope = (energy(0.01) - energy(-0.01)) / 0.02 / hydrogen().get_volume()
    assert abs(slope) > 0.01
    assert stress[2, 2] == pytest.approx(slope, rel=0.05)


def test_gpaw_hyperfine_labels_are_the_two_parts_of_the_paw_tensor() -> None:
    given = ["engine.labels=[magnetic_moment,hyperfine_contact,hyperfine_dipolar]", "engine.cutoff=250"]
    given += ["+engine.moments={H: 1}", "+engine.isotopes={H: 1H}", "engine.smearing=0.0", "engine.fix_moment=true"]
    gpaw: Any = engine("gpaw", *given)
    from ionecho.labelling.paw import hyperfine_tensors
    from ionecho.nmr.isotopes import isotope

    atom = ase.Atoms("H", cell=[3.4, 3.4, 4.4], pbc=True)
    values = gpaw.label(atom).values
    atom.set_initial_magnetic_moments([1])
    calculator = gpaw._calculator(atom, None)
    atom.calc = calculator
    atom.get_potential_energy()
    tensor = hyperfine_tensors(calculator, np.array([isotope("1H").gyromagnetic_ratio]))
    assert values["hyperfine_contact"] == pytest.approx(np.trace(tensor[0]) / 3, rel=1e-6)
    assert values["hyperfine_contact"][0] > 1000  # MHz, of 1420
    whole = values["hyperfine_dipolar"] + values["hyperfine_contact"][:, None, None] * np.eye(3)
    np.testing.assert_allclose(whole, tensor, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(np.trace(values["hyperfine_dipolar"], axis1=1, axis2=2), 0, atol=1e-9)
    assert gpaw.conventions["hyperfine_normalisation"].startswith("<S_z> of the cell")
    assert gpaw.conventions["isotopes"] == {"H": "1H"}


def test_gpaw_bader_charges_are_those_of_the_stored_densities() -> None:
    """Hydroxyl: 7 valence electrons, one unpaired, mostly on the oxygen; grids with 9 bits of mantissa."""
    given = ["engine.labels=[bader_charge,bader_moment,charge_density,spin_density]", "engine.cutoff=300"]
    given += [
        "+engine.moments={O: 1}",
        "engine.smearing=0.0",
        "engine.fix_moment=true",
        "engine.density_grid.keepbits=9",
    ]
    molecule = ase.Atoms("OH", [[0, 0, 0], [0.3, 0.2, 0.9]], cell=[3.6, 3.7, 3.8], pbc=True)
    labels = engine("gpaw", *given).label(molecule)
    values = labels.values
    charge, spin = values["charge_density"], values["spin_density"]
    assert not (charge.view("u4") & (2**14 - 1)).any()
    assert charge.mean(dtype=float) * molecule.get_volume() == pytest.approx(7, abs=0.01)
    assert values["bader_charge"].sum() == pytest.approx(0, abs=0.01)
    assert values["bader_moment"].sum() == pytest.approx(1, abs=0.01)
    assert values["bader_moment"][0] > 0.8
    assert values["bader_charge"][1] > 0.3
    cores = np.array([labels.provenance["paw"][symbol]["core_electrons"] for symbol in molecule.symbols])
    held = valence_bader(charge, molecule.cell.array, molecule.positions, cores, spin)
    np.testing.assert_allclose(values["bader_charge"], molecule.numbers - held.electrons, atol=1e-10)


def test_the_composition_can_decide_the_total_moment() -> None:
    given = ["engine.labels=[magnetic_moment,energy]", "engine.cutoff=200", "+engine.moments={H: 0.4}"]
    given += ["engine.fix_moment={H: 0.75, Li: -0.25}", "+engine.paw={Li: Li.1s}"]
    atoms = ase.Atoms("H2Li2", [[0, 0, 0], [2, 2, 0], [2, 0, 0], [0, 2, 0]], cell=[4, 4, 3], pbc=True)
    gpaw: Any = engine("gpaw", *given)
    assert gpaw._starting_moments(atoms) == pytest.approx([0.5, 0.5, 0.0, 0.0])
    assert gpaw.level_of_theory()["fixed_moment"] == {"H": 0.75, "Li": -0.25}
    atoms.set_initial_magnetic_moments(gpaw._starting_moments(atoms))
    atoms.calc = gpaw._calculator(atoms, None)
    atoms.get_potential_energy()
    assert atoms.calc.get_magnetic_moment() == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(EngineError, match="no atom of Li2 has a starting moment"):
        gpaw._starting_moments(atoms[2:])


def test_gpaw_that_does_not_converge_is_a_failure_with_its_reason_and_a_log_of_its_own(tmp_path: Path) -> None:
    gpaw = engine("gpaw", "engine.cutoff=200", "engine.iterations=2", f"engine.log={tmp_path / 'logs'}")
    moved = hydrogen()
    moved.positions[0] += 0.1
    for atoms in (hydrogen(), moved):
        with pytest.raises(EngineError, match=r"not converged in 2 iterations.*logs/H2-\w+\.txt"):
            gpaw.label(atoms)
    logs = sorted((tmp_path / "logs").iterdir())
    assert len(logs) == 2
    assert all("iter:   2" in log.read_text() for log in logs)


def test_gpaw_names_elements_that_it_cannot_label_before_it_runs() -> None:
    given = ["engine.labels=[hyperfine_contact,efg]", "+engine.moments={Mn: 3}", "+engine.isotopes={Mn: 55Mn, Li: 7Li}"]
    gpaw = engine("gpaw", *given)
    gpaw.check({"Mn"})
    with pytest.raises(InputError, match="no isotope for Na, O"):
        gpaw.check({"Na", "Mn", "O"})
    with pytest.raises(InputError, match="25Mg is no isotope of Mn"):
        engine("gpaw", *given[:2], "+engine.isotopes={Mn: 25Mg}").check({"Mn"})
    with pytest.raises(InputError, match="unknown isotope '99Mn'"):
        engine("gpaw", *given[:2], "+engine.isotopes={Mn: 99Mn}").check({"Mn"})
    with pytest.raises(InputError, match=r"the PAW dataset of Li freezes 1s.*use Li\.1s"):
        gpaw.check({"Li", "Mn"})
    engine("gpaw", *given, "+engine.paw={Li: Li.1s}").check({"Li"})
    with pytest.raises(InputError, match=r"Ga freezes 3d, .*one with 3d in the valence"):
        engine("gpaw", "engine.labels=[efg]").check({"Ga"})
    with pytest.raises(InputError, match=r"Li freezes 1s.*no hyperfine coupling"):
        engine("gpaw", "engine.labels=[hyperfine_contact]", *given[1:]).check({"Li"})
    with pytest.raises(InputError, match="Gd has f waves"):
        engine("gpaw", "engine.labels=[efg]", "engine.moments={}").check({"Gd"})
    engine("gpaw", "engine.labels=[energy]").check({"Be", "Ga"})


def test_contact_couplings_of_other_functionals_are_those_of_the_valence_alone() -> None:
    given = ["engine.labels=[hyperfine_contact]", "+engine.moments={H: 1}", "+engine.isotopes={H: 1H}"]
    for functional in ("SCAN", "PBE0"):
        with pytest.raises(InputError, match=f"needs an LDA or a GGA, found {functional}; .*core_polarisation=false"):
            engine("gpaw", *given, f"engine.functional={functional}").check({"H"})
    engine("gpaw", *given, "engine.functional=SCAN", "engine.core_polarisation=false").check({"H"})


@pytest.mark.parametrize(
    ("wrong", "element", "told"),
    [
        ("engine.mixer={kind: summ, beta: 0.1, history: 5, weight: 50}", "F", r"mixer.*sum, difference, separate"),
        ("engine.mixer={kind: sum, beta: 0.1}", "F", "mixer: expected kind, beta, history, weight"),
        ("engine.kpoints.size=[2,2]", "F", r"three numbers of one or more, found \[2, 2\]"),
        ("+engine.hubbard={mn: 3.9}", "F", r"engine\.hubbard: expected symbols such as Mn, found mn"),
        ("+engine.moments={Feu: 3}", "F", "found Feu"),
        ("engine.cutoff=high", "F", r"engine\.cutoff: Input should be a valid number, found 'high'"),
        ("engine.smearing=-0.1", "F", r"engine\.smearing: .* greater than or equal to 0"),
        ("engine.functional=PBEX", "F", "Unknown functional: PBEX"),
        ("+engine.paw={Na: wrong}", "Na", r"Na\.wrong\.PBE"),
        ("engine.labels=[energy]", "Mn", r"engine\.moments: expected starting moments for Mn"),
    ],
)
def test_settings_that_gpaw_does_not_take_are_refused_before_it_runs(wrong: str, element: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        engine("gpaw", wrong).check({element, "H"})


def test_no_spin_polarisation_of_open_shells_has_to_be_said() -> None:
    engine("gpaw", "engine.moments={}").check({"Ti", "O"})


def test_the_cures_of_a_failure_do_not_change_the_level_of_theory() -> None:
    cured = ["engine.iterations=300", "engine.mixer={kind: sum, beta: 0.02, history: 5, weight: 50}"]
    assert engine("gpaw", *cured).level_of_theory() == engine("gpaw").level_of_theory()


def test_gpaw_refuses_what_it_cannot_do() -> None:
    with pytest.raises(InputError, match=r"Li\.1s: made for PBE, found engine\.functional=LDA"):
        engine("gpaw", "+engine.paw={Li: Li.1s}", "engine.functional=LDA").check({"Li"})
    with pytest.raises(InputError, match="not shielding"):
        engine("gpaw", "engine.labels=[shielding]")
    with pytest.raises(InputError, match="hyperfine_contact need starting moments"):
        engine("gpaw", "engine.labels=[hyperfine_contact]")


def test_tblite_forces_and_stress_are_the_derivatives_of_its_energy() -> None:
    """Self-consistency leaves about 1e-4 eV/Å in the quotients, of forces of some eV/Å."""
    tblite = engine("tblite")
    atoms = ase.Atoms("LiHLiH", [[0, 0, 0.1], [2, 0, 0], [2, 2.1, 0], [0, 2, 0.1]], cell=[4, 4.1, 4.2], pbc=True)
    values = tblite.label(atoms).values
    np.testing.assert_allclose(values["forces"].sum(0), 0, atol=1e-5)
    assert values["forces"][2, 1] == pytest.approx(slope(tblite, atoms, 2, 1, 1e-3), abs=2e-3)
    strained = []
    for strain in (1e-3, -1e-3):
        cell = atoms.copy()
        cell.set_cell(atoms.cell.array * [1, 1, 1 + strain], scale_atoms=True)
        strained.append(float(tblite.label(cell).values["energy"]))
    expected = (strained[0] - strained[1]) / 2e-3 / atoms.get_volume()
    assert values["stress"][2, 2] == pytest.approx(expected, rel=1e-2, abs=1e-5)
    assert tblite.level_of_theory()["use"] == "sampler only"
    assert tblite.level_of_theory()["arguments"]["method"] == "GFN1-xTB"


def test_tblite_names_what_it_does_not_know() -> None:
    with pytest.raises(EngineError, match="tblite: "):
        engine("tblite").label(ase.Atoms("Cm", cell=[5, 5, 5], pbc=True))

"""Li3PS4 cells and how they are sampled: known distances, composition, density, the same configurations every time."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import pytest
from ase.calculators.calculator import kpts2sizeandoffsets
from ase.units import _amu
from conftest import REPOSITORY

from ionecho.data.registry import find_card
from ionecho.data.store import Dataset
from ionecho.data.verify import against_card, verify
from ionecho.door.config import compose
from ionecho.errors import InputError
from ionecho.exploration import sampling
from ionecho.exploration.recipes import LPS_POTENTIAL, RECIPES
from ionecho.exploration.sampling import quenched
from ionecho.labelling.engine import Engine, make_engine
from ionecho.labelling.publish import differences
from ionecho.labelling.queue import key
from ionecho.labelling.structures import read_structures
from ionecho.structures.coordination import coordination, octahedra_intact, phosphate_intact, thiophosphate_intact
from ionecho.structures.lps import ANIONS, APART, DENSITIES, GLASS, LPS, lps_crystal, lps_frenkel, lps_packed
from ionecho.structures.prototypes import PROTOTYPES


def between(atoms: ase.Atoms, first: str, second: str) -> np.ndarray:
    """Sorted distances of every atom of one element to those of another, itself left out."""
    distances = atoms.get_all_distances(mic=True) + np.diag(np.full(len(atoms), np.inf))
    return np.sort(distances[atoms.symbols == first][:, atoms.symbols == second], axis=1)


@pytest.mark.parametrize("name", LPS)
def test_every_cell_is_li3ps4_of_ps4_units(name: str) -> None:
    atoms = LPS[name](1)
    counts = atoms.symbols.formula.count()
    assert counts == {"Li": 3 * counts["P"], "P": counts["P"], "S": 4 * counts["P"]}
    distances = between(atoms, "P", "S")
    assert distances[:, 0].min() > 2.0
    assert distances[:, 3].max() < 2.15
    assert distances[:, 4].min() >= 2.9
    assert thiophosphate_intact(atoms)


@pytest.mark.parametrize(("name", "shared", "bonded"), [("lps_packed_p2s7", 1, 0), ("lps_packed_p2s6", 0, 2)])
def test_glasses_hold_the_ions_they_are_named_by(name: str, shared: int, bonded: int) -> None:
    """P2S7: one S at two P; P2S6: two P at each other; neutral with Li+ in both."""
    atoms = GLASS[name](1)
    phosphorus, sulphur = between(atoms, "P", "S"), between(atoms, "S", "P")
    assert ((sulphur[:, :2] < 2.15).sum(1) == 2).sum() == shared
    assert (between(atoms, "P", "P") < 2.3).sum() == bonded
    assert np.isin((phosphorus < 2.15).sum(1), (3, 4)).all()
    assert between(atoms, "S", "S")[:, 1].min() > APART["S", "S"]
    ion = name.removeprefix("lps_packed_").upper()
    assert atoms.symbols.formula.count()["Li"] == ANIONS[ion][1] + ANIONS["PS4"][1]


@pytest.mark.parametrize(("phase", "atoms", "density"), [("gamma", 16, 1.93), ("beta", 32, 1.85)])
def test_lithium_of_the_crystals_has_four_or_more_sulphur(phase: str, atoms: int, density: float) -> None:
    cell = lps_crystal(phase, 0)
    assert len(cell) == atoms
    assert grams(cell) == pytest.approx(density, abs=0.01)
    distances = between(cell, "Li", "S")
    assert distances.min() > 2.3
    assert distances[:, 3].max() < 2.75


def grams(atoms: ase.Atoms) -> float:
    """Density in g/cm³."""
    return float(atoms.get_masses().sum() * _amu * 1e27 / atoms.get_volume())


def test_a_frenkel_pair_is_one_lithium_in_a_void() -> None:
    perfect, pair = lps_crystal("gamma", 0), lps_frenkel("gamma", 3)
    moved = np.flatnonzero(np.abs(pair.positions - perfect.positions).max(1) > 1e-9)
    assert len(moved) == 1
    assert pair.symbols[moved[0]] == "Li"
    assert between(pair, "Li", "S").min() >= APART["Li", "S"]
    assert between(pair, "Li", "Li").min() >= APART["Li", "Li"]


def test_packings_keep_their_distances_and_densities_and_differ_by_seed() -> None:
    packings = [lps_packed({"PS4": 2}, seed) for seed in range(4)]
    for atoms in packings:
        assert DENSITIES[0] <= grams(atoms) <= DENSITIES[1]
        assert between(atoms, "P", "P").min() > APART["P", "P"]
        assert between(atoms, "Li", "S").min() > APART["Li", "S"]
    assert not np.allclose(packings[0].positions, packings[1].positions)
    np.testing.assert_array_equal(lps_packed({"PS4": 2}, 0).positions, packings[0].positions)


def test_a_broken_tetrahedron_and_bonded_sulphur_are_found() -> None:
    broken, bonded = lps_crystal("gamma", 0), lps_crystal("gamma", 0)
    p, s = (int(np.flatnonzero(broken.symbols == symbol)[0]) for symbol in "PS")
    nearest = int(np.argmin(np.where(broken.symbols == "S", broken.get_distances(p, range(16), mic=True), np.inf)))
    broken.set_distance(p, nearest, 2.8, fix=0, mic=True)
    other = int(np.flatnonzero(bonded.symbols == "S")[-1])
    bonded.set_distance(s, other, 2.1, fix=0, mic=True)
    assert not thiophosphate_intact(broken)
    assert not thiophosphate_intact(bonded)


def test_whole_and_broken_polyhedra_of_the_oxides() -> None:
    layered, nasicon = PROTOTYPES["p2_p63mcm"](0), PROTOTYPES["nvp_4"](0)
    assert coordination(layered, ["Mg", "Mn"], "O", 2.6).tolist() == [6] * 6
    assert octahedra_intact(layered)
    assert phosphate_intact(nasicon)
    layered.positions[layered.symbols == "Mn"] += [0, 0, 1.2]
    assert not octahedra_intact(layered)
    for element, away in (("P", 0.5), ("V", 1.2)):
        broken = nasicon.copy()
        broken.positions[broken.symbols == element] += [away, 0, 0]
        assert not phosphate_intact(broken), element
    lonely = PROTOTYPES["p2_p63mcm"](0)
    lonely.positions[lonely.symbols == "Mg"] += [0, 0, 1.2]
    assert not octahedra_intact(lonely)


def test_a_quench_keeps_the_units_and_the_density_and_is_the_same_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start = lps_packed({"PS4": 2}, 0)
    runs = []
    for name in ("first", "again"):
        monkeypatch.setattr(sampling, "WORK", tmp_path / name)
        (tmp_path / name).mkdir()
        stages = ((1200.0, 1), (300.0, 1))
        runs.append(list(quenched(start, "q", LPS_POTENTIAL, stages, 0, thiophosphate_intact)))
    assert [found.frame for found in runs[0]] == [0, 1]
    for found, same in zip(*runs, strict=True):
        assert grams(found.atoms) == pytest.approx(grams(start), rel=1e-12)
        assert found.atoms.symbols.formula == start.symbols.formula
        np.testing.assert_array_equal(found.positions, same.positions)
    assert np.abs(runs[0][1].positions - start.positions).max() > 0.3


LABELLED = [name for name in RECIPES if find_card(name)[0].ionecho.content_sha256 is not None]


@pytest.mark.parametrize("name", LABELLED)
def test_the_committed_configurations_begin_as_the_recipe_does(name: str) -> None:
    first = next(iter(RECIPES[name]()))
    committed = next(
        found
        for found in read_structures([str(REPOSITORY / "datasets" / name / "structures.zarr.zip")], every=1)
        if (found.group, found.frame) == (first.group, first.frame)
    )
    np.testing.assert_allclose(committed.positions, first.positions, rtol=0, atol=1e-9)


def test_committed_li3ps4_is_many_runs_of_intact_units() -> None:
    found = list(read_structures([str(REPOSITORY / "datasets/lps_gpaw/structures.zarr.zip")], every=1))
    assert len(found) >= 500
    assert len({configuration.group for configuration in found}) >= 60
    li3ps4 = [configuration.atoms for configuration in found if not configuration.group.startswith("glass_p2")]
    assert all(map(thiophosphate_intact, li3ps4))


@pytest.mark.parametrize(("name", "least"), [("p2_gpaw", 300), ("lps_gpaw", 500), ("nvp_gpaw", 60)])
def test_the_committed_datasets_are_sound_small_and_of_their_cards(name: str, least: int) -> None:
    card, folder = find_card(name)
    path = folder / card.filename
    assert verify(path) + against_card(path, card) == []
    assert len(Dataset(path)) >= least
    assert path.stat().st_size < 60e6
    assert {recipe.kind for recipe in card.ionecho.splits.values()} == {"group", "configuration"}


@pytest.mark.parametrize("name", ["p2_gpaw", "lps_gpaw", "nvp_gpaw"])
def test_the_committed_labels_are_of_all_committed_cells(name: str) -> None:
    """So the command that labels a set makes it again, no more; and no less, but for a set that is still labelled."""
    card, folder = find_card(name)
    dataset = Dataset(folder / card.filename)
    cells = read_structures([str(folder / "structures.zarr.zip")], every=1)
    labelled = {key(found) for found in dataset.configurations(0, len(dataset))}
    asked = {key(found) for found in cells}
    assert labelled < asked if f"of {len(asked)} cells" in card.pretty_name else labelled == asked


@pytest.mark.parametrize("name", ["p2_gpaw", "lps_gpaw", "nvp_gpaw"])
def test_the_committed_labels_are_of_the_level_that_their_engine_has_now(name: str) -> None:
    """Otherwise `explore.py` refuses to add to them, and `ionecho label run` labels all anew."""
    pytest.importorskip("gpaw")
    card, folder = find_card(name)
    engine = make_engine(compose("label", [f"engine={name}"])["engine"])
    assert not differences(Dataset(folder / card.filename), engine)


@pytest.mark.parametrize("name", ["p2_gpaw", "p2_nmmo"])
def test_dipolar_couplings_of_sodium_are_about_the_field_of_points_at_the_manganese(
    name: str, request: pytest.FixtureRequest
) -> None:
    """The upstream labels, of VASP, and our own, of GPAW."""
    from validation.dipolar_points import compare

    card, folder = find_card(name)
    slope, correlation = compare(
        request.getfixturevalue(name) if card.ionecho.build else Dataset(folder / card.filename)
    )
    assert slope == pytest.approx(1.0, abs=0.15)  # covalent spin on O is no point at Mn
    assert correlation > 0.97


def test_the_mesh_of_the_engine_follows_the_cell() -> None:
    pytest.importorskip("gpaw")
    mesh = lps_engine().level_of_theory()["kpoints"]
    gamma, beta = (kpts2sizeandoffsets(atoms=lps_crystal(phase, 0), **mesh) for phase in ("gamma", "beta"))
    assert list(gamma[0]) == [2, 2, 2]
    assert list(gamma[1]) == [0, 0, 0]  # a mesh of even numbers is off Gamma as it is
    assert list(beta[0]) == [1, 2, 2]
    for wrong in ("size=[2,2,2]", "density=null"):
        with pytest.raises(InputError, match="either size or density"):
            lps_engine(f"engine.kpoints.{wrong}")


def lps_engine(*overrides: str) -> Engine:
    """The engine of the Li3PS4 labels."""
    return make_engine(compose("label", ["engine=lps_gpaw", *overrides])["engine"])

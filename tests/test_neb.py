"""Minimum-energy paths whose barriers are known."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.build import add_adsorbate, bulk, fcc100
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from conftest import EMT_ENGINE, refused, vacancy_hop

from ionecho.data.store import open_zarr
from ionecho.door.neb import find_path
from ionecho.dynamics.neb import STAGES, Snapshot, minimum_energy_path
from ionecho.dynamics.path import SNAPSHOT
from ionecho.errors import InputError
from ionecho.labelling.ase_engine import ASEEngine
from ionecho.labelling.calculator import EngineCalculator
from ionecho.labelling.structures import read_structures


class MuellerBrown(Calculator):
    """Müller and Brown, Theor. Chim. Acta 1979, 53, 75, in x and y of one atom; stiff in z."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        x, y, z = self.atoms.positions[0]
        size = np.array([-200.0, -100.0, -170.0, 15.0])
        a, b, c = np.array([-1, -1, -6.5, 0.7]), np.array([0, 0, 11, 0.6]), np.array([-10, -10, -6.5, 0.7])
        dx, dy = x - np.array([1, 0, -0.5, -1]), y - np.array([0, 0.5, 1.5, 1])
        terms = size * np.exp(a * dx**2 + b * dx * dy + c * dy**2)
        gradient = [(terms * (2 * a * dx + b * dy)).sum(), (terms * (b * dx + 2 * c * dy)).sum(), 100 * z]
        self.results = {"energy": terms.sum() + 50 * z**2, "forces": -np.array([gradient])}


def test_mueller_brown_barrier() -> None:
    """Science B15: from the minimum at (-0.5582, 1.4417) over the saddle at (-0.8220, 0.6243), 106.0347 high."""
    ends = (ase.Atoms("H", [(-0.55, 1.44, 0)]), ase.Atoms("H", [(-0.05, 0.467, 0)]))
    path = minimum_energy_path(*ends, MuellerBrown, images=9, force=0.05, steps=2000)
    assert path.images[0].get_potential_energy() == pytest.approx(-146.6995, abs=1e-3)
    assert path.barrier == pytest.approx(106.0347, abs=0.01)
    top = path.images[int(path.energies.argmax())]
    np.testing.assert_allclose(top.positions[0, :2], [-0.8220, 0.6243], atol=2e-3)


def test_a_path_resumed_from_any_relaxation_is_that_of_a_whole_run() -> None:
    """The optimiser's memory is kept: bit by bit the same images."""
    ends = (ase.Atoms("H", [(-0.6, 1.5, 0)]), ase.Atoms("H", [(-0.05, 0.4, 0)]))
    relax = partial(minimum_energy_path, *ends, MuellerBrown, images=5, force=1.0, steps=2000)
    snapshots: dict[tuple[int, int], Snapshot] = {}
    whole = relax(watch=lambda snapshot, _: snapshots.update({(snapshot.stage, snapshot.step): snapshot}))
    for stage in range(len(STAGES)):
        resumed = relax(begin=snapshots[stage, 3])
        np.testing.assert_array_equal(resumed.energies, whole.energies)
        np.testing.assert_array_equal(resumed.length, whole.length)


def test_a_symmetric_hop_has_its_barrier_in_the_middle_and_equal_ends() -> None:
    """An adatom on a (100) face hops over the bridge site; the two hollows are the same."""
    slab = fcc100("Al", (2, 2, 3), vacuum=6.0)
    slab.set_constraint(FixAtoms(mask=[atom.tag > 1 for atom in slab]))
    ends = [slab.copy(), slab.copy()]
    for end, offset in zip(ends, ((0, 0), (1, 0)), strict=True):
        add_adsorbate(end, "Au", 1.7, "hollow", offset=offset)
    path = minimum_energy_path(*ends, EMT, images=5, force=0.05, steps=200)
    assert path.energies[-1] == pytest.approx(0.0, abs=1e-3)
    assert int(path.energies.argmax()) == 2
    assert path.barrier == pytest.approx(0.35, abs=0.05)  # 0.35 to 0.38 eV: ASE's own tutorial on this hop
    assert np.all(np.diff(path.length) > 0)


def test_ends_that_do_not_match_are_refused() -> None:
    with pytest.raises(InputError, match="same atoms"):
        minimum_energy_path(ase.Atoms("H"), ase.Atoms("He"), EMT, images=5, force=0.05, steps=10)
    with pytest.raises(InputError, match="at least 3"):
        minimum_energy_path(ase.Atoms("H"), ase.Atoms("H"), EMT, images=2, force=0.05, steps=10)


def test_a_command_killed_in_the_band_goes_on_and_finds_the_same_path(tmp_path: Path) -> None:
    given = [*vacancy_hop(tmp_path), *EMT_ENGINE, "images=5", "force=0.01"]
    whole = open_zarr(find_path(tmp_path / "whole.zarr", given), "r")
    output = tmp_path / "killed.zarr"
    command = [sys.executable, "-m", "ionecho.cli", "neb", str(output), *given]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and stage_of(output) < STAGES.index("band"):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not output.exists(), "finished before it could be killed"
    assert stage_of(output) >= STAGES.index("band")
    with pytest.raises(InputError, match="left from another run"):
        find_path(output, [*given, "force=0.02"])
    killed = open_zarr(find_path(output, given), "r")
    for name in ("potential_energy", "forces", "path_length", "positions"):
        np.testing.assert_array_equal(killed[name][:], whole[name][:])
    assert killed.attrs["request"] == whole.attrs["request"]
    assert not list(tmp_path.glob("*.partial"))


def stage_of(output: Path) -> int:
    snapshot = output.with_name(output.name + ".partial") / SNAPSHOT
    if not snapshot.exists():
        return -1
    with np.load(snapshot) as kept:
        return int(kept["stage"])


def test_the_command_with_an_engine_is_the_function_with_its_calculator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*vacancy_hop(tmp_path), *EMT_ENGINE, "images=3"]
    output = find_path(tmp_path / "hop.zarr", given)
    ends = [ase.io.read(tmp_path / f"{name}.xyz") for name in ("initial", "final")]
    path = minimum_energy_path(*ends, EMT, images=3, force=0.05, steps=500)
    group = open_zarr(output, "r")
    energies = group["potential_energy"][:]
    np.testing.assert_allclose(energies - energies[0], path.energies, atol=1e-9)
    assert energies[0] == pytest.approx(path.images[0].get_potential_energy())
    np.testing.assert_allclose(group["path_length"][:], path.length)
    assert group.attrs["request"]["level_of_theory"]["calculator"] == "ase.calculators.emt.EMT"
    frames = list(read_structures([str(output)], every=1))
    assert [(each.group, each.frame) for each in frames] == [("hop", 0), ("hop", 1), ("hop", 2)]
    np.testing.assert_allclose(frames[1].positions, path.images[1].positions, atol=1e-9)
    assert find_path(output, [*given, "steps=400"]) == output  # more or fewer steps allowed make no other path
    assert "complete already" in capsys.readouterr().out
    with pytest.raises(InputError, match="of another run"):
        find_path(output, [*given, "force=0.01"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "initial=FILE and final=FILE"),
        (["{ends}"], "found none"),
        (["{ends}", "checkpoint=painn-p2_gpaw", *EMT_ENGINE], "found both"),
        (["{ends}", *EMT_ENGINE, "steps=1"], "the first end is not relaxed to 0.05 eV/Å after 1 steps"),
        (["{ends}", *EMT_ENGINE, "force=-1"], "force"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], said: str
) -> None:
    given = [part for each in overrides for part in (vacancy_hop(tmp_path) if each == "{ends}" else [each])]
    assert said in refused(capsys, lambda: find_path(tmp_path / "out.zarr", given))
    assert not (tmp_path / "out.zarr").exists()


def engine(calculator: partial[Calculator], *labels: str) -> ASEEngine:
    return ASEEngine(labels, calculator, package="ase", settings={"code": "EMT"}, keys={}, moments={})


def test_an_engine_is_a_calculator() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    expected, atoms.calc = atoms.copy(), EngineCalculator(engine(partial(EMT), "energy", "forces"))
    expected.calc = EMT()
    assert atoms.get_potential_energy() == pytest.approx(expected.get_potential_energy(), abs=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), atol=1e-12)
    with pytest.raises(InputError, match="no forces"):
        EngineCalculator(engine(partial(EMT), "energy"))


def test_an_engine_that_fails_names_the_image() -> None:
    """EMT knows no tungsten."""
    ends = [bulk("W", cubic=True) for _ in range(2)]
    with pytest.raises(InputError, match=r"image 0: ase: .*W"):
        minimum_energy_path(
            *ends, lambda: EngineCalculator(engine(partial(EMT), "energy", "forces")), images=3, force=0.05, steps=5
        )

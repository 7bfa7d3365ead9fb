"""Molecular dynamics: conserved energy, temperature, restarts, refusals, and properties along the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.geometry import find_mic
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.units import kB
from conftest import REPOSITORY, p2_crystal, run_entry
from numpy.typing import NDArray

from ionecho.analysis.loading import read_series
from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.lock import locked
from ionecho.data.store import open_zarr
from ionecho.data.trajectory import ZarrTrajectory, early_end
from ionecho.data.trajectory_writer import append
from ionecho.dynamics import simulate as simulation
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Kind, Thermostat
from ionecho.dynamics.run import Run, femtoseconds
from ionecho.dynamics.settings import SimulationSettings
from ionecho.dynamics.simulate import drawn_velocities, run_simulation, simulate
from ionecho.dynamics.start import read_structure
from ionecho.errors import InputError
from ionecho.nmr.hyperfine import ContactShift
from ionecho.prediction.device import PredictionSettings
from ionecho.prediction.predictor import Predictor, predictors
from ionecho.prediction.stream import predict
from ionecho.structures.prototypes import PROTOTYPES, nvp_hop, p2_hop
from ionecho.structures.read import describe

NVT = Thermostat("nvt_langevin", 300.0, 2.0, 100.0, 0.0, 1000.0, 0)
RUN = Run(steps=40, every=5, block=2, spread_limit=1.0, contact_limit=0.5, heat_limit=2.0, volume_limit=None)
IDENTITY = {"checkpoint": "emt"}


def copper() -> ase.Atoms:
    return bulk("Cu", cubic=True).repeat(2)


def run(output: Path, ensemble: Thermostat = NVT, settings: Run = RUN, calculator: Calculator | None = None) -> Path:
    return simulate(copper(), calculator or EMT(), ensemble, settings, IDENTITY, output)  # type: ignore[arg-type]


def positions(path: Path) -> NDArray:
    return open_zarr(path, "r")["positions"][:]


class Killed(EMT):
    """Stands for a kill at a chosen force call."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def calculate(self, *arguments: object, **keywords: object) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        super().calculate(*arguments, **keywords)


class Disagreeing(EMT):
    """An ensemble whose members differ ever more."""

    calls = 0

    def calculate(self, *arguments: object, **keywords: object) -> None:
        super().calculate(*arguments, **keywords)
        self.calls += 1
        self.results["forces_std"] = np.zeros(32)
        self.results["forces_std"][7] = 0.05 * self.calls


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("calls", [3, 17, 29])
def test_a_killed_run_goes_on_to_the_same_trajectory(tmp_path: Path, kind: str, calls: int) -> None:
    ensemble = replace(NVT, kind=kind)
    whole = run(tmp_path / "whole.zarr", ensemble)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed.zarr", ensemble, calculator=Killed(calls))
    assert not (tmp_path / "killed.zarr").exists()
    np.testing.assert_array_equal(positions(run(tmp_path / "killed.zarr", ensemble)), positions(whole))


def test_nve_conserves_the_energy(tmp_path: Path) -> None:
    """Velocity Verlet: the error of the energy is of second order in the step, a few meV of 32 atoms here."""
    path = run(tmp_path / "nve.zarr", replace(NVT, kind="nve"), replace(RUN, steps=200))
    group = open_zarr(path, "r")
    kinetic = 1.5 * 31 * 8.617333e-5 * group["temperature"][:]
    assert np.ptp(group["potential_energy"][:] + kinetic) < 0.01


@pytest.mark.parametrize("kind", ["nvt_langevin", "nvt_nose_hoover"])
def test_thermostats_hold_the_temperature(tmp_path: Path, kind: str) -> None:
    """Mean over 3.2 ps after 0.8 ps; its standard error, with 96 degrees of freedom and tau 20 fs, is about 8 K."""
    ensemble = replace(NVT, kind=kind, thermostat_time=20.0, timestep=4.0)
    path = run(tmp_path / "nvt.zarr", ensemble, replace(RUN, steps=1000, every=10, block=50))
    assert open_zarr(path, "r")["temperature"][20:].mean() == pytest.approx(300, abs=30)


@pytest.mark.parametrize("kind", ["nvt_langevin", "nvt_nose_hoover"])
def test_every_degree_of_freedom_has_its_share_of_heat(tmp_path: Path, kind: str) -> None:
    """Four atoms: if the three freedoms of a total momentum that stays zero were counted, 25 % too hot or too cold.

    Mean over 16 ps; the standard error of the nine to twelve freedoms is about 6 K.
    """
    ensemble = replace(NVT, kind=kind, thermostat_time=20.0, timestep=4.0)
    settings = Run(4000, 5, 400, None, 0.5, None, None)
    path = simulate(bulk("Cu", cubic=True), EMT(), ensemble, settings, IDENTITY, tmp_path / "four.zarr")
    assert open_zarr(path, "r")["temperature"][100:].mean() == pytest.approx(300, abs=25)


@pytest.mark.parametrize("seed", range(3))
def test_the_first_random_forces_are_not_the_first_velocities(tmp_path: Path, seed: int) -> None:
    """Where they are, the first step of 2 fs heats by a fifth; 32 atoms at 300 K scatter by 43 K in equilibrium."""
    settings = Run(1, 1, 1, None, 0.5, None, None)
    path = run(tmp_path / "first.zarr", replace(NVT, seed=seed), settings)
    atoms = copper()
    thermalize_momenta(atoms, 300.0, rng=np.random.default_rng(seed))
    Stationary(atoms)
    assert open_zarr(path, "r")["temperature"][0] == pytest.approx(atoms.get_temperature(), abs=30)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_complete_run_is_made_longer(tmp_path: Path, kind: str) -> None:
    ensemble, output = replace(NVT, kind=kind), tmp_path / "grown.zarr"
    run(output, ensemble, replace(RUN, steps=20))
    with pytest.raises(KeyboardInterrupt):
        run(output, ensemble, calculator=Killed(14))
    grown = positions(run(output, ensemble))
    np.testing.assert_array_equal(grown, positions(run(tmp_path / "whole.zarr", ensemble)))
    np.testing.assert_array_equal(positions(run(output, ensemble, replace(RUN, steps=20))), grown)


def test_the_trajectory_is_format_2(tmp_path: Path) -> None:
    trajectory = ZarrTrajectory(run(tmp_path / "t.zarr"))
    frames = next(trajectory.blocks(0, 100))
    assert trajectory.n_frames == 8
    np.testing.assert_array_equal(trajectory.numbers, np.full(32, 29))
    np.testing.assert_allclose(frames.time, 10.0 * np.arange(1, 9))
    assert frames.cell.shape == (8, 3, 3)


def test_a_run_stops_where_the_members_disagree_and_says_why(tmp_path: Path) -> None:
    path = run(tmp_path / "spread.zarr", calculator=Disagreeing())
    group = open_zarr(path, "r")
    assert "Cu 7" in group.attrs["stopped"]
    assert "the limit is 1.0" in group.attrs["stopped"]
    assert 0 < group["positions"].shape[0] < 8


def test_a_run_stops_where_atoms_meet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no frame was reached.*sums of covalent radii"):
        run(tmp_path / "contact.zarr", settings=replace(RUN, contact_limit=1.1))


class Lost(EMT):
    """A potential that falls into a hole at its twelfth call."""

    calls = 0

    def calculate(self, *arguments: object, **keywords: object) -> None:
        super().calculate(*arguments, **keywords)
        self.calls += 1
        if self.calls == 12:
            self.results["forces"] = self.results["forces"] * 1e9


def test_a_run_stops_at_the_step_at_which_the_potential_is_lost(tmp_path: Path) -> None:
    path = run(tmp_path / "lost.zarr", calculator=Lost())
    assert "the potential does not know this structure" in open_zarr(path, "r").attrs["stopped"]
    assert len(positions(path)) == 2


def test_frames_fit_into_the_time() -> None:
    for steps in (4, 43):
        with pytest.raises(ValueError, match="a multiple of every"):
            replace(RUN, steps=steps)
    with pytest.raises(ValueError, match=r"every\n.*integer"):
        replace(RUN, every=2.5)


@pytest.fixture(scope="module")
def potential() -> Potential:
    return Potential(load(REPOSITORY / "models" / "uf3-p2_nmmo").model)


def attached(checkpoint: Path, shift: object = "checkpoint") -> list[Predictor]:
    settings = PredictionSettings.choose("cpu", "float64", 1, 5, None)
    return predictors(str(checkpoint), p2_crystal(0), {"contact_shift": shift}, settings)


def with_properties(potential: Potential, output: Path, properties: list[Predictor]) -> Path:
    settings = replace(RUN, spread_limit=None, contact_limit=0.3, heat_limit=None, volume_limit=None)
    return simulate(p2_crystal(0), potential, NVT, settings, IDENTITY, output, properties=properties)


def test_properties_along_a_run_are_those_predicted_from_its_trajectory(
    toy_checkpoint: Path, potential: Potential, tmp_path: Path
) -> None:
    properties = attached(toy_checkpoint)
    path = with_properties(potential, tmp_path / "md.zarr", properties)
    trajectory = ZarrTrajectory(path)
    later = open_zarr(predict(properties[0], trajectory, "md.zarr", tmp_path / "later.zarr"), "r")
    group = open_zarr(path, "r")
    for name in set(later.array_keys()) | {"hyperfine_contact", "hyperfine_contact_shift_std", "centres"}:
        np.testing.assert_allclose(group[name][:], later[name][:], rtol=1e-12)  # sums over batches of other sizes
    assert group["hyperfine_contact"].shape == (8, 2)
    for name in ("contact_shift", "conventions", "checkpoint_sha256"):
        assert group.attrs[name] == later.attrs[name]
    series, conversion = read_series(path, "Na", None, None)
    assert conversion == ContactShift(**group.attrs["contact_shift"])
    np.testing.assert_allclose(series.shift, group["hyperfine_contact_shift"][:])
    np.testing.assert_allclose(series.time, 10.0 * np.arange(1, 9))
    for made in (path, tmp_path / "later.zarr"):
        cold = replace(conversion, temperature=250.0)
        assert (
            "The ions move at 300 K, their couplings are converted at 250 K"
            in read_series(made, "Na", cold, None)[0].notes[-1]
        )
        warm = replace(conversion, temperature=300.0)
        assert not any("ions move" in note for note in read_series(made, "Na", warm, None)[0].notes)


def test_properties_survive_a_kill_and_belong_to_the_run(
    toy_checkpoint: Path, potential: Potential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_zarr(with_properties(potential, tmp_path / "whole.zarr", attached(toy_checkpoint)), "r")
    check, calls = Run.check, []

    def dies(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        check(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "check", dies)
    with pytest.raises(KeyboardInterrupt):
        with_properties(potential, tmp_path / "cut.zarr", attached(toy_checkpoint))
    with pytest.raises(InputError, match=r"left from another run \(properties: \[.* there, None now\)"):
        with_properties(potential, tmp_path / "cut.zarr", [])
    cut = open_zarr(with_properties(potential, tmp_path / "cut.zarr", attached(toy_checkpoint)), "r")
    for name in ("positions", "hyperfine_contact", "hyperfine_contact_members"):
        np.testing.assert_array_equal(cut[name][:], whole[name][:])


def test_two_models_of_one_property_are_refused(toy_checkpoint: Path, potential: Potential, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="toy and toy both predict hyperfine_contact"):
        with_properties(potential, tmp_path / "t.zarr", attached(toy_checkpoint) + attached(toy_checkpoint))


class Kicking(EMT):
    """A potential that pushes the atoms apart for some steps, as a fall into a hole would."""

    calls = 0

    def calculate(self, *arguments: object, **keywords: object) -> None:
        super().calculate(*arguments, **keywords)
        self.calls += 1
        if 28 <= self.calls < 34:
            self.results["forces"] = self.results["forces"] * 40


def test_a_run_stops_where_it_heats_up(tmp_path: Path) -> None:
    """After five thermostat times; before, a start that is displaced may be hot."""
    settings = replace(RUN, contact_limit=0.1)
    quick = replace(NVT, thermostat_time=10.0)
    found = open_zarr(run(tmp_path / "hot.zarr", quick, settings, Kicking()), "r").attrs["stopped"]
    assert "K in a run of 300 K: the potential does not know this structure" in found
    assert open_zarr(run(tmp_path / "at_first.zarr", NVT, settings, Kicking()), "r").attrs["stopped"] is None
    limitless = replace(settings, heat_limit=None)
    assert open_zarr(run(tmp_path / "on.zarr", quick, limitless, Kicking()), "r").attrs["stopped"] is None
    with pytest.raises(ValueError, match="heat_limit"):
        replace(RUN, heat_limit=1.0)


def test_a_run_killed_as_it_stopped_begins_nothing_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def append_and_die(group: Any, done: int, arrays: Any, block: int, **state: Any) -> int:
        length = append(group, done, arrays, block, **state)
        if state["stopped"]:
            raise KeyboardInterrupt
        return length

    monkeypatch.setattr(simulation, "append", append_and_die)
    output = tmp_path / "md.zarr"
    settings = replace(RUN, block=8)
    with pytest.raises(KeyboardInterrupt):
        run(output, settings=settings, calculator=Lost())
    group = open_zarr(run(output, settings=settings), "r")
    assert group["positions"].shape[0] == 2
    assert "the potential does not know this structure" in group.attrs["stopped"]


def test_pressure_squeezes_the_cell(tmp_path: Path) -> None:
    """Copper of EMT, bulk modulus 134 GPa: 20 GPa take a tenth of its volume, and its sign is the usual one."""
    squeezed = Thermostat("npt", 300.0, 2.0, 50.0, 20.0, 100.0, 0)
    path = run(tmp_path / "npt.zarr", squeezed, replace(RUN, steps=600, every=20, heat_limit=None))
    volume = np.abs(np.linalg.det(open_zarr(path, "r")["cell"][:]))
    assert volume[15:].mean() / copper().get_volume() == pytest.approx(0.90, abs=0.04)


def test_a_second_process_on_one_output_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "md.zarr"
    with locked(output), pytest.raises(InputError, match=r"md\.zarr is being written by another process"):
        run(output)
    assert len(positions(run(output))) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["md.zarr"]


def test_another_run_is_not_overwritten(tmp_path: Path) -> None:
    run(tmp_path / "t.zarr")
    run(tmp_path / "t.zarr")
    with pytest.raises(InputError, match="is of another run"):
        run(tmp_path / "t.zarr", replace(NVT, temperature=400.0))


@pytest.mark.parametrize(("text", "expected"), [("1ns", 1e6), ("2.5ps", 2500.0), ("10fs", 10.0), (7, 7.0)])
def test_times_have_units(text: str | float, expected: float) -> None:
    assert femtoseconds(text) == expected


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="fs, ps, ns or us"):
        femtoseconds("1 hour")
    for text in ("nan", "infps"):
        with pytest.raises(InputError, match="fs, ps, ns or us"):
            femtoseconds(text)
    with pytest.raises(ValueError, match="expected more than zero"):
        replace(RUN, steps=-5)
    with pytest.raises(ValueError, match=r"kind\n.*'nve', 'nvt_langevin'"):
        replace(NVT, kind="nvt")
    with pytest.raises(ValueError, match="temperature"):
        replace(NVT, temperature=0.0)
    with pytest.raises(InputError, match=r"repeat: expected three numbers of cells such as \[2,2,1\], found 2"):
        read_structure("p2_p63mcm", 0, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("atoms", [2, 4])
def test_velocities_begin_at_the_temperature_of_their_freedoms(atoms: int) -> None:
    cell = bulk("Cu", cubic=True)[:atoms]
    drawn = [drawn_velocities(cell, 300.0, seed) for seed in range(400)]
    found = np.mean([2 * each.get_kinetic_energy() / (3 * (atoms - 1) * kB) for each in drawn])
    assert found == pytest.approx(300.0, abs=4 * 300.0 * np.sqrt(2 / (3 * (atoms - 1)) / 400))


def test_one_atom_has_nothing_to_move_against(tmp_path: Path) -> None:
    ensemble = replace(NVT, kind="nve")
    with pytest.raises(InputError, match="one atom without total momentum does not move"):
        simulate(bulk("Cu"), EMT(), ensemble, RUN, IDENTITY, tmp_path / "one.zarr")  # type: ignore[arg-type]
    path = simulate(bulk("Cu"), EMT(), NVT, RUN, IDENTITY, tmp_path / "kicked.zarr")  # type: ignore[arg-type]
    assert np.ptp(positions(path), axis=0).max() > 0


def test_a_killed_run_may_be_ended_earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill left behind the committed frames is not part of it."""

    def append_and_die(group: Any, done: int, arrays: Any, block: int, **state: Any) -> int:
        if done == 4:
            append(group, done, {"positions": arrays["positions"]}, block)
            group.attrs["committed"] = 4
            raise KeyboardInterrupt
        return append(group, done, arrays, block, **state)

    monkeypatch.setattr(simulation, "append", append_and_die)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "md.zarr")
    group = open_zarr(run(tmp_path / "md.zarr", settings=replace(RUN, steps=15)), "r")
    lengths = {name: array.shape[0] for name, array in group.arrays() if name != "numbers"}
    assert set(lengths.values()) == {4}


def test_a_run_that_stopped_says_so_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        path = run(tmp_path / "md.zarr", calculator=Disagreeing())
        assert "stopped: after" in capsys.readouterr().out
    assert "the simulation stopped early, after" in early_end(ZarrTrajectory(path).stopped)[0]


@pytest.mark.parametrize("kind", ["nve", "npt"])
def test_a_run_begins_where_another_ended(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Equilibration, then production; at constant energy the two are one run."""
    ensemble = replace(NVT, kind=kind)
    first, whole = (replace(RUN, steps=steps, block=2, heat_limit=None) for steps in (20, 40))
    heavy = copper()
    heavy.set_masses(np.where(np.arange(32) % 2, 63.0, 65.0))
    every = simulate(heavy, EMT(), ensemble, whole, IDENTITY, tmp_path / "whole.zarr")  # type: ignore[arg-type]
    path = simulate(heavy, EMT(), ensemble, first, IDENTITY, tmp_path / "first.zarr")  # type: ignore[arg-type]
    ended = read_structure(str(path), 0, (1, 1, 1))
    np.testing.assert_allclose(ended.positions, positions(path)[-1], atol=1e-5)
    np.testing.assert_array_equal(ended.get_masses(), heavy.get_masses())
    temperature = 2 * ended.get_kinetic_energy() / ((93 if kind == "nve" else 96) * kB)
    assert temperature == pytest.approx(open_zarr(path, "r")["temperature"][-1])
    then = replace(ensemble, kind="nve")
    went_on = simulate(ended, EMT(), then, first, IDENTITY, tmp_path / "a.zarr", keep_velocities=True)  # type: ignore[arg-type]
    if kind == "nve":
        np.testing.assert_allclose(positions(went_on), positions(every)[4:], atol=1e-4)
    assert "velocities drawn" not in capsys.readouterr().out
    simulate(ended, EMT(), then, first, IDENTITY, tmp_path / "b.zarr")  # type: ignore[arg-type]
    assert "velocities drawn at 300 K, those of the structure are left out" in capsys.readouterr().out
    with pytest.raises(InputError, match="velocities=keep: the structure holds none"):
        simulate(copper(), EMT(), then, first, IDENTITY, tmp_path / "c.zarr", keep_velocities=True)  # type: ignore[arg-type]
    stopped = run(tmp_path / "d.zarr", calculator=Disagreeing())
    last = read_structure(str(stopped), 0, (1, 1, 1))
    np.testing.assert_array_equal(last.positions, positions(stopped)[-1])
    assert not last.has("momenta")


def test_a_hot_run_goes_on_at_constant_energy(tmp_path: Path) -> None:
    """With velocities of its own `nve` has the temperature it begins with, whatever `temperature` says."""
    hot = drawn_velocities(copper(), 1500.0, 0)
    settings = replace(RUN, steps=300, every=5)
    quick = replace(NVT, kind="nve", thermostat_time=1.0)
    kept = simulate(hot, EMT(), quick, settings, IDENTITY, tmp_path / "kept.zarr", keep_velocities=True)
    assert open_zarr(kept, "r").attrs["stopped"] is None


def test_a_cell_that_grows_stops(tmp_path: Path) -> None:
    stretched = replace(NVT, kind="npt", pressure=-8.0, barostat_time=500.0)
    settings = replace(RUN, steps=2000, every=5, contact_limit=None, heat_limit=None, volume_limit=0.1)
    stopped = open_zarr(run(tmp_path / "npt.zarr", stretched, settings), "r").attrs["stopped"]
    assert "the volume has changed by +" in stopped
    assert "the limit is 10%" in stopped


def test_a_slab_is_another_structure_than_a_crystal() -> None:
    slab = copper()
    slab.pbc = [True, True, False]
    assert describe(slab) != describe(copper())


def test_what_holds_no_work_is_replaced_and_what_cannot_be_read_is_kept(tmp_path: Path) -> None:
    output, partial = tmp_path / "md.zarr", tmp_path / "md.zarr.partial"
    with pytest.raises(KeyboardInterrupt):
        run(output, calculator=Killed(3))
    assert partial.exists()
    with pytest.raises(KeyboardInterrupt):
        run(output, replace(NVT, temperature=400.0), calculator=Killed(25))
    with pytest.raises(InputError, match="is left from another run"):
        run(output)
    (partial / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"zarr\.json cannot be read"):
        run(output, replace(NVT, temperature=400.0))
    assert (partial / "positions").exists()


@pytest.mark.parametrize("name", ["p2_p63mcm", "p2_p6322", "p2_ni_p6322"])
@pytest.mark.parametrize("seed", range(4))
def test_p2_cells_have_the_distances_of_the_published_structures(name: str, seed: int) -> None:
    atoms = PROTOTYPES[name](seed)
    distances = atoms.get_all_distances(mic=True)
    for index in np.flatnonzero(atoms.numbers == 25):
        nearest = np.sort(distances[index][atoms.numbers == 8])[:6]
        np.testing.assert_allclose(nearest, 1.97, atol=0.02)
    sodium = np.flatnonzero(atoms.numbers == 11)
    for index in sodium:
        np.testing.assert_allclose(np.sort(distances[index][atoms.numbers == 8])[0], 2.43, atol=0.02)
    assert distances[np.ix_(sodium, sodium)][~np.eye(len(sodium), dtype=bool)].min() > 2.5


@pytest.mark.parametrize("seed", range(4))
def test_a_hop_moves_the_two_sodium_ions_of_one_interlayer_to_the_next_prisms(seed: int) -> None:
    start, end = p2_hop("p6322", seed)
    moved = find_mic(end.positions - start.positions, start.cell)[1]
    np.testing.assert_allclose(moved[:2], 5.0095 / 3, atol=1e-3)
    np.testing.assert_allclose(moved[2:], 0, atol=1e-12)
    assert end.get_all_distances(mic=True)[:4, :4][~np.eye(4, dtype=bool)].min() > 2.5


@pytest.mark.parametrize("sodium", range(2, 7))
def test_a_hop_in_nvp_moves_one_sodium_ion_from_na1_to_an_empty_na2(sodium: int) -> None:
    """From (0, 0, 0) to a third of the cell less (0.64, 0, 1/4); Na1, of symmetry -3, has six O at one distance."""
    filling = (sodium - 2) / 4
    a, c = 8.43 + 0.30 * filling, 21.52 + 0.28 * filling
    x, y = 2 / 3 - 0.64, 1 / 3
    start, end = nvp_hop(sodium, 1)
    moved = find_mic(end.positions - start.positions, start.cell)[1]
    assert moved[0] == pytest.approx(np.sqrt(a**2 * (x**2 + y**2 - x * y) + (c / 12) ** 2), abs=1e-6)
    np.testing.assert_allclose(moved[1:], 0, atol=1e-12)
    apart = end.get_all_distances(mic=True)[:sodium, :sodium][~np.eye(sodium, dtype=bool)]
    assert apart.min() > 3.0
    oxygen = np.sort(start.get_distances(0, np.flatnonzero(start.numbers == 8), mic=True))
    np.testing.assert_allclose(oxygen[:6], oxygen[0], atol=1e-6)


@pytest.mark.parametrize("sodium", range(2, 7))
def test_nvp_cells_have_octahedra_and_tetrahedra(sodium: int) -> None:
    """V-O 1.9 to 2.05 Å and P-O 1.5 to 1.55 Å, as published for NaV2(PO4)3 and Na3V2(PO4)3."""
    atoms = PROTOTYPES[f"nvp_{sodium}"](0)
    assert np.bincount(atoms.numbers)[[11, 23, 15, 8]].tolist() == [sodium, 4, 6, 24]
    oxygen = atoms.get_all_distances(mic=True)[:, atoms.numbers == 8]
    assert np.all(np.abs(np.sort(oxygen[atoms.numbers == 23])[:, :6] - 1.98) < 0.09)
    assert np.all(np.abs(np.sort(oxygen[atoms.numbers == 15])[:, :4] - 1.52) < 0.04)


def test_a_script_simulates_as_the_command_does(tmp_path: Path) -> None:
    """From a loaded checkpoint and atoms, bit by bit."""
    line = ["checkpoint=uf3-p2_nmmo", "structure=p2_p63mcm", "repeat=[2,1,1]", "time=20fs", "every=2"]
    found = run_entry("simulate.py", *line, f"output={tmp_path / 'command.zarr'}")
    assert found.returncode == 0, found.stderr
    settings = SimulationSettings(
        checkpoint=load(resolve("uf3-p2_nmmo")),
        structure=PROTOTYPES["p2_p63mcm"](0),
        repeat=(2, 1, 1),
        time="20fs",
        every=2,
        output=tmp_path / "script.zarr",
    )
    script, command = open_zarr(run_simulation(settings), "r"), open_zarr(tmp_path / "command.zarr", "r")
    assert script.attrs["request"] == command.attrs["request"]
    for name in ("positions", "potential_energy", "temperature"):
        np.testing.assert_array_equal(script[name][:], command[name][:])

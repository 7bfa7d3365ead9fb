"""What molecular dynamics keeps constant, what an integrator does, and ASE's integrators as one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, get_args

import ase
import numpy as np
from ase import units
from ase.calculators.calculator import Calculator
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import NoseHooverChainNVT, NoseHooverChainThermostat
from ase.md.verlet import VelocityVerlet
from pydantic import Field
from pydantic.dataclasses import dataclass

from ionecho.errors import InputError

Kind = Literal["nve", "nvt_langevin", "nvt_nose_hoover", "npt"]
Positive = Annotated[float, Field(gt=0)]
LOST = 1e3  # eV/Å, a force that no structure of a solid has


class Broken(Exception):
    """The run cannot go on; the text says why."""


class Integrator(Protocol):
    """Moves `atoms` under a potential and a thermostat, in blocks that each start from a state alone.

    So a run that was killed goes on from the last state on disk as it would have gone on without the kill.
    """

    atoms: ase.Atoms
    identity: Mapping[str, str]  # what decides the numbers besides potential and thermostat
    freedoms: int  # of the atoms' motion: three fewer where the total momentum stays zero

    def begin(self, block: int, state: Mapping[str, Any]) -> None:
        """Begin the block that follows frame `block` from a state; from the atoms as they are, where it is empty.

        Random numbers are fixed by the seed and the block alone.
        """

    def advance(self, steps: int) -> Mapping[str, Any]:
        """Go on by so many steps: `energy` (eV), `forces` (N, 3) eV/Å and perhaps `forces_std` of the atoms there.

        Raises
        ------
        Broken
            If the integrator cannot.
        """

    def state(self) -> dict[str, Any]:
        """All that the next block starts from, of plain lists, numbers and strings; `phase` of the atoms is in it."""


@dataclass(frozen=True)
class Thermostat:
    """What is kept constant, and how.

    `nve`: velocity Verlet. `nvt_langevin`: BAOAB (Leimkuhler and Matthews, J. Chem. Phys. 2013, 138, 174102) in ASE;
    in LAMMPS velocity Verlet with friction and random forces (Schneider and Stoll, Phys. Rev. B 1978, 17, 1302), whose
    sum is zero. `nvt_nose_hoover`: a chain of three thermostats (Martyna, Klein and Tuckerman, J. Chem. Phys. 1992, 97,
    2635) on the 3N - 3 degrees of freedom beside the total momentum. `npt`, of isotropic volume: Langevin-Hoover
    (Quigley and Probert, J. Chem. Phys. 2004, 120, 11432) in ASE, Nosé-Hoover chains (Martyna, Tobias and Klein,
    J. Chem. Phys. 1994, 101, 4177) in LAMMPS.
    """

    kind: Kind
    temperature: Positive  # K
    timestep: Positive  # fs
    thermostat_time: Positive  # fs
    pressure: float  # GPa
    barostat_time: Positive  # fs
    seed: Annotated[int, Field(ge=0)]

    @classmethod
    def of(cls, settings: Mapping[str, Any], temperature: float, seed: int) -> Thermostat:
        """From the keys that the configs of `simulate.py` and of the runs of `explore.py` share."""
        shared = ("timestep", "thermostat_time", "pressure", "barostat_time")
        if settings["ensemble"] not in get_args(Kind):
            raise InputError(f"ensemble: expected one of {', '.join(get_args(Kind))}, found {settings['ensemble']}")
        return cls(
            kind=settings["ensemble"], temperature=temperature, seed=seed, **{name: settings[name] for name in shared}
        )


class AseIntegrator:
    """ASE's integrators with any calculator."""

    identity: Mapping[str, str] = {}

    def __init__(self, atoms: ase.Atoms, potential: Calculator, thermostat: Thermostat) -> None:
        if thermostat.kind == "npt" and not atoms.pbc.all():
            raise InputError("ensemble npt: the structure should be periodic along all three vectors")
        self.atoms, self.thermostat = atoms, thermostat
        self.atoms.calc = potential
        self.freedoms = 3 * len(atoms) - (3 if thermostat.kind in ("nve", "nvt_nose_hoover") else 0)

    def begin(self, block: int, state: Mapping[str, Any]) -> None:
        """Set positions, momenta and cell, and make the integrator anew."""
        self.atoms.calc.reset()
        if state:
            self.atoms.set_cell(state["cell"])
            self.atoms.set_positions(state["positions"])
            self.atoms.set_momenta(state["momenta"])
        self.integrator = moves(self.thermostat, self.atoms, block, state.get("integrator", {}))
        self.integrator.attach(self._check_forces)

    def _check_forces(self) -> None:
        """Stop at the step at which the potential is lost: the next one may have no neighbours to search."""
        largest = np.abs(self.atoms.get_forces()).max()
        if not largest < LOST:
            raise Broken(f"a force of {largest:.3g} eV/Å, the potential does not know this structure")

    def advance(self, steps: int) -> Mapping[str, Any]:
        """Run, and give what the calculator found for the last positions."""
        self.integrator.run(steps)
        self.atoms.get_forces()
        return self.atoms.calc.results

    def state(self) -> dict[str, Any]:
        """Positions, momenta and cell, and what the integrator knows beyond them."""
        return {**phase(self.atoms), "integrator": state_of(self.integrator)}


def phase(atoms: ase.Atoms) -> dict[str, Any]:
    """Positions (Å), momenta (ASE's units), cell (Å), and masses that are not the elements', as plain lists."""
    arrays = {"positions": atoms.positions, "momenta": atoms.get_momenta(), "cell": np.array(atoms.cell)}
    if atoms.has("masses"):
        arrays["masses"] = atoms.get_masses()
    return {name: array.tolist() for name, array in arrays.items()}


def moves(thermostat: Thermostat, atoms: ase.Atoms, block: int, state: Mapping[str, Any]) -> MolecularDynamics:
    """ASE's integrator of a thermostat for one block of steps."""
    step, tau = thermostat.timestep * units.fs, thermostat.thermostat_time * units.fs
    rng = np.random.default_rng(noise_seed(thermostat, block))
    match thermostat.kind:
        case "nve":
            return VelocityVerlet(atoms, step)
        case "nvt_langevin":
            return LangevinBAOAB(atoms, step, temperature_K=thermostat.temperature, T_tau=tau, rng=rng)
        case "nvt_nose_hoover":
            chain = NoseHooverChainNVT(atoms, step, temperature_K=thermostat.temperature, tdamp=tau)
            chain._thermostat = NoseHooverChainThermostat(len(atoms) - 1, chain.masses, thermostat.temperature, tau)
            if state:
                chain._thermostat._eta[:], chain._thermostat._p_eta[:] = state["eta"], state["p_eta"]
            return chain
        case _:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Using heuristic P_mass")
                barostat = LangevinBAOAB(
                    atoms,
                    step,
                    temperature_K=thermostat.temperature,
                    externalstress=-thermostat.pressure * units.GPa,
                    hydrostatic=True,
                    T_tau=tau,
                    P_tau=thermostat.barostat_time * units.fs,
                    rng=rng,
                )
            if state:
                barostat.p_eps = state["p_eps"]
            return barostat


def noise_seed(thermostat: Thermostat, block: int) -> tuple[int, int]:
    """Of a block's random forces. numpy takes (seed, 0) for seed, which is that of the first velocities."""
    return thermostat.seed, block + 1


def state_of(integrator: MolecularDynamics) -> dict[str, Any]:
    """What an integrator knows beyond positions, momenta and cell."""
    if isinstance(integrator, NoseHooverChainNVT):
        chain = integrator._thermostat
        return {"eta": chain._eta.tolist(), "p_eta": chain._p_eta.tolist()}
    if isinstance(integrator, LangevinBAOAB) and integrator.externalstress is not None:
        return {"p_eps": float(integrator.p_eps)}
    return {}

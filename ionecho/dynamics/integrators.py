"""Ensembles of molecular dynamics through ASE's integrators, restartable from positions, momenta and a few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np
from ase import units
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet

from ionecho.errors import InputError

ENSEMBLES = ("nve", "nvt_langevin", "nvt_nose_hoover", "npt")


@dataclass(frozen=True)
class Ensemble:
    """What is kept constant, and how.

    `nve`: velocity Verlet. `nvt_langevin`: BAOAB (Leimkuhler and Matthews, J. Chem. Phys. 2013, 138, 174102).
    `nvt_nose_hoover`: a chain of three thermostats (Martyna, Klein and Tuckerman, J. Chem. Phys. 1992, 97, 2635).
    `npt`: Langevin-Hoover with isotropic volume (Quigley and Probert, J. Chem. Phys. 2004, 120, 11432).
    """

    kind: str
    temperature: float  # K
    timestep: float  # fs
    thermostat_time: float  # fs
    pressure: float  # GPa
    barostat_time: float  # fs
    seed: int

    def __post_init__(self) -> None:
        if self.kind not in ENSEMBLES:
            raise InputError(f"ensemble: expected one of {', '.join(ENSEMBLES)}, found {self.kind!r}")
        lengths = {
            "temperature": self.temperature,
            "timestep": self.timestep,
            "thermostat_time": self.thermostat_time,
            "barostat_time": self.barostat_time,
        }
        for name, value in lengths.items():
            if not value > 0:
                raise InputError(f"{name}: expected a positive number, found {value}")

    def integrator(self, atoms: ase.Atoms, block: int, state: Mapping[str, Any]) -> MolecularDynamics:
        """The integrator for one block of steps, its random numbers fixed by the seed and the block alone."""
        if self.kind == "npt" and not atoms.pbc.all():
            raise InputError("ensemble npt: the structure should be periodic along all three vectors")
        step, tau = self.timestep * units.fs, self.thermostat_time * units.fs
        rng = np.random.default_rng((self.seed, block))
        match self.kind:
            case "nve":
                return VelocityVerlet(atoms, step)
            case "nvt_langevin":
                return LangevinBAOAB(atoms, step, temperature_K=self.temperature, T_tau=tau, rng=rng)
            case "nvt_nose_hoover":
                chain = NoseHooverChainNVT(atoms, step, temperature_K=self.temperature, tdamp=tau)
                if state:
                    chain._thermostat._eta[:], chain._thermostat._p_eta[:] = state["eta"], state["p_eta"]
                return chain
            case _:
                barostat = LangevinBAOAB(
                    atoms,
                    step,
                    temperature_K=self.temperature,
                    externalstress=-self.pressure * units.GPa,
                    hydrostatic=True,
                    T_tau=tau,
                    P_tau=self.barostat_time * units.fs,
                    rng=rng,
                )
                if state:
                    barostat.p_eps = state["p_eps"]
                return barostat


def state_of(integrator: MolecularDynamics) -> dict[str, Any]:
    """What an integrator knows beyond positions, momenta and cell."""
    if isinstance(integrator, NoseHooverChainNVT):
        thermostat = integrator._thermostat
        return {"eta": thermostat._eta.tolist(), "p_eta": thermostat._p_eta.tolist()}
    if isinstance(integrator, LangevinBAOAB) and integrator.externalstress is not None:
        return {"p_eps": float(integrator.p_eps)}
    return {}

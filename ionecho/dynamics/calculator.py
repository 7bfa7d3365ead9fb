"""ASE calculator of a trained potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch import nn

from ionecho.errors import InputError
from ionecho.geometry.neighbours import build_graph
from ionecho.models.ensemble import SPREAD

ENERGY, FORCES, STRESS = "energy", "forces@atoms", "stress"


class Potential(Calculator):
    """Energy, forces and stress of an interatomic potential: any model that predicts `energy` and `forces@atoms`.

    The units and signs are ASE's: eV, eV/Å, and eV/Å³ with tensile stress positive. An ensemble gives its mean, and
    its spread as `energy_std` (eV) and `forces_std` (eV/Å) in `results`.

    Parameters
    ----------
    model
        A model of the registry, or an `Ensemble` of them, such as a loaded checkpoint's. It is used as it is: moved to
        the device and precision by the caller's choice below.
    dtype
        Precision of the calculation; results are numpy arrays in double precision.
    device
        Where the model lies.

    Raises
    ------
    InputError
        If the model predicts no forces, or the atoms hold an element it does not know.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 (declared so by ASE)

    def __init__(
        self, model: nn.Module, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__()
        self.model: Any = model.to(device=device, dtype=dtype).eval()
        self.dtype, self.device = dtype, device

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results` with all properties; stress where the atoms are periodic along all three vectors."""
        super().calculate(atoms, properties, system_changes)
        graph = build_graph(
            [self.atoms.positions],
            [self.atoms.cell.array],
            [self.atoms.numbers],
            [self.atoms.pbc],
            cutoff=self.model.cutoff,
            centres=self.model.centres,
            pairs_of=self.model.pairs_of,
            dtype=self.dtype,
            device=self.device,
        )
        with torch.no_grad():
            outputs = {name: value.double().cpu().numpy() for name, value in self.model(graph).items()}
        if FORCES not in outputs:
            raise InputError(f"the model predicts {', '.join(outputs)}: expected a potential, with energy and forces")
        energy = float(outputs[ENERGY][0])
        self.results = {"energy": energy, "free_energy": energy, "forces": outputs[FORCES]}
        if self.atoms.pbc.all():
            self.results["stress"] = full_3x3_to_voigt_6_stress(outputs[STRESS][0])
        if ENERGY + SPREAD in outputs:
            self.results |= {"energy_std": float(outputs[ENERGY + SPREAD][0]), "forces_std": outputs[FORCES + SPREAD]}

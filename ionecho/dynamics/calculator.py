"""ASE calculator of a trained potential."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from torch import nn

from ionecho.data.outputs import SPREAD
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import build_graph

SKIN = 0.5  # Å


def uncertain(results: Mapping[str, Any], atoms: Atoms, limit: float) -> str:
    """Which force of an ensemble has a calibrated spread above a limit in eV/Å, and how large; empty if none."""
    if "forces_std" not in results:
        return ""
    spread = results["forces_std"]
    name = f"{atoms.symbols[spread.argmax()]} {spread.argmax()}"
    told = f"calibrated force spread {spread.max():.2f} eV/Å on {name}, the limit is {limit}"
    return told if spread.max() > limit else ""


class Potential(Calculator):
    """Energy, forces and stress of an interatomic potential: any model that predicts `energy` and `forces`.

    The units and signs are ASE's: eV, eV/Å, and eV/Å³ with tensile stress positive. An ensemble gives its mean, and
    its spread as `energy_std` (eV) and `forces_std` (N,) (eV/Å), of the whole vectors, in `results`.

    Parameters
    ----------
    model
        A model of the registry, or an `Ensemble` of them, such as a loaded checkpoint's. It is used as it is: moved to
        the device and precision by the caller's choice below.
    dtype
        Precision of the calculation; results are numpy arrays in double precision.
    device
        Where the model lies.
    skin
        Å by which neighbours are searched farther than the cut-off, so that a search serves until an atom has moved by
        half of it or the cell has changed. The model is given those within the cut-off.
    stress_refusal
        Why its stress is not to be trusted: asked for one, as a relaxation of the cell asks, it raises InputError.

    Raises
    ------
    InputError
        If the skin is negative, the model predicts no forces, or the atoms hold an element it does not know.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 (declared so by ASE)

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        skin: float = SKIN,
        stress_refusal: str | None = None,
    ) -> None:
        super().__init__()
        self.stress_refusal = stress_refusal
        if skin < 0:
            raise InputError(f"skin: expected a length in Å of at least zero, found {skin}")
        self.model: Any = model.to(device=device, dtype=dtype).eval()
        self.dtype, self.device, self.skin = dtype, device, skin
        self._searched: tuple[Atoms, Graph] | None = None

    def check(self, atoms: Atoms) -> None:
        """Raise InputError for atoms of elements that the model does not know."""
        if unknown := sorted(set(atoms.numbers.tolist()) - set(self.model.numbers)):
            names, known = (", ".join(chemical_symbols[z] for z in found) for found in (unknown, self.model.numbers))
            raise InputError(f"the structure holds {names}, which the potential does not know (it knows {known})")

    def reset(self) -> None:
        """Forget results and neighbours, whose order decides the last digits."""
        super().reset()
        self._searched = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results` with all properties; stress where the atoms are periodic along all three vectors."""
        if self.stress_refusal is not None and "stress" in properties:
            raise InputError(self.stress_refusal)
        super().calculate(atoms, properties, system_changes)
        graph = self._graph(self.atoms)
        with torch.no_grad():
            outputs = {name: value.double().cpu().numpy() for name, value in self.model(graph).items()}
        if "forces" not in outputs:
            raise InputError(f"the model predicts {', '.join(outputs)}: expected a potential, with energy and forces")
        energy = float(outputs["energy"][0])
        self.results = {"energy": energy, "free_energy": energy, "forces": outputs["forces"]}
        if self.atoms.pbc.all() and self.stress_refusal is None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(outputs["stress"][0])
        if "forces" + SPREAD in outputs:
            spreads = {name + SPREAD: outputs[name + SPREAD] for name in ("energy", "forces")}
            self.results |= {**spreads, "energy" + SPREAD: float(spreads["energy" + SPREAD][0])}

    def _graph(self, atoms: Atoms) -> Graph:
        """Neighbours within the cut-off, among those of an earlier search where it still holds."""
        if self._searched is None or not self._holds(self._searched[0], atoms):
            graph = build_graph(
                [atoms.positions],
                [atoms.cell.array],
                [atoms.numbers],
                [atoms.pbc],
                cutoff=self.model.cutoff + self.skin,
                centres=self.model.centres,
                pairs_of=self.model.pairs_of,
                dtype=self.dtype,
                device=self.device,
            )
            self._searched = atoms.copy(), graph
        graph = self._searched[1]
        graph = replace(graph, positions=torch.as_tensor(atoms.positions).to(graph.positions))
        near = (graph.vectors().norm(dim=1) <= self.model.cutoff).nonzero().squeeze(1)
        return replace(graph, pairs=graph.pairs.index_select(1, near), shifts=graph.shifts.index_select(0, near))

    def _holds(self, earlier: Atoms, atoms: Atoms) -> bool:
        same = ("numbers", "pbc", "cell")
        if len(earlier) != len(atoms) or not all(np.array_equal(getattr(earlier, n), getattr(atoms, n)) for n in same):
            return False
        return bool(np.linalg.norm(atoms.positions - earlier.positions, axis=1).max(initial=0.0) <= 0.5 * self.skin)

"""Losses other than the weighted squared errors in units of each label's scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ionecho.data.loader import Batch
from ionecho.errors import InputError

ENERGIES = ("total", "per_atom")


class EnergyForces:
    """(1 - ρ) (E - Ê)² + ρ (1/n) Σ_i |F_i - F̂_i|² + w |V (σ - σ̂)|² / n², eV² and (eV/Å)² added as numbers, averaged
    over a batch.

    The first two are the loss of PaiNN's authors and of the potentials of sodium vanadium phosphate (science.md B2);
    the third, of the virial an atom, is for simulations at constant pressure. Missing labels do not count.

    Parameters
    ----------
    rho
        Pairs of a fraction of the run and ρ from there on, the first from 0.
    energy
        Whether E is the `total` energy of a configuration or `per_atom`.
    virial
        w; zero: stresses are not learned.

    Raises
    ------
    InputError
        If a fraction or a ρ is not between 0 and 1, fractions do not increase from 0, `energy` is unknown, or stresses
        shall be learned that the dataset does not have.
    """

    def __init__(self, rho: Sequence[Sequence[float]], energy: str, virial: float = 0.0) -> None:
        starts = [start for start, _ in rho]
        if not rho or starts[0] != 0 or starts != sorted(starts) or not all(0 <= x <= 1 for pair in rho for x in pair):
            raise InputError(
                "rho: expected [fraction of the run, rho from there on] pairs between 0 and 1, the fractions "
                f"increasing from 0, found {[list(pair) for pair in rho]}"
            )
        if energy not in ENERGIES:
            raise InputError(f"energy: expected one of {', '.join(ENERGIES)}, found {energy}")
        self.virial = virial
        self.steps, self.per_atom = [(start, value) for start, value in rho], energy == "per_atom"

    def rho(self, progress: float) -> float:
        """ρ after this fraction of the run."""
        return next(value for start, value in reversed(self.steps) if start <= progress)

    def __call__(self, outputs: Mapping[str, Tensor], batch: Batch, progress: float) -> Tensor:
        """The loss of a batch after this fraction of the run."""
        if "forces" not in batch.labels:
            raise InputError(
                "trainer.loss: it weighs energies and forces; name forces@atoms in trainer.losses, or use null"
            )
        rho, owner = self.rho(progress), batch.graph.configuration
        atoms = torch.bincount(owner, minlength=len(batch.graph.cell))
        energy, known = _known(outputs["energy"] - batch.labels["energy"])
        if self.per_atom:
            energy = energy / atoms
        forces, present = _known(outputs["forces@atoms"] - batch.labels["forces"])
        labelled = present.all(1).to(forces)
        squares = labelled * forces.square().sum(1)
        count = forces.new_zeros(len(atoms)).index_add(0, owner, labelled)
        means = forces.new_zeros(len(atoms)).index_add(0, owner, squares) / count.clamp(min=1.0)
        of_energies = energy.square().sum() / known.sum().clamp(min=1)
        of_forces = means.sum() / (count > 0).sum().clamp(min=1)
        loss = (1 - rho) * of_energies + rho * of_forces
        return loss + self.virial * self._of_virials(outputs, batch, atoms) if self.virial else loss

    def _of_virials(self, outputs: Mapping[str, Tensor], batch: Batch, atoms: Tensor) -> Tensor:
        if "stress" not in batch.labels:
            raise InputError("trainer.loss.virial: the dataset has no stress; set it to 0")
        volume = torch.linalg.det(batch.graph.cell).abs()
        stress, known = _known(outputs["stress"] - batch.labels["stress"])
        virial = stress * (volume / atoms)[:, None, None]
        return virial.square().sum() / known[:, 0, 0].sum().clamp(min=1)


def _known(errors: Tensor) -> tuple[Tensor, Tensor]:
    """The errors, zero where the label is missing, and where it is not."""
    present = torch.isfinite(errors)
    return torch.where(present, errors, 0.0), present

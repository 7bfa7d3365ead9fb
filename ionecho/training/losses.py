"""One loss: a sum of terms. Each is an output with a weight, or a loss of its own that a paper defines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ionecho.data.loader import Batch
from ionecho.data.outputs import Output
from ionecho.errors import InputError
from ionecho.training.processes import mean

ENERGIES = ("total", "per_atom")


class Term(Protocol):
    """A part of the loss; `learns` names the outputs it is made of, in the order of their importance."""

    @property
    def learns(self) -> tuple[str, ...]: ...

    def __call__(self, outputs: Mapping[str, Tensor], batch: Batch, progress: float) -> Tensor: ...


class ScaledSquares:
    """w mean |(y - ŷ) / s|² over the components of all rows of an output that have a label.

    Parameters
    ----------
    output
        What is learned.
    weight
        w.
    scale
        s, in the label's unit.
    """

    def __init__(self, output: Output, weight: float, scale: float) -> None:
        self.learns = (output.name,)
        self.output, self.weight, self.scale = output, weight, scale

    def __call__(self, outputs: Mapping[str, Tensor], batch: Batch, progress: float) -> Tensor:
        """The term of a batch."""
        return self.weight * mean(*squares(outputs[self.output.name], batch, self.output)) / self.scale**2


class EnergyForces:
    """(1 - ρ) (E - Ê)² + ρ (1/n) Σ_i |F_i - F̂_i|² + w |V (σ - σ̂)|² / n², eV² and (eV/Å)² added as numbers, averaged
    over a batch.

    The first two are the loss of PaiNN's authors and of the potentials of sodium vanadium phosphate (Energy Storage
    Mater. 2023, 63, 103023); the third, of the virial an atom, is for simulations at constant pressure. Missing labels
    do not count.

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
        If a fraction or a ρ is not between 0 and 1, fractions do not increase from 0, or `energy` is unknown.
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
        self.learns = ("energy", "forces", "stress") if virial else ("energy", "forces")
        self.virial = virial
        self.steps, self.per_atom = [(start, value) for start, value in rho], energy == "per_atom"

    def rho(self, progress: float) -> float:
        """ρ after this fraction of the run."""
        return next(value for start, value in reversed(self.steps) if start <= progress)

    def __call__(self, outputs: Mapping[str, Tensor], batch: Batch, progress: float) -> Tensor:
        """The loss of a batch after this fraction of the run."""
        rho, owner = self.rho(progress), batch.graph.configuration
        atoms = torch.bincount(owner, minlength=len(batch.graph.cell))
        energy, known = _known(outputs["energy"] - batch.labels["energy"])
        if self.per_atom:
            energy = energy / atoms
        forces, present = _known(outputs["forces"] - batch.labels["forces"])
        labelled = present.all(1).to(forces)
        lengths = labelled * forces.square().sum(1)
        count = forces.new_zeros(len(atoms)).index_add(0, owner, labelled)
        means = forces.new_zeros(len(atoms)).index_add(0, owner, lengths) / count.clamp(min=1.0)
        of_energies = mean(energy.square().sum(), known.sum())
        of_forces = mean(means.sum(), (count > 0).sum())
        loss = (1 - rho) * of_energies + rho * of_forces
        return loss + self.virial * self._of_virials(outputs, batch, atoms) if self.virial else loss

    def _of_virials(self, outputs: Mapping[str, Tensor], batch: Batch, atoms: Tensor) -> Tensor:
        volume = torch.linalg.det(batch.graph.cell).abs()
        stress, known = _known(outputs["stress"] - batch.labels["stress"])
        virial = stress * (volume / atoms)[:, None, None]
        return mean(virial.square().sum(), known[:, 0, 0].sum())


class RelativeErrors:
    """Σ_o w_o ∫ |y - ŷ| / ∫ |y| over the cells of a batch, of outputs at points.

    Integrals are sums over the points, weighted with the volumes they stand for: the mean is that of whole grids
    however the points are drawn. It is the error that densities are judged by.

    Parameters
    ----------
    weights
        w of every output.
    """

    def __init__(self, **weights: float) -> None:
        self.learns = tuple(weights)
        self.weights = {name: float(weight) for name, weight in weights.items()}

    def __call__(self, outputs: Mapping[str, Tensor], batch: Batch, progress: float) -> Tensor:
        """The term of a batch."""
        if batch.volumes is None:
            raise InputError("trainer.losses.relative_errors: expected outputs at points of a grid")
        total = batch.volumes.new_zeros(())
        for name, weight in self.weights.items():
            true = batch.labels[name]
            error, present = _known(outputs[name] - true)
            size = (batch.volumes * torch.where(present, true, 0.0).abs()).sum()
            total = total + weight * (batch.volumes * error.abs()).sum() / size.clamp(min=torch.finfo(size.dtype).tiny)
        return total


TERMS: dict[str, type[EnergyForces] | type[RelativeErrors]] = {
    "energy_forces": EnergyForces,
    "relative_errors": RelativeErrors,
}
"""Name in `trainer.losses` -> loss that a paper defines."""


def squares(predicted: Tensor, batch: Batch, output: Output) -> tuple[Tensor, Tensor]:
    """Sum of the squared components of an output's errors, in the label's unit squared, and how many have a label."""
    error, present = _known(predicted - output.target(batch))
    return error.square().sum(), present.sum()


def check_terms(losses: Mapping[str, Any], outputs: Mapping[str, Output], needed: Sequence[str]) -> dict[str, Term]:
    """The terms of `trainer.losses` without scales, by name.

    Raises
    ------
    InputError
        If a name is neither an output of the model nor a term, a weight is no number, or what is needed is not learned.
    """
    terms: dict[str, Term] = {}
    if unknown := [name for name in losses if name not in outputs and name not in TERMS]:
        known = ", ".join([*outputs, *TERMS])
        raise InputError(f"trainer.losses: expected some of {known}, found {', '.join(unknown)}")
    for name, value in losses.items():
        if name in outputs:
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise InputError(f"trainer.losses.{name}: expected a weight of 0 or more, found {value}")
            terms[name] = ScaledSquares(outputs[name], float(value), 1.0)
        else:
            terms[name] = _term(name, value)
    learned = learns(terms.values())
    if wrong := [name for name in learned if name not in outputs]:
        raise InputError(f"trainer.losses: the model gives {', '.join(outputs)}, no {', '.join(wrong)}")
    if absent := sorted(set(needed) - set(learned)):
        raise InputError(f"trainer.losses: the model has to learn {', '.join(absent)} too")
    return terms


def scaled(terms: Mapping[str, Term], scales: Mapping[str, float]) -> list[Term]:
    """The terms with the scale of each output."""
    return [
        ScaledSquares(term.output, term.weight, scales[term.output.name]) if isinstance(term, ScaledSquares) else term
        for term in terms.values()
    ]


def learns(terms: Any) -> list[str]:
    """Names of the outputs that the terms learn, each once, in order."""
    return list(dict.fromkeys(name for term in terms for name in term.learns))


def _term(name: str, settings: Any) -> Term:
    if not isinstance(settings, Mapping):
        raise InputError(f"trainer.losses.{name}: expected its settings, found {settings}")
    try:
        return TERMS[name](**{str(key): value for key, value in settings.items()})
    except (TypeError, InputError) as error:
        raise InputError(f"trainer.losses.{name}: {error}") from error


def _known(errors: Tensor) -> tuple[Tensor, Tensor]:
    """The errors, zero where the label is missing, and where it is not."""
    present = torch.isfinite(errors)
    return torch.where(present, errors, 0.0), present

"""Which ions hold the holes: energies of arrangements of oxidation states, and their probabilities, from geometry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import NamedTuple

import ase
import torch
from ase.data import chemical_symbols
from torch import Tensor

from ionecho.data.loader import Batch
from ionecho.data.outputs import Output
from ionecho.errors import InputError
from ionecho.geometry.ewald import potentials
from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import radial_basis
from ionecho.models.base import Model
from ionecho.models.species import Statistics, refuse_missing_elements

MOST = 4000  # arrangements that are listed; of more, the lowest found and those one exchange away from it
ITERATIONS = 200
ENERGY_ERROR = 0.05  # eV, to which arrangement energies are fitted


class Holes(NamedTuple):
    """What decides the arrangement of one configuration: E(s) = Σ_i s_i ε_i + ½ Σ_ij s_i s_j J_ij of its K centres."""

    number: int
    ions: Tensor  # (K, features) of every centre
    coulomb: Tensor  # (K, K) V, potential at i of a unit charge at j and its images


class Oxidation(Model):
    """Energies E(s) = Σ_i s_i ε_i + ½ Σ_ij s_i s_j J_ij of arrangements of the holes that the composition asks for.

    s_i is 1 where centre i has one electron less than in its lower valence, ε_i = w·f_i is linear in the potential that
    formal charges make at it and in its distances to neighbours of each element, J_ij = u K_ij is the electrostatic
    repulsion of two holes, screened. P(s) = exp(-E(s)/width) over all arrangements (or, of more than 4000, over the
    lowest found and those an exchange of one hole away). The weights maximise the likelihood of the arrangements of the
    training part, holes where moments are lowest, with a Gaussian prior; and where arrangement energies are known, they
    fit these.

    Parameters
    ----------
    numbers, centres
        Atomic numbers the model knows, and of the redox-active ions.
    cutoff
        Neighbour cut-off, Å.
    radial
        Number of radial functions of the distances to neighbours of each element; 0: the potential decides alone.
    valences
        Of every element, that of the centres the lower one: {8: -2, 11: 1, 15: 5, 23: 3}.
    width
        eV.
    prior
        Standard deviation of the weights of standardised features, eV.
    """

    pairs_of = "atoms"
    centres_are = "chosen"
    outputs = (Output("magnetic_moment", "centres"),)
    needed = ("magnetic_moment",)
    weights: Tensor  # (features + 1,) eV, the last of the repulsion
    middle: Tensor  # (features,)
    spread: Tensor  # (features + 1,)
    moments: Tensor  # (2,) μB, without and with a hole

    def __init__(
        self,
        numbers: Sequence[int],
        centres: Sequence[int],
        cutoff: float,
        radial: int,
        valences: Mapping[int, int],
        width: float,
        prior: float,
    ) -> None:
        super().__init__(numbers, centres, cutoff)
        self.radial, self.width, self.prior = radial, width, prior
        self.valences = {int(number): int(valence) for number, valence in valences.items()}
        refuse_missing_elements(numbers, {"model.valences": valences})
        features = 1 + radial * len(self.numbers)
        self.register_buffer("weights", torch.zeros(features + 1))
        self.register_buffer("middle", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features + 1))
        self.register_buffer("moments", torch.tensor([2.0, 1.0]))

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """`magnetic_moment` (K,) in μB, as expected of P(s)."""
        share = self.share(graph, likeliest=False)
        return {"magnetic_moment": self.moments[0] + share * (self.moments[1] - self.moments[0])}

    def likeliest(self, graph: Graph) -> Tensor:
        """Moments (K,) μB of the arrangement of the lowest energy."""
        return self.moments[self.share(graph, likeliest=True).long()]

    def share(self, graph: Graph, likeliest: bool) -> Tensor:
        """Holes (K,) on the centres: what P(s) expects, or 0 and 1 of the likeliest arrangement."""
        found = [graph.positions.new_empty(0)]
        for holes in self.holes(graph):
            states = self.arrangements(holes)
            energies = self.energies(holes, states)
            if likeliest:
                found.append(states[energies.argmin()])
            else:
                found.append(torch.softmax(-energies / self.width, 0) @ states)
        return torch.cat(found)

    def energies(self, holes: Holes, states: Tensor) -> Tensor:
        """E(s) in eV of arrangements (S, K), (S,)."""
        return self._terms(holes, states) @ self.weights

    def _terms(self, holes: Holes, states: Tensor) -> Tensor:
        """What the weights multiply, standardised, (S, features + 1)."""
        ions = (holes.ions - self.middle) / self.spread[:-1]
        repulsion = 0.5 * torch.einsum("si, ij, sj -> s", states, holes.coulomb, states) / self.spread[-1]
        return torch.cat([states @ ions, repulsion[:, None]], 1)

    def holes(self, graph: Graph) -> list[Holes]:
        """Of every configuration.

        Raises
        ------
        InputError
            If the composition allows no number of holes between none and one a centre.
        """
        charges = graph.numbers.new_tensor(0).expand(len(graph.numbers)).to(graph.positions)
        for number, valence in self.valences.items():
            charges = torch.where(graph.numbers == number, float(valence), charges)
        self.species(graph.numbers)
        around = self._around(graph)
        found = []
        for number in range(len(graph.cell)):
            atoms = (graph.configuration == number).nonzero().squeeze(1)
            centres = graph.centres[graph.configuration[graph.centres] == number]
            count = -round(float(charges[atoms].sum()))
            if not 0 <= count <= len(centres):
                names = ", ".join(chemical_symbols[z] for z in self.centres)
                formula = ase.Atoms(graph.numbers[atoms].tolist()).get_chemical_formula()
                raise InputError(
                    f"{formula}: its composition asks for {count} holes on {len(centres)} {names}; expected 0 to "
                    f"{len(centres)}, see model.valences"
                )
            place = centres - atoms[0]
            unit = charges.new_zeros(len(atoms), len(centres))
            unit[place, torch.arange(len(centres), device=place.device)] = 1.0
            sets = torch.cat([charges[atoms, None], unit], 1)
            potential = potentials(graph, sets, number, self.cutoff)[place]
            found.append(Holes(count, torch.cat([potential[:, :1], around[centres]], 1), potential[:, 1:]))
        return found

    def _around(self, graph: Graph) -> Tensor:
        """Sums of radial functions over the neighbours of each element, (A, elements radial)."""
        species, (i, j), kinds = self.species(graph.numbers), graph.pairs, len(self.numbers)
        functions = radial_basis(graph.vectors().norm(dim=1), self.cutoff, self.radial)
        sums = functions.new_zeros(len(species) * kinds, self.radial)
        return sums.index_add(0, i * kinds + species[j], functions).view(len(species), kinds * self.radial)

    def arrangements(self, holes: Holes) -> Tensor:
        """Arrangements (S, K) of the holes, 0 and 1: all, or the lowest found and those an exchange away."""
        ions = len(holes.ions)
        if (listed := comb(ions, holes.number)) <= MOST:
            index = torch.tensor(list(combinations(range(ions), holes.number)), dtype=torch.long).view(listed, -1)
            return holes.ions.new_zeros(len(index), ions).scatter_(1, index.to(holes.ions.device), 1.0)
        best = holes.ions.new_zeros(ions)
        best[self.energies(holes, torch.eye(ions).to(best)).argsort()[: holes.number]] = 1.0
        while True:
            states = torch.cat([best[None], _exchanged(best)])
            lowest = self.energies(holes, states).argmin()
            if lowest == 0:
                return states
            best = states[lowest]

    @torch.no_grad()
    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Moments of the two valences, scales of the features, and the weights."""
        cells: list[tuple[Holes, Tensor, Tensor]] = []
        for batch in batches:
            moments = batch.labels["magnetic_moment"][batch.graph.centres].double()
            energies = batch.labels.get("arrangement_energy")
            for number, holes in enumerate(self.holes(batch.graph.to(dtype=torch.float64))):
                own = moments[batch.graph.configuration[batch.graph.centres] == number]
                energy = own.new_tensor(torch.nan) if energies is None else energies[number].double()
                if len(own) and own.isfinite().all():
                    cells.append((holes, own, energy))
        if not cells:
            raise InputError("no configuration of the training part has moments of all of its centres")
        original = self.weights.dtype
        self.double()
        self._scale(cells)
        self._maximise(cells)
        self.to(original)

    def _scale(self, cells: Sequence[tuple[Holes, Tensor, Tensor]]) -> None:
        ions = torch.cat([holes.ions for holes, _, _ in cells])
        within = torch.cat([holes.ions - holes.ions.mean(0) for holes, _, _ in cells])
        repulsion = torch.cat([holes.coulomb[~torch.eye(len(own), dtype=torch.bool)] for holes, own, _ in cells])
        spread = torch.cat([within.square().mean(0).sqrt(), repulsion.std()[None]])
        self.middle.copy_(ions.mean(0))
        self.spread.copy_(torch.where(spread > 1e-6, spread, 1.0))
        by_state = [
            torch.cat([own[_lowest(own, holes.number) == state] for holes, own, _ in cells]) for state in (0.0, 1.0)
        ]
        for number, values in enumerate(by_state):
            if len(values):
                self.moments[number] = values.mean()

    def _maximise(self, cells: Sequence[tuple[Holes, Tensor, Tensor]]) -> None:
        """Likelihood of the arrangements, and arrangement energies, with a Gaussian prior: one minimum."""
        terms = []
        for holes, own, energy in cells:
            states = self.arrangements(holes)
            if len(states) > 1:
                observed = (states == _lowest(own, holes.number)).all(1).nonzero().squeeze(1)
                terms.append((self._terms(holes, states), observed, energy))
        with torch.enable_grad():
            weights = torch.zeros_like(self.weights, requires_grad=True)
            optimizer = torch.optim.LBFGS([weights], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

            def loss() -> Tensor:
                optimizer.zero_grad()
                total = 0.5 * (weights / self.prior).square().sum()
                for term, observed, energy in terms:
                    energies = term @ weights
                    if energy.isfinite():
                        error = energies[observed].sum() - energies.min() - energy
                        total = total + 0.5 * (error / ENERGY_ERROR).square()
                    else:
                        total = total - torch.log_softmax(-energies / self.width, 0)[observed].sum()
                total.backward()
                return total

            if terms:
                optimizer.step(loss)  # type: ignore[arg-type]
        self.weights.copy_(weights.detach())


def _lowest(moments: Tensor, count: int) -> Tensor:
    """One (K,) at the lowest `count` moments, else zero."""
    return torch.zeros_like(moments).index_fill(0, moments.argsort()[:count], 1.0)


def _exchanged(state: Tensor) -> Tensor:
    """All arrangements (S, K) in which one hole of a state (K,) has moved."""
    full, empty = (state == 1).nonzero().squeeze(1), (state == 0).nonzero().squeeze(1)
    pairs = torch.cartesian_prod(full, empty).view(-1, 2)
    states = state.repeat(len(pairs), 1)
    return states.scatter(1, pairs[:, :1], 0.0).scatter(1, pairs[:, 1:], 1.0)

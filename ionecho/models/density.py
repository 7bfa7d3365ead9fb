"""Charge and spin densities as sums of orbitals about atoms, by geometry and by the states of redox-active ions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ionecho.data.loader import Batch
from ionecho.data.outputs import Output
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.orbitals import AtomPoints, Orbitals
from ionecho.geometry.probes import atoms_within_reach
from ionecho.geometry.waves import Waves, orders
from ionecho.models.base import Model
from ionecho.models.equivariant import DegreeWise, EquivariantFeatures
from ionecho.models.oxidation import Oxidation
from ionecho.models.perceptron import perceptron
from ionecho.models.species import Statistics, pooled, refuse_missing_elements

FIELDS = ("charge_density", "spin_density")
CHARGES = ("bader_charge", "bader_moment")
SMALL = 0.01  # at first the density is all but that of the spherical atoms
WAVE_LIMIT = 23.0  # 1/Å, of the densities of plane waves up to 500 eV
RIDGE = 1e-7  # of the mean diagonal
SOFT = 0.1  # of the mean: densities below it weigh alike in the fit of the spherical atoms


class Expansion(NamedTuple):
    """Coefficients, charge and spin last, of the primitives of every atom."""

    spherical: Tensor  # (A, 1, n0, 2)
    deformation: Tensor  # (A, (l_max + 1)², n, 2)


class Density(Model):
    """ρ(r) = Σ_i ρ_Z(i)(|r - R_i|) + Σ_i Σ_nlm c_inlm R_nl(r - R_i) Y_lm, charge and spin alike; charges beside it.

    The spherical atoms ρ_Z are linear in the state s_i of a redox-active ion, a continuous number: its moment. c_i come
    from equivariant features of the surroundings and states, by element. States that are not given are those of the
    likeliest arrangement that `Oxidation` finds. Bader charges and moments are a head of their own: linear in the
    state by element, and a perceptron of the invariant features.

    Parameters
    ----------
    numbers, centres
        Atomic numbers the model knows, and of the redox-active ions.
    cutoff
        Neighbour cut-off, Å.
    spherical, radii
        Radii (Å) of the radial functions of the spherical atoms, and of the deformation; none beyond the last of
        `radii`, the reach.
    l_max, channels, layers, radial, width
        Highest degree, equivariant channels, interactions, radial functions of distances, hidden width.
    electrons, unpaired
        Electrons of each element in the density, and unpaired ones of a centre without and with a hole, to which
        densities are normalised on request.
    oxidation
        Hyperparameters of `Oxidation`.
    """

    pairs_of = "atoms"
    centres_are = "chosen"
    given = "magnetic_moment"
    outputs = (
        *(Output(label, "points") for label in FIELDS),
        *(Output(label, "atoms") for label in CHARGES),
        Output("magnetic_moment", "centres"),
    )
    needed = FIELDS
    atoms: Tensor  # (2, elements, n0, 2) spherical atoms: constant and linear in the state
    state: Tensor  # (2,) μB: mean and spread of the states
    linear: Tensor  # (2, 2, elements) charges: constant and linear in the state
    error: Tensor  # (2, elements) scale of what is added to them
    scale: Tensor  # (2,) of the deformation

    def __init__(
        self,
        numbers: Sequence[int],
        centres: Sequence[int],
        cutoff: float,
        spherical: Sequence[float],
        radii: Sequence[float],
        l_max: int,
        channels: int,
        layers: int,
        radial: int,
        width: int,
        electrons: Mapping[int, float],
        unpaired: Sequence[float],
        oxidation: Mapping[str, object],
    ) -> None:
        super().__init__(numbers, centres, cutoff)
        self.electrons, self.unpaired = {int(z): float(n) for z, n in electrons.items()}, tuple(unpaired)
        asked = {"model.electrons": electrons, "model.oxidation.valences": oxidation.get("valences")}
        refuse_missing_elements(numbers, asked)
        if max(spherical) > max(radii):
            raise InputError(f"model.spherical: expected no radius above the last of radii, {max(radii)} Å")
        self.oxidation = Oxidation(numbers, centres, cutoff, **oxidation)  # type: ignore[arg-type]
        self.spheres, self.orbitals = Orbitals(spherical, 0), Orbitals(radii, l_max)
        kinds, count = len(self.numbers), len(radii)
        self.features = EquivariantFeatures(kinds, cutoff, radial, l_max, channels, layers, width)
        self.coefficients = nn.ModuleList(DegreeWise(l_max, channels, 2 * count) for _ in range(kinds))
        self.gates = nn.ModuleList(perceptron([channels, width, (l_max + 1) * channels]) for _ in range(kinds))
        self.heads = nn.ModuleList(perceptron([channels, width, 2]) for _ in range(kinds))
        for head in self.heads:
            nn.init.zeros_(head[-1].weight)  # type: ignore[index, arg-type]
        for mix in self.coefficients:
            nn.init.normal_(mix.weight, std=SMALL)  # type: ignore[arg-type]
        self.register_buffer("atoms", torch.zeros(2, kinds, len(spherical), 2))
        self.register_buffer("state", torch.tensor([0.0, 1.0]))
        self.register_buffer("linear", torch.zeros(2, 2, kinds))
        self.register_buffer("error", torch.ones(2, kinds))
        self.register_buffer("scale", torch.ones(2))

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """`charge_density` (Q,) e/Å³, `spin_density` (Q,) μB/Å³ where the graph has points; of all atoms `bader_charge`
        (A,) e and `bader_moment` (A,) μB; `magnetic_moment` (K,) μB, as geometry alone tells it."""
        states, species = self.states(graph), self.species(graph.numbers)
        features = self.features(graph, species, states)
        outputs = dict(zip(CHARGES, self.charges(features, species, states).unbind(0), strict=True))
        if not self.training:
            outputs |= self.oxidation(graph)
        if graph.points is not None:
            values = self.at_points(self.expansion(features, species, states), graph)
            outputs |= dict(zip(FIELDS, values.unbind(1), strict=True))
        return outputs

    def states(self, graph: Graph) -> Tensor:
        """States (A,), in spreads from their mean; zero of atoms that have none."""
        if graph.states is not None and graph.states[graph.centres].isfinite().all():
            moments = graph.states[graph.centres]
        else:
            moments = self.oxidation.likeliest(graph)
        states = graph.positions.new_zeros(len(graph.numbers))
        return states.index_copy(0, graph.centres, (moments - self.state[0]) / self.state[1])

    def expansion(self, features: Tensor, species: Tensor, states: Tensor) -> Expansion:
        """Coefficients of all atoms."""
        spherical = self.atoms[0, species] + states[:, None, None] * self.atoms[1, species]
        shape = (features.shape[1], self.orbitals.count, 2)
        deformation = features.new_zeros(len(species), *shape)
        for kind, (mix, gate) in enumerate(zip(self.coefficients, self.gates, strict=True)):
            own = (species == kind).nonzero().squeeze(1)
            gates = gate(features[own, 0]).unflatten(1, (-1, features.shape[2]))[:, self.orbitals.degree]
            gated = torch.cat([gates[:, :1], features[own, 1:] * (1 + gates[:, 1:])], 1)
            deformation = deformation.index_add(0, own, mix(gated).unflatten(2, shape[1:]))
        return Expansion(spherical[:, None], self.orbitals.primitives(self.scale * deformation))

    def at_points(self, expansion: Expansion, graph: Graph) -> Tensor:
        """Charge and spin density at the points of the graph, (Q, 2)."""
        assert graph.points is not None
        pairs = AtomPoints.of(*atoms_within_reach(graph, self.orbitals.reach))
        spherical = self.spheres.at(expansion.spherical, pairs, len(graph.points))
        return spherical + self.orbitals.at(expansion.deformation, pairs, len(graph.points))

    def totals(self, graph: Graph) -> tuple[float, float]:
        """Electrons, and unpaired ones, that the composition of one configuration asks for."""
        electrons = sum(self.electrons[number] for number in graph.numbers.tolist())
        (holes,) = self.oxidation.holes(graph)
        without, with_hole = self.unpaired
        return electrons, (len(holes.ions) - holes.number) * without + holes.number * with_hole

    @torch.no_grad()
    def waves(self, graph: Graph) -> Waves:
        """Fourier coefficients of charge and spin density of one configuration, up to `WAVE_LIMIT`."""
        states, species = self.states(graph), self.species(graph.numbers)
        expansion = self.expansion(self.features(graph, species, states), species, states)
        cell = graph.cell[0]
        held, vectors, half = orders(cell, WAVE_LIMIT)
        values = self.spheres.waves(expansion.spherical, graph.positions, vectors)
        values += self.orbitals.waves(expansion.deformation, graph.positions, vectors)
        box = values.new_zeros(2 * half[0] + 1, 2 * half[1] + 1, half[2] + 1, 2)
        box[tuple((held + held.new_tensor([half[0], half[1], 0])).unbind(1))] = values / torch.linalg.det(cell).abs()
        return Waves(box.movedim(3, 0))

    def charges(self, features: Tensor, species: Tensor, states: Tensor) -> Tensor:
        """Bader charges and moments (2, A)."""
        added = features.new_zeros(len(species), 2)
        for kind, head in enumerate(self.heads):
            own = (species == kind).nonzero().squeeze(1)
            added = added.index_add(0, own, head(features[own, 0]))
        linear = self.linear[:, 0, species] + states * self.linear[:, 1, species]
        return linear + self.error[:, species] * added.T

    @torch.no_grad()
    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """The arrangements; the scale of the states; spherical atoms and linear charges by least squares."""
        self.oxidation.fit(statistics, batches)
        told = pooled(statistics[self.given], self.centres)
        self.state[0], self.state[1] = told.mean, told.std or 1.0
        self._fit_spheres(batches)
        self._fit_charges(batches)

    def _fit_spheres(self, batches: Iterable[Batch]) -> None:
        kinds, count = self.atoms.shape[1:3]
        normal = torch.zeros(2, 2 * kinds * count, 2 * kinds * count, dtype=torch.float64)
        right = torch.zeros(2, 2 * kinds * count, dtype=torch.float64)
        sizes = []
        for batch in batches:
            graph, species = batch.graph, self.species(batch.graph.numbers)
            assert graph.points is not None
            assert batch.volumes is not None
            atoms, points, vectors = atoms_within_reach(graph, self.orbitals.reach)
            values = self.spheres.values(vectors)[:, 0].double()
            both = torch.stack([values, self.states(graph)[atoms, None] * values], 1)
            rows = both.new_zeros(len(graph.points) * kinds, 2, count)
            rows.index_add_(0, points * kinds + species[atoms], both)
            rows = rows.unflatten(0, (-1, kinds)).transpose(1, 2).flatten(1)
            for number, label in enumerate(FIELDS):
                y = batch.labels[label].double()
                weight = batch.volumes.double() / (y.abs() + SOFT * y.abs().mean())
                normal[number] += rows.T @ (weight[:, None] * rows)
                right[number] += rows.T @ (weight * y)
            sizes.append(torch.stack([batch.labels[label].abs().mean() for label in FIELDS]))
        for number in range(2):
            diagonal = normal[number].diagonal()
            ridge = RIDGE * diagonal + 1e-3 * RIDGE * diagonal.mean()
            found = torch.linalg.solve(normal[number] + torch.diag(ridge), right[number])
            self.atoms[..., number].copy_(found.view(2, kinds, count))
        self.scale.copy_(0.1 * torch.stack(sizes).mean(0))

    def _fit_charges(self, batches: Iterable[Batch]) -> None:
        rows: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {label: [] for label in CHARGES}
        for batch in batches:
            species, states = self.species(batch.graph.numbers), self.states(batch.graph)
            for label in set(CHARGES) & set(batch.labels):
                known = batch.labels[label].isfinite()
                rows[label].append((species[known], states[known].double(), batch.labels[label][known].double()))
        for number, label in enumerate(CHARGES):
            if not rows[label]:
                continue
            species, states, values = (torch.cat(parts) for parts in zip(*rows[label], strict=True))
            for kind in range(len(self.numbers)):
                own = species == kind
                design = torch.stack([torch.ones_like(states[own]), states[own]], 1)
                if own.any():
                    found = torch.linalg.lstsq(design, values[own], driver="gelsd").solution
                    self.linear[number, :, kind].copy_(found)
                    self.error[number, kind] = (values[own] - design @ found).std(correction=0).clamp(min=1e-6)

"""Tensors at nuclei as sums over their neighbours' charges, dipoles and quadrupoles, and the response of the site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from sphericart.torch import SphericalHarmonics
from torch import Tensor, nn

from ionecho.data.loader import Batch
from ionecho.data.outputs import Output
from ionecho.errors import InputError
from ionecho.geometry.dipoles import dipolar_tensors
from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import envelope
from ionecho.geometry.tensors import components, dyad, traceless, vectors
from ionecho.models.base import AtomicModel
from ionecho.models.domain import FEATURES
from ionecho.models.perceptron import perceptron
from ionecho.models.species import Statistics
from ionecho.models.surroundings import Atoms, ByElement, Pairs, Surroundings

NEIGHBOUR_SCALE = 0.3  # a centre has about ten near neighbours: their sum starts at order one
MOMENT = "magnetic_moment"


class TensorSum(AtomicModel):
    """A traceless tensor of the centres i, such as the field gradient, as a sum over their neighbours j.

    A_l, B_l, h  two mixed copies of the densities of an atom's surroundings, and invariant features
    v            vectors, mixed of A_1, B_1 and M·a; M tensors, mixed of A_2, B_2, sym(a b), sym(M N)
    w, w', u, q  = MLP(R(r_ij), h_i, h_j, A_j·Y(r̂_ij), A_i·Y(r̂_ij)) envelope(r_ij), one of each for every v and M
    V_i          = std {Σ_j [q r̂r̂ + sym(r̂ (w·v_j + w'·v_i)) + u·M_j] + g(h_i)·M_i}, without its trace

    q, v_j and M_j take the places of the charge, the dipole and the quadrupole of a neighbour, g that of an
    antishielding factor. The isotropic part of a tensor that has one is mean + std MLP(h_i). The field of point
    moments, all images (`dipolar_tensors`), may be added: times a number that is fitted, the gyromagnetic ratio over
    <S_z> where labels are normalised by it. Turns with the structure under rotation and reflection, does not change
    under translation, permutation and choice of the cell.

    Parameters
    ----------
    numbers, centres
        Atomic numbers the model knows, and predicts for.
    cutoff, surroundings_cutoff
        Distances centre - neighbour and atom - neighbour of its density, Å; the latter is the smaller.
    label
        What is learned, a tensor of the schema.
    radial, l_max
        Number of radial functions, highest degree (at least 2) of the spherical harmonics.
    channels, features, width, multipoles
        Mixed copies and invariant features of an atom, hidden width, vectors and tensors of an atom.
    moments
        Of the point moments: None for none, `predicted` (learned as `auxiliary_magnetic_moment`), or one for each of
        `numbers`, μB.
    """

    pairs_of = "atoms"
    last = ("weights.1", "response", "isotropic", "moment")
    per_field: Tensor  # (elements,) label's unit over μB/Å³
    point_moments: Tensor  # (elements,) μB

    def __init__(
        self,
        numbers: Sequence[int],
        centres: Sequence[int],
        cutoff: float,
        label: str,
        surroundings_cutoff: float,
        radial: int,
        l_max: int,
        channels: int,
        features: int,
        width: int,
        multipoles: int,
        moments: Literal["predicted"] | Sequence[float] | None,
    ) -> None:
        self.predicts_moments = moments == "predicted"
        self.outputs = (
            Output(label, "centres"),
            *([Output(MOMENT, "atoms", auxiliary=True)] if self.predicts_moments else ()),
        )
        self.needed = tuple(output.name for output in self.outputs)
        super().__init__(numbers, centres, cutoff)
        if not self.outputs[0].is_tensor:
            raise InputError(f"tensor_sum: expected a label that is a tensor, {label} is a {self.outputs[0].kind}")
        if surroundings_cutoff > cutoff or l_max < 2:
            raise InputError(f"tensor_sum: expected surroundings_cutoff up to cutoff = {cutoff} Å, and l_max from 2 on")
        self.surroundings_cutoff, self.radial, self.multipoles = surroundings_cutoff, radial, multipoles
        kinds, seen = len(self.numbers), l_max * channels
        self.centre_kinds = len(self.centres) * kinds
        self.harmonics = SphericalHarmonics(l_max)
        self.surroundings = Surroundings(kinds, surroundings_cutoff, radial, channels, l_max, width, features)
        self.to_vectors, self.to_tensors = (
            nn.Parameter(channels**-0.5 * torch.randn(kinds, 4 * channels, multipoles)) for _ in range(2)
        )
        self.distance = nn.Linear(self.centre_kinds * radial, width)
        self.neighbour, self.centre = (nn.Linear(features, width, bias=False) for _ in range(2))
        self.seen, self.seeing = (nn.Linear(seen, width, bias=False) for _ in range(2))
        self.weights = nn.Sequential(nn.SiLU(), perceptron([width, width, 1 + 3 * multipoles]))
        self.response = perceptron([features, width, multipoles])
        self.isotropic = perceptron([features, width, 1]) if self.outputs[0].kind == "tensor" else None
        self.register_buffer("per_field", torch.zeros(kinds))
        self.moment = nn.Parameter(torch.zeros(kinds, features)) if self.predicts_moments else None
        point_moments = torch.zeros(kinds) if moments is None or isinstance(moments, str) else torch.tensor(moments)
        if point_moments.shape != (kinds,):
            raise InputError(f"tensor_sum: expected a moment for each of numbers {list(numbers)}, found {moments}")
        self.register_buffer("point_moments", point_moments.to(torch.get_default_dtype()), persistent=False)
        self.sums_images = moments is not None

    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Take the scaling from the training part; with moments the field's factor, and the scale of what is left."""
        super().fit(statistics, batches)
        if self.sums_images:
            self._fit_field(batches)

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """The label (K, 3, 3) in its unit, and `auxiliary_magnetic_moment` (A,) in μB where moments are predicted."""
        species = self.species(graph.numbers)
        pairs = Pairs.of(graph, species, len(self.numbers), self.harmonics)
        by_element = ByElement(species, len(self.numbers))
        atoms = self.surroundings(species, pairs.where(pairs.r < self.surroundings_cutoff), by_element)
        of_centres = species[graph.centres]
        mean, std = self.scaling(self.labels[0], of_centres)
        sums, features = self._sums(graph, species, pairs, atoms, by_element)
        tensors = std[:, None, None] * traceless(sums)
        told = {FEATURES: torch.cat([features, atoms.invariants[graph.centres]], dim=1)}
        if self.isotropic is not None:
            part = mean + std * self.isotropic(atoms.features.index_select(0, graph.centres)).squeeze(1)
            tensors = tensors + part[:, None, None] * torch.eye(3).to(tensors)
        if not self.sums_images:
            return {self.labels[0]: tensors, **told}
        moments = self._moments(species, atoms.features)
        fields = self.per_field[of_centres, None, None] * dipolar_tensors(graph, moments, self.cutoff)
        auxiliary = {output.name: moments for output in self.outputs[1:]}
        return {self.labels[0]: tensors + fields, **auxiliary, **told}

    def _sums(
        self, graph: Graph, species: Tensor, pairs: Pairs, atoms: Atoms, by_element: ByElement
    ) -> tuple[Tensor, Tensor]:
        """What neighbours and the site's response make, l = 2 components (K, 5) in units of the scale.

        And (K, width) sums over the neighbours of what their weights are linear in.
        """
        v, m = self._multipoles(atoms, by_element)
        elements = self.centre_species(graph.numbers[graph.centres])
        direct, row = pairs.around(graph.centres, elements, species, len(self.numbers))
        hidden = (
            self.distance(direct.radial(self.cutoff, self.radial, self.centre_kinds))
            + self.neighbour(atoms.features).index_select(0, direct.j)
            + self.centre(atoms.features).index_select(0, direct.i)
            + self.seen(atoms.seen(direct))
            + self.seeing(atoms.seeing(direct))
        )
        to_weights: Any = self.weights[1]
        hidden = to_weights[:-1](self.weights[0](hidden))
        closeness = envelope(direct.r, self.cutoff)[:, None]
        weights = to_weights[-1](hidden) * closeness
        charge, to_j, to_i, quadrupole = weights.split([1, *[self.multipoles] * 3], dim=1)
        v_j, v_i = (v.index_select(0, ends) for ends in (direct.j, direct.i))
        dipole = torch.einsum("pc,pxc->px", to_j, v_j) + torch.einsum("pc,pxc->px", to_i, v_i)
        terms = dyad(direct.unit, charge * direct.unit + dipole)
        terms = terms + torch.einsum("pc,pmc->pm", quadrupole, m.index_select(0, direct.j))
        sums = terms.new_zeros(len(graph.centres), 5).index_add(0, row, terms)
        response = self.response(atoms.features.index_select(0, graph.centres))
        own = torch.einsum("kc,kmc->km", response, m.index_select(0, graph.centres))
        features = hidden.new_zeros(len(graph.centres), hidden.shape[1]).index_add(0, row, hidden * closeness)
        return NEIGHBOUR_SCALE * sums + own, features

    def _multipoles(self, atoms: Atoms, by_element: ByElement) -> tuple[Tensor, Tensor]:
        """Vectors (A, 3, multipoles) and l = 2 tensors (A, 5, multipoles) of all atoms."""
        a, b = vectors(atoms.tensors[1]), vectors(atoms.partners[1])
        m, n = traceless(atoms.tensors[2]), traceless(atoms.partners[2])
        products = [torch.einsum("axyc,ayc->axc", m, b), torch.einsum("axyc,ayc->axc", n, a)]
        squares = [dyad(a, b), components(torch.einsum("axyc,ayzc->axzc", m, n))]
        of_vectors = torch.cat([a, b, *products], dim=2)
        of_tensors = torch.cat([atoms.tensors[2], atoms.partners[2], *squares], dim=2)
        return by_element(of_vectors, self.to_vectors), by_element(of_tensors, self.to_tensors)

    def _moments(self, species: Tensor, features: Tensor) -> Tensor:
        """Point moments (A,), μB."""
        if self.moment is None:
            return self.point_moments[species]
        mean, std = self.scaling(MOMENT, species)
        return mean + std * (features * self.moment[species]).sum(1)

    @torch.no_grad()
    def _fit_field(self, batches: Iterable[Batch]) -> None:
        """Least squares of the label on the field of the elements' mean moments, for each element of the centres."""
        sums = torch.zeros(4, len(self.numbers), dtype=torch.float64)
        for batch in batches:
            graph, output = batch.graph, self.outputs[0]
            species = self.species(graph.numbers)
            means = self.point_moments[species] if self.moment is None else self.scaling(MOMENT, species)[0]
            fields = dipolar_tensors(graph, means, self.cutoff)
            target = output.target(batch)
            present = output.present(target)
            pair = target[present], fields[present]
            products = (pair[0] * pair[0], pair[0] * pair[1], pair[1] * pair[1], torch.ones_like(pair[0]))
            rows = torch.stack([product.double().sum((1, 2)) for product in products])
            sums.index_add_(1, species[graph.centres][present], rows)
        squares, product, fields, count = sums
        self.per_field.copy_(torch.where(fields > 0, product / fields.clamp(min=1e-300), 0.0))
        left = ((squares - self.per_field * product) / count.clamp(min=1.0)).clamp(min=0.0).sqrt()
        self.std[0] = torch.where(left > 0, left, self.std[0])

"""One-, two- and three-body terms that are splines of the distances: a potential that is linear in its coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import envelope, envelope_slope
from ionecho.geometry.splines import DEGREE, cubic_splines
from ionecho.geometry.triplets import triplets
from ionecho.models.base import PotentialModel
from ionecho.models.gradients import of_pairs
from ionecho.models.wall import contacts, wall

MARGIN = 0.9  # inner radius over the shortest distance
COULOMB = 14.399645  # e²/(4πε0), eV Å
ZBL = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
ZBL_LENGTH = 0.46850  # Å


class SplinePotential(PotentialModel):
    """Tables of spline coefficients, and the energies, forces and stress that they stand for; see `UF3`."""

    inner: Tensor  # (S, S) Å, where the splines of a pair of elements begin
    one_body: Tensor  # (S,) eV
    two_body: Tensor  # (S, S, intervals + 3) eV
    charges: Tensor  # (S,) e
    three_body: Tensor  # (S, S, S, M + 3, M + 3, N + 3) eV, of element a at i, b at j, c at k
    contacts: Tensor  # (S, S) Å
    windows: Tensor  # (S³ M² N, 64) the coefficients of the splines that are nonzero in each cell of the grid

    def __init__(
        self,
        numbers: Sequence[int],
        centres: Sequence[int],
        cutoff: float,
        three_body_cutoff: float,
        intervals: int,
        three_body_intervals: Sequence[int],
        ridge: Sequence[float],
        curvature: Sequence[float],
        energy_error: float,
        force_error: float,
        displaced: int,
        displacement: float,
        displaced_error: float,
    ) -> None:
        super().__init__(numbers, centres, cutoff)
        if not 0 < three_body_cutoff <= cutoff:
            raise InputError(
                f"three_body_cutoff: expected a length in Å up to the cutoff {cutoff}, found {three_body_cutoff}"
            )
        self.three_body_cutoff, self.intervals = three_body_cutoff, intervals
        self.side_intervals, self.base_intervals = three_body_intervals
        self.ridge, self.curvature = tuple(ridge), tuple(curvature)
        self.energy_error, self.force_error = energy_error, force_error
        self.displaced, self.displacement, self.displaced_error = displaced, displacement, displaced_error
        kinds, side, base = len(self.numbers), self.side_intervals + DEGREE, self.base_intervals + DEGREE
        self.register_buffer("inner", torch.ones(kinds, kinds))
        self.register_buffer("one_body", torch.zeros(kinds))
        self.register_buffer("two_body", torch.zeros(kinds, kinds, intervals + DEGREE))
        self.register_buffer("three_body", torch.zeros(kinds, kinds, kinds, side, side, base))
        charges = torch.tensor(self.numbers, dtype=torch.get_default_dtype())
        self.register_buffer("charges", charges, persistent=False)
        self.register_buffer("contacts", contacts(numbers), persistent=False)
        self.register_buffer("windows", torch.empty(0), persistent=False)
        self.register_load_state_dict_post_hook(lambda module, _: module.tabulate())
        self.tabulate()

    def tabulate(self) -> None:
        """Lay out the three-body coefficients by cell of the grid, after they changed."""
        self.windows = windows(self.three_body)

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """`energy` (C,) eV, `forces` (A, 3) eV/Å and `stress` (C, 3, 3) eV/Å³, tensile positive."""
        species = self.species(graph.numbers)
        i, j = graph.pairs
        vectors = graph.vectors()
        r = vectors.norm(dim=1)
        a, b = species.index_select(0, i), species.index_select(0, j)

        pair, slope = self.two_body_terms(r, a, b)
        energy = self.one_body.index_select(0, species).index_add(0, i, 0.5 * pair)
        gradient = (0.5 * slope / r)[:, None] * vectors  # of the energy, with respect to the vectors

        p, q = triplets(i, r < self.three_body_cutoff)
        third = vectors.index_select(0, q) - vectors.index_select(0, p)
        sides = torch.stack([r.index_select(0, p), r.index_select(0, q), third.norm(dim=1)])
        kinds = torch.stack([a.index_select(0, p), b.index_select(0, p), b.index_select(0, q)])
        triple, slopes = self.three_body_terms(sides, kinds)
        energy = energy.index_add(0, i.index_select(0, p), triple)
        along_p, along_q, along_third = slopes / sides
        base = along_third[:, None] * third
        gradient = gradient.index_add(0, p, along_p[:, None] * vectors.index_select(0, p) - base)
        gradient = gradient.index_add(0, q, along_q[:, None] * vectors.index_select(0, q) + base)

        total = energy.new_zeros(len(graph.cell)).index_add(0, graph.configuration, energy)
        forces, stress = of_pairs(gradient, vectors, graph)
        return {"energy": total, "forces": forces, "stress": stress}

    def two_body_terms(self, r: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (P,) in eV and slopes (P,) in eV/Å of the pairs at distances r (P,) of the elements a and b."""
        first, values, slopes = cubic_splines(r, self.inner[a, b], self.cutoff, self.intervals)
        coefficients = self.two_body.unfold(2, DEGREE + 1, 1)[a, b, first].T
        repulsion, steepness = self.repulsion(r, a, b)
        return (coefficients * values).sum(0) + repulsion, (coefficients * slopes).sum(0) + steepness

    def repulsion(self, r: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (P,) and slopes (P,) of Z_a Z_b e²/r φ(r/l), times half a cosine to the cut-off, and of the wall."""
        z = self.charges
        power = z**0.23
        inverse = (power[a] + power[b]) / ZBL_LENGTH
        screened = [(weight * torch.exp(-rate * inverse * r), rate) for weight, rate in ZBL]
        coulomb = COULOMB * z[a] * z[b] / r
        energy = coulomb * sum(term for term, _ in screened)
        slope = -energy / r - coulomb * inverse * sum(rate * term for term, rate in screened)
        fade, fall = envelope(r, self.cutoff), envelope_slope(r, self.cutoff)
        height, steepness = self.wall(r, a, b)
        return energy * fade + height, slope * fade + energy * fall + steepness

    def wall(self, r: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (P,) and slopes (P,) of the wall."""
        return wall(r, self.foot()[a, b])

    def foot(self) -> Tensor:
        """Where the walls of all pairs of elements begin, (S, S) Å."""
        return torch.minimum(self.inner / MARGIN, self.contacts)

    def three_body_terms(self, sides: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (T,) and slopes (3, T) of triplets with sides r_ij, r_ik, r_jk (3, T) of elements a, b, c (3, T)."""
        cell, (x, y, z) = self.grid(sides, kinds)
        table = self.windows.index_select(0, cell).T.contiguous().unflatten(0, (DEGREE + 1,) * 3)
        in_x, by_x = contract(table, x[0]), contract(table, x[1])
        in_xy = contract(in_x, y[0])
        energy = contract(in_xy, z[0])
        by_y, by_xy = contract(contract(in_x, y[1]), z[0]), contract(contract(by_x, y[0]), z[0])
        return energy, torch.stack([by_xy, by_y, contract(in_xy, z[1])])

    def grid(self, sides: Tensor, kinds: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Row (T,) of `windows`, and values and slopes (4, T) of the splines in each of the three sides."""
        a, b, c = kinds
        side, reach = self.side_intervals, self.three_body_cutoff
        x, *in_x = cubic_splines(sides[0], self.inner[a, b], reach, side)
        y, *in_y = cubic_splines(sides[1], self.inner[a, c], reach, side)
        z, *in_z = cubic_splines(sides[2], self.inner[b, c], 2 * reach, self.base_intervals)
        count = len(self.numbers)
        cell = ((((a * count + b) * count + c) * side + x) * side + y) * self.base_intervals + z
        return cell, [(in_x[0], in_x[1]), (in_y[0], in_y[1]), (in_z[0], in_z[1])]


def contract(table: Tensor, weights: Tensor) -> Tensor:
    """Σ_l table[l] weights[l] over the leading axis of (4, ..., T) and (4, T)."""
    total = table[0] * weights[0]
    for layer, weight in zip(table[1:], weights[1:], strict=True):
        total = torch.addcmul(total, layer, weight)
    return total


def windows(coefficients: Tensor) -> Tensor:
    """The 4³ entries (S³ M² N, 64) that belong to each cell of the grid, from (S, S, S, M + 3, M + 3, N + 3)."""
    for axis in (3, 4, 5):
        coefficients = coefficients.unfold(axis, DEGREE + 1, 1)
    return coefficients.reshape(-1, (DEGREE + 1) ** 3)

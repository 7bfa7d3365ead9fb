"""Contact couplings as a sum over the pathways centre - bridging atom - source along which spin is transferred.

The coupling of Na⁺ in a layered oxide is spin of Mn that reaches Na 3s through O 2p, on several bridges that interfere
(90° and 180° pathways: Carlier et al., Phys. Rev. B 2003, 67, 174103; Grey and Dupré, Chem. Rev. 2004, 104, 4493).
Additivity over the sources, with every factor of a pathway modulated by the surroundings of its atoms, is the model;
those surroundings are equivariant atomic densities (Drautz, Phys. Rev. B 2019, 99, 014104; MACE: Batatia et al., 2022).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from sphericart.torch import SphericalHarmonics
from torch import Tensor, nn
from torch.nn.functional import one_hot, silu

from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import PairsOf
from ionecho.models.species import Species, Statistics

ANGLE_POWERS = 3  # powers of the cosine of the angle at the bridging atom
SOURCE_SCALE = 0.3  # a centre has about ten strong sources: keeps the sum of order one at the start


class Pairs(NamedTuple):
    """P pairs (i, j), sorted by i: a selection of the graph's."""

    i: Tensor  # (P,)
    j: Tensor  # (P,)
    shift: Tensor  # (P, 3) lattice translation of j, int64
    r: Tensor  # (P,) Å
    unit: Tensor  # (P, 3) direction from i to j
    harmonics: Tensor  # (P, (l_max + 1)²) real spherical harmonics of the direction

    def where(self, chosen: Tensor) -> Pairs:
        """The pairs for which the mask (P,) holds."""
        index = chosen.nonzero().squeeze(1)
        return Pairs(*(values[index] for values in self))


def envelope(r: Tensor, cutoff: float) -> Tensor:
    """Cosine cut-off: one at zero, zero with zero slope from the cut-off on; lengths in Å."""
    return 0.5 + 0.5 * torch.cos(torch.pi * (r / cutoff).clamp(max=1.0))


def radial_basis(r: Tensor, cutoff: float, count: int) -> Tensor:
    """Spherical Bessel functions sin(nπr/c)/r times the envelope, (P, count) (Gasteiger et al., ICLR 2020, eq. 7)."""
    order = torch.arange(1, count + 1, dtype=r.dtype, device=r.device)
    bessel = (2 / cutoff) ** 0.5 * torch.sin(order * torch.pi / cutoff * r[:, None]) / r[:, None]
    return bessel * envelope(r, cutoff)[:, None]


def by_kind(basis: Tensor, kind: Tensor, kinds: int) -> Tensor:
    """Radial functions (P, n) in the block of their kind of pair, zero in the others, (P, kinds n)."""
    return (one_hot(kind, kinds).to(basis.dtype)[:, :, None] * basis[:, None, :]).flatten(1)


def degrees(harmonics: Tensor, l_max: int) -> tuple[Tensor, ...]:
    """Blocks of every degree l of an array (P, (l_max + 1)², ...)."""
    return harmonics.split([2 * degree + 1 for degree in range(l_max + 1)], dim=1)


def traceless(components: Tensor) -> Tensor:
    """Symmetric traceless matrices (A, 3, 3) of real l = 2 components (A, 5) in the order m = -2 ... 2."""
    xy, yz, zz, xz, xx_yy = (components / 2**0.5).unbind(1)
    zz = zz / 3**0.5
    rows = [xx_yy - zz, xy, xz, xy, -xx_yy - zz, yz, xz, yz, 2 * zz]
    return torch.stack(rows, dim=1).unflatten(1, (3, 3))


def pathways(first: Pairs, second: Pairs, direct: Pairs, atoms: int) -> tuple[Tensor, Tensor, Tensor]:
    """Triangles i-k, k-j, i-j of the same images: indices (T,) of their sides in `first`, `second` and `direct`."""
    count = torch.bincount(second.i, minlength=atoms)
    repeats = count[first.j]
    ik = torch.repeat_interleave(repeats)
    rank = torch.arange(len(ik), device=ik.device) - (repeats.cumsum(0) - repeats)[ik]
    kj = (count.cumsum(0) - count)[first.j[ik]] + rank
    shift = first.shift[ik] + second.shift[kj]
    low = torch.minimum(shift.amin(), direct.shift.amin()) if len(ik) else 0
    span = torch.maximum(shift.amax(), direct.shift.amax()) - low + 1 if len(ik) else 1

    def key(i: Tensor, j: Tensor, shift: Tensor) -> Tensor:
        a, b, c = (shift - low).unbind(1)
        return (((i * atoms + j) * span + a) * span + b) * span + c

    known, order = key(direct.i, direct.j, direct.shift).sort()
    wanted = key(first.i[ik], second.j[kj], shift)
    place = torch.searchsorted(known, wanted).clamp(max=max(len(known) - 1, 0))
    closed = (known[place] == wanted).nonzero().squeeze(1)
    return ik[closed], kj[closed], order[place[closed]]


class Surroundings(nn.Module):
    """Atomic densities of all atoms: equivariant channels of every degree, and invariant features made of them."""

    def __init__(self, kinds: int, cutoff: float, radial: int, channels: int, l_max: int, width: int, features: int):
        super().__init__()
        self.kinds, self.cutoff, self.radial, self.l_max = kinds, cutoff, radial, l_max
        scale = (kinds * radial) ** -0.5
        self.mixing = nn.Parameter(scale * torch.randn(l_max + 1, kinds, kinds * radial, 2 * channels))
        invariants = (l_max + 2) * channels
        self.norm = nn.LayerNorm(invariants)
        self.features = nn.Sequential(
            nn.Linear(invariants + kinds, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, features),
        )

    def forward(self, species: Tensor, pairs: Pairs) -> tuple[list[Tensor], Tensor]:
        """Channels [(A, 2l + 1, channels) for every l] and features (A, features)."""
        density = self._density(species, pairs)
        order = species.argsort(stable=True)
        back, counts = order.argsort(), torch.bincount(species, minlength=self.kinds).tolist()
        left, right = [], []
        for block, mixing in zip(degrees(density, self.l_max), self.mixing, strict=True):
            parts = zip(block[order].split(counts), mixing, strict=True)
            a, b = torch.cat([part @ weight for part, weight in parts])[back].chunk(2, dim=-1)
            left.append(a.contiguous())
            right.append(b)
        products = [(a * b).sum(1) for a, b in zip(left, right, strict=True)]
        invariants = self.norm(torch.cat([left[0].squeeze(1), *products], dim=1))
        kind = one_hot(species, self.kinds).to(invariants.dtype)
        return left, self.features(torch.cat([invariants, kind], dim=1))

    def _density(self, species: Tensor, pairs: Pairs) -> Tensor:
        """Expansion coefficients Σ_j R_n(r_ij) Y_lm(r_ij) by the element of j, (A, (l_max + 1)², kinds radial)."""
        basis = radial_basis(pairs.r, self.cutoff, self.radial)
        terms = pairs.harmonics[:, :, None] * basis[:, None, :]
        density = terms.new_zeros(len(species) * self.kinds, *terms.shape[1:])
        density = density.index_add(0, pairs.i * self.kinds + species[pairs.j], terms)
        return density.unflatten(0, (len(species), self.kinds)).transpose(1, 2).flatten(2)


class SpinTransfer(nn.Module):
    """Couplings of the centres i as sums over sources j of a function of all bridges k between the two.

    h_k, A_k    features and equivariant channels of an atom's surroundings
    t_ikj       = MLP(r_ik, r_kj, r_ij, angle, h_k, A_k·Y(r_ik), A_j·Y(r_kj)), one row a pathway
    T_ij^l      = Σ_k t_ikj^l Y_l(r_ik), whose norms hold the interference of the bridges
    coupling_i  = mean + std Σ_j MLP(|T_ij|, r_ij, h_i, h_j, A_j·Y(r_ij)) envelope(r_ij)

    Invariant under rotation, reflection, translation, permutation and choice of the cell; once differentiable in the
    positions everywhere.

    Parameters
    ----------
    numbers, centres
        Atomic numbers the model knows, and predicts for.
    cutoff
        Distance centre - source, Å.
    surroundings_cutoff, bridge_cutoff, bond_cutoff
        Distances atom - neighbour of its density, centre - bridge and bridge - source, Å; at most `cutoff`.
    radial, l_max
        Number of radial functions, highest degree (at least 2) of the spherical harmonics.
    channels, features, width, tensors
        Equivariant channels and invariant features of an atom, hidden width, vectors and l = 2 tensors of a pair.
    """

    pairs_of: PairsOf = "atoms"

    def __init__(
        self,
        numbers: Sequence[int],
        centres: Sequence[int],
        cutoff: float,
        surroundings_cutoff: float,
        bridge_cutoff: float,
        bond_cutoff: float,
        radial: int,
        l_max: int,
        channels: int,
        features: int,
        width: int,
        tensors: int,
    ) -> None:
        super().__init__()
        if max(surroundings_cutoff, bridge_cutoff, bond_cutoff) > cutoff:
            raise InputError(f"spin_transfer: the other cut-offs must not exceed cutoff = {cutoff} Å; raise it")
        if l_max < 2:
            raise InputError(f"spin_transfer: expected l_max of at least 2, found {l_max}")
        self.numbers, self.centres, self.cutoff = tuple(numbers), tuple(centres), cutoff
        self.surroundings_cutoff, self.bridge_cutoff, self.bond_cutoff = surroundings_cutoff, bridge_cutoff, bond_cutoff
        self.radial, self.l_max, self.pooled = radial, l_max, (features, tensors, tensors)
        self.species, self.centre_species = Species(numbers), Species(centres)
        self.harmonics = SphericalHarmonics(l_max)
        kinds, seen = len(self.numbers), l_max * channels
        of_centre = len(self.centres) * kinds * radial
        self.surroundings = Surroundings(kinds, surroundings_cutoff, radial, channels, l_max, width, features)
        self.gate = nn.Linear(features, seen)
        self.centre_bridge = nn.Linear(of_centre + features + seen, width)
        self.bridge_source = nn.Linear(kinds**2 * radial + seen, width)
        self.centre_source = nn.Linear(of_centre + features, width)
        self.angle = nn.Linear(ANGLE_POWERS, width)
        self.pathway = nn.Linear(width, sum(self.pooled))
        self.pair = nn.Sequential(
            nn.Linear(sum(self.pooled) + of_centre + 2 * features + seen, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
        )
        self.source = nn.Linear(width, 1, bias=False)
        self.local = nn.Parameter(features**-0.5 * torch.randn(2, kinds, features))
        self.dipolar = nn.Linear(features, channels)
        for label in ("contact", "moment", "tensor"):
            self.register_buffer(f"{label}_mean", torch.zeros(kinds))
            self.register_buffer(f"{label}_std", torch.ones(kinds))

    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], graphs: Iterable[Graph]) -> None:
        """Take the mean and the standard deviation of every label, element by element, from the training part."""
        labels = {"hyperfine_contact": "contact", "magnetic_moment": "moment", "hyperfine_dipolar": "tensor"}
        for label in labels.keys() & statistics.keys():
            mean, std = (self.get_buffer(f"{labels[label]}_{what}") for what in ("mean", "std"))
            for number, found in statistics[label].items():
                index = self.numbers.index(number)
                mean[index], std[index] = found.mean, found.std

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """`hyperfine_contact` (K,) in MHz, and of all atoms what their surroundings alone tell, to train them with:
        `hyperfine_contact@atoms` (A,) in MHz, `magnetic_moment@atoms` (A,) in μB, `hyperfine_dipolar@atoms` (A, 3, 3)
        in MHz.
        """
        species = self.species(graph.numbers)
        pairs = self._pairs(graph)
        tensors, features = self.surroundings(species, pairs.where(pairs.r < self.surroundings_cutoff))
        coupling = self._coupling(graph, species, pairs, tensors, features)
        contact, moment = torch.einsum("af,oaf->oa", features, self.local[:, species])
        components = torch.einsum("amc,ac->am", tensors[2], self.dipolar(features))
        of_centre = species[graph.centres]
        return {
            "hyperfine_contact": self.contact_mean[of_centre] + self.contact_std[of_centre] * coupling,
            "hyperfine_contact@atoms": self.contact_mean[species] + self.contact_std[species] * contact,
            "magnetic_moment@atoms": self.moment_mean[species] + self.moment_std[species] * moment,
            "hyperfine_dipolar@atoms": self.tensor_std[species, None, None] * traceless(components),
        }

    def _pairs(self, graph: Graph) -> Pairs:
        vectors = graph.vectors()
        r = vectors.norm(dim=1)
        return Pairs(*graph.pairs, graph.shifts.long(), r, vectors / r[:, None], self.harmonics(vectors))

    def _coupling(
        self, graph: Graph, species: Tensor, pairs: Pairs, tensors: list[Tensor], features: Tensor
    ) -> Tensor:
        """Sum over the sources of every centre (K,), in units of the standard deviation."""
        position = torch.full_like(species, -1)
        position[graph.centres] = torch.arange(len(graph.centres), device=species.device)
        of_centre = pairs.where(position[pairs.i] >= 0)
        bridges = of_centre.where(of_centre.r < self.bridge_cutoff)
        bonds = pairs.where(pairs.r < self.bond_cutoff)
        gates = self.gate(features)
        kind_of_centre = torch.zeros_like(species)
        kind_of_centre[graph.centres] = self.centre_species(graph.numbers[graph.centres])
        by_centre = kind_of_centre, len(self.centres)

        def seen(chosen: Pairs) -> Tensor:
            """Channels of the second atom of pairs contracted with their directions, gated, (P, l_max channels)."""
            harmonics = zip(tensors[1:], degrees(chosen.harmonics, self.l_max)[1:], strict=True)
            parts = [torch.einsum("pmc,pm->pc", t.index_select(0, chosen.j), y) for t, y in harmonics]
            return torch.cat(parts, dim=1) * gates.index_select(0, chosen.j)

        def radial(chosen: Pairs, cutoff: float, kind_of_i: Tensor, kinds_of_i: int) -> Tensor:
            kind = kind_of_i[chosen.i] * len(self.numbers) + species[chosen.j]
            return by_kind(radial_basis(chosen.r, cutoff, self.radial), kind, kinds_of_i * len(self.numbers))

        distance, h_j = radial(of_centre, self.cutoff, *by_centre), features.index_select(0, of_centre.j)
        h_k = features.index_select(0, bridges.j)
        ik, kj, ij = pathways(bridges, bonds, of_centre, len(species))
        cosine = -(bridges.unit[ik] * bonds.unit[kj]).sum(1, keepdim=True)
        hidden = (
            self.centre_bridge(torch.cat([radial(bridges, self.bridge_cutoff, *by_centre), h_k, seen(bridges)], 1))[ik]
            + self.bridge_source(torch.cat([radial(bonds, self.bond_cutoff, species, len(self.numbers)), seen(bonds)], 1))[kj]
            + self.centre_source(torch.cat([distance, h_j], 1))[ij]
            + self.angle(torch.cat([cosine**power for power in range(1, ANGLE_POWERS + 1)], 1))
        )
        closeness = envelope(bridges.r, self.bridge_cutoff)[ik] * envelope(bonds.r, self.bond_cutoff)[kj]
        transfer = (self.pathway(silu(hidden)) * closeness[:, None]).split(self.pooled, dim=1)
        directions = degrees(bridges.harmonics[ik], self.l_max)
        sums = [
            t.new_zeros(len(of_centre.i), y.shape[1], t.shape[1]).index_add(0, ij, y[:, :, None] * t[:, None, :])
            for t, y in zip(transfer, directions, strict=False)
        ]
        norms = [sums[0].squeeze(1), *(t.square().sum(1) for t in sums[1:])]
        h_i = features.index_select(0, of_centre.i)
        terms = self.pair(torch.cat([*norms, distance, h_i, h_j, seen(of_centre)], 1))
        terms = self.source(terms).squeeze(1) * envelope(of_centre.r, self.cutoff)
        return SOURCE_SCALE * terms.new_zeros(len(graph.centres)).index_add(0, position[of_centre.i], terms)

"""Contact couplings as a sum over the pathways centre - bridging atom - source along which spin is transferred.

The coupling of Na⁺ in a layered oxide is spin of Mn that reaches Na 3s through O 2p, over bridges that interfere
(Carlier et al., Phys. Rev. B 2003, 67, 174103; Grey and Dupré, Chem. Rev. 2004, 104, 4493). The model is additive over
the sources, each pathway modulated by the surroundings of its atoms: equivariant atomic densities (Drautz, Phys. Rev. B
2019, 99, 014104), which can be trained on the atoms' own couplings and moments as well.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import torch
from sphericart.torch import SphericalHarmonics
from torch import Tensor, nn
from torch.nn.functional import silu

from ionecho.data.outputs import Output
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import envelope
from ionecho.geometry.tensors import degrees, traceless
from ionecho.models.base import AtomicModel
from ionecho.models.domain import FEATURES
from ionecho.models.perceptron import perceptron
from ionecho.models.surroundings import Atoms, ByElement, Pairs, Surroundings

LABELS = ("hyperfine_contact", "magnetic_moment", "hyperfine_dipolar")
ANGLE_POWERS = 3  # powers of the cosine of the angle at the bridging atom
SOURCE_SCALE = 0.3  # a centre has about ten strong sources: their sum starts at order one


def pathways(first: Pairs, second: Pairs, direct: Pairs, atoms: int) -> tuple[Tensor, Tensor, Tensor]:
    """Triangles i-k, k-j, i-j of the same images: indices (T,) of their sides in `first`, `second` and `direct`."""
    count = torch.bincount(second.i, minlength=atoms)
    repeats = count[first.j]
    ik = torch.repeat_interleave(repeats)
    if len(ik) == 0:
        return ik, ik, ik
    rank = torch.arange(len(ik), device=ik.device) - (repeats.cumsum(0) - repeats)[ik]
    kj = (count.cumsum(0) - count)[first.j[ik]] + rank
    shift = first.shift[ik] + second.shift[kj]
    shifts = torch.cat([shift, direct.shift])
    low, span = shifts.min(), shifts.max() - shifts.min() + 1

    def key(i: Tensor, j: Tensor, shift: Tensor) -> Tensor:
        a, b, c = (shift - low).unbind(1)
        return (((i * atoms + j) * span + a) * span + b) * span + c

    known, order = key(direct.i, direct.j, direct.shift).sort()
    wanted = key(first.i[ik], second.j[kj], shift)
    place = torch.searchsorted(known, wanted).clamp(max=len(known) - 1)
    closed = (known[place] == wanted).nonzero().squeeze(1)
    return ik[closed], kj[closed], order[place[closed]]


class SpinTransfer(AtomicModel):
    """Couplings of the centres i as sums over sources j of a function of all bridges k between the two.

    h, A        invariant features and equivariant channels of the surroundings of an atom
    t_ikj       = W silu(linear in r_ik, r_kj, r_ij, angle ikj, h_k, h_j, A_k·Y(r_ik), A_j·Y(r_kj)): one pathway
    T_ij^l      = Σ_k t_ikj^l Y_l(r_ik), whose norms hold the interference of the bridges
    coupling_i  = mean + std Σ_j MLP(T_ij^0, |T_ij^l|², r_ij, h_i, h_j, A_j·Y(r_ij)) envelope(r_ij)

    Invariant under rotation, reflection, translation, permutation and choice of the cell.

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

    pairs_of = "atoms"
    needed = ("hyperfine_contact",)
    last = ("pair", "local", "dipolar")
    outputs = (
        Output("hyperfine_contact", "centres"),
        *(Output(label, "atoms", auxiliary=True) for label in LABELS),
    )

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
        super().__init__(numbers, centres, cutoff)
        if max(surroundings_cutoff, bridge_cutoff, bond_cutoff) > cutoff:
            raise InputError(f"spin_transfer: expected no other cut-off above cutoff = {cutoff} Å; raise cutoff")
        if l_max < 2:
            raise InputError(f"spin_transfer: expected l_max of at least 2, found {l_max}")
        self.surroundings_cutoff, self.bridge_cutoff, self.bond_cutoff = surroundings_cutoff, bridge_cutoff, bond_cutoff
        self.radial, self.l_max, self.pooled = radial, l_max, (features, tensors, tensors)
        self.harmonics = SphericalHarmonics(l_max)
        kinds, seen = len(self.numbers), l_max * channels
        self.kinds, self.centre_kinds = kinds**2, len(self.centres) * kinds
        distance = self.centre_kinds * radial
        self.surroundings = Surroundings(kinds, surroundings_cutoff, radial, channels, l_max, width, features)
        self.bridge = nn.Linear(distance + features + seen, width)
        self.bond = nn.Linear(self.kinds * radial + seen, width)
        self.source = nn.Linear(distance + features, width)
        self.angle = nn.Linear(ANGLE_POWERS, width)
        self.pathway = nn.Linear(width, sum(self.pooled))
        self.pair = perceptron([sum(self.pooled) + distance + 2 * features + seen, width, width, width, 1])
        self.local = nn.Parameter(features**-0.5 * torch.randn(2, kinds, features))
        self.dipolar = nn.Linear(features, channels)

    def entries(self, like: Mapping[int, int]) -> dict[str, dict[int, list[Hashable]]]:
        """Radial functions of a pair, and features of an atom, by the elements that they belong to."""
        numbers, centres = ([like.get(number, number) for number in of] for of in (self.numbers, self.centres))
        elements: list[Hashable] = [("element", number) for number in numbers]

        def columns(layer: Any, first: int, *of_pairs: Sequence[int]) -> dict[int, list[Hashable]]:
            """Of a layer that takes radial functions, by the elements of a pair, from its input `first` on."""
            radial = list(product(*of_pairs, range(self.radial)))
            return {1: [*range(first), *radial, *range(first, layer.in_features - len(radial))]}

        around: Any = self.surroundings.features[0]
        pairs = (centres, numbers)
        return {
            "surroundings.mixing": {1: elements, 2: list(product(numbers, range(self.radial)))},
            "surroundings.features.0.weight": {1: [*range(around.in_features - len(elements)), *elements]},
            "bridge.weight": columns(self.bridge, 0, *pairs),
            "source.weight": columns(self.source, 0, *pairs),
            "bond.weight": columns(self.bond, 0, numbers, numbers),
            "pair.0.weight": columns(self.pair[0], sum(self.pooled), *pairs),
            "local": {1: elements},
        }

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """`hyperfine_contact` (K,) in MHz; and, to train the surroundings on, what these alone tell about all atoms.

        Those are `auxiliary_hyperfine_contact` (A,) and `auxiliary_hyperfine_dipolar` (A, 3, 3) in MHz and
        `auxiliary_magnetic_moment` (A,) in μB.
        """
        species = self.species(graph.numbers)
        pairs = Pairs.of(graph, species, len(self.numbers), self.harmonics)
        near = pairs.where(pairs.r < self.surroundings_cutoff)
        atoms = self.surroundings(species, near, ByElement(species, len(self.numbers)))
        coupling, features = self._coupling(graph, species, pairs, atoms)
        local = torch.einsum("af,oaf->oa", atoms.features, self.local[:, species])
        contact, moment = self.mean[:2, species] + self.std[:2, species] * local
        dipolar = torch.einsum("amc,ac->am", atoms.tensors[2], self.dipolar(atoms.features))
        mean, std = self.scaling("hyperfine_contact", species[graph.centres])
        return {
            "hyperfine_contact": mean + std * coupling,
            FEATURES: torch.cat([features, atoms.invariants[graph.centres]], dim=1),
            "auxiliary_hyperfine_contact": contact,
            "auxiliary_magnetic_moment": moment,
            "auxiliary_hyperfine_dipolar": self.std[2, species, None, None] * traceless(dipolar),
        }

    def _coupling(self, graph: Graph, species: Tensor, pairs: Pairs, atoms: Atoms) -> tuple[Tensor, Tensor]:
        """Sums over the sources of every centre: of their shares (K,), in units of the standard deviation, and of what
        these are linear in (K, width)."""
        elements = self.centre_species(graph.numbers[graph.centres])
        direct, row = pairs.around(graph.centres, elements, species, len(self.numbers))
        distance = direct.radial(self.cutoff, self.radial, self.centre_kinds)
        h_i, h_j = atoms.features.index_select(0, direct.i), atoms.features.index_select(0, direct.j)
        transfer = self._transfer(pairs, direct, atoms, self.source(torch.cat([distance, h_j], dim=1)))
        hidden = self.pair[:-1](torch.cat([*transfer, distance, h_i, h_j, atoms.seen(direct)], dim=1))
        terms = torch.cat([self.pair[-1](hidden), hidden], dim=1) * envelope(direct.r, self.cutoff)[:, None]
        sums = terms.new_zeros(len(graph.centres), terms.shape[1]).index_add(0, row, terms)
        return SOURCE_SCALE * sums[:, 0], sums[:, 1:]

    def _transfer(self, pairs: Pairs, direct: Pairs, atoms: Atoms, source: Tensor) -> list[Tensor]:
        """T_ij^0 and |T_ij^l|² for l = 1, 2 of the pairs centre - source, (P, channels) each."""
        bridges = direct.where(direct.r < self.bridge_cutoff)
        bonds = pairs.where(pairs.r < self.bond_cutoff)
        h_k = atoms.features.index_select(0, bridges.j)
        r_ik = bridges.radial(self.bridge_cutoff, self.radial, self.centre_kinds)
        r_kj = bonds.radial(self.bond_cutoff, self.radial, self.kinds)
        bridge = self.bridge(torch.cat([r_ik, h_k, atoms.seen(bridges)], dim=1))
        bond = self.bond(torch.cat([r_kj, atoms.seen(bonds)], dim=1))
        ik, kj, ij = pathways(bridges, bonds, direct, len(atoms.features))
        cosine = -(bridges.unit[ik] * bonds.unit[kj]).sum(1, keepdim=True)
        angle = self.angle(torch.cat([cosine**power for power in range(1, ANGLE_POWERS + 1)], dim=1))
        hidden = bridge.index_select(0, ik) + bond.index_select(0, kj) + source.index_select(0, ij) + angle
        closeness = envelope(bridges.r, self.bridge_cutoff)[ik] * envelope(bonds.r, self.bond_cutoff)[kj]
        weights = (self.pathway(silu(hidden)) * closeness[:, None]).split(self.pooled, dim=1)
        sums = [
            t.new_zeros(len(direct.i), y.shape[1], t.shape[1]).index_add(0, ij, y[:, :, None] * t[:, None, :])
            for t, y in zip(weights, degrees(bridges.harmonics[ik], self.l_max)[: len(weights)], strict=True)
        ]
        return [sums[0].squeeze(1), *(t.square().sum(1) for t in sums[1:])]

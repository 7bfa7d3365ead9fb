"""PaiNN (Schütt, Unke, Gastegger, ICML 2021) with SchNetPack's weights, for M members at once, as matrix products.

A filter is linear in R radial functions of the distance: W(r) = Σ_k w_k φ_k(r). Hence the message of the neighbours j
to atom i, Σ_j W(r_ij) x_j = Σ_k w_k Σ_j φ_k(r_ij) x_j, needs no array of pairs and features: the sum over j is a matrix
product. In the first layer x_j depends on the element alone, and the sum over j is one over elements.

Members see copies of one graph, so that one backward pass gives the forces of each. Narrower ones are padded with
zeros, and layers they do not have are zero, which is the identity as every layer adds to its input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, silu

from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import envelope
from ionecho.models.gradients import forces_and_stress, recorded_vectors
from ionecho.models.species import Species, composition
from ionecho.models.wall import wall

EPSILON = 1e-8  # under the root of the norm of vector features, as in SchNetPack
CACHED = 700_000  # values a processor works on at once: those of a core's cache
DENSE = 3.0  # how many times more entries than pairs a matrix of all atoms of a configuration may have


@dataclass(frozen=True)
class Blocks:
    """Pairs as B matrices of n atoms (rows) and their K neighbours (columns).

    A block is a configuration where most of its atoms are neighbours, else an atom. Images of an atom are columns
    of their own.
    """

    shape: tuple[int, int, int]  # B, n, K
    pairs: Tensor  # (B n K,) index of the pair, their number where there is none
    columns: Tensor | None  # (B, K) atoms; None: the rows
    places: Tensor | None  # (A,) row of every atom, counted over all blocks; None: in their order

    @classmethod
    @torch.inference_mode(False)
    @torch.no_grad()
    def of(cls, graph: Graph) -> Blocks:
        """Choose the smaller: a block a configuration, or a block an atom."""
        i, j = graph.pairs
        atoms, device = len(graph.numbers), i.device
        sizes = torch.bincount(graph.configuration, minlength=len(graph.cell))
        first = sizes.cumsum(0) - sizes
        image = _rank(i * atoms + j)
        images = torch.ones(atoms, dtype=torch.long, device=device).scatter_reduce(0, j, image + 1, "amax")
        start = images.cumsum(0) - images  # column of an atom's first image, counted over all configurations
        width = torch.zeros_like(sizes).index_add(0, graph.configuration, images)
        n, k = int(sizes.max()), int(width.max())
        neighbours = int(torch.bincount(i, minlength=1).max()) if len(i) else 0
        if len(sizes) * n * k > DENSE * atoms * max(neighbours, 1):
            return cls._by_atom(i, j, atoms, max(neighbours, 1))

        owner = graph.configuration
        row = torch.arange(atoms, device=device) - first[owner]
        offset = start - start[first][owner]
        entry = ((owner * n + row)[i]) * k + offset[j] + image
        pairs = torch.full((len(sizes) * n * k,), len(i), device=device).scatter(0, entry, torch.arange(len(i)).to(i))
        full = bool((sizes == n).all())
        if full and n == k:
            return cls((len(sizes), n, k), pairs, None, None)
        column = torch.repeat_interleave(owner * k + offset, images) + _rank_sorted(images)
        columns = torch.zeros(len(sizes) * k, dtype=torch.long, device=device)
        columns[column] = torch.repeat_interleave(torch.arange(atoms, device=device), images)
        return cls((len(sizes), n, k), pairs, columns.view(-1, k), None if full else owner * n + row)

    @classmethod
    def _by_atom(cls, i: Tensor, j: Tensor, atoms: int, k: int) -> Blocks:
        entry = i * k + _rank(i)
        pairs = torch.full((atoms * k,), len(i), device=i.device).scatter(0, entry, torch.arange(len(i)).to(i))
        columns = torch.zeros(atoms * k, dtype=torch.long, device=i.device).scatter(0, entry, j)
        return cls((atoms, 1, k), pairs, columns.view(atoms, k), None)

    def values(self, radial: int, features: int) -> int:
        """How many numbers a member makes of the pairs: the functions, and what is sent to the columns."""
        blocks, rows, columns = self.shape
        return blocks * columns * (4 * rows * radial + (0 if self.columns is None else 5 * features))

    def at_columns(self, values: Tensor) -> Tensor:
        """Values of atoms (M, A, ...) at the columns, (M, B, K, ...)."""
        if self.columns is None:
            return values.unflatten(1, self.shape[:2])
        return values.index_select(1, self.columns.flatten()).unflatten(1, self.columns.shape)

    def of_atoms(self, values: Tensor) -> Tensor:
        """Values at the rows (M, B, n, ...) in the order of the atoms, (M, A, ...)."""
        values = values.flatten(1, 2)
        return values if self.places is None else values.index_select(1, self.places)

    def matrices(self, vectors: Tensor, cutoff: float) -> Tensor:
        """Vectors of pairs (M, P, 3) as matrices (M, B, 3, n, K); one at the cut-off, without weight, for none."""
        none = vectors.new_tensor([cutoff, 0.0, 0.0]).expand(len(vectors), 1, 3)
        entries = torch.cat([vectors, none], 1).index_select(1, self.pairs)
        return entries.unflatten(1, self.shape).movedim(-1, 2).contiguous()


def _rank(key: Tensor) -> Tensor:
    """How many equal keys come before each."""
    order = torch.argsort(key, stable=True)
    _, counts = torch.unique_consecutive(key[order], return_counts=True)
    return torch.empty_like(key).scatter(0, order, _rank_sorted(counts))


def _rank_sorted(counts: Tensor) -> Tensor:
    """0, 1, ..., c - 1 for every count c, one after another."""
    first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    return torch.arange(len(first), device=counts.device) - first


@dataclass(frozen=True)
class Functions:
    """Radial functions of the vectors between atoms, and those times the directions."""

    radial: Tensor  # (M, B, n, R, K) φ_k(r)
    angular: Tensor  # (M, B, 3, n, R, K) φ_k(r) r/|r|

    @classmethod
    def of(cls, vectors: Tensor, frequencies: Tensor, cutoff: float) -> Functions:
        """Of vectors (M, B, 3, n, K) in Å: φ_k(r) is 1, for the bias of the filters, then sin(ω_k r)/r of the
        frequencies (M, R - 1), all times the cosine cut-off.
        """
        r = vectors.square().sum(2).sqrt()
        weight = envelope(r, cutoff)
        waves = torch.sin(frequencies[:, None, None, :, None] * r[..., None, :]) * (weight / r)[..., None, :]
        radial = torch.cat([weight[..., None, :], waves], -2)
        return cls(radial, radial[:, :, None] * (vectors / r[:, :, None])[..., None, :])

    def sums(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Σ_j φ_k(r_ij) s_j (M, B, n, R, F) and Σ_j φ_k(r_ij) r_ij/|r_ij| v_j (M, B, 3, n, R, F) of (M, B, K, F)."""
        of_scalars = self.radial.flatten(2, 3) @ scalars
        of_vectors = self.angular.flatten(2, 4) @ vectors
        rows = self.radial.shape[2:4]
        return of_scalars.unflatten(2, rows), of_vectors.unflatten(2, (3, *rows))


def dense(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W + b of the members: (M, A, I), (M, I, O), (M, O)."""
    return torch.baddbmm(bias[:, None], inputs, weight)


def two_layers(weights: Mapping[str, Tensor], name: str, inputs: Tensor) -> Tensor:
    """Two layers from (M, A, I) to three features (M, A, 3, F)."""
    hidden = silu(dense(inputs, weights[name + "_in"].flatten(1, -2), weights[name + "_in_bias"]))
    out, bias = weights[name + "_out"], weights[name + "_out_bias"]
    return dense(hidden, out.flatten(2), bias.flatten(1)).unflatten(2, out.shape[2:])


def first_message(
    weights: Mapping[str, Tensor], functions: Functions, species: Tensor, blocks: Blocks
) -> tuple[Tensor, Tensor]:
    """What the neighbours add to scalars (M, A, F) and vectors (M, A, 3, F) that are those of their elements."""
    states = two_layers(weights, "context_0", weights["embedding"]).unbind(2)  # three (M, S, F)
    kinds = one_hot(blocks.at_columns(species[None]), states[0].shape[1]).to(functions.radial)  # (1, B, K, S)
    radial, angular = functions.sums(kinds, kinds)
    scalar, along, _ = weights["filter_0"].unbind(2)  # (M, R, F)
    to_q = radial.flatten(1, 2).flatten(2) @ (scalar[:, :, None] * states[0][:, None]).flatten(1, 2)
    to_mu = angular.flatten(1, 3).flatten(2) @ (along[:, :, None] * states[1][:, None]).flatten(1, 2)
    dq, dmu = to_q.unflatten(1, radial.shape[1:3]), to_mu.unflatten(1, angular.shape[1:4])
    return blocks.of_atoms(dq), blocks.of_atoms(dmu.transpose(2, 3))


def message(
    weights: Mapping[str, Tensor], layer: int, functions: Functions, q: Tensor, mu: Tensor, blocks: Blocks
) -> tuple[Tensor, Tensor]:
    """Equations 7 and 8: what the neighbours add to scalars (M, A, F) and vectors (M, A, 3, F)."""
    state, along_state, carry_state = two_layers(weights, f"context_{layer}", q).unbind(2)  # (M, A, F)
    scalar, along, carry = weights[f"filter_{layer}"].unbind(2)  # (M, R, F)
    sent = torch.cat([state[:, :, None], carry_state[:, :, None] * mu], 2).flatten(2)  # (M, A, 4 F)
    filters = torch.cat([scalar, carry, carry, carry], 2)
    radial, angular = functions.sums(blocks.at_columns(sent), blocks.at_columns(along_state))
    radial = (radial * filters[:, None, None]).sum(3).unflatten(3, (4, -1))  # (M, B, n, 4, F)
    angular = (angular * along[:, None, None, None]).sum(4)  # (M, B, 3, n, F)
    dq, carried = radial.split([1, 3], 3)
    return blocks.of_atoms(dq.squeeze(3)), blocks.of_atoms(carried + angular.transpose(2, 3))


def update(weights: Mapping[str, Tensor], layer: int, q: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
    """Equations 9 and 10: what the atom's own scalars (M, A, F) and vectors (M, A, 3, F) add to each other."""
    mixing = weights[f"mixing_{layer}"].flatten(2)
    v, w = (mu.flatten(1, 2) @ mixing).unflatten(1, mu.shape[1:3]).chunk(2, -1)
    norm = torch.sqrt(v.square().sum(2) + EPSILON)
    to_q, to_mu, of_both = two_layers(weights, f"update_{layer}", torch.cat([q, norm], 2)).unbind(2)
    return to_q + of_both * (v * w).sum(2), to_mu[:, :, None] * w


def atomic_energies(
    weights: Mapping[str, Tensor], layers: int, vectors: Tensor, species: Tensor, blocks: Blocks, cutoff: float
) -> Tensor:
    """What each atom's surroundings add to its energy, (M, A) eV, of the vectors (M, P, 3)."""
    functions = Functions.of(blocks.matrices(vectors, cutoff), weights["frequencies"], cutoff)
    dq, mu = first_message(weights, functions, species, blocks)
    q = weights["embedding"].index_select(1, species) + dq
    for layer in range(layers):
        if layer > 0:
            dq, dmu = message(weights, layer, functions, q, mu, blocks)
            q, mu = q + dq, mu + dmu
        dq, dmu = update(weights, layer, q, mu)
        q, mu = q + dq, mu + dmu
    hidden = silu(dense(q, weights["head_in"], weights["head_in_bias"]))
    outputs = (hidden @ weights["head_out"][..., None]).squeeze(2) + weights["head_out_bias"][:, None]
    return weights["scale"][:, None] * outputs


def evaluate(
    weights: Mapping[str, Tensor], layers: int, species: Species, graph: Graph, cutoff: float, blocks: Blocks
) -> dict[str, Tensor]:
    """`energy` (M, C) eV, `forces` (M, A, 3) eV/Å and `stress` (M, C, 3, 3) eV/Å³ of M members.

    Differentiable where gradients are on.
    """
    create_graph = torch.is_grad_enabled()
    members = len(weights["scale"])
    copies = graph if members == 1 else Graph.concatenate([graph] * members)
    with recorded_vectors(copies) as (copies, vectors):
        kinds = species(copies.numbers[: len(graph.numbers)])
        energies = atomic_energies(weights, layers, vectors.unflatten(0, (members, -1)), kinds, blocks, cutoff)
        surroundings = energies.new_zeros(len(copies.cell)).index_add(0, copies.configuration, energies.flatten())
        i, j = graph.pairs
        apart, _ = wall(vectors.norm(dim=1), weights["foot"][:, kinds[i], kinds[j]].flatten())
        surroundings = surroundings.index_add(0, copies.configuration[copies.pairs[0]], 0.5 * apart)
        forces, stress = forces_and_stress(surroundings, vectors, copies, create_graph)
        counts = composition(graph, kinds, weights["one_body"].shape[1]).to(energies)
        energy = surroundings.view(members, -1) + weights["one_body"] @ counts.T
    return {
        "energy": energy if create_graph else energy.detach(),
        "forces": forces.unflatten(0, (members, -1)),
        "stress": stress.unflatten(0, (members, -1)),
    }


def stacked(members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Weights of the members along a new first axis, padded with zeros to the largest."""
    joined = {}
    for name in dict.fromkeys(name for member in members for name in member):
        like = re.sub(r"_\d+", "_0", name)  # the first layer, which every member has
        shape = [max(sizes) for sizes in zip(*(member[like].shape for member in members), strict=True)]
        joined[name] = members[0][like].new_zeros(len(members), *shape)
        for number, member in enumerate(members):
            if name in member:
                own = tuple(slice(size) for size in member[name].shape)
                joined[name][number][own] = member[name]
    return joined


class BatchedPaiNN(nn.Module):
    """Members of `painn` with one cut-off and radial basis, their widths and depths their own, as one model.

    Parameters
    ----------
    members
        The models. Their weights are copied: `refresh` after they change.
    """

    def __init__(self, members: Sequence[Any]) -> None:
        super().__init__()
        self.species, self.cutoff = members[0].species, members[0].cutoff
        self.layers = max(member.interactions for member in members)
        self.refresh(members)

    @torch.inference_mode(False)
    @torch.no_grad()
    def refresh(self, members: Sequence[Any]) -> None:
        """Take the members' present weights."""
        for name, tensor in stacked([member.weights() for member in members]).items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """Outputs of the members, along a first axis M; on a processor, of as many at once as its cache holds."""
        weights, blocks = dict(self.named_buffers(recurse=False)), Blocks.of(graph)
        members, radial, _, features = weights["filter_0"].shape
        whole = torch.jit.is_tracing() or not graph.positions.is_cpu
        at_once = members if whole else max(1, CACHED // blocks.values(radial, features))
        parts = [
            evaluate(
                {name: tensor[first : first + at_once] for name, tensor in weights.items()},
                self.layers, self.species, graph, self.cutoff, blocks,
            )
            for first in range(0, members, at_once)
        ]  # fmt: skip
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

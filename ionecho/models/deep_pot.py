"""DeepPot-SE, the potential of Zhang et al., NeurIPS 2018: `se_e2_a` of DeePMD-kit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ionecho.data.loader import Batch
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.models.base import PotentialModel
from ionecho.models.gradients import forces_and_stress, recorded_vectors
from ionecho.models.species import Statistics, composition, one_body_and_scale

SPARE = 1.1  # more slots than neighbours in the training part, then rounded up to a multiple of four (DeePMD-kit)
SMALLEST_DEVIATION = 0.01  # 1/Å (DeePMD-kit)


class DeepPot(PotentialModel):
    r"""Energy of atoms whose surroundings are described by learned radial functions, invariant by construction.

    The neighbours j of atom i make up the rows s(r) (1, x/r, y/r, z/r) of its environment matrix R_i, where s(r) is 1/r
    times a switch, less their mean over the slots of the training part and divided by their standard deviation. With an
    embedding network G of s for each pair of elements, of M outputs of which the first M₂ are G^<,

        D_i = (G_iᵀ R_i) (R_iᵀ G_i^<) / N²,    E = Σ_i [e(a_i) + scale · F_a(D_i)],

    where F_a is the fitting network of the element a. DeePMD-kit pads the rows to a number of slots for each element,
    N in all, and empty slots count as s = 0: this keeps the energy smooth where a neighbour leaves. Here the empty
    slots are added up at once, and more neighbours than slots leave a negative number of them, so that none is lost.

    D_i barely varies about its mean when training begins. So F_a is given D_i less this mean and divided by the root
    mean square of its entries, two constants that its first layer could take up: the model is the same, but learns in
    far fewer steps.

    Parameters
    ----------
    numbers, centres
        Atomic numbers the model knows; it predicts for all of them, so both are the same.
    cutoff, smooth_cutoff
        Å; the switch falls from one at `smooth_cutoff` to zero at `cutoff`.
    embedding
        Widths of the embedding networks; the last is M.
    axis
        M₂.
    fitting
        Widths of the hidden layers of the fitting networks.
    """

    last = ("fittings",)
    embeddings: Any  # [a][b]: of neighbours of element b around element a
    fittings: Any
    slots: Tensor  # (S,) for neighbours of each element
    mean: Tensor  # (S,) 1/Å of s over the slots of atoms of each element
    deviation: Tensor  # (S, 2) 1/Å of s and of s x/r
    descriptor_mean: Tensor  # (S, M M₂)
    descriptor_size: Tensor  # (S,)
    one_body: Tensor  # (S,) eV
    scale: Tensor  # () eV

    def __init__(
        self,
        numbers: Sequence[int],
        centres: Sequence[int],
        cutoff: float,
        smooth_cutoff: float,
        embedding: Sequence[int],
        axis: int,
        fitting: Sequence[int],
    ) -> None:
        super().__init__(numbers, centres, cutoff)
        if not 0 <= smooth_cutoff < cutoff:
            raise InputError(f"smooth_cutoff: expected a length in Å below the cutoff {cutoff}, found {smooth_cutoff}")
        if not 0 < axis <= embedding[-1]:
            raise InputError(f"axis: expected 1 to {embedding[-1]}, the width of the embedding, found {axis}")
        self.axis = axis
        self.smooth_cutoff = smooth_cutoff
        kinds = len(self.numbers)
        self.embeddings = nn.ModuleList(
            nn.ModuleList(Residual(1, embedding, timestep=False) for _ in numbers) for _ in numbers
        )
        self.fittings = nn.ModuleList(
            nn.Sequential(Residual(embedding[-1] * axis, fitting, timestep=True), nn.Linear(fitting[-1], 1))
            for _ in numbers
        )
        for _, last in self.fittings:
            nn.init.zeros_(last.weight)  # training begins at the one-body energies
            nn.init.zeros_(last.bias)
        self.register_buffer("slots", torch.full((kinds,), 4))
        self.register_buffer("mean", torch.zeros(kinds))
        self.register_buffer("deviation", torch.ones(kinds, 2))
        self.register_buffer("descriptor_mean", torch.zeros(kinds, embedding[-1] * axis))
        self.register_buffer("descriptor_size", torch.ones(kinds))
        self.register_buffer("one_body", torch.zeros(kinds))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Take slots, means and deviations, one-body energies and the scale from the training part.

        The scale is the root mean square of the force components times 1 Å.
        """
        kinds = len(self.numbers)
        most, atoms = torch.zeros(2, kinds, dtype=torch.int64)
        moments = torch.zeros(kinds, 4, dtype=torch.float64)
        for batch in batches:
            species = self.species(batch.graph.numbers)
            radial, angular = self.rows(batch.graph.vectors().double()).split([1, 3], dim=1)
            powers = torch.cat([radial, radial**2, angular.mean(1, True), (angular**2).mean(1, True)], dim=1)
            moments = moments.index_add(0, species[batch.graph.pairs[0]], powers)
            most = torch.maximum(most, self.neighbours(batch.graph, species).amax(0))
            atoms += torch.bincount(species, minlength=kinds)
        self.slots.copy_(4 * ((SPARE * most).long() + 3).div(4, rounding_mode="floor"))
        averages = moments / (atoms * self.slots.sum()).clamp(min=1)[:, None]
        variances = averages[:, 1::2] - averages[:, 0::2] ** 2
        self.mean.copy_(averages[:, 0])
        self.deviation.copy_(variances.clamp(min=0.0).sqrt().clamp(min=SMALLEST_DEVIATION))
        self.rescale(statistics, batches)
        self.measure_descriptors(batches)

    def rescale(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Take the one-body energies and the scale anew; the weights go with the descriptors as they were scaled."""
        one_body, scale = one_body_and_scale(self.species, len(self.numbers), batches)
        self.one_body.copy_(one_body)
        self.scale.fill_(scale)

    @torch.no_grad()
    def measure_descriptors(self, batches: Iterable[Batch]) -> None:
        """Take the mean and the root mean square of the descriptors, as the embeddings are now."""
        sums, squares = torch.zeros_like(self.descriptor_mean), torch.zeros_like(self.descriptor_size)
        atoms = torch.zeros_like(self.slots)
        for batch in batches:
            species = self.species(batch.graph.numbers)
            found = self.descriptors(batch.graph, batch.graph.vectors(), species)
            for a, (_, descriptor) in enumerate(found):
                sums[a] += descriptor.sum(0)
                squares[a] += descriptor.square().mean(1).sum()
            atoms += torch.bincount(species, minlength=len(self.numbers))
        seen = (atoms > 0).nonzero().squeeze(1)
        self.descriptor_mean[seen] = sums[seen] / atoms[seen, None]
        self.descriptor_size[seen] = (squares[seen] / atoms[seen]).sqrt()

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """`energy` (C,) eV, `forces` (A, 3) eV/Å and `stress` (C, 3, 3) eV/Å³, tensile positive."""
        training = torch.is_grad_enabled()
        with recorded_vectors(graph) as (graph, vectors):
            species = self.species(graph.numbers)
            energy = composition(graph, species, len(self.numbers)).to(vectors) @ self.one_body
            for a, (atoms, descriptor) in enumerate(self.descriptors(graph, vectors, species)):
                inputs = (descriptor - self.descriptor_mean[a]) / self.descriptor_size[a]
                atomic = self.scale * self.fittings[a](inputs).squeeze(1)
                energy = energy.index_add(0, graph.configuration.index_select(0, atoms), atomic)
            forces, stress = forces_and_stress(energy, vectors, graph, create_graph=training)
        return {"energy": energy if training else energy.detach(), "forces": forces, "stress": stress}

    def descriptors(self, graph: Graph, vectors: Tensor, species: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """For each element its atoms (n,) and their D, (n, M M₂)."""
        rows = torch.cat([self.rows(vectors), vectors.new_zeros(1, 4)])  # the last is the empty slot
        neighbours = self.neighbours(graph, species)
        places = self.places(graph, species, neighbours)
        for a, embeddings in enumerate(self.embeddings):
            atoms = (species == a).nonzero().squeeze(1)
            deviation = self.deviation[a, [0, 1, 1, 1]]
            mean = torch.cat([self.mean[a, None], self.mean.new_zeros(3)])
            empty = (-mean / deviation)[None]
            product = vectors.new_zeros(len(atoms), 4, self.embeddings[0][0].width)
            for b, embedding in enumerate(embeddings):
                width = int(pad(neighbours[atoms, b], (0, 1)).max())
                place = places[b].index_select(0, atoms)[:, :width]
                matrix = (rows.index_select(0, place.flatten()).view(len(atoms), width, 4) - mean) / deviation
                product = product + matrix.mT @ embedding(matrix[..., :1])
                product = product + (self.slots[b] - width) * (empty.mT @ embedding(empty[:, :1]))
            product = product / self.slots.sum().clamp(min=1)
            yield atoms, (product.mT @ product[..., : self.axis]).flatten(1)

    def rows(self, vectors: Tensor) -> Tensor:
        """Rows s(r) (1, x/r, y/r, z/r) of the environment matrices (P, 4) in 1/Å before they are standardised."""
        r = vectors.norm(dim=1, keepdim=True)
        x = ((r - self.smooth_cutoff) / (self.cutoff - self.smooth_cutoff)).clamp(0.0, 1.0)
        s = (x**3 * (-6 * x**2 + 15 * x - 10) + 1) / r
        return torch.cat([s, s * vectors / r], dim=1)

    def neighbours(self, graph: Graph, species: Tensor) -> Tensor:
        """How many neighbours of each element the atoms have, (A, S)."""
        i, j = graph.pairs
        kinds = len(self.numbers)
        group = i * kinds + species.index_select(0, j)
        return torch.bincount(group, minlength=kinds * len(species)).view(-1, kinds)

    def places(self, graph: Graph, species: Tensor, neighbours: Tensor) -> list[Tensor]:
        """For each element the pairs of the atoms with its neighbours (A, most), filled up with P, the empty slot."""
        i, j = graph.pairs
        order = (i * len(self.numbers) + species.index_select(0, j)).argsort()
        order = torch.cat([order, order.new_zeros(1)])
        first = neighbours.flatten().cumsum(0).view_as(neighbours) - neighbours
        found = []
        for count, start in zip(neighbours.T, first.T, strict=True):
            slot = torch.arange(int(count.max()), device=count.device)
            place = order[(start[:, None] + slot).clamp(max=len(i))]
            found.append(torch.where(slot < count[:, None], place, len(i)))
        return found


class Residual(nn.Module):
    """Layers x -> dt · tanh(W x + b), plus x where the width stays, or plus x twice where it doubles.

    The timestep dt is learned, if asked for, where x is added. Weights start as in DeePMD-kit.

    Parameters
    ----------
    inputs, widths
        Number of inputs, and of outputs of each layer.
    timestep
        Whether there is a dt; else it is one.
    """

    def __init__(self, inputs: int, widths: Sequence[int], timestep: bool) -> None:
        super().__init__()
        self.width = widths[-1]
        sizes = [inputs, *widths]
        self.layers = nn.ModuleList()
        self.timesteps = nn.ParameterDict()
        for number, (old, new) in enumerate(pairwise(sizes)):
            layer = nn.Linear(old, new)
            nn.init.normal_(layer.weight, std=(old + new) ** -0.5)
            nn.init.normal_(layer.bias)
            self.layers.append(layer)
            if timestep and new in (old, 2 * old):
                self.timesteps[str(number)] = nn.Parameter(0.1 + 0.001 * torch.randn(new))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (..., widths[-1]) of the inputs (..., inputs)."""
        for number, layer in enumerate(self.layers):
            y = torch.tanh(layer(x))
            if str(number) in self.timesteps:
                y = self.timesteps[str(number)] * y
            old, new = x.shape[-1], y.shape[-1]
            x = y + x if new == old else y + torch.cat([x, x], dim=-1) if new == 2 * old else y
        return x

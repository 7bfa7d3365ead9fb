"""Gaussian orbitals about atoms: their values in space, their Fourier transforms, and sums of them as a density."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import special
from sphericart.torch import SolidHarmonics
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

WAVES = 4096  # wave vectors at once
FAR = 30.0  # Å, where every orbital has vanished
DECAY = 1e-3  # of a primitive at its radius


class AtomPoints(NamedTuple):
    """The points within reach of each of B atoms, padded to one length L, so that sums become products of matrices."""

    atoms: Tensor  # (B,)
    vectors: Tensor  # (B, L, 3) Å from the atom, padding beyond all reach
    valid: Tensor  # (B, L) what is not padding
    points: Tensor  # (Q,) point of each valid vector

    @classmethod
    def of(cls, atoms: Tensor, points: Tensor, vectors: Tensor) -> AtomPoints:
        """From pairs (Q,) sorted by atom."""
        numbers, sizes = torch.unique_consecutive(atoms, return_counts=True)
        if not len(sizes):
            return cls(numbers, vectors[None], sizes.bool()[None], points)
        padded = pad_sequence(list(vectors.split(sizes.tolist())), batch_first=True, padding_value=FAR)
        valid = torch.arange(padded.shape[1], device=sizes.device) < sizes[:, None]
        return cls(numbers, padded, valid, points)


class Orbitals(nn.Module):
    """r^l exp(-a_nl r²) Y_lm, whose n-th primitives have fallen to `DECAY` at the n-th radius, orthonormal over n.

    Parameters
    ----------
    radii
        Å, ascending; the last is the reach of the orbitals.
    l_max
        Highest degree.
    """

    exponents: Tensor  # (n, l_max + 1) 1/Å²
    mixing: Tensor  # (l_max + 1, n, n) primitives -> orthonormal orbitals
    degree: Tensor  # ((l_max + 1)²,) l of every component
    transform: Tensor  # (n, l_max + 1) factor of the Fourier transform of a primitive

    def __init__(self, radii: Sequence[float], l_max: int) -> None:
        super().__init__()
        self.count, self.l_max, self.reach = len(radii), l_max, float(max(radii))
        radius, degrees = np.asarray(radii, float)[:, None], np.arange(l_max + 1)
        exponents = -np.log(DECAY / radius**degrees) / radius**2
        order = degrees + 1.5
        mixing = []
        for a, power in zip(exponents.T, order, strict=True):
            overlap = 0.5 * special.gamma(power) * (a[:, None] + a) ** -power
            value, vector = np.linalg.eigh(overlap)
            mixing.append(vector / np.sqrt(value) @ vector.T)
        transform = np.pi**1.5 / (2.0**degrees * exponents**order)
        for name, values in {"exponents": exponents, "mixing": np.stack(mixing), "transform": transform}.items():
            self.register_buffer(name, torch.tensor(values).to(torch.get_default_dtype()), persistent=False)
        self.sizes = [2 * degree + 1 for degree in range(l_max + 1)]
        degree = torch.repeat_interleave(torch.arange(l_max + 1), 2 * torch.arange(l_max + 1) + 1)
        self.register_buffer("degree", degree, persistent=False)
        self.harmonics = SolidHarmonics(l_max)

    def primitives(self, coefficients: Tensor) -> Tensor:
        """Coefficients (A, (l_max + 1)², n, outputs) of orthonormal orbitals as those of primitives."""
        return torch.einsum("kno, akoq -> aknq", self.mixing[self.degree], coefficients)

    def integrals(self, coefficients: Tensor) -> Tensor:
        """Integrals (A, outputs) over all space, of coefficients (A, (l_max + 1)², n, outputs) of primitives."""
        return torch.einsum("anq, n -> aq", coefficients[:, 0], self.transform[:, 0]) / (4 * torch.pi) ** 0.5

    def at(self, coefficients: Tensor, pairs: AtomPoints, count: int) -> Tensor:
        """Sums at `count` points, (P, outputs), of coefficients (A, (l_max + 1)², n, outputs) of primitives."""
        outputs = coefficients.shape[-1]
        vectors = pairs.vectors
        squares = vectors.square().sum(-1, keepdim=True)
        own = coefficients.index_select(0, pairs.atoms)
        parts = []
        for blocks, exponents in zip(own.split(self.sizes, 1), self.exponents.T, strict=True):
            matrix = blocks.movedim(2, 1).flatten(2)
            parts.append(torch.exp(-squares * exponents) @ matrix)
        harmonics = self.harmonics(vectors.flatten(0, 1)).unflatten(0, vectors.shape[:2])
        values = (torch.cat(parts, 2).unflatten(2, (-1, outputs)) * harmonics[..., None]).sum(2)
        return values.new_zeros(count, outputs).index_add(0, pairs.points, values[pairs.valid])

    def values(self, vectors: Tensor) -> Tensor:
        """Primitives at vectors (Q, 3) from their centre, (Q, (l_max + 1)², n)."""
        radial = torch.exp(-vectors.square().sum(1)[:, None, None] * self.exponents.T)
        return self.harmonics(vectors)[:, :, None] * radial[:, self.degree]

    def waves(self, coefficients: Tensor, positions: Tensor, wave_vectors: Tensor) -> Tensor:
        """Integrals ∫ ρ(r) exp(-iG·r) dr over all space of the sums about positions (A, 3), complex (G, outputs).

        Of one primitive it is (-i)^l π^(3/2) / (2^l a^(l+3/2)) |G|^l Y_lm(Ĝ) exp(-G²/4a), real for even l and imaginary
        for odd; the sum over atoms is a product of matrices for all waves at once.

        Parameters
        ----------
        coefficients
            (A, (l_max + 1)², n, outputs) of primitives.
        wave_vectors
            (G, 3) 1/Å.
        """
        power = self.degree % 4
        sign = torch.where((power == 0) | (power == 3), 1.0, -1.0).to(coefficients)
        even, odd = (self.degree % 2 == 0).nonzero().squeeze(1), (self.degree % 2 == 1).nonzero().squeeze(1)
        matrix = coefficients.flatten(1)
        parts = []
        for vectors in wave_vectors.split(WAVES):
            radial = torch.exp(-vectors.square().sum(1)[:, None, None] / (4 * self.exponents.T)) * self.transform.T
            values = (self.harmonics(vectors) * sign)[:, :, None] * radial[:, self.degree]
            phases = vectors @ positions.T
            cosine, sine = (
                torch.einsum("gknq, gkn -> gkq", (wave @ matrix).unflatten(1, coefficients.shape[1:]), values)
                for wave in (torch.cos(phases), torch.sin(phases))
            )
            real = cosine[:, even].sum(1) + sine[:, odd].sum(1)
            parts.append(torch.complex(real, cosine[:, odd].sum(1) - sine[:, even].sum(1)))
        return torch.cat(parts)

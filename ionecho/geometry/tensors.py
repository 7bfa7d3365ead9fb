"""Components by degree, and the matrices that l = 2 stands for."""

from __future__ import annotations

import torch
from torch import Tensor


def degrees(harmonics: Tensor, l_max: int) -> tuple[Tensor, ...]:
    """Blocks (P, 2l + 1, ...) of every degree l of an array (P, (l_max + 1)², ...)."""
    return harmonics.split([2 * degree + 1 for degree in range(l_max + 1)], dim=1)


def traceless(components: Tensor) -> Tensor:
    """Symmetric traceless matrices (A, 3, 3, ...) of real l = 2 components (A, 5, ...) in the order m = -2 ... 2.

    The root of the summed squares stays: √2 xy, √2 yz, √(3/2) zz, √2 xz, (xx - yy)/√2.
    """
    xy, yz, zz, xz, xx_yy = (components / 2**0.5).unbind(1)
    zz = zz / 3**0.5
    rows = [xx_yy - zz, xy, xz, xy, -xx_yy - zz, yz, xz, yz, 2 * zz]
    return torch.stack(rows, dim=1).unflatten(1, (3, 3))


def components(matrices: Tensor) -> Tensor:
    """The l = 2 components (A, 5, ...) of matrices (A, 3, 3, ...), of their symmetric traceless part."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = matrices.flatten(1, 2).unbind(1)
    axial = (2 * zz - xx - yy) / 3**0.5
    return torch.stack([xy + yx, yz + zy, axial, xz + zx, xx - yy], dim=1) / 2**0.5


def dyad(a: Tensor, b: Tensor) -> Tensor:
    """The l = 2 components (A, 5, ...) of the products of vectors (A, 3, ...)."""
    return components(a[:, :, None] * b[:, None])


def vectors(harmonics: Tensor) -> Tensor:
    """Vectors x, y, z (A, 3, ...) of real l = 1 components (A, 3, ...), whose order is y, z, x."""
    y, z, x = harmonics.unbind(1)
    return torch.stack([x, y, z], dim=1)

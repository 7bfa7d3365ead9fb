"""Components by degree, and the matrices that l = 2 stands for."""

from __future__ import annotations

import torch
from torch import Tensor


def degrees(harmonics: Tensor, l_max: int) -> tuple[Tensor, ...]:
    """Blocks (P, 2l + 1, ...) of every degree l of an array (P, (l_max + 1)², ...)."""
    return harmonics.split([2 * degree + 1 for degree in range(l_max + 1)], dim=1)


def traceless(components: Tensor) -> Tensor:
    """Symmetric traceless matrices (A, 3, 3) of real l = 2 components (A, 5) in the order m = -2 ... 2."""
    xy, yz, zz, xz, xx_yy = (components / 2**0.5).unbind(1)
    zz = zz / 3**0.5
    rows = [xx_yy - zz, xy, xz, xy, -xx_yy - zz, yz, xz, yz, 2 * zz]
    return torch.stack(rows, dim=1).unflatten(1, (3, 3))

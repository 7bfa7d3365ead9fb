"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def perceptron(
    widths: Sequence[int], activation: type[nn.Module] = nn.SiLU, dropout: float | None = None
) -> nn.Sequential:
    """Linear layers of these widths, the activation between them, and dropout behind it where a share is given."""
    layers: list[nn.Module] = []
    for pair in pairwise(widths):
        layers += [nn.Linear(*pair), activation(), *([] if dropout is None else [nn.Dropout(dropout)])]
    return nn.Sequential(*layers[: -1 if dropout is None else -2])

"""Pairs of neighbours of one atom."""

from __future__ import annotations

import torch
from torch import Tensor


def triplets(first: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """Neighbour pairs p < q, each (T,), that start at the same atom and are both near.

    `first` (P,) is the first atom of every pair, ascending; `near` (P,) tells which pairs count.
    """
    pairs = near.nonzero().squeeze(1)
    atom = first.index_select(0, pairs)
    rank = torch.arange(len(pairs), device=pairs.device)
    partners = torch.searchsorted(atom, atom, right=True) - rank - 1
    p = rank.repeat_interleave(partners)
    begin = partners.cumsum(0) - partners
    q = p + 1 + torch.arange(len(p), device=pairs.device) - begin.index_select(0, p)
    return pairs.index_select(0, p), pairs.index_select(0, q)

"""Members of one model evaluated together: their mean, and their spread calibrated on configurations left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import PairsOf

SPREAD = "_std"
MEMBERS = "_members"


class Ensemble(nn.Module):
    """Mean, calibrated spread and single predictions of M members that share one neighbour list.

    Parameters
    ----------
    members
        Models of one kind.
    calibration
        Output -> factor on the members' standard deviation (M - 1). A single member has no spread.
    """

    numbers: tuple[int, ...]
    centres: tuple[int, ...]
    cutoff: float
    pairs_of: PairsOf

    def __init__(self, members: Sequence[nn.Module], calibration: Mapping[str, float]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.calibration = dict(calibration)
        first: Any = self.members[0]
        self.numbers, self.centres = first.numbers, first.centres
        self.cutoff, self.pairs_of = first.cutoff, first.pairs_of

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """Outputs of the members with, for M > 1, `<name>_std` like the mean and `<name>_members` (M, ...)."""
        outputs = [member(graph) for member in self.members]
        if len(outputs) == 1:
            return outputs[0]
        joined: dict[str, Tensor] = {}
        for name in outputs[0]:
            stacked = torch.stack([output[name] for output in outputs])
            joined[name] = stacked.mean(0)
            joined[name + SPREAD] = self.calibration.get(name, 1.0) * stacked.std(0)
            joined[name + MEMBERS] = stacked
        return joined

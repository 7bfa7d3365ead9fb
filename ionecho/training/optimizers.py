"""Muon for the weight matrices, AdamW for everything else, as one optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer


class MuonAdamW(Optimizer):
    """Orthogonalised momentum (Jordan et al., 2024) on 2-D parameters; AdamW without decay on the others.

    Parameters
    ----------
    lr, weight_decay
        Rate and decoupled decay of Muon.
    adam_lr
        Rate of AdamW. A schedule acts on both.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, adam_lr: float, weight_decay: float) -> None:
        params = list(params)
        self.parts: tuple[Optimizer, Optimizer] = (
            Muon([p for p in params if p.ndim == 2], lr=lr, weight_decay=weight_decay, momentum=0.95),
            AdamW([p for p in params if p.ndim != 2], lr=adam_lr, weight_decay=0.0, betas=(0.9, 0.99)),
        )
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        for part, group in zip(self.parts, self.param_groups, strict=True):
            part.param_groups, part.state = [group], self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both parts."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

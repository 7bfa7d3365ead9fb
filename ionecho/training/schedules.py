"""Learning-rate schedules over the whole run, stepped after every batch."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def cosine(optimizer: Optimizer, total_steps: int, warmup: float, final: float) -> LambdaLR:
    """Linear warm-up over the fraction `warmup` of the run, then a cosine down to the fraction `final` of the rate."""

    def factor(step: int) -> float:
        progress = step / max(total_steps, 1)
        if progress < warmup:
            return (step + 1) / (warmup * total_steps + 1)
        phase = min((progress - warmup) / (1 - warmup), 1.0)
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * phase))

    return LambdaLR(optimizer, factor)


def inverse_decay(optimizer: Optimizer, total_steps: int, rate: float, max_epochs: int, decay_epochs: int) -> LambdaLR:
    """lr0 / (1 + rate e / N) at epoch e with N = `decay_epochs`: the schedule of Chem. Sci. 2022, 13, 7863."""
    steps_per_epoch = total_steps / max_epochs
    return LambdaLR(optimizer, lambda step: 1 / (1 + rate * (step / steps_per_epoch) / decay_epochs))

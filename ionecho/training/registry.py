"""What a recipe may name: optimisers, schedules and loggers. Nothing else named in a config is made."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from ionecho.errors import InputError

OPTIMIZERS = {
    "Adam": "torch.optim:Adam",
    "AdamW": "torch.optim:AdamW",
    "MuonAdamW": "ionecho.training.optimizers:MuonAdamW",
}
SCHEDULES = {
    "cosine": "ionecho.training.schedules:cosine",
    "inverse_decay": "ionecho.training.schedules:inverse_decay",
}
LOGGERS = {
    "csv": "pytorch_lightning.loggers:CSVLogger",
    "wandb": "ionecho.training.loggers:quiet_wandb",
}


def make(known: Mapping[str, str], settings: Mapping[str, Any], what: str) -> partial[Any]:
    """The callable that `settings` name among `known`, with the other settings as its arguments.

    Parameters
    ----------
    known
        Name -> module:attribute.
    settings
        `name`, and keyword arguments.
    what
        Key in the config, for errors.

    Raises
    ------
    InputError
        If the name is unknown, or the callable takes no such argument.
    """
    arguments = dict(settings)
    name = arguments.pop("name", None)
    if name not in known:
        raise InputError(f"{what}.name: expected one of {', '.join(known)}, found {name}")
    module, _, attribute = known[name].partition(":")
    made = getattr(importlib.import_module(module), attribute)
    taken = inspect.signature(made).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    if not open_ended and (unknown := sorted(set(arguments) - set(taken))):
        drop = " ".join(f"~{what}.{key}" for key in unknown)
        raise InputError(f"{what}: {name} takes no {', '.join(unknown)}; leave out with {drop}")
    return partial(made, **arguments)

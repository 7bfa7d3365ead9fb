"""Configs of `conf/` as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import hydra
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from ionecho.data.shared import CONF
from ionecho.door.overrides import readable

MISSING = "???"


def compose(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The values of `conf/NAME.yaml` with the overrides of a line; what has to be said and is not is left out.

    Raises
    ------
    HydraException
        If an override does not fit the config.
    """
    with initialize_config_dir(str(CONF), version_base=None):
        return content(hydra.compose(name, overrides=readable(overrides)))


def content(config: DictConfig) -> dict[str, Any]:
    """The values of a composed config, its interpolations resolved; what has to be said and is not is left out."""
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return _said(values)


def _said(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(key): _said(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value != MISSING
    }

"""Parts of a Hydra config as plain values, and in what two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf


def plain(config: DictConfig) -> dict[str, Any]:
    """A part of the config, its interpolations resolved, as a dictionary."""
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def changed(found: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Keys whose values differ, or that one of the two lacks, in order."""
    return sorted(key for key in {*found, *asked} if found.get(key) != asked.get(key))

"""Parts of a Hydra config as plain values."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from ionecho.data.files import changed

__all__ = ["changed", "plain"]


def plain(config: DictConfig) -> dict[str, Any]:
    """A part of the config, its interpolations resolved, as a dictionary."""
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}

"""Configs of `conf/` as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import hydra
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from ionecho.data.shared import CONF
from ionecho.door.overrides import readable

MISSING = "???"
ALIKE = 0.8  # of two keys, from 0 to 1


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


def unknown_settings(config: str, words: Sequence[str]) -> list[str]:
    """Every key of a line that `conf/CONFIG.yaml` does not have, with the one that is most like it.

    Parameters
    ----------
    words
        Overrides. Those that choose among the files of a folder decide which keys there are.
    """
    folder, _, name = config.rpartition("/")
    given = [word for word in words if "=" in word and not word.startswith(("-", "+", "~", "hydra"))]
    chosen = [word for word in given if (CONF / word.partition("=")[0]).is_dir()]
    with initialize_config_dir(str(CONF / folder), version_base=None):
        known = list(_keys(hydra.compose(name, overrides=chosen)))
    absent = [key for word in given if word not in chosen and (key := word.partition("=")[0]) not in known]
    return [f"{key} (is it {like}?)" if (like := _most_like(key, known)) else key for key in absent]


def _most_like(key: str, known: Sequence[str]) -> str | None:
    """One of the same last word elsewhere, or else one spelled alike."""
    last = key.rpartition(".")[2]
    values = [other for other in known if not any(longer.startswith(f"{other}.") for longer in known)]
    same = [other for other in values if other.rpartition(".")[2] == last]
    return next(iter([*same, *get_close_matches(key, values, 1, ALIKE)]), None)


def _keys(config: DictConfig, within: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield (whole := within + key)
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            yield from _keys(node, f"{whole}.")


def _said(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(key): _said(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value != MISSING
    }

"""What may follow on a line of overrides, by Hydra's own completion, for the shells that typer knows."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.bash_completion import BashCompletion
from hydra._internal.utils import create_config_search_path
from hydra.core.plugins import Plugins

from ionecho import entry  # noqa: F401  (the resolvers that the configs name)
from ionecho.data.shared import CONF


def completions(command: str, words: Sequence[str], incomplete: str) -> list[str]:
    """Keys and values that the last word of a line may become; bash, which cuts words at =, gets what follows that."""
    said = [*words, incomplete]
    joined = " ".join(said).replace(" = ", "=").removesuffix(" =") + ("=" if said[-1] == "=" else "")
    behind = joined.rpartition(" ")[2] if "=" in (said[-1], *words[-1:]) else ""
    folder = CONF / "simulate" if command == "simulate" else CONF
    Plugins.instance()
    loader = ConfigLoaderImpl(create_config_search_path(str(folder)))
    found = BashCompletion(loader)._query(command, joined)
    return [word.removeprefix(behind.rpartition("=")[0] + "=") if behind else word for word in found]

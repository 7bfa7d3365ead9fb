"""What the commands share: their configs, and one line and exit code 2 for bad input."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from ionecho.data.shared import CONF
from ionecho.door import help
from ionecho.door.config import content, unknown_settings
from ionecho.door.overrides import readable
from ionecho.errors import InputError, IonEchoWarning, explain

USER_ERRORS = (
    InputError,
    HydraException,
    OmegaConfBaseException,
    YAMLError,
    zipfile.BadZipFile,
)
FULL = ": the disk is full; what was finished is whole: free some space and run the same line again"
SHUT = ": without the right to it; give it, or choose another place"
DISK = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), FULL) | dict.fromkeys((errno.EROFS, errno.EACCES), SHUT)
# What may differ from one line to the next of a training or an exploration.
NOT_PART_OF_A_RUN = ("resume=", "logger", "hydra.", "hydra/", "rounds=", "retry=", "workers")
Returned = TypeVar("Returned")


def run_id(overrides: list[str]) -> str:
    """The folder of a run is named by its overrides, so that the same line finds what an earlier one left."""
    relevant = sorted(o for o in overrides if not o.startswith(NOT_PART_OF_A_RUN))
    return hashlib.sha256("\n".join(relevant).encode()).hexdigest()[:8] if relevant else "default"


OmegaConf.register_new_resolver("run_id", run_id, replace=True)


def guarded(name: str, work: Callable[[], Returned]) -> Returned:
    """Do the work; input that cannot be served ends with one line and exit code 2, and our warnings take one each."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, IonEchoWarning):
            print(f"{name}: warning: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            shown(message, category, *where)

    warnings.showwarning = show  # type: ignore[assignment]  # its parameters are named
    try:
        return work()
    except ValidationError as error:
        print(f"{name}: {explain(error)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"{name}: {' '.join(str(error).split())}{DISK.get(error.errno or 0, '')}", file=sys.stderr)
        sys.exit(2)
    except USER_ERRORS as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def command(config: str) -> Callable[[Callable[[dict[str, Any]], Returned]], Callable[[], None]]:
    """A command whose words are overrides of `conf/CONFIG.yaml`; it is called with what they compose.

    What it returns is what a sweep minimises.
    """

    def decorate(work: Callable[[dict[str, Any]], Returned]) -> Callable[[], None]:
        folder, _, name = config.rpartition("/")

        @functools.wraps(work)
        def task(composed: DictConfig) -> Returned:
            return guarded(Path(sys.argv[0]).name, lambda: work(content(composed)))

        application = hydra.main(config_path=str(CONF / folder), config_name=name, version_base="1.3")(task)

        @functools.wraps(work)
        def main() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"

            def run() -> None:
                if help.ASKED & set(sys.argv[1:]):
                    print(help.text(config, str(work.__doc__), sys.argv[1:]))
                    return
                sys.argv[1:] = readable(sys.argv[1:])
                try:
                    application()
                except ConfigCompositionException as error:
                    if unknown := unknown_settings(config, sys.argv[1:]):
                        raise InputError(f"no such settings: {', '.join(unknown)}") from error
                    raise

            guarded(Path(sys.argv[0]).name, run)

        return main

    return decorate


def required(config: Mapping[str, Any], *names: str) -> list[Any]:
    """The values of keys that a line has to say."""
    if missing := [name for name in names if name not in config]:
        raise InputError(f"expected {' '.join(f'{name}=..' for name in missing)} on the line, found none")
    return [config[name] for name in names]

"""What the entry points share: one line and exit code 2 for bad input."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from ionecho.door.overrides import readable
from ionecho.errors import InputError, explain

USER_ERRORS = (
    InputError,
    OSError,
    HydraException,
    OmegaConfBaseException,
    YAMLError,
    zipfile.BadZipFile,
)
# What may differ from one line to the next of a training or an exploration.
NOT_PART_OF_A_RUN = ("resume=", "logger", "hydra.", "rounds=", "retry=", "workers")


def run_id(overrides: list[str]) -> str:
    """The folder of a run is named by its overrides, so that the same line finds what an earlier one left."""
    relevant = sorted(o for o in overrides if not o.startswith(NOT_PART_OF_A_RUN))
    return hashlib.sha256("\n".join(relevant).encode()).hexdigest()[:8] if relevant else "default"


OmegaConf.register_new_resolver("run_id", run_id, replace=True)


def guarded(name: str, work: Callable[[], None]) -> None:
    """Do the work; input that cannot be served ends with one line and exit code 2."""
    try:
        work()
    except ValidationError as error:
        print(f"{name}: {explain(error)}", file=sys.stderr)
        sys.exit(2)
    except USER_ERRORS as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def entry_point(main: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Guard the work of a Hydra application, before Hydra sees its errors."""

    @functools.wraps(main)
    def task(config: DictConfig) -> None:
        guarded(Path(sys.argv[0]).name, lambda: main(config))

    return task


def run(application: Callable[[], None]) -> None:
    """Start a Hydra application; a config that cannot be composed is bad input too."""
    os.environ["HYDRA_FULL_ERROR"] = "1"

    def work() -> None:
        sys.argv[1:] = readable(sys.argv[1:])
        application()

    guarded(Path(sys.argv[0]).name, work)

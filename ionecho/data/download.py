"""Downloads from the Hugging Face Hub into the cache: whole and checked, or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ionecho.data.card import read_card
from ionecho.data.fetch import home, sha256
from ionecho.data.files import replace_folder
from ionecho.data.lock import locked
from ionecho.data.verify import against_card, verify
from ionecho.errors import InputError

REFERENCE = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?")
MAIN = "main"
HUB_OWNER = "ionecho"
PUBLISHED = ("README.md", "*.zarr.zip")


@dataclass(frozen=True)
class Reference:
    """What `owner/name@revision` names; without a revision the newest."""

    repository: str
    revision: str = MAIN

    @classmethod
    def of(cls, text: str) -> Reference | None:
        """None where the text is no such name, or a path that is there."""
        match = REFERENCE.fullmatch(text)
        if match is None or Path(text).exists() or Path(text).suffix in (".zarr", ".zip"):
            return None
        return cls(match["repository"], match["revision"] or MAIN)

    @property
    def folder(self) -> str:
        """Name of its folder in the cache."""
        return f"{self.repository.replace('/', '--')}@{self.revision}"

    def __str__(self) -> str:
        return self.repository + ("" if self.revision == MAIN else f"@{self.revision}")


def download(
    reference: Reference,
    kind: str,
    target: Path,
    patterns: Sequence[str],
    check: Callable[[Path], object],
    endpoint: str | None = None,
) -> Path:
    """Download a repository of the Hub to `target`, which is replaced once `check` has passed; returns it.

    Raises
    ------
    InputError
        In one line: no such repository or revision, a connection that is not there or was lost, files that are not
        what was published, no space. What `target` held stays; what was downloaded is gone on with the next time.
    """
    partial = target.with_name(target.name + ".partial")
    again = f"what is in the cache stays; the same line tries again, and goes on in {partial}"
    try:
        with locked(target, wait=True):
            snapshot_download(
                reference.repository,
                repo_type=kind,
                revision=reference.revision,
                local_dir=partial,
                allow_patterns=list(patterns),
                endpoint=endpoint or os.environ.get("HF_ENDPOINT"),
            )
            shutil.rmtree(partial / ".cache", ignore_errors=True)
            try:
                check(partial)
            except InputError:
                shutil.rmtree(partial)
                raise
            if target.exists() and sha256(target) == sha256(partial):  # others may be reading it
                shutil.rmtree(partial)
                return target
            return replace_folder(partial, target)
    except InputError as error:
        raise InputError(f"{reference}: {error}") from error
    except HFValidationError as error:
        raise InputError(f"{reference}: expected owner/name or owner/name@revision: {error}") from error
    except RevisionNotFoundError as error:
        raise InputError(f"{reference}: the {kind} has no revision {reference.revision} on the Hub") from error
    except RepositoryNotFoundError as error:
        raise InputError(f"{reference}: no such {kind} on the Hub, or one that needs a token (HF_TOKEN)") from error
    except LocalEntryNotFoundError as error:
        raise InputError(f"{reference}: the Hub cannot be reached; {again}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise InputError(f"{reference}: the Hub answered {status} {HTTPStatus(status).phrase}; {again}") from error
    except OSError as error:
        raise InputError(f"{reference}: {' '.join(str(error).split())}; {again}") from error
    except Exception as error:
        if not type(error).__module__.startswith(("httpx", "httpcore", "requests", "urllib3")):
            raise
        raise InputError(f"{reference}: the connection broke ({type(error).__name__}); {again}") from error


def pulled_dataset(reference: Reference, endpoint: str | None = None) -> Path:
    """The dataset file of a reference: of the cache where it names a revision that is there, else downloaded.

    Without a network the newest that was pulled is taken.
    """
    target = home() / "hub" / "datasets" / reference.folder
    if not (target.exists() and reference.revision != MAIN):
        try:
            download(reference, "dataset", target, PUBLISHED, check_dataset, endpoint)
        except InputError:
            if not target.exists():
                raise
    return target / read_card(target / "README.md").filename


def check_dataset(folder: Path) -> None:
    """Hold a downloaded dataset against its card.

    Raises
    ------
    InputError
        If it is missing, damaged, or another.
    """
    if not (folder / "README.md").exists():
        raise InputError("the repository holds no card (README.md), which a dataset of IonEcho has")
    card = read_card(folder / "README.md")
    path = folder / card.filename
    problems = verify(path) + against_card(path, card) if path.exists() else [f"{card.filename} is missing"]
    if problems:
        raise InputError(f"{'; '.join(problems)}; pull again")

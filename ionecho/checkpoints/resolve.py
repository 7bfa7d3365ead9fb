"""Names to checkpoint folders: a path, the repository's `models/`, the cache, then the Hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi

from ionecho.checkpoints.store import FILES, load
from ionecho.data.download import HUB_OWNER, MAIN, Reference, download
from ionecho.data.fetch import home
from ionecho.data.registry import named_folders
from ionecho.errors import InputError


def local_checkpoints() -> dict[str, Path]:
    """Folder of every checkpoint on this machine."""
    return named_folders("models", "config.yaml")


def resolve(name: str) -> Path:
    """Folder of a checkpoint given by path or name; `owner/name@revision` and unknown names are looked for on the Hub.

    A revision that was pulled needs no network; without a revision the newest is taken, or, where the Hub is out of
    reach, the newest that was pulled.
    """
    for folder in (Path(name), Path(name) / "checkpoint"):
        if (folder / "config.yaml").exists():
            return folder
    folders = local_checkpoints()
    if name in folders:
        return folders[name]
    reference = _reference(name)
    kept = _place(reference)
    if kept.exists() and reference.revision != MAIN:
        return kept
    try:
        return pull(name)
    except InputError as error:
        if kept.exists():
            return kept
        if "/" in name:
            raise
        known = ", ".join(folders) or "none"
        raise InputError(
            f"no checkpoint {name!r}: not a folder, not among {known}, and not on the Hub ({error}). "
            "`ionecho models list` shows what is here"
        ) from error


def _reference(name: str) -> Reference:
    reference = Reference.of(name if "/" in name else f"{HUB_OWNER}/{name}")
    if reference is None:
        raise InputError(f"no checkpoint at {name}: expected a folder, a name, or owner/name@revision on the Hub")
    return reference


def _place(reference: Reference) -> Path:
    """Those of IonEcho's own and newest go by their bare name."""
    owner, _, name = reference.repository.partition("/")
    bare = owner == HUB_OWNER and reference.revision == MAIN
    return home() / "models" / (name if bare else reference.folder)


def pull(name: str, revision: str = MAIN, endpoint: str | None = None) -> Path:
    """Download a checkpoint from the Hub into the cache, completely or not at all; one that is the same there stays."""
    reference = _reference(name)
    if revision != MAIN:
        reference = Reference(reference.repository, revision)
    target = _place(reference)
    return download(reference, "model", target, FILES, load, endpoint)


def publish(name: str, repository: str, tag: str, endpoint: str | None = None, token: str | None = None) -> str:
    """Upload a checkpoint that loads and tag it; returns the address."""
    folder = load(resolve(name)).folder
    api = HfApi(endpoint=endpoint, token=token)
    api.create_repo(repository, repo_type="model", exist_ok=True)
    api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=FILES, commit_message=f"{name} {tag}")
    api.create_tag(repository, tag=tag)
    return f"{repository}@{tag}"

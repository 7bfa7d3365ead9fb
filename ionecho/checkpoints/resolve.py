"""Names to checkpoint folders: a path, the repository's `models/`, the cache, then the Hub."""

from __future__ import annotations

import shutil
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from ionecho.checkpoints.store import FILES, load
from ionecho.data.fetch import home, sha256
from ionecho.data.files import replace_folder
from ionecho.data.lock import locked
from ionecho.data.registry import named_folders
from ionecho.errors import InputError

HUB_OWNER = "ionecho"


def local_checkpoints() -> dict[str, Path]:
    """Folder of every checkpoint on this machine."""
    return named_folders("models", "config.yaml")


def resolve(name: str) -> Path:
    """Folder of a checkpoint by path or name; `owner/name`, `@version` and unknown names are looked for on the Hub."""
    for folder in (Path(name), Path(name) / "checkpoint"):
        if (folder / "config.yaml").exists():
            return folder
    folders = local_checkpoints()
    if name in folders:
        return folders[name]
    try:
        repository, _, version = name.partition("@")
        return pull(repository, version or "main")
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError) as error:
        raise InputError(
            f"no checkpoint {name!r}: not a folder, not among {', '.join(folders) or 'none'}, and not on the Hub "
            f"({type(error).__name__}). `ionecho models list` shows what is here"
        ) from error


def pull(name: str, revision: str = "main", endpoint: str | None = None) -> Path:
    """Download a checkpoint from the Hub into the cache, completely or not at all; one that is the same there stays."""
    repository = name if "/" in name else f"{HUB_OWNER}/{name}"
    target = home() / "models" / repository.split("/")[1]
    partial = target.with_name(target.name + ".partial")
    with locked(target, wait=True):
        snapshot_download(repository, revision=revision, local_dir=partial, allow_patterns=FILES, endpoint=endpoint)
        if target.exists() and _hashes(partial) == _hashes(target):
            shutil.rmtree(partial)
            return target
        return replace_folder(partial, target)


def _hashes(folder: Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in FILES if (folder / name).exists()}


def publish(name: str, repository: str, tag: str, endpoint: str | None = None, token: str | None = None) -> str:
    """Upload a checkpoint that loads and tag it; returns the address."""
    folder = load(resolve(name)).folder
    api = HfApi(endpoint=endpoint, token=token)
    api.create_repo(repository, repo_type="model", exist_ok=True)
    api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=FILES, commit_message=f"{name} {tag}")
    api.create_tag(repository, tag=tag)
    return f"{repository}@{tag}"

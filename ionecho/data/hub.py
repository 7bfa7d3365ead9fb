"""Datasets on the Hugging Face Hub: card, dataset file and a Parquet view of the labels an atom, tagged by version."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from huggingface_hub import HfApi, snapshot_download

from datasets import Dataset as Table
from ionecho.data.card import DatasetCard, read_card
from ionecho.data.fetch import home
from ionecho.data.registry import find_card, find_dataset
from ionecho.data.schema import ARRAYS
from ionecho.data.store import Dataset
from ionecho.data.verify import verify
from ionecho.errors import InputError

PARQUET = "data/atoms.parquet"


def atom_rows(path: str) -> Iterator[dict[str, Any]]:
    """One row an atom: configuration, group, frame, quality, element, position and every atomic label."""
    dataset = Dataset(path)
    labels = [name for name in dataset.labels if ARRAYS[name].per == "atom"]
    for start, stop, arrays in dataset.blocks(["numbers", "positions", *labels]):
        owner = np.repeat(np.arange(start, stop), np.diff(dataset.offsets[start : stop + 1]))
        for atom, configuration in enumerate(owner):
            yield {
                "configuration": int(configuration),
                "group": str(dataset.group[configuration]),
                "frame": int(dataset.frame[configuration]),
                "quality": int(dataset.quality[configuration]),
                "element": chemical_symbols[arrays["numbers"][atom]],
                **{name: arrays[name][atom].tolist() for name in ("positions", *labels)},
            }


def write_parquet(dataset: Path, target: Path) -> None:
    """Write the Parquet view that `datasets.load_dataset` and the Hub's viewer read."""
    with tempfile.TemporaryDirectory() as cache:
        table = Table.from_generator(atom_rows, gen_kwargs={"path": str(dataset)}, cache_dir=cache)
        target.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(str(target))


def publish(name: str, repository: str, endpoint: str | None = None, token: str | None = None) -> str:
    """Upload a sound dataset and tag it with its version; returns the address. A published version never changes."""
    card, folder = find_card(name)
    path = find_dataset(name)
    if problems := verify(path):
        raise InputError(f"{path}: {'; '.join(problems)}")
    api = HfApi(endpoint=endpoint, token=token)
    api.create_repo(repository, repo_type="dataset", exist_ok=True)
    tag = f"v{card.ionecho.version}"
    if tag in {ref.name for ref in api.list_repo_refs(repository, repo_type="dataset").tags}:
        raise InputError(f"{repository} has {tag} already; new content is a new version: raise it in the card")
    with tempfile.TemporaryDirectory() as staging:
        shutil.copy(folder / "README.md", staging)
        shutil.copy(path, staging)
        write_parquet(path, Path(staging) / PARQUET)
        api.upload_folder(repo_id=repository, repo_type="dataset", folder_path=staging, commit_message=f"{name} {tag}")
    api.create_tag(repository, tag=tag, repo_type="dataset")
    return f"{repository}@{tag}"


def pull(repository: str, revision: str = "main", endpoint: str | None = None) -> Path:
    """Download card and dataset into the cache, completely or not at all; returns the dataset file."""
    partial = home() / "datasets" / (repository.replace("/", "--") + ".partial")
    snapshot_download(
        repository,
        repo_type="dataset",
        revision=revision,
        local_dir=partial,
        allow_patterns=["README.md", "*.zarr.zip"],
        endpoint=endpoint,
    )
    card: DatasetCard = read_card(partial / "README.md")
    found = partial / card.filename
    problems = verify(found) if found.exists() else [f"{card.filename} is missing"]
    if problems:
        raise InputError(f"{repository}: {'; '.join(problems)}; pull again")
    target = home() / "datasets" / card.ionecho.name
    kept = target / card.filename
    if kept.exists() and Dataset(kept).attrs["content_sha256"] != Dataset(found).attrs["content_sha256"]:
        raise InputError(f"{kept} exists with other content; move it away to pull {repository}")
    target.mkdir(parents=True, exist_ok=True)
    for file in (found, partial / "README.md"):
        file.replace(target / file.name)
    shutil.rmtree(partial)
    return kept

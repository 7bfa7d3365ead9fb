"""Datasets on the Hugging Face Hub: card, dataset file and a Parquet view of the labels an atom, tagged by version."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ase.data import chemical_symbols
from huggingface_hub import HfApi
from numpy.typing import NDArray

from datasets import load_dataset
from ionecho.data.card import FRONT_MATTER, DatasetCard, read_card, write_card
from ionecho.data.download import PUBLISHED, Reference, check_dataset, download
from ionecho.data.fetch import home
from ionecho.data.registry import find_card, find_dataset
from ionecho.data.schema import ARRAYS
from ionecho.data.splits import fold_indices
from ionecho.data.store import Dataset
from ionecho.data.verify import against_card, verify
from ionecho.errors import InputError

PARQUET = "data/atoms.parquet"
REPEATED = ("cell", "pbc")  # of a configuration, for each of its atoms


def atom_schema(dataset: Dataset) -> pa.Schema:
    """Columns of the Parquet view: one row an atom; every column has its unit, and `left_out` names the rest.

    Cell and periodicity are repeated for every atom of a configuration. `fold_<split>` is the fold that holds the
    configuration, -1 where none does, as of one that the gate flagged. Labels of whole configurations (energy, stress)
    and density grids are not per atom: they are in the dataset file.
    """
    columns = [
        pa.field("configuration", pa.int64()),
        pa.field("group", pa.string()),
        pa.field("frame", pa.int64()),
        pa.field("quality", pa.int64()),
        pa.field("element", pa.string()),
        *(pa.field(f"fold_{name}", pa.int64()) for name in dataset.attrs.get("splits", {})),
    ]
    for name in (*REPEATED, "positions", *dataset.labels):
        spec = ARRAYS[name]
        if spec.per == "atom" or name in REPEATED:
            kind = pa.bool_() if name == "pbc" else pa.float64()
            for size in reversed(spec.shape):
                kind = pa.list_(kind, size)
            columns.append(pa.field(name, kind, metadata={"unit": spec.unit, "description": spec.description}))
    left_out = ", ".join(name for name in dataset.labels if ARRAYS[name].per != "atom")
    return pa.schema(columns, metadata={"left_out": left_out, "content_sha256": dataset.attrs["content_sha256"]})


def atom_batches(dataset: Dataset, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of the Parquet view, a block of configurations at a time."""
    labels = [name for name in schema.names if name in dataset.names and ARRAYS[name].per == "atom"]
    repeated = {name: dataset.rows(name, 0, len(dataset)) for name in REPEATED}
    symbols = np.array(chemical_symbols)
    folds = {f"fold_{name}": _folds(dataset, name) for name in dataset.attrs.get("splits", {})}
    for start, stop, arrays in dataset.blocks(["numbers", *labels]):
        owner = np.repeat(np.arange(start, stop), np.diff(dataset.offsets[start : stop + 1]))
        columns = {
            "configuration": owner,
            "group": dataset.group[owner],
            "frame": dataset.frame[owner],
            "quality": dataset.quality[owner],
            "element": symbols[arrays["numbers"]],
            **{name: fold[owner] for name, fold in folds.items()},
        }
        flat = [pa.array(columns[name], type=schema.field(name).type) for name in columns]
        wide = [repeated[name][owner] for name in REPEATED] + [arrays[name] for name in labels]
        yield pa.RecordBatch.from_arrays(flat + [_nested(values) for values in wide], schema=schema)


def _folds(dataset: Dataset, split: str) -> NDArray[np.int64]:
    """Fold of every configuration, -1 where it is in none."""
    fold = np.full(len(dataset), -1)
    for number, indices in enumerate(fold_indices(dataset, split)):
        fold[indices] = number
    return fold


def _nested(values: NDArray) -> pa.Array:
    """Rows of an array as fixed-size lists."""
    nested = pa.array(values.ravel())
    for size in reversed(values.shape[1:]):
        nested = pa.FixedSizeListArray.from_arrays(nested, size)
    return nested


def write_parquet(path: Path, target: Path) -> Path:
    """Write the Parquet view of the dataset at `path`, which `datasets.load_dataset` and the Hub's viewer read."""
    dataset = Dataset(path)
    schema = atom_schema(dataset)
    target.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(target, schema) as writer:
        for batch in atom_batches(dataset, schema):
            writer.write_batch(batch)
    return target


def stage(folder: Path, path: Path, target: Path) -> None:
    """Lay out in `target`, made if need be, what goes to the Hub: the card in `folder`, the dataset, its Parquet view.

    The card tells `datasets` where the view is: by itself it would take the zipped zarr for data files too.

    Raises
    ------
    InputError
        If `datasets` does not read every atom from what is laid out.
    """
    target.mkdir(parents=True, exist_ok=True)
    card, text = read_card(folder / "README.md"), (folder / "README.md").read_text(encoding="utf-8")
    views = [{"config_name": "default", "data_files": PARQUET}]
    write_card(target / "README.md", card.model_copy(update={"configs": views}), FRONT_MATTER.sub("", text))
    shutil.copy(path, target)
    write_parquet(path, target / PARQUET)
    with tempfile.TemporaryDirectory() as cache:
        rows = load_dataset(str(target), split="train", cache_dir=cache).num_rows
    if rows != (expected := int(Dataset(path).offsets[-1])):
        raise InputError(f"{PARQUET}: expected {expected} rows, one an atom of {path}, found {rows}")


def publish(name: str, repository: str, endpoint: str | None = None, token: str | None = None) -> str:
    """Upload a sound dataset and tag it with its version; returns the address. A published version never changes."""
    card, folder = find_card(name)
    path = find_dataset(name)
    if problems := verify(path) + against_card(path, card):
        raise InputError(f"{path}: {'; '.join(problems)}")
    api = HfApi(endpoint=endpoint, token=token)
    api.create_repo(repository, repo_type="dataset", exist_ok=True)
    tag = f"v{card.ionecho.version}"
    if tag in {ref.name for ref in api.list_repo_refs(repository, repo_type="dataset").tags}:
        raise InputError(f"{repository} has {tag} already; new content is a new version: raise it in the card")
    with tempfile.TemporaryDirectory() as staging:
        stage(folder, path, Path(staging))
        api.upload_folder(repo_id=repository, repo_type="dataset", folder_path=staging, commit_message=f"{name} {tag}")
    api.create_tag(repository, tag=tag, repo_type="dataset")
    return f"{repository}@{tag}"


def pull(repository: str, revision: str = "main", endpoint: str | None = None) -> Path:
    """Download card and dataset into the cache, completely or not at all; returns the dataset file."""
    reference = Reference(repository, revision)
    pulled = download(
        reference, "dataset", home() / "hub" / "datasets" / reference.folder, PUBLISHED, check_dataset, endpoint
    )
    card: DatasetCard = read_card(pulled / "README.md")
    found = pulled / card.filename
    target = home() / "datasets" / card.ionecho.name
    kept = target / card.filename
    if kept.exists() and Dataset(kept).attrs["content_sha256"] != Dataset(found).attrs["content_sha256"]:
        raise InputError(f"{kept} exists with other content; move it away to pull {repository}")
    target.mkdir(parents=True, exist_ok=True)
    for file in (found, pulled / "README.md"):
        file.replace(target / file.name)
    shutil.rmtree(pulled)
    return kept

"""Publishing and pulling through the real client, against a stand-in for the Hub on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import toy_card
from hub_server import running_hub

import datasets
from ionecho.checkpoints import resolve
from ionecho.checkpoints.store import load
from ionecho.data import hub
from ionecho.data.card import write_card
from ionecho.data.store import Dataset
from ionecho.errors import InputError


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        with running_hub() as address:
            yield address


@pytest.fixture
def known_toy(toy_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The toy dataset registered under an IONECHO_HOME of its own."""
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "datasets" / "toy"
    folder.mkdir(parents=True)
    shutil.copy(toy_dataset, folder)
    write_card(folder / "README.md", toy_card(), "# toy")
    return "toy"


def test_dataset_is_published_once_a_version_and_pulled_whole(endpoint: str, known_toy: str, tmp_path: Path) -> None:
    address = hub.publish(known_toy, "tester/toy", endpoint=endpoint, token="hf_x")
    assert address == "tester/toy@v1.0.0"
    with pytest.raises(InputError, match=r"has v1\.0\.0 already"):
        hub.publish(known_toy, "tester/toy", endpoint=endpoint, token="hf_x")
    original = Dataset(tmp_path / "home" / "datasets" / "toy" / "toy-1.0.0.zarr.zip").attrs["content_sha256"]
    shutil.rmtree(tmp_path / "home")
    pulled = hub.pull("tester/toy", revision="v1.0.0", endpoint=endpoint)
    assert Dataset(pulled).attrs["content_sha256"] == original


def test_parquet_view_loads_with_hugging_faces_datasets(toy_dataset: Path, tmp_path: Path) -> None:
    hub.write_parquet(toy_dataset, tmp_path / "atoms.parquet")
    table = datasets.load_dataset("parquet", data_files=str(tmp_path / "atoms.parquet"), cache_dir=str(tmp_path / "hf"))
    rows = table["train"]
    dataset = Dataset(toy_dataset)
    assert len(rows) == dataset.offsets[-1]
    np.testing.assert_allclose(rows["hyperfine_contact"], dataset.rows("hyperfine_contact", 0, 40))
    assert rows[0]["element"] == "Na"


def test_checkpoint_is_published_and_pulled(
    endpoint: str, toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path / "home"))
    published = resolve.publish(str(toy_checkpoint), "tester/model", "v1.0.0", endpoint=endpoint, token="hf_x")
    assert published == "tester/model@v1.0.0"
    folder = resolve.pull("tester/model", revision="v1.0.0", endpoint=endpoint)
    assert load(folder).sha256 == load(toy_checkpoint).sha256
    assert resolve.resolve("model") == folder


def test_an_unknown_checkpoint_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(resolve, "pull", _offline)
    with pytest.raises(InputError, match="no checkpoint 'nothing'"):
        resolve.resolve("nothing")


def _offline(name: str) -> Path:
    raise OSError("offline")

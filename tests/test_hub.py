"""Publishing and pulling through the real client, against a stand-in for the Hub on this machine."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import toy_card, toy_configuration
from hub_server import running_hub
from huggingface_hub import HfApi

import datasets
import ionecho
from ionecho.checkpoints import resolve
from ionecho.checkpoints.store import load
from ionecho.data import hub
from ionecho.data.card import front_matter, read_card, write_card
from ionecho.data.fetch import sha256
from ionecho.data.registry import find_card, find_input
from ionecho.data.splits import fold_indices
from ionecho.data.store import Dataset, DatasetWriter, content_sha256
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


@pytest.mark.parametrize("name", ["p2_gpaw", "lps_gpaw", "nvp_gpaw"])
def test_what_goes_to_the_hub_loads_with_hugging_faces_datasets(name: str, tmp_path: Path) -> None:
    """A folder as the Hub serves it; the zipped zarr beside the view is not taken for data."""
    card, folder = find_card(name)
    dataset = Dataset(folder / card.filename)
    hub.stage(folder, dataset.path, tmp_path / "staged")
    rows = datasets.load_dataset(str(tmp_path / "staged"), cache_dir=str(tmp_path / "hf"))["train"]
    atoms = int(dataset.offsets[1])
    np.testing.assert_array_equal(rows["forces"][:atoms], dataset.rows("forces", 0, 1))
    owner, folds = np.array(rows["configuration"]), np.array(rows["fold_group"])
    for number, fold in enumerate(fold_indices(dataset, "group")):
        assert set(owner[folds == number]) == set(fold)
    assert set(owner[folds < 0]) == set(range(len(dataset))) - set(dataset.good)
    staged = read_card(tmp_path / "staged" / "README.md")
    assert staged.ionecho == card.ionecho


def test_parquet_view_loads_with_hugging_faces_datasets(toy_dataset: Path, tmp_path: Path) -> None:
    hub.write_parquet(toy_dataset, tmp_path / "atoms.parquet")
    table = datasets.load_dataset("parquet", data_files=str(tmp_path / "atoms.parquet"), cache_dir=str(tmp_path / "hf"))
    rows = table["train"]
    dataset = Dataset(toy_dataset)
    assert len(rows) == dataset.offsets[-1]
    np.testing.assert_allclose(rows["hyperfine_contact"], dataset.rows("hyperfine_contact", 0, 40))
    assert rows[0]["element"] == "Na"


def test_parquet_view_has_every_label_of_atoms_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensors = ("efg", "hyperfine_dipolar", "shielding")
    configurations = [toy_configuration(k) for k in range(3)]
    for configuration in configurations:
        configuration.labels |= {name: rng.normal(size=(11, 3, 3)) for name in tensors}
        configuration.labels["charge_density"] = rng.random((2, 3, 4))
    del configurations[1].labels["efg"]
    writer = DatasetWriter(tmp_path / "set.zarr", list(configurations[0].labels))
    writer.append(configurations)
    writer.group.attrs["content_sha256"] = content_sha256(writer.group)
    hub.write_parquet(tmp_path / "set.zarr", tmp_path / "view" / "atoms.parquet")
    file = str(tmp_path / "view" / "atoms.parquet")
    rows = datasets.load_dataset("parquet", data_files=file, cache_dir=str(tmp_path / "hf"))["train"]
    schema = pq.read_schema(file)
    assert schema.metadata[b"left_out"] == b"energy, charge_density"
    assert schema.field("efg").metadata[b"unit"].decode() == "V/Å²"
    structure = {"configuration", "group", "frame", "quality", "element", "positions", "cell", "pbc"}
    per_atom = {"forces", "magnetic_moment", "hyperfine_contact", *tensors}
    assert set(rows.column_names) == structure | per_atom
    assert len(rows) == 33
    assert rows["configuration"][:] == np.repeat([0, 1, 2], 11).tolist()
    for name in per_atom - {"efg"}:
        expected = np.concatenate([configuration.labels[name] for configuration in configurations])
        np.testing.assert_array_equal(rows[name][:], expected)
    np.testing.assert_array_equal(rows["cell"][:], np.repeat([each.cell for each in configurations], 11, axis=0))
    np.testing.assert_array_equal(rows["pbc"][:], np.ones((33, 3), bool))
    efg = np.array(rows["efg"][:])
    np.testing.assert_array_equal(efg[22:], configurations[2].labels["efg"])
    assert np.isnan(efg[11:22]).all()


def test_checkpoint_is_published_and_pulled(
    endpoint: str, toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path / "home"))
    published = resolve.publish(str(toy_checkpoint), "tester/model", "v1.0.0", endpoint=endpoint, token="hf_x")
    assert published == "tester/model@v1.0.0"
    folder = resolve.pull("tester/model", revision="v1.0.0", endpoint=endpoint)
    assert load(folder).sha256 == load(toy_checkpoint).sha256
    assert resolve.resolve("tester/model@v1.0.0") == folder  # without a network
    inode = folder.stat().st_ino  # the same again stays where others may be reading it
    assert resolve.pull("tester/model@v1.0.0", endpoint=endpoint).stat().st_ino == inode
    (folder / "README.md").write_text("older")
    resolve.pull("tester/model", "v1.0.0", endpoint=endpoint)
    assert (folder / "README.md").read_text() == (toy_checkpoint / "README.md").read_text()
    newest = resolve.pull("tester/model", endpoint=endpoint)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["tester--model@main", "tester--model@v1.0.0"]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert resolve.resolve("tester/model") == newest  # the newest that was pulled
    with pytest.raises(InputError, match="tester/model@v9: the Hub cannot be reached; what is in the cache stays"):
        resolve.resolve("tester/model@v9")
    card = front_matter(folder / "README.md")["model-index"][0]
    assert card["results"][0]["dataset"]["name"] == "toy 1.0.0"


def test_what_the_hub_gives_wrongly_ends_in_one_line_and_the_cache_stays(
    endpoint: str, toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path / "home"))
    resolve.publish(str(toy_checkpoint), "tester/fragile", "v1.0.0", endpoint=endpoint, token="hf_x")
    kept = resolve.pull("tester/fragile", endpoint=endpoint)
    before = sha256(kept)
    with pytest.raises(InputError, match=r"tester/fragile@v9: the model has no revision v9 on the Hub"):
        resolve.pull("tester/fragile@v9", endpoint=endpoint)
    with pytest.raises(InputError, match="tester/nothing: no such model on the Hub"):
        resolve.pull("tester/nothing", endpoint=endpoint)
    broken = tmp_path / "broken"
    shutil.copytree(toy_checkpoint, broken)
    weights = bytearray((broken / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (broken / "weights.safetensors").write_bytes(weights)
    api = HfApi(endpoint=endpoint, token="hf_x")
    api.upload_folder(repo_id="tester/fragile", folder_path=broken, commit_message="one bit")
    with pytest.raises(InputError, match=r"tester/fragile: .*weights\.safetensors has changed since it was saved"):
        resolve.pull("tester/fragile", endpoint=endpoint)
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr("ionecho.data.download.snapshot_download", lambda *_, **__: (_ for _ in ()).throw(full))
        with pytest.raises(InputError, match="No space left on device; what is in the cache stays"):
            resolve.pull("tester/fragile", endpoint=endpoint)
    assert sha256(kept) == before


def test_a_dataset_is_named_by_its_place_on_the_hub(
    endpoint: str, known_toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(known_toy, "tester/named", endpoint=endpoint, token="hf_x")
    shutil.rmtree(tmp_path / "home")
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    found = ionecho.dataset("tester/named@v1.0.0")
    assert len(found) == 40
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert find_input("tester/named@v1.0.0") == found.path  # without a network


def test_an_unknown_checkpoint_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(resolve, "pull", _offline)
    with pytest.raises(InputError, match="no checkpoint 'nothing'"):
        resolve.resolve("nothing")


def _offline(name: str) -> Path:
    raise InputError("offline")

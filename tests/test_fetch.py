"""Upstream files: mirror first, checksums, and never half a file."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec.implementations.local
import pytest

from ionecho.data.card import Source
from ionecho.data.fetch import fetch
from ionecho.data.lock import locked
from ionecho.errors import InputError

CONTENT = b"upstream outputs"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("IONECHO_MIRROR", raising=False)
    (tmp_path / "upstream").mkdir()
    (tmp_path / "upstream" / "a.tar").write_bytes(CONTENT)
    return tmp_path


def source(places: Path, **changes: object) -> Source:
    given = {"file": "a.tar", "sha256": SHA256, "url": f"file://{places}/upstream/a.tar", "licence": "mit"}
    return Source.model_validate(given | changes)


def test_a_mirror_folder_is_used_in_place(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONECHO_MIRROR", str(places / "upstream"))
    assert fetch(source(places, url="https://nowhere.invalid/a.tar")) == places / "upstream" / "a.tar"
    (places / "upstream" / "a.tar").write_bytes(CONTENT + b"!")
    with pytest.raises(InputError, match="remove the file and fetch anew"):
        fetch(source(places))


def test_a_mirror_address_comes_before_the_upstream_one(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONECHO_MIRROR", f"file://{places}/upstream/")
    assert fetch(source(places, url="https://nowhere.invalid/a.tar")).read_bytes() == CONTENT


def test_without_a_mirror_the_file_is_fetched_once(places: Path) -> None:
    first = fetch(source(places))
    assert first.read_bytes() == CONTENT
    (places / "upstream" / "a.tar").unlink()
    assert fetch(source(places)) == first


def test_what_another_process_fetches_is_waited_for(places: Path) -> None:
    path = fetch(source(places))
    path.unlink()
    with ThreadPoolExecutor(1) as pool:
        with locked(path):
            waiting = pool.submit(fetch, source(places))
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
            path.write_bytes(CONTENT)
        assert waiting.result() == path


def test_an_archive_packed_anew_is_taken_where_the_card_has_no_checksum_for_it(places: Path) -> None:
    assert fetch(source(places, sha256="0" * 64)).read_bytes() == CONTENT
    with pytest.raises(InputError, match="checksum"):
        fetch(source(places, url_sha256="0" * 64))


def test_a_broken_download_leaves_nothing(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(self: object, path: str, target: str, **_: object) -> None:
        Path(target).write_bytes(CONTENT[:4])
        raise ConnectionError("lost")

    monkeypatch.setattr(fsspec.implementations.local.LocalFileSystem, "get_file", breaks)
    with pytest.raises(InputError, match=r"lost.*Set IONECHO_MIRROR"):
        fetch(source(places))
    assert not [path for path in (places / "home").rglob("*") if path.is_file()]

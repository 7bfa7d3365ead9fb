"""Upstream files: found in the mirror, else downloaded; checked, and never half-written."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import fsspec
from fsspec.callbacks import TqdmCallback

from ionecho.data.card import Source
from ionecho.errors import InputError


def home() -> Path:
    """The cache folder: IONECHO_HOME, by default ~/.cache/ionecho."""
    return Path(os.environ.get("IONECHO_HOME", Path.home() / ".cache" / "ionecho")).expanduser()


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(source: Source) -> Path:
    """The upstream file on this machine: in IONECHO_MIRROR (a folder or fsspec URL), the cache, or from its address.

    A file whose checksum is not the card's is refused; a download is complete or absent.
    """
    mirror = os.environ.get("IONECHO_MIRROR")
    if mirror and "://" not in mirror and (local := Path(mirror).expanduser() / source.file).exists():
        return _checked(local, source)
    cached = home() / "downloads" / source.sha256[:16] / Path(source.file).name
    if cached.exists():
        return _checked(cached, source)
    addresses = [f"{mirror.rstrip('/')}/{source.file}"] if mirror and "://" in mirror else []
    failures = []
    for address in (*addresses, source.url):
        try:
            return _download(address, cached, source)
        except OSError as error:
            failures.append(f"{address} ({error or type(error).__name__})")
    raise InputError(
        f"cannot get {source.file}: tried {'; '.join(failures)}. "
        "Set IONECHO_MIRROR to a folder or URL that holds it, or check the network"
    )


def _download(address: str, target: Path, source: Source) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    filesystem, path = fsspec.url_to_fs(address)
    try:
        filesystem.get_file(path, str(partial), callback=TqdmCallback(tqdm_kwargs={"desc": target.name, "unit": "B"}))
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    _checked(partial, source)
    return partial.replace(target)


def _checked(path: Path, source: Source) -> Path:
    if (found := sha256(path)) != source.sha256:
        raise InputError(
            f"{path}: checksum {found[:16]}…, expected {source.sha256[:16]}…; remove the file and fetch anew"
        )
    return path

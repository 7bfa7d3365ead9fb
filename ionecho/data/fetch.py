"""Upstream files: found in the mirror, else downloaded; checked, and never half-written."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
from fsspec.callbacks import TqdmCallback

from ionecho.data.archives import unpack_tar
from ionecho.data.card import Source
from ionecho.data.lock import locked
from ionecho.errors import InputError


def home() -> Path:
    """The cache folder: IONECHO_HOME, by default ~/.cache/ionecho."""
    return Path(os.environ.get("IONECHO_HOME", Path.home() / ".cache" / "ionecho")).expanduser()


def sha256(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the lines `sha256sum` prints for its files in order of name."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listing = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(source: Source) -> Path:
    """The upstream file on this machine: in IONECHO_MIRROR (a folder or fsspec URL), the cache, or from its address.

    A file whose checksum is not the card's is refused; a download is complete or absent.
    """
    mirror = os.environ.get("IONECHO_MIRROR")
    if mirror and "://" not in mirror and (local := Path(mirror).expanduser() / source.file).exists():
        return _checked(local, source.sha256)
    offers: list[tuple[str, str | None]] = [(source.url, source.url_sha256)]
    if mirror and "://" in mirror:
        offers.insert(0, (f"{mirror.rstrip('/')}/{source.file}", source.sha256))
    failures = []
    for address, checksum in offers:
        try:
            return _download(address, checksum)
        except OSError as error:
            failures.append(f"{address} ({error})")
    raise InputError(
        f"cannot get {source.file}: tried {'; '.join(failures)}. "
        "Set IONECHO_MIRROR to a folder or URL that holds it, or check the network"
    )


def unpack(archive: Path, report: Callable[[str], None]) -> Path:
    """Unpack an archive into the cache, completely or not at all."""
    origin = hashlib.sha256(str(archive.resolve()).encode()).hexdigest()[:8]
    folder = home() / "unpacked" / f"{archive.name.split('.')[0]}-{origin}"
    with locked(folder, wait=True):
        if folder.exists():
            return folder
        report(f"unpacking {archive}")
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        unpack_tar(archive, partial)
        return partial.replace(folder)


def _download(address: str, checksum: str | None) -> Path:
    place = home() / "downloads" / hashlib.sha256(address.encode()).hexdigest()[:16]
    target = place / address.rpartition("/")[2]
    if target.exists():  # in a cache that may be read alone
        return _checked(target, checksum)
    with locked(target, wait=True):
        if target.exists():
            return _checked(target, checksum)
        partial = target.with_name(target.name + ".partial")
        try:
            filesystem, path = fsspec.url_to_fs(address)
            progress = TqdmCallback(tqdm_kwargs={"desc": target.name, "unit": "B"})
            filesystem.get_file(path, str(partial), callback=progress)
        except Exception as error:
            partial.unlink(missing_ok=True)
            raise OSError(f"{type(error).__name__}: {error}") from error
        return _checked(partial, checksum).replace(target)


def _checked(path: Path, checksum: str | None) -> Path:
    if checksum is not None and (found := sha256(path)) != checksum:
        raise InputError(f"{path}: checksum {found[:16]}…, expected {checksum[:16]}…; remove the file and fetch anew")
    return path

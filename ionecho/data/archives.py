"""Archives, those we write and those from elsewhere: none leads out of its folder nor grows without bounds."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

import zarr

from ionecho.errors import InputError

WHOLE = "parts_of_zeros_are_kept"  # attribute of an array none of whose parts may be missing on disk
METADATA = 1 << 24  # bytes
MOST_FILES = 1_000_000
MOST_GROWTH = 1_000  # times the size of the archive
ALWAYS_ALLOWED = 1 << 30  # bytes, however small the archive


def refuse_odd_zip(path: Path) -> None:
    """Hold what a zip says of its entries against what a dataset's can be.

    Raises
    ------
    InputError
        For entries outside of it, links, two of one name, compression that zarr does not read, or too large contents.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            for entry in entries:
                if entry.filename.endswith("zarr.json") and entry.file_size < METADATA:
                    archive.read(entry)  # against its checksum; of the rest the head alone
                elif not entry.is_dir():
                    archive.open(entry).close()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{path}: not a whole zip file ({error}); fetch or build it anew") from error
    often = Counter(entry.filename for entry in entries)
    for entry in entries:
        if stat.S_ISLNK(entry.external_attr >> 16) or odd_name(entry.filename):
            raise InputError(f"{path}: entry {entry.filename!r} lies outside of it, or is a link")
        if often[entry.filename] > 1:
            raise InputError(f"{path}: {often[entry.filename]} entries are named {entry.filename!r}")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
            raise InputError(f"{path}: entry {entry.filename!r} is compressed or encrypted in a way that is not read")
    _bounded(path, len(entries), sum(entry.file_size for entry in entries))


def unpack_tar(archive: Path, folder: Path) -> None:
    """Unpack a tar archive of files and folders.

    Raises
    ------
    InputError
        If it is none, is damaged, or holds links, devices, names outside of the folder, or too much.
    """
    try:
        with tarfile.open(archive) as tar:
            size = files = 0
            for member in tar:
                if not (member.isfile() or member.isdir()) or odd_name(member.name):
                    raise InputError(f"{archive}: {member.name!r} is a link or a device, or lies outside of it")
                files, size = files + 1, size + member.size
                _bounded(archive, files, size)
                tar.extract(member, folder, filter="data")
    except InputError:
        raise
    except tarfile.ReadError as error:
        raise InputError(f"{archive}: no archive; fetch the card's files by hand into IONECHO_MIRROR") from error
    except Exception as error:  # of tarfile and of each compression
        told = f"{type(error).__name__}: {error}"
        raise InputError(f"{archive}: damaged ({told}); remove it and fetch it anew") from error


def pack(folder: Path, target: Path) -> None:
    """Pack a dataset folder into one `.zarr.zip` file, bit for bit the same for the same content, then rename it."""
    partial = target.with_name(target.name + ".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".partial"):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
            with file.open("rb") as source, archive.open(entry, "w") as sink:
                shutil.copyfileobj(source, sink)
    partial.replace(target)


def odd_name(name: str) -> bool:
    """Whether a name in an archive leads out of it."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in name.partition("/")[0]


def _bounded(path: Path, files: int, size: int) -> None:
    packed = path.stat().st_size
    if files > MOST_FILES or size > max(MOST_GROWTH * packed, ALWAYS_ALLOWED):
        raise InputError(f"{path}: {packed} bytes that unpack to {size} in {files} files or more; not unpacked")


def keeping_zeros() -> AbstractContextManager[object]:
    """Write parts of zeros too, as arrays with the attribute `WHOLE` have them: one that is lost is noticed."""
    return zarr.config.set({"array.write_empty_chunks": True})


def kept_whole(group: Any) -> set[str]:
    """Arrays none of whose parts may be missing on disk."""
    return {name for name, array in group.arrays() if WHOLE in array.attrs}


def refuse_lost(group: Any, names: Iterable[str], path: Path) -> None:
    """Raise InputError for arrays of which parts are not on disk: zarr reads them as zeros."""
    for name in names:
        if lost := group[name].nchunks - group[name].nchunks_initialized:
            raise InputError(f"{path}: {lost} parts of {name} are missing on disk; make it anew")


def refuse_swollen(group: Any, path: Path) -> None:
    """Raise InputError for arrays that say they are far larger than what is on disk: nothing is set aside for them."""
    size = path.stat().st_size if path.is_file() else sum(each.stat().st_size for each in path.rglob("*"))
    for name, array in group.arrays():
        if array.nbytes > max(MOST_GROWTH * size, ALWAYS_ALLOWED):
            raise InputError(f"{path}: {name} should take {array.nbytes} bytes, of a file of {size}; make it anew")

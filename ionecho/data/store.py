"""Datasets on disk: ragged zarr v3 arrays with offsets, written in blocks, read whole or a block at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore, ZipStore

from ionecho.data.archives import WHOLE, keeping_zeros, kept_whole, refuse_lost, refuse_odd_zip, refuse_swollen
from ionecho.data.files import damage_told, sweep
from ionecho.data.schema import ARRAYS, LABELS, SCHEMA_VERSION, Configuration, Quality
from ionecho.errors import InputError

ATOM_CHUNK = 65_536
CONFIGURATION_CHUNK = 1_024
GRID_CHUNK = 262_144  # 1 MiB of float32
CHUNKS = {"atom": ATOM_CHUNK, "configuration": CONFIGURATION_CHUNK, "grid": GRID_CHUNK}
GRID_CODEC = BloscCodec(cname="zstd", clevel=9, shuffle="shuffle", typesize=4)  # bytes of like weight side by side
LAYOUT = ("atom_offsets", "grid_offsets", "grid_shape")  # where a configuration's atoms and grid points lie


def open_zarr(store: Any, mode: Literal["r", "a"]) -> Any:
    """A zarr v3 group; untyped, as zarr's types do not tell arrays from groups.

    Set attributes that belong together by `update_attributes`, one write for all: `attrs.update` makes one for each.
    """
    return zarr.open_group(store=store, mode=mode, zarr_format=3)


class DatasetWriter:
    """Appends configurations to a dataset folder; a block is in the dataset once `append` has returned.

    A writer opened on a folder left by a killed run drops what was not committed and goes on from there.
    """

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        if unknown := set(labels) - set(LABELS):
            raise InputError(f"{path}: unknown labels {sorted(unknown)}; the schema knows {', '.join(LABELS)}")
        self.names = [name for name, array in ARRAYS.items() if not array.is_label or name in labels]
        self.has_grids = any(ARRAYS[name].per == "grid" for name in self.names)
        sweep(path)
        self.group = open_zarr(LocalStore(path), "a")
        if not self.group.attrs.get("committed"):
            self._create()
        elif (stored := set(self.group.array_keys()) - set(LAYOUT)) != set(self.names):
            raise InputError(f"{path} holds {sorted(stored)}, not {sorted(self.names)}; remove it to begin anew")
        self._truncate()

    def _create(self) -> None:
        for name in self.names:
            array = ARRAYS[name]
            self.group.create_array(
                name,
                shape=(0, *array.shape),
                chunks=(CHUNKS[array.per], *array.shape),
                dtype=str if array.dtype == "str" else array.dtype,
                compressors=(GRID_CODEC if array.per == "grid" else ZstdCodec(), Crc32cCodec()),
                attributes={"unit": array.unit, "description": array.description, WHOLE: True},
                overwrite=True,
            )
        grids: dict[str, tuple[int, ...]] = {"grid_offsets": (1,), "grid_shape": (0, 3)} if self.has_grids else {}
        layout = {"atom_offsets": (1,), **grids}
        for name, shape in layout.items():
            chunks = (CONFIGURATION_CHUNK, *shape[1:])
            self.group.create_array(name, shape=shape, chunks=chunks, dtype="int64", overwrite=True)
        self.group.update_attributes({"schema_version": SCHEMA_VERSION, "committed": [0, 0]})

    def _truncate(self) -> None:
        configurations, atoms = self.committed
        rows = {"configuration": configurations, "atom": atoms}
        self.group["atom_offsets"].resize((configurations + 1,))
        if self.has_grids:
            self.group["grid_offsets"].resize((configurations + 1,))
            self.group["grid_shape"].resize((configurations, 3))
            rows["grid"] = int(self.group["grid_offsets"][-1])
        for name in self.names:
            array = self.group[name]
            array.resize((rows[ARRAYS[name].per], *array.shape[1:]))

    @property
    def committed(self) -> tuple[int, int]:
        """Configurations and atoms safely in the dataset."""
        configurations, atoms = self.group.attrs["committed"]
        return int(configurations), int(atoms)

    def sources(self) -> set[str]:
        """The source of every committed configuration."""
        return set(self.group["source"][:].tolist())

    def arrays_of(self, configuration: Configuration) -> dict[str, NDArray]:
        """The arrays of the dataset for one configuration; wrong shapes are refused before anything is written."""
        return {name: configuration.array(name) for name in self.names}

    def append(self, block: Sequence[Configuration]) -> None:
        """Append a block and commit it."""
        if not block:
            return
        configurations, atoms = self.committed
        columns = [self.arrays_of(configuration) for configuration in block]
        for name in self.names:
            rows = [arrays[name] for arrays in columns]
            if ARRAYS[name].per == "grid":
                for row in rows:
                    self._extend(name, row.ravel())
                continue
            stacked = np.concatenate(rows) if ARRAYS[name].per == "atom" else np.stack(rows)
            self._extend(name, stacked)
        if self.has_grids:
            shapes = np.array([configuration.grid_shape for configuration in block])
            self.group["grid_offsets"].append(self.group["grid_offsets"][-1] + np.cumsum(shapes.prod(1)))
            self.group["grid_shape"].append(shapes)
        offsets = atoms + np.cumsum([len(configuration) for configuration in block])
        self.group["atom_offsets"].append(offsets)
        self.group.attrs["committed"] = [configurations + len(block), int(offsets[-1])]

    def _extend(self, name: str, values: NDArray) -> None:
        with keeping_zeros():
            self.group[name].append(values.astype(ARRAYS[name].stored_dtype))

    def append_fields(
        self, configuration: Configuration, names: Sequence[str], shape: tuple[int, int, int], slabs: Iterable[NDArray]
    ) -> None:
        """Append one configuration whose grids `names` come in slabs (grids, n, n2, n3) of planes, and commit it.

        No more than a slab is in memory.
        """
        configurations, atoms = self.committed
        arrays = {name: configuration.array(name) for name in self.names if ARRAYS[name].per != "grid"}
        for name, values in arrays.items():
            self._extend(name, values if ARRAYS[name].per == "atom" else values[None])
        for slab in slabs:
            for name, values in zip(names, slab, strict=True):
                self._extend(name, values.ravel())
        self.group["grid_offsets"].append(self.group["grid_offsets"][-1:] + int(np.prod(shape)))
        self.group["grid_shape"].append(np.array([shape]))
        self.group["atom_offsets"].append(np.array([atoms + len(configuration)]))
        self.group.attrs["committed"] = [configurations + 1, atoms + len(configuration)]


class Dataset:
    """A dataset opened for reading. Structure columns are in memory; atoms, labels and grids are read on demand."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise InputError(f"no dataset at {self.path}; build it with `ionecho data build NAME`")
        zipped = self.path.suffix == ".zip"
        if zipped:
            refuse_odd_zip(self.path)
        with damage_told(self.path):
            self.zarr = open_zarr(
                ZipStore(self.path, mode="r") if zipped else LocalStore(self.path, read_only=True), "r"
            )
            self.attrs: dict[str, Any] = dict(self.zarr.attrs)
            if (version := self.attrs.get("schema_version")) != SCHEMA_VERSION:
                told = f"schema version {version}, expected {SCHEMA_VERSION}"
                raise InputError(f"{self.path} is not an IonEcho dataset of today ({told}); rebuild the dataset")
            refuse_swollen(self.zarr, self.path)
            self.offsets: NDArray[np.int64] = self.zarr["atom_offsets"][:]
            stored = set(self.zarr.array_keys())
            self.grid_offsets: NDArray[np.int64] = np.zeros_like(self.offsets)
            self.grid_shape: NDArray[np.int64] = np.zeros((len(self), 3), np.int64)
            if {"grid_offsets", "grid_shape"} <= stored:
                self.grid_offsets, self.grid_shape = self.zarr["grid_offsets"][:], self.zarr["grid_shape"][:]
            self.names = [name for name in ARRAYS if name in stored]
            self.labels = [name for name in self.names if ARRAYS[name].is_label]
            self.group: NDArray = self.zarr["group"][:].astype(object)
            self.frame: NDArray[np.int64] = self.zarr["frame"][:]
            self.quality: NDArray[np.int64] = self.zarr["quality"][:]
            self._check_lengths()
            some = {"positions": (np.diff(self.offsets) > 1).any(), "cell": self.zarr["pbc"][:].any()}
            never_zero = {"numbers", "source", *(name for name, found in some.items() if found)}
            refuse_lost(self.zarr, never_zero | kept_whole(self.zarr), self.path)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Configuration:
        """One configuration with all of its labels."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path}: configuration {index} of {len(self)}")
        place = index % len(self)
        return next(self.configurations(place, place + 1, self.labels))

    def _check_lengths(self) -> None:
        """Refuse offsets that point behind the arrays, as of files that were cut or mixed."""
        for offsets in (self.offsets, self.grid_offsets):
            if len(offsets) != len(self.offsets) or offsets[0] != 0 or (np.diff(offsets) < 0).any():
                raise InputError(f"{self.path}: offsets that do not begin at 0 and grow; make it anew")
        last = {"configuration": len(self), "atom": int(self.offsets[-1]), "grid": int(self.grid_offsets[-1])}
        for name in self.names:
            if self.zarr[name].shape[0] < last[ARRAYS[name].per]:
                expected = f"{last[ARRAYS[name].per]} rows or more"
                found = self.zarr[name].shape
                raise InputError(f"{self.path}: {name}: shape {found}, expected {expected}; make it anew")

    @property
    def good(self) -> NDArray[np.int64]:
        """Configurations that passed the quality gate."""
        return np.flatnonzero(self.quality == 0)

    def rows(self, name: str, start: int, stop: int) -> NDArray:
        """Array `name` for the configurations start..stop, atoms or grid points concatenated."""
        if (offsets := self.offsets_of(name)) is not None:
            start, stop = int(offsets[start]), int(offsets[stop])
        with damage_told(self.path):
            return self.zarr[name][start:stop]

    def offsets_of(self, name: str) -> NDArray[np.int64] | None:
        """Where the rows of each configuration begin in array `name`, (C + 1,); None where there is one each."""
        return {"atom": self.offsets, "grid": self.grid_offsets}.get(ARRAYS[name].per)

    def grid(self, name: str, index: int) -> NDArray[np.float32]:
        """The grid `name` of configuration `index`, (n1, n2, n3); point [i, j, k] lies at (i/n1, j/n2, k/n3).

        Raises
        ------
        InputError
            If the dataset has no such grid, or this configuration has none.
        """
        shape = tuple(self.grid_shape[index].tolist())
        if name not in self.names or ARRAYS[name].per != "grid" or 0 in shape:
            grids = ", ".join(label for label in self.labels if ARRAYS[label].per == "grid")
            raise InputError(f"{self.path}: configuration {index} has no grid {name!r}; dataset: {grids or 'no grids'}")
        return self.rows(name, index, index + 1).reshape(shape)

    def configurations(self, start: int, stop: int, labels: Sequence[str] = ()) -> Iterator[Configuration]:
        """The configurations start..stop with these labels; a grid that one of them has not is left out."""
        names = [name for name in self.names if name in labels or not ARRAYS[name].is_label]
        rows = {name: self.rows(name, start, stop) for name in names}
        for index in range(start, stop):
            row = {name: self._row(name, values, index, start) for name, values in rows.items()}
            yield Configuration(
                row["numbers"],
                row["positions"],
                row["cell"],
                row["pbc"],
                str(row["group"]),
                int(row["frame"]),
                str(row["source"]),
                Quality(int(row["quality"])),
                {name: row[name] for name in labels if name in row and np.size(row[name])},
            )

    def _row(self, name: str, values: NDArray, index: int, start: int) -> Any:
        """Of array `name`, read for the configurations from `start` on, the part of configuration `index`."""
        per = ARRAYS[name].per
        if per == "configuration":
            return values[index - start]
        offsets = self.offsets if per == "atom" else self.grid_offsets
        part = values[offsets[index] - offsets[start] : offsets[index + 1] - offsets[start]]
        return part if per == "atom" else part.reshape(self.grid_shape[index])

    def blocks(self, names: Iterable[str], size: int = 512) -> Iterator[tuple[int, int, dict[str, NDArray]]]:
        """Sequential blocks (start, stop, arrays) of `size` configurations."""
        names = list(names)
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield start, stop, {name: self.rows(name, start, stop) for name in names}

    def nbytes(self, names: Iterable[str]) -> int:
        """Bytes that the arrays `names` take in memory."""
        return sum(int(self.zarr[name].nbytes) for name in names if name in self.names)


def content_sha256(group: Any) -> str:
    """SHA-256 over the arrays in schema order, then the offsets, independent of chunking and compression.

    Every array contributes its name, its shape and its values: numbers in little-endian C order with one bit
    pattern for NaN, strings as length-prefixed UTF-8.
    """
    digest = hashlib.sha256()
    present = set(group.array_keys())
    for name in (*ARRAYS, *LAYOUT):
        if name not in present:
            continue
        array = group[name]
        digest.update(json.dumps([name, list(array.shape)]).encode())
        rows = max(ATOM_CHUNK, array.chunks[0])
        for start in range(0, array.shape[0], rows):
            digest.update(_canonical_bytes(array[start : start + rows]))
    return digest.hexdigest()


def _canonical_bytes(values: NDArray) -> bytes:
    if values.dtype.kind in "TUO":
        encoded = [str(value).encode() for value in values]
        return b"".join(len(text).to_bytes(8, "little") + text for text in encoded)
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.nan, values) + 0.0
    return values.tobytes()

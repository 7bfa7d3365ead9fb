"""The label queue: configurations in, labels appended one by one to a folder that any kill leaves sound."""

from __future__ import annotations

import json
import shutil
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from ionecho.data.files import changed, write_json
from ionecho.data.lock import take
from ionecho.data.schema import Configuration
from ionecho.data.store import Dataset, DatasetWriter
from ionecho.errors import InputError
from ionecho.labelling.engine import Labels
from ionecho.structures.read import structure_sha256


class LabelQueue:
    """The labels of one dataset in the making, in `folder`.

    `labels.zarr` holds what is labelled (Format 1), `provenance.jsonl` a line for each of its configurations,
    `failures.json` the engine's reason for each that failed, `request.json` the engine's settings. A configuration is
    known by its atoms: one that comes again, from another file or on another day, is not labelled again. The folder is
    held as long as the queue is open: use it in a `with` block.

    Parameters
    ----------
    folder
        Made if it does not exist.
    labels
        Labels that the engine gives.
    request
        Engine and settings; a folder with labels by others is refused.
    datasets
        Element -> checksum of its PAW dataset; a folder with labels by another one is refused.

    Raises
    ------
    InputError
        If another process works on the folder, or it holds labels by other settings.
    """

    def __init__(
        self, folder: Path, labels: Sequence[str], request: dict[str, Any], datasets: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = take(folder / "lock", f"{folder} is being labelled by another process; give that one more workers")
        self.datasets = dict(datasets or {})
        try:
            self._check(request)
        except InputError:
            self._lock.release()
            raise
        self.writer = DatasetWriter(self.zarr, labels)
        self._end_line()
        labelled = Dataset(self.zarr)
        self.done = dict(zip(map(key_of_row, _structures(labelled)), _names(labelled), strict=True))
        self.failures = _failures(folder, self.done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def zarr(self) -> Path:
        """The labelled configurations so far."""
        return self.folder / "labels.zarr"

    @property
    def count(self) -> int:
        """Configurations labelled so far."""
        return self.writer.committed[0]

    def pending(self, configurations: Iterable[Configuration], retry: bool) -> list[Configuration]:
        """Those to be labelled, each once; failed ones only on `retry`.

        Raises
        ------
        InputError
            If two configurations with different atoms share group and frame, by which a dataset tells them apart.
        """
        waiting: dict[str, Configuration] = {}
        for configuration in configurations:
            waiting.setdefault(key(configuration), configuration)
        named = {name: atoms for atoms, name in self.done.items()}
        for atoms, configuration in waiting.items():
            name = (configuration.group, configuration.frame)
            if atoms not in self.done and (other := named.setdefault(name, atoms)) != atoms:
                where = f"labelled in {self.folder} already" if other in self.done else "in the input twice"
                raise InputError(
                    f"input: another configuration than {configuration.source} is frame {name[1]} of {name[0]} and "
                    f"{where}; rename the file, or choose another name for the dataset"
                )
        known = self.done if retry else {*self.done, *self.failures}
        return [configuration for atoms, configuration in waiting.items() if atoms not in known]

    def add(self, configuration: Configuration, labels: Labels) -> None:
        """Put a labelled configuration on disk."""
        name = key(configuration)
        configuration.labels, configuration.quality = labels.values, labels.quality
        with (self.folder / "provenance.jsonl").open("a") as file:
            file.write(json.dumps({"key": name, **labels.provenance}) + "\n")
        self.writer.append([configuration])
        self.done[name] = (configuration.group, configuration.frame)
        if self.failures.pop(name, None) is not None:
            write_json(self.folder / "failures.json", self.failures)

    def fail(self, configuration: Configuration, reason: str) -> None:
        """Record why a configuration has no labels."""
        self.failures[key(configuration)] = {"source": configuration.source, "reason": reason}
        write_json(self.folder / "failures.json", self.failures)

    def provenance(self) -> list[dict[str, Any]]:
        """What the engine said of every labelled configuration, in the order of `labels.zarr`."""
        found = {line.pop("key"): line for line in self._told()}
        return [found[key_of_row(row)] for row in _structures(Dataset(self.zarr))]

    def _check(self, request: dict[str, Any]) -> None:
        request = json.loads(json.dumps(request))
        begun = _read(self.folder / "request.json", request)
        others = changed(begun, request)
        if others and not self._told():  # nothing was labelled
            shutil.rmtree(self.zarr, ignore_errors=True)
            (self.folder / "failures.json").unlink(missing_ok=True)
        elif others:
            name = others[0]
            raise InputError(
                f"{self.folder} was begun with {name} {begun.get(name)}, now it is {request.get(name)}: "
                "labels of two kinds do not mix. Choose another name, or remove the folder"
            )
        for told in self._told():
            if other := self.other_datasets(told):
                raise InputError(
                    f"{self.folder} holds labels by another PAW dataset of {', '.join(other)} than GPAW finds now; "
                    "restore it (GPAW_SETUP_PATH), choose another name, or remove the folder"
                )
        write_json(self.folder / "request.json", request)

    def other_datasets(self, provenance: Mapping[str, Any]) -> list[str]:
        """Elements that were labelled with another PAW dataset than those of this queue."""
        used = provenance.get("paw", {})
        return sorted(name for name in used if self.datasets.get(name, used[name]["sha256"]) != used[name]["sha256"])

    def _told(self) -> list[dict[str, Any]]:
        """The lines of provenance."""
        path = self.folder / "provenance.jsonl"
        return [line for line in map(_parsed, path.read_text().splitlines()) if line] if path.exists() else []

    def _end_line(self) -> None:
        """A killed run may have left half a line of provenance: the next one begins on a line of its own."""
        path = self.folder / "provenance.jsonl"
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            with path.open("a") as file:
                file.write("\n")


def key(configuration: Configuration) -> str:
    """Name of a configuration by its atoms: elements, positions, cell, and along which vectors it is not periodic."""
    return key_of_row((configuration.numbers, configuration.positions, configuration.cell, configuration.pbc))


def key_of_row(row: tuple[NDArray, NDArray, NDArray, NDArray]) -> str:
    """The same, from the arrays of the schema."""
    *structure, periodic = row
    free = "".join(axis for axis, repeats in zip("abc", periodic, strict=True) if not repeats)
    return structure_sha256(*structure)[:20] + (f"-{free}" if free else "")


def look(folder: Path) -> tuple[set[str], dict[str, dict[str, Any]]]:
    """Keys of what is labelled, and the failures, of a queue that may be at work."""
    if not (folder / "request.json").exists():
        return set(), {}
    try:
        dataset = Dataset(folder / "labels.zarr")
    except InputError:
        return set(), _failures(folder, ())  # just begun
    dataset.offsets = dataset.offsets[: dataset.attrs["committed"][0] + 1]
    labelled = set(map(key_of_row, _structures(dataset)))
    return labelled, _failures(folder, labelled)


def _failures(folder: Path, labelled: Container[str]) -> dict[str, dict[str, Any]]:
    """Key -> source and reason; one that was labelled since, by a run that was killed before it said so, is none."""
    found = _read(folder / "failures.json", {})
    return {name: failure for name, failure in found.items() if name not in labelled}


def _read(path: Path, default: Any) -> Any:
    return json.loads(path.read_text()) if path.exists() else default


def _names(dataset: Dataset) -> Iterable[tuple[str, int]]:
    return zip(map(str, dataset.group), dataset.frame.tolist(), strict=True)


def _structures(dataset: Dataset) -> Iterable[tuple[NDArray, NDArray, NDArray, NDArray]]:
    numbers, positions, cell, pbc = (
        dataset.rows(name, 0, len(dataset)) for name in ("numbers", "positions", "cell", "pbc")
    )
    for index, (start, stop) in enumerate(zip(dataset.offsets[:-1], dataset.offsets[1:], strict=True)):
        yield numbers[start:stop], positions[start:stop], cell[index], pbc[index]


def _parsed(line: str) -> dict[str, Any]:
    """A line of provenance; a killed run may have left half of one."""
    try:
        return dict(json.loads(line))
    except json.JSONDecodeError:
        return {}

"""Finished outputs in a folder as an engine: a code run elsewhere labels through the importers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.geometry import find_mic
from numpy.typing import NDArray

from ionecho.data.fetch import sha256
from ionecho.data.importers import importer as find_importer
from ionecho.data.schema import ARRAYS, LABELS, Configuration
from ionecho.errors import InputError
from ionecho.labelling.engine import EngineError, Labels

GRIDS = {name for name in LABELS if ARRAYS[name].per == "grid"}  # too large to be kept of all outputs


class FilesEngine:
    """Labels read from finished outputs, which are matched to the configurations by their atoms.

    An output holds a configuration if it has the same elements in the same order, the same cell, and every atom, or a
    periodic image of it, at the same place. All outputs are read once, when the first configuration is asked for.

    Parameters
    ----------
    folder
        Where the outputs are.
    pattern
        Glob of the outputs below `folder`.
    importer, options
        Importer that reads them and what it is told (`ionecho data import` takes the same).
    labels
        Labels to take; an output that lacks one is a failure.
    tolerance
        Farthest an atom, or a component of a lattice vector, may lie from the configuration's, Å.
    settings
        Code, version and method of the outputs: nothing else tells the level of theory.

    Raises
    ------
    InputError
        If the folder or the importer does not exist, or `settings` is empty.
    """

    def __init__(
        self,
        folder: str,
        pattern: str,
        importer: str,
        options: Mapping[str, Any],
        labels: Sequence[str],
        tolerance: float,
        settings: Mapping[str, Any],
    ) -> None:
        self.folder, self.pattern, self.tolerance = Path(folder).expanduser().resolve(), pattern, tolerance
        if not self.folder.is_dir():
            raise InputError(f"engine.folder: no folder {self.folder}")
        if unknown := set(labels) - set(LABELS):
            raise InputError(f"engine.labels: unknown {sorted(unknown)}; the schema knows {', '.join(LABELS)}")
        if not settings:
            raise InputError("engine.settings: say what made the outputs, such as {code: VASP 6.4.2, functional: PBE}")
        self.read = find_importer(importer, options)
        self.importer, self.options = importer, dict(options)
        self.labels, self.settings = tuple(labels), dict(settings)

    @property
    def conventions(self) -> dict[str, Any]:
        """The isotopes of the hyperfine couplings, where the importer was told them."""
        return {"isotopes": self.options["isotopes"]} if "isotopes" in self.options else {}

    def level_of_theory(self) -> dict[str, Any]:
        """What the config says of the outputs, and how they were read."""
        read = {"importer": self.importer, "options": self.options}
        return {"engine": f"finished outputs ({self.importer})", **read, **self.settings}

    def check(self, symbols: set[str]) -> dict[str, str]:
        """Outputs hold what they hold."""
        return {}

    def label(self, atoms: ase.Atoms) -> Labels:
        """The labels of the output that holds these atoms; the nearest where steps of one file lie close together."""
        matches = self._matches(atoms)
        if not matches:
            unread = self._outputs[1]
            told = f"; {len(unread)} of its files cannot be read, the first: {unread[0]}" if unread else ""
            raise EngineError(f"no finished output in {self.folder} holds these atoms{told}")
        _, path, found = min(matches, key=lambda match: match[0])
        if others := sorted({str(other) for _, other, _ in matches} - {str(path)}):
            raise EngineError(f"{path} and {', '.join(others)} hold the same atoms; leave one of them in {self.folder}")
        if GRIDS & set(self.labels):
            found = next(again for again in self.read(path, **self.options) if again.frame == found.frame)
        if missing := set(self.labels) - set(found.labels):
            raise EngineError(f"{path}: no {', '.join(sorted(missing))} in it")
        values = {name: np.asarray(found.labels[name], dtype=float) for name in self.labels}
        provenance = {"file": path.relative_to(self.folder).as_posix(), "step": found.frame, "sha256": sha256(path)}
        return Labels(values, found.quality, provenance)

    def _matches(self, atoms: ase.Atoms) -> list[tuple[float, Path, Configuration]]:
        """Outputs with these atoms, and how far the farthest atom is off, Å."""
        outputs = self._outputs[0].get(_elements(atoms.numbers), [])
        cell = np.array(atoms.cell)
        matches = []
        for path, found in outputs:
            if np.abs(found.cell - cell).max() > self.tolerance:
                continue
            distance = float(find_mic(found.positions - atoms.positions, cell, atoms.pbc)[1].max())
            if distance <= self.tolerance:
                matches.append((distance, path, found))
        return matches

    @cached_property
    def _outputs(self) -> tuple[dict[bytes, list[tuple[Path, Configuration]]], list[str]]:
        """Configurations of all outputs, without grids, by their elements; what was wrong with those not to be read."""
        files = sorted(path for path in self.folder.glob(self.pattern) if path.is_file())
        if not files:
            raise InputError(f"engine.pattern: no file below {self.folder} matches {self.pattern!r}")
        outputs: dict[bytes, list[tuple[Path, Configuration]]] = {}
        unread = []
        for path in files:
            try:
                for found in self.read(path, **self.options):
                    kept = {name: value for name, value in found.labels.items() if name not in GRIDS}
                    outputs.setdefault(_elements(found.numbers), []).append((path, replace(found, labels=kept)))
            except Exception as error:  # of any code's outputs: what cannot be read is told, not fatal
                unread.append(str(error))
        return outputs, unread


def _elements(numbers: NDArray[np.integer]) -> bytes:
    return np.asarray(numbers, dtype="<i8").tobytes()

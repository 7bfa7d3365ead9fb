"""Active learning: simulate, pick uncertain frames, label them, train on more, until the simulations hold no surprise.

Every step leaves one output that appears whole, so that a killed exploration goes on with the same line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from ase.data import chemical_symbols

from ionecho.checkpoints.run import start_of
from ionecho.data.files import changed, write_json
from ionecho.data.lock import locked
from ionecho.data.open import open_dataset
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.exploration.rounds import Report, Round
from ionecho.exploration.runs import displaced_cells
from ionecho.exploration.settings import ExplorationSettings
from ionecho.exploration.versions import card_of, finished, labelled
from ionecho.labelling.engine import Engine, make_engine
from ionecho.labelling.publish import differences, publish
from ionecho.training.elements import elements_of, of_elements

MAY_CHANGE = ("rounds", "retry", "workers", "logger", "output")  # from one line to the next in a folder
ROUND = re.compile(r"explore_r(\d+)_")


def explore(config: ExplorationSettings, folder: Path) -> Iterator[Report]:
    """Explore in `folder` as `config` says (`conf/explore.yaml`); what is finished there is not done again.

    Yields
    ------
    The report of each round. Where the rounds are over before the exploration has converged, a last one tells of the
    model trained on everything; it has no `frames`.

    Raises
    ------
    InputError
        If the settings do not fit each other or an earlier exploration in the folder, the dataset's labels are of
        another level of theory than the engine's, another process explores there, or a round that has not converged
        finds nothing to label.
    """
    engine = make_engine(config.engine)
    with locked(folder):
        _check(config, engine, folder)
        dataset = _start(config, engine, folder)
        first = 1 + max((int(found[1]) for group in set(dataset.group) if (found := ROUND.match(group))), default=0)
        for number in range(first, first + config.rounds):
            current = Round(config, engine, folder, number, dataset)
            report = current.report()
            yield report
            if report["converged"]:
                return
            dataset = current.version()
        yield Round(config, engine, folder, first + config.rounds, dataset).training()


def _check(config: ExplorationSettings, engine: Engine, folder: Path) -> None:
    """Refuse settings that cannot work, and those of another exploration than the folder's."""
    if missing := {"energy", "forces"} - set(engine.labels):
        raise InputError(f"engine.labels: a potential learns from energy and forces, missing {', '.join(missing)}")
    if config.structures is None and config.dataset.name is None:
        raise InputError("explore: say what to begin with, dataset=NAME, or structures=FILE without a dataset")
    start_of(of_elements(config.training("unnamed"), _elements(config)))  # refused before anything is labelled
    asked = {key: value for key, value in config.request.items() if key not in MAY_CHANGE}
    request = json.loads(json.dumps(asked))
    stored = folder / "request.json"
    if not stored.exists():
        write_json(stored, request)
    elif told := ", ".join(changed(json.loads(stored.read_text()), request)):
        raise InputError(f"{folder} holds an exploration with another {told}; choose another output")


def _elements(config: ExplorationSettings) -> list[int]:
    """What the first model learns of; refuses, before anything is labelled, structures with other elements.

    Without a dataset these are the elements in the structures alone.
    """
    alone = config.dataset.name is None
    held = {int(z) for cell in displaced_cells(config) for z in cell.numbers} if config.structures else set()
    if alone and not held:
        raise InputError("rattle.copies: without a dataset expected 1 or more, to begin with")
    asked = config.model.get("numbers")
    learned = asked or (held if config.dataset.name is None else elements_of(open_dataset(config.dataset.name)))
    if held - set(learned) or (alone and held != set(learned)):
        found, known = (", ".join(chemical_symbols[z] for z in sorted(numbers)) for numbers in (held, learned))
        cure = "leave out model.numbers" if alone else "begin with a dataset of all of them, or without one"
        raise InputError(f"structures: they hold {found}, the model is of {known}; {cure}")
    return sorted(learned)


def _start(config: ExplorationSettings, engine: Engine, folder: Path) -> Dataset:
    """What to begin with: a dataset, or displaced copies of the structures, labelled."""
    if config.dataset.name is not None:
        dataset = open_dataset(config.dataset.name)
        if not config.accept_level and (other := differences(dataset, engine)):
            raise InputError(
                f"{dataset.path}: {'; '.join(other)}; labels of two kinds do not mix. If both are the same: "
                "accept_level=true"
            )
        return dataset
    cells = list(displaced_cells(config))
    card = card_of(config, cells, 0)
    if (made := finished(card, folder)) is None:
        with labelled(config, engine, cells, folder / "start") as queue:
            made = publish(queue, engine, card, folder / "dataset", cells)
    return Dataset(made)

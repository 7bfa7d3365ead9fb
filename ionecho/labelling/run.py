"""Label what waits in a queue with the workers of an executor, and make the dataset of what is labelled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from functools import lru_cache
from pathlib import Path
from typing import Any

import ase
import numpy as np
from pebble import ProcessExpired
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ionecho.data.schema import Configuration
from ionecho.errors import InputError
from ionecho.labelling.engine import Engine, EngineError, Labels, make_engine
from ionecho.labelling.queue import LabelQueue

DIED = "the worker process died; the system may have killed it for its memory: try fewer workers"


def open_queue(folder: Path, engine: Engine, configurations: Sequence[Configuration]) -> LabelQueue:
    """The queue in `folder`, which no other process may hold, of an engine that can label the configurations."""
    symbols = {str(symbol) for configuration in configurations for symbol in configuration.atoms.symbols}
    datasets = engine.check(symbols)
    kind = {"labels": list(engine.labels), "conventions": dict(engine.conventions)}
    return LabelQueue(folder, engine.labels, {**kind, **engine.level_of_theory()}, datasets)


def label_all(
    queue: LabelQueue, waiting: Sequence[Configuration], engine: dict[str, Any], executor: Executor, in_flight: int
) -> None:
    """Label the waiting configurations, `in_flight` of them at a time; each is on disk when it is done.

    Parameters
    ----------
    engine
        The engine's settings, from which every worker makes its own.
    in_flight
        Configurations handed to the executor at a time: at least its number of workers.

    Raises
    ------
    InputError
        If a worker cannot make the engine. What had come back is on disk.
    """
    settings = json.dumps(engine, sort_keys=True)
    rest = iter(waiting)
    running: dict[Future[Labels | str], Configuration] = {}
    with _progress() as progress:
        task = progress.add_task("labelling", total=len(waiting))
        while True:
            for configuration in rest:
                running[executor.submit(_label, settings, configuration.atoms)] = configuration
                if len(running) >= in_flight:
                    break
            if not running:
                return
            progress.advance(task, _record_finished(queue, running))


def _record_finished(queue: LabelQueue, running: dict[Future[Labels | str], Configuration]) -> int:
    """Record what has come back. No future outlives this: Dask computes what it points to again if a worker dies."""
    done = wait(running, return_when=FIRST_COMPLETED).done
    for future in done:
        _record(queue, running.pop(future), future, running)
    return len(done)


def _record(
    queue: LabelQueue,
    configuration: Configuration,
    future: Future[Labels | str],
    running: dict[Future[Labels | str], Configuration],
) -> None:
    try:
        result = future.result()
    except InputError:
        for other, waiting in running.items():
            if other.done() and other.exception() is None:
                _record(queue, waiting, other, {})
        raise
    except ProcessExpired:
        result = DIED
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    if isinstance(result, str):
        queue.fail(configuration, result)
    else:
        queue.add(configuration, result)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(elapsed_when_finished=True))


def _label(settings: str, atoms: ase.Atoms) -> Labels | str:
    """In the worker: the labels, or the engine's reason for having none."""
    try:
        labels = _engine(settings).label(atoms)
    except EngineError as error:
        return str(error)
    if bad := [name for name, value in labels.values.items() if not np.isfinite(value).all()]:
        return f"not finite: {', '.join(bad)}"
    return labels


@lru_cache(maxsize=1)
def _engine(settings: str) -> Engine:
    return make_engine(json.loads(settings))

"""Where work is shared: processes of this machine, or the workers of a Dask cluster (SLURM and others)."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pebble import ProcessExpired, ProcessPool
from pydantic import PositiveInt

from ionecho.errors import InputError
from ionecho.labelling.objects import TARGET, make

WORKERS = {name: f"ionecho.labelling.workers.{name}" for name in ("local", "dask")}
TRIES = 3  # of a call whose worker dies
Call = tuple[Any, ...]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@contextmanager
def executor(settings: Mapping[str, Any]) -> Iterator[Executor]:
    """The executor of settings as in `conf/workers/*.yaml`, closed when the work is done or given up."""
    if str(settings.get(TARGET)) == WORKERS["dask"]:
        _hush()
    with make(settings, WORKERS.values(), "workers") as opened:
        yield opened


def _hush() -> None:
    """Let Dask say nothing but errors; it sets its loggers when it is imported, before its cluster is made."""
    if find_spec("distributed"):
        import_module("distributed")
        logging.getLogger("distributed").setLevel(logging.ERROR)


def in_order(
    executor: Executor, number: int, function: Callable[..., Any], calls: Iterable[Call], told: Callable[[Call], str]
) -> Iterator[tuple[Call, Any]]:
    """Calls with what the function gives of each, in their order; one whose worker dies is made again.

    Parameters
    ----------
    number
        Of the workers: as many calls and as many again are handed out at a time.
    told
        What a call is, for people.

    Raises
    ------
    InputError
        If the workers of a call died, one after another.
    """
    running: deque[tuple[Call, Future[Any]]] = deque()

    def result(call: Call, future: Future[Any]) -> tuple[Call, Any]:
        for tries in range(1, TRIES + 1):
            try:
                return call, future.result()
            except BrokenProcessPool as error:
                raise InputError("workers: one was killed while none had work; the same line goes on") from error
            except ProcessExpired:
                if tries < TRIES:
                    future = executor.submit(function, *call)
            except Exception as error:
                if type(error).__name__ != "KilledWorker":  # Dask's, when it has tried as often itself
                    raise
                break
        raise InputError(
            f"workers: {TRIES} of them died over {told(call)}; the system may have killed them for their memory: "
            "try fewer workers, or smaller parts"
        )

    for call in calls:
        running.append((call, executor.submit(function, *call)))
        if len(running) > 2 * number:
            yield result(*running.popleft())
    while running:
        yield result(*running.popleft())


@contextmanager
def local(number: PositiveInt) -> Iterator[Executor]:
    """`number` processes on this machine, one thread each; one that dies is replaced."""
    os.environ.update(ONE_THREAD)
    pool = ProcessPool(number, context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    try:
        yield _Local(pool)
    finally:
        pool.stop()
        pool.join()


class _Local(Executor):
    """Unlike that of `concurrent.futures`, this pool outlives its workers."""

    def __init__(self, pool: ProcessPool) -> None:
        self.pool = pool

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand out a call; the future of one whose worker dies raises `pebble.ProcessExpired`."""
        return self.pool.schedule(fn, args, kwargs)


def _end_with_parent() -> None:
    """In the worker: leave as soon as the process that hands out the work is gone, even by kill -9."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def dask(number: PositiveInt, cluster: Any) -> Iterator[Executor]:
    """`number` workers of a Dask cluster, such as `distributed.LocalCluster` or `dask_jobqueue.SLURMCluster`.

    A worker that is lost, as when its job's time is up, is replaced.

    Raises
    ------
    InputError
        The cluster does not take the first jobs.
    """
    from distributed import Client

    with cluster:
        with _no_tracebacks():
            cluster.scale(number)
            cluster.sync(_started, cluster)
        cluster.adapt(minimum=number, maximum=number)
        with Client(cluster) as client:
            yield client.get_executor(pure=False, retries=0)


@contextmanager
def _no_tracebacks() -> Iterator[None]:
    """Keep Dask's loop from printing those of what `_started` tells in a line."""
    loggers = [logging.getLogger(name) for name in ("tornado.application", "asyncio")]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger in loggers:
            logger.disabled = False


async def _started(cluster: Any) -> None:
    """Wait for the first workers, or their jobs; the cluster itself does not tell why one could not begin."""
    from distributed import Status

    await cluster
    for worker in cluster.workers.values():
        try:
            await worker
        except (OSError, RuntimeError) as error:
            for each in cluster.workers.values():
                each.status = Status.failed  # or the cluster would not close
            raise InputError(f"workers: none was started: {error}") from error

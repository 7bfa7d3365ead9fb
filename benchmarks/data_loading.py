"""Random batches for training against LMDB, and a dataset read in blocks: python -m benchmarks.data_loading."""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from pathlib import Path

import lmdb
import numpy as np

from ionecho.data.loader import STRUCTURE, Columns
from ionecho.data.schema import Configuration
from ionecho.data.store import Dataset, DatasetWriter

CONFIGURATIONS, ATOMS, BATCH, REPEATS = 20_000, 88, 32, 300
LABELS = ("energy", "forces", "hyperfine_contact")
NAMES = (*STRUCTURE, *LABELS)


def _write(folder: Path) -> tuple[Dataset, lmdb.Environment]:
    rng = np.random.default_rng(0)
    numbers = np.repeat([11, 12, 25, 8], [16, 8, 16, 48]).astype(np.int16)
    writer = DatasetWriter(folder / "set.zarr", LABELS)
    environment = lmdb.open(str(folder / "set.lmdb"), map_size=1 << 32)
    for start in range(0, CONFIGURATIONS, 1000):
        block = []
        for k in range(start, start + 1000):
            labels = {"energy": rng.normal(size=()), "forces": rng.normal(size=(ATOMS, 3))}
            labels["hyperfine_contact"] = rng.normal(size=ATOMS)
            positions = 10 * rng.random((ATOMS, 3))
            cell, periodic = 10 * np.eye(3), np.ones(3, bool)
            block.append(Configuration(numbers, positions, cell, periodic, "a", k, f"{k}", labels=labels))
        writer.append(block)
        with environment.begin(write=True) as transaction:
            for configuration in block:
                record = {name: configuration.array(name) for name in NAMES}
                transaction.put(str(configuration.frame).encode(), pickle.dumps(record))
    return Dataset(folder / "set.zarr"), environment


def _median_ms(batch: object, read: object) -> float:
    times = []
    for _ in range(REPEATS):
        chosen = batch()  # type: ignore[operator]
        begin = time.perf_counter()
        read(chosen)  # type: ignore[operator]
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


def main() -> dict[str, float]:
    """Measure and print; returns milliseconds a batch and the ratio."""
    with tempfile.TemporaryDirectory() as place:
        dataset, environment = _write(Path(place))
        columns = Columns(dataset, 0, len(dataset), NAMES)
        rng = np.random.default_rng(1)

        def from_lmdb(chosen: list[int]) -> list[dict]:
            with environment.begin() as transaction:
                return [pickle.loads(transaction.get(str(k).encode())) for k in chosen]

        def stacked(chosen: list[int]) -> dict:
            records = from_lmdb(chosen)
            return {name: np.concatenate([np.atleast_1d(record[name]) for record in records]) for name in NAMES}

        def draw() -> list[int]:
            return rng.integers(0, CONFIGURATIONS, BATCH).tolist()

        ours = _median_ms(draw, lambda chosen: {name: columns.gather(name, chosen) for name in NAMES})
        theirs = _median_ms(draw, stacked)
        begin = time.perf_counter()
        for _ in dataset.blocks(NAMES):
            pass
        sequential = CONFIGURATIONS / (time.perf_counter() - begin)
    print(f"random batch of {BATCH} x {ATOMS} atoms: {ours:.3f} ms, LMDB {theirs:.3f} ms, {theirs / ours:.1f}x")
    print(f"zarr read in blocks: {sequential:.0f} configurations/s")
    return {"ours_ms": ours, "lmdb_ms": theirs, "ratio": theirs / ours, "blocks_per_s": sequential}


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()

"""All benchmarks of speed and memory that need no training run, one after another: make bench."""

from __future__ import annotations

import argparse

from benchmarks import (
    data_loading,
    ensemble_speed,
    md_speed,
    painn_speed,
    predict_memory,
    prediction_floor,
    prediction_size,
    prediction_speed,
    uf3_speed,
)

argparse.ArgumentParser(description=__doc__).parse_args()
for benchmark in (
    data_loading, predict_memory, prediction_speed, prediction_floor, prediction_size, painn_speed, ensemble_speed,
    uf3_speed, md_speed,
):  # fmt: skip
    print(f"== {benchmark.__doc__}")
    benchmark.main()

"""All benchmarks that need no DFT engine and no training run, one after another: make bench."""

from __future__ import annotations

import argparse

from benchmarks import (
    data_loading,
    dipolar_points,
    force_noise,
    md_shift,
    md_speed,
    md_stability,
    painn_speed,
    predict_memory,
    prediction_size,
    prediction_speed,
    stackings,
    uf3_speed,
)

argparse.ArgumentParser(description=__doc__).parse_args()
for benchmark in (
    *(data_loading, predict_memory, prediction_speed, prediction_size),
    *(painn_speed, uf3_speed, md_stability, md_speed, stackings, force_noise, dipolar_points, md_shift),
):
    print(f"== {benchmark.__doc__}")
    benchmark.main()

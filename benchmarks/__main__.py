"""All benchmarks, one after another: make bench."""

from __future__ import annotations

from benchmarks import data_loading, predict_memory

for module in (data_loading, predict_memory):
    print(f"== {module.__name__}")
    module.main()

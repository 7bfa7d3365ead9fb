"""All benchmarks, one after another: make bench."""

from __future__ import annotations

from benchmarks import data_loading, predict_memory, prediction_speed

print(f"== {data_loading.__doc__}")
data_loading.main()
print(f"== {predict_memory.__doc__}")
predict_memory.main()
print(f"== {prediction_speed.__doc__}")
prediction_speed.main()

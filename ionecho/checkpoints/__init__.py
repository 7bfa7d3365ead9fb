"""Checkpoint folders (Format 3): config.yaml, weights.safetensors, metrics.json, README.md, environment.txt."""

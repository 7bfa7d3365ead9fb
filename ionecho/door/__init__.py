"""Where configs are composed: what stands here and the entry points know Hydra, the rooms take typed settings."""

"""Model cards, written from the run alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from ase.data import chemical_symbols

from ionecho.checkpoints.store import CheckpointConfig


def model_card(config: CheckpointConfig, metrics: Mapping[str, Any], trainer: Any) -> str:
    """The README.md of a checkpoint: what it is, what it was trained on, how well it does, how to use it."""
    data = config.dataset
    header = {
        "library_name": "ionecho",
        "license": "mit",
        "tags": ["chemistry", "nmr", "materials-science", config.model],
        "datasets": [data["name"]],
    }
    elements = ", ".join(chemical_symbols[z] for z in config.hyperparameters["numbers"])
    centres = ", ".join(chemical_symbols[z] for z in config.hyperparameters["centres"])
    sections = [
        f"# {config.name}",
        f"Model `{config.model}`, members: {config.members}, predicts for {centres} among {elements}.",
        f"```\npython predict.py checkpoint={config.name} input=trajectory.xyz output=predictions.zarr\n```",
        "## Data",
        f"{data['name']} {data['version']} (content {data['content_sha256'][:16]}…, licence {data['licence']}), split "
        f"`{data['split']}`, fold {data['fold']}: "
        + ", ".join(f"{n} {part}" for part, n in data["configurations"].items())
        + f" configurations. Cite: {data['citation']}",
        "## Accuracy",
        _table(metrics),
        "## Physics",
        "Couplings in MHz as the dataset has them:",
        _yaml(data["conventions"]),
        "Shifts in ppm by (delta_total = delta_FC only):",
        _yaml(config.contact_shift),
        "## Recipe",
        _yaml({"hyperparameters": config.hyperparameters, "trainer": trainer, "seed": config.seed}),
    ]
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n" + "\n\n".join(sections) + "\n"


def _table(metrics: Mapping[str, Any]) -> str:
    lines = ["| part | quantity | RMSE | MAE | R2 | values |", "|---|---|---|---|---|---|"]
    for part in ("validation", "test"):
        for name, values in metrics.get(part, {}).items():
            if "rmse" in values:
                numbers = " | ".join(f"{values[key]:.4g}" for key in ("rmse", "mae", "r2"))
                lines.append(f"| {part} | {name} | {numbers} | {values['n']} |")
            elif "z_std" in values:
                lines.append(
                    f"\nSpread ({part}): z {values['z_std']:.3f}, within one spread {values['within_1']:.3f}, "
                    f"within two {values['within_2']:.3f}, rank correlation {values['rank_correlation']:.3f}.\n"
                )
    return "\n".join(lines)


def _yaml(content: Any) -> str:
    return f"```yaml\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True).strip()}\n```"

"""Cards against their schema, and the config against the card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ionecho.checkpoints.store import load
from ionecho.data.card import front_matter, read_card
from ionecho.data.importers import importer
from ionecho.errors import InputError

DATASETS = sorted((REPOSITORY / "datasets").glob("*/README.md"))
MODELS = sorted((REPOSITORY / "models").glob("*/README.md"))


@pytest.mark.parametrize("path", DATASETS, ids=lambda path: path.parent.name)
def test_dataset_card_keeps_the_schema_and_the_config_agrees(path: Path) -> None:
    card = read_card(path)
    block = card.ionecho
    assert block.name == path.parent.name
    assert (block.build is None) != (block.label is None)
    if block.build is not None:
        importer(block.build.importer, block.build.options)
    else:
        assert block.label is not None
        with initialize_config_dir(str(REPOSITORY / "conf"), version_base=None):
            config = compose("label", overrides=block.label.overrides)
        assert not OmegaConf.is_missing(config, "input")
    in_progress = block.version.startswith("0.")
    assert block.content_sha256 is not None or in_progress
    file = REPOSITORY / "conf" / "dataset" / f"{block.name}.yaml"
    if in_progress and not file.exists():
        return
    config = yaml.safe_load(file.read_text())
    assert config["name"] == block.name
    assert config["split"] in block.splits
    assert config["contact_shift"] == block.conventions.get("contact_shift")
    assert block.citation.split(",")[0] in path.read_text().split("---")[2] or "Cite" in path.read_text()


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.parent.name)
def test_published_checkpoint_loads_and_its_card_tells_its_numbers(path: Path) -> None:
    checkpoint = load(path.parent)
    assert checkpoint.config.name == path.parent.name
    assert front_matter(path)["datasets"] == [checkpoint.config.dataset["name"]]
    metrics = json.loads((path.parent / "metrics.json").read_text())
    for part in ("validation", "test"):
        for values in metrics.get(part, {}).values():
            if "rmse" in values:
                assert f"{values['rmse']:.4g}" in path.read_text()


def test_a_card_with_an_unknown_or_missing_key_is_refused(tmp_path: Path) -> None:
    text = DATASETS[0].read_text()
    wrong = tmp_path / "README.md"
    wrong.write_text(text.replace("  version: ", "  version: v"))
    with pytest.raises(InputError, match=r"ionecho\.version"):
        read_card(wrong)
    wrong.write_text(text.replace("  quality_gate:", "  quality_gait:"))
    with pytest.raises(InputError, match="quality_gait"):
        read_card(wrong)
    wrong.write_text("# no front matter\n")
    with pytest.raises(InputError, match="begins with YAML"):
        read_card(wrong)

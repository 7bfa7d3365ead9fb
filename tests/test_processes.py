"""Training shared by several processes: the result of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import train_config
from pydantic import ValidationError
from safetensors.torch import load_file

from ionecho.checkpoints.run import train
from ionecho.data.loader import GraphRecipe, Streamed
from ionecho.data.store import Dataset


def test_two_processes_train_what_one_does(toy_dataset: Path, tmp_path: Path) -> None:
    """Of 29 configurations in batches of seven one process gets more, and at last all; 3 are for validation."""
    weights, errors = {}, {}
    for devices in (1, 2):
        own = ("trainer.batch_size=7", f"trainer.devices={devices}")
        settings = train_config(toy_dataset, "trainer.max_epochs=1", "trainer.dtype=float64", *own)
        errors[devices] = train(settings, tmp_path / str(devices))["test"]["hyperfine_contact"]["rmse"]
        weights[devices] = load_file(tmp_path / str(devices) / "checkpoint" / "weights.safetensors")
    assert errors[2] == pytest.approx(errors[1], rel=1e-9)
    for name, value in weights[1].items():
        rtol = 1e-7 if name == "domain.whitening" else 1e-9  # an inverse root, of condition numbers up to 1e6
        torch.testing.assert_close(weights[2][name], value, rtol=rtol, atol=1e-12)


def test_streamed_batches_are_shared_out(toy_dataset: Path) -> None:
    """A process that is left without configurations gets one without labels."""
    recipe = GraphRecipe(4.0, (11,), "atoms", torch.float32)
    given = (Dataset(toy_dataset), np.arange(5), ["hyperfine_contact"], recipe, 2, 3)
    whole, first, second = (
        list(Streamed(*given, share=chosen)) for chosen in (list, lambda batch: batch[::2], lambda batch: batch[1::2])
    )
    assert [len(batch.graph.cell) for batch in second] == [1, 1, 1]
    assert second[2].labels["hyperfine_contact"].isnan().all()
    for batch, one, other in zip(whole[:2], first, second, strict=False):
        both = torch.cat([one.labels["hyperfine_contact"], other.labels["hyperfine_contact"]])
        torch.testing.assert_close(both, batch.labels["hyperfine_contact"])


@pytest.mark.parametrize(
    ("overrides", "share"), [(("trainer.devices=5",), 4), (("trainer.devices=2", "trainer.max_epochs=0"), 1)]
)
def test_more_processes_than_there_is_to_share_are_refused(
    toy_dataset: Path, overrides: tuple[str, ...], share: int
) -> None:
    with pytest.raises(ValidationError, match=f"no more than they can share, configurations of a batch: {share}"):
        train_config(toy_dataset, *overrides)

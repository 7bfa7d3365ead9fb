"""The blocks of one trajectory on many workers, joined in order: the same bytes as on one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ionecho.checkpoints.store import load
from ionecho.data.trajectory import Frames, Trajectory
from ionecho.labelling.workers import in_order
from ionecho.nmr.derived import Parameters
from ionecho.prediction.device import PredictionSettings
from ionecho.prediction.predictor import Predictor

Predicted = dict[str, NDArray]


@dataclass(frozen=True)
class Recipe:
    """What a worker makes its predictor of, once."""

    checkpoint: Path
    parameters: tuple[tuple[str, Parameters], ...]
    atoms: tuple[int, ...]
    periodic: tuple[bool, ...]
    settings: PredictionSettings
    states: Literal["model", "input"]

    @classmethod
    def of(cls, predictor: Predictor) -> Recipe:
        """That of a predictor; a worker computes on one thread."""
        return cls(
            predictor.checkpoint.folder.resolve(),
            tuple(predictor.parameters.items()),
            tuple(predictor.numbers.tolist()),
            tuple(predictor.pbc.tolist()),
            replace(predictor.settings, workers=1),
            "input" if predictor.told else "model",
        )

    @property
    def numbers(self) -> NDArray[np.integer]:
        """Atomic numbers (N,)."""
        return np.array(self.atoms)

    @property
    def pbc(self) -> NDArray[np.bool_]:
        """Periodicity along the cell vectors (3,)."""
        return np.array(self.periodic)


@lru_cache(maxsize=1)
def _predictor(recipe: Recipe) -> Predictor:
    return Predictor(load(recipe.checkpoint), dict(recipe.parameters), recipe, recipe.settings, recipe.states)


def _predicted(recipe: Recipe, frames: Frames, first: int) -> Predicted:
    return _predictor(recipe)(frames, first)


def predictions(
    predictor: Predictor, trajectory: Trajectory, done: int, executor: Executor | None, settings: Mapping[str, Any]
) -> Iterator[tuple[Frames, Predicted]]:
    """Blocks of frames from `done` on with what is predicted of them, in order.

    Parameters
    ----------
    executor
        Where the blocks are computed; None: here.
    settings
        Of the workers.

    Raises
    ------
    InputError
        If the workers of a block died, one after another.
    """
    blocks = trajectory.blocks(done, predictor.settings.block, predictor.told)
    if executor is None:
        for frames in blocks:
            yield frames, predictor(frames, done)
            done += len(frames)
        return
    recipe = Recipe.of(predictor)

    def calls(first: int) -> Iterator[tuple[Recipe, Frames, int]]:
        for frames in blocks:
            yield recipe, frames, first
            first += len(frames)

    def told(call: tuple[Any, ...]) -> str:
        return f"the block of frame {call[2]}"

    for (_, frames, _), predicted in in_order(executor, settings["number"], _predicted, calls(done), told):
        yield frames, predicted

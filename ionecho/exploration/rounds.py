"""One round of active learning: train, simulate, select, label, and tell what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ionecho.checkpoints.run import train
from ionecho.checkpoints.store import Checkpoint, load
from ionecho.data.files import write_json
from ionecho.data.schema import Configuration
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.exploration.honest_test import FORCES, by_frame, honest_test, predictions
from ionecho.exploration.runs import Explored, explore_all, plan
from ionecho.exploration.selection import MeanSOAP, Window, conformal_factor, farthest_points, least_held_out
from ionecho.exploration.settings import ExplorationSettings
from ionecho.exploration.versions import card_of, described, finished, labelled
from ionecho.labelling.engine import Engine
from ionecho.labelling.publish import publish_version
from ionecho.labelling.structures import read_structures
from ionecho.training.data import fold_parts

BINS, BELOW = 40, 100.0  # of the histogram of scores: from the window's lower end over this, to its upper end
console = Console(soft_wrap=True)
Report = dict[str, Any]


@dataclass(frozen=True)
class Round:
    """One round with a version of the dataset. Each step leaves its output in `place`, and is not done again."""

    config: ExplorationSettings
    engine: Engine
    folder: Path
    number: int
    dataset: Dataset

    @property
    def place(self) -> Path:
        """Folder of the round."""
        return self.folder / f"round_{self.number}"

    def report(self) -> Report:
        """All steps of the round, and what came of them."""
        stored = self.place / "report.json"
        if stored.exists():
            return dict(json.loads(stored.read_text()))
        console.print(f"round {self.number}: {len(self.dataset)} configurations in {self.dataset.path.name}")
        report = self.training() | self.selection()
        frames = report["frames"]
        total = sum(frames[place] for place in ("below", "inside", "above"))
        stopped = sum(run["stopped"] is not None for run in report["runs"])
        report["converged"] = not stopped and frames["inside"] <= self.config.converged * total
        if not report["converged"]:
            if not report["selected"]:
                raise InputError(
                    f"round {self.number}: {stopped} runs stopped, {frames['inside']} of {total} frames in the window, "
                    f"none of them new: nothing to label. Go on in another output, dataset.name={self.dataset.path}, "
                    "with lower md.every, md.temperatures or select.resolution"
                )
            version = self.version()
            report |= {"version": described(version), "before": self._before(version)}
        report["seconds"] = json.loads((self.place / "seconds.json").read_text())
        write_json(stored, report)
        return report

    def training(self) -> Report:
        """Train the ensemble; its errors on the test part."""
        with self._timed("train"):
            metrics = train(self.config.training(str(self.dataset.path)), self.place)
        reported = ("energy_per_atom", "forces", "forces_calibration")
        return {
            "round": self.number,
            "dataset": described(self.dataset),
            "configurations": metrics["data"]["configurations"],
            "test": {name: metrics["test"][name] for name in reported if name in metrics.get("test", {})},
            "checkpoint": str(self.place / "checkpoint"),
            "converged": False,
        }

    def selection(self) -> Report:
        """Simulate, and choose the frames to label."""
        stored = self.place / "selection.json"
        if not stored.exists():
            with self._timed("simulate"):
                explored = self._explored
            with self._timed("select"):
                write_json(stored, self._select(explored))
        return dict(json.loads(stored.read_text()))

    def version(self) -> Dataset:
        """Label the chosen frames; the dataset with them."""
        explored = {run.planned.name: run for run in self._explored}
        chosen = [explored[row["run"]].frames[row["frame"]] for row in self.selection()["selected"]]
        card = card_of(self.config, chosen, self.number, self.dataset)
        if (made := finished(card, self.folder)) is None:
            held = {} if self.config.dataset.fold is None else {self.config.dataset.split: self.config.dataset.fold}
            with self._timed("label"), labelled(self.config, self.engine, chosen, self.place / "labels") as queue:
                made = publish_version(queue, self.engine, card, self.folder / "dataset", self.dataset, held)
        return Dataset(made)

    @cached_property
    def window(self) -> Window:
        """The window on the members' standard deviation as it is, or on a bound of the error (`conformal_factor`).

        The bound is fitted to what the last round labelled, with the errors that its model made before it had seen
        them: nothing is more like the frames to come. At first, and where that was too little, to the validation part.
        """
        stored, select = self.place / "window.json", self.config.select
        if not stored.exists():  # once: another machine rounds the errors in another way, and the runs are of a window
            write_json(stored, {"scale": self.scale()})
        return Window(select.low, select.high, **json.loads(stored.read_text()))

    def scale(self) -> float:
        """From the calibrated spread to what the window is on."""
        select, checkpoint = self.config.select, self.checkpoint
        if select.window == "published":
            return 1.0 / checkpoint.config.calibration[FORCES.name]
        error, spread = self._last_labelled()
        if len(error) < least_held_out(select.quantile):
            held_out = self._parts["validation"]
            error, spread = by_frame(predictions(checkpoint, self.dataset, held_out, FORCES, self.config.trainer))
        return conformal_factor(error, spread, select.quantile)

    def _last_labelled(self) -> tuple[NDArray, NDArray]:
        """Largest error and spread of a force, eV/Å, in what the last round labelled; by this round's calibration."""
        stored = self.folder / f"round_{self.number - 1}" / "report.json"
        if not stored.exists():
            return np.empty(0), np.empty(0)
        last = json.loads(stored.read_text())
        told, calibration = last["before"]["frames"], self.checkpoint.config.calibration[FORCES.name]
        spread = np.array(told["score"]) / last["window"]["scale"] * (calibration / last["calibration"])
        return np.array(told["error"]), spread

    @property
    def checkpoint(self) -> Checkpoint:
        """The trained ensemble, loaded anew."""
        return load(self.place / "checkpoint")

    @cached_property
    def _parts(self) -> dict[str, NDArray]:
        of = self.config.dataset
        return fold_parts(self.dataset, of.split, of.fold, of.validation, self.config.seed)

    @cached_property
    def _known(self) -> list[Configuration]:
        """All but the test part."""
        every = list(read_structures([str(self.dataset.path)], every=1))
        return [every[k] for k in np.union1d(self._parts["train"], self._parts["validation"])]

    @cached_property
    def _explored(self) -> list[Explored]:
        planned = plan(self.config, self.number, self._known)
        checkpoint = self.place / "checkpoint"
        return explore_all(planned, checkpoint, self.window.spread_limit, self.config, self.place)

    def _select(self, explored: Sequence[Explored]) -> Report:
        """Frames in the window that are no duplicates, the farthest from all that is known first."""
        window, settings = self.window, self.config.select
        scores = [window.scale * run.largest for run in explored]
        inside = [(run, k) for run, score in zip(explored, scores, strict=True) for k in window.inside(score)]
        describe = MeanSOAP(self.checkpoint.model.numbers)
        known = [configuration.atoms for configuration in self._known]
        resolution = describe.resolution(known, settings.resolution)
        candidates = describe(run.frames[k].atoms for run, k in inside)
        chosen, distances = farthest_points(candidates, describe(known), settings.per_round, resolution)
        every = np.concatenate(scores)
        edges = np.geomspace(window.low / BELOW, window.high, BINS + 1)
        counts, _ = np.histogram(every.clip(edges[0], edges[-1]), edges)
        below, above = int((every < window.low).sum()), int((every > window.high).sum())
        return {
            "window": {**asdict(window), "kind": settings.window, "spread_limit": window.spread_limit},
            "calibration": self.checkpoint.config.calibration[FORCES.name],
            "frames": {"below": below, "inside": len(inside), "above": above},
            "histogram": {"score": edges.tolist(), "frames": counts.tolist()},
            "runs": [row_of(run, score) for run, score in zip(explored, scores, strict=True)],
            "resolution": resolution,
            "selected": [
                {
                    "run": (run := inside[index][0]).planned.name,
                    "frame": (frame := int(inside[index][1])),
                    "score": float(window.scale * run.largest[frame]),
                    "distance": float(distance),
                }
                for index, distance in zip(chosen, distances, strict=True)
            ],
        }

    def _before(self, version: Dataset) -> Report:
        """What the model, which has not seen them, makes of the new labels."""
        new = np.arange(len(self.dataset), len(version))
        return honest_test(self.checkpoint, version, new, self.window.scale, self.config.trainer)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        """Add the wall time of a step, in all the runs that it took; that of a killed one is lost."""
        start, stored = time.perf_counter(), self.place / "seconds.json"
        yield
        seconds = json.loads(stored.read_text()) if stored.exists() else {}
        write_json(stored, seconds | {step: round(seconds.get(step, 0.0) + time.perf_counter() - start, 2)})


def row_of(run: Explored, score: NDArray[np.floating]) -> Report:
    """A simulation in a round's report; scores (T,) and the mean spread of its atoms' forces in eV/Å."""
    planned = run.planned
    return {
        "run": planned.name,
        "structure": planned.structure,
        "temperature": planned.temperature,
        "strain": planned.strain,
        "frames": len(score),
        "largest_score": float(score.max(initial=0.0)),
        "mean_spread": float(run.mean.mean()) if len(score) else None,
        "stopped": run.stopped,
    }

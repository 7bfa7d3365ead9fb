"""SIGKILL at random moments of the whole path: build, train, simulate, predict, analyze end with the same bytes.

    python -m validation.soak [--kills 200] [--seed 0] [--output soak.json] [--place FOLDER] [--steps predict analyze]

Every step runs once undisturbed. Then it is started again and again, each time killed at a random moment between its
start and its usual end, until it ends by itself; what it wrote is compared byte by byte with that of the undisturbed
run, and the next round begins in an empty folder. Processes are forked from one that has imported everything, so that
kills fall into the work and not into the start of Python. A checkpoint's environment.txt names the installed packages:
those at the start stand for all, as someone may install another meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from unittest.mock import patch

import ase.io
import torch
from ase.build import bulk
from ase.calculators.emt import EMT

import ionecho
from ionecho.data.build import build_from
from ionecho.data.card import DatasetBlock, DatasetCard, ImportRecipe
from ionecho.data.quality import QualityGate
from ionecho.data.splits import SplitRecipe

FRAMES = 80
RUN = [
    "model=painn",
    "model.features=8",
    "model.interactions=1",
    "trainer.max_epochs=3",
    "trainer.threads=1",
    "ensemble=2",
    "logger=csv",
]


@dataclass(frozen=True)
class Step:
    """`work` writes below the folder `name`; of what lies there `kept` is compared."""

    name: str
    work: Callable[[], object]
    kept: str


def labelled(folder: Path) -> None:
    """Displaced copper with EMT's labels, in four files, where they are not there yet."""
    if folder.exists():
        return
    folder.mkdir()
    for run in range(4):
        images = []
        for seed in range(FRAMES // 4):
            atoms = bulk("Cu", cubic=True)
            atoms.rattle(0.08, seed=1000 * run + seed)
            atoms.calc = EMT()
            atoms.get_stress()
            images.append(atoms)
        ase.io.write(folder / f"run_{run}.extxyz", images)


def card() -> DatasetCard:
    """Of the toy set."""
    block = DatasetBlock(
        name="soak",
        version="1.0.0",
        elements=["Cu"],
        level_of_theory={"code": "EMT"},
        conventions={},
        citation="none",
        build=ImportRecipe(importer="extxyz", pattern="*.extxyz"),
        quality_gate=QualityGate(),
        splits={"configuration": SplitRecipe(kind="configuration", folds=5)},
    )
    return DatasetCard(pretty_name="soak", license="mit", tags=[], size_categories=[], ionecho=block)


def steps() -> list[Step]:
    """The path in the current folder; each step reads what the one before wrote."""
    here = Path.cwd()
    data, checkpoint = here / "build" / "soak-1.0.0.zarr.zip", here / "train" / "checkpoint"

    def build() -> None:
        build_from(here / "files", card(), data, report=lambda _: None)

    def train() -> None:
        ionecho.train("dataset=own", f"dataset.name={data}", "name=soak", *RUN, folder=here / "train")

    def simulate() -> None:
        ionecho.simulate(
            checkpoint=str(checkpoint),
            structure=str(here / "start.extxyz"),
            time="160fs",
            timestep=2.0,
            every=2,
            block=5,
            temperature=300.0,
            threads=1,
            device="cpu",
            output=here / "simulate" / "md.zarr",
        )

    def predict() -> None:
        source = here / "simulate" / "md.zarr"
        ionecho.load(checkpoint).predict(source, output=here / "predict" / "pred.zarr", block=5, threads=1)

    def analyze() -> None:
        ionecho.analyze("rdf", here / "simulate" / "md.zarr").write(here / "analyze" / "report")

    return [
        Step("build", build, "soak-1.0.0.zarr.zip"),
        Step("train", train, "checkpoint"),
        Step("simulate", simulate, "md.zarr"),
        Step("predict", predict, "pred.zarr"),
        Step("analyze", analyze, "report"),
    ]


def started(step: Step) -> int:
    """The process that does the step."""
    child = os.fork()
    if child:
        return child
    with open("log", "a") as log, contextlib.suppress(BaseException):
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            Path(step.name).mkdir(exist_ok=True)
            step.work()
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=log)
            log.flush()
    os._exit(1)


def ended(child: int, within: float) -> bool:
    """Whether the process ends by itself within so many seconds; killed otherwise.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            if status:
                raise RuntimeError(f"the process ends with status {status}:\n{Path('log').read_text()[-3000:]}")
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def contents(path: Path) -> dict[str, str]:
    """Hash of every file of a result."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path.parent)): sha256(file.read_bytes()).hexdigest() for file in files}


def soak(step: Step, kills: int, rng: random.Random) -> dict[str, float]:
    """Kill a step so often, and compare what it ends with; numbers of kills and rounds, and what the step takes."""
    folder = Path(step.name)
    for left in (folder, Path(f"{step.name}.whole")):
        shutil.rmtree(left, ignore_errors=True)
    begun = time.monotonic()
    assert ended(started(step), 3600.0)
    usual = time.monotonic() - begun
    expected = contents(folder / step.kept)
    whole = shutil.move(folder, f"{step.name}.whole")
    done = rounds = 0
    while done < kills:
        within = usual
        while not ended(started(step), rng.uniform(0.0, within)):
            done += 1
            within *= 1.05  # of a machine that has become slower each round ends too
        rounds += 1
        found = contents(folder / step.kept)
        if differ := {name for name in {*found, *expected} if found.get(name) != expected.get(name)}:
            raise RuntimeError(f"{step.name}: other bytes in {', '.join(sorted(differ))} after {done} kills")
        shutil.rmtree(folder)
        print(f"{step.name}: {done} kills, {rounds} whole results of the same bytes", flush=True)
    shutil.move(whole, folder)
    return {"kills": done, "results": rounds, "seconds_undisturbed": round(usual, 2)}


def main() -> None:
    """Soak every step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of all steps together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--place", type=Path, help="folder to work in, kept; steps that are left out have run there")
    parser.add_argument("--steps", nargs="+", help="of the path; by default all")
    parser.add_argument("--output", type=Path, default=Path("soak.json"))
    asked = parser.parse_args()
    output = asked.output.resolve()
    torch.set_num_threads(1)
    rng = random.Random(asked.seed)
    if asked.place is not None:
        asked.place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(asked.place or temporary):
        os.environ["IONECHO_HOME"] = str(Path.cwd() / "home")
        labelled(Path("files"))
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.rattle(0.05, seed=1)
        ase.io.write("start.extxyz", atoms)
        path = [step for step in steps() if step.name in (asked.steps or step.name)]
        packages = list(distributions())
        with patch("ionecho.checkpoints.store.distributions", lambda: packages):
            found = {step.name: soak(step, -(-asked.kills // len(path)), rng) for step in path}
    total = sum(each["kills"] for each in found.values())
    output.write_text(json.dumps({"seed": asked.seed, "kills": total, "steps": found}, indent=1) + "\n")
    print(f"{total} kills, every result of the same bytes; {output}")


if __name__ == "__main__":
    main()

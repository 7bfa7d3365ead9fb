"""A disk that is full and a folder that cannot be written: one line, exit code 2, nothing lost, nothing half-written.

A full disk is a limit on the size of a file, which the system itself enforces on every writer, in C too. A folder that
cannot be written is one without the right to; root, whom permissions do not bind, gives up being above them.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import p2_crystal, toy_card, train_config, write_toy_xyz

import ionecho
from ionecho.checkpoints.run import train
from ionecho.data.build import build_from
from ionecho.entry import guarded
from ionecho.report import Report

Work = Callable[[Path], object]


def child(work: Callable[[], object], before: Callable[[], object]) -> tuple[int, str]:
    """Exit code of a process that does the work as a command does, after `before`, and what it tells as an error."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.dup2(write, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stderr = os.fdopen(2, "w", buffering=1)
            before()
            guarded("command", work)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as file:
        told = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), told


def refusal(work: Callable[[], object], before: Callable[[], object]) -> str:
    """The one line with which it ends; what warns is not of it."""
    code, told = child(work, before)
    lines = [line for line in told.splitlines() if line.startswith("command: ")]
    assert code == 2, told[-3000:]
    assert len(lines) == 1
    assert "Traceback" not in told
    return lines[0]


def bind() -> None:
    """Give up root's right to pass over permissions, in this process (capset(2))."""
    if os.getuid():
        return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; low and high words
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, sets) == 0
    for word in range(3):
        sets[word] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Work]:
    """What each step of the path does into a folder, from what the steps before have written."""
    folder = tmp_path_factory.mktemp("path")
    write_toy_xyz(folder / "files" / "run", 12)
    data = build_from(folder / "files", toy_card(), folder / "toy-1.0.0.zarr.zip", lambda _: None)
    settings = train_config(data, "trainer.max_epochs=2", "dataset.validation=0.25")
    train(settings, folder / "run")
    checkpoint, frames = folder / "run" / "checkpoint", folder / "frames.extxyz"
    frames.write_text("".join(file.read_text() for file in sorted((folder / "files" / "run").glob("*.extxyz"))))

    def build(place: Path) -> object:
        return build_from(folder / "files", toy_card(), place / "toy-1.0.0.zarr.zip", lambda _: None)

    def learn(place: Path) -> object:
        return train(settings, place)

    def predict(place: Path) -> object:
        return ionecho.load(checkpoint).predict(frames, output=place / "pred.zarr", block=4, threads=1)

    def analyze(place: Path) -> object:
        report: Report = ionecho.analyze("rdf", frames)
        return report.write(place / "report")

    def simulate(place: Path) -> object:
        return ionecho.simulate(
            checkpoint="deep_pot-p2_nmmo",
            structure=p2_crystal(0, rattle=0.02),
            time="8fs",
            every=1,
            block=4,
            temperature=300.0,
            threads=1,
            device="cpu",
            output=place / "md.zarr",
        )

    analyze(folder)  # what it imports, every process that is forked has
    return {"build": build, "train": learn, "predict": predict, "analyze": analyze, "simulate": simulate}


STEPS = {"build": "toy-1.0.0.zarr.zip", "train": "checkpoint", "predict": "pred.zarr", "analyze": "report"}
STEPS["simulate"] = "md.zarr"


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every file, but for locks."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.parametrize("name", STEPS)
def test_a_full_disk_ends_in_one_line_and_the_same_line_goes_on(
    path: dict[str, Work], name: str, tmp_path: Path
) -> None:
    place, whole = tmp_path / "place", tmp_path / "whole"
    place.mkdir(), whole.mkdir()
    for limit in (0, 600, 3000):  # bytes that a file can have
        if limit == 3000 and name in ("predict", "simulate"):
            continue  # whose chunks are smaller here
        line = refusal(lambda: path[name](place), lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))  # noqa: B023
        assert "the disk is full; what was finished is whole: free some space and run the same line again" in line
        assert not (place / STEPS[name]).exists()
    path[name](place)
    path[name](whole)
    of_place, of_whole = (
        {key: value for key, value in contents(folder).items() if key.startswith(STEPS[name])}
        for folder in (place, whole)
    )
    assert of_whole
    assert of_place == of_whole


def test_a_report_stays_that_cannot_be_replaced(path: dict[str, Work], tmp_path: Path) -> None:
    path["analyze"](tmp_path)
    before = contents(tmp_path)
    refusal(lambda: path["analyze"](tmp_path), lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600)))
    assert {name: before[name] for name in before} == {name: contents(tmp_path).get(name) for name in before}


@pytest.mark.parametrize("name", STEPS)
def test_a_folder_that_cannot_be_written(path: dict[str, Work], name: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()

    place.chmod(0o555)
    line = refusal(lambda: path[name](place), bind)
    place.chmod(0o755)
    assert str(place) in line
    assert "without the right to it; give it, or choose another place" in line
    assert not contents(place)

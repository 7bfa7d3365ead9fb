"""Jobs of SLURM, taken by a stand-in that starts each at once: what they ask for, and the same bytes as here."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ionecho.checkpoints.store import load
from ionecho.door.config import compose
from ionecho.prediction.device import PredictionSettings
from ionecho.prediction.run import predict_file

pytest.importorskip("dask_jobqueue")
SBATCH = """#!/bin/bash
job=$(mktemp {jobs}/XXXXXX)
cp "${{@: -1}}" $job
setsid bash $job > $job.log 2>&1 < /dev/null &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
for job in "$@"; do kill -- -$job; done
exit 0
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in keeps the scripts of the jobs that it took."""
    folder, programs = tmp_path / "jobs", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    for name, script in {"sbatch": SBATCH.format(jobs=folder), "scancel": SCANCEL}.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_slurm_jobs_ask_for_what_the_line_says_and_give_the_bytes_of_one_process(
    jobs: Path, toy_checkpoint: Path, toy_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["checkpoint=x", "input=x", "output=x", "workers=slurm", "workers.number=2", "workers.cluster.cores=8"]
    asked = [
        "workers.cluster.memory=2GB",
        "workers.cluster.walltime=00:10:00",
        "+workers.cluster.queue=short",
        "+workers.cluster.interface=lo",
    ]
    settings = PredictionSettings.choose("cpu", "float32", 1, 5, None)
    for name, workers in (("here", None), ("there", compose("predict", [*line, *asked])["workers"])):
        predict_file(load(toy_checkpoint), toy_dataset, tmp_path / f"{name}.zarr", {}, settings, workers=workers)
    here, there = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "here.zarr", tmp_path / "there.zarr")
    )
    assert here == there
    scripts = [job.read_text() for job in jobs.iterdir() if not job.suffix]
    assert len(scripts) == 2
    for script in scripts:
        for words in ("-p short", "-t 00:10:00", "--mem=2G", "--cpus-per-task=8"):
            assert f"#SBATCH {words}\n" in script
        assert re.findall(r"--nthreads (\d+)", script)[-1] == "1"  # whatever the cores: one thing at a time
    said = capfd.readouterr()
    assert "distributed" not in said.out + said.err
    assert "Scheduler" not in said.out + said.err

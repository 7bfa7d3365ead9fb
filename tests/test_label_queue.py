"""The label queue: killed, shared, failed and dead workers; nothing is lost, mixed or labelled twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from conftest import EMT_ENGINE

from ionecho.data.importers.ase_files import from_atoms
from ionecho.data.store import Dataset
from ionecho.data.verify import verify
from ionecho.door import label as commands
from ionecho.errors import InputError
from ionecho.labelling.engine import Labels
from ionecho.labelling.queue import LabelQueue, key, look
from ionecho.labelling.workers import executor
from tests.emt_labels import calculators, lines_of_provenance, rattled, refusal

pytestmark = pytest.mark.usefixtures("home")
KILLS = 2
COMMAND = "from ionecho.entry import guarded; from ionecho.door.label import app; guarded('ionecho label', app)"


def start(tmp_path: Path, *arguments: str, home: str = "home", **environment: str) -> subprocess.Popen[str]:
    """`ionecho label run ARGUMENTS` in a process of its own."""
    own = {"IONECHO_HOME": str(tmp_path / home), "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "run", *arguments],
        env=os.environ | own | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )


def test_labels_by_other_paw_datasets_do_not_mix(tmp_path: Path) -> None:
    first, second = (from_atoms(atoms, {}, "x", 0) for atoms in rattled(2))
    with LabelQueue(tmp_path / "q", ["energy"], {}, {"Cu": "a"}) as queue:
        queue.add(first, Labels({"energy": np.array(1.0)}, provenance={"paw": {"Cu": {"sha256": "a"}}}))
    with pytest.raises(InputError, match="another PAW dataset of Cu"):
        LabelQueue(tmp_path / "q", ["energy"], {}, {"Cu": "b"})
    with LabelQueue(tmp_path / "q", ["energy"], {}, {"Cu": "a", "Na": "c"}) as same:
        same.add(second, Labels({"energy": np.array(1.0)}))
        assert same.count == 2


def test_a_label_of_a_run_killed_before_it_said_so_is_no_failure(tmp_path: Path) -> None:
    configuration = from_atoms(rattled(1)[0], {}, "x", 0)
    with LabelQueue(tmp_path / "q", ["energy"], {"engine": "none"}) as queue:
        queue.fail(configuration, "no reason")
        failed = (tmp_path / "q" / "failures.json").read_text()
        queue.add(configuration, Labels({"energy": np.array(1.0)}))
    (tmp_path / "q" / "failures.json").write_text(failed)
    assert look(tmp_path / "q") == ({key(configuration)}, {})
    with LabelQueue(tmp_path / "q", ["energy"], {"engine": "none"}) as again:
        assert again.failures == {}


def test_killed_runs_give_what_a_whole_one_gives_and_label_nothing_twice(
    tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ase.io.write(tmp_path / "cells.xyz", rattled(60))
    line = ["copper", "input=cells.xyz", *calculators(tmp_path, "Slow"), "workers.number=2"]
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path / "whole"))
    commands.run_labels(line[0], line[1:])
    rng = random.Random(0)
    folder = tmp_path / "killed" / "labels" / "copper"
    for _ in range(KILLS):
        before = len(lines_of_provenance(folder))
        process = start(tmp_path, *line, home="killed")
        while process.poll() is None and len(lines_of_provenance(folder)) <= before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "finished before it could be killed"
    process = start(tmp_path, *line, home="killed")
    assert process.wait() == 0, process.communicate()
    datasets = {
        name: Dataset(tmp_path / name / "datasets" / "copper" / "copper-1.0.0.zarr.zip") for name in ("whole", "killed")
    }
    assert verify(datasets["killed"].path) == []
    assert datasets["whole"].attrs["content_sha256"] == datasets["killed"].attrs["content_sha256"]
    assert len(datasets["killed"].attrs["provenance"]) == 60
    keys = [json.loads(text)["key"] for text in lines_of_provenance(folder)]
    assert len(set(keys)) == 60
    assert len(keys) <= 60 + KILLS  # a kill between a line and its label leaves the line
    labelled = Dataset(folder / "labels.zarr")
    assert len({row.tobytes() for row in np.split(labelled.rows("positions", 0, 60), 60)}) == len(labelled) == 60


def test_half_a_line_of_provenance_does_no_harm(here: None, home: Path) -> None:
    ase.io.write("cells.xyz", rattled(5))
    commands.run_labels("copper", ["input=cells.xyz", "every=2", *EMT_ENGINE, "card.splits.configuration.folds=2"])
    path = home / "labels" / "copper" / "provenance.jsonl"
    path.write_text(path.read_text() + '{"key": "half')
    commands.run_labels("copper", ["every=1", "card.version=1.0.1"])
    provenance = Dataset(home / "datasets" / "copper" / "copper-1.0.1.zarr.zip").attrs["provenance"]
    assert [sorted(entry) for entry in provenance] == [["engine", "level_sha256", "seconds"]] * 5


def test_a_second_process_is_refused_but_may_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ase.io.write("cells.xyz", rattled(5))
    line = ["input=cells.xyz", *EMT_ENGINE]
    job = commands.job_of("copper", line)
    first, second = job.configurations[:2]
    values = {"energy": np.array(1.0), "forces": np.ones((4, 3)), "stress": np.eye(3)}
    with job.queue() as queue:
        queue.add(first, Labels(values))
        queue.fail(second, "[no] reason")
        process = start(tmp_path, "copper", *line)
        output, error = process.communicate()
        assert process.returncode == 2
        assert error.count("\n") == 1
        assert "is being labelled by another process; give that one more workers" in error
        capsys.readouterr()
        commands.show_status("copper", line)
    output = " ".join(capsys.readouterr().out.split())
    assert "1 labelled, 3 waiting, 1 failed" in output
    assert "cells.xyz#1: [no] reason" in output


def test_failures_keep_their_reason_and_are_retried_on_request(here: None, home: Path) -> None:
    """EMT knows no sodium."""
    cells = rattled(6)
    cells[3].numbers[0] = 11
    ase.io.write("cells.xyz", cells)
    commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE])
    path = home / "labels" / "copper" / "failures.json"
    (failure,) = json.loads(path.read_text()).values()
    assert failure["source"] == "cells.xyz#3"
    assert failure["reason"].startswith("ase: ")
    assert "Na" in failure["reason"]
    assert len(Dataset(home / "datasets" / "copper" / "copper-1.0.0.zarr.zip")) == 5
    job = commands.job_of("copper", [])
    values = {"energy": np.array(1.0), "forces": np.ones((4, 3)), "stress": np.eye(3)}
    with job.queue() as queue:
        assert queue.pending(job.configurations, retry=False) == []
        (again,) = queue.pending(job.configurations, retry=True)
        queue.add(again, Labels(values, provenance={"seconds": 1.0}))
        assert json.loads(path.read_text()) == {}
        assert queue.pending(job.configurations, retry=True) == []
    commands.build_labels("copper", ["card.version=1.0.1"])
    assert len(Dataset(home / "datasets" / "copper" / "copper-1.0.1.zarr.zip")) == 6


def test_a_dead_worker_costs_the_configuration_it_was_at(
    tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ase.io.write("cells.xyz", rattled(8))
    line = ["copper", "input=cells.xyz", *calculators(tmp_path, "Dying"), "workers.number=2"]
    (tmp_path / "dies").touch()
    process = start(tmp_path, *line, DIES=str(tmp_path / "dies"))
    output, error = process.communicate()
    assert process.returncode == 0, error
    (failure,) = json.loads((tmp_path / "home" / "labels" / "copper" / "failures.json").read_text()).values()
    assert "the worker process died" in failure["reason"]
    assert f"{failure['source']}: the worker process died" in " ".join(output.split())
    assert len(lines_of_provenance(tmp_path / "home" / "labels" / "copper")) == 7
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DIES", str(tmp_path / "dies"))
    commands.run_labels(line[0], [*line[1:], "retry=true", "card.version=1.0.1"])
    assert len(Dataset(tmp_path / "home" / "datasets" / "copper" / "copper-1.0.1.zarr.zip")) == 8


def test_workers_end_with_the_process_that_was_killed(tmp_path: Path) -> None:
    """A worker blocked on its queue would hold its memory for ever."""
    ase.io.write("cells.xyz", rattled(400))
    line = ["copper", "input=cells.xyz", *calculators(tmp_path, "Slow"), "workers.number=1"]
    process = start(tmp_path, *line)
    folder = tmp_path / "home" / "labels" / "copper"
    while not lines_of_provenance(folder):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("needs /proc to find the workers")
    workers = [Path("/proc") / child for child in children.read_text().split()]
    assert workers
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(_alive(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_changed_settings_are_refused(here: None, capsys: pytest.CaptureFixture[str]) -> None:
    ase.io.write("cells.xyz", rattled(5))
    commands.run_labels(
        "copper",
        [
            "input=cells.xyz",
            "engine=ase",
            "+engine.settings.code=EMT",
            "engine.calculator={_target_: ase.calculators.emt.EMT, asap_cutoff: false}",
        ],
    )
    text = refusal(capsys, "copper", "engine.calculator.asap_cutoff=true")
    assert "begun with arguments {'asap_cutoff': False}, now it is {'asap_cutoff': True}" in text
    assert "engine.labels" not in text
    assert "begun with labels" in refusal(capsys, "copper", "engine.labels=[energy]")


def test_duplicates_are_labelled_once_and_names_are_not_shared(here: None, home: Path) -> None:
    cells = rattled(5)
    ase.io.write("cells.xyz", [*cells, cells[2]])
    Path("later").mkdir()
    ase.io.write("later/again.xyz", cells[:3])
    ase.io.write("later/cells.xyz", rattled(2, start=50))
    commands.run_labels("copper", ["input=[cells.xyz,later/again.xyz]", *EMT_ENGINE])
    assert len(lines_of_provenance(home / "labels" / "copper")) == 5
    commands.run_labels("copper", ["input=[cells.xyz,later/cells.xyz]", "card.version=1.1.0"])
    grown = Dataset(home / "datasets" / "copper" / "copper-1.1.0.zarr.zip")
    assert dict(Counter(grown.group.tolist())) == {"cells": 5, "later/cells": 2}
    ase.io.write("cells.xyz", rattled(1, start=70))
    with pytest.raises(InputError, match=r"is frame 0 of cells and labelled in .* already; rename the file"):
        commands.run_labels("copper", ["input=cells.xyz"])
    assert len(lines_of_provenance(home / "labels" / "copper")) == 7


def test_a_dask_cluster_gives_the_same_content(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    cells = rattled(6)
    cells[4].numbers[0] = 11
    ase.io.write("cells.xyz", cells)
    cluster = ["workers=dask", "workers.number=2"]
    hashes = {}
    for name, workers in (("local", ["workers.number=1"]), ("dask", cluster)):
        commands.run_labels(name, ["input=cells.xyz", *EMT_ENGINE, *workers])
        hashes[name] = Dataset(home / "datasets" / name / f"{name}-1.0.0.zarr.zip").attrs["content_sha256"]
        (failure,) = json.loads((home / "labels" / name / "failures.json").read_text()).values()
        assert "Na" in failure["reason"]
    assert hashes["local"] == hashes["dask"]


def test_a_configuration_is_known_by_its_atoms_whatever_it_is_called(tmp_path: Path) -> None:
    first, second = (from_atoms(atoms, {}, "x", 0) for atoms in rattled(2))
    same = from_atoms(rattled(1)[0], {}, "y", 7)
    assert key(first) == key(same) != key(second)
    with LabelQueue(tmp_path / "q", ["energy"], {"engine": "none"}) as queue:
        queue.add(first, Labels({"energy": np.array(1.0)}))
    with LabelQueue(tmp_path / "q", ["energy"], {"engine": "none"}) as again:
        assert key(first) in again.done


def test_workers_have_to_be_ours() -> None:
    with (
        pytest.raises(InputError, match="workers: _target_"),
        executor({"_target_": "os.getcwd", "number": 1}),
    ):
        pass

"""The labelling room: queue, workers, engines that are always there, and the datasets that come of it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from copy import copy
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import zarr
from ase.calculators.emt import EMT
from conftest import REPOSITORY
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ionecho.data.importers.ase_files import from_atoms
from ionecho.data.registry import find_card
from ionecho.data.schema import voigt_to_tensor
from ionecho.data.store import Dataset
from ionecho.data.verify import verify
from ionecho.errors import InputError
from ionecho.labelling import commands
from ionecho.labelling.engine import EngineError, Labels, make_engine
from ionecho.labelling.publish import adopt, same_level
from ionecho.labelling.queue import LabelQueue, key, look
from ionecho.labelling.structures import read_structures
from ionecho.labelling.workers import executor
from ionecho.training.data import fold_parts
from tests.emt_labels import EMT_ENGINE, lines_of_provenance, rattled, refusal

pytestmark = pytest.mark.usefixtures("home")
SLOW = """
import os, time
from ase.calculators.emt import EMT

class Slow(EMT):  # notes every configuration it labels
    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        time.sleep(0.02)

class Dying(EMT):
    def calculate(self, atoms, properties, system_changes):
        if os.path.exists(os.environ["DIES"]):
            os._exit(9)
        super().calculate(atoms, properties, system_changes)

class Tensors(EMT):
    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["efg_tensors"] = [[1.0, 0, 0, 0, 1, 0, 0, 0, -2]] * len(atoms)
        self.results["free_energy"] = -7.0
        assert atoms.get_initial_magnetic_moments().tolist() == [1.5] * len(atoms)

class Unconverged(Tensors):
    converged = False
"""
KILLS = 2
COMMAND = "from ionecho.entry import guarded; from ionecho.labelling.commands import app; guarded('ionecho label', app)"


def calculators(tmp_path: Path, name: str) -> list[str]:
    """The engine with a calculator of the module `slow_calculators`, which lies in `tmp_path`."""
    (tmp_path / "slow_calculators.py").write_text(SLOW)
    return ["engine=ase", "+engine.settings.code=EMT", f"engine.calculator._target_=slow_calculators.{name}"]


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


def test_labels_are_the_calculators_in_the_units_of_the_schema(here: None, home: Path) -> None:
    cells = rattled(6)
    ase.io.write("cells.xyz", cells)
    commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE, "card.splits.configuration.folds=3"])
    dataset = Dataset(home / "datasets" / "copper" / "copper-1.0.0.zarr.zip")
    assert verify(dataset.path) == []
    stored = ase.io.read("cells.xyz", ":")
    for index, atoms in enumerate(stored):
        atoms.calc = EMT()
        assert dataset.rows("energy", index, index + 1)[0] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(dataset.rows("forces", index, index + 1), atoms.get_forces(), atol=1e-12)
        expected = voigt_to_tensor(atoms.get_stress())
        np.testing.assert_allclose(dataset.rows("stress", index, index + 1)[0], expected, atol=1e-12)
    assert dataset.attrs["units"]["stress"] == "eV/Å³"
    assert dataset.attrs["level_of_theory"]["calculator"] == "ase.calculators.emt.EMT"
    assert len(dataset.attrs["provenance"]) == 6
    assert dataset.attrs["provenance"][0]["seconds"] >= 0
    card, folder = find_card("copper")
    assert card.ionecho.elements == ["Cu"]
    assert card.ionecho.content_sha256 == dataset.attrs["content_sha256"]
    assert card.ionecho.label is not None
    assert "input=cells.xyz" in card.ionecho.label.overrides
    assert "ionecho label run copper" in (folder / "README.md").read_text()


def test_the_card_makes_the_dataset_again_and_a_new_version_takes_more(here: None, home: Path) -> None:
    """The name alone repeats the run; more configurations are a new version, with the old labels in it."""
    ase.io.write("a.xyz", rattled(5))
    ase.io.write("b.xyz", rattled(3, start=5))
    commands.run_labels("copper", ["input=a.xyz", *EMT_ENGINE])
    before = lines_of_provenance(home / "labels" / "copper")
    commands.run_labels("copper", [])
    assert lines_of_provenance(home / "labels" / "copper") == before
    with pytest.raises(InputError, match="raise the version"):
        commands.run_labels("copper", ["input=[a.xyz,b.xyz]"])
    commands.run_labels("copper", ["input=[a.xyz,b.xyz]", "card.version=1.1.0"])
    assert lines_of_provenance(home / "labels" / "copper")[:5] == before
    assert len(Dataset(home / "datasets" / "copper" / "copper-1.1.0.zarr.zip")) == 8
    assert find_card("copper")[0].ionecho.version == "1.1.0"


def test_labels_made_again_confirm_the_published_ones_or_are_refused(
    here: None, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ase.io.write("a.xyz", rattled(5))
    commands.run_labels("copper", ["input=a.xyz", *EMT_ENGINE])
    path = home / "datasets" / "copper" / "copper-1.0.0.zarr.zip"
    published, exact = path.read_bytes(), EMT.calculate

    def again(scale: float) -> None:
        def off(self: EMT, *arguments: object) -> None:
            exact(self, *arguments)  # type: ignore[arg-type]
            self.results["forces"] = self.results["forces"] * scale

        monkeypatch.setattr(EMT, "calculate", off)
        shutil.rmtree(home / "labels" / "copper-anew", ignore_errors=True)
        commands.run_labels("copper", ["published=false"])

    again(1 + 1e-8)
    assert "it stays as it is" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"forces 3e-04.*raise the version"):
        again(1 + 1e-4)
    assert path.read_bytes() == published
    commands.run_labels("copper", [])  # the queue that they came from is as it was
    assert "5 labelled, 0 waiting" in capsys.readouterr().out


def test_labels_of_other_inputs_stay_in_the_queue(here: None, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The dataset is what its card says: that line makes it on another machine too."""
    ase.io.write("a.xyz", rattled(5))
    ase.io.write("b.xyz", rattled(6, start=5))
    commands.run_labels("copper", ["input=a.xyz", *EMT_ENGINE])
    commands.run_labels("copper", ["input=b.xyz", "card.version=2.0.0"])
    assert "5 labelled configurations are not in the input" in " ".join(capsys.readouterr().out.split())
    dataset = Dataset(home / "datasets" / "copper" / "copper-2.0.0.zarr.zip")
    assert set(dataset.group) == {"b"}
    assert len(dataset) == len(dataset.attrs["provenance"]) == 6
    ase.io.write("c.xyz", rattled(5, start=20))
    with pytest.raises(InputError, match="nothing is labelled yet"):
        commands.build_labels("copper", ["input=c.xyz", "card.version=3.0.0"])


def test_labels_by_other_paw_datasets_do_not_mix(tmp_path: Path) -> None:
    first, second = (from_atoms(atoms, {}, "x", 0) for atoms in rattled(2))
    with LabelQueue(tmp_path / "q", ["energy"], {}, {"Cu": "a"}) as queue:
        queue.add(first, Labels({"energy": np.array(1.0)}, provenance={"paw": {"Cu": {"sha256": "a"}}}))
    with pytest.raises(InputError, match="another PAW dataset of Cu"):
        LabelQueue(tmp_path / "q", ["energy"], {}, {"Cu": "b"})
    with LabelQueue(tmp_path / "q", ["energy"], {}, {"Cu": "a", "Na": "c"}) as same:
        same.add(second, Labels({"energy": np.array(1.0)}))
        assert same.count == 2


def test_labels_of_the_published_file_are_not_computed_again(
    here: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ase.io.write("a.xyz", rattled(5))
    ase.io.write("b.xyz", rattled(2, start=5))
    commands.run_labels("copper", ["input=a.xyz", *EMT_ENGINE])
    before = lines_of_provenance(home / "labels" / "copper")
    shutil.rmtree(home / "labels" / "copper")
    commands.run_labels("copper", ["input=[a.xyz,b.xyz]", "card.version=1.1.0"])
    taken = lines_of_provenance(home / "labels" / "copper")[:5]
    assert [json.loads(line)["seconds"] for line in taken] == [json.loads(line)["seconds"] for line in before]
    first, grown = (Dataset(home / "datasets" / "copper" / f"copper-1.{k}.0.zarr.zip") for k in (0, 1))
    for name in ("positions", "energy", "forces"):
        np.testing.assert_array_equal(grown.rows(name, 0, 5), first.rows(name, 0, 5))
    assert grown.attrs["provenance"][:5] == first.attrs["provenance"]
    shutil.rmtree(home / "labels" / "copper")
    monkeypatch.setattr(EMT, "calculate", lambda self, *_: self.results.update(energy=np.nan))
    with pytest.raises(InputError, match="all failed, retry=true tries again: ase gave no forces, stress"):
        commands.run_labels("copper", ["input=[a.xyz,b.xyz]", "published=false"])


def test_published_labels_are_taken_only_where_they_are_what_is_asked_for(here: None, home: Path) -> None:
    """Another label, another convention, a name that is taken: none of it may slip into the queue."""
    ase.io.write("a.xyz", rattled(5))
    commands.run_labels("copper", ["input=a.xyz", *EMT_ENGINE, "engine.labels=[energy,forces]"])
    published = Dataset(home / "datasets" / "copper" / "copper-1.0.0.zarr.zip")
    engine = commands._prepare("copper", []).engine
    assert same_level(published, engine)

    def adopted(labels: tuple[str, ...], conventions: dict[str, object]) -> int:
        asked = copy(engine)
        asked.labels, asked.conventions = labels, conventions
        with LabelQueue(home / "labels" / "q" / "-".join([*labels, *conventions]), labels, {}) as queue:
            adopt(queue, asked, published)
            return queue.count

    assert adopted(("energy",), {}) == 5
    assert adopted(("energy", "stress"), {}) == 0
    assert adopted(("energy",), {"isotopes": {"Na": "22Na"}}) == 0
    other = from_atoms(rattled(1, start=9)[0], {}, "x", 0)
    other.group, other.frame = str(published.group[0]), int(published.frame[0])
    with LabelQueue(home / "labels" / "named", ["energy", "forces"], {}) as named:
        named.add(other, Labels({"energy": np.array(1.0), "forces": np.ones((4, 3))}))
        adopt(named, engine, published)
        assert named.count == 5


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


def test_the_level_of_theory_tells_objects_apart_by_what_is_in_them(here: None) -> None:
    def level(*overrides: str) -> dict[str, object]:
        with initialize_config_dir(str(REPOSITORY / "conf"), version_base=None):
            config = compose("label", overrides=["input=x", *EMT_ENGINE, *overrides])
        return make_engine(config.engine).level_of_theory()

    cell = "+engine.calculator.mode={{_target_: ase.cell.Cell, array: [[{0}, 0, 0], [0, 1, 0], [0, 0, 1]]}}"
    assert level(cell.format(1)) == level(cell.format(1)) != level(cell.format(2))
    assert level("+engine.keys={energy: free_energy}") != level()


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
    job = commands._prepare("copper", line)
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
    job = commands._prepare("copper", [])
    values = {"energy": np.array(1.0), "forces": np.ones((4, 3)), "stress": np.eye(3)}
    with job.queue() as queue:
        assert queue.pending(job.configurations, retry=False) == []
        (again,) = queue.pending(job.configurations, retry=True)
        queue.add(again, Labels(values, provenance={"seconds": 1.0}))
        assert json.loads(path.read_text()) == {}
        assert queue.pending(job.configurations, retry=True) == []
    commands.build_labels("copper", ["card.version=1.0.1"])
    assert len(Dataset(home / "datasets" / "copper" / "copper-1.0.1.zarr.zip")) == 6


def test_a_dead_worker_is_recorded_and_reported(tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ase.io.write("cells.xyz", rattled(5))
    line = ["copper", "input=cells.xyz", *calculators(tmp_path, "Dying"), "workers.number=1"]
    (tmp_path / "dies").touch()
    process = start(tmp_path, *line, DIES=str(tmp_path / "dies"))
    _, error = process.communicate()
    assert process.returncode == 2
    assert error.count("\n") == 1
    assert "a worker died; run again with fewer workers and retry=true" in error
    (failure,) = json.loads((tmp_path / "home" / "labels" / "copper" / "failures.json").read_text()).values()
    assert "the worker process died" in failure["reason"]
    (tmp_path / "dies").unlink()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DIES", str(tmp_path / "dies"))
    commands.run_labels(line[0], [*line[1:], "retry=true"])
    assert len(Dataset(tmp_path / "home" / "datasets" / "copper" / "copper-1.0.0.zarr.zip")) == 5


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
            *EMT_ENGINE[:2],
            "engine.calculator={_target_: ase.calculators.emt.EMT, asap_cutoff: false}",
        ],
    )
    text = refusal(capsys, "copper", "engine.calculator.asap_cutoff=true")
    assert "begun with arguments {'asap_cutoff': False}, now it is {'asap_cutoff': True}" in text
    assert "engine.labels" not in text
    assert "begun with labels" in refusal(capsys, "copper", "engine.labels=[energy]")


def test_one_structure_is_enough_to_begin_with(here: None, home: Path, tmp_path: Path) -> None:
    """Its displaced copies, each with a strain of its own, of the same seed the same."""
    (tmp_path / "my cells").mkdir()
    ase.io.write(tmp_path / "my cells" / "a.xyz", rattled(1))
    line = [f"input='{tmp_path}/my cells/a.xyz'", *EMT_ENGINE]
    commands.run_labels("one", line)
    one = Dataset(home / "datasets" / "one" / "one-1.0.0.zarr.zip")
    assert one.attrs["splits"] == {"configuration": [{"a": [0]}]}
    with pytest.raises(InputError, match="nothing to train on"):
        fold_parts(one, "configuration", 0, 0.1, seed=0)
    commands.run_labels("copper", [*line, "rattle.copies=10", "rattle.displacement=[0.05,0.05]"])
    dataset = Dataset(home / "datasets" / "copper" / "copper-1.0.0.zarr.zip")
    assert set(dataset.group) == {"a_0"}
    assert dataset.frame.tolist() == list(range(10))
    cells = dataset.rows("cell", 0, 10)
    assert len(np.unique(cells[:, 0, 0].round(6))) == 10
    fractional = [atoms.atoms.get_scaled_positions(wrap=False) for atoms in dataset.configurations(0, 10)]
    spread = np.std(fractional, axis=0).mean() * 3.6
    assert spread == pytest.approx(0.05, rel=0.2)
    again = commands._prepare("copper", []).configurations
    assert {key(each) for each in again} == {key(each) for each in dataset.configurations(0, 10)}


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
    cluster = ["workers=dask", "workers.number=2", "+workers.cluster.dashboard_address=null"]
    hashes = {}
    for name, workers in (("local", ["workers.number=1"]), ("dask", cluster)):
        commands.run_labels(name, ["input=cells.xyz", *EMT_ENGINE, *workers])
        hashes[name] = Dataset(home / "datasets" / name / f"{name}-1.0.0.zarr.zip").attrs["content_sha256"]
        (failure,) = json.loads((home / "labels" / name / "failures.json").read_text()).values()
        assert "Na" in failure["reason"]
    assert hashes["local"] == hashes["dask"]


def test_configurations_come_from_structures_trajectories_and_datasets(here: None, home: Path) -> None:
    cells = rattled(10)
    ase.io.write("cells.xyz", cells)
    group = zarr.open_group("md.zarr", mode="w")
    group.create_array("positions", data=np.stack([atoms.positions for atoms in cells]))
    group.create_array("cell", data=np.array(cells[0].cell)[None])
    group.create_array("numbers", data=cells[0].numbers)
    found = {name: list(read_structures([name], every=3)) for name in ("cells.xyz", "md.zarr")}
    assert [c.source for c in found["cells.xyz"]] == [f"cells.xyz#{k}" for k in (0, 3, 6, 9)]
    assert [c.group for c in found["md.zarr"]] == ["md"] * 4
    np.testing.assert_allclose(found["cells.xyz"][1].positions, found["md.zarr"][1].positions, atol=1e-8)
    commands.run_labels("copper", ["input=[cells.xyz,md.zarr]", *EMT_ENGINE, "every=2"])
    labelled = list(read_structures(["copper"], every=2))
    assert [(c.group, c.frame) for c in labelled] == [(g, f) for g in ("cells", "md") for f in (0, 4, 8)]
    assert all(c.labels == {} for c in labelled)
    np.testing.assert_array_equal(labelled[4].positions, cells[4].positions)
    with pytest.raises(InputError, match=r"no file or dataset lost\.xyz"):
        list(read_structures(["lost.xyz"], every=1))
    with pytest.raises(InputError, match="every=0"):
        list(read_structures(["cells.xyz"], every=0))


@pytest.mark.parametrize(("engine", "package"), [("gpaw", "gpaw"), ("tblite", "tblite")])
def test_a_missing_engine_is_one_line_with_the_cure(
    engine: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ase.io.write("cells.xyz", rattled(1))
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "ionecho.labelling.gpaw_engine", raising=False)
    monkeypatch.delattr("ionecho.labelling.gpaw_engine", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    text = refusal(capsys, "mine", "input=cells.xyz", f"engine={engine}")
    assert f"needs {package}, not installed: `make labelling` installs" in text


def test_bad_requests_end_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "say what to label with input=FILE" in refusal(capsys, "mine")
    ase.io.write("cells.xyz", rattled(5))
    assert "no version to record" in refusal(capsys, "mine", "input=cells.xyz", *EMT_ENGINE, "engine.package=vasp")
    assert "ionecho.labelling" in refusal(capsys, "mine", "input=cells.xyz", "engine._target_=os.getcwd")
    assert "name" in refusal(capsys, "My-Set", "input=cells.xyz", *EMT_ENGINE)
    assert "not labelled here" in refusal(capsys, "p2_nmmo", "input=cells.xyz")
    cures = ["workers.number=1", "retry=true", "engine.iterations=300"]
    assert "for every=20 choose another name" in refusal(capsys, "p2_gpaw", *cures, "every=20")
    ase.io.write("cells.xyz", rattled(3))
    text = refusal(capsys, "mine", "input=cells.xyz", *EMT_ENGINE, "card.splits.configuration.folds=5")
    assert "card.splits.configuration.folds: a configuration split needs 2 to 3 folds, found 5" in text


def test_results_under_other_keys_and_in_a_folder_of_their_own(
    tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    config = OmegaConf.create(
        {
            "_target_": "ionecho.labelling.ase_engine.ASEEngine",
            "labels": ["energy", "efg"],
            "package": "ase",
            "settings": {"code": "none"},
            "moments": {"Cu": 1.5},
            "keys": {"energy": "free_energy", "efg": "efg_tensors"},
            "calculator": {"_target_": "slow_calculators.Tensors", "_partial_": True},
        }
    )
    calculators(tmp_path, "Tensors")
    labels = make_engine(config).label(rattled(1)[0])
    assert labels.values["energy"] == -7.0
    assert labels.values["efg"].shape == (4, 3, 3)
    np.testing.assert_array_equal(labels.values["efg"][2], np.diag([1.0, 1.0, -2.0]))
    assert Path.cwd() == tmp_path
    config["calculator"]["_target_"] = "slow_calculators.Unconverged"
    with pytest.raises(EngineError, match="did not converge"):
        make_engine(config).label(rattled(1)[0])
    config["keys"]["efg"] = "efg"
    with pytest.raises(EngineError, match="no key 'efg'"):
        make_engine(config).label(rattled(1)[0])
    config["settings"] = {}
    with pytest.raises(InputError, match="say which code and version"):
        make_engine(config)


def test_labels_that_are_not_finite_are_a_failure(here: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EMT, "calculate", lambda self, *_: self.results.update(energy=np.nan))
    ase.io.write("cells.xyz", rattled(5))
    with pytest.raises(InputError, match="nothing is labelled yet"):
        commands.run_labels("copper", ["input=cells.xyz", *EMT_ENGINE, "engine.labels=[energy]"])
    failures = json.loads((home / "labels" / "copper" / "failures.json").read_text()).values()
    assert [failure["reason"] for failure in failures] == ["not finite: energy"] * 5


def outputs(folder: Path, cells: list[ase.Atoms]) -> None:
    """Finished EMT runs, one a folder, as extended XYZ."""
    for number, atoms in enumerate(cells):
        (folder / str(number)).mkdir(parents=True)
        atoms.calc = EMT()
        atoms.get_forces()
        ase.io.write(folder / str(number) / "out.xyz", atoms)


def test_finished_outputs_are_matched_by_their_atoms(here: None, home: Path) -> None:
    """Whole cells away, a little off, in another order of files: the same atoms; others are not taken for them."""
    cells = rattled(7)
    ase.io.write("cells.xyz", cells)
    run = [atoms.copy() for atoms in reversed(cells[:6])]
    run[0].positions[1] += 2 * run[0].cell[0] - run[0].cell[2] + 0.002
    outputs(Path("runs"), run)
    Path("runs/7").mkdir()
    Path("runs/7/out.xyz").write_text("4\nbroken\nCu 0")
    engine = ["engine=files", "engine.folder=runs", "engine.pattern='*/out.xyz'", "engine.importer=extxyz"]
    engine.append("engine.labels=[energy,forces]")
    commands.run_labels("copper", ["input=cells.xyz", *engine, "engine.settings={code: EMT}"])
    dataset = Dataset(home / "datasets" / "copper" / "copper-1.0.0.zarr.zip")
    assert len(dataset) == 6
    energies = [atoms.calc.results["energy"] for atoms in reversed(run)]
    np.testing.assert_allclose(dataset.rows("energy", 0, 6), energies, atol=1e-7)
    assert [entry["file"] for entry in dataset.attrs["provenance"]] == [f"{k}/out.xyz" for k in range(5, -1, -1)]
    assert dataset.attrs["level_of_theory"]["code"] == "EMT"
    (failure,) = json.loads((home / "labels" / "copper" / "failures.json").read_text()).values()
    assert failure["reason"].startswith(
        f"no finished output in {Path('runs').resolve()} holds these atoms; 1 of its files"
    )


def test_finished_outputs_that_do_not_fit_or_fit_twice(tmp_path: Path) -> None:
    cells = rattled(2)
    outputs(tmp_path / "runs", cells)
    config = OmegaConf.create(
        {
            "_target_": "ionecho.labelling.files_engine.FilesEngine",
            "folder": str(tmp_path / "runs"),
            "pattern": "*/out.xyz",
            "importer": "extxyz",
            "options": {},
            "labels": ["energy"],
            "tolerance": 0.01,
            "settings": {"code": "EMT"},
        }
    )
    engine = make_engine(config)
    assert engine.label(cells[1]).values["energy"] == pytest.approx(cells[1].calc.results["energy"])
    shifted, stretched, swapped = cells[0].copy(), cells[0].copy(), cells[0].copy()
    shifted.positions[2, 0] += 0.02
    stretched.set_cell(stretched.cell * 1.01)
    swapped.numbers[0] = 13
    for atoms in (shifted, stretched, swapped):
        with pytest.raises(Exception, match=r"no finished output in .* holds these atoms$"):
            engine.label(atoms)
    (tmp_path / "runs" / "9").mkdir()
    ase.io.write(tmp_path / "runs" / "9" / "out.xyz", cells[1])
    with pytest.raises(Exception, match=r"1/out\.xyz and .*9/out\.xyz hold the same atoms"):
        make_engine(config).label(cells[1])
    for name, value, told in (
        ("settings", {}, "say what made"),
        ("folder", "nowhere", "no folder"),
        ("importer", "vasp", "unknown importer"),
        ("labels", ["efgs"], "unknown"),
    ):
        with pytest.raises(InputError, match=told):
            make_engine(OmegaConf.create({**config, name: value}))


def test_a_configuration_is_known_by_its_atoms_whatever_it_is_called(tmp_path: Path) -> None:
    first, second = (from_atoms(atoms, {}, "x", 0) for atoms in rattled(2))
    same = from_atoms(rattled(1)[0], {}, "y", 7)
    assert key(first) == key(same) != key(second)
    with LabelQueue(tmp_path / "q", ["energy"], {"engine": "none"}) as queue:
        queue.add(first, Labels({"energy": np.array(1.0)}))
    with LabelQueue(tmp_path / "q", ["energy"], {"engine": "none"}) as again:
        assert key(first) in again.done


def test_workers_have_to_be_ours() -> None:
    with pytest.raises(InputError, match="workers: _target_"), executor(OmegaConf.create({"_target_": "os.getcwd"})):
        pass

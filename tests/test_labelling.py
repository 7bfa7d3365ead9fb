"""From a line of `ionecho label` to a dataset: labels, versions, cards, inputs."""

from __future__ import annotations

import json
import os
import shutil
from copy import copy
from itertools import count
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import zarr
from ase.calculators.emt import EMT
from conftest import EMT_ENGINE

from ionecho.data.importers.ase_files import from_atoms
from ionecho.data.registry import find_card
from ionecho.data.schema import voigt_to_tensor
from ionecho.data.store import Dataset
from ionecho.data.verify import verify
from ionecho.door import label as commands
from ionecho.errors import InputError
from ionecho.labelling.engine import Labels
from ionecho.labelling.publish import adopt, differences
from ionecho.labelling.queue import LabelQueue, key
from ionecho.labelling.structures import read_structures
from ionecho.training.data import fold_parts
from tests.emt_labels import lines_of_provenance, rattled, refusal

pytestmark = pytest.mark.usefixtures("home")


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

    ticks = count()
    monkeypatch.setattr(os, "times", lambda: [next(ticks)] * 5)  # other seconds in the provenance
    again(1.0)
    assert "its labels are these, bit for bit" in capsys.readouterr().out
    assert path.read_bytes() == published
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
    engine = commands.job_of("copper", []).engine
    assert not differences(published, engine)

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
    again = commands.job_of("copper", []).configurations
    assert {key(each) for each in again} == {key(each) for each in dataset.configurations(0, 10)}


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

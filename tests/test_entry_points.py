"""Bad input on the command line: exit code 2, one line that says what, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import run_entry

from ionecho.door.help import text

RUN = "simulate.py checkpoint=uf3-p2_painn structure=p2_p63mcm output={o}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train.py fold=7", "no such settings: fold (is it dataset.fold?)"),
        ("train.py model=foo", "foo"),
        ("predict.py checkpoint={c} input={d}", "output"),
        ("predict.py checkpoint={c} input=nothing.xyz output={o}", "no input at nothing.xyz"),
        ("predict.py checkpoint={c} input={d} output={o} device=cuda:7", "device=cuda:7"),
        ("predict.py checkpoint={c} input={d} output={o} block=0", "block=0: expected a whole number above 0"),
        ("predict.py checkpoint={c} input={d} output={o} cell=[10,10]", "cell=[10, 10]"),
        ("predict.py checkpoint={c} input={d} output=/proc/no/where.zarr", "/proc/no"),
        (f"{RUN} time=10fs every=2.5", "every: Input should be a valid integer"),
        (f"{RUN} time=10fs contact_limit=0", "contact_limit: Input should be greater than 0, found 0"),
        (f"{RUN} time=10fs temperature=hot timestep=0", "temperature: Input should be a valid number"),
        (f"{RUN} time=10fs repeat=2", "repeat: expected three numbers of cells"),
        (f"{RUN} time=10fs every=10 velocities=keep", "velocities=keep: the structure holds none"),
        (f"{RUN} time=10fs threads=0", "threads=0"),
        ("analyze.py input=nothing output={o}", "no input at nothing"),
        ("analyze.py input={d} output={o} analysis=magic", "magic"),
    ],
)
def test_bad_input_is_one_line(toy_checkpoint: Path, toy_dataset: Path, tmp_path: Path, line: str, said: str) -> None:
    script, *arguments = line.format(c=toy_checkpoint, d=toy_dataset, o=tmp_path / "out.zarr").split(" ")
    found = run_entry(script, *arguments)
    assert found.returncode == 2, found.stderr
    assert found.stderr.strip().count("\n") == 0
    assert found.stderr.startswith(script)
    assert said in found.stderr
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    ("command", "words", "shown"),
    [
        ("train", ["model=painn"], ["losses: # the best epoch", "[painn]", "trainer.schedule: # cosine", "seed: 0"]),
        ("predict", [], ["checkpoint: ??? # name", "workers  dask, local, slurm", "ionecho predict checkpoint="]),
        ("analyze", ["analysis=redox"], ["hold: 3                     # frames", "output: ??? # folder"]),
        ("simulate/simulate", [], ["structure: ??? # a trajectory", "threads: null"]),
        ("explore", ["engine=p2_gpaw"], ["[p2_gpaw]", "cutoff: 500 # eV", "moments: {Mn: 3", "name: explored"]),
    ],
)
def test_help_shows_the_files_of_settings_that_a_line_takes(command: str, words: list[str], shown: list[str]) -> None:
    found = text(command, "What it does.", words)
    assert [part for part in shown if part not in found] == []
    assert "hydra" not in found.replace("${run_id:${hydra:", "")
    assert "_self_" not in found

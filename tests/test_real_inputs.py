"""Files as people have them: the right value, or one line that says what was found and how to mend it."""

from __future__ import annotations

import bz2
import lzma
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
import zarr
from ase import Atoms
from ase.build import bulk
from conftest import p2_crystal, toy_configuration

import ionecho
from ionecho.analysis.options import ReadOptions
from ionecho.analysis.paths import follow
from ionecho.data.archives import refuse_odd_zip, unpack_tar
from ionecho.data.importers import ase_files, density, magres, vasp
from ionecho.data.registry import find_inputs, find_one
from ionecho.data.store import Dataset, DatasetWriter
from ionecho.data.trajectory import open_trajectory
from ionecho.data.trajectory_writer import append
from ionecho.data.verify import verify
from ionecho.door.overrides import readable
from ionecho.errors import InputError, IonEchoWarning
from ionecho.nmr.quadrupole import quadrupole_coupling
from ionecho.structures.read import images, last_image

PLACES = np.random.default_rng(0).uniform(0, 8, (6, 5, 3))  # six frames of five atoms
KINDS = ["Na", "Na", "Mn", "O", "O"]
TYPES = [1, 1, 2, 3, 3]

IMPORT = [
    "import",
    "mine",
    "in",
    "--importer",
    "extxyz",
    "--pattern",
    "*.extxyz",
    "--licence",
    "mit",
    "--citation",
    "me",
]


def read(path: Path, **options: object) -> np.ndarray:
    """Positions (T, N, 3) of a trajectory."""
    blocks = list(open_trajectory(path, **options).blocks(0, 4))  # type: ignore[arg-type]
    return np.concatenate([frames.positions for frames in blocks])


def dump(path: Path, steps: list[int], columns: str = "id type x y z", head: str = "", box: str = "0 8\n" * 3) -> Path:
    """A LAMMPS dump of `PLACES`."""
    text = []
    for frame, step in enumerate(steps):
        rows = []
        for atom in range(5):
            x, y, z = PLACES[frame, atom]
            known = {"id": atom + 1, "type": TYPES[atom], "element": KINDS[atom], "x": x, "y": y, "z": z}
            known |= {"xs": x / 8, "ys": y / 8, "zs": z / 8, "ix": 1, "iy": 0, "iz": -1, "mass": 22.98977}
            rows.append(" ".join(str(known[name]) for name in columns.split()))
        body = "\n".join(reversed(rows))
        text.append(
            f"{head}ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n5\nITEM: BOX BOUNDS pp pp pp\n{box}"
            f"ITEM: ATOMS {columns}\n{body}\n"
        )
    path.write_text("".join(text))
    return path


def test_a_dump_is_known_by_what_it_says_and_names_its_elements(tmp_path: Path) -> None:
    path = dump(tmp_path / "dump.melt (1)@300K", [0, 50, 100])
    with pytest.raises(InputError, match=r"types 1, 2, 3 but names no elements; give species=\[\.\.\]"):
        open_trajectory(path)
    for other in (last_image, lambda name: list(ase_files.read(Path(name)))):
        with pytest.raises(InputError, match="names no elements"):
            other(str(path))
    species = ["Na", "Mn", "O"]
    np.testing.assert_allclose(read(path, species=species), PLACES[:3], atol=1e-9)
    assert open_trajectory(path, species=species).numbers.tolist() == [11, 11, 25, 8, 8]
    with pytest.raises(InputError, match=r"types 1 to 3, species=\['Na'\] names 1"):
        open_trajectory(path, species=["Na"])
    named = dump(tmp_path / "named", [0, 50], "id element xs ys zs")
    np.testing.assert_allclose(read(named), PLACES[:2], atol=1e-6)
    images = dump(tmp_path / "images", [0, 50], "id element x y z ix iy iz")
    np.testing.assert_allclose(read(images), PLACES[:2] + np.array([8.0, 0.0, -8.0]), atol=1e-9)
    assert set(open_trajectory(dump(tmp_path / "masses", [0], "id mass x y z")).numbers) == {11}
    both = dump(tmp_path / "both", [0], "id type element x y z")
    assert open_trajectory(both, species=["Na", "Mn", "O"]).numbers.tolist() == [11, 11, 25, 8, 8]
    with pytest.raises(InputError, match="its column element has Na where species= has Li; leave one out"):
        open_trajectory(both, species=["Li", "Mn", "O"])
    labelled = tmp_path / "labelled"  # dump_modify types labels
    labelled.write_text(dump(tmp_path / "elements", [0], "id element x y z").read_text().replace("element", "type"))
    assert open_trajectory(labelled).numbers.tolist() == [11, 11, 25, 8, 8]
    unsaid = tmp_path / "unsaid"
    unsaid.write_text(re.sub(r"(\d) (Na|Mn|O) ", r"\1 C ", both.read_text()))
    with pytest.raises(InputError, match=r"all of its 3 types are C, which LAMMPS writes.*give species=\[\.\.\]"):
        open_trajectory(unsaid)
    assert open_trajectory(unsaid, species=["Na", "Mn", "O"]).numbers.tolist() == [11, 11, 25, 8, 8]


def test_atoms_without_identities_and_frames_out_of_step_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column id, so atoms may change order"):
        read(dump(tmp_path / "noid", [0, 50], "element x y z"))
    uneven = dump(tmp_path / "uneven", [0, 100, 200, 500], "id element x y z")
    assert len(read(uneven)) == 4  # without a time nothing is said of it
    with pytest.raises(InputError, match="timestep is 100 apart up to frame 2, then 300"):
        read(uneven, time_step=100.0)
    with pytest.raises(InputError, match="timestep goes from 200 to 100 at frame 3: runs that overlap"):
        read(dump(tmp_path / "overlap", [0, 100, 200, 100], "id element x y z"))
    twice = dump(tmp_path / "twice", [0, 100], "id element x y z")
    frames = twice.read_text().split("ITEM: TIMESTEP")[1:]
    twice.write_text("".join("ITEM: TIMESTEP" + frame for frame in (frames[0], frames[1], frames[1])))
    with pytest.warns(IonEchoWarning, match="frame 2 stands twice"):
        assert len(read(twice, time_step=1.0)) == 2
    timed = dump(tmp_path / "timed", [0, 9], "id element x y z", head="ITEM: UNITS\nmetal\nITEM: TIME\n0.5\n")
    assert next(open_trajectory(timed).blocks(0, 1)).time.tolist() == [500.0]
    with pytest.raises(InputError, match="it tells the time of its frames; leave out time_step=5"):
        open_trajectory(timed, time_step=5.0)
    with pytest.raises(InputError, match="units lj, expected metal or real"):
        read(dump(tmp_path / "lj", [0], "id element x y z", head="ITEM: UNITS\nlj\n"))
    whole = uneven.read_text()
    for cut in (len(whole) - 40, whole.rindex("ITEM: ATOMS") + 5, whole.rindex("BOX") - 6):
        uneven.write_text(whole[:cut])
        with pytest.raises(
            InputError, match=r"within a number|breaks off|expected id element x y z|before its atoms|expected ITEM"
        ):
            read(uneven)


def xdatcar(
    names: str = "Na Mn O", scale: str = "1.0", counts: str = "2 1 2", numbers: tuple[int, ...] = (1, 2)
) -> str:
    """An XDATCAR of `PLACES`."""
    text = (
        f"toy\n{scale}\n8 0 0\n0 8 0\n0 0 8\n{names}\n{counts}\n"
        if names
        else f"toy\n{scale}\n8 0 0\n0 8 0\n0 0 8\n{counts}\n"
    )
    for frame, number in enumerate(numbers):
        rows = "\n".join(" ".join(f"{x / 8:.10f}" for x in place) for place in PLACES[frame])
        text += f"Direct configuration= {number:6d}\n{rows}\n"
    return text


@pytest.mark.parametrize("scale", ["1.0", "-512.0", "1.0 1.0 1.0"])
@pytest.mark.parametrize("names", ["Na Mn O", "Na_pv Mn_pv O_s", "Na_pv/4a2f0c Mn/1 O/22"])
def test_heads_of_xdatcar(tmp_path: Path, scale: str, names: str) -> None:
    (tmp_path / "XDATCAR").write_text(xdatcar(names, scale) + "\n\n")
    np.testing.assert_allclose(read(tmp_path / "XDATCAR"), PLACES[:2], atol=1e-8)


def test_xdatcar_as_people_have_it(tmp_path: Path) -> None:
    path = tmp_path / "XDATCAR"
    for packed, opener in (("a.bz2", bz2.open), ("a.xz", lzma.open)):
        with opener(tmp_path / f"XDATCAR_{packed}", "wt") as file:
            file.write(xdatcar())
        np.testing.assert_allclose(read(tmp_path / f"XDATCAR_{packed}"), PLACES[:2], atol=1e-8)
    (tmp_path / "run").write_text(xdatcar("Na Mn F O", counts="2 1 0 2"))  # known by its content; no F
    assert open_trajectory(tmp_path / "run").numbers.tolist() == [11, 11, 25, 8, 8]
    path.write_text(xdatcar().replace(" 0.", "-0."))  # one column runs into the next
    assert (read(path)[:, :, 1] < 0).all()
    for text, said in (
        (xdatcar(names=""), r"a head of VASP 4, with no elements in it"),
        (xdatcar("Na Mn Qq"), "'Qq' names no element"),
        (xdatcar().replace(" 0.", "0."), "frame 0, row 1.*numbers run together"),
        (xdatcar()[:-20], "frame 1.*row 5|ends within a number"),
        (xdatcar()[:-5], r"ends within a number, 0\.\d+; leave that frame out"),
        ("\n".join(xdatcar().splitlines()[:-2]) + "\n", "frame 1 breaks off after 3 of 5 atoms"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            read(path)
    for scale in ("0.0", "1.0 -1.0 1.0"):
        path.write_text(xdatcar(scale=scale))
        with pytest.raises(InputError, match=f"frame 0: a scale of '{scale}' and a cell of .*, which is none"):
            read(path)
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(40))
    with pytest.raises(InputError, match="compressed by zstd, which is not read; unpack it"):
        read(path)
    path.write_text(xdatcar(numbers=(10, 20, 50)))
    with pytest.raises(InputError, match="configuration is 10 apart up to frame 1, then 30"):
        read(path, time_step=1.0)
    path.write_text(xdatcar(numbers=(1, 2, 1)))  # a run in two parts
    assert len(read(path, time_step=1.0)) == 3


def outcar(magnetization: int = 0, learned: tuple[bool, ...] = (False,), extra: str = "", stress: str = "") -> str:
    """An OUTCAR of Li2 with as many components of a magnetization and steps, of DFT or learned."""
    text = " vasp.6.3.2 toy\n   VRHFIN =Li: s\n   NELM   =     60;   NELMIN=  2\n   ions per type =               2\n"
    for step, of_field in enumerate(learned):
        ml, energy = (" (ML)", "energy ML TOTEN") if of_field else ("", "energy   TOTEN")
        text += f"--- Iteration      {step + 1}(   1)  ---\n  free energy    TOTEN  =   -9.0 eV\n"
        text += "      direct lattice vectors   reciprocal lattice vectors\n"
        text += "".join(
            "   " + "  ".join("5.0" if i == j else "0.0" for j in range(3)) + " 0.2 0.2 0.2\n" for i in range(3)
        )
        for axis in "xyz"[:magnetization]:
            rows = "".join(f"    {ion}   0.0   0.0   {0.1 * ion}\n" for ion in (1, 2))
            text += f" magnetization ({axis})\n\n# of ion  s  p  tot\n------\n{rows}-----\n"
        text += stress + f" POSITION                                       TOTAL-FORCE (eV/Angst){ml}\n ---\n"
        text += f"   0.0 0.0 {0.01 * step}   0.1 0.0 0.0\n   2.5 2.5 2.5  -0.1 0.0 0.0\n ---\n{extra}"
        text += f"  {'ML ' if of_field else ''}FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  ---\n"
        text += (
            f"  free  {energy}  =       -4.{step} eV\n\n  energy  without entropy= -4.0  energy(sigma->0) = -4.0\n\n"
        )
    return text + " General timing and accounting informations for this job:\n"


def test_outcar_as_people_have_it(tmp_path: Path) -> None:
    path = tmp_path / "OUTCAR"
    path.write_bytes(outcar(magnetization=1).replace("toy", "Gr\xf6\xdfe").encode("latin-1"))
    (plain,) = vasp.read(path)
    np.testing.assert_allclose(plain.labels["magnetic_moment"], [0.1, 0.2])
    assert plain.labels["energy"] == -4.0
    path.write_text(outcar(magnetization=3))
    (vectors,) = vasp.read(path)
    with pytest.raises(InputError, match=r"magnetic_moment should have shape \(2,\), found \(2, 3\)"):
        vectors.array("magnetic_moment")
    vectors.labels.pop("magnetic_moment")
    assert vectors.array("forces")[0, 0] == 0.1
    path.write_text(outcar(learned=(True, False, True)))
    with pytest.warns(IonEchoWarning, match="2 steps of VASP's machine-learned force field left out"):
        (dft,) = vasp.read(path)
    assert dft.positions[0, 2] == 0.01
    assert dft.labels["energy"] == -4.1
    assert len(read(path)) == 3  # of a trajectory all are frames
    path.write_text(outcar(learned=(True,)))
    with pytest.raises(InputError, match="only steps of VASP's machine-learned force field"):
        list(vasp.read(path))
    path.write_text(outcar().replace("0.1 0.0 0.0", "0.1 ****** 0.0"))
    with pytest.raises(InputError, match=r"step 1, positions and forces, row 1.*did not fit its columns"):
        list(vasp.read(path))
    path.write_text(outcar().replace("2.5  -0.1", "2.5-0.1"))
    assert next(vasp.read(path)).labels["forces"][1, 0] == -0.1
    kilobars = "  FORCE on cell =-STRESS in cart. coord.  units (eV):\n  in kB       10.0 20.0 30.0 4.0 5.0 6.0\n"
    path.write_text(outcar(stress=kilobars))
    stress = next(vasp.read(path)).labels["stress"] / (-0.1 * ase.units.GPa)
    np.testing.assert_allclose(stress, [[10, 4, 6], [4, 20, 5], [6, 5, 30]])
    path.write_text(outcar(stress=kilobars.replace("10.0", "*****")))
    assert "stress" not in next(vasp.read(path)).labels
    part = "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV) w/o vdW\n  free  energy   TOTEN  = -3.0 eV\n"
    path.write_text(outcar(extra=part))
    assert next(vasp.read(path)).labels["energy"] == -4.0
    text = (
        outcar()
        .replace("=Li: s\n", "=Li: s\n   VRHFIN =F: s2p5\n   VRHFIN =O: s2p4\n")
        .replace("     2\n", "   1   0   1\n")
    )
    path.write_text(text)
    assert next(vasp.read(path)).numbers.tolist() == [3, 8]


def plain_xyz(path: Path, comments: list[str]) -> Path:
    """Frames of `PLACES` with these lines above them."""
    rows = ["\n".join(f"{kind} {x} {y} {z}" for kind, (x, y, z) in zip(KINDS, at, strict=True)) for at in PLACES]
    path.write_text("".join(f"5\n{comment}\n{row}\n" for comment, row in zip(comments, rows, strict=False)))
    return path


def test_comments_of_plain_xyz_tell_the_time(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    for form in ("Atoms. Timestep: {}", "Step {}", " i = {:8d}, time = 0.5, E = -1.0", "step: {} done"):
        even = plain_xyz(path, [form.format(10 * frame) for frame in range(4)])
        assert len(read(even, time_step=5.0)) == 4
        with pytest.raises(InputError, match="is 10 apart up to frame 2, then 30"):
            read(plain_xyz(path, [form.format(step) for step in (0, 10, 20, 50)]), time_step=5.0)
    assert len(read(plain_xyz(path, ["timestep: 1 fs"] * 4), time_step=5.0)) == 4  # tells no frame from another


def extxyz(path: Path, comments: list[str], forces: bool = True) -> Path:
    """Frames of two Na in a cell of 64 Å³."""
    columns = "species:S:1:pos:R:3" + (":forces:R:3" if forces else "")
    lines = [
        f'2\nLattice="4 0 0 0 4 0 0 0 4" pbc="T T T" Properties={columns} {comment}\n'
        f"Na 0 0 0.{number}{' 0.1 0 0' if forces else ''}\nNa 2 2 2{' -0.1 0 0' if forces else ''}\n"
        for number, comment in enumerate(comments)
    ]
    path.write_text("".join(lines))
    return path


def test_stresses_and_virials_of_extended_xyz(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"

    def stress(comment: str, **options: object) -> np.ndarray:
        (found,) = ase_files.read(extxyz(path, [f"energy=-1 {comment}"]), **options)  # type: ignore[arg-type]
        return found.labels["stress"]

    np.testing.assert_allclose(stress('stress="1 2 3 4 5 6"'), [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    virial = 'virial="64 0 0 0 128 0 0 0 0"'
    np.testing.assert_allclose(stress(virial), np.diag([-1.0, -2.0, 0.0]))
    np.testing.assert_allclose(stress(virial + ' stress="-1 0 0 0 -2 0 0 0 0"'), np.diag([-1.0, -2.0, 0.0]))
    with pytest.raises(InputError, match="its virial is not minus its stress times the volume"):
        stress(virial + ' stress="1 0 0 0 2 0 0 0 0"')
    np.testing.assert_allclose(stress(virial.replace("virial", "Virial")), np.diag([-1.0, -2.0, 0.0]))
    for other in ("REF_stress", "dft_virial", "STRESS"):
        extxyz(path, [f'energy=-1 {other}="1 0 0 0 2 0 0 0 0"'])
        with pytest.warns(IonEchoWarning, match=f"{other} left out; if these are labels, say so with keys"):
            assert "stress" not in next(iter(list(ase_files.read(path)))).labels
    with pytest.raises(InputError, match=r"a\.extxyz.*stress is not symmetric: its components differ by 4"):
        stress('stress="1 2 3 4 5 6 7 8 9"')
    both = virial + ' stress="1 0 0 0 2 0 0 0 0"'
    np.testing.assert_allclose(stress(both, keys={"stress": "stress"}), np.diag([1.0, 2.0, 0.0]))


def test_an_import_tells_its_labels_and_flags_what_cannot_be(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ionecho.data.commands import app

    Path("in").mkdir()
    extxyz(Path("in/a.extxyz"), ["energy=-1"])
    text = Path("in/a.extxyz").read_text()
    Path("in/a.extxyz").write_text(
        text + extxyz(Path("b"), ["energy=-2"], forces=False).read_text() + text.replace("energy=-1", "energy=1e300")
    )
    app(IMPORT, standalone_mode=False)
    told = " ".join(capsys.readouterr().out.split())
    assert "energy (eV): 3 of 3 configurations" in told
    assert "forces (eV/Å): 2 of 3 configurations; missing in a.extxyz#1" in told
    assert "flagged, absurd value: a.extxyz#2" in told
    extxyz(Path("in/a.extxyz"), [""], forces=False)
    with pytest.raises(InputError, match=r"no label in it.*--options"):
        app([*IMPORT[:1], "other", *IMPORT[2:]], standalone_mode=False)


MAGRES = """#$magres-abinitio-v1.0
[atoms]
units lattice Angstrom
lattice 6 0 0 0 6 0 0 0 6
units atom Angstrom
atom Na Na 1 0 0 0
atom Na Na 2 3 3 3
[/atoms]
[magres]
units {key} {unit}
{rows}
[/magres]
"""


def test_magres_of_cubic_sites_and_of_missing_atoms(tmp_path: Path) -> None:
    path = tmp_path / "a.magres"
    rows = "efg Na 1 1e-15 0 2e-15 0 1e-15 0 0 0 1e-15\nefg Na 2 0.1 0 0 0 0.1 0 0 0 -0.2"
    path.write_text(MAGRES.format(key="efg", unit="au", rows=rows))
    (found,) = magres.read(path)
    coupling = quadrupole_coupling(found.labels["efg"], 0.104)
    assert abs(coupling[0]) < 1e-6 < abs(coupling[1])
    path.write_text(MAGRES.format(key="ms", unit="ppm", rows="ms Na 1 1 0 0 0 1 0 0 0 1"))
    with pytest.raises(InputError, match="ms is not there for every atom: 1 rows for 2 atoms"):
        list(magres.read(path))
    path.write_text(MAGRES.format(key="ms", unit="ppm", rows="\n".join(["ms Na 1 1 0 0 0 1 0 0 0 1"] * 2)))
    with pytest.raises(InputError, match="ms stands twice with Na 1"):
        list(magres.read(path))
    whole = MAGRES.format(key="ms", unit="ppm", rows="\n".join(f"ms Na {n} 1 0 0 0 1 0 0 0 1" for n in (1, 2)))
    for text, said in (
        (whole.replace("ms Na 2", "ms Na 3"), "ms of Na 3, expected some of its atoms Na 1, Na 2"),
        (whole.replace("[/magres]\n", ""), r"ends within its block magres, before a line \[/magres\]"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            list(magres.read(path))


def test_positions_and_cells_that_cannot_be(tmp_path: Path) -> None:
    crystal = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    for name, spoil, said in (
        ("nan", lambda atoms: atoms.positions.__setitem__((2, 1), np.nan), r"frame 3: positions that are not.*Na 2 at"),
        ("cell", lambda atoms: atoms.cell.__setitem__((0, 0), np.nan), "frame 3: a cell that is not numbers"),
        ("flat", lambda atoms: atoms.cell.__setitem__(2, atoms.cell[0] + atoms.cell[1]), "frame 3: a cell of 0 Å³"),
    ):
        frames = [crystal.copy() for _ in range(5)]
        spoil(frames[3])
        ase.io.write(tmp_path / f"{name}.extxyz", frames)
        with pytest.raises(InputError, match=said):
            ionecho.analyze("rdf", tmp_path / f"{name}.extxyz")
        with pytest.raises(InputError, match=said):
            ionecho.analyze("diffusion", tmp_path / f"{name}.extxyz", "analysis.settings.read.time_step=1")
    molecule = Atoms("Na4", positions=np.zeros((4, 3)))
    ase.io.write(tmp_path / "molecule.xyz", [molecule] * 5)
    read = ReadOptions(time_step=1.0)
    trajectory = read.open(tmp_path / "molecule.xyz")
    with pytest.raises(InputError, match=r"holds no periodic cell.*give cell=\[a,b,c\]"):
        follow(trajectory, "Na", None, read, remove_drift=False, unwrap=True, longest_step=0.45)


def test_names_of_files_are_read_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Cu", cubic=True)
    for name in ("run@300K.xyz", "run (1).xyz", "T=300, a.xyz", "größe.xyz"):
        ase.io.write("plain.xyz", atoms)
        Path("plain.xyz").rename(name)
        (override,) = readable([f"input={name}"])
        from hydra.core.override_parser.overrides_parser import OverridesParser

        assert OverridesParser.create().parse_override(override).value() == name
        assert len(read(Path(name))) == 1
    assert readable(["analysis=rdf", "a.b=[1,2]", "input=run.zarr"]) == ["analysis=rdf", "a.b=[1,2]", "input=run.zarr"]
    with pytest.raises(InputError, match=r"put it into quotes: 'note=\"a \(b\)\"'"):
        readable(["note=a (b)"])
    for name in ("300", "${x}.xyz"):  # no number, nor an entry of the config, where a file is asked for
        Path("größe.xyz").rename(name)
        assert OverridesParser.create().parse_override(readable([f"input={name}"])[0]).value().replace("\\", "") == name
        Path(name).rename("größe.xyz")
    Path("300").mkdir()
    assert readable(["temperature=300", "a.temperature=[300,400]"]) == ["temperature=300", "a.temperature=[300,400]"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert readable(["input=~/größe.xyz", "output=[~/a, b]", "~input"]) == [
        f'input="{tmp_path}/größe.xyz"',
        f'output=["{tmp_path}/a","b"]',
        "~input",
    ]
    assert len(find_inputs("run*.xyz")) == 2
    with pytest.raises(InputError, match="expected one file or dataset, found 2"):
        find_one("run*.xyz")
    with pytest.raises(InputError, match=r"nothing fits \*\.nothing"):
        find_inputs("*.nothing")


def test_archives_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    def packed(file: str, **entry: object) -> Path:
        info = zipfile.ZipInfo(str(entry.get("name", "x")))
        info.external_attr = int(str(entry.get("mode", 0))) << 16
        with zipfile.ZipFile(tmp_path / file, "w") as archive:
            archive.writestr(info, "x")
        return tmp_path / file

    for number, entry in enumerate(({"name": "../x"}, {"name": "/x"}, {"name": "a\\..\\x"}, {"mode": 0o120777})):
        with pytest.raises(InputError, match="lies outside of it, or is a link"):
            refuse_odd_zip(packed(f"{number}.zip", **entry))
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x", "x")
    with pytest.raises(InputError, match="compressed or encrypted in a way that is not read"):
        refuse_odd_zip(bomb)
    for number, (name, kind) in enumerate((("../x", tarfile.REGTYPE), ("x", tarfile.SYMTYPE), ("x", tarfile.FIFOTYPE))):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/hostname"
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            tar.addfile(member)
        with pytest.raises(InputError, match="is a link or a device, or lies outside of it"):
            unpack_tar(tmp_path / f"{number}.tar", tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


def test_every_flipped_byte_of_a_dataset_is_found(toy_dataset: Path, tmp_path: Path) -> None:
    whole = toy_dataset.read_bytes()
    copy = tmp_path / toy_dataset.name
    values = Dataset(toy_dataset).rows("positions", 0, 5)
    for place in np.random.default_rng(0).integers(0, len(whole), 40):
        copy.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        if not verify(copy):  # of what a zip says beside its entries, such as their dates
            np.testing.assert_array_equal(Dataset(copy).rows("positions", 0, 5), values)


def test_a_damaged_dataset_says_what_is_wrong_with_it(toy_dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut-1.0.0.zarr.zip"
    path.write_bytes(toy_dataset.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"cut-1\.0\.0\.zarr\.zip: not a whole zip file"):
        ionecho.dataset(path)


def test_a_dataset_without_a_part_of_zeros_is_refused(tmp_path: Path) -> None:
    """zarr leaves parts of zeros out of a file, so that a lost one would read as zeros."""
    writer = DatasetWriter(tmp_path / "a.zarr", ["energy", "forces"])
    writer.append([toy_configuration(0, energy=np.zeros(()))])
    for name in writer.names:
        part = next(path for path in (tmp_path / "a.zarr" / name / "c").rglob("*") if path.is_file())
        whole = part.read_bytes()
        part.unlink()
        with pytest.raises(InputError, match=f"1 parts of {name} are missing on disk"):
            Dataset(tmp_path / "a.zarr")
        part.write_bytes(whole)
    Dataset(tmp_path / "a.zarr")


def test_a_damaged_trajectory_ends_in_one_line(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "t.zarr", mode="w")
    group.create_array("numbers", data=np.array([11, 17]))
    arrays = {"positions": np.random.default_rng(0).normal(size=(8, 2, 3)), "cell": np.tile(9.0 * np.eye(3), (8, 1, 1))}
    append(group, 0, arrays, block=4)
    read(tmp_path / "t.zarr")
    chunk = next(path for path in (tmp_path / "t.zarr/positions").rglob("*") if path.is_file() and "c" in path.parts)
    whole = chunk.read_bytes()
    for damaged in (whole[:20], b"", whole[:9] + bytes([whole[9] ^ 1]) + whole[10:]):
        chunk.write_bytes(damaged)
        with pytest.raises(InputError, match=r"t\.zarr: damaged"):
            read(tmp_path / "t.zarr")
    chunk.unlink()
    with pytest.raises(InputError, match="1 parts of positions are missing on disk"):
        read(tmp_path / "t.zarr")
    chunk.write_bytes(whole)
    told = (tmp_path / "t.zarr/positions/zarr.json").read_text()
    (tmp_path / "t.zarr/positions/zarr.json").write_text(re.sub(r'"shape":\s*\[\s*8', '"shape": [8000000000000', told))
    with pytest.raises(InputError, match=r"t\.zarr: positions should take 384000000000000 bytes, of a file of"):
        open_trajectory(tmp_path / "t.zarr")
    (tmp_path / "t.zarr/positions/zarr.json").write_text(told)
    append(zarr.open_group(tmp_path / "t.zarr"), 0, {"efg": np.ones((8, 2, 3, 3)), "zero": np.zeros(8)}, block=4)
    names = ["efg", "zero"]
    assert len(list(open_trajectory(tmp_path / "t.zarr").blocks(0, 4, names))) == 2
    next(path for path in (tmp_path / "t.zarr/efg").rglob("*") if path.is_file() and "c" in path.parts).unlink()
    with pytest.raises(InputError, match="1 parts of efg are missing on disk; make it anew"):
        list(open_trajectory(tmp_path / "t.zarr").blocks(0, 4, names))
    shutil.rmtree(tmp_path / "t.zarr/efg/c")
    shutil.rmtree(tmp_path / "t.zarr/zero/c")
    for name in names:
        with pytest.raises(InputError, match=f"2 parts of {name} are missing on disk; make it anew"):
            list(open_trajectory(tmp_path / "t.zarr").blocks(0, 4, [name]))
    for name in names:  # as earlier versions wrote them, without a word on what is on disk
        told = (tmp_path / "t.zarr" / name / "zarr.json").read_text()
        (tmp_path / "t.zarr" / name / "zarr.json").write_text(told.replace("parts_of_zeros_are_kept", "another"))
        with pytest.raises(InputError, match=f"2 parts of {name} are missing on disk; make it anew"):
            list(open_trajectory(tmp_path / "t.zarr").blocks(0, 4, [name]))
    for text in ("{", "{}", "[]", ""):
        shutil.copytree(tmp_path / "t.zarr", tmp_path / "b.zarr")
        (tmp_path / "b.zarr/zarr.json").write_text(text)
        with pytest.raises(InputError, match=r"b\.zarr: damaged"):
            open_trajectory(tmp_path / "b.zarr")
        shutil.rmtree(tmp_path / "b.zarr")
    (tmp_path / "t.zarr/positions/zarr.json").write_text(told)
    group.attrs["pbc"] = [True] * 7
    with pytest.raises(InputError, match="pbc should hold three of true and false"):
        read(tmp_path / "t.zarr")


def test_a_stress_that_is_not_to_be_trusted_relaxes_no_cell() -> None:
    atoms = bulk("NaO", "rocksalt", 4.6, cubic=True)
    atoms.calc = ionecho.load("painn-p2_gpaw").calculator(device="cpu", dtype="float32")
    atoms.get_potential_energy()
    with pytest.raises(InputError, match=r"of the pressure of painn-p2_gpaw is .*pressure_error_limit=null"):
        atoms.get_stress()
    atoms.calc = ionecho.load("painn-p2_gpaw").calculator("cpu", "float32", pressure_error_limit=None)
    assert atoms.get_stress().shape == (6,)


def test_predictions_are_written_as_their_name_says(tmp_path: Path) -> None:
    frames = [p2_crystal(seed) for seed in range(3)]
    ase.io.write(tmp_path / "t.extxyz", frames)
    model = ionecho.load("uf3-p2_nmmo")
    expected = model.predict(frames, device="cpu", dtype="float64")
    for name in ("p.extxyz", "p.csv"):
        model.predict(tmp_path / "t.extxyz", device="cpu", dtype="float64", output=tmp_path / name)
    written = ase.io.read(tmp_path / "p.extxyz", ":")
    np.testing.assert_allclose([atoms.get_forces() for atoms in written], expected["forces"], atol=1e-6)
    np.testing.assert_allclose([atoms.get_potential_energy() for atoms in written], expected["energy"], atol=1e-6)
    table = pd.read_csv(tmp_path / "p.csv")
    assert len(table) == 3 * len(frames[0])
    np.testing.assert_allclose(
        table["forces_y (eV/Å)"].to_numpy().reshape(3, -1), expected["forces"][..., 1], atol=1e-6
    )
    assert table["element"][:2].tolist() == [str(symbol) for symbol in frames[0].symbols[:2]]
    assert not list(tmp_path.glob("p.*.zarr*"))
    with pytest.raises(InputError, match=r"p\.csv exists; remove it"):
        model.predict(tmp_path / "t.extxyz", device="cpu", output=tmp_path / "p.csv")
    with pytest.raises(InputError, match=r"expected an ending \.zarr, \.extxyz, \.xyz, \.csv, found \.txt"):
        model.predict(tmp_path / "t.extxyz", device="cpu", output=tmp_path / "p.txt")


def test_a_number_that_the_end_of_a_file_cuts_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    rows = "\n".join(f"Na {x:.6f} {y:.6f} {z:.6f}" for x, y, z in PLACES[0])
    path.write_text(f'5\nLattice="8 0 0 0 8 0 0 0 8" Properties=species:S:1:pos:R:3\n{rows}')
    np.testing.assert_allclose(read(path), PLACES[:1], atol=1e-6)
    whole = path.read_text()
    for short in (1, 3, 5):
        path.write_text(whole[:-short])
        with pytest.raises(InputError, match=r"ends within a number, .*; leave that frame out, or end the line"):
            read(path)
    path.write_text(whole[:-3] + "\n")
    assert len(read(path)) == 1
    cut = dump(tmp_path / "cut", [0, 10], "id element x y z")
    cut.write_text(cut.read_text()[:-1])
    with pytest.raises(InputError, match=r"(within row 5 of 5|within a number, .*); leave that frame out"):
        read(cut)


def test_a_count_without_rows_takes_no_memory(tmp_path: Path) -> None:
    head = "toy\n1.0\n5 0 0\n0 5 0\n0 0 5\nNa O\n1 600000000\nDirect\n0 0 0\n"
    (tmp_path / "POSCAR").write_text(head)
    (tmp_path / "CHGCAR").write_text(head)
    for work in (lambda: last_image(str(tmp_path / "POSCAR")), lambda: list(density.read_chgcar(tmp_path / "CHGCAR"))):
        with pytest.raises(InputError, match=r"its head counts 600000001 atoms \('1 600000000'\), a file of \d+ bytes"):
            work()


def test_an_empty_file_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "run.xyz").write_text("")
    with pytest.raises(InputError, match=r"run\.xyz: an empty file"):
        list(images(tmp_path / "run.xyz"))


def test_more_columns_than_a_row_has_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text('1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:999999999999\nNa 0 0 0\n')
    with pytest.raises(InputError, match=r"a\.xyz: cannot be read \(ValueError: Properties counts 1000000000000 col"):
        list(images(path))


def test_a_cube_without_a_whole_origin_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.cube"
    path.write_text("a\nb\n 1 0.0 0.0\n 1 9 0 0\n 1 0 9 0\n 1 0 0 9\n 11 0 0 0 0\n 1.0\n")
    with pytest.raises(InputError, match=r"line 3: expected a count and an origin of 3 numbers, found '1 0\.0 0\.0'"):
        list(density.read_cube(path))


def test_settings_are_named_by_the_keys_that_a_line_has(tmp_path: Path) -> None:
    path = dump(tmp_path / "cell=8.dump", [0, 10, 20, 30, 40])
    for changes, said in (
        ([], r"cell=8\.dump: frame 0.*give analysis\.settings\.read\.species=\[\.\.\]"),
        (["analysis.settings.read.species=[Na,Mn,O]"], r"give analysis\.settings\.read\.time_step=\.\."),
        (
            ["analysis.settings.read.species=[Na,Mn,O]", "analysis.settings.read.time_step=1"],
            r"at most analysis\.settings\.longest_step=0\.45.*or set analysis\.settings\.unwrap=false",
        ),
    ):
        with pytest.raises(InputError, match=said):
            ionecho.analyze("diffusion", path, *changes)
    open_box = dump(tmp_path / "open", [0, 10], "id element x y z")
    open_box.write_text(open_box.read_text().replace("pp pp pp", "ff ff ff"))
    with pytest.raises(InputError, match=r"found pbc .*; give analysis\.settings\.read\.cell=\[a,b,c\]"):
        ionecho.analyze("rdf", open_box)
    assert open_trajectory(open_box, cell=8 * np.eye(3)).pbc.all()
    ions = dump(tmp_path / "ions", [0], "id element x y z")
    ions.write_text(ions.read_text().replace(" Na ", " Na+ "))
    with pytest.raises(InputError, match=r"Na\+ in its column element, which are no elements; dump id element x y z"):
        open_trajectory(ions)


def test_an_import_names_the_frame_and_atom_that_cannot_be(home: Path) -> None:
    from ionecho.data.commands import app

    Path("in").mkdir()
    whole = extxyz(Path("in/a.extxyz"), ["energy=-1", "energy=-2"]).read_text()
    for spoiled, said in (
        (whole.replace("energy=-2", "energy=abc"), r"a\.extxyz#1: energy: expected numbers, found 'abc'"),
        (whole.replace("2 2 2 -0.1 0 0", "2 2 2 nan 0 0"), r"a\.extxyz#0: forces of Na 1 is \[nan, 0\.0, 0\.0\]"),
        (whole.replace("Na 2 2 2", "Na 2 2 nan"), r"a\.extxyz#0: frame 0: positions that are not numbers: Na 1 at"),
        (whole.replace("4 0 0 0 4 0 0 0 4", "4 0 0 0 4 0 4 4 0"), r"a\.extxyz#0: frame 0: a cell of 0 Å³ an atom"),
        (whole.replace("Na 2 2 2", "Qq 2 2 2"), "'Qq' names no element"),
        (
            whole.replace("energy=-", "energy=-1e9"),
            "no configuration is left to train on, all are flagged: absurd value",
        ),
    ):
        Path("in/a.extxyz").write_text(spoiled)
        with pytest.raises(InputError, match=said):
            app(IMPORT, standalone_mode=False)

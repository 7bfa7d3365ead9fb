"""The rules of the house: Hydra stays at the door, nothing imports upward or in a circle, modules are small."""

from __future__ import annotations

import ast
import importlib
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from ionecho.data.schema import LABELS
from ionecho.dynamics.path import NebSettings
from ionecho.dynamics.settings import SimulationSettings
from ionecho.nmr.derived import parameter_classes
from ionecho.prediction.predictor import OWN

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = (
    "nmr",
    "geometry",
    "structures",
    "data",
    "report",
    "labelling",
    "models",
    "training",
    "checkpoints",
    "prediction",
    "dynamics",
    "analysis",
    "exploration",
)
DOOR = ("ionecho.door", "ionecho.entry", "ionecho.cli", "ionecho.face")


def named(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


MODULES = {named(path): path for path in sorted((REPOSITORY / "ionecho").rglob("*.py"))}


@cache
def imported(module: str) -> frozenset[str]:
    """What a module imports, anywhere in it: other modules of ours by their whole name."""

    def names() -> Iterator[str]:
        for node in ast.walk(ast.parse(MODULES[module].read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: a relative import"
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield whole if whole in MODULES else str(node.module)

    return frozenset(names())


def floor(module: str) -> int:
    """Ground floor first; what is in no room stands above all of them, errors below."""
    room = module.partition(".")[2].partition(".")[0]
    if module in ("ionecho", "ionecho.errors"):
        return -1
    return ROOMS.index(room) if room in ROOMS else len(ROOMS)


def test_every_module_is_in_a_room_or_at_the_door() -> None:
    outside = [name for name in MODULES if floor(name) == len(ROOMS) and not name.startswith(DOOR)]
    assert outside == []


def test_only_the_door_knows_hydra() -> None:
    knowing = {
        name
        for name in MODULES
        if {each.partition(".")[0] for each in imported(name)} & {"hydra", "omegaconf"}
        if not name.startswith(DOOR)
    }
    assert knowing == set()


def test_nothing_imports_upward() -> None:
    upward = {
        (module.removeprefix("ionecho."), other.removeprefix("ionecho."))
        for module in MODULES
        for other in imported(module) & set(MODULES)
        if floor(other) > floor(module)
    }
    assert upward == set()


def test_no_module_imports_itself_through_others() -> None:
    """Depth first; a circle is named by its modules, the first in the alphabet first."""
    circles: set[tuple[str, ...]] = set()
    finished: set[str] = set()

    def follow(module: str, way: list[str]) -> None:
        if module in way:
            circle = way[way.index(module) :]
            first = circle.index(min(circle))
            circles.add((*circle[first:], *circle[:first]))
        elif module not in finished:
            for other in sorted(imported(module) & set(MODULES)):
                follow(other, [*way, module])
            finished.add(module)

    for module in MODULES:
        follow(module, [])
    assert circles == set()


def test_modules_and_entry_points_are_small() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > 300} == {}
    entries = {path.name: len(path.read_text().splitlines()) for path in REPOSITORY.glob("*.py")}
    assert {name: length for name, length in entries.items() if length >= 60} == {}


@pytest.mark.parametrize(
    ("file", "settings", "of_a_group"),
    [("simulate/simulate.yaml", SimulationSettings, set()), ("neb.yaml", NebSettings, {"engine"})],
    ids=("simulate", "neb"),
)
def test_a_script_has_the_defaults_of_the_command(file: str, settings: type, of_a_group: set[str]) -> None:
    content = yaml.safe_load((REPOSITORY / "conf" / file).read_text())
    told = {key: value for key, value in content.items() if value != "???" and key not in ("defaults", "hydra")}
    defaults = {field.name: field.default for field in fields(settings) if field.default is not MISSING}
    parameters = {key: told.pop(key) for key in parameter_classes() if key in told}
    assert set(parameters.values()) <= {OWN}
    assert set(defaults) - set(told) == of_a_group
    for key, value in told.items():
        assert (list(defaults[key]) if isinstance(value, list) else defaults[key]) == value


@pytest.mark.parametrize(("room", "stranger"), [("analysis", "training"), ("report", "analysis")])
def test_a_room_knows_nothing_of_another_not_even_through_others(room: str, stranger: str) -> None:
    known, new = set[str](), {name for name in MODULES if name.startswith(f"ionecho.{room}.")}
    while new:
        known |= new
        new = {other for module in new for other in imported(module) & set(MODULES)} - known
    assert {name for name in known if name.startswith(f"ionecho.{stranger}")} == set()


@pytest.mark.parametrize("room", ["training", "prediction", "checkpoints", "analysis"])
def test_no_room_above_the_data_knows_a_label_by_its_name(room: str) -> None:
    """But for the loss that a paper defines for energies and forces, and the barrier, which is made of them."""
    for file in (REPOSITORY / "ionecho" / room).glob("*.py"):
        if file.name in ("losses.py", "barrier.py", "barrier_report.py"):
            continue
        strings = [node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)]
        assert {text for text in strings if isinstance(text, str)} & set(LABELS) == set(), file


def test_the_wheel_holds_every_room() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {name.rpartition(".")[0] if MODULES[name].name != "__init__.py" else name for name in MODULES}
    assert set(settings["packages"]) == packages | set(settings["package-dir"])
    assert all((REPOSITORY / folder).is_dir() for folder in settings["package-dir"].values())


@pytest.mark.parametrize("path", sorted([*REPOSITORY.glob("validation/*.py"), *REPOSITORY.glob("benchmarks/*.py")]))
def test_what_is_run_now_and_then_still_finds_what_it_imports(path: Path) -> None:
    """Names of IonEcho that a module of validation or benchmarks imports, without the peers that it compares with."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ionecho"):
            module = importlib.import_module(node.module or "")
            for name in node.names:
                known = hasattr(module, name.name) or find_spec(f"{node.module}.{name.name}")
                assert known, f"{path.name}: {node.module} has no {name.name}"

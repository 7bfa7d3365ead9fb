"""What must hold of the installation and the repository."""

from __future__ import annotations

import ast
from pathlib import Path

import schnetpack
import torch
from conftest import REPOSITORY

import datasets

LAYERS = [
    "errors",
    "config",
    "nmr",
    "geometry",
    "structures",
    "data",
    "report",
    "labelling",
    "models",
    "checkpoints",
    "training",
    "prediction",
    "dynamics",
    "exploration",
    "analysis",
    "entry",
    "cli",
]


def test_hugging_faces_datasets_is_importable_beside_our_folder() -> None:
    assert hasattr(datasets, "load_dataset")
    assert "site-packages" in str(datasets.__file__)
    assert not list((REPOSITORY / "datasets").rglob("*.py"))


def test_schnetpack_works_on_this_python() -> None:
    assert schnetpack.__version__
    from schnetpack.representation import PaiNN

    assert issubclass(PaiNN, torch.nn.Module)


def test_nothing_imports_upward() -> None:
    for file in (REPOSITORY / "ionecho").rglob("*.py"):
        room = file.relative_to(REPOSITORY / "ionecho").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for module in _imports(file):
            if module.startswith("ionecho.") and (other := module.split(".")[1]) != room:
                assert LAYERS.index(other) <= LAYERS.index(room), f"{file} imports {module}"


def test_modules_are_short_and_entry_points_shorter() -> None:
    for file in (REPOSITORY / "ionecho").rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 320, file
    for name in ("train.py", "simulate.py", "explore.py", "predict.py", "analyze.py"):
        assert len((REPOSITORY / name).read_text().splitlines()) < 60, name


def _imports(file: Path) -> list[str]:
    tree = ast.parse(file.read_text())
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found + [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]

"""What must hold of the installation and the repository."""

from __future__ import annotations

import schnetpack
import torch
from conftest import REPOSITORY

import datasets


def test_hugging_faces_datasets_is_importable_beside_our_folder() -> None:
    assert hasattr(datasets, "load_dataset")
    assert "site-packages" in str(datasets.__file__)
    assert not list((REPOSITORY / "datasets").rglob("*.py"))


def test_schnetpack_works_on_this_python() -> None:
    assert schnetpack.__version__
    from schnetpack.representation import PaiNN

    assert issubclass(PaiNN, torch.nn.Module)

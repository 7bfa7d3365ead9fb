"""Dataset cards: README.md with YAML front matter in Hugging Face's fields and ours, the single source of truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ionecho.data.files import read_yaml
from ionecho.data.quality import QualityGate
from ionecho.data.splits import SplitRecipe
from ionecho.errors import InputError, explain

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


class Strict(BaseModel):
    """A part of the card that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid")


class Source(Strict):
    """Where the upstream files are: `file`, an archive or a folder, is looked for under IONECHO_MIRROR first.

    An archive that is not there is fetched from `url`; a folder has to be there.

    An address whose archive is packed anew at each request has no checksum of its own (`url_sha256` absent): there
    the content hash of the dataset built from it decides. Files that the project has not seen have none at all.
    """

    file: str
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    url: str
    url_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    licence: str


class ImportRecipe(Strict):
    """How the upstream files become configurations."""

    importer: str
    pattern: str
    """Glob below the unpacked archive or folder."""
    frames: tuple[int, int, int] | None = None
    """First, last and step of the frames (the number that ends a file's name) that belong to this version."""
    options: dict[str, Any] = Field(default_factory=dict)
    without: list[str] = Field(default_factory=list)
    """Labels of the files that are left out."""


class LabelRecipe(Strict):
    """How a labelled dataset is made again: `ionecho label run NAME` with these overrides of `conf/label.yaml`."""

    overrides: list[str]


class DatasetBlock(Strict):
    """The `ionecho:` block of a dataset card."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    elements: list[str]
    level_of_theory: dict[str, Any]
    conventions: dict[str, Any]
    citation: str
    parent: str | None = None
    source: Source | None = None
    build: ImportRecipe | None = None
    label: LabelRecipe | None = None
    quality_gate: QualityGate
    splits: dict[str, SplitRecipe]
    content_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class DatasetCard(BaseModel):
    """The front matter of a dataset card. Keys that are not ours are Hugging Face's and pass unchanged."""

    model_config = ConfigDict(extra="allow")

    pretty_name: str
    license: str
    tags: list[str]
    size_categories: list[str]
    ionecho: DatasetBlock

    @property
    def filename(self) -> str:
        """Name of the published dataset file."""
        return f"{self.ionecho.name}-{self.ionecho.version}.zarr.zip"


def size_category(configurations: int) -> str:
    """Hugging Face's word for the size of a dataset."""
    for most, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if configurations < most:
            return name
    return "n>1M"


def front_matter(path: Path) -> dict[str, Any]:
    """The YAML front matter of a card."""
    try:
        match = FRONT_MATTER.match(path.read_text(encoding="utf-8"))
        content = None if match is None else read_yaml(match.group(1))
    except ValueError as error:
        raise InputError(f"{path}: its front matter cannot be read ({error})") from error
    if match is None:
        raise InputError(f"{path}: a card begins with YAML between two lines of ---; none found")
    if not isinstance(content, dict):
        raise InputError(f"{path}: the front matter should be a mapping, found {type(content).__name__}")
    return content


def read_card(path: Path) -> DatasetCard:
    """Read and check a dataset card."""
    try:
        return DatasetCard.model_validate(front_matter(path))
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error)}") from error


def write_card(path: Path, card: DatasetCard, body: str) -> None:
    """Write a card: front matter, then the text a person reads."""
    header = yaml.safe_dump(card.model_dump(exclude_none=True, mode="json"), sort_keys=False, allow_unicode=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(f"---\n{header}---\n\n{body.strip()}\n", encoding="utf-8")
    partial.replace(path)

"""Pages of the site that are made: front page and changes, a gallery of all cards, tutorials from their scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from ionecho.data.card import FRONT_MATTER, front_matter

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = "https://github.com/ionecho/ionecho/tree/main/"
COMMENT = re.compile(r"(?:^#(?: .*)?\n)+", re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add what is made to the pages of docs/."""
    for path, text in _made():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links that leave docs/ lead to the repository."""
    above = "../" * page.file.src_uri.count("/")
    return markdown.replace(f"]({above}../", f"]({SOURCE}")


def _made() -> Iterator[tuple[str, str]]:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    yield (
        "index.md",
        readme.replace("](docs/", "](")
        .replace("](CHANGELOG.md)", "](changes.md)")
        .replace("](CITATION.cff)", f"]({SOURCE}CITATION.cff)"),
    )
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    yield "changes.md", changes.replace("](docs/", "](")
    for script in sorted((REPOSITORY / "docs" / "tutorials").glob("*.py")):
        yield f"tutorials/{script.stem}.md", _tutorial(script)
    datasets = sorted((REPOSITORY / "datasets").glob("*/README.md"))
    models = sorted((REPOSITORY / "models").glob("*/README.md"))
    for kind, cards in {"datasets": datasets, "models": models}.items():
        for card in cards:
            yield f"gallery/{kind}/{card.parent.name}.md", _card(card)
    yield "gallery/datasets.md", "\n".join(_datasets(datasets)) + "\n"
    yield "gallery/models.md", "\n".join(_models(models)) + "\n"


def _tutorial(script: Path) -> str:
    """Comments that begin a line are the text, the rest is code."""
    _, title, code = script.read_text(encoding="utf-8").split('"""', 2)
    heading, _, text = title.partition("\n")
    parts = [
        f"# {heading.rstrip('.')}",
        text.strip(),
        f"The whole script: [`{script.name}`]({SOURCE}docs/tutorials/{script.name}).",
    ]
    last = 0
    for comment in COMMENT.finditer(code):
        parts += [_fenced(code[last : comment.start()]), re.sub(r"^# ?", "", comment.group(), flags=re.MULTILINE)]
        last = comment.end()
    return "\n\n".join(filter(None, [*parts, _fenced(code[last:])])) + "\n"


def _fenced(code: str) -> str:
    return f"```python\n{code.strip()}\n```" if code.strip() else ""


def _card(path: Path) -> str:
    """The text of a card; links into docs/ stay in the site."""
    text = FRONT_MATTER.sub("", path.read_text(encoding="utf-8"))
    return text.replace("](../../docs/", "](../../").replace("](../../models/", "](../models/")


def _datasets(cards: list[Path]) -> Iterator[str]:
    yield "# Datasets\n\nMade from their cards. `ionecho.dataset(NAME)` opens one, `ionecho data list` shows them.\n"
    yield "| dataset | what | elements | licence |\n|---|---|---|---|"
    for path in cards:
        card = front_matter(path)
        name, block = path.parent.name, card["ionecho"]
        link, elements = f"[{name} {block['version']}](datasets/{name}.md)", ", ".join(block["elements"])
        yield f"| {link} | {card['pretty_name']} | {elements} | {card['license']} |"


def _models(cards: list[Path]) -> Iterator[str]:
    yield "# Models\n\nMade from their cards. `ionecho.load(NAME)` loads one, `ionecho models list` shows them.\n"
    yield "| checkpoint | trained on | RMSE on the test part |\n|---|---|---|"
    for path in cards:
        name, metrics = path.parent.name, json.loads((path.parent / "metrics.json").read_text())
        errors = [f"{key} {value['rmse']:.3g}" for key, value in metrics.get("test", {}).items() if "rmse" in value]
        data = metrics["data"]
        yield f"| [{name}](models/{name}.md) | {data['name']} {data['version']} | {', '.join(errors)} |"

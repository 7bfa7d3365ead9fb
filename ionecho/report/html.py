"""One self-contained HTML page: numbers, notes, figures (embedded) with captions, tables, settings."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment
from markupsafe import Markup, escape

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 980px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.lead { font-size: 1.15rem; } .notes li { margin: .2rem 0; }
figure { margin: 1.5rem 0; } img { max-width: 100%; }
figcaption, .small { color: #555; font-size: .87rem; }
.wide { overflow-x: auto; }
@media print { .wide { overflow: visible; } table { font-size: .6rem; } th, td { padding: .1rem .25rem; } }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: .82rem; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for line in headline %}<p class="lead">{{ line }}</p>
{% endfor %}
{% if notes %}<h2>Notes</h2><ul class="notes">{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
{% for table in tables %}<h2>{{ table.title }}</h2><div class="wide">{{ table.html | safe }}</div>
<p class="small">{{ table.caption | linked }}</p>
{% endfor %}
<h2>Figures</h2>
{% for figure in figures %}<figure><img alt="{{ figure.caption }}" src="data:image/png;base64,{{ figure.data }}">
<figcaption>{{ figure.caption | linked }}</figcaption></figure>
{% endfor %}
{% for name, block in blocks.items() %}<h2>{{ name }}</h2><pre>{{ block }}</pre>
{% endfor %}
</body>
</html>
"""


@dataclass(frozen=True)
class Picture:
    """An image file and its caption."""

    path: Path
    caption: str

    @property
    def data(self) -> str:
        """The image in base64."""
        return base64.b64encode(self.path.read_bytes()).decode()


@dataclass(frozen=True)
class Table:
    """A table with its title and caption."""

    title: str
    frame: pd.DataFrame
    caption: str

    @property
    def html(self) -> str:
        """The table as HTML, missing values left blank."""
        shown = self.frame.astype(object).where(self.frame.notna(), "")
        return shown.to_html(index=False, border=0, float_format="{:.5g}".format)


def linked(text: str, files: list[str]) -> Markup:
    """The text with links to those of the files that it names."""
    pattern = re.compile("|".join(rf"\b{re.escape(name)}" for name in files))
    return Markup(pattern.sub(lambda found: f'<a href="{found.group()}">{found.group()}</a>', str(escape(text))))


def render_page(
    title: str,
    headline: list[str],
    notes: list[str],
    tables: list[Table],
    figures: list[Picture],
    blocks: Mapping[str, Mapping[str, Any]],
    files: list[str],
) -> str:
    """The page; `blocks` are plain mappings (settings, conventions, source) printed as YAML under their names;
    `files` lie beside the page, and are linked where a caption names them."""
    environment = Environment(autoescape=True, trim_blocks=True)
    environment.filters["linked"] = lambda text: linked(text, files)
    template = environment.from_string(_PAGE)
    texts = {
        name: yaml.safe_dump(dict(block), sort_keys=False, allow_unicode=True, width=200)
        for name, block in blocks.items()
        if block
    }
    return template.render(title=title, headline=headline, notes=notes, tables=tables, figures=figures, blocks=texts)

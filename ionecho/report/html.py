"""One self-contained HTML page: headline, notes, tables, figures (embedded) with captions, settings, files."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment
from markupsafe import Markup

from ionecho.report.content import Figure, Table
from ionecho.report.digits import DIGITS, rounded
from ionecho.report.style import DOUBLE, RESOLUTION

ROWS = 24  # of a table on the page
WIDTH = 980  # of the page, pixels
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; }
body { max-width: {{ width }}px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.lead { font-size: 1.15rem; margin: .3rem 0; } .notes li { margin: .2rem 0; }
figure { margin: 1.5rem 0; break-inside: avoid; } img { max-width: 100%; }
figcaption, .small { color: #555; font-size: .87rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th { vertical-align: bottom; font-weight: 600; } td { white-space: nowrap; } thead { display: table-header-group; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; } tr { break-inside: avoid; }
th.text, td.text { text-align: left; white-space: normal; overflow-wrap: break-word; }
pre { background: #f6f6f6; padding: .8rem; overflow-wrap: anywhere; white-space: pre-wrap; font-size: .82rem; }
@media print {
  @page { margin: 14mm; } body { font-size: 10pt; max-width: none; margin: 0; padding: 0; }
  .wide { overflow: visible; } table { font-size: 7.5pt; width: 100%; } th, td { padding: .15rem .3rem; }
  td { white-space: normal; } th.text, td.text { overflow-wrap: anywhere; } img { max-height: 230mm; }
}
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for line in headline %}<p class="lead">{{ line }}</p>
{% endfor %}
{% if notes %}<h2>Notes</h2><ul class="notes">
{% for note in notes %}<li>{{ note }}</li>
{% endfor %}</ul>{% endif %}
{% for name, table in tables.items() if table.title %}<h2>{{ table.title }}</h2>
<div class="wide"><table><thead><tr>
{% for text, is_text in heads(table.frame) %}<th{% if is_text %} class="text"{% endif %}>{{ text }}</th>
{% endfor %}</tr></thead><tbody>
{% for row in rows(table.frame) %}<tr>
{% for text, is_text in row %}<td{% if is_text %} class="text"{% endif %}>{{ text }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
<p class="small">{{ table.caption }} {% if table.frame|length > limit %}The first {{ limit }} of \
{{ table.frame|length }} rows. {% endif %}Data: {{ link(name) }}.</p>
{% endfor %}
{% if figures %}<h2>Figures</h2>{% endif %}
{% for name, figure in figures.items() %}<figure>
<img alt="{{ figure.caption }}" width="{{ images[name].width }}" src="data:image/png;base64,{{ images[name].text }}">
<figcaption>{{ figure.caption }}{% if figure.names|length > figure.shown|length %} The first {{ figure.shown|length }} \
of {{ figure.names|length }}.{% endif %}{% if figure.data %} Data: {% for table in figure.data %}{{ link(table) }}\
{{ ", " if not loop.last }}{% endfor %}.{% endif %}</figcaption></figure>
{% endfor %}
{% for name, block in blocks.items() %}<h2>{{ name.capitalize() }}</h2><pre>{{ block }}</pre>
{% endfor %}
<h2>Files</h2><p class="small">All numbers with their units: <a href="summary.json">summary.json</a></p>
<ul class="small">
{% for name, table in tables.items() %}<li>{{ link(name) }}: \
{{ heads(table.frame, False)|map("first")|join(", ") }}</li>
{% endfor %}</ul>
</body>
</html>
"""


def page(
    title: str,
    headline: Sequence[str],
    notes: Sequence[str],
    tables: Mapping[str, Table],
    figures: Mapping[str, Figure],
    images: Mapping[str, Path],
    units: Mapping[str, str],
    blocks: Mapping[str, Mapping[str, Any]],
) -> str:
    """The page.

    `images` are the png files of the `figures`, `units` those of the tables' columns; `blocks` are plain mappings
    (physics, settings, conventions, source) printed as YAML under their names.
    """
    return (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(_PAGE)
        .render(
            title=title,
            headline=headline,
            notes=notes,
            tables=tables,
            figures=figures,
            limit=ROWS,
            width=WIDTH,
            link=Markup('<a href="{0}.csv">{0}.csv</a>').format,
            images={name: _image(path) for name, path in images.items()},
            heads=lambda frame, shown=True: [
                (_head(name, units, frame), _is_text(frame[name])) for name in (_columns(frame) if shown else frame)
            ],
            rows=_rows,
            blocks={
                name: yaml.safe_dump(block, sort_keys=False, allow_unicode=True, width=200)
                for name, block in blocks.items()
                if block
            },
        )
    )


def _image(path: Path) -> dict[str, Any]:
    """The image as text, and its width on the page, which two columns of a journal fill."""
    content = path.read_bytes()
    width = round(int.from_bytes(content[16:20]) * WIDTH / (DOUBLE * RESOLUTION))
    return {"text": base64.b64encode(content).decode(), "width": width}


def _columns(frame: pd.DataFrame) -> list[str]:
    """The columns of the page, without empty ones: an error is in the column of what it is the error of."""
    names = [str(name) for name in frame if frame[name].notna().any()]
    return [name for name in names if not (name.endswith("_error") and name.removesuffix("_error") in names)]


def _head(name: str, units: Mapping[str, str], frame: pd.DataFrame) -> str:
    """Name and unit of a column; a unit that a column of the table holds stands in its rows."""
    unit = units.get(name) or units.get(name.removesuffix("_error"))
    return str(name).replace("_", " ") + (f" /\u00a0{unit}" if unit and unit not in frame else "")


def _is_text(column: pd.Series) -> bool:
    return any(isinstance(value, str) for value in column)


def _rows(frame: pd.DataFrame) -> list[list[tuple[str, bool]]]:
    columns = {name: _is_text(frame[name]) for name in _columns(frame)}
    told = frame.head(ROWS).to_dict("records")
    return [[(_cell(name, row), text) for name, text in columns.items()] for row in told]


def _cell(name: str, row: Mapping[Any, Any]) -> str:
    """Missing values are blank; an error by itself has the two digits of an error."""
    value, error = row[name], row.get(f"{name}_error")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return "" if value is None else str(value)
    if math.isnan(value):
        return ""
    digits = 2 if name.endswith("_error") else DIGITS
    return rounded(value, error if isinstance(error, int | float) else None, digits)

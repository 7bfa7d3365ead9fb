"""One self-contained HTML page, of the files in page/: it works from disk and offline, and prints its pictures."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment
from markupsafe import Markup, escape
from PIL import Image

from ionecho.report.content import Figure, Number, Table
from ionecho.report.digits import DIGITS, rounded
from ionecho.report.scene import Scene
from ionecho.report.style import DOUBLE, RESOLUTION

ROWS = 200  # of a table on the page
HELD = 100_000  # characters of a csv file that the page holds itself
WIDTH = 980  # of the page, pixels
SHARP, COLOURS = 2, 128  # of its pictures: dots a pixel, size of the palette
PLOTS, ATOMS = "plotly-cartesian-4.1.1.min.js", "3Dmol-2.5.5.min.js"
LICENCES = {PLOTS: "plotly.LICENSE", ATOMS: "3Dmol.LICENSE"}


def page(
    title: str,
    headline: Sequence[str | Number],
    notes: Sequence[str],
    tables: Mapping[str, Table],
    figures: Mapping[str, Figure],
    images: Mapping[str, Path],
    drawings: Mapping[str, Any],
    scene: Scene | None,
    units: Mapping[str, str],
    blocks: Mapping[str, Mapping[str, Any]],
) -> str:
    """The page.

    `images` are the png files of the `figures` and `drawings` what plotly.js draws of them, `units` those of the
    tables' columns; `blocks` are plain mappings (physics, settings, conventions, source) printed as YAML under their
    names.
    """
    scripts = [PLOTS] * bool(figures) + [ATOMS] * (scene is not None)
    csv = {name: table.frame.to_csv(index=False) for name, table in tables.items()}
    return (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(_file("page.html"))
        .render(
            title=title,
            headline=[str(line) for line in headline],
            answers=[str(line) for line in headline if isinstance(line, Number)],
            notes=notes,
            tables=tables,
            figures=figures,
            limit=ROWS,
            link=Markup('<a href="{0}.csv" download="{0}.csv">{0}.csv</a>').format,
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
            scene=scene and scene.content,
            caption=scene and scene.caption,
            coloured=scene is not None and bool(np.isfinite(scene.values).any()),
            typeset=_typeset,
            style=Markup(_file("page.css")),
            scripts=[*map(_licensed, scripts), Markup(_file("page.js"))],
            data={
                "drawings": _json(drawings),
                "atoms": _json(scene and scene.content),
                "csv": _json({name: text for name, text in csv.items() if len(text) <= HELD}),
            },
        )
    )


@cache
def _file(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _typeset(text: str) -> Markup:
    """A text of a panel with its tags, and nothing else of it taken for one."""
    return Markup(re.sub(r"&lt;(/?(?:sub|sup|i))&gt;", r"<\1>", str(escape(text))))


def _licensed(script: str) -> Markup:
    return Markup(f"/*\n{_file(LICENCES[script])}\n*/\n{_file(script)}")


def _json(content: Any) -> Markup:
    """For a script element: it ends at the first `</`, whatever it is in."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("</", r"<\/").replace("<!--", r"<\!--"))


def _image(path: Path) -> dict[str, Any]:
    """The image in the page's resolution as text, and its width there, which two columns of a journal fill."""
    with Image.open(path) as image:
        width = round(image.width * WIDTH / (DOUBLE * RESOLUTION))
        small = image.convert("RGB").resize((SHARP * width, round(SHARP * width * image.height / image.width)))
    content = BytesIO()
    small.quantize(COLOURS).save(content, "PNG", optimize=True)
    return {"text": base64.b64encode(content.getvalue()).decode(), "width": width}


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


def _rows(frame: pd.DataFrame) -> list[list[tuple[str, Any, bool]]]:
    """Of each cell its text, what it is sorted by, and whether its column is one of texts."""
    columns = {name: _is_text(frame[name]) for name in _columns(frame)}
    told = frame.head(ROWS).to_dict("records")
    return [
        [(_cell(name, row), "" if pd.isna(row[name]) else row[name], text) for name, text in columns.items()]
        for row in told
    ]


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

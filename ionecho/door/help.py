"""The help of a command whose words are overrides: the files of its settings, with what they say of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

from ionecho.data.files import read_yaml
from ionecho.data.shared import CONF

ASKED = {"--help", "-h"}
OF_HYDRA = re.compile(r"^(?:# @package .*\n|(?:defaults|hydra):.*\n(?: .*\n|\n)*)", re.MULTILINE)
LINE = re.compile(r"^# python (\w+)\.py(.*)\n", re.MULTILINE)
SHOWN = """\
{help}

{lines}

GROUP=NAME takes a file of settings; these are here, [taken] unless another is said:

{groups}

The settings, with what they are unless KEY=VALUE (or KEY.KEY=VALUE) says otherwise; ??? has to be said. Of files that
hold the same setting the later wins; --help behind GROUP=NAME shows that file. `--cfg job` prints what a line comes
to; `--multirun` makes a run of each of several values (KEY=A,B).

{settings}"""


def text(config: str, help: str, words: Sequence[str]) -> str:
    """What may be said on the line of `conf/CONFIG.yaml`, with the files that the words choose."""
    said = dict(word.split("=", 1) for word in words if "=" in word)
    path = CONF / f"{config}.yaml"
    choices = _choices(path, said)
    groups = "\n".join(f"  {group:<{max(map(len, choices))}}  {_options(group, choices)}" for group in choices)
    parts = [_own(path), *(_chosen(group, name) for group, name in choices.items() if name and _file(group, name))]
    lines = "\n".join(f"  ionecho {name}{words}" for name, words in LINE.findall(path.read_text(encoding="utf-8")))
    return SHOWN.format(help=help, lines=lines, groups=groups, settings="\n\n".join(parts))


def _choices(path: Path, said: Mapping[str, str], within: str = "") -> dict[str, str | None]:
    """The groups of a config, and those of the files chosen, with the name of each; None: no file."""
    found: dict[str, str | None] = {}
    for entry in _defaults(path):
        for key, name in entry.items() if isinstance(entry, dict) else ():
            group = key.removeprefix("override ")
            if not group.startswith("hydra/"):
                found[f"{within}{group}".rpartition("//")[2].lstrip("/")] = name
    for group in list(found):
        if chosen := _file(group, said.get(group, found[group])):
            found |= {group: chosen.stem} | {
                key: said.get(key, name) for key, name in _choices(chosen, said, f"{group}/").items()
            }
    return found


def _defaults(path: Path) -> list[Any]:
    return read_yaml(path.read_text(encoding="utf-8")).get("defaults", [])


def _file(group: str, name: str | None) -> Path | None:
    path = CONF / group / f"{name}.yaml"
    return path if path.exists() else None


def _options(group: str, choices: Mapping[str, str | None]) -> str:
    names = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    return ", ".join(f"[{name}]" if name == choices[group] else name for name in names)


def _own(path: Path) -> str:
    """A file without what tells Hydra how to read it, behind those that it begins with."""
    text = OF_HYDRA.sub("", LINE.sub("", path.read_text(encoding="utf-8"))).strip()
    bases = [path.with_name(f"{name}.yaml") for name in _defaults(path) if isinstance(name, str) and name != "_self_"]
    return "\n".join([*map(_own, bases), text])


def _chosen(group: str, name: str) -> str:
    path = CONF / group / f"{name}.yaml"
    if "@package _global_" in path.read_text(encoding="utf-8"):
        return f"# {group}={name}\n{_own(path)}"
    return f"{group.replace('/', '.')}: # {name}\n{indent(_own(path), '  ')}"

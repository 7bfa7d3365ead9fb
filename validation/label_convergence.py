"""Convergence of the labels of the project's own datasets with cut-off, k-points, U and density grid.

    python -m validation.label_convergence p2_gpaw

One configuration of the dataset, the first of a group, is labelled with its engine at other settings; every line is
compared with the finest of its series. A killed run goes on; results are in outputs/convergence/NAME.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ionecho.data.files import write_json
from ionecho.data.schema import Configuration
from ionecho.data.shared import SHARED
from ionecho.door.config import compose
from ionecho.labelling.engine import make_engine
from ionecho.labelling.structures import read_structures

MESH = "engine.kpoints={{size: [{0}, {1}, {2}], density: null, gamma: {3}}}".format
GAMMA = MESH(1, 1, 1, "true")
SERIES: dict[str, dict[str, list[list[str]]]] = {
    # dataset -> series -> settings, the last of a series is its reference
    "p2_gpaw": {
        "cut-off at Gamma": [[GAMMA, f"engine.cutoff={cutoff}"] for cutoff in (340, 400, 500, 600, 700)],
        "k-points at 400 eV": [
            ["engine.cutoff=400", mesh]
            for mesh in (
                GAMMA,
                MESH(2, 2, 1, "false"),
                MESH(2, 2, 1, "true"),
                MESH(3, 3, 1, "true"),
                MESH(3, 3, 2, "true"),
            )
        ],
        "U - J on Mn, 400 eV": [["engine.cutoff=400", f"engine.hubbard.Mn={u}"] for u in (0.0, 2.0, 5.0, 3.9)],
    },
    "lps_gpaw": {
        "cut-off at Gamma": [[GAMMA, f"engine.cutoff={cutoff}"] for cutoff in (340, 400, 500, 600, 800)],
        "k-points": [[mesh] for mesh in (GAMMA, MESH(2, 2, 2, "false"), MESH(3, 3, 3, "true"))],
        "k-points of beta": [[mesh] for mesh in (MESH(1, 2, 2, "false"), MESH(2, 2, 2, "false"))],
    },
    "nvp_gpaw": {
        "cut-off": [[f"engine.cutoff={cutoff}"] for cutoff in (340, 400, 500, 600)],
        "density grid": [[f"engine.density_grid.spacing={spacing}"] for spacing in (0.25, 0.18, 0.12)],
        "U - J on V": [[f"engine.hubbard.V={u}"] for u in (0.0, 3.2, 4.2)],
        **{
            f"k-points at 400 eV{cell}": [["engine.cutoff=400"], ["engine.cutoff=400", MESH(2, 2, 2, "false")]]
            for cell in ("", ", V3+ alone")
        },
    },
}
GROUPS = {
    "p2_gpaw": "rattled_p63mcm",
    "lps_gpaw": "rattled_gamma",
    "k-points of beta": "rattled_beta",
    "nvp_gpaw": "rattled_4",
    "k-points at 400 eV, V3+ alone": "rattled_6",
}
ION = {"p2_gpaw": 11, "lps_gpaw": 3, "nvp_gpaw": 23}
LABELS = {"forces": "eV/Å", "hyperfine_contact": "%", "efg": "%", "bader_charge": "e", "bader_moment": "μB"}


def main(name: str) -> None:
    """Label at every setting, then print how far each is from its reference."""
    store = Path("outputs/convergence") / f"{name}.json"
    store.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
    table = Table("series", "settings", "seconds", *(f"{label} ({unit})" for label, unit in LABELS.items()))
    for series, lines in SERIES[name].items():
        group = GROUPS.get(series, GROUPS[name])
        configuration = _first(name, group)
        engines = [engine_config(name, settings) for settings in lines]
        for engine in engines:
            if (key := _key(group, engine)) not in found:
                found[key] = _labels(engine, configuration)
                write_json(store, found)
        ions = np.flatnonzero(configuration.numbers == ION[name])
        reference = found[_key(group, engines[-1])]
        for settings, engine in zip(lines, engines, strict=True):
            row = found[_key(group, engine)]
            table.add_row(series, " ".join(settings), f"{row['seconds']:.0f}", *_deviations(row, reference, ions))
    Console(width=160).print(table)


def _first(name: str, group: str) -> Configuration:
    """The first configuration of a group, of those that `ionecho sample` wrote."""
    structures = read_structures([str(SHARED / "datasets" / name / "structures.zarr.zip")], every=1)
    return next(found for found in structures if found.group == group)


def engine_config(name: str, settings: Sequence[str] = ()) -> dict[str, Any]:
    """The config of an engine, with these overrides."""
    return compose("label", [f"engine={name}", *settings])["engine"]


def _key(group: str, engine: dict[str, Any]) -> str:
    """What a stored result depends on, with the version and the conventions of the engine."""
    made = make_engine(engine)
    told = [engine, made.level_of_theory(), dict(made.conventions)]
    return f"{group} {json.dumps(told, sort_keys=True)}"


def _labels(engine: dict[str, Any], configuration: Configuration) -> dict[str, Any]:
    result = make_engine(engine).label(configuration.atoms)
    values = {label: value.tolist() for label, value in result.values.items() if label in LABELS}
    return {**values, "seconds": result.provenance["seconds"]}


def _deviations(row: dict[str, Any], reference: dict[str, Any], ions: np.ndarray) -> list[str]:
    """Root mean square of all forces; the ion's couplings and gradients relative to their size; else the largest."""
    cells = []
    for label, unit in LABELS.items():
        if label not in row:
            cells.append("")
            continue
        value, exact = np.array(row[label]), np.array(reference[label])
        if unit == "%":
            value, exact = value[ions], exact[ions]
            cells.append(f"{100 * np.linalg.norm(value - exact) / np.linalg.norm(exact):.1f}")
        elif label == "forces":
            cells.append(f"{np.sqrt(np.mean((value - exact) ** 2)):.3f}")
        else:
            cells.append(f"{np.abs(value[ions] - exact[ions]).max():.4f}")
    return cells


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SERIES)
    main(**vars(parser.parse_args()))

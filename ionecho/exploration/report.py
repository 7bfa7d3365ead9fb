"""Report of active learning: a table of the rounds, what the model foretold of new labels and what it got wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rich.table

from ionecho.data.trajectory import open_trajectory
from ionecho.report import Axis, Bins, Curve, Figure, Level, Panel, Report, Scene, Table
from ionecho.report.panel import Mark, diagonal
from ionecho.report.scene import evenly
from ionecho.report.style import GREY, PALETTE, shades

Round = Mapping[str, Any]
ERRORS = ("new forces", "new energy", "rank correlation", "error/spread", "test forces", "test energy")
CONVENTIONS = {
    "spread": "standard deviation of the members (M - 1), length of its vector, times the checkpoint's calibration",
    "calibration": "factor on the members' standard deviation that makes it the error of the held-out configurations",
    "score": "largest spread of a force in a frame, eV/Å, times the scale of the window",
    "window": "published: on the members' standard deviation as it is; quantile: on a bound of the error",
    "above": "frames kept above the window; a run stops at the first it meets, which is not kept",
    "new": "errors on the labels of a round, of the model that picked the frames and had not seen the labels",
    "rank_correlation": "Spearman's, of the largest spread with the largest force error of a frame",
    "error/spread": "root mean squares of the errors and of the spreads of the forces of the new labels, 1 is ideal",
}
UNITS = {
    **dict.fromkeys(("new forces", "test forces", "largest_score", "mean_spread", "score", "error", "spread"), "eV/Å"),
    **dict.fromkeys(("new energy", "test energy"), "meV/atom"),
    "temperature": "K",
    **dict.fromkeys(("seconds", "wall time"), "s"),
}


def report(rounds: Sequence[Round]) -> Report:
    """The rounds so far."""
    runs = pd.DataFrame([_run_row(each["round"], run) for each in rounds for run in each.get("runs", [])])
    whole = rows(rounds)
    errors = [name for name in whole if name in ERRORS]
    last, explored = rounds[-1], [each for each in rounds if "frames" in each]
    return Report(
        analysis="exploration",
        title="Active learning",
        headline=[
            f"The exploration has {'' if last['converged'] else 'not '}converged after {len(explored)} rounds.",
            f"The last model learned {last['configurations']['train']} of {last['dataset']['size']} configurations.",
        ],
        numbers={"rounds": rounds},
        units=UNITS,
        tables={
            "rounds": Table(whole.drop(columns=errors), "Rounds", "Frames by their score, and what became of them."),
            "errors": Table(
                whole[["round", "trained on", *errors]], "Errors", "RMSE of forces by component, of energies an atom."
            ),
            "runs": Table(runs, "Simulations", "Largest score of a frame, mean spread of the forces."),
        },
        figures=_figures(rounds),
        scene=_least_sure(explored),
        settings={"window": next((each["window"] for each in rounds if "window" in each), {})},
        conventions=CONVENTIONS,
        source={f"round {each['round']}": each["dataset"] for each in rounds},
    )


def _least_sure(rounds: Sequence[Round]) -> Scene | None:
    """The run with the largest score of the last round that simulated, from its least sure frame on."""
    if not rounds:
        return None
    run = max(rounds[-1]["runs"], key=lambda run: run["largest_score"])
    path = Path(rounds[-1]["checkpoint"]).with_name(f"{run['run']}.zarr")
    if not run["frames"] or not path.exists():
        return None
    trajectory = open_trajectory(path)
    spread = trajectory.array("forces_std").astype(float)
    chosen = np.union1d(evenly(len(spread), spread.shape[1]), spread.max(1).argmax())
    frames = [next(trajectory.blocks(int(row), 1)) for row in chosen]
    return Scene(
        numbers=trajectory.numbers,
        positions=np.concatenate([frame.positions[:1] for frame in frames]).astype(float),
        cell=np.concatenate([frame.cell[:1] for frame in frames]).astype(float),
        values=spread[chosen],
        label="Spread of the force / eV Å⁻¹",
        times=[f"frame {row}, largest spread {spread[row].max():.3g} eV/Å" for row in chosen.tolist()],
        caption=f"{run['run']}, {run['temperature']:g} K: atoms by how far the members disagree on their forces.",
        first=int(spread[chosen].max(1).argmax()),
    )


def _run_row(number: int, run: Mapping[str, Any]) -> dict[str, Any]:
    return {"round": number, **run, "structure": Path(run["structure"]).name}


def rows(rounds: Sequence[Round]) -> pd.DataFrame:
    """One row a round; forces in eV/Å by component, energies in meV an atom."""
    return pd.DataFrame([_row(report) for report in rounds])


def _row(report: Round) -> dict[str, Any]:
    row = {"round": report["round"], "trained on": report["configurations"]["train"]}
    if "frames" in report:
        stopped = sum(run["stopped"] is not None for run in report["runs"])
        row |= {"calibration": report["calibration"], **report["frames"], "stopped": stopped}
    if "before" in report:
        before, grown = report["before"], report["version"]["size"] - report["dataset"]["size"]
        row |= {
            "labelled": grown,
            "failed": len(report["selected"]) - grown,
            "new forces": before["forces"]["rmse"],
            "new energy": 1e3 * before["energy_per_atom"]["rmse"],
            "rank correlation": before["rank_correlation"],
            "error/spread": before["forces_calibration"]["rmse_over_spread"],
        }
    if report["test"]:
        energy, forces = (report["test"][name]["rmse"] for name in ("energy_per_atom", "forces"))
        row |= {"test forces": forces, "test energy": 1e3 * energy}
    if "seconds" in report:
        row["wall time"] = sum(report["seconds"].values())
    return row


def table(rounds: Sequence[Round]) -> rich.table.Table:
    """The rounds for the terminal, a column each."""
    frame = rows(rounds)
    shown = rich.table.Table("round", *map(str, frame["round"]), caption="RMSE of forces in eV/Å, energies in meV/atom")
    for name, values in frame.drop(columns="round").items():
        shown.add_row(str(name), *map(_cell, values))
    return shown


def _cell(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def _figures(rounds: Sequence[Round]) -> dict[str, Figure]:
    explored, labelled = ([each for each in rounds if key in each] for key in ("frames", "before"))
    scores = "Scores of the frames of each round; between the dashed lines they are worth a label."
    foretold = (
        "New labels, before the model was trained on them: force errors against the calibrated spread. Left: the "
        "largest of each frame. Right: reliability, in equally filled bins of the spread."
    )
    errors = "Force errors of each round's model on the test part, and on the frames that it picked."
    made = {"scores": Figure(partial(_scores, explored), scores, height=2.2, wide=True)} if explored else {}
    made |= {"foretold": Figure(partial(_foretold, labelled), foretold, height=2.8)} if labelled else {}
    return made | {"errors": Figure(partial(_errors, rounds), errors, ["errors"])}


def _scores(rounds: Sequence[Round], _: list[str]) -> list[Panel]:
    shade = shades([report["round"] for report in rounds])
    marks: list[Mark] = []
    for report in rounds:
        edges, counts = (np.array(report["histogram"][key], float) for key in ("score", "frames"))
        shares = counts / max(counts.sum(), 1)
        marks.append(Bins(edges, shares, f"round {report['round']}", shade[report["round"]]))
    marks += [Level(rounds[0]["window"][end], colour=GREY) for end in ("low", "high")]
    return [Panel(Axis("score / eV Å⁻¹", log=True), Axis("share of frames", ends=(0, None)), marks)]


def _foretold(rounds: Sequence[Round], _: list[str]) -> list[Panel]:
    shade = shades([report["round"] for report in rounds])
    frames, forces = list[Mark](), list[Mark]()
    for report in rounds:
        colour, before, name = shade[report["round"]], report["before"], f"round {report['round']}"
        spread = np.array(before["frames"]["score"]) / report["window"]["scale"]
        frames.append(Curve(spread, before["frames"]["error"], name, colour, "", symbol="o", size=3))
        bins = before["forces_calibration"]["reliability"]
        forces.append(Curve(bins["spread"], bins["rmse"], name, colour, symbol="o", size=3, width=0.8))
    told = ((frames, "largest {} of a frame", "error"), (forces, "{} of a force", "RMSE"))
    return [
        Panel(
            Axis(what.format("spread") + " / eV Å⁻¹", log=True),
            Axis(what.format(error) + " / eV Å⁻¹", log=True),
            [diagonal(*(values for mark in marks if isinstance(mark, Curve) for values in (mark.x, mark.y))), *marks],
        )
        for marks, what, error in told
    ]


def _errors(rounds: Sequence[Round], _: list[str]) -> list[Panel]:
    frame, marks = rows(rounds), list[Mark]()
    for (name, told), colour in zip(
        (("test forces", "test part"), ("new forces", "new labels")), PALETTE, strict=False
    ):
        if name in frame:
            marks.append(Curve(frame["trained on"], frame[name], told, colour, symbol="o", size=3))
    return [Panel(Axis("training configurations"), Axis("force RMSE / eV Å⁻¹", log=True), marks)]

"""Model cards, written from the run alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from ase.data import chemical_symbols

from ionecho.checkpoints.store import CheckpointConfig
from ionecho.data.outputs import drives_ions
from ionecho.data.schema import ARRAYS
from ionecho.models import build_model
from ionecho.nmr.derived import made_by

TOLD = {
    "mae": "MAE",
    "relative": "RMSE over the labels' root mean square",
    "about_mean": "the same about their mean tensor",
}
PARTS = ("validation", "validation, blind", "test", "test, blind")
"""Blind: without the states that a model may be given."""


def model_card(config: CheckpointConfig, metrics: Mapping[str, Any]) -> str:
    """The README.md of a checkpoint: what it is, what it was trained on, how well it does, how to use it."""
    data = config.dataset
    header = {
        "library_name": "ionecho",
        "license": "mit",
        "tags": ["chemistry", "nmr", "materials-science", config.model],
        "datasets": [data["name"]],
        "model-index": [{"name": config.name, "results": [_result(data, metrics)]}],
    }
    elements = ", ".join(chemical_symbols[z] for z in config.hyperparameters["numbers"])
    centres = ", ".join(chemical_symbols[z] for z in config.hyperparameters["centres"])
    sections = [
        f"# {config.name}",
        f"Model `{config.model}`, members: {config.members}, predicts for {centres} among {elements}.",
        f"```\n{_usage(config)}\n```",
        "## Data",
        f"{data['name']} {data['version']} (content {data['content_sha256'][:16]}…, licence {data['licence']}), split "
        f"`{data['split']}`, fold {data['fold']}, validation {data['validation']:g} of the rest: "
        + ", ".join(f"{n} {part}" for part, n in data["configurations"].items())
        + f" configurations. Cite: {data['citation']}",
        *_start(config),
        "## Accuracy",
        _accuracy(metrics),
        *_dispersion(config),
        *(["### Limits", metrics["limits"]] if "limits" in metrics else []),
        *(["### Beside other models", _beside(metrics)] if "beside" in metrics else []),
        *(["### Cross-validation", _cross_validation(metrics["cv"])] if "cv" in metrics else []),
        *(["### Learning curve", _learning_curve(metrics["learning_curve"])] if "learning_curve" in metrics else []),
        "## Physics",
        "Labels as the dataset has them:",
        _yaml(data["conventions"]),
        *_parameters(config),
        "## Recipe",
        _yaml(
            {
                "hyperparameters": config.hyperparameters,
                **({"member_overrides": config.member_overrides} if config.member_overrides else {}),
                "training": config.training,
            }
        ),
    ]
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n" + "\n\n".join(sections) + "\n"


def _start(config: CheckpointConfig) -> list[str]:
    """What the weights were before this training."""
    if (start := config.start) is None:
        return []
    trained = {"all": "all layers", "last": "the last layers"}[config.training["trains"]]
    told = "".join(f" It did not know {one}, which began as {other}." for one, other in start.get("like", {}).items())
    data = f"{start['dataset']['name']} {start['dataset']['version']}"
    return [
        f"Fine-tuned: it began with the weights of `{start['checkpoint']}` ({start['sha256'][:16]}…, trained on "
        f"{data}), the scaling was set anew and {trained} trained.{told}"
    ]


def _result(data: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the Hub shows beside the card: errors on the test part, else on the validation part."""
    part = "test" if metrics.get("test") else "validation"
    measured = [
        {"type": kind, "name": f"{kind.upper()} of {name}", "value": values[kind]}
        for name, values in metrics.get(part, {}).items()
        for kind in ("rmse", "mae", "r2")
        if values.get(kind) is not None
    ]
    about = {"name": f"{data['name']} {data['version']}", "type": data["name"], "split": part}
    return {"task": {"type": "tabular-regression"}, "dataset": about, "metrics": measured}


def _usage(config: CheckpointConfig) -> str:
    """The line that uses the model: a potential drives ions, a property model is applied to their trajectory."""
    if drives_ions(build_model(config.model, config.hyperparameters).outputs):
        engine = " engine=lammps" if config.model == "uf3" else ""
        run = "structure=POSCAR temperature=300 time=10ps output=traj.zarr"
        return f"python simulate.py checkpoint={config.name}{engine} {run}"
    return f"python predict.py checkpoint={config.name} input=trajectory.xyz output=predictions.zarr"


def _parameters(config: CheckpointConfig) -> list[str]:
    told = []
    for key, parameters in config.parameters.items():
        made = made_by(key)
        names = ", ".join(f"`{entry.name}` ({entry.unit})" for entry in made)
        told += [f"{names} by `{key}`{made[0].note}:", _yaml(parameters)]
    return told


def _accuracy(metrics: Mapping[str, Any]) -> str:
    lines = ["| part | quantity | RMSE | MAE | bias | R2 | values |", "|---|---|---|---|---|---|---|"]
    notes = []
    for part in PARTS:
        for name, values in metrics.get(part, {}).items():
            rows = {name: values} if "rmse" in values else {}
            if name.endswith("_by_element"):
                rows = {f"{name.removesuffix('_by_element')}, {symbol}": of for symbol, of in values.items()}
            for quantity, errors in rows.items():
                lines.append(_row(part, quantity, errors))
                if quantity != name:
                    continue
                if "zero" in errors:
                    lines.append(_row(part, f"{quantity}, of zero", errors["zero"]))
                if errors.get("relative") is not None:
                    about = _number(errors["about_mean"])
                    notes.append(
                        f"{quantity} on the {part} part: RMSE {errors['relative']:.4g} of the root mean square of the "
                        f"labels, {about} of that about their mean tensor."
                    )
            if "of_integral" in values:
                of = values["of_integral"]
                notes.append(
                    f"{name} on the {part} part: ∫|error| is {of['error']:.2%} of ∫|{name}| "
                    f"(± {of['standard_error']:.2%}, standard error over {of['configurations']} configurations)."
                )
            if "rmse_over_spread" in values:
                one, two = values["expected_within"]
                notes.append(
                    f"Spread of {name.removesuffix('_calibration')} on the {part} part, calibrated on the validation "
                    f"part: errors over spreads {values['rmse_over_spread']:.3f}, within one spread "
                    f"{values['within_1']:.3f} (expected: {one:.3f}), within two "
                    f"{values['within_2']:.3f} ({two:.3f}), "
                    f"rank correlation {_number(values['rank_correlation'])}."
                )
    return "\n".join(lines) + "\n\n" + "\n\n".join(notes)


def _dispersion(config: CheckpointConfig) -> list[str]:
    """How spreads follow from the distance."""
    laws = [
        f"Spread of {name}: {law['factor']:.3g} {ARRAYS[name].unit} · d^{law['distance']:.2f}"
        + (f" · s^{law['members']:.2f}" if config.members > 1 else "")
        for name, law in config.dispersion.items()
    ]
    told = "d is the distance of a centre's features from those of the training part, about one there (`distance` in "
    told += "predictions; `distance_quantile`: the share of the validation part that lies closer)"
    told += ", s the members' spread" if config.members > 1 else ""
    return [f"{'; '.join(laws)}. {told}. Fitted to the validation part."] if laws else []


def _beside(metrics: Mapping[str, Any]) -> str:
    """RMSE and MAE on the test part of this model and of others, trained and tested on the same configurations."""
    rows = {"this": metrics["test"], **metrics["beside"]}
    names = [name for name, values in metrics["test"].items() if "rmse" in values]
    lines = ["| model | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for model, errors in rows.items():
        cells = [f"{_number(errors[name]['rmse'])} / {_number(errors[name]['mae'])}" for name in names]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "RMSE / MAE on the test part:\n\n" + "\n".join(lines)


def _row(part: str, quantity: str, errors: Mapping[str, Any]) -> str:
    numbers = " | ".join(_number(errors[key]) for key in ("rmse", "mae", "bias", "r2"))
    return f"| {part} | {quantity} | {numbers} | {errors['n']} |"


def _cross_validation(cv: Mapping[str, Any]) -> str:
    """One line a run of cross-validation: RMSE of every fold, mean and standard deviation over folds."""
    lines = ["| split | members | quantity | RMSE a fold | mean ± sd | R2 |", "|---|---|---|---|---|---|"]
    for split, run in cv.items():
        for name, values in run["errors"].items():
            folds = ", ".join(f"{value:.4g}" for value in values["rmse"]["folds"])
            rmse, r2 = values["rmse"], values["r2"]
            spread = f"{rmse['mean']:.4g} ± {rmse['std']:.2g}"
            lines.append(f"| {split} | {run['members']} | {name} | {folds} | {spread} | {_number(r2 and r2['mean'])} |")
            for key, told in TOLD.items():
                if values.get(key) and (key != "mae" or values["r2"] is None):
                    folds = ", ".join(f"{value:.4g}" for value in values[key]["folds"])
                    spread = f"{values[key]['mean']:.4g} ± {values[key]['std']:.2g}"
                    lines.append(f"| {split} | {run['members']} | {name}, {told} | {folds} | {spread} | |")
    return "\n".join(lines)


def _learning_curve(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| training configurations | quantity | RMSE | R2 |", "|---|---|---|---|"]
    lines += [f"| {row['frames']} | {row['quantity']} | {row['rmse']:.4g} | {_number(row['r2'])} |" for row in rows]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _yaml(content: Any) -> str:
    return f"```yaml\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True).strip()}\n```"

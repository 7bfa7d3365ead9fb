"""The `ionecho` command: every command by its name. What a command needs is imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import ionecho

WITH_OVERRIDES = {
    "train": "Train a model on a dataset: model=nn_nmr dataset=p2_nmmo",
    "predict": "Predict along a trajectory: checkpoint=nn_nmr-p2_nmmo input=traj.xyz output=pred.zarr",
    "analyze": "Turn trajectories into observables: analysis=dynamic_shift input=pred.zarr output=report",
    "simulate": "Run molecular dynamics: checkpoint=uf3-p2_painn structure=POSCAR time=10ps output=traj.zarr",
    "explore": "Learn actively from a dataset or a structure: dataset=p2_gpaw model=painn engine=p2_gpaw",
}
OTHERS = {
    "data": ("ionecho.data.commands:app", "Datasets: list, build, verify, import, stage, publish and pull"),
    "label": ("ionecho.door.label:app", "Label configurations with a DFT engine and make a dataset of them"),
    "models": ("ionecho.door.models:app", "Checkpoints: list, verify, release, export, publish and pull"),
    "neb": ("ionecho.door.neb:app", "Relax the minimum-energy path between two structures"),
    "sample": ("ionecho.door.sample:app", "Draw configurations as those of a dataset of IonEcho were"),
}

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        print(f"ionecho {ionecho.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Machine-learned NMR and redox signals of moving ions in battery materials."""


class Later(TyperCommand):
    """A command that is imported when it is called, so that the help of all of them needs none."""

    def __init__(self, name: str, target: str, help: str) -> None:
        super().__init__(name, help=help)
        self.target = target

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """That of the command itself."""
        module, _, attribute = self.target.partition(":")
        command: Any = typer.main.get_command(getattr(import_module(module), attribute))
        return command.make_context(info_name, args, parent, **extra)


def _add(name: str, help: str) -> None:
    """A command whose words Hydra reads, `--help` too."""

    def complete(args: list[str], incomplete: str) -> list[str]:
        from ionecho.door.completion import completions

        return completions(name, args, incomplete)

    words: Any = typer.Argument(default=[], autocompletion=complete)

    @app.command(name, help=help, add_help_option=False, context_settings={"ignore_unknown_options": True})
    def run(overrides: list[str] = words) -> None:
        sys.argv = [f"ionecho {name}", *overrides]
        import_module(f"ionecho.door.{name}").main()


def command() -> Any:
    """The whole of the command line."""
    for name, help in WITH_OVERRIDES.items():
        _add(name, help)
    group: Any = typer.main.get_command(app)
    for name, (target, help) in OTHERS.items():
        group.add_command(Later(name, target, help))
    return group


def main() -> None:
    """Run the command line; input that cannot be served ends with one line and exit code 2."""
    from ionecho.entry import guarded

    guarded("ionecho", lambda: command()(prog_name="ionecho"))


if __name__ == "__main__":
    main()

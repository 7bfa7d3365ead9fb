"""Fine-tuning: a training that begins with the weights of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import graph_of, p2_crystal, train_config
from safetensors.torch import load_file
from test_models import CENTRES, NUMBERS, STATISTICS, batch_of
from test_models import SMALL as PROPERTY_MODELS
from test_potentials import POTENTIALS, labelled

from ionecho.checkpoints import resolve
from ionecho.checkpoints.run import as_start, train
from ionecho.checkpoints.store import load
from ionecho.errors import InputError
from ionecho.models import build_model
from ionecho.models.species import Statistics
from ionecho.training.start import Start, train_last

SMALL = PROPERTY_MODELS | {name: POTENTIALS[name] for name in ("painn", "deep_pot")}
BY_ELEMENT = ("spin_transfer", "painn_nmr", "painn")
FE, NI, LI, MG = 26, 28, 3, 12


def hyperparameters(name: str, numbers: list[int] = NUMBERS) -> dict[str, Any]:
    return {"numbers": numbers, "centres": numbers if name in POTENTIALS else CENTRES, **SMALL[name]}


def made(name: str, seed: int, numbers: list[int] = NUMBERS) -> Any:
    torch.manual_seed(seed)
    return build_model(name, hyperparameters(name, numbers)).double().eval()


def training_part(name: str, model: Any) -> list[Any]:
    structures = [p2_crystal(k) for k in range(4)]
    return [labelled(structures) if name in POTENTIALS else batch_of(model, structures)]


def trained(name: str) -> tuple[Any, Start]:
    """A model with random weights, scaled, as something to begin with."""
    model = made(name, 0)
    model.fit(STATISTICS, training_part(name, model))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    identity = {"checkpoint": "toy", "sha256": "0" * 64, "dataset": {"name": "toy", "version": "1.0.0"}}
    return model, Start(identity, name, [hyperparameters(name)], [model], {})


def outputs(model: Any, elements: tuple[int, ...] = ()) -> dict[str, torch.Tensor]:
    """Of a crystal, without atoms of these elements."""
    atoms = p2_crystal(50)
    del atoms[[atom.index for atom in atoms if atom.number in elements]]
    with torch.no_grad():
        return model(graph_of([atoms], model.cutoff, model.pairs_of, model.centres))


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_start_predicts_what_it_did_until_it_is_trained_on_other_data(name: str) -> None:
    source, start = trained(name)
    model = made(name, 1)
    start.give(model, 0)
    model.rescale(STATISTICS, training_part(name, model))
    found, expected = outputs(model), outputs(source)
    for key, values in expected.items():
        torch.testing.assert_close(found[key], values, rtol=1e-10, atol=1e-10, msg=key)


COUPLINGS = [name for name in sorted(PROPERTY_MODELS) if "hyperfine_contact" in made(name, 0).needed]


@pytest.mark.parametrize("name", COUPLINGS)
def test_the_scaling_is_that_of_the_new_data(name: str) -> None:
    """Labels twice as large, about another mean: so are the predictions."""
    source, start = trained(name)
    model = made(name, 1)
    start.give(model, 0)
    anew = {label: {z: Statistics(7.0, 2 * s.std) for z, s in of.items()} for label, of in STATISTICS.items()}
    model.rescale(anew, training_part(name, model))
    expected = 7.0 + 2 * (outputs(source)["hyperfine_contact"] - STATISTICS["hyperfine_contact"][CENTRES[0]].mean)
    torch.testing.assert_close(outputs(model)["hyperfine_contact"], expected)


@pytest.mark.parametrize("name", BY_ELEMENT)
@pytest.mark.parametrize("numbers", [[8, 11, 25, 28], [28, 25, 12, 11, 8], [8, 11, 25]])
def test_weights_go_by_element(name: str, numbers: list[int]) -> None:
    """Among the elements that both know nothing changes, in whatever order they stand; Mg is not among them."""
    source, start = trained(name)
    model = made(name, 1, numbers)
    start.give(model, 0)
    for scaling in ("mean", "std", "one_body", "scale", "shortest"):
        own, given = (dict(each.named_buffers()).get(scaling) for each in (model, source))
        if own is not None and given is not None:
            places = [numbers.index(z) for z in NUMBERS if z in numbers]
            known = [NUMBERS.index(z) for z in NUMBERS if z in numbers]
            if scaling == "shortest":
                own[:] = 0
                given[:] = 0
            elif own.ndim:
                own[..., places] = given[..., known]
            else:
                own.copy_(given)
    found, expected = outputs(model, (12,)), outputs(source, (12,))
    for key, values in expected.items():
        if not (key.startswith("auxiliary") or key == "stress"):
            torch.testing.assert_close(found[key], values, rtol=1e-10, atol=1e-10, msg=key)


@pytest.mark.parametrize("name", BY_ELEMENT)
def test_an_unknown_element_begins_as_the_one_that_is_named(name: str) -> None:
    """A crystal with Ni in the place of Mg has the outputs of the one with Mg."""
    source, start = trained(name)
    if name in POTENTIALS:
        source.shortest[:] = 0
    model = made(name, 1, [NI if number == MG else number for number in NUMBERS])
    replace(start, like={"Ni": "Mg"}).give(model, 0)
    atoms = p2_crystal(50)
    expected = outputs(source)
    atoms.numbers[atoms.numbers == MG] = NI
    with torch.no_grad():
        found = model(graph_of([atoms], model.cutoff, model.pairs_of, model.centres))
    for key, values in expected.items():
        torch.testing.assert_close(found[key], values, rtol=1e-10, atol=1e-10, msg=key)


def test_there_is_no_wall_where_the_start_has_been() -> None:
    """Of each pair of elements the shorter of the distances that either data held."""
    source, start = trained("painn")
    source.shortest[:] = torch.arange(16.0).view(4, 4) / 4
    numbers = [NI, 25, 11, 8]
    model = made("painn", 1, numbers)
    replace(start, like={"Ni": "Mg"}).give(model, 0)
    atoms = p2_crystal(0)
    atoms.numbers[atoms.numbers == MG] = NI
    alone = made("painn", 1, numbers)
    for work in (alone.fit, model.rescale):
        work(STATISTICS, [labelled([atoms])])
    order = [NUMBERS.index({NI: MG}.get(number, number)) for number in numbers]
    given, own = source.shortest[order][:, order], alone.shortest
    expected = torch.where((given > 0) & (own > 0), torch.minimum(given, own), torch.maximum(given, own))
    torch.testing.assert_close(model.shortest, expected)


@pytest.mark.parametrize("name", ["nn_nmr", "deep_pot"])
def test_weights_that_do_not_go_by_element_are_kept_to_their_elements(name: str) -> None:
    _, start = trained(name)
    changed = SMALL[name] | ({"cutoffs": [4.5] * 5, "n_max": [3] * 5} if name == "nn_nmr" else {})
    numbers = [*NUMBERS, NI]
    given = {"numbers": numbers, "centres": numbers if name in POTENTIALS else CENTRES, **changed}
    with pytest.raises(
        InputError, match=r"start=toy was trained on O, Na, Mg, Mn: the weights of .* cannot go on with"
    ):
        start.give(build_model(name, given).double(), 0)


@pytest.mark.parametrize("name", sorted({*SMALL} - {"sa_gpr"}))  # which is fitted in closed form
def test_the_last_layers_alone_are_trained(name: str) -> None:
    model = made(name, 0)
    train_last(model)
    batch = training_part(name, model)[0]
    model.train()
    found = model(batch.graph)
    sum(found[key].square().sum() for key in model.needed).backward()
    moved = {key for key, parameter in model.named_parameters() if parameter.grad is not None}
    assert moved
    assert all(key.startswith(model.last) for key in moved)


REFUSED: list[tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = [
    (lambda given: given | {"epochs": 0}, "without epochs nothing of its weights is left"),
    (lambda given: given | {"name": "nn_nmr"}, "start=toy is a painn_nmr, not a nn_nmr; add model=painn_nmr"),
    (
        lambda given: given | {"hyperparameters": given["hyperparameters"] | {"features": 16, "radial": 7}},
        "start=toy has other hyperparameters; say model.features=8 model.radial=6",
    ),
    (
        lambda given: given | {"hyperparameters": given["hyperparameters"] | {"numbers": [3, 8], "centres": [3]}},
        "start=toy was trained for Na, and knows nothing of Li",
    ),
    (
        lambda given: given | {"hyperparameters": given["hyperparameters"] | {"numbers": [*NUMBERS, NI, FE]}},
        r"start=toy does not know Ni, Fe; say which of Mg, Mn, Na, O behaves most alike: start_as=\{Ni: \.\., Fe",
    ),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_a_start_that_does_not_fit_is_refused(change: Callable[..., dict[str, Any]], message: str) -> None:
    _, start = trained("painn_nmr")
    given = {"name": "painn_nmr", "hyperparameters": hyperparameters("painn_nmr"), "number": 0, "epochs": 3}
    start.check(**given)
    with pytest.raises(InputError, match=message):
        start.check(**change(given))


@pytest.mark.parametrize("like", [{"Mn": "Mg"}, {"Ni": "Co"}])
def test_elements_that_begin_as_others_are_unknown_and_the_others_known(like: dict[str, str]) -> None:
    _, start = trained("painn_nmr")
    with pytest.raises(InputError, match=r"expected elements of the model that start=toy does not know"):
        replace(start, like=like).check("painn_nmr", hyperparameters("painn_nmr", NUMBERS), 0, 3)


def test_a_run_tells_what_it_began_with(toy_dataset: Path, toy_checkpoint: Path, tmp_path: Path) -> None:
    """Only the last layers move; config and card say whence the others are, and the same line goes on."""
    settings = train_config(toy_dataset, f"start={toy_checkpoint}", "trainer.max_epochs=1", "trainer.trains=last")
    ignored = train_config(toy_dataset, f"start={toy_checkpoint}", "trainer.max_epochs=1", "start_as={Ni: Mg}")
    with pytest.raises(InputError, match=r"start_as=\{Ni: Mg\}: expected elements of the model that"):
        train(ignored, tmp_path / "ignored")
    train(settings, tmp_path)
    before, after = (load_file(folder / "weights.safetensors") for folder in (toy_checkpoint, tmp_path / "checkpoint"))
    own = {key: value for key, value in after.items() if key.startswith("members.0.")}
    moved = {key for key, value in own.items() if not torch.equal(value, before[key])}
    assert moved
    assert all(key.startswith("members.0.head") for key in moved)
    config = load(tmp_path / "checkpoint").config
    assert config.start is not None
    assert config.start == {**as_start(load(toy_checkpoint), {}).identity, "like": {}}
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert "it began with the weights of `toy`" in card
    assert "the last layers trained" in card
    request = json.loads((tmp_path / "request.json").read_text())
    assert request["start"]["sha256"] == load(toy_checkpoint).sha256
    del request["start_as"]  # a run of before there was that key goes on
    (tmp_path / "request.json").write_text(json.dumps(request))
    train(settings, tmp_path)
    with pytest.raises(InputError, match="another start"):
        train(train_config(toy_dataset, "trainer.max_epochs=1"), tmp_path)


def test_a_version_on_the_hub_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resolve, "pull", lambda asked: tmp_path / asked)
    assert resolve.resolve("owner/name@v1.2") == tmp_path / "owner/name@v1.2"
    assert resolve.resolve("owner/name") == tmp_path / "owner/name"

"""The models by name. A model is one module; its class is imported only when asked for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, cast

from ionecho.errors import InputError

MODELS: dict[str, str] = {
    "nn_nmr": "ionecho.models.nn_nmr:NNNMR",
    "painn": "ionecho.models.painn:PaiNN",
    "painn_nmr": "ionecho.models.painn_nmr:PaiNNNMR",
    "spin_transfer": "ionecho.models.spin_transfer:SpinTransfer",
    "tensor_sum": "ionecho.models.tensor_sum:TensorSum",
    "sa_gpr": "ionecho.models.sa_gpr:SAGPR",
    "deep_pot": "ionecho.models.deep_pot:DeepPot",
    "uf3": "ionecho.models.uf3:UF3",
    "density": "ionecho.models.density:Density",
    "deep_dft": "ionecho.models.deep_dft:DeepDFT",
    "oxidation": "ionecho.models.oxidation:Oxidation",
}


def model_class(name: str) -> Any:
    """The class of a model of the registry."""
    if name not in MODELS:
        raise InputError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    module, _, attribute = MODELS[name].partition(":")
    try:
        return cast(Any, getattr(importlib.import_module(module), attribute))
    except ModuleNotFoundError as error:
        raise InputError(
            f"model {name} needs the package {error.name}, which is not installed: pip install 'ionecho[schnetpack]', "
            "and on Python 3.11 then pip install --no-deps --ignore-requires-python schnetpack==2.2.0"
        ) from error


def build_model(name: str, hyperparameters: Mapping[str, Any]) -> Any:
    """A new model of the registry with these hyperparameters, its weights random.

    Raises
    ------
    InputError
        With all hyperparameters that it does not know, and all that it lacks.
    """
    model = model_class(name)
    signature = inspect.signature(model).parameters
    needed = {key for key, parameter in signature.items() if parameter.default is parameter.empty}
    wrong = {"has no": set(hyperparameters) - set(signature), "needs": needed - set(hyperparameters)}
    if any(wrong.values()):
        told = (f"{what} {', '.join(f'model.{key}' for key in sorted(keys))}" for what, keys in wrong.items() if keys)
        raise InputError(f"{name} {' and '.join(told)}; its settings are {', '.join(signature)}")
    return model(**hyperparameters)

"""Tensors a second, neighbour lists included, beside featomic: python -m benchmarks.tensor_speed [CHECKPOINTS].

Frames are cells of lps_gpaw and supercells of them, one thread, CPU seconds. Beside them the published kind of model
with featomic: tensorial SOAP of degree two (l_max 4, four radial functions) and a linear kernel with 500 sparse
tensors. Only its speed is measured: the tensors are random.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import ase
import numpy as np
import torch
from featomic import SphericalExpansion
from featomic.clebsch_gordan import EquivariantPowerSpectrum
from metatensor import Labels

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.registry import find_dataset
from ionecho.data.store import Dataset
from ionecho.geometry.neighbours import build_graph

DEFAULT = ("tensor_sum-lps_gpaw", "sa_gpr-lps_gpaw")
ATOMS, LITHIUM, SPARSE = 24, 3, 500
EXPANSION = {
    "cutoff": {"radius": 5.5, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
    "density": {"type": "Gaussian", "width": 0.3},
    "basis": {"type": "TensorProduct", "max_angular": 4, "radial": {"type": "Gto", "max_radial": 3}},
}


def cells(count: int) -> list[ase.Atoms]:
    """The first quenched cells of `ATOMS` atoms."""
    dataset = Dataset(find_dataset("lps_gpaw"))
    of_size = np.flatnonzero(np.diff(dataset.offsets) == ATOMS)[:count]
    return [dataset[int(index)].atoms for index in of_size]


def checkpoint(name: str) -> Callable[[ase.Atoms], object]:
    """Neighbour list and forward pass."""
    model = load(resolve(name)).model.float()

    def predict(atoms: ase.Atoms) -> object:
        graph = build_graph(
            [atoms.positions], [np.array(atoms.cell)], [atoms.numbers], [atoms.pbc],
            cutoff=model.cutoff, centres=model.centres, pairs_of=model.pairs_of, dtype=torch.float32,
        )  # fmt: skip
        with torch.inference_mode():
            return model(graph)

    return predict


def featomic_kernel() -> Callable[[ase.Atoms], object]:
    """Tensorial SOAP of the Li, and its products with the sparse tensors."""
    spectrum = EquivariantPowerSpectrum(SphericalExpansion(**EXPANSION))
    selection = Labels(["o3_lambda", "o3_sigma"], np.array([[2, 1]]))
    sparse: dict[int, np.ndarray] = {}

    def predict(atoms: ase.Atoms) -> object:
        chosen = Labels(["system", "atom"], np.array([[0, k] for k in np.flatnonzero(atoms.numbers == LITHIUM)]))
        found = spectrum.compute(
            [atoms], selected_keys=selection, selected_samples=chosen, neighbors_to_properties=True
        )
        block = found.block({"center_type": LITHIUM}) if "center_type" in found.keys.names else found.block()
        values = np.asarray(block.values)  # (K, 5, features)
        if values.shape[2] not in sparse:
            sparse[values.shape[2]] = np.random.default_rng(0).normal(size=(values.shape[2], 5 * SPARSE))
        return values @ sparse[values.shape[2]]

    return predict


def milliseconds(predict: Callable[[ase.Atoms], object], frames: Sequence[ase.Atoms]) -> float:
    """CPU time a frame."""
    predict(frames[0])
    begin = time.process_time()
    for atoms in frames:
        predict(atoms)
    return 1e3 * (time.process_time() - begin) / len(frames)


def main(names: Sequence[str] = DEFAULT, count: int = 20) -> None:
    """Print milliseconds a frame and a centre."""
    torch.set_num_threads(1)
    frames = cells(count)
    models = {name: checkpoint(name) for name in names} | {"featomic and kernel": featomic_kernel()}
    for repeats in (1, 2, 3):
        larger = [atoms.repeat((repeats, repeats, 1)) for atoms in frames[: max(2, count // repeats**2)]]
        for name, predict in models.items():
            spent = milliseconds(predict, larger[: 2 if name.startswith("featomic") else None])
            centres = np.mean([np.count_nonzero(atoms.numbers == LITHIUM) for atoms in larger])
            print(
                f"{len(larger[0]):4d} atoms  {name:24s} {spent:8.2f} ms, {spent / centres:7.3f} ms a tensor", flush=True
            )


if __name__ == "__main__":
    main(sys.argv[1:] or DEFAULT)

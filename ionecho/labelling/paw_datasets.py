"""PAW datasets made here by recipe with GPAW's own generator, and which datasets a calculation used.

A frozen core has no electric-field gradient and takes no part in bonding. Where the crystal polarises it (1s of Li),
it must be in the valence; GPAW ships no such dataset, so it is generated once and kept under IONECHO_HOME/paw.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpaw
from gpaw.atom import generator2
from gpaw.setup_data import SetupData

from ionecho.data.fetch import home
from ionecho.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """What `gpaw dataset SYMBOL -f FUNCTIONAL -P PROJECTORS -r RADIUS -t TAG -w` is told; radius in bohr.

    Projectors as GPAW writes them: `1s` a bound state of the free atom, `0.0d` a wave of l = 2 at 0.0 Hartree.
    """

    symbol: str
    tag: str
    functional: str
    projectors: str
    radius: float

    @property
    def file(self) -> str:
        """The name GPAW searches for when asked for `setups={symbol: tag}`."""
        return f"{self.symbol}.{self.tag}.{self.functional}"


RECIPES = {
    "Li.1s": Recipe("Li", "1s", "PBE", "1s,2s,2p,0.0p,0.0d", 1.6),
    "Li.hard": Recipe("Li", "hard", "PBE", "1s,2s,1.0s,2p,0.0p,0.0d", 1.2),  # for contact couplings: 600 eV and more
}


def generate(recipe: Recipe) -> Path:
    """The dataset's file in the cache, generated on first use (seconds), complete or absent.

    The same recipe and GPAW give the same bytes: the file holds no date. After generation the dataset's eigenvalues
    are checked against the atom's by GPAW (0.05 eV).

    Raises
    ------
    InputError
        The recipe gives a dataset that fails the check, or that GPAW cannot construct.
    """
    target = home() / "paw" / recipe.file
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:  # workers may generate the same one at once
        partial = Path(folder) / target.name
        _generated(recipe).write_xml(str(partial))
        return partial.replace(target)


def use(*names: str, functional: str = "PBE") -> dict[str, str]:
    """The `setups` argument of GPAW for these recipes, generated where absent and put on GPAW's search path.

    Raises
    ------
    InputError
        No recipe has that name, or it is made for another functional.
    """
    setups = {}
    for name in names:
        if name not in RECIPES:
            raise InputError(f"PAW recipe {name!r}: expected one of {', '.join(RECIPES)}")
        if (made_for := RECIPES[name].functional) != functional:
            raise InputError(f"PAW recipe {name}: made for {made_for}, found engine.functional={functional}")
        folder = str(generate(RECIPES[name]).parent)
        if folder not in gpaw.setup_paths:
            gpaw.setup_paths.insert(0, folder)
        setups[RECIPES[name].symbol] = RECIPES[name].tag
    return setups


def datasets_of(calculator: Any) -> dict[str, dict[str, Any]]:
    """{symbol: {file, sha256 of the uncompressed file, core_electrons}} of all datasets a calculator holds."""
    return {setup.symbol: described(setup) for setup in calculator.setups}


def described(setup: Any) -> dict[str, Any]:
    """The same of one of GPAW's setups."""
    path = Path(setup.data.filename)
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "core_electrons": int(setup.Nc)}


def _generated(recipe: Recipe) -> SetupData:
    arguments = {
        "symbol": recipe.symbol,
        "Z": generator2.atomic_numbers[recipe.symbol],
        "xc": recipe.functional,
        "projectors": recipe.projectors,
        "radii": [recipe.radius],
        "r0": recipe.radius,
        "v0": None,
        "nderiv0": 2,
    }
    log = io.StringIO()
    try:
        with redirect_stdout(log):
            generator = generator2.generate(**arguments)
            sound = generator.check_all()
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(f"PAW recipe {recipe}: GPAW cannot make this dataset ({error})") from error
    if not sound:
        raise InputError(f"PAW recipe {recipe}: the dataset's eigenvalues miss the atom's; change projectors or radius")
    dataset = generator.make_paw_setup(recipe.tag)
    dataset.generatordata = ",\n    ".join(f"{key}={value!r}" for key, value in arguments.items() if value is not None)
    return dataset

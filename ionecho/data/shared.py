"""Where what comes with IonEcho lies: `conf/`, `datasets/` and `models/`."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = (PACKAGE / "share").is_dir()
"""Whether this is an installed wheel, which holds them inside of the package; the repository has them beside it."""
SHARED = PACKAGE / "share" if INSTALLED else PACKAGE.parent
CONF = SHARED / "conf"

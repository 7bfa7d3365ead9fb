"""Time until a report of many frames is drawn and answers, and its size: python -m benchmarks.report_page.

A browser without a window opens the page from disk; the page itself tells when its text has been read and when its
figures and atoms are drawn. Without a window frames are painted when the browser likes, so no paint is timed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlparse

import numpy as np
import pandas as pd

from ionecho.report import Axis, Bins, Curve, Figure, Level, Number, Panel, Report, Scene, Table
from ionecho.structures.prototypes import PROTOTYPES

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = "--headless --no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader"
TELL = """<script>const wait = setInterval(() => {{
  const drawn = document.body.dataset.drawn, read = performance.getEntriesByType("navigation")[0].domInteractive;
  if (!drawn) return;
  clearInterval(wait);
  new Image().src = `http://127.0.0.1:{port}/?read=${{read}}&drawn=${{drawn}}`;
}}, 5);</script></body>"""


def report(frames: int) -> Report:
    """A series with its error, a histogram, scattered points and 88 atoms in 24 frames."""
    rng = np.random.default_rng(0)
    time, shift = np.arange(frames) * 1e-3, rng.normal(1600, 100, frames)
    mean, error = shift.cumsum() / np.arange(1, frames + 1), np.abs(rng.normal(5, 1, frames))
    edges = np.linspace(1200, 2000, 61)

    def panels(names: list[str]) -> list[Panel]:
        histogram = [Bins(edges, np.histogram(shift, edges)[0], "all", "#0072B2", filled=True), Level(1600.0)]
        scattered = Curve(shift, shift + rng.normal(0, 30, frames), "ions", dash="", symbol="o")
        return [
            Panel(Axis("Time / ns"), Axis("Shift / ppm"), [Curve(time, mean, "mean", error=error)]),
            Panel(Axis("Shift / ppm", ends=(2000, 1200)), Axis("Density"), histogram),
            Panel(Axis("true / ppm"), Axis("predicted / ppm"), [scattered], legend=None),
        ]

    atoms = PROTOTYPES["p2_p63mcm"](0).repeat((2, 2, 1))
    positions = atoms.positions + rng.normal(0, 0.1, (24, len(atoms), 3))
    values = np.where(atoms.numbers == 11, rng.normal(1600, 100, (24, len(atoms))), np.nan)
    times = [f"{k} ps" for k in range(24)]
    return Report(
        analysis="benchmark",
        title="Many frames",
        headline=[Number("Shift", float(shift.mean()), float(shift.std() / frames**0.5), "ppm")],
        numbers={},
        units={"time": "ns", "shift": "ppm"},
        tables={"series": Table(pd.DataFrame({"time": time, "shift": shift}), "Series")},
        figures={"walk": Figure(panels, "A walk.", ["series"])},
        scene=Scene(atoms.numbers, positions, atoms.cell.array[None], values, "Shift / ppm", times, "Na by its shift."),
    )


def opened(browser: str, page: Path) -> dict[str, float]:
    """Milliseconds from the start of loading until the text is read, and until figures and atoms are drawn."""
    told: dict[str, float] = {}

    class Ear(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server asks for
            told.update((key, float(value)) for key, value in parse_qsl(urlparse(self.path).query))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Ear) as server, tempfile.TemporaryDirectory() as profile:
        server.timeout = 600
        shown = page.with_name("opened.html")
        shown.write_text(page.read_text().replace("</body>", TELL.format(port=server.server_port)))
        line = [browser, *FLAGS.split(), f"--user-data-dir={profile}", "--window-size=1100,900", shown.as_uri()]
        running = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server.handle_request()
        running.kill()
        running.wait()
    if not told:
        raise SystemExit(f"report_page: {browser} did not draw the page in {server.timeout:.0f} s")
    return told


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        parser.exit(2, f"report_page: no browser, install one of {', '.join(BROWSERS)}\n")
    with tempfile.TemporaryDirectory() as folder:
        report(options.frames).write(Path(folder) / "report")
        page = Path(folder) / "report" / "report.html"
        times = pd.DataFrame([opened(browser, page) for _ in range(options.repeats)])
        print(f"{options.frames} frames: {page.stat().st_size / 1e6:.2f} MB")
    for name, each in times.items():
        print(f"{name}: {each.median():.0f} ms (median of {len(each)}, {each.min():.0f} to {each.max():.0f})")


if __name__ == "__main__":
    main()

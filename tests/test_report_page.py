"""The page as a browser shows it: drawn, silent, small, quick, linked to the atoms."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ionecho.report import Axis, Bins, Curve, Figure, Level, Mesh, Number, Panel, Report, Rings, Scene, Table
from ionecho.report.plotly import COLUMNS, PIXELS, thinned

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LIMIT = 5e6  # bytes
FRAMES = 50_000
browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (chromium, google-chrome) to open the page in")


def open_page(page: Path, script: str = "") -> tuple[str, list[str]]:
    """The page's elements once its scripts ran, `script` after them, and what was said in the console."""
    assert CHROMIUM is not None
    shown = page.with_name("opened.html")
    done = f"if (document.body.dataset.drawn) {{ clearInterval(late); {script} }}"
    late = f"<script>const late = setInterval(() => {{ {done} }}, 20);"
    shown.write_text(page.read_text().replace("</body>", f"{late}</script></body>"))
    with tempfile.TemporaryDirectory() as profile:
        flags = "--headless --no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader"
        more = f"--window-size=1100,6000 --enable-logging=stderr --v=0 --user-data-dir={profile}"
        offline = "--host-resolver-rules=MAP * ~NOTFOUND"
        dump = ["--virtual-time-budget=20000", "--dump-dom", offline, shown.as_uri()]
        line = [CHROMIUM, *flags.split(), *more.split(), *dump]
        ran = subprocess.run(line, capture_output=True, text=True, timeout=120)
    shown.unlink()
    return ran.stdout, [told for told in ran.stderr.splitlines() if "CONSOLE" in told]


def walk(frames: int) -> Report:
    """A report of every mark, with a series of so many frames, and atoms of two kinds of sites."""
    rng = np.random.default_rng(0)
    time, shift = np.arange(frames) * 1e-3, rng.normal(1600, 100, frames).cumsum() / np.arange(1, frames + 1)
    error = np.abs(rng.normal(5, 1, frames))

    def panels(names: list[str]) -> list[Panel]:
        u, v = np.meshgrid(*2 * [np.arange(13) / 12], indexing="ij")
        lattice = np.stack([u, v], -1) @ np.array([[3.0, 0.0], [-1.5, 2.6]])
        edges = np.linspace(1200, 2000, 41)
        x, y = (Axis(f"{letter} / Å", ends=(-3.0, 3.0)) for letter in "xy")
        histogram = [Bins(edges, np.histogram(shift, edges)[0], "edge", "#0072B2", filled=True), Level(1600.0)]
        return [
            Panel(Axis("Time / ns"), Axis("Shift / ppm"), [Curve(time, shift, "mean", error=error)], "a"),
            Panel(Axis("Shift / ppm", ends=(2000, 1200)), Axis("Density"), histogram, "b", legend_title="Site"),
            Panel(Axis("lag", log=True), Axis("<i>C</i><sub>Q</sub>", log=True), [Curve(time[1:], time[1:] ** 2)]),
            Panel(
                x,
                y,
                [Mesh(lattice[..., 0], lattice[..., 1], u[:-1, :-1], "u", periodic=True), Rings([[0, 0]], 0.8, "edge")],
                equal=True,
            ),
            Panel(Axis("true"), Axis("predicted"), [Curve(shift, shift + error, dash="", symbol="o")], legend=None),
        ]

    table = pd.DataFrame({"site": ["b", "a", "c"], "shift": [1500.0, 200.0, 1e4], "shift_error": [1.0, 2.0, 3.0]})
    positions = rng.uniform(0, 6, (3, 4, 3))
    values = np.array([[1500.0, 1700.0, np.nan, np.nan]] * 3)
    kinds = np.array([["edge", "centre", "", ""]] * 3, object)
    times = ["0 ps", "1 ps", "2 ps"]
    scene = Scene(np.array([11, 11, 25, 8]), positions, 6 * np.eye(3)[None], values, "Shift / ppm", times, "Na.", kinds)
    return Report(
        analysis="toy",
        title="Toy </script>",
        headline=[Number("Shift", 1600.0, 2.0, "ppm"), "More."],
        numbers={},
        units={"shift": "ppm"},
        tables={"sites": Table(table, "Sites"), "series": Table(pd.DataFrame({"time": time, "shift": shift}))},
        figures={"walk": Figure(panels, "A walk </script>.", ["series"])},
        scene=scene,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("page") / "report"
    walk(FRAMES).write(target)
    return target


def test_the_page_is_small_and_the_csv_whole(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert len(page.encode()) < LIMIT
    assert len(pd.read_csv(folder / "series.csv")) == FRAMES
    linked = set(re.findall(r'href="([^":,]*)"', page.split("<script")[0]))
    assert linked == {path.name for path in folder.iterdir()} - {"report.html"}
    for holder in ("Plotly", "University of Pittsburgh"):  # the licences of the scripts stand with them
        assert re.search(rf"Copyright.*{holder}", page)


@browser
def test_a_browser_draws_it_in_silence_and_at_once(folder: Path) -> None:
    drawn, console = open_page(folder / "report.html")
    assert console == []
    assert drawn.count('class="drawn"') == 2  # the figure and the atoms
    assert {*re.findall(r'class="subplot (x\d?)y', drawn)} == {"x", "x2", "x3", "x4", "x5"}
    assert "data:image/png" in drawn.split('id="scene"')[1][:400]  # the picture of the atoms, for print


@browser
def test_atoms_curves_and_tables_are_linked(folder: Path) -> None:
    drawn, console = open_page(
        folder / "report.html", "pick(1); choose('edge'); document.querySelectorAll('th')[1].click();"
    )
    assert console == []
    assert "Na, atom 1, centre, Shift 1700 ppm" in drawn
    assert re.search(r'<button class="chosen">edge</button>', drawn)
    assert re.findall(r'data-value="(\d+)\.0"', drawn.split("<tbody>")[1].split("</tbody>")[0]) == [
        "200",
        "1500",
        "10000",
    ]
    assert "rgb(213, 94, 0)" in drawn  # the line at the atom's value


def test_a_thinned_line_keeps_its_ends_and_its_peaks() -> None:
    x, y = np.arange(FRAMES, dtype=float), np.zeros(FRAMES)
    y[12_345], y[40_001] = 7.0, -3.0
    kept = thinned(x, y, log=(False, False), line=True)
    assert len(kept) <= 2 * COLUMNS + 2
    assert {0, 12_345, 40_001, FRAMES - 1} <= set(kept.tolist())
    assert (thinned(x[:50], y[:50], log=(True, True), line=True) == np.arange(50)).all()


def test_thinned_points_stand_where_all_did() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, FRAMES))
    kept = thinned(x, y, log=(False, False), line=False)
    assert len(kept) < FRAMES
    size = np.array([np.ptp(x), np.ptp(y)]) / PIXELS
    lowest = np.array([x.min(), y.min()])
    cells = {
        tuple(cell) for cell in np.minimum((np.stack([x, y], -1) - lowest) / size, PIXELS - 1).astype(int).tolist()
    }
    assert len(kept) == len(cells)


@pytest.mark.parametrize(("error", "told"), [(2.0, "a: 1600.0 ± 2.0 ppm"), (None, "a: 1600 ppm")])
def test_a_number_without_an_error_by_nature_says_nothing_of_it(error: float | None, told: str) -> None:
    assert str(Number("a", 1600.0, error, "ppm")) == told


def test_a_number_whose_error_is_missing_says_so() -> None:
    assert str(Number("a", 1600.0, np.nan, "ppm")) == "a: 1600 ppm (too few samples for an error)"

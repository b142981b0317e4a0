"""The page about a run: it needs nothing beside it, says what the record says, and a browser shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import is_dataclass
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_reader import Page
from tiny_spec import OFFLINE, ROOT, command, spec

from nnspec import run, runs
from nnspec.api import compile_spec, run_into
from nnspec.records.folder import OutputError, RunFolder
from nnspec.records.saved import RunError
from nnspec.results.lane import LaneResult
from nnspec.runner.options import RunOptions
from nnspec.training.observer import Silent
from nnspec.view.html import render
from nnspec.view.palette import MEASURED_ON
from nnspec.view.report.blocks import (
    Block,
    Details,
    Heading,
    Key,
    Legend,
    Listing,
    Section,
    SideBySide,
    Stack,
    Table,
    Tabs,
    Text,
)
from nnspec.view.report.charts import Chart, Series, chart
from nnspec.view.report.curves import first_and_last, series
from nnspec.view.report.network import LayerBlock, NetworkDrawing
from nnspec.view.report.page import Article, ReportRun
from nnspec.view.report.page import page as page_of
from nnspec.view.report.predictions import Confusion, Image, Images
from nnspec.view.report.results import health

EVIL = "</title><script>alert(1)</script>\"'&<b>\x00\x1b[31m\ud800é"

pytestmark = pytest.mark.usefixtures("undrawn")

SPEC = spec(
    "Linear(12); BatchNorm; ReLU; residual { Linear(12); ReLU }; Linear(10)",
    race="SGD(lr=0.1); Adam(lr=cosine(0.02)); Momentum(lr=0.05)",
    train="epochs = 4; batch = 16; repeats = 3; validation = 0.2",
    data="Digits(train=150, test=60)",
    expect="Adam.loss < SGD.loss; SGD.loss < 0.001; gradient_error < 1e-6",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "tiny.nn").write_text(SPEC)
    run(folder / "tiny.nn", out=folder / "run")
    runs.report([folder / "run"])
    return folder


@pytest.fixture
def page(made: Path) -> Page:
    return Page((made / "run/report.html").read_text("utf-8"))


def test_it_needs_nothing_beside_it(made: Path, page: Page) -> None:
    text = (made / "run/report.html").read_text("utf-8")
    assert page.loads == []
    assert "script" not in page.tags
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|https?://", text)
    assert len(set(page.ids)) == len(page.ids)


def test_it_says_what_the_record_says(made: Path, page: Page) -> None:
    summary = json.loads((made / "run/summary.json").read_text("utf-8"))
    for lane in summary["lanes"]:
        assert lane["name"] in page.text
        found = lane["intervals"]["test_loss"]
        assert f"{lane['final']['test_loss']:.3f} ± {(found['high'] - found['low']) / 2:.2g}" in page.text
        assert f"{100 * lane['final']['test_accuracy']:.1f} %" in page.text
    for expectation in summary["expectations"]:
        assert expectation["text"] in page.text
        assert expectation["detail"] in page.text
    held = [expectation["held"] for expectation in summary["expectations"]]
    assert {True, False} == set(held)
    assert [page.text.count(word) for word in ("✓ held", "✗ missed")] == [held.count(True), held.count(False)]
    for comparison in summary["comparisons"]:
        assert f"{comparison['p_adjusted']:.2g}" in page.text
    assert ("no difference shown" in page.text) is not all(one["shown"] for one in summary["comparisons"])
    assert summary["data"][0]["sha256"] in page.text
    assert summary["environment"]["numpy"] in page.text
    assert "all lanes had the same data, order of samples, starting weights" in page.text
    for line in SPEC.splitlines():
        assert " ".join(line.split()) in page.text
    for head in ("Lanes", "Curves", "Network", "Confusion", "Hardest samples", "Rates", "Gradients", "Spec", "Record"):
        assert head in page.texts


def test_the_confusion_and_the_worst_are_those_of_the_best_lane(made: Path, page: Page) -> None:
    finals = {lane["name"]: lane["final"]["val_loss"] for lane in runs.open_run(made / "run").summary["lanes"]}
    best = min(finals, key=finals.__getitem__)
    one = runs.evaluate(made / "run", best)[0]
    counts = one.confusion()
    assert counts is not None
    assert f"60 test samples, {100 * np.trace(counts) / 60:.1f} % correct" in page.text
    assert f"The test samples with the largest loss, of {best}, seed {one.seed}." in page.text
    worst = [float(value) for value in re.findall(r"loss (\d+\.\d+)", page.text.split("with the largest loss")[1])]
    assert worst[:24] == sorted(worst[:24], reverse=True)
    assert worst[0] == pytest.approx(one.losses.max(), abs=1e-3)
    assert page.tags.count("img") == 24


def test_every_lane_has_its_curves_with_a_name_and_a_band(made: Path, page: Page) -> None:
    text = (made / "run/report.html").read_text("utf-8")
    charts = re.findall(r'<svg class="chart".*?</svg>', text, re.DOTALL)
    loss = next(one for one in charts if ">loss of training" in one)
    assert loss.count("<polyline") == 9  # three lanes: training, validation, test
    assert loss.count("stroke-dasharray") == 6
    assert loss.count("<polygon") == 3
    assert [loss.count(f">{lane}</tspan><title>") for lane in ("SGD", "Adam", "Momentum")] == [1, 1, 1]
    assert any(">loss, logarithmic" in one for one in charts)
    rates = next(one for one in charts if "learning rate" in one)
    assert rates.count("<polyline") == 1
    norms = next(one for one in charts if "gradient norms of" in one)
    assert norms.count("<polyline") >= 6
    network = re.search(r'<svg class="network".*?</svg>', text, re.DOTALL)
    assert network is not None
    for word in ("Linear1", "BatchNorm1", "residual1", "body: Linear · ReLU", "→ 12", "CrossEntropy"):
        assert word in network[0]


def test_what_a_spec_says_does_no_harm(tmp_path: Path) -> None:
    evil = "</title><script>alert(1)</script>\"'&<b>"
    (tmp_path / "evil.nn").write_text(
        spec(race="SGD(lr=0.1); Adam(lr=0.01)").replace("race {", f"race {json.dumps(evil)} {{")
        + "# </pre><script>x</script>\n"
    )
    run(tmp_path / "evil.nn", out=tmp_path / "out")
    record = json.loads((tmp_path / "out/summary.json").read_text())
    record["notes"] = ["<script>\x1b[31m\ud800"]
    record["lanes"][0]["message"] = "<img src=http://x onerror=y>"
    (tmp_path / "out/summary.json").write_text(json.dumps(record))
    page = Page(runs.report([tmp_path / "out"]).read_text("utf-8"))
    assert "script" not in page.tags
    assert page.loads == []
    assert evil in "".join(page.texts)
    assert "<script>\\x1b[31m\\ud800" in "".join(page.texts)


def test_notes_on_files_are_not_shown_as_mistakes(tmp_path: Path) -> None:
    (tmp_path / "t.nn").write_text(spec())
    run(tmp_path / "t.nn", out=tmp_path / "out")
    record = json.loads((tmp_path / "out/summary.json").read_text())
    record["notes"] = ["a warning"]
    record["data"][0]["notes"] = ["2 cells were filled"]
    (tmp_path / "out/summary.json").write_text(json.dumps(record))
    text = runs.report([tmp_path / "out"], tmp_path / "page.html").read_text("utf-8")
    assert re.findall(r"<p[^>]*>(?:a warning|2 cells were filled)</p>", text) == [
        '<p class="no">a warning</p>',
        "<p>2 cells were filled</p>",
    ]


def test_an_own_report_is_overwritten_and_no_other_file(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    runs.report([made / "run"], out)
    runs.report([made / "run"], out)
    out.write_text("mine")
    with pytest.raises(OutputError, match="already exists and is not a report"):
        runs.report([made / "run"], out)
    assert out.read_text() == "mine"
    runs.report([made / "run"], out, force=True)
    with pytest.raises(OutputError, match="cannot be written"):
        runs.report([made / "run"], tmp_path / "nowhere" / "page.html")
    with pytest.raises(RunError, match="no run"):
        runs.report([tmp_path])


def test_a_report_needs_no_data_and_draws_no_network_of_a_damaged_spec(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b,c\n" + "\n".join(f"{i},{i % 3},{i % 2}" for i in range(40)))
    text = spec("Linear(4); ReLU; Linear(1)", loss="MSE", data='CSV("table.csv", target="a")')
    (tmp_path / "tiny.nn").write_text(text)
    run(tmp_path / "tiny.nn", out=tmp_path / "out")
    whole = Page(runs.report([tmp_path / "out"]).read_text("utf-8"))
    assert "Hardest samples" not in whole.texts, "no images, no section"
    assert "Rates" not in whole.texts, "no schedule, no section"
    (tmp_path / "table.csv").unlink()
    page = Page(runs.report([tmp_path / "out"]).read_text("utf-8"))
    assert "The network cannot be drawn: " not in page.text
    assert "Curves" in page.texts
    (tmp_path / "out" / "spec.nn").write_text("data =")
    page = Page(runs.report([tmp_path / "out"]).read_text("utf-8"))
    assert "The network cannot be drawn: " in page.text
    assert "Curves" in page.texts


def test_two_runs_stand_side_by_side(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(made / "tiny.nn", {"Adam.optimizer.lr": 0.001}, out="other")
    done = command("report", str(made / "run"), "other", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "report.html\n"), done.stderr
    page = Page(Path("report.html").read_text("utf-8"))
    assert "Side by side" in page.texts
    assert "p = " in page.text
    assert "lane Adam ~ optimizer.lr" in page.text
    assert re.search(r"Adam of \S+ is (higher|lower) than Adam of|between Adam of", page.text)
    assert len(set(page.ids)) == len(page.ids)


def test_of_two_runs_the_damaged_one_is_named(made: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.nn").write_text(spec())
    run(tmp_path / "tiny.nn", out=tmp_path / "other")
    history = json.loads((tmp_path / "other/history.json").read_text())
    history["lanes"]["run"]["loss"] = ["none"]
    (tmp_path / "other/history.json").write_text(json.dumps(history))
    for both in ([made / "run", tmp_path / "other"], [tmp_path / "other", made / "run"]):
        with pytest.raises(RunError, match=r"other.* is damaged"):
            runs.report(both, tmp_path / "both.html")


def test_two_runs_with_one_seed_each_are_not_tested(tmp_path: Path) -> None:
    (tmp_path / "tiny.nn").write_text(spec(race="SGD(lr=0.1); Adam(lr=0.01)"))
    for number in (1, 2):
        run(tmp_path / "tiny.nn", {"seed": number}, out=tmp_path / f"run{number}")
    page = Page(runs.report([tmp_path / "run1", tmp_path / "run2"], tmp_path / "both.html").read_text("utf-8"))
    assert "differences cannot be tested with one seed per lane" in page.text
    assert "seeds: 1 → 2" in page.text


def test_a_run_that_diverged_has_a_page(tmp_path: Path) -> None:
    """Means and bands are of the repeats that finished, and the failures are reported."""
    (tmp_path / "tiny.nn").write_text(spec(race="SGD(lr=1e30); Adam(lr=0.01)", train="epochs = 3; repeats = 3"))
    run(tmp_path / "tiny.nn", out=tmp_path / "out")
    page = Page(runs.report([tmp_path / "out"]).read_text("utf-8"))
    assert "3 of 3 repeats diverged" in page.text
    assert "Nothing was found" not in page.text
    summary, history = (json.loads((tmp_path / f"out/{name}.json").read_text()) for name in ("summary", "history"))
    adam = next(lane for lane in summary["lanes"] if lane["name"] == "Adam")
    adam["repeats"][1]["status"] = adam["status"] = "diverged"
    history["lanes"]["Adam"]["repeats"][1]["loss"] = [1e9]
    (tmp_path / "out/summary.json").write_text(json.dumps(summary))
    (tmp_path / "out/history.json").write_text(json.dumps(history))
    saved = runs.open_run(tmp_path / "out")
    (lane,) = series(ReportRun(saved, None), ["Adam"], "loss")
    assert len(lane.low) == 3
    assert max(lane.high) < 100
    (rates,) = series(ReportRun(saved, None), ["Adam"], "lr")
    assert rates.low == []
    for last, bands in ((0.2, 0), (0.1, 3)):  # a band where the rates of seeds differ, as by a plateau
        for one in history["lanes"]["Adam"]["repeats"]:
            one["lr"] = [0.2, 0.2, last if one["seed"] == 0 else 0.2]
        (tmp_path / "out/history.json").write_text(json.dumps(history))
        (rates,) = series(ReportRun(runs.open_run(tmp_path / "out"), None), ["Adam"], "lr")
        assert len(rates.low) == bands


def test_a_run_that_was_interrupted_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "tiny.nn").write_text(spec(race="SGD(lr=0.1); Adam(lr=0.01)", train="epochs = 300"))

    class Presser(Silent):
        def epoch_done(self, lane: LaneResult) -> None:
            if len(lane.epoch_seconds) == 2:
                raise KeyboardInterrupt

    compiled = compile_spec(tmp_path / "tiny.nn")
    make = partial(RunFolder.make, "tiny.nn", tmp_path / "out")
    result = run_into(compiled, OFFLINE, Presser(), make, options=RunOptions(jobs=1, stack=False))
    assert result.interrupted
    page = Page(runs.report([tmp_path / "out"]).read_text("utf-8"))
    assert "SGD: after 2 of 300 epochs" in page.text
    assert "2/300" in page.text


def test_dead_units_are_shown_even_below_the_threshold() -> None:
    lane = {"name": "SGD", "dead_units": {"ReLU1": [3, 64, 512], "ReLU2": [0, 32, 512]}}
    found = html(*health({"lanes": [lane]}))
    assert "no layer had more than 80 % of its units dead" in found
    assert "SGD: ReLU1 3 of 64 units dead (on a flat end for all of 512 samples)" in found
    assert "ReLU2" not in found
    assert "units dead (" not in html(*health({"lanes": [lane | {"dead_units": {}}]}))


def test_norms_that_are_drawn_are_of_the_first_and_the_last_weights() -> None:
    few = {f"Linear{i}.{part}": 0 for i in range(3) for part in ("weight", "bias")}
    assert first_and_last(few) == [f"Linear{i}.{part}" for part in ("weight", "bias") for i in range(3)]
    many = {f"Linear{i}.{part}": 0 for i in range(20) for part in ("weight", "bias")}
    assert first_and_last(many) == [f"Linear{i}.weight" for i in (0, 1, 2, 3, 16, 17, 18, 19)]


def html(*blocks: Block) -> str:
    """Return blocks as the page has them."""
    text = page_of("x", [Article("x", [], [Section("x", blocks)])])
    found = re.search(r"<section.*?>(.*)</section>", text, re.DOTALL)
    assert found is not None
    return found[1]


def svg(drawing: Chart | None) -> str:
    """Return a chart as the page has it."""
    assert drawing is not None
    return html(drawing).partition("</h2>")[2]


# Charts


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [0.5, 0.5],
        [float("nan")] * 3,
        [],
        [1e-300, 1e300],
        [0.0, 0.0],
        [-1.0, 2.0],
        [1.0, float("inf"), 0.5],
        [1e-9] * 2000,
    ],
)
def test_charts_accept_any_values(values: list[float], log: bool) -> None:
    found = chart("x", [Series("a", values, 0), Series("b", values, 0, MEASURED_ON[1])], log=log)
    if found is not None:
        drawn = svg(found)
        numbers = [float(number) for number in re.findall(r'[ ",](-?\d+\.\d)(?=[ ",])', drawn)]
        assert all(-1 <= number <= 700 for number in numbers)
        assert "nan" not in drawn.lower()
        assert drawn.count(",") < 2000


def test_points_lie_where_they_should() -> None:
    drawn = svg(chart("x", [Series("a", [1.0, 10.0, 100.0], 0)], log=True))
    (points,) = re.findall(r'points="([^"]+)"', drawn)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.11)
    drawn = svg(chart("x", [Series("a", [0.0, 5.0, 10.0], 0)]))
    (points,) = re.findall(r'points="([^"]+)"', drawn)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.11)
    assert heights[0] > heights[2]


@pytest.mark.parametrize("count", [1, 3, 12])
def test_names_stand_apart_and_above_the_numbers_of_the_axis(count: int) -> None:
    drawn = svg(chart("x", [Series(f"lane {i}", [2.0, 0.001 * i], i) for i in range(count)]))
    names = [float(y) for y in re.findall(r'<tspan x="[\d.]+" y="([\d.-]+)"', drawn)]
    numbers = [float(y) for y in re.findall(r'class="tick" x="[\d.]+" y="([\d.]+)" text-anchor="middle"', drawn)]
    assert len(names) == count
    assert max(names) < min(numbers) - 10
    assert min(names) > 0
    assert all(later - earlier > 6 for earlier, later in pairwise(names))


@pytest.mark.parametrize(
    "block",
    [
        Text(EVIL, is_name=True, bold=EVIL, code=EVIL, color=EVIL),
        Heading(EVIL),
        Table([EVIL], [[EVIL, Text(EVIL, style=EVIL, indent=2)]], caption=EVIL),
        Details(EVIL, [Text(EVIL)]),
        Listing([EVIL, EVIL], numbered=True),
        Stack(EVIL, [Text(EVIL)]),
        SideBySide([Text(EVIL)]),
        Tabs([(EVIL, Text(EVIL)), (EVIL, Text(EVIL))]),
        Legend([Key(EVIL, EVIL, EVIL)]),
        chart(EVIL, [Series(EVIL, [1.0, 2.0], 0)]),
        NetworkDrawing(EVIL, 1, 1, [LayerBlock(EVIL, EVIL, EVIL, EVIL, [EVIL], 0, 0, "left")]),
        Confusion(EVIL, [EVIL], [(EVIL, [(1, 2)])]),
        Images([Image("data:x", EVIL, EVIL, EVIL, EVIL, True, EVIL)]),
    ],
    ids=lambda block: block.kind,
)
def test_every_kind_of_block_escapes_what_it_shows(block: Block) -> None:
    drawn = html(block)
    page = Page(drawn)
    assert "script" not in page.tags
    assert page.loads == []
    assert not {"\x00", "\x1b", "\ud800"} & set(drawn)
    assert drawn.count("&lt;script&gt;") >= 1
    assert "\"'" not in drawn


def test_every_kind_of_block_is_tested() -> None:
    names = [each.stem for each in (ROOT / "nnspec/view/report").glob("*.py")]
    modules = [import_module(f"nnspec.view.report.{name}") for name in names]
    kinds = {
        member.kind
        for module in modules
        for member in vars(module).values()
        if isinstance(member, type) and is_dataclass(member) and hasattr(member, "kind")
    }
    (test,) = (mark for mark in test_every_kind_of_block_escapes_what_it_shows.pytestmark if mark.name == "parametrize")
    assert {block.kind for block in test.args[1]} == kinds


def test_a_value_that_a_template_lacks_is_an_error_and_not_a_gap() -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError, match="title"):
        render("notebook/table.html.j2", columns=[], rows=0, lines=[])


def test_compiled_steps_are_reported_in_one_line(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "run", tmp_path / "run")
    record = json.loads((tmp_path / "run/summary.json").read_text())
    trainings = {
        "SGD, seed 0": {"since": 2, "python": {}},
        "Adam, seed 0": {"since": 3, "python": {"F1": "it remembers batches in Python"}},
        "Adam, seed 1": {"since": 2, "python": {"F1": "it remembers batches in Python"}},
        "Momentum, seed 0": {"refused": "kernels cannot be loaded"},
    }
    record["ways"]["compiled"] = {"asked": "auto", "trainings": trainings}
    (tmp_path / "run/summary.json").write_text(json.dumps(record))
    text = Page(runs.report([tmp_path / "run"]).read_text("utf-8")).text
    assert (
        "Compiled steps trained SGD, seed 0, Adam, seed 1 from epoch 2 on, Adam, seed 0 from epoch 3 on; "
        "F1 stayed in Python (it remembers batches in Python)." in text
    )
    record["ways"]["compiled"]["trainings"] = {name: {"since": 2, "python": {}} for name in trainings}
    (tmp_path / "run/summary.json").write_text(json.dumps(record))
    text = Page(runs.report([tmp_path / "run"]).read_text("utf-8")).text
    assert "Compiled steps trained every lane from epoch 2 on." in text
    assert "Compiled steps" not in Page((made / "run/report.html").read_text("utf-8")).text


# A browser


@pytest.fixture(scope="module")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    return found


def browse(chromium: str, page: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    flags += [f"--user-data-dir={folder}", "--virtual-time-budget=3000", "--host-resolver-rules=MAP * ~NOTFOUND"]
    flags += ["--enable-logging=stderr", "--v=0", *more, page.as_uri()]
    return subprocess.run([chromium, *flags], capture_output=True, text=True, timeout=120, check=False)


def test_a_browser_shows_all_of_it(chromium: str, made: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="reading the screenshot takes Pillow")
    shot = tmp_path / "page.png"
    done = browse(chromium, made / "run/report.html", tmp_path, f"--screenshot={shot}", "--window-size=1200,3600")
    assert shot.exists(), done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []  # nothing that the page's own policy forbids, and no error
    pixels = np.asarray(image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape == (3600, 1200, 3)
    for color in ("0072B2", "D55E00", "009E73"):  # the lines of the three lanes
        wanted = [int(color[i : i + 2], 16) for i in (0, 2, 4)]
        assert (np.abs(pixels - wanted).sum(axis=2) < 12).sum() > 300, color
    inked = [(pixels[top : top + 200].std(axis=(0, 1)) > 3).any() for top in range(0, 3600, 200)]
    assert sum(inked) > 14
    black = (pixels.sum(axis=2) < 20).sum()
    assert black > 24 * 2000  # the pictures of digits


def test_a_dark_browser_shows_it_dark(chromium: str, made: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="reading the screenshot takes Pillow")
    shot = tmp_path / "page.png"
    browse(
        chromium, made / "run/report.html", tmp_path, f"--screenshot={shot}", "--blink-settings=preferredColorScheme=0"
    )
    if not shot.exists():
        pytest.skip("this Chromium knows no such setting")
    pixels = np.asarray(image.open(shot).convert("L"))
    assert np.median(pixels) < 80


def test_the_shipped_race_has_a_page(tmp_path: Path) -> None:
    mnist = ROOT.parent / "shared/data/mnist"
    if not mnist.is_dir():
        pytest.skip("MNIST is not on this machine")
    run(ROOT / "specs/race.nn", {"train.epochs": 2}, out=tmp_path / "out", data_dir=mnist)
    page = Page(runs.report([tmp_path / "out"], data_dir=mnist).read_text("utf-8"))
    assert "MNIST 2,000 train / 500 test" in page.text
    assert "500 test samples" in page.text
    assert any_of(page.texts, "Linear1.weight")


def any_of(texts: list[str], word: str) -> Any:
    return any(word in text for text in texts)


def test_a_tuned_run_shows_its_search(tmp_path: Path) -> None:
    text = spec(
        race="SGD; Adam",
        train="epochs = 2; batch = 16; validation = 0.2",
        more="tune { budget = 9; optimizer.lr = loguniform(1e-3, 1); Adam.optimizer.eps = [1e-8, 1e-4] }",
    )
    (tmp_path / "tiny.nn").write_text(text)
    found = run(tmp_path / "tiny.nn", out=tmp_path / "run")
    page = Page(Path(runs.report([tmp_path / "run"])).read_text("utf-8"))
    assert found.tuned is not None
    assert "Search" in page.texts
    for study in found.tuned.studies:
        assert study.chosen is not None
        assert f"{study.chosen.settings['optimizer.lr']:.4g}" in page.text
        for trial in study.trials:
            assert trial.name in page.text.replace(" ", "")  # a browser may break names
    assert "lanes tune different numbers of hyperparameters" in page.text.lower()
    # one mark for each trial and number: rates of both lanes, but not the list of eps
    assert page.text.count("val loss by lr") == 2
    assert "val loss by eps" not in page.text

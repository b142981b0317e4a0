"""Pictures and tables of validation, schedules, repeats, and of more lanes than there are colours."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from rich.console import Console
from tiny_spec import compiled, run, spec

import nnspec
from nnspec.records.write import write_record
from nnspec.results.run import RunResult
from nnspec.view.palette import GREY, NAMED, PALETTE, slots, terminal_style
from nnspec.view.pictures.curves import draw_run, plot_training_curves
from nnspec.view.pictures.labels import spread_out
from nnspec.view.terminal.progress import LiveProgress, PlainProgress
from nnspec.view.terminal.quiet import QuietProgress
from nnspec.view.terminal.race import print_result
from nnspec.view.terminal.structure import print_structure
from nnspec.view.wording import numbers

REPEATS = spec(
    race="SGD(lr=0.1); Adam(lr=cosine(0.01, to=0.001))",
    train="epochs = 4; batch = 16; validation = 0.2; repeats = 3",
    more="seed = 42",
    expect="Adam.loss < SGD.loss",
)


@pytest.fixture(scope="module")
def result() -> RunResult:
    return run(REPEATS)


def drawn(history: dict[str, Any], **more: Any) -> Figure:
    """Draw a history, to the last pixel, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = nnspec.view.plot_training_curves(history, **more)
        figure.savefig(io.BytesIO(), format="png")
    return figure


def lines(axis: Axes, color: str) -> list[Any]:
    return [line for line in axis.lines if to_hex(line.get_color()) == color.lower() and len(line.get_xdata())]


def lanes(count: int, epochs: int = 4, **more: Any) -> dict[str, Any]:
    return {
        f"Adam,lr={i}": {
            "loss": [2.0 + i - epoch / 10 for epoch in range(epochs)],
            "test_accuracy": [0.5] * epochs,
            **more,
        }
        for i in range(count)
    }


def test_validation_is_a_dotted_line_beside_the_others() -> None:
    history = {"a": {"loss": [2.0, 1.0], "val_loss": [2.1, 1.2], "test_loss": [2.2, 1.3]}}
    axis = drawn(history).axes[0]
    assert axis.get_title(loc="right") == "training solid, val dotted, test dashed"
    assert [list(line.get_ydata()) for line in lines(axis, PALETTE[0])] == [[2.1, 1.2], [2.2, 1.3], [2.0, 1.0]]
    assert len({str(line._dash_pattern) for line in lines(axis, PALETTE[0])}) == 3
    assert drawn({"a": [2.0, 1.0]}).axes[0].get_title(loc="right") == ""


def test_a_single_epoch_is_drawn_with_markers() -> None:
    history = {"a": {"loss": [2.0], "val_loss": [2.1], "test_loss": [2.2], "test_accuracy": [0.5]}}
    figure = drawn(history)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Loss", "Test accuracy"], "no logarithm of a point"
    loss, accuracy = figure.axes
    assert loss.get_title(loc="right") == "training ●, val ◇, test □"
    markers = {float(line.get_ydata()[0]): line.get_marker() for line in lines(loss, PALETTE[0])}
    assert markers == {2.0: "o", 2.1: "D", 2.2: "s"}
    assert [line.get_marker() for line in lines(accuracy, PALETTE[0])] == ["o"]


def test_accuracy_has_its_validation_too() -> None:
    history = {"a": {"loss": [2.0, 1.0], "test_accuracy": [0.5, 0.6], "val_accuracy": [0.4, 0.7]}}
    panel = drawn(history).axes[2]
    assert (panel.get_title(loc="left"), panel.get_title(loc="right")) == ("Test accuracy", "test solid, val dotted")
    assert [list(line.get_ydata()) for line in lines(panel, PALETTE[0])] == [[0.4, 0.7], [0.5, 0.6]]


def test_words_beside_a_title_do_not_run_into_it() -> None:
    figure = drawn(
        {"a": {"loss": [2.0, 1.0], "val_loss": [2.1, 1.2], "test_loss": [2.2, 1.3], "test_accuracy": [0.1, 0.2]}}
    )
    axis = figure.axes[0]
    assert axis._left_title.get_window_extent().x1 + 5 < axis._right_title.get_window_extent().x0


def test_repeats_of_one_length_are_a_band_of_the_interval_of_their_mean() -> None:
    repeats = [{"loss": [2.0, 1.0, 0.5]}, {"loss": [3.0, 0.8, 0.6]}, {"loss": [2.5, 0.9, 0.7]}]
    axis, logarithmic = drawn({"a": {"loss": [2.5, 0.9, 0.6], "repeats": repeats}, "b": [1.0, 1.0, 1.0]}).axes
    (band,) = (c for c in axis.collections if isinstance(c, PolyCollection))
    t = 4.302652729911275  # of 97.5 %, for two degrees of freedom, from tables
    for epoch, mean, deviation in ((1, 2.5, 0.5), (2, 0.9, 0.1), (3, 0.6, 0.1)):
        half = t * deviation / 3**0.5
        heights = {float(y) for x, y in band.get_paths()[0].vertices if x == epoch}
        assert (min(heights), max(heights)) == pytest.approx((mean - half, mean + half))
    assert to_hex(band.get_facecolor()[0]) == PALETTE[0].lower()
    assert len(lines(axis, PALETTE[0])) == 1
    assert len(logarithmic.collections) == 1


def test_the_lines_say_how_high_an_axis_goes_and_not_the_band_of_two_seeds() -> None:
    repeats = [{"loss": [2.0, 1.0, 0.5]}, {"loss": [3.0, 0.8, 0.7]}]
    figures = {"loss": [2.5, 0.9, 0.6]}
    alone, banded = drawn({"a": figures}), drawn({"a": {**figures, "repeats": repeats}})
    for axis, other in zip(alone.axes, banded.axes, strict=True):
        assert axis.get_ylim() == other.get_ylim()
        assert axis.get_xlim() == other.get_xlim()
        (band,) = (c for c in other.collections if isinstance(c, PolyCollection))
        if other.get_yscale() == "log":
            assert min(float(y) for _, y in band.get_paths()[0].vertices) == other.get_ylim()[0] > 0


def test_repeats_that_end_apart_are_lines_of_their_own() -> None:
    repeats = [{"loss": [2.0, 1.0, 0.5]}, {"loss": [3.0, 0.8]}]
    axis = drawn({"a": {"loss": [2.5, 0.9], "repeats": repeats}}).axes[0]
    assert not axis.collections
    assert [list(line.get_ydata()) for line in lines(axis, PALETTE[0])] == [[2.0, 1.0, 0.5], [3.0, 0.8], [2.5, 0.9]]
    assert axis.get_xlim()[1] == 3


@pytest.mark.parametrize(
    "history",
    [
        {"a": {"loss": [], "repeats": [{"loss": []}, {"loss": [1.0]}]}, "b": [1.0]},
        {"a": {"loss": [1.0, float("nan")], "repeats": [{"loss": [1.0, float("nan")]}] * 2}},
        {"a": {"loss": [1.0], "repeats": [{"loss": [1.0]}] * 2}},
        {"a": {"loss": [0.0, 0.0], "repeats": [{"loss": [0.0, 0.0]}] * 2}},
        lanes(24, repeats=[{"loss": [2.0] * 4, "test_accuracy": [0.5] * 4}] * 3),
        {f"{i}": [float("nan")] for i in range(20)} | {"a": [1.0]},
    ],
    ids=range(6),
)
def test_every_history_is_drawn_without_warnings(history: dict[str, Any]) -> None:
    drawn(history, title="T", subtitle="S")


@pytest.mark.parametrize("count", [NAMED - 1, NAMED, NAMED + 1, 24])
def test_of_many_lanes_the_best_are_named_and_the_others_are_grey(count: int) -> None:
    history = dict(reversed(lanes(count, val_loss=[1.0] * 4).items()))
    for axis in drawn(history).axes[:2]:
        named = {text.get_text() for text in axis.texts}
        assert named == {f"Adam,lr={i}" for i in range(min(count, NAMED))}
        others = max(count - NAMED, 0)
        assert len(lines(axis, GREY)) == others
        assert [to_hex(line.get_color()) for line in axis.lines[:others]] == [GREY] * others, "behind the named ones"
    dotted = drawn(history).axes[0].get_title(loc="right")
    assert dotted == ("training solid, val dotted" if count <= NAMED else "")


@pytest.mark.parametrize("name", ["Adam", "Momentum,lr=0.003", "Momentum,width=128,dropout=0.25,lr=0.003"])
def test_names_of_any_length_have_room_beside_their_panel(name: str) -> None:
    history = {f"{name}{i}": figures for i, figures in enumerate(lanes(9).values())}
    figure = drawn(history)
    right = [axis.bbox.x1 for axis in figure.axes]
    ends = [axis.bbox.x0 - 30 for axis in figure.axes[1:]] + [figure.bbox.x1]
    for axis, inner, outer in zip(figure.axes, right, ends, strict=True):
        for text in axis.texts:
            box = text.get_window_extent()
            assert inner < box.x0 < box.x1 <= outer, text.get_text()
            assert text.get_text().replace("\n", "") in history, "whole"


def test_a_recorded_history_can_be_drawn_directly(result: RunResult, tmp_path: Path) -> None:
    write_record(result, tmp_path)
    record = json.loads((tmp_path / "history.json").read_text())
    assert record["lanes"]["Adam"]["lr"] == result["Adam"].rates
    assert "lr" not in record["lanes"]["SGD"]
    axis = drawn(record["lanes"]).axes[0]
    assert [text.get_text() for text in axis.texts]
    assert len(axis.collections) == 2


def test_the_picture_of_a_run_names_its_seeds_and_how_many_lanes_are_named(
    result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subtitles = []
    monkeypatch.setattr(
        nnspec.view.pictures.curves, "plot_training_curves", lambda *_, subtitle, **__: subtitles.append(subtitle)
    )
    draw_run(result, tmp_path / "a.png")
    race = "; ".join(f"lane{i}: SGD(lr=0.{i + 1:02})" for i in range(14))
    draw_run(run(spec(race=race, train="epochs = 1")), tmp_path / "b.png")
    assert subtitles == [
        "Digits 50 train / 20 test · 784 → 6 → 10 · seeds 42 to 44 · mean and 95 % interval of 3 seeds",
        "Digits 50 train / 20 test · 784 → 6 → 10 · seed 0 · the best 12 of 14 are named",
    ]


# Tables and progress


def screen(width: int = 160) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)


def test_the_table_has_the_means_of_all_samples(result: RunResult) -> None:
    console = screen()
    print_result(result, compiled(REPEATS), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "tiny.nn · seeds 42 to 44" in text
    assert "10 held out" in text
    head = next(line for line in text.splitlines() if line.startswith("lane"))
    assert [word for word in ("runs", "val loss", "val acc", "test loss", "test acc") if word in head] == [
        *("runs", "val loss", "val acc", "test loss", "test acc")
    ]
    adam = next(line for line in text.splitlines() if line.startswith("Adam"))
    assert adam.split()[:3] == ["Adam", "3", "4/4"]
    assert numbers.loss(result["Adam"].final("val_loss")) in adam
    assert ", worst " in text


def test_a_narrow_table_keeps_the_figure_that_orders_it_and_test_accuracy(result: RunResult) -> None:
    console = screen(70)
    print_result(result, compiled(REPEATS), console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    names = next(i for i, line in enumerate(lines) if line.startswith("lane"))
    head = lines[names - 1] + lines[names]  # "test" above "acc"
    assert "val loss" in head
    assert "val acc" not in head
    assert "test" in head
    assert "acc" in head


def test_show_names_the_settings_that_are_not_as_usual() -> None:
    console = screen()
    print_structure(compiled(REPEATS), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "train           4 epochs, batch 16, float32, validation 0.2, repeats 3\n" in text
    assert "optimizer       Adam(lr=cosine(0.01, to=0.001))\n" in text
    console = screen()
    print_structure(compiled(spec(train="epochs = 4; batch = 16")), console)
    assert "train           4 epochs, batch 16, float32\n" in console.file.getvalue()  # type: ignore[attr-defined]


def told(view: type[QuietProgress], text: str) -> tuple[str, QuietProgress]:
    console, program = screen(), compiled(text)
    progress = view(console, program)
    run(text, observer=progress)
    progress.close()
    return console.file.getvalue(), progress  # type: ignore[attr-defined]


def test_progress_names_the_repeat_the_rate_and_the_validation() -> None:
    said, progress = told(PlainProgress, REPEATS)
    first = next(line for line in said.splitlines() if line.startswith("Adam"))
    assert first.startswith("Adam, seed 42 (1 of 3): epoch 1/4, loss ")
    assert "val loss" in first
    assert "val accuracy" in first
    assert "%, lr 0.00" in first
    assert "Adam, seed 44 (3 of 3): epoch 4/4" in said
    assert not any(", lr" in line for line in said.splitlines() if line.startswith("SGD"))
    assert [lane.label for lane in progress.lanes] == ["SGD", "Adam"], "a lane takes the place of its repeats"


def test_an_early_stop_is_reported_when_it_happens_and_at_the_end() -> None:
    text = spec(
        optimizer="SGD(lr=1e-9)", train="epochs = 9; batch = 16; early_stop = patience(2, of=test_loss, min_delta=0.1)"
    )
    said, _ = told(PlainProgress, text)
    reason = "after epoch 3: test_loss did not improve by more than 0.1 for 2 epochs"
    assert said.splitlines()[-1] == f"run: stopped {reason}"
    console = screen()
    print_result(run(text), compiled(text), console)
    assert f"– run stopped {reason}" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "3/9" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_live_table_takes_repeats_together_when_they_are_done() -> None:
    _, progress = told(LiveProgress, REPEATS)
    assert [(lane.label, len(lane.repeats)) for lane in progress.lanes] == [("SGD", 3), ("Adam", 3)]


@pytest.mark.parametrize(("metrics", "rows", "columns"), [(1, 1, 3), (2, 1, 4), (3, 2, 3), (5, 2, 4), (8, 3, 4)])
def test_many_panels_stand_in_rows(metrics: int, rows: int, columns: int) -> None:
    names = ["accuracy", "f1", "precision", "recall", "perplexity", "mse", "mae", "r2"][:metrics]
    lane = {"loss": [2.0, 1.0], "test_loss": [2.0, 1.5]} | {f"test_{name}": [0.1, 0.5] for name in names}
    figure = plot_training_curves({"Adam": lane})
    assert len(figure.axes) == metrics + 2
    places = [axis.get_position() for axis in figure.axes]
    assert len({round(place.y0, 6) for place in places}) == rows
    assert len({round(place.x0, 6) for place in places}) == columns


# Lanes are told apart


def test_no_two_named_lanes_share_a_colour() -> None:
    for count in (1, 7, 8, NAMED, 40):
        losses = {f"lane {i}": float((i * 7) % count) for i in range(count)}
        found = slots(losses)
        assert len(found) == min(count, NAMED)
        assert len({PALETTE[slot] for slot in found.values()}) == len(found)
        assert set(found) == {name for name in losses if losses[name] < NAMED}, "the best ones"
        assert list(found.values()) == list(range(len(found))), "in the order of the spec"


@pytest.mark.parametrize("system", ["standard", "256", "truecolor"])
def test_no_two_lanes_share_a_colour_in_a_terminal(system: Any) -> None:
    from rich.color import Color, ColorSystem

    console = Console(color_system=system, force_terminal=True)
    depth = {"standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR}[system]
    styles = [style for slot in range(NAMED) if (style := terminal_style(slot, console))]
    shown = [Color.parse(style).downgrade(depth).get_ansi_codes() for style in styles]
    assert len(set(shown)) == len(shown) == (6 if system == "standard" else NAMED)
    assert terminal_style(None, console) == ""


def test_names_at_the_ends_move_as_little_as_they_can() -> None:
    # By hand: the first two want 10 and 12, 8 apart at least, around their mean: 7 and 15. The third has room.
    assert spread_out([10, 12, 40], [8, 8, 8], 0, 100) == [7, 15, 40]
    assert spread_out([1, 2], [10, 10], 0, 100) == [5, 15]  # inside: not below the axis
    assert spread_out([99, 99], [10, 10], 0, 100) == [85, 95]
    assert spread_out([50, 50, 50], [60, 60, 60], 0, 90) == [15, 45, 75]  # no room: as far apart as there is
    assert spread_out([], [], 0, 1) == []


def test_names_of_lines_that_end_together_have_leader_lines_and_none_lies_far_from_its_end() -> None:
    figure = drawn({f"lane {i}": [2.0, 1.0 + i / 1000] for i in range(9)} | {"apart": [2.0, 0.1]})
    axis = figure.axes[0]
    names = {text.get_text(): text for text in axis.texts}
    assert all(text.arrow_patch is not None for text in names.values())
    ends = {name: axis.transData.transform((2, 0.1 if name == "apart" else 1.0))[1] for name in names}
    heights = {name: text.get_window_extent().y0 / 2 + text.get_window_extent().y1 / 2 for name, text in names.items()}
    size = 15 * figure.dpi / 72
    assert abs(heights["apart"] - ends["apart"]) < size / 2
    assert all(abs(heights[name] - ends[name]) <= 5 * size for name in names)
    assert all(text.arrow_patch is None for text in drawn({"a": [2.0, 1.0], "b": [2.0, 0.1]}).axes[0].texts)


def test_bands_of_many_lanes_are_not_drawn_over_each_other(result: RunResult) -> None:
    repeats = [{"loss": [2.0, 1.0]}, {"loss": [2.2, 1.1]}]
    for count, bands in ((5, 5), (6, 0)):
        history = {f"lane {i}": {"loss": [2.1, 1.05], "repeats": repeats} for i in range(count)}
        assert len([c for c in drawn(history).axes[0].collections if isinstance(c, PolyCollection)]) == bands


@pytest.mark.parametrize(
    ("values", "lowest", "highest", "bars"),
    [
        # Eight bars over three decades: a bar is 3/8 of a decade.
        ([1.0, 0.1, 0.01, 0.001], 0.001, 1.0, "█▆▃▁"),
        ([1.0, 0.9], 0.9, 1.0, "██"),  # at least a decade: little differences look little
        ([1.0, 0.0, -1.0], -1.0, 1.0, "█▅▁"),  # no logarithm of these
        ([1.0, float("nan"), 1.0], 1.0, 1.0, "█ █"),
        ([], 0.1, 1.0, ""),
    ],
)
def test_a_curve_in_a_table_is_logarithmic(values: list[float], lowest: float, highest: float, bars: str) -> None:
    assert numbers.spark(values, lowest, highest) == bars

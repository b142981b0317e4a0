"""Tables and sentences at every width: what identifies a row is never cut, and nothing is wider than the terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console
from tiny_spec import spec

from nnspec.view.terminal.confusion import confusion
from nnspec.view.terminal.screen import Column, say, table
from nnspec.view.wrapping import wrapped

LANES = ("PlainStochasticGradientDescentAtASlowRate", "Adam_with_weight_decay_and_a_long_name", "MomentumWithNesterov")
WIDTHS = (50, 80, 120)


def drawn(columns: list[Column], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table(columns, width))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [24, 40, 50, 80, 120])
def test_a_table_fits_and_cuts_no_name_and_no_sentence(width: int) -> None:
    names = ["Adam with weight decay,lr=0.01", "läne_with_数字数字数字_wide_letters_in_it", "x"]
    said = ["differs after epoch 3: Linear1.weight has other bits", "the same", "the same"]
    columns = [
        Column("lane", names),
        Column("seed", ["1", "2", "3"], right=True),
        Column("test precision", ["99.5 %"] * 3, 2, right=True),
        Column("", said, prose=True),
    ]
    lines = drawn(columns, width)
    assert all(cell_len(line) <= width for line in lines)
    text = "".join("".join(line.split()) for line in lines)
    assert "…" not in text
    assert sorted(text) == sorted("".join("".join(c.head + "".join(c.cells) for c in shown(columns, text)).split()))


def shown(columns: list[Column], text: str) -> Iterator[Column]:
    return (column for column in columns if column.rank == 0 or "99.5" in text)


def test_heads_and_names_wrap_before_a_column_is_dropped() -> None:
    names, figures = ["PlainStochasticGradientDescent", "b"], ["0.5", "0.25"]
    lines = drawn([Column("lane", names), Column("test precision", figures, 1, right=True)], 32)
    assert lines == [
        "                         test",
        "lane                precision",
        "PlainStochastic           0.5",
        "  GradientDescent",
        "b                        0.25",
    ]


def test_of_columns_with_equal_rank_the_last_is_dropped_first() -> None:
    columns = [Column("lane", ["a"]), Column("accuracy", ["1"], 1), Column("precision", ["2"], 1)]
    assert drawn(columns, 16)[0] == "lane   accuracy"


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("StochasticGradient", 12, ["Stochastic", "Gradient"]),
        ("lr=0.001,width=16", 9, ["lr=0.001,", "width=16"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("数字数字", 4, ["数字", "数字"]),
        ("", 5, [""]),
    ],
)
def test_names_break_at_their_joints(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width) == lines


def test_a_sentence_is_wrapped_below_its_first_word_on_a_terminal_and_one_line_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    text = "✗ `Adam.test_loss` is lower than that of another lane"
    terminal = Console(file=io.StringIO(), width=24, force_terminal=True, color_system=None)
    say(terminal, text)
    assert terminal.file.getvalue() == "✗ `Adam.test_loss` is\n  lower than that of\n  another lane\n"  # type: ignore[attr-defined]
    pipe = Console(file=io.StringIO(), width=24, color_system=None)
    say(pipe, text)
    assert pipe.file.getvalue() == text + "\n"  # type: ignore[attr-defined]


def test_a_confusion_table_has_the_names_of_the_classes() -> None:
    rows = [[19, 0], [1, 1200]]
    assert confusion(rows, ["no", "yes"], 40) == ["          no    yes", "   no     19      ·", "  yes      1  1,200"]
    assert confusion(rows, [], 40) == ["         0      1", "  0     19      ·", "  1      1  1,200"]
    too_wide = confusion(rows, ["Ankle boot", "T-shirt"], 28)
    assert too_wide == [
        "                    0      1",
        "  0 Ankle boot     19      ·",
        "     1 T-shirt      1  1,200",
    ]
    assert confusion(rows, ["no", "yes"], 10) is None


# Every command


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    optimizers = ("SGD(lr=0.1)", "AdamW(lr=0.01)", "Nesterov(lr=0.1)")
    race = "; ".join(f"{lane} {{ optimizer = {each} }}" for lane, each in zip(LANES, optimizers, strict=True))
    text = spec(
        race=race,
        train="epochs = 2; batch = 16; validation = 0.2; repeats = 2",
        expect=f"{LANES[0]}.test_loss < 5 * {LANES[1]}.test_loss",
    )
    (folder / "a.nn").write_text(text)
    (folder / "b.nn").write_text(text.replace("AdamW", "Adam"))
    for name in ("a", "b"):
        assert invoke(folder, 120, "run", f"{name}.nn", "-q", "--out", name)
    rows = [",".join(["0"] * 784)] * 2
    (folder / "x.csv").write_text("\n".join([",".join(f"p{i}" for i in range(784)), *rows]) + "\n")
    return folder


def invoke(folder: Path, width: int, *arguments: str) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", str(width))
        command = import_module(f"nnspec.cli.{arguments[0]}").command
        done = CliRunner().invoke(command, list(arguments[1:]))
    assert done.exit_code in (0, 1), done.output
    return [line.rstrip() for line in done.output.splitlines()]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "line",
    [
        "run a.nn -q --set train.epochs=1 --set train.repeats=1 --profile",
        "verify a b",
        "compare a b",
        "eval a --confusion",
        "show a.nn",
        "gradcheck a.nn",
        "landscape a.nn --grid 3 --set train.repeats=1 --force",
    ],
)
def test_every_command_keeps_the_names_of_lanes(here: Path, width: int, line: str) -> None:
    lines = invoke(here, width, *line.split())
    head = next((i for i, each in enumerate(lines) if re.search(r"(^|   )lane($|   )", each)), None)
    if head is None:  # no table of lanes: their names are headings
        assert set(LANES) <= set(re.split(r"[\s,]+", " ".join(lines)))
    else:
        assert set(LANES) <= set(column(lines[head:], "lane"))
    assert "…" not in "".join(lines)


def column(lines: list[str], head: str) -> list[str]:
    """Return the cells of a column, those of several lines put together again."""
    at = lines[0].index(head)
    cells: list[str] = []
    for line in lines[1:]:
        cell = line[at:].split("   ")[0]
        if not cell.strip() and not cells:
            continue
        if not line.strip():
            break
        if cell.startswith("  ") and cells:
            cells[-1] += cell.strip()
        else:
            cells.append(cell.strip())
    return cells

"""The best point of a sweep: which it is, how it is shown, and the command that runs it again."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import nnspec
from nnspec import runs
from nnspec.api import compile_spec
from nnspec.cli import main
from nnspec.results.run import RunResult
from nnspec.results.sweeps import best_record, grids
from nnspec.statistics.ranking import Candidate, ranked

pytestmark = pytest.mark.usefixtures("undrawn")

BODY = """\
seed = 1
data = Blobs(train=60, test=30)
let width = 8
model { Linear(width); ReLU; Linear(3) }
loss = CrossEntropy
train { epochs = 2; validation = 0.2 }
"""
OWN = f"""{BODY}race {{ SGD; Adam }}
sweep {{ width = [4, 8]; SGD.optimizer.lr = [0.01, 0.1]; Adam.optimizer.lr = logspace(-3, -1.3, 2) }}
"""


def code(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def final(result: RunResult, figure: str) -> dict[str, float]:
    return {name: lane.history[figure][-1] for name, lane in result.items()}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A run with a list for all lanes and one for each, in a folder whose name has a blank."""
    folder = tmp_path_factory.mktemp("a folder")
    (folder / "own.nn").write_text(OWN)
    return folder, nnspec.run(folder / "own.nn", out=folder / "out")


def test_lanes_are_ranked_by_validation_then_by_test_and_those_that_diverged_are_last() -> None:
    a = Candidate("a", "MSE", {"loss": 0.1, "test_loss": 3.0, "val_loss": 2.0})
    b = Candidate("b", "MSE", {"loss": 0.3, "test_loss": 2.0, "val_loss": 3.0})
    c = Candidate("c", "MSE", {"loss": 0.2, "test_loss": 1.0})
    bad = Candidate("bad", "MSE", {"loss": 0.0, "test_loss": 0.0}, ended_well=False)
    early = Candidate("early", "MSE", {"loss": math.nan, "test_loss": math.nan})
    assert ranked([b, a]) == (["a", "b"], "val_loss")
    assert ranked([bad, a, b, c]) == (["c", "b", "a", "bad"], "test_loss")
    assert ranked([early, a, c]) == (["c", "a", "early"], "test_loss")
    assert ranked([a, Candidate("d", "MAE", {"test_loss": 0.0})]) == (["a", "d"], "")
    assert ranked([]) == ([], "")


def test_the_best_point_is_the_one_with_the_lowest_validation_loss(swept: tuple[Path, RunResult]) -> None:
    _, result = swept
    losses = final(result, "val_loss")
    wanted = min(losses, key=lambda name: losses[name])
    assert result.best is result[wanted]
    assert [lane.name for lane in result.ranked] == sorted(losses, key=lambda name: losses[name])
    best = result.summary["best"]
    assert (best["lane"], best["figure"], best["value"]) == (wanted, "val_loss", losses[wanted])
    assert (best["among"], best["by_test"]) == (8, False)
    assert runs.open_run(str(result.folder)).choose().name == wanted


def test_its_settings_run_every_lane_at_its_best_beside_it_with_the_same_numbers(
    swept: tuple[Path, RunResult],
) -> None:
    folder, result = swept
    best = result.summary["best"]
    again = nnspec.run(folder / "own.nn", set=best["set"])
    assert list(again) == ["SGD", "Adam"]
    width = next(flag for flag in best["set"] if flag.startswith("width="))
    for lane in again.values():
        same = {name: one for name, one in result.items() if name.startswith(f"{lane.name},{width},")}
        wanted = min(same.values(), key=lambda one: one.history["val_loss"][-1])
        assert lane.history == wanted.history


def test_the_command_can_be_given_to_a_shell_and_gives_the_same_numbers(
    swept: tuple[Path, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, result = swept
    monkeypatch.chdir(tmp_path)
    best = result.summary["best"]
    program, *arguments = shlex.split(best["command"])
    assert (program, arguments[0]) == ("nnspec", "run")
    assert code([*arguments, "-q", "--out", "again"]) == 0
    lane = best["lane"].partition(",")[0]
    history = json.loads(Path("again/history.json").read_text())["lanes"][lane]
    assert history["val_loss"] == result[best["lane"]].history["val_loss"]


@pytest.mark.parametrize(
    "sweep",
    [
        "sweep { optimizer = [SGD(lr=0.1, # the rate, a comment with '\n    momentum=0.5), Adam(lr=0.5)] }",
        "sweep { optimizer.lr = logspace(-3, -0.7, 3) }",
        "sweep { optimizer.lr = [1 / 3, cosine(0.3, warmup=1)]; train.batch = [7, 11] }",
        "sweep { train.early_stop = [none, patience(1, of=val_loss)]; train.shuffle = [true, false] }",
        "sweep { model.Linear1.init = [xavier_normal, he_normal] }",
        "sweep zip { width = [data.classes, 2 * 3]; optimizer.lr = [0.2, 0.1] }",
    ],
)
def test_every_swept_name_can_be_set(
    sweep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a b.nn").write_text(f"{BODY}optimizer = SGD(lr=0.1)\n{sweep}\n")
    result = nnspec.run("a b.nn")
    command = result.summary["best"]["command"]
    assert command.startswith("nnspec run 'a b.nn' --set ")
    assert code([*shlex.split(command)[1:], "-q", "--out", "again"]) == 0
    history = json.loads(Path("again/history.json").read_text())["lanes"]["run"]
    assert result.best is not None
    assert {name: history[name] for name in result.best.history} == result.best.history


def test_flags_and_the_folder_of_the_data_are_part_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.nn").write_text(f"{BODY}optimizer = SGD(lr=0.1)\nsweep {{ width = [4, 5] }}\n")
    result = nnspec.run("a.nn", set={"train.epochs": 1})
    width = min(result, key=lambda name: final(result, "val_loss")[name])
    flags = ["train.epochs = 1", width]
    command = ["nnspec", "run", "a.nn", "--set", flags[0], "--set", width]
    best = result.summary["best"]
    assert (best["set"], best["command"]) == (flags, shlex.join(command))
    program = compile_spec("a.nn", {"train.epochs": 1}).program
    found = best_record(list(result.values()), program, Path("my data"))
    assert found is not None
    assert found["command"] == shlex.join([*command, "--data-dir", "my data"])


def test_values_that_name_files_beside_a_spec_elsewhere_are_not_put_into_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x", "y"):
        rows = "\n".join(f"{i},{i % 5},{'yes' if i % 2 else 'no'}" for i in range(30))
        (tmp_path / f"{name}.csv").write_text(f"a,b,c\n{rows}\n")
    text = BODY.replace("Linear(3)", "Linear(2)").replace("data = Blobs(train=60, test=30)\n", "")
    spec = f'{text}optimizer = SGD(lr=0.1)\nsweep {{ data = [CSV("x.csv", target="c"), CSV("y.csv", target="c")] }}\n'
    (tmp_path / "a.nn").write_text(spec)
    monkeypatch.chdir(tmp_path)
    assert all(lane.swept[0].exact.startswith("CSV(") for lane in compile_spec("a.nn").program.lanes)
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    assert [lane.swept[0].exact for lane in compile_spec("../a.nn").program.lanes] == ["", ""]


def printed(capsys: pytest.CaptureFixture[str], run: Callable[[], object]) -> list[str]:
    capsys.readouterr()
    run()
    return capsys.readouterr().out.splitlines()


def test_a_grid_has_the_figure_at_every_combination_and_a_star_at_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = BODY.replace("; validation = 0.2", "")
    Path("a.nn").write_text(f"{text}optimizer = SGD\nsweep {{ optimizer.lr = [0.1, 0.01]; width = [4, 6, 8] }}\n")
    lines = printed(capsys, lambda: code(["run", "a.nn", "-q", "--out", "out"]))
    saved = runs.open_run("out")
    losses = {str(lane["name"]): float(lane["final"]["test_loss"]) for lane in saved.summary["lanes"]}
    best = min(losses, key=lambda name: losses[name])
    start = next(i for i, line in enumerate(lines) if line.startswith("test_loss by width and optimizer.lr"))
    assert lines[start + 1].split() == ["width", "lr=0.1", "lr=0.01"]
    for row, width in enumerate((4, 6, 8)):
        cells = lines[start + 2 + row].split()
        names = [f"lr={lr},width={width}" for lr in ("0.1", "0.01")]
        assert cells[0] == str(width)
        assert [float(cell) for cell in cells[1:] if cell != "*"] == pytest.approx([losses[n] for n in names], rel=0.01)
        assert ("*" in cells) == (best in names)
    assert f"– best: {best}, with the lowest test_loss of 6 lanes" in "\n".join(lines)
    assert any(line.startswith(f"! {best} was chosen by test_loss, since there are no validation") for line in lines)
    assert f"– to run it again: {saved.summary['best']['command']}" in lines
    page = runs.report(["out"]).read_text()
    assert "The lowest test loss first." in page
    assert saved.summary["best"]["command"] in page
    assert "test_loss by width and optimizer.lr" in page


def test_no_grid_for_settings_that_are_zipped_or_alone() -> None:
    def lane(name: str, **point: str) -> dict[str, object]:
        return {"name": name, "lane": "run", "point": point}

    assert grids([lane("a", x="1", y="3"), lane("b", x="2", y="4")]) == []
    assert grids([lane("a", x="1"), lane("b", x="2")]) == []
    (found,) = grids([lane(f"{x}{y}", x=x, y=y) for x in "12" for y in "345"])
    assert (found.rows, found.columns) == (("y", ["3", "4", "5"]), ("x", ["1", "2"]))
    assert found.runs["4", "2"] == "24"


def test_lanes_without_a_figure_in_common_have_no_best_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.nn").write_text(f"{BODY}optimizer = SGD(lr=0.1)\nmetrics = []\nsweep {{ loss = [CrossEntropy, Hinge] }}\n")
    lines = printed(capsys, lambda: code(["run", "a.nn", "-q", "--out", "out"]))
    assert "! no best point: the lanes have no figure in common" in lines
    assert "best" not in json.loads(Path("out/summary.json").read_text())


def test_a_number_that_a_function_made_is_set_to_its_last_bit(tmp_path: Path) -> None:
    (tmp_path / "a.nn").write_text(f"{BODY}optimizer = SGD\nsweep {{ optimizer.lr = linspace(0.1, 0.2, 3) }}\n")
    lanes = compile_spec(tmp_path / "a.nn").program.lanes
    values = [lane.optimizer.values()["lr"] for lane in lanes]
    assert [float(lane.swept[0].exact) for lane in lanes] == values
    assert [(lane.swept[0].text, lane.swept[0].exact) for lane in lanes][1] == ("0.15", "0.15000000000000002")

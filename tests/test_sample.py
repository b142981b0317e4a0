"""Text that a trained network writes."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import OFFLINE, spec

import nnspec
from nnspec import engine as nn
from nnspec.api import compile_spec, run_into
from nnspec.records.folder import RunFolder
from nnspec.results.writer import USUAL_LENGTH, Writer
from nnspec.runner.options import RunOptions
from nnspec.training.observer import Silent

MODEL = "Embedding(8); PositionalEmbedding; residual { MultiHeadAttention(2, causal=true) }; Linear(data.classes)"
TEXT = "the cat sat on the mat\nthe dog sat on the log\n" * 20


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


def written(folder: Path, train: str = "epochs = 1; batch = 16", model: str = MODEL, **more: Any) -> Path:
    path = folder / "text.nn"
    path.write_text(spec(model, data='Text("text.txt", context=8)', train=train, **more), encoding="utf-8")
    return path


class Next(nn.Layer):
    """A network that is sure of the next letter of the alphabet, and says so of every place that it is shown."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.seen: list[list[int]] = []
        self.weight = nn.Parameter(np.zeros(1))
        self.letters = letters

    def forward(self, x: Any, out: Any = None) -> Any:
        self.seen.append(x[0].astype(int).tolist())
        return 9.0 * np.eye(self.letters)[(x.astype(int) + 1) % self.letters]

    def parameters(self) -> dict[str, nn.Parameter]:
        return {"weight": self.weight}


def writer(letters: str = "abcd", window: int = 3) -> Writer:
    return Writer(nn.NumpyMLP(Next(len(letters))), letters, (window,))


def test_a_network_that_is_sure_writes_what_it_expects() -> None:
    assert writer().write(6, "c", temperature=0) == "dabcda"


def test_it_sees_the_last_characters_that_its_window_has_room_for_and_nothing_beyond_the_end() -> None:
    wrote = writer()
    assert wrote.write(3, "ab", temperature=0) == "cda"
    assert wrote.network.layers[0].seen == [[0, 1, 0], [0, 1, 2], [1, 2, 3]]


def test_without_a_prompt_it_begins_a_line() -> None:
    assert writer("\nab").write(2, temperature=0) == "ab"
    assert writer("ab").write(2, temperature=0) == "ba"


def test_a_seed_writes_the_same_again_and_another_seed_something_else() -> None:
    texts = [writer().write(200, temperature=5.0, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_characters_come_with_their_odds() -> None:
    """Of four letters one has the logit 9 and the others 0: at temperature 9 the odds are e to 1."""
    text = "a" + writer().write(20_000, "a", temperature=9.0, seed=3)
    expected = sum(ord(after) - ord(before) in (1, -3) for before, after in itertools.pairwise(text))
    share = np.e / (np.e + 3)
    assert abs(expected / 20_000 - share) < 4 * np.sqrt(share * (1 - share) / 20_000)


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 1e-3])
def test_the_colder_the_surer(temperature: float) -> None:
    assert writer().write(50, "d", temperature=temperature) == ("abcd" * 13)[:50]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": -1}, "at least 0"),
        ({"temperature": -0.5}, "at least 0"),
        ({"temperature": float("nan")}, "at least 0"),
        ({"prompt": "abx"}, "these characters do not occur in the training data: 'x'"),
    ],
)
def test_what_cannot_be_written_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        writer().write(**arguments)


def test_a_run_on_a_text_ends_with_a_sample(folder: Path) -> None:
    result = nnspec.run(written(folder))
    (lane,) = result.values()
    assert len(lane.sample) == USUAL_LENGTH
    assert set(lane.sample) <= set(TEXT)
    assert lane.writer is not None
    assert lane.writer.write(USUAL_LENGTH, seed=lane.seed) == lane.sample
    assert result.summary["lanes"][0]["sample"] == lane.sample


def test_it_learns_what_it_reads(folder: Path) -> None:
    train = "epochs = 40; batch = 8; sample = 40; temperature = 0"
    result = nnspec.run(written(folder, train, model=MODEL.replace("8", "32"), optimizer="Adam(lr=0.01)"))
    (lane,) = result.values()
    assert "sat on the" in lane.sample
    assert lane.sample == nnspec.run(folder / "text.nn")[lane.name].sample


def test_training_goes_as_it_goes_without_a_sample(folder: Path) -> None:
    lanes = [next(iter(nnspec.run(written(folder, f"epochs = 2; batch = 16; sample = {n}")).values())) for n in (0, 50)]
    assert [len(lane.sample) for lane in lanes] == [0, 50]
    assert lanes[0].history == lanes[1].history


def test_every_repeat_writes_its_own(folder: Path) -> None:
    (lane,) = nnspec.run(written(folder, "epochs = 1; batch = 16; sample = 60; repeats = 2")).values()
    one, other = lane.repeats
    assert one.sample == lane.sample != other.sample


def test_lanes_in_processes_of_their_own_write_the_same(folder: Path, forked_workers: None) -> None:
    path = written(folder, "epochs = 1; batch = 16; sample = 30", race="SGD(lr=0.1); Adam(lr=0.01)")
    here, there = nnspec.run(path), nnspec.run(path, jobs=2)
    assert [lane.sample for lane in here.values()] == [lane.sample for lane in there.values()]


def test_a_lane_that_diverged_writes_nothing(folder: Path) -> None:
    (lane,) = nnspec.run(written(folder, optimizer="SGD(lr=1e30)")).values()
    assert lane.status == "diverged"
    assert (lane.sample, lane.writer) == ("", None)


def test_other_data_writes_nothing(folder: Path) -> None:
    path = folder / "digits.nn"
    path.write_text(spec(), encoding="utf-8")
    (lane,) = nnspec.run(path).values()
    assert (lane.sample, lane.writer) == ("", None)


def test_a_sample_of_other_data_is_an_error(folder: Path) -> None:
    path = folder / "digits.nn"
    path.write_text(spec(train="epochs = 1; sample = 10"), encoding="utf-8")
    (finding,) = nnspec.check(path).diagnostics
    assert finding.code == "NN302"
    assert "not trained on text" in finding.message


def test_the_record_is_written_with_it(folder: Path) -> None:
    compiled = compile_spec(written(folder))
    run_into(
        compiled,
        OFFLINE,
        Silent(),
        lambda: RunFolder.make("text.nn", folder / "out", False),
        options=RunOptions(jobs=1),
    )
    record = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    assert len(record["lanes"][0]["sample"]) == USUAL_LENGTH


def test_what_steers_a_terminal_is_printed_as_what_it_is(folder: Path) -> None:
    from nnspec.view.terminal.samples import written as lines

    (lane,) = nnspec.run(written(folder)).values()
    lane = replace(lane, sample="a\x1b[2Jb\nc\rd")
    assert [*lines(lane)] == [f"{lane.label} writes:", "", r"a\x1b[2Jb", r"c\rd", ""]

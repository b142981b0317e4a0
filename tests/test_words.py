"""Text word by word and line by line: samples, vocabularies, errors, and what trained networks write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import ALONE, run, spec

import nnspec
from nnspec import engine as nn
from nnspec.checker import check
from nnspec.data import Access, FileFault, Text
from nnspec.data.vocabulary import UNKNOWN, joined, lines_of, words_of
from nnspec.diagnostics import Source
from nnspec.results.writer import Writer

NAMES = ["ann", "bo", "", "cora", "dan", "eve", "al", "ned", "nora", "oda"]
TALE = "The cat's on the mat. The dog isn’t: it sat!\nThe END, said the cat.\n" * 4


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    path = tmp_path / "tale.txt"
    path.write_text(TALE, encoding="utf-8")
    return path


def units(rows: np.ndarray, alphabet: Any) -> list[list[str]]:
    return [["_" if i < 0 else alphabet[i] for i in row] for row in rows]


# Words


def test_words_are_runs_of_letters_and_single_marks_in_lower_case() -> None:
    assert words_of("The cat's—it isn’t: 3,5 snake_case <b> «Ça»\n") == (
        ["the", "cat's", "—", "it", "isn’t", ":", "3", ",", "5", "snake_case", "<", "b", ">", "«", "ça", "»"]
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("the cat , said ( he ) .", "the cat, said (he)."),
        ('" a bone , " said the cat .', '"a bone," said the cat.'),
        ('one " two \n " three " four', 'one "two\n"three" four'),
    ],
)
def test_words_are_joined_as_people_write(words: str, text: str) -> None:
    assert joined(words.split(" "), ("a",)) == text


def test_lines_are_those_of_the_text_however_it_is_cut() -> None:
    text = "ab\n\ncd\nefg"
    for size in range(1, 9):
        assert [*lines_of(text[i : i + size] for i in range(0, len(text), size))] == text.split("\n")


def test_the_vocabulary_is_that_of_the_training_part(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("b a b c a b\n" * 3 + "d d\n", encoding="utf-8")
    data = Text(tmp_path / "t.txt", 2, unit="word", test=0.2).load(Access())
    assert data.alphabet == (UNKNOWN, "b", "a", "c")
    assert units(data.train.x, data.alphabet)[:3] == [["b", "a"], ["b", "c"], ["a", "b"]]
    assert units(data.test.x, data.alphabet) == [["a", "b"]]  # and the targets: b, then an unknown word
    assert units(data.test.y, data.alphabet) == [["b", UNKNOWN]]
    assert data.notes == ("2 of 4 test words (50.0%) are not among the 3 words with an id of their own",)


def test_the_vocabulary_holds_the_most_frequent_words(tale: Path) -> None:
    source = Text(tale, 7, unit="word", vocabulary=4)
    data = source.load(Access())
    assert data.facts == source.facts()
    assert (data.facts.classes, data.facts.tokens, data.facts.stored) == (4, 4, "uint8")
    assert data.alphabet == (UNKNOWN, "the", ".", ":")  # the last is one of many that are as frequent, by alphabet
    assert "training words (" in data.notes[0]
    whole = Text(tale, 7, unit="word").load(Access())
    assert whole.notes == ()
    assert joined([whole.alphabet[i] for i in whole.train.x.reshape(-1)], whole.alphabet).startswith(
        "the cat's on the mat. the dog isn’t: it sat! the end, said the cat. the cat's"
    )


# Lines


def test_a_line_is_a_sample_from_id_0_to_id_0(names: Path) -> None:
    source = Text(names, sample="line", shuffle=False, test=0.2)
    data = source.load(Access())
    assert data.facts == source.facts()
    assert (data.facts.shape, data.facts.target, data.facts.train, data.facts.test) == ((5,), (5,), 7, 2)
    assert data.alphabet == "\nabcdelnorv"
    assert ["".join(row) for row in units(data.train.x, data.alphabet)][:3] == ["\nann\n", "\nbo\n\n", "\ncora"]
    assert ["".join(row) for row in units(data.train.y, data.alphabet)][:3] == ["ann\n_", "bo\n__", "cora\n"]
    assert ["".join(row) for row in units(data.test.y, data.alphabet)] == ["nora\n", "oda\n_"]
    assert (data.facts.ignores, data.facts.lines, data.facts.predicts_next) == (True, True, True)


def test_the_vocabulary_of_lines_is_that_of_the_training_lines(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a b\nb c\nd d d\n", encoding="utf-8")
    data = Text(tmp_path / "t.txt", sample="line", unit="word", shuffle=False, test=0.3).load(Access())
    assert data.alphabet == ("\n", UNKNOWN, "b", "a", "c")
    assert data.test.y.tolist() == [[1, 1, 1, 0]]


def test_lines_are_split_at_random_by_seed(names: Path) -> None:
    def lines(**more: Any) -> list[str]:
        data = Text(names, sample="line", test=0.2, **more).load(Access())
        return ["".join(row).rstrip("_\n") for row in units(np.concatenate([data.train.y, data.test.y]), data.alphabet)]

    assert sorted(lines()) == sorted(filter(None, NAMES))
    assert lines() == lines(seed=0)
    assert lines() != lines(shuffle=False) == [*filter(None, NAMES)]
    assert lines() != lines(seed=1)


def test_lines_of_words(tale: Path) -> None:
    data = Text(tale, sample="line", unit="word", vocabulary=5, shuffle=False, test=0.25).load(Access())
    assert data.alphabet == ("\n", UNKNOWN, "the", ".", "!")
    assert data.facts.shape == (14,)
    assert units(data.train.y, data.alphabet)[1] == [
        "the", UNKNOWN, UNKNOWN, UNKNOWN, "the", UNKNOWN, ".", "\n", *"______",
    ]  # fmt: skip


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("vocabulary=50", "`vocabulary` is for words"),
        ("sample=line, stride=2", "`stride` is for windows"),
        ("seed=1", "`shuffle` and `seed` are for `sample=line`"),
        ("shuffle=false", "`shuffle` and `seed` are for `sample=line`"),
    ],
)
def test_arguments_that_exclude_each_other(names: Path, arguments: str, message: str) -> None:
    text = spec("Embedding(4); Linear(5)", data=f'Text("{names.as_posix()}", {arguments})')
    assert message in check(Source("s.nn", text)).diagnostics[0].message


@pytest.mark.parametrize(
    ("text", "arguments", "message", "help"),
    [
        ("ab\nabcdefg\nabc", {"sample": "line", "context": 7}, "line 2 has 7 characters, and `context`", "`context=8`"),
        ("a b\nc d e f", {"sample": "line", "unit": "word", "context": 4}, "line 2 has 4 words", "`context=5`"),
        ("abc\n\n", {"sample": "line"}, "has a single line", ""),
        ("\n\n", {"sample": "line"}, "is empty", ""),
        ("the The THE", {"unit": "word"}, "holds a single word over and over", ""),
        ("a b c d", {"unit": "word"}, "the training part of the text has 3 words, and a window takes 65", "a smaller"),
    ],
)  # fmt: skip
def test_texts_that_cannot_be_used(
    tmp_path: Path, text: str, arguments: dict[str, Any], message: str, help: str
) -> None:
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    with pytest.raises(FileFault) as error:
        Text(tmp_path / "t.txt", **arguments).facts()
    assert message in error.value.message
    assert error.value.help.startswith(help)


# Networks


class Follows(nn.Layer):
    """A network that is sure of the unit after each id, and remembers what it was shown."""

    def __init__(self, after: tuple[int, ...]) -> None:
        super().__init__()
        self.after, self.seen = after, list[list[int]]()
        self.weight = nn.Parameter(np.zeros(1))

    def forward(self, x: Any, out: Any = None) -> Any:
        self.seen.append(x[0].astype(int).tolist())
        return 50.0 * np.eye(len(self.after))[np.array(self.after)[x.astype(int)]]


def test_lines_are_written_one_by_one_to_their_end() -> None:
    network = Follows((1, 2, 3, 0))
    writer = Writer(nn.Sequential(network), "\nabc", (4,), lines=True)
    assert writer.write(5) == "abc\nabc\n"
    assert network.seen[:4] == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 2, 0], [0, 1, 2, 3]]
    assert network.seen[4] == [0, 0, 0, 0]  # each line begins anew
    assert writer.write(2, "b") == "c\n"
    assert writer.write(0) == ""


def test_a_line_ends_where_the_window_does() -> None:
    writer = Writer(nn.Sequential(Follows((1, 1))), "\na", (3,), lines=True)
    assert writer.write(1) == "aaa\n"


def test_words_are_written_with_spaces_and_without_unknown_ones() -> None:
    network = Follows((2, 0, 3, 1))
    writer = Writer(nn.Sequential(network), (UNKNOWN, "cat", "the", "."), (4,))
    assert writer.usual_length == 100
    assert writer.write(4, "The cat runs", temperature=0) == "the. cat cat"  # it is sure of an unknown word after `cat`
    assert network.seen[0] == [2, 1, 0, 0]


@pytest.mark.parametrize("arguments", ["unit=word, context=6", "sample=line", "sample=line, unit=word"])
def test_all_ways_of_training_and_writing_agree(tale: Path, arguments: str) -> None:
    text = spec(
        "Embedding(6); GRU(5); Linear(data.classes)",
        data=f'Text("{tale.as_posix()}", {arguments})',
        race="SGD(lr=0.1); Adam(lr=0.01)",
        train="epochs = 2; batch = 4; sample = 20",
        more="metrics = [accuracy, perplexity]",
    )
    alone, stacked = run(text, ways=ALONE), run(text)
    for name, lane in alone.items():
        assert lane.sample
        assert (lane.history, lane.trace, lane.sample) == (
            stacked[name].history,
            stacked[name].trace,
            stacked[name].sample,
        )


def test_a_run_of_words_is_written_and_read_again(tale: Path) -> None:
    text = spec("Embedding(6); GRU(5); Linear(data.classes)", data='Text("tale.txt", unit=word, context=6)')
    (tale.parent / "s.nn").write_text(text, encoding="utf-8")
    result = nnspec.run(tale.parent / "s.nn", out=tale.parent / "run")["run"]
    predictor = nnspec.runs.load(tale.parent / "run")
    assert predictor.writer is not None
    assert predictor.writer.write(seed=result.seed) == result.sample
    assert predictor.name_of(1) == "'the'"
    assert all(each.same for each in nnspec.runs.evaluate(tale.parent / "run"))


def test_no_place_of_a_line_may_see_later_ones(names: Path) -> None:
    text = spec("Embedding(4); MultiHeadAttention(2); Linear(12)", data=f'Text("{names.as_posix()}", sample=line)')
    assert "NN721" in [each.code for each in check(Source("s.nn", text)).diagnostics]

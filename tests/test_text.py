"""Text from a file: windows, targets, alphabet, and errors for files that are not text."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from findings import BASE
from hostile_files import HOSTILE, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_spec import run, spec

from nnspec.api import check, compile_spec
from nnspec.checker import check as check_source
from nnspec.data import Access, DataError, Facts, FileFault, Text
from nnspec.diagnostics import Source
from nnspec.engine.part import FilePath
from nnspec.project.checking import Checker

POEM = "the rain in spain stays mainly in the plain\n" * 20


@pytest.fixture
def poem(tmp_path: Path) -> Path:
    path = tmp_path / "poem.txt"
    path.write_text(POEM)
    return path


def decoded(rows: np.ndarray, alphabet: str) -> list[str]:
    return ["".join(alphabet[i] for i in row) for row in rows]


def load(path: Path, *arguments: int, **named: float) -> tuple[Text, list[str], list[str]]:
    source = Text(path, *arguments, **named)
    data = source.load(Access())
    assert data.facts == source.facts()
    assert len(data.train.x) == data.facts.train
    assert len(data.test.x) == data.facts.test
    texts = [
        f"{x}|{y}" for x, y in zip(*(decoded(a, data.alphabet) for a in (data.train.x, data.train.y)), strict=True)
    ]
    tests = [f"{x}|{y}" for x, y in zip(*(decoded(a, data.alphabet) for a in (data.test.x, data.test.y)), strict=True)]
    return source, texts, tests


def test_windows_and_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "abc.txt"
    path.write_text("abcdefghijklmnopqrst")
    _, train, test = load(path, 3, test=0.4)
    assert train == ["abc|bcd", "def|efg", "ghi|hij"]  # of abcdefghijkl
    assert test == ["mno|nop", "pqr|qrs"]
    _, train, test = load(path, 3, test=0.2, stride=6)
    assert train == ["abc|bcd", "ghi|hij", "mno|nop"]  # of abcdefghijklmnop: the last window just fits
    assert test == ["qrs|rst"]
    assert load(path, 3, test=0.4, stride=1)[1] == [
        f"{'abcdefghijkl'[i : i + 3]}|{'abcdefghijkl'[i + 1 : i + 4]}" for i in range(9)
    ]


def test_facts(poem: Path) -> None:
    alphabet = len(set(POEM))
    assert Text(poem, 64).facts() == Facts(
        (64,), alphabet, (792 - 65) // 64 + 1, 1, "uint8", target=(64,), tokens=alphabet, predicts_next=True
    )


def test_alphabet_is_sorted_and_of_all_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("zebra " * 20 + "é€𝄞Z", encoding="utf-8")
    data = Text(path, 2).load(Access())
    assert data.alphabet == " Zaberzé€𝄞"
    assert data.facts.tokens == 10
    assert data.test.x.max() == 8


def test_large_alphabets_take_two_bytes(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    text = "".join(chr(0x4E00 + i) for i in range(257)) * 2
    path.write_text(text, encoding="utf-8")
    data = Text(path, 4).load(Access())
    assert data.facts.stored == "uint16" == data.train.x.dtype == data.train.y.dtype
    assert decoded(data.train.x, data.alphabet)[64] == text[256:260]


def test_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    plain, other = tmp_path / "plain.txt", tmp_path / "other.txt"
    plain.write_bytes(POEM.encode())
    other.write_bytes(b"\xef\xbb\xbf" + POEM.replace("\n", "\r\n").encode())
    assert Text(plain, 8).load(Access()).sha256 == Text(other, 8).load(Access()).sha256


def test_pieces_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(("né€𝄞\r\n\r" * 30).encode())
    whole = Text(path, 8).load(Access())
    path.touch()
    monkeypatch.setattr("nnspec.data.files._CHUNK", 3)
    pieces = Text(path, 8).load(Access())
    assert (whole.sha256, whole.alphabet) == (pieces.sha256, pieces.alphabet)
    assert whole.alphabet == "\nné€𝄞"


@pytest.mark.parametrize("kind", HOSTILE)
def test_paths_that_are_not_files(tmp_path: Path, kind: str) -> None:
    make, message = HOSTILE[kind]
    make(tmp_path / "x.txt")
    with refused(message):
        Text(tmp_path / "x.txt").facts()
    with pytest.raises(DataError, match=message):
        Text(tmp_path / "x.txt").load(Access())


BAD = {
    "empty": (b"", "is empty"),
    "one character": (b"aaaaaaaaa", "a single character over and over"),
    "latin-1": (b"abc\xe9def", r"byte 3 is 0xe9 \(line 1\); save it as UTF-8"),
    "behind a mark": (b"\xef\xbb\xbfabc\xe9def", "byte 6 is 0xe9"),
    "cut": (b"abcdefg\xe2\x82", "byte 7 is 0xe2"),
    "nul": (b"abc\0def", "contains a NUL"),
    "utf-16": ("abc".encode("utf-16"), "byte 0 is 0xff"),
    "surrogate": (b"ab\xed\xa0\x80", "byte 2 is 0xed"),
}


@pytest.mark.parametrize("chunk", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize("kind", BAD)
def test_files_that_are_not_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, chunk: int) -> None:
    monkeypatch.setattr("nnspec.data.files._CHUNK", chunk)
    content, message = BAD[kind]
    (tmp_path / "x.txt").write_bytes(content)
    with refused(message):
        Text(tmp_path / "x.txt", 2).facts()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
    context=st.integers(1, 9),
    test=st.floats(0.01, 0.99),
)
def test_any_bytes(tmp_path: Path, content: bytes, context: int, test: float) -> None:
    path = tmp_path / "any.txt"
    path.write_bytes(content)
    try:
        facts = Text(path, context, test=test).facts()
    except FileFault:
        return
    data = Text(path, context, test=test).load(Access())
    assert data.facts == facts
    assert data.train.x.shape == data.train.y.shape == (facts.train, context)
    assert data.test.x.shape == data.test.y.shape == (facts.test, context)
    text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    assert text.startswith("".join(decoded(data.train.x, data.alphabet)))


def test_windows_that_take_too_much(poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnspec.data.text.MOST_STORED", 1000)
    with refused("the limit is 1 GiB; use a larger `stride`", "stride"):
        Text(poem, 8, stride=1).facts()


@pytest.mark.parametrize(
    ("arguments", "part", "argument"), [("context=800", "training", "context"), ("context=200", "test", "context")]
)
def test_too_short(poem: Path, arguments: str, part: str, argument: str) -> None:
    (found,) = findings(poem, f'Text("poem.txt", {arguments})')
    assert found.code == "NN502"
    assert f"the {part} part of the text has" in found.message
    assert found.span.text == arguments.split("=")[1]


# In a spec


def findings(poem: Path, data: str, **more: str):
    text = spec("Embedding(4); ReLU; Linear(data.classes)", data=data, **more)
    return check_source(Source("t.nn", text, poem.parent)).diagnostics


def test_a_path_starts_from_the_folder_of_the_spec(poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(poem, 'Text("poem.txt", 8)') == ()
    (found,) = findings(poem, 'Text("poim.txt", 8)')
    assert (found.code, found.span.text, found.help) == ("NN502", '"poim.txt"', 'did you mean `"poem.txt"`?')
    assert findings(poem, "Text(where, 8)", more='let where = "poem.txt"') == ()
    inner = poem.parent / "inner"
    inner.mkdir()
    (inner / "common.nn").write_text('data = Text("../poem.txt", context=8)\n')
    (inner / "main.nn").write_text('import "common.nn"\n' + spec().replace("data = Digits(train=50, test=20)\n", ""))
    found = [d.message for d in check(inner / "main.nn").diagnostics]
    assert found == ["Linear expects real-valued input but got ids from 0 to 13"]  # of the poem
    (inner / "common.nn").write_text('data = Text("nowhere.txt", context=8)\n')
    assert [d.code for d in check(inner / "main.nn").diagnostics] == ["NN502"]
    monkeypatch.chdir(inner)  # a flag starts from where one works
    assert [d.message for d in check(inner / "main.nn", {"data.path": '"../poem.txt"'}).diagnostics] == found


@pytest.mark.parametrize("path", ["3", "none", '["a"]', "Digits"])
def test_invalid_paths(poem: Path, path: str) -> None:
    (found,) = findings(poem, f"Text({path})")
    assert found.code in ("NN301", "NN305")
    assert "`path` must be a path in quotes" in found.message


def test_in_a_run(poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(poem.parent)
    result = run(spec("Embedding(8); ReLU; Linear(data.classes)", data='Text("poem.txt", context=8)'))
    loss = result["run"].history["loss"]
    assert loss[-1] < loss[0]


def test_the_text_is_read_again_each_time(poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(poem.parent)
    Path("t.nn").write_text(BASE.replace("data = Digits", 'data = Text("texts/t.txt", context=8)'))

    def checked() -> list[str]:
        return [d.message for d in Checker().file("t.nn").diagnostics if d.code == "NN502"]

    assert checked() == ["file not found: texts/t.txt"]
    Path("texts").mkdir()
    Path("texts/t.txt").write_text("aa")
    assert checked() == ["texts/t.txt holds a single character over and over, so there is nothing to learn"]
    Path("texts/t.txt").write_text(POEM)
    assert checked() == []


def test_written_to_between_check_and_run(poem: Path) -> None:
    source = Text(poem, 8)
    before = source.facts()
    poem.write_text(POEM * 2)
    assert source.facts() != before


def test_a_file_path_equals_its_resolved_path() -> None:
    path = FilePath("data/x.csv", "specs")
    assert path == os.path.join("specs", "data", "x.csv")
    assert path.written == "data/x.csv"
    again = pickle.loads(pickle.dumps(path))
    assert (again, again.written, FilePath(path)) == (path, "data/x.csv", path)
    assert FilePath("/x/y.csv", "specs") == "/x/y.csv"


def test_resolved_writes_the_path_of_the_spec(poem: Path) -> None:
    (poem.parent / "t.nn").write_text(spec("Embedding(4); ReLU; Linear(data.classes)", data='Text("poem.txt", 8)'))
    from nnspec.semantics.values import written

    bound = compile_spec(poem.parent / "t.nn").program.lanes[0].data[0].value.arguments["path"]
    assert written(bound.value) == '"poem.txt"'


def test_windows_that_do_not_overlap_share_the_text(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("".join(chr(97 + i * i % 26) for i in range(1000)))
    data = Text(path, 10).load(Access())
    assert np.shares_memory(data.train.x, data.train.y)
    assert not np.shares_memory(*(Text(path, 10, stride=5).load(Access()).train.x, data.train.x))
    # Windows by hand, of both kinds.
    text = path.read_text()
    for stride in (None, 10, 3):
        data = Text(path, 10, stride=stride).load(Access())
        starts = range(0, 900 - 10, stride or 10)
        assert decoded(data.train.x, data.alphabet or "") == [text[i : i + 10] for i in starts]
        assert decoded(data.train.y, data.alphabet or "") == [text[i + 1 : i + 11] for i in starts]


def test_a_long_text_takes_little_more_memory_than_itself(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"to be or not to be\n" * 300_000)  # 5.4 MiB
    size = path.stat().st_size
    Text(path, 32).facts()
    tracemalloc.start()
    try:
        data = Text(path, 32).load(Access())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(data.train.x) * 32 <= size
    # The text by its ids, a table of all code points, and pieces of 1 MiB on their way, at 4 bytes a character.
    assert peak < size + 12 * 2**20


def test_labels_of_a_long_text_stay_bytes(poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = spec(
        "Embedding(4); Linear(data.classes)", data=f'Text("{poem}", context=8)', train="epochs = 2; validation = 0.2"
    )
    expected = run(text)["run"].history
    monkeypatch.setattr("nnspec.compiler.batches.FEW_LABELS", 10)
    assert run(text)["run"].history == expected


def test_a_text_of_many_characters_trains(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("".join(chr(0x4E00 + i) for i in range(300)) * 3, encoding="utf-8")
    text = spec("Embedding(4); Linear(data.classes)", data=f'Text("{path}", context=8)', train="epochs = 1; sample = 0")
    assert len(run(text)["run"].history["loss"]) == 1


def test_characters_missing_in_training_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("abc\n" * 90 + "az\té" * 10, encoding="utf-8")
    (note,) = Text(path, 4).load(Access()).notes
    assert note == "3 characters of the test text, 30 in all, do not occur in training: '\\t', 'z', 'é'"
    path.write_text("abc\n" * 100)
    assert Text(path, 4).load(Access()).notes == ()


def test_the_place_of_what_is_not_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"caf\xc3\xa9\n" * 3 + b"caf\xe9\n")
    for chunk in (1 << 20, 5):
        monkeypatch.setattr("nnspec.data.files._CHUNK", chunk)
        with refused("is not UTF-8 text: byte 21 is 0xe9 .line 4.; save it as UTF-8"):
            Text(path, 4).facts()


def test_characters_of_a_long_piece_are_those_of_a_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.txt"
    path.write_text("né€𝄞\t" * 50, encoding="utf-8")
    monkeypatch.setattr("nnspec.data.text._LONG", 10)
    assert Text(path, 4).load(Access()).alphabet == "".join(sorted("né€𝄞\t"))

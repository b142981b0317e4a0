"""What is wrong with a text: one message a mistake, all of them in one go, and never a traceback."""

from __future__ import annotations

import os
import string
from pathlib import Path

import pytest
from findings import BASE, base, diagnose, find, only
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnspec.checker import check
from nnspec.diagnostics import CODES, Source, SourceError, read_source, render_all
from nnspec.diagnostics.source import MAX_BYTES
from nnspec.syntax import parse

HEAD = 'a section is a keyword, an optional name or "title", then `{`'


@pytest.mark.parametrize(
    ("line", "pointed", "message"),
    [
        ("seed =", "=", "missing value after `=`"),
        ("seed = 3 +", "+", "missing operand after `+`"),
        ("seed = not", "not", "missing operand after `not`"),
        ("seed = f(1, x=)", "=", "missing value after `=`"),
        ("seed 42", "seed 42", "`seed 42` is neither a setting nor a layer"),
        ("optimizer SGD(lr=1)", "optimizer SGD", "`optimizer SGD` is neither a setting nor a layer"),
        ("ReLU Tanh", "Tanh", "missing line break or `;` before `Tanh`"),
        ("ReLU Linear(3)", "Linear", "missing line break or `;` before `Linear`"),
        ("seed = 1 dtype = float32", "dtype", "missing line break or `;` before `dtype`"),
        ("Linear(3) ReLU", "ReLU", "missing line break or `;` before `ReLU`"),
        ("train { epochs = 3 batch = 4 }", "batch", "missing line break or `;` before `batch`"),
        ("x = f(1 2)", "2", "missing comma between `1` and `2`"),
        ("x = f(lr=1 eps=2)", "eps", "missing comma between `1` and `eps`"),
        ("x = [1 2]", "2", "missing comma between `1` and `2`"),
        ("x = f(,)", ",", "unexpected `,`"),
        ("seed = 3,", ",", "items are not separated by commas"),
        ("train { epochs = 3, batch = 4 }", ",", "items are not separated by commas"),
        ("x = a..b", ".", "unexpected `.`"),
        ("f(x) = 3", "=", "only names can be assigned to"),
        ("seed += 3", "+=", "unexpected `+=`"),
        ("seed := 3", ":=", "unexpected `:=`"),
        ("optimizer.lr: 3", ":", "unexpected `:`"),
        ("let x: int = 3", ":", "unexpected `:`"),
        ("Linear 64", "Linear 64", "`Linear 64` is neither a setting nor a layer"),
        ("Linear(64) -> ReLU", "->", "unexpected `->`"),
        ("train = { }", "=", "sections are written without `=`"),
        ("train: { }", ":", "sections are written without `:`"),
        ("// remark", "//", "unexpected `//`"),
        ("/* remark */", "/", "unexpected `/`"),
        ("for i in range(3):", "for", "unexpected `for`: specs have no loops"),
        ("x = [i for i in y]", "for", "unexpected `for`: specs have no loops"),
        ("x = 1 if y else 2", "if", "unexpected `if`: specs have no conditions"),
        ("x = lambda y: y", "lambda", "unexpected `lambda`: specs have no functions"),
        ("def f(x) { }", "def", "unexpected `def`: specs have no functions"),
        ("const x = 3", "const", "unexpected `const`: constants are declared with `let`"),
        ("from x import y", "from", "unexpected `from`: an import always includes the whole file"),
        ("x > 90%", "90%", "`90%` is not a number"),
        ("x = f(lr: 1)", ":", "unexpected `:`"),
        ("let true = 3", "true", "`true` is a reserved word and cannot be a name"),
        ("let or = 3", "or", "`or` is a reserved word and cannot be a name"),
        ("model.not.x = 3", "not", "`not` is a reserved word and cannot be a name"),
        ("or = 3", "or", "unexpected `or`"),
        ("let", "\n", "`let` is a reserved word and must be followed by a name"),
        ("import", "\n", '`import` is a reserved word and must be followed by a file, as in `import "common.nn"`'),
        ("import x", "x", "`import` needs a file name in quotes"),
        ("let x", "\n", "missing value for this `let`"),
        ("{ x = 3 }", "{", "unexpected `{`"),
        ("x = 3 @ 4", "@", "unexpected `@`"),
        ("x = 3 $$$ 4", "$$$", "unexpected `$$$`"),
        ("x = a && b", "&&", "unexpected `&&`"),
        ("x = “a”", "“a”", "`“` and `”` cannot be used as quotes"),
        ("x = “a", "“", "unexpected `“`"),
        ("x = \x01", "\x01", "unexpected `U+0001`"),
    ],
)
def test_tokens_in_the_wrong_position(line: str, pointed: str, message: str) -> None:
    found = next(d for d in parse(Source("x.nn", line + "\n")).diagnostics)
    assert (found.code, found.span.text, found.message) == ("NN101", pointed, message)


@pytest.mark.parametrize(
    ("text", "pointed", "message"),
    [
        ("x = f(1\ny = 2", "(", "this `(` is never closed"),
        ("x = [1, 2\n", "[", "this `[` is never closed"),
        ("x = f((1)\n", "(", "this `(` is never closed"),
        ("model {\n    ReLU\nseed = 1", "{", "this `{` is never closed"),
        ("train { epochs = 3", "{", "this `{` is never closed"),
        ("x = f(1))", ")", "unmatched `)`"),
        ("x = 1]", "]", "unmatched `]`"),
        ("x = f(1]", "]", "`]` cannot close `(`"),
        ("}\n", "}", "unmatched `}`"),
        ("model { ReLU }}\n", "}", "unmatched `}`"),
        ("model {{\n    ReLU\n}\n", "{", "extra `{`"),
        ("model {{\nReLU\n}\n", "{", "extra `{`"),
        ("model\n    ReLU\n}\n", "model", "missing `{` after `model`"),
        ('race "t"\n    SGD\n    a { MSE }\n}\n', 'race "t"', 'missing `{` after `"t"`'),
    ],
)
def test_brackets_that_have_no_partner(text: str, pointed: str, message: str) -> None:
    (found,) = parse(Source("x.nn", text)).diagnostics
    assert (found.code, found.span.text, found.message) == ("NN102", pointed, message)


@pytest.mark.parametrize("text", ["1_", "1__0", "0x10", "1e", "1.2.3", "3abc", "1e+", "1e5.5", "2.e"])
def test_invalid_numbers_are_reported_as_a_whole(text: str) -> None:
    found = parse(Source("x.nn", f"x = {text}\n")).diagnostics
    assert found[0].code == "NN104"
    assert text.startswith(found[0].span.text)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_an_unclosed_string_ends_with_its_line(quote: str) -> None:
    assert find(base(more=f"dtype = {quote}float\nsede = 3\n")) == [("NN103", f"{quote}float"), ("NN201", "sede")]


def test_the_brace_of_a_head_may_not_begin_a_line_and_is_read_all_the_same() -> None:
    text = base("model {", "model\n\n{").replace("Linear(10)", "Linear(9)")
    assert find(text) == [("NN101", "{"), ("NN402", "Linear(9)")]


@pytest.mark.parametrize(
    "text",
    [
        base("ReLU", "ReLU ReLU", more="sede = 1"),
        base("Linear(16)", "Linear(16", more="sede = 1"),
        base("model {", "model", more="sede = 1"),
        base("    Linear(10)\n}", "    Linear(10)\n", more="sede = 1"),
        base("loss =", "loss", more="sede = 1"),
        base("lr=0.1", "lr=0.1x", more="sede = 1"),
        base("lr=0.1", "lr=$", more="sede = 1"),
        base(more="race x y z {\n    SGD\n}\nsede = 1"),
        base(more="train = {\n    epochs = 3\n}\nsede = 1"),
    ],
)
def test_a_syntax_error_costs_one_message_and_does_not_hide_the_next_mistake(text: str) -> None:
    syntax, semantic = diagnose(text)
    assert syntax.code < "NN2"
    assert (semantic.code, semantic.span.text) == ("NN201", "sede")


def test_several_syntax_errors_are_all_reported() -> None:
    text = "seed = \nx = f(1 2)\nmodel {\n    Linear(3\n    ReLU ReLU\n}\ntrain { epochs 3 }\n}\n"
    assert [(d.code, d.span.line) for d in parse(Source("x.nn", text)).diagnostics] == [
        ("NN102", 4),
        ("NN102", 8),
        ("NN101", 1),
        ("NN101", 2),
        ("NN101", 5),
        ("NN101", 7),
    ]


@pytest.mark.parametrize(
    "head", ["train = {", "train: {", "train epochs 3 {", "train 'a' 'b' {", "train( {", "train {{"]
)
def test_the_inside_of_a_section_with_a_broken_head_is_still_read(head: str) -> None:
    found = find(base(more=f"{head}\n    epohcs = 3\n}}\n"))
    assert [code for code, _ in found if code < "NN2"]
    assert found[-1] == ("NN201", "epohcs")


def test_a_missing_brace_is_noted_at_the_line_that_it_should_stand_before() -> None:
    found = only(base("    Linear(10)\n}", "    Linear(10)\n"))
    assert [(note.span.text, note.text) for note in found.notes] == [("loss", "missing `}` before this line")]


@pytest.mark.parametrize("setting", ["dtype", "seed", "model", "data", "metrics", "train.batch", "model.Linear1.bias"])
@pytest.mark.parametrize(
    ("value", "code"), [('"x', "NN103"), (r'"\q"', "NN103"), ("3x", "NN104"), ("1" * 401, "NN104")]
)
def test_a_value_that_cannot_be_read_is_not_judged(setting: str, value: str, code: str) -> None:
    text = base("data = Digits\n", "") if setting == "data" else base()
    assert [c for c, _ in find(text + f"{setting} = {value}\n")] == [code]


def test_nothing_is_reported_as_missing_that_could_not_be_parsed() -> None:
    for line in ("loss = = MSE", "loss CrossEntropy", "or = CrossEntropy"):
        assert [code for code, _ in find(base("loss = CrossEntropy", line))] == ["NN101"]
    assert [code for code, _ in find(base("Linear(10)", "Linear(10 10)"))] == ["NN101"]
    assert [code for code, _ in find(base("16", "1x6"))] == ["NN104"]


LIMITS = {
    "parentheses": "seed = " + "(" * 3000 + "1" + ")" * 3000,
    "open parentheses": "(" * 5000,
    "closing brackets": ")" * 2000 + "]" * 2000 + "}" * 2000,
    "lists": "x = " + "[" * 3000 + "]" * 3000,
    "braces": "x {" * 3000 + "}" * 3000,
    "open braces": "{\n" * 3000,
    "sum": "seed = " + "+".join(["1"] * 5000),
    "powers": "seed = " + "**".join(["2"] * 3000),
    "not": "x = " + "not " * 3000 + "true",
    "minus": "seed = " + "- " * 3000 + "1",
    "or": "data = " + " or ".join(["Digits"] * 3000),
    "statement": base(more="expect { " + " and ".join(["loss < 1"] * 2000) + " }"),
    "deep statement": base(more="expect { loss < " + "- " * 90 + "max(" * 90 + "- - - 1" + ")" * 90 + " }"),
    "path": "a" + ".a" * 5000 + " = 1",
    "sections behind each other": "a { } " * 3000,
    "lines": "x\n}\n" * 1000,
    "strays": "$ " * 5000,
    "quotes": '"' * 5001,
    "binary": "".join(map(chr, range(256))) * 10,
}


@pytest.mark.parametrize("text", LIMITS.values(), ids=LIMITS.keys())
def test_no_text_is_too_deep_or_too_long_for_a_message(text: str) -> None:
    assert diagnose(text)


@pytest.mark.parametrize("depth", [100, 101])
def test_brackets_nest_a_hundred_deep(depth: int) -> None:
    codes = [d.code for d in parse(Source("x.nn", "x = " + "(" * depth + "1" + ")" * depth)).diagnostics]
    assert codes == (["NN106"] if depth > 100 else [])


# Files


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"seed = 1\0", "NUL byte at offset 8"),
        ("seed = 1".encode("utf-16"), "UTF-16"),
        (b"\xff\xff\xff", "is not UTF-8 text (byte 0 is 0xff)"),
        ("é = 1".encode("latin-1"), "is not UTF-8 text (byte 0 is 0xe9)"),
        (b"#" * (MAX_BYTES + 1), "larger than 4 MiB"),
    ],
)
def test_files_that_are_not_text_are_not_read(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.nn"
    path.write_bytes(data)
    with pytest.raises(SourceError) as error:
        read_source(path)
    assert says in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("size", [0, MAX_BYTES])
def test_a_file_may_be_empty_or_four_mebibytes(size: int, tmp_path: Path) -> None:
    path = tmp_path / "x.nn"
    path.write_bytes(b"#" * size)
    assert len(read_source(path).text) == size


def test_special_files_are_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a folder"):
        read_source(tmp_path)
    with pytest.raises(SourceError, match="file not found"):
        read_source(tmp_path / "missing.nn")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.nn")
        with pytest.raises(SourceError, match="not a regular file"):
            read_source(tmp_path / "pipe.nn")
    if Path("/dev/zero").exists():
        with pytest.raises(SourceError, match="not a regular file"):
            read_source("/dev/zero")


# Any text at all

WORDS = [
    "model",
    "train",
    "race",
    "expect",
    "data",
    "loss",
    "optimizer",
    "seed",
    "metrics",
    "dtype",
    "epochs",
    "Linear",
    "ReLU",
    "Adam",
    "SGD",
    "MSE",
    "Digits",
    "MNIST",
    "lr",
    "x",
    "params",
    "epochs_to",
    "max",
    "let",
    "block",
    "import",
    "or",
    "and",
    "not",
    "true",
    "none",
    "sweep",
    "residual",
    "val_loss",
    "é",
    "0",
    "1",
    "10",
    "0.5",
    "1e400",
    "10**9",
    "3x",
    '"a"',
    '"',
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "=",
    "==",
    "<",
    "+",
    "-",
    "*",
    "**",
    "/",
    "%",
    ",",
    ".",
    ":",
    ";",
    "#",
    "$",
] + ["\n"] * 3
TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=200)
SOUPS = st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join)
PATCHED = st.tuples(st.integers(0, len(BASE)), st.integers(0, 30), SOUPS).map(
    lambda cut: BASE[: cut[0]] + cut[2] + BASE[cut[0] + cut[1] :]
)
LINES = st.lists(st.sampled_from(BASE.splitlines()) | SOUPS, max_size=12).map("\n".join)
FLAGS = st.lists(SOUPS | st.text(alphabet=string.printable, max_size=30), max_size=2)


@settings(
    max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(text=TEXTS | SOUPS | PATCHED | LINES, flags=FLAGS)
def test_any_text_only_causes_findings(text: str, flags: list[str]) -> None:
    source = Source("x.nn", text)
    checked = check(source, [Source("--set", flag) for flag in flags])
    assert (checked.program is None) == any(d.severity == "error" for d in checked.diagnostics)
    for found in checked.diagnostics:
        assert found.code in CODES
        for span in (found.span, *(note.span for note in found.notes)):
            assert 0 <= span.start <= span.end <= len(span.source.text) + 1
    if checked.diagnostics:
        assert render_all(checked.diagnostics)

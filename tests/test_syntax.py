"""Text to tree: every form of the grammar, with exact spans. What is wrong with a text is in test_syntax_recovery."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest

from nnspec.diagnostics import Source, read_source
from nnspec.syntax import parse, tree
from nnspec.syntax.grammar import grammar_text


def items(text: str) -> tuple[tree.Item, ...]:
    """Return the items of a text that has nothing wrong."""
    parsed = parse(Source("x.nn", text))
    assert parsed.diagnostics == ()
    return parsed.file.items


def item(text: str) -> Any:
    (only,) = items(text)
    return only


def expression(text: str) -> Any:
    return item(f"x = {text}").value


def shape(node: Any) -> Any:
    """Write an expression as nested tuples, operator first."""
    match node:
        case tree.Constant(value=value):
            return value
        case tree.Reference(path=path):
            return path.text
        case tree.Group(inner=inner):
            return ("()", shape(inner))
        case tree.Unary(operator=operator, operand=operand):
            return (operator.text, shape(operand))
        case (
            tree.Binary(operator=operator, left=left, right=right)
            | tree.Logical(operator=operator, left=left, right=right)
        ):
            return (operator.text, shape(left), shape(right))
        case tree.Compare(operands=operands, operators=operators):
            return (*(o.text for o in operators), *(shape(o) for o in operands))
        case tree.Not(operand=operand):
            return ("not", shape(operand))
        case tree.ListOf(items=values):
            return [shape(v) for v in values]
        case tree.TupleOf(items=values):
            return (",", *(shape(v) for v in values))
        case tree.Call(callee=callee, arguments=arguments):
            return (callee.text, *((a.name.text, shape(a.value)) if a.name else shape(a.value) for a in arguments))
    raise AssertionError(node)


def kinds(text: str) -> list[str]:
    return [type(i).__name__ for i in items(text)]


# Items


def test_a_setting_gives_a_value_to_a_dotted_name() -> None:
    found = item("optimizer . lr = 0.1")
    assert (found.path.text, [n.text for n in found.path.names]) == ("optimizer.lr", ["optimizer", "lr"])
    assert (found.span.text, found.value.span.text) == ("optimizer . lr = 0.1", "0.1")


@pytest.mark.parametrize(
    ("text", "label", "name", "title", "head"),
    [
        ("model { }", None, None, None, "model"),
        ("model wide { }", None, "wide", None, "model wide"),
        ('race "A # title" { }', None, None, "A # title", 'race "A # title"'),
        ("h1: residual { }", "h1", None, None, "h1: residual"),
        ("h1 : add both { }", "h1", "both", None, "h1 : add both"),
    ],
)
def test_a_section_has_a_word_and_perhaps_a_label_a_name_or_a_title(
    text: str, label: str | None, name: str | None, title: str | None, head: str
) -> None:
    found = item(text)
    assert (found.label and found.label.text, found.name and found.name.text) == (label, name)
    assert (found.title and found.title.value, found.head.text, found.span.text) == (title, head, text)
    assert found.items == ()


def test_an_element_is_an_expression_perhaps_with_a_label() -> None:
    found = item("h1: Linear(64, bias=false)")
    assert (found.label.text, found.value.callee.text) == ("h1", "Linear")
    assert [(a.name and a.name.text, a.span.text) for a in found.value.arguments] == [
        (None, "64"),
        ("bias", "bias=false"),
    ]
    assert (found.span.text, found.value.span.text) == ("h1: Linear(64, bias=false)", "Linear(64, bias=false)")
    assert item("params < 60_000").label is None


def test_declarations_name_something() -> None:
    let = item("let width = 2 * 32")
    assert (let.name.text, let.value.span.text) == ("width", "2 * 32")
    block = item("block Hidden(units, drop=0.0,) { Linear(units); Dropout(drop) }")
    assert (block.name.text, block.head.text) == ("Hidden", "block Hidden(units, drop=0.0,)")
    assert [(p.name.text, p.default and p.default.span.text) for p in block.parameters] == [
        ("units", None),
        ("drop", "0.0"),
    ]
    assert len(block.items) == 2
    assert item("block Bare { ReLU }").parameters == item("block Bare() { ReLU }").parameters == ()
    assert item('import "common.nn"').target.value == "common.nn"


def test_sections_nest_and_stand_on_one_line() -> None:
    race = item('race "t" { wide { model = big; train { batch = 3 } }; Adam(lr=1) }')
    wide, adam = race.items
    assert [type(i).__name__ for i in wide.items] == ["Setting", "Section"]
    assert (wide.items[1].items[0].span.text, adam.span.text) == ("batch = 3", "Adam(lr=1)")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ";", " ; ; \n\n ; "])
def test_items_end_with_a_line_or_a_semicolon(end: str) -> None:
    assert [i.span.text for i in items(f"{end}a = 1{end}ReLU{end}")] == ["a = 1", "ReLU"]


@pytest.mark.parametrize(
    "text",
    [
        "a = (1 +\n 2)",
        "a = f(\n1,\n\n2,\n)",
        "a = [\r\n1,\r\n2\r\n]",
        "a = f(x=[1, # one\n2])",
        "a = (\n1,\n)",
        "a = f(\n)",
    ],
)
def test_lines_end_freely_inside_brackets(text: str) -> None:
    assert item(text).span.text == text


@pytest.mark.parametrize("text", ["", "\n", "  \t ", "# only a comment", "\r\n# a\r\n\r\n", ";;", "\f"])
def test_a_file_may_hold_nothing(text: str) -> None:
    assert items(text) == ()


def test_comments_run_to_the_end_of_the_line_wherever_they_begin() -> None:
    assert [i.span.text for i in items("a = 1# {\n# ( [\nmodel { # }\nReLU # x\n}# end")] == [
        "a = 1",
        "model { # }\nReLU # x\n}",
    ]


@pytest.mark.parametrize(
    "word", ["seed42", "letter", "orange", "note", "truely", "nothing", "blocks", "imported", "android"]
)
def test_a_name_may_begin_with_a_reserved_word(word: str) -> None:
    assert item(f"{word} = {word}").path.text == word
    assert shape(expression(f"not {word}")) == ("not", word)


@pytest.mark.parametrize("word", ["größe", "学習率", "λ", "_x", "x1", "été_2"])
def test_names_are_words_of_any_script(word: str) -> None:
    found = item(f"{word} = 1")
    assert (found.path.text, found.path.span.text) == (word, word)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_begins_a_line(end: str) -> None:
    assert [str(found.span) for found in items(f"a = 1{end}{end} b = 2")] == ["x.nn:1:1", "x.nn:3:2"]


def test_spans_count_code_points_lines_and_columns() -> None:
    first, second = items("é = '🙂'\r\n  b = 2")
    assert (str(first.value.span), str(second.span), second.span.line) == ("x.nn:1:5", "x.nn:2:3", 2)
    assert first.value.span.text == "'🙂'"


# Expressions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", ("+", 1, ("*", 2, 3))),
        ("1 - 2 - 3", ("-", ("-", 1, 2), 3)),
        ("8 / 4 // 2 % 3", ("%", ("//", ("/", 8, 4), 2), 3)),
        ("2 ** 3 ** 2", ("**", 2, ("**", 3, 2))),
        ("-2 ** 2", ("-", ("**", 2, 2))),
        ("2 ** -1", ("**", 2, ("-", 1))),
        ("- + -1", ("-", ("+", ("-", 1)))),
        ("2 * -x", ("*", 2, ("-", "x"))),
        ("a + 1 < b * 2", ("<", ("+", "a", 1), ("*", "b", 2))),
        ("0 < x < 1", ("<", "<", 0, "x", 1)),
        ("not a < b", ("not", ("<", "a", "b"))),
        ("not not a", ("not", ("not", "a"))),
        ("a or b and not c", ("or", "a", ("and", "b", ("not", "c")))),
        ("a or b or c", ("or", ("or", "a", "b"), "c")),
        ("(a or b) and c", ("and", ("()", ("or", "a", "b")), "c")),
        ("MNIST(1) or Digits", ("or", ("MNIST", 1), "Digits")),
        ("a.loss == b.loss", ("==", "a.loss", "b.loss")),
        ("a != b", ("!=", "a", "b")),
        ("f(1, x=2,)", ("f", 1, ("x", 2))),
        ("f()", ("f",)),
        ("a.b(1)", ("a.b", 1)),
        ("[1, [2], ]", [1, [2]]),
        ("[]", []),
        ("(1)", ("()", 1)),
        ("(1,)", (",", 1)),
        ("(1, 2, )", (",", 1, 2)),
        ("true", True),
        ("[false, none]", [False, None]),
        ("f(x=a or b)", ("f", ("x", ("or", "a", "b")))),
    ],
)
def test_operators_bind_as_in_python(text: str, expected: Any) -> None:
    found = expression(text)
    assert shape(found) == expected
    assert found.span.text == text
    assert shape(item(f"x = {text}").value) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("42", 42), ("1_000", 1000), ("60_000", 60_000), ("0.5", 0.5), (".5", 0.5), ("5.", 5.0),
        ("1e-3", 1e-3), ("1E+3", 1000.0), ("1_0.2_5e2", 1025.0), (".5e1", 5.0), ("007", 7),
    ],
)  # fmt: skip
def test_numbers_are_integers_or_floats(text: str, value: float) -> None:
    found = expression(text).value
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a b"', "a b"), ("'a'", "a"), ('"it\'s"', "it's"), (r'"\"\\\n\t"', '"\\\n\t'), (r"'\''", "'"), ('""', ""),
        ('"# no comment { ("', "# no comment { ("),
    ],
)  # fmt: skip
def test_strings_have_two_quotes_and_five_escapes(text: str, value: str) -> None:
    assert expression(text).value == value


# The tree and the grammar


def test_the_tree_cannot_be_changed() -> None:
    found = item("a = f(1)")
    for node, attribute in ((found, "value"), (found.value, "arguments"), (found.path.names[0], "text")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(node, attribute, None)
    assert isinstance(found.value.arguments, tuple)


def test_every_class_of_the_tree_is_frozen_and_has_a_span() -> None:
    classes = [vars(tree)[name] for name in tree.__all__ if name not in ("Expression", "Item")]
    assert len(classes) > 15
    for cls in classes:
        assert cls.__dataclass_params__.frozen, cls
        assert "span" in dir(cls), cls


def test_the_grammar_is_lalr_without_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    lark = pytest.importorskip("lark")
    log = logging.getLogger("lark")
    before = log.level
    try:
        with caplog.at_level(logging.DEBUG, logger="lark"):
            lark.logger.addHandler(caplog.handler)
            # Reduce/reduce conflicts raise; shift/reduce ones would be resolved, and logged.
            lark.Lark(grammar_text(), parser="lalr", lexer="basic", start=["file", "expression"], debug=True)
    finally:
        lark.logger.removeHandler(caplog.handler)
        log.setLevel(before)
    assert [r.getMessage() for r in caplog.records if "conflict" in r.getMessage().lower()] == []


def test_shift_reduce_conflicts_would_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    lark = pytest.importorskip("lark")
    with caplog.at_level(logging.DEBUG, logger="lark"):
        lark.logger.addHandler(caplog.handler)
        try:
            lark.Lark('start: e\ne: e "+" e | "x"', parser="lalr", debug=True)
        finally:
            lark.logger.removeHandler(caplog.handler)
    assert any("conflict" in r.getMessage().lower() for r in caplog.records)


def test_the_grammar_is_strict() -> None:
    pytest.importorskip("interegular", reason="Lark's strict mode needs interegular")
    from lark import Lark

    Lark(grammar_text(), parser="lalr", lexer="basic", start=["file", "expression"], strict=True)


def test_the_grammar_knows_no_layer_optimizer_or_section_by_name() -> None:
    rules = "\n".join(line.split("//")[0] for line in grammar_text().splitlines())
    for word in ("model", "train", "race", "expect", "Linear", "Adam", "epochs", "seed"):
        assert word not in rules


def test_a_byte_order_mark_is_taken_off_when_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.nn"
    path.write_bytes(b"\xef\xbb\xbfseed = 1\r\n")
    (found,) = parse(read_source(path)).file.items
    assert str(found.span) == f"{path.as_posix()}:1:1"

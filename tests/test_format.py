"""The formatter: its output, that it loses nothing, and that it would notice if it did."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from good_specs import LANES, RACE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnspec.diagnostics import Source
from nnspec.syntax import format as formatter
from nnspec.syntax import lines, parse
from nnspec.syntax.format import FormatFault, format_source
from nnspec.syntax.layout import MAX_DEPTH, MAX_TOKENS


def formatted(text: str) -> str:
    """Format a text that parses."""
    result = format_source(Source("x.nn", text))
    assert result.diagnostics == ()
    return result.text


def stable(text: str) -> str:
    """Format a text, and see that formatting it again changes nothing."""
    once = formatted(text)
    assert formatted(once) == once
    return once


# What it writes

ONE_LINE = [
    ("a=1", "a = 1"),
    ("a  =  f( 1,x = 2 , )", "a = f(1, x=2)"),
    ("a . b=c . d", "a.b = c.d"),
    ("let w=2*-x", "let w = 2 * -x"),
    ("a = - 1 - - 2 + + 3", "a = -1 - -2 + +3"),
    ("a = 2**-x ** 3", "a = 2 ** -x ** 3"),
    ("a = (-1)//2%3/4*5", "a = (-1) // 2 % 3 / 4 * 5"),
    ("not( a ) and-b<c or not not d", "not (a) and -b < c or not not d"),
    ("a = [ ]", "a = []"),
    ("a = f ( )", "a = f()"),
    ("a = [ 1,2 , ]", "a = [1, 2]"),
    ("a = ( 1 , )", "a = (1,)"),
    ("a = ( 1,2 , )", "a = (1, 2)"),
    ("a = [\n1,\n\n2\n]", "a = [1, 2]"),
    ("h1:Linear( 64 )", "h1: Linear(64)"),
    ("h1 :residual{ReLU}", "h1: residual { ReLU }"),
    ("-x", "-x"),
    ("(1)", "(1)"),
    ("a = .5", "a = .5"),
    ("a = 'it' ; ", "a = 'it'"),
    ('import   "a.nn"', 'import "a.nn"'),
    ("block B (u,d = -1,) { ReLU }", "block B(u, d=-1) { ReLU }"),
    ("block B{}", "block B {}"),
    ("model{a=1;ReLU;}", "model { a = 1; ReLU }"),
    ("model { }", "model {}"),
    ("model {\n\n}", "model {}"),
    ("model{;;}", "model {}"),
    ("model{a{b}c{d}e}", "model { a { b }; c { d }; e }"),
    ('race"t  t"{ a{ b=1 } ; c }', 'race "t  t" { a { b = 1 }; c }'),
    ("a = 1#c  \t", "a = 1  # c"),
    ("#c", "# c"),
    ("#", "#"),
    ("#!x", "#!x"),
    ("##x", "##x"),
    ("#\tx", "#\tx"),
    ("#    x", "#    x"),
    ("# a # b", "# a # b"),
    ("model { ReLU } #c", "model { ReLU }  # c"),
    ("a = '# no'# yes", "a = '# no'  # yes"),
]


@pytest.mark.parametrize(("text", "expected"), ONE_LINE)
def test_blanks_stand_where_they_belong(text: str, expected: str) -> None:
    assert stable(text) == expected + "\n"


LINES = {
    "nothing": ("", ""),
    "only blanks": (" \n\t\n\f\n", ""),
    "only semicolons": (";;\n;", ""),
    "one item a line": ("a = 1; b = 2;;c", "a = 1\nb = 2\nc\n"),
    "an empty line is kept, two are one": ("\n\na\n\nb\n\n\n\nc\nd\n\n\n", "a\n\nb\n\nc\nd\n"),
    "a line with a semicolon is not an empty one": ("a\n;\nb\n\n;\nc", "a\nb\n\nc\n"),
    "no empty line at the ends of a section": (
        "model {\n\n\nReLU\n\n\nTanh\n\n}",
        "model {\n    ReLU\n\n    Tanh\n}\n",
    ),
    "an item behind a section gets a line": ("a { b } c = 1 # d", "a { b }\nc = 1  # d\n"),
    "what is behind a brace stays there": (
        "model { # a\n\nReLU } # b",
        "model {  # a\n    ReLU\n}  # b\n",
    ),
    "comments on lines of their own": (
        "#a\n\n#b\nmodel {\n#c\n\nReLU\n  #d\n}\n#e",
        "# a\n\n# b\nmodel {\n    # c\n\n    ReLU\n    # d\n}\n# e\n",
    ),
    "a comment behind a semicolon": ("a = 1; # c\n; # d\nb = 2", "a = 1  # c\n# d\nb = 2\n"),
    "an item in brackets behind a name": ("a\n(# 1\n2)\n-b", "a\n(  # 1\n    2\n)\n-b\n"),
    "sections on more than one line": (
        "model { a { b = 1 }\nc }",
        "model {\n    a { b = 1 }\n    c\n}\n",
    ),
    "a section that holds a list on two lines": ("model { a = [1,\n2] }", "model {\n    a = [1, 2]\n}\n"),
    "a section whose head is on two lines": ("block B(a,\nb) { ReLU }", "block B(a, b) { ReLU }\n"),
    "comments in a list": (
        "a = [ # 1\n1 # 2\n, # 3\n# 4\n2\n# 5\n] # 6",
        "a = [  # 1\n    1,  # 2\n    # 3\n    # 4\n    2,\n    # 5\n]  # 6\n",
    ),
    "only comments in brackets": ("a = f( # 1\n# 2\n\n# 3\n)", "a = f(  # 1\n    # 2\n\n    # 3\n)\n"),
    "a comment before a comma": ("a = [1\n# 1\n,2]", "a = [\n    1,\n    # 1\n    2,\n]\n"),
    "a comment before a last comma": ("a = [1 # 1\n,]", "a = [\n    1,  # 1\n]\n"),
    "a comment in a group, which gets no comma": ("a = ( # 1\n1 # 2\n)", "a = (  # 1\n    1  # 2\n)\n"),
    "a comment in a tuple of one": ("a = (1, # 1\n)", "a = (\n    1,  # 1\n)\n"),
    "comments within a part": (
        "a = f(x= # 1\n1, y\n# 2\n. z, g # 3\n(2))",
        "a = f(\n    x=  # 1\n        1,\n    y\n        # 2\n        .z,\n    g  # 3\n        (2),\n)\n",
    ),
    "a comment breaks what is around it": (
        "a = f([1, 2], [3, # 1\n4])",
        "a = f(\n    [1, 2],\n    [\n        3,  # 1\n        4,\n    ],\n)\n",
    ),
    "empty lines between parts": (
        "a = [\n\n# 1\n\n\n1,\n\n2\n\n]",
        "a = [\n    # 1\n\n    1,\n\n    2,\n]\n",
    ),
    "a head with a comment": (
        "block B(a, # 1\nb=2){ReLU}",
        "block B(\n    a,  # 1\n    b=2,\n) {\n    ReLU\n}\n",
    ),
    "an empty section behind a head with a comment": ("block B(a # 1\n){}", "block B(\n    a,  # 1\n) {}\n"),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_end_where_they_should(name: str) -> None:
    text, expected = LINES[name]
    assert stable(text) == expected


def a(length: int) -> str:
    return "a" * length


WIDE = {
    "a call that fits by one": (f"x = f({a(88)}, 1)", f"x = f({a(88)}, 1)\n"),
    "and one that does not": (f"x = f({a(92)}, 1)", f"x = f(\n    {a(92)},\n    1,\n)\n"),
    "a comment behind it does not count": (f"x = f({a(88)}, 1) # {a(50)}", f"x = f({a(88)}, 1)  # {a(50)}\n"),
    "a group": (f"x = ({a(50)} + {a(50)})", f"x = (\n    {a(50)}\n    + {a(50)}\n)\n"),
    "the last call": (f"x = f({a(40)}) or g({a(40)}, 123456)", f"x = f({a(40)}) or g(\n    {a(40)},\n    123456,\n)\n"),
    "the first call": (f"x = f({a(60)}, 1) + {a(60)}", f"x = f(\n    {a(60)},\n    1,\n) + {a(60)}\n"),
    "what cannot be broken": (f"x = {a(60)} + {a(60)}", f"x = {a(60)} + {a(60)}\n"),
    "loose operators first": (
        f"x = ({a(30)} * {a(30)} + {a(30)} * {a(30)} or b)",
        f"x = (\n    {a(30)} * {a(30)}\n        + {a(30)} * {a(30)}\n    or b\n)\n",
    ),
    "operands of an argument": (
        f"x = f(y={a(50)} + {a(50)}, 1)",
        f"x = f(\n    y={a(50)}\n        + {a(50)},\n    1,\n)\n",
    ),
    "a section on one line": (f"m {{ a = {a(84)}; b }}", f"m {{ a = {a(84)}; b }}\n"),
    "and one that is too long": (f"m {{ a = {a(88)}; b }}", f"m {{\n    a = {a(88)}\n    b\n}}\n"),
    "a long head": (f"block B(u={a(95)}) {{}}", f"block B(\n    u={a(95)},\n) {{}}\n"),
    "a head that fits without its section": (
        f"block B(u={a(85)}) {{ ReLU; Tanh }}",
        f"block B(u={a(85)}) {{\n    ReLU\n    Tanh\n}}\n",
    ),
    "sections in a section that is too long": (
        f"m {{ n {{ a; b }}; c = {a(90)} }}",
        f"m {{\n    n {{ a; b }}\n    c = {a(90)}\n}}\n",
    ),
}


@pytest.mark.parametrize("name", WIDE)
def test_lines_have_a_hundred_characters_at_most_where_they_can_be_broken(name: str) -> None:
    text, expected = WIDE[name]
    assert stable(text) == expected


def test_the_width_counts_to_the_character() -> None:
    assert len(stable(f"x = f({a(90)}, 1)").splitlines()[0]) == 100
    assert len(stable(f"m {{ a = {a(87)}; b }}").splitlines()[0]) == 100
    assert stable(f"x = [[{a(92)}]]") == f"x = [[{a(92)}]]\n"
    assert stable(f"x = [[{a(93)}]]") == f"x = [\n    [{a(93)}],\n]\n"
    assert stable(f"x = [[{a(94)}]]") == f"x = [\n    [\n        {a(94)},\n    ],\n]\n"


def test_good_specs_are_not_changed() -> None:
    assert stable(RACE) == RACE
    assert stable(LANES) == LANES.replace("48   #", "48  #")


# The ends of lines and of the file


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_keep_their_ends(end: str) -> None:
    text = "a = [1, # one\n2]\nmodel {\nReLU\n}\n"
    expected = "a = [\n    1,  # one\n    2,\n]\nmodel {\n    ReLU\n}\n"
    assert stable(text.replace("\n", end)) == expected.replace("\n", end)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\r\nc\n", "a\r\nb\r\nc\r\n"),
        ("a\nb\r\nc\n", "a\nb\nc\n"),
        ("a\rb\rc\r\n", "a\rb\rc\r"),
        ("a\r\nb\n", "a\nb\n"),
        ("a", "a\n"),
        ("a\r\nb", "a\r\nb\r\n"),
    ],
)
def test_most_lines_decide_how_all_end(text: str, expected: str) -> None:
    assert stable(text) == expected


def test_a_byte_order_mark_is_dropped() -> None:
    assert stable("\ufeffa=1") == "a = 1\n"


def test_characters_of_any_script_are_left_alone() -> None:
    assert stable("größe='🙂 \u2028\t'  #🙂\x0b\x85x") == "größe = '🙂 \u2028\t'  # 🙂\x0b\x85x\n"


# Large and deep


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ("f(", ")"), ("(", ")"), ("s {\n", "\n}"), ("s { ", " }")])
@pytest.mark.parametrize("remark", ["", "# deep\n"])
def test_brackets_nest_up_to_the_limit(opens: str, closes: str, remark: str) -> None:
    value = "" if "{" in opens else "a = "
    assert "1" in stable(f"{value}{opens * MAX_DEPTH}{remark}1{closes * MAX_DEPTH}")


def test_deep_brackets_between_operators_of_every_kind() -> None:
    around = "(a or b and c < d + e * f ** "
    text = f"x = {around * MAX_DEPTH}1{')' * MAX_DEPTH}"
    assert stable(text).count("\n") > MAX_DEPTH


@pytest.mark.parametrize("operator", ["+", "**"])
@pytest.mark.parametrize("form", ["x = {}", "x = ({})", "x = f(y={}, z=1)", "x = [1, # c\n{}]", "x = -{}"])
def test_chains_of_thousands_of_operators(operator: str, form: str) -> None:
    text = form.format(f" {operator} ".join(["value"] * 3_000))
    assert stable(text).count("value") == 3_000


def test_ten_thousand_layers() -> None:
    text = stable("model {" + ";".join(["Linear(64)"] * 10_000) + "}")
    assert text == "model {\n" + "    Linear(64)\n" * 10_000 + "}\n"


def test_a_file_that_would_exceed_the_limit_is_not_changed() -> None:
    text = "x = [" + "1," * (MAX_TOKENS // 2 - 10) + "]"
    result = format_source(Source("x.nn", text))
    assert (result.text, [found.code for found in result.diagnostics]) == (text, ["NN107"])


# What does not parse


@pytest.mark.parametrize(
    "text", ["a = ", "model {", "a = 'x", "a = [1", "}", "a = 1 2", "a = §", "[" * 101 + "]" * 101]
)
def test_what_does_not_parse_is_not_formatted(text: str) -> None:
    source = Source("x.nn", text)
    result = format_source(source)
    assert result.text == text
    assert result.diagnostics == parse(source).diagnostics != ()


# Random texts


class Writer:
    """Writes a random text that parses, with blanks, line ends and comments in every gap where they may stand.

    It knows its words and comments from having written them, not from reading the text.
    """

    def __init__(self, chance: random.Random, end: str = "\n") -> None:
        self.chance, self.end = chance, end
        self.parts: list[str] = []
        self.words: list[str] = []
        self.comments: list[str] = []
        self.inside = 0

    def pick(self, *options: Any) -> Any:
        return self.chance.choice(options)

    def blanks(self) -> None:
        self.parts.append(self.pick("", "", " ", "  ", "\t", "\f "))

    def comment(self) -> None:
        text = self.pick("#", "# c", "#c", "#  'c' ", "## c\t", '#!"', "# [{(", "#é🙂", "# a # b")
        text = f"{text}{len(self.comments) % 10}" if len(text) > 1 else text
        self.comments.append(text)
        self.parts += [text, self.end]

    def lines(self) -> None:
        """Return anything that is allowed where a line may end."""
        for _ in range(self.pick(0, 0, 1, 1, 2, 3)):
            self.blanks()
            self.pick(lambda: self.parts.append(self.end), lambda: self.parts.append(self.end), self.comment)()
        self.blanks()

    def gap(self) -> None:
        if self.inside and self.chance.random() < 0.15:
            self.lines()
        else:
            self.blanks()

    def word(self, text: str) -> None:
        self.gap()
        if self.words and re.match(r"\w|[\"'.]", text) and self.parts and not self.parts[-1]:
            self.parts.append(" ")
        self.words.append(text)
        self.parts.append(text)

    def name(self) -> None:
        self.word(self.pick("a", "b1", "größe", "train", "long_name_" * self.pick(1, 3, 6), "notable"))

    def path(self) -> None:
        self.name()
        while self.chance.random() < 0.15:
            self.word(".")
            self.name()

    def opened(self, bracket: str) -> None:
        self.word(bracket)
        self.inside += 1

    def closed(self, bracket: str) -> None:
        self.gap()
        self.inside -= 1
        self.words.append(bracket)
        self.parts.append(bracket)

    def several(self, one: Callable[[], None], least: int = 0) -> None:
        count = max(least, self.pick(0, 1, 2, 3, 3, 8))
        for i in range(count):
            one()
            if i < count - 1 or ((count != 1 or least == 0) and self.chance.random() < 0.3):
                self.word(",")

    def atom(self, depth: int) -> None:
        kind = self.chance.random()
        if depth <= 0 or kind < 0.5:
            self.pick(
                self.path,
                lambda: self.word(self.pick("1", "60_000", ".5", "5.", "1e-3", "007")),
                lambda: self.word(self.pick('"a # b"', "'it'", r"'\''", '"{(["', '""', "'🙂'")),
                lambda: self.word(self.pick("true", "false", "none")),
            )()
        elif kind < 0.7:
            self.path()
            self.opened("(")
            self.several(lambda: self.argument(depth - 1))
            self.closed(")")
        elif kind < 0.8:
            self.opened("[")
            self.several(lambda: self.expression(depth - 1))
            self.closed("]")
        elif kind < 0.9:
            self.opened("(")
            self.expression(depth - 1)
            self.closed(")")
        else:
            self.opened("(")
            self.expression(depth - 1)
            self.word(",")
            if self.chance.random() < 0.6:
                self.several(lambda: self.expression(depth - 1), least=1)
            self.closed(")")

    def argument(self, depth: int) -> None:
        if self.chance.random() < 0.4:
            self.name()
            self.word("=")
        self.expression(depth)

    def expression(self, depth: int) -> None:
        for _ in range(self.pick(0, 0, 0, 0, 1, 2, 5)):
            self.operand(depth)
            self.word(self.pick("+", "-", "*", "/", "//", "%", "**", "and", "or"))
        self.operand(depth)
        if self.chance.random() < 0.1:
            self.word(self.pick("<", "<=", "==", "!="))
            self.operand(depth)

    def operand(self, depth: int) -> None:
        while self.chance.random() < 0.15:
            self.word(self.pick("-", "+"))
        self.atom(depth)

    def items(self, depth: int) -> None:
        self.separators(needed=False)
        count = self.pick(0, 1, 2, 3, 5)
        for i in range(count):
            self.item(depth)
            self.separators(needed=i < count - 1 and self.words[-1] != "}")

    def separators(self, needed: bool) -> None:
        before = len(self.parts)
        style = self.chance.random()
        if style < 0.4:
            self.blanks()
            if needed or self.chance.random() < 0.3:
                self.parts.append(";")
        else:
            for _ in range(self.pick(1, 1, 2, 4)):
                self.blanks()
                if self.chance.random() < 0.2:
                    self.parts.append(";")
                    self.blanks()
                if self.chance.random() < 0.3:
                    self.comment()
                else:
                    self.parts.append(self.end)
        assert len(self.parts) > before

    def item(self, depth: int) -> None:
        kind = self.pick("setting", "setting", "element", "element", "section", "let", "block", "import")
        if kind == "import":
            self.word("import")
            self.word('"a.nn"')
            return
        if kind == "let":
            self.word("let")
            self.name()
            self.word("=")
        elif kind == "setting":
            self.path()
            self.word("=")
        elif self.chance.random() < 0.3 and kind != "block":
            self.name()
            self.word(":")
        if kind in ("section", "block"):
            self.braces(kind, depth)
        else:
            self.expression(3 if depth else 2)

    def braces(self, kind: str, depth: int) -> None:
        if kind == "block":
            self.word("block")
            self.name()
            if self.chance.random() < 0.7:
                self.opened("(")
                self.several(self.parameter)
                self.closed(")")
        else:
            self.name()
            self.pick(lambda: None, lambda: None, self.name, lambda: self.word('"t # t"'))()
        self.word("{")
        if depth:
            self.items(depth - 1)
        self.word("}")

    def parameter(self) -> None:
        self.name()
        if self.chance.random() < 0.5:
            self.word("=")
            self.expression(1)

    def text(self) -> str:
        self.items(3)
        text = "".join(self.parts)
        return text.rstrip("\r\n") if self.chance.random() < 0.3 else text


WORD = re.compile(
    r"""(#[^\r\n]*)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\d+e-\d+|\d[\w.]*|\.\d+|\w+|[<>=!]=|\*\*|//|\S)"""
)


def without_last_commas(words: list[str]) -> list[str]:
    return [word for word, after in pairwise([*words, ""]) if word != "," or after not in (")", "]")]


def holds(chance: random.Random, end: str = "\n") -> None:
    """Write a random text, and see that formatting it keeps all there is, is stable and looks as it should."""
    writer = Writer(chance, end)
    text = writer.text()
    result = stable(text)
    found = [match.groups() for match in WORD.finditer(result)]
    words = [word for _, word in found if word and word != ";"]
    assert without_last_commas(words) == without_last_commas(writer.words)
    assert [c[1:].strip() for c, _ in found if c] == [c[1:].strip() for c in writer.comments]
    written = result.split(end if end in text else "\n")
    assert written.pop() == ""
    assert not any(line.endswith((" ", "\t", "\f")) or "\r" in line or "\n" in line for line in written)
    assert written[:1] != [""] != written[-1:]
    assert not any(above == below == "" for above, below in pairwise(written))
    for line, below in pairwise(written):
        depth = (len(line) - len(line.lstrip(" "))) / 4
        assert depth == int(depth)
        assert line or not below.lstrip().startswith("}")
        assert below or not line.endswith(("{", "[", "("))


@given(st.randoms(use_true_random=False), st.sampled_from(["\n", "\n", "\r\n", "\r"]))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_is_lost_and_twice_is_once(chance: random.Random, end: str) -> None:
    holds(chance, end)


@pytest.mark.parametrize("seed", range(12))
def test_seeded_texts_hold_too(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(5):
        holds(chance)


def test_random_texts_have_all_that_is_hard() -> None:
    writers = []
    for seed in range(200):
        writers.append(Writer(random.Random(seed)))
        writers[-1].text()
    joined = " ".join(" ".join(writer.words) for writer in writers)
    for word in ("let ", "block ", "import ", ", )", ", ]", "( )", "{ }", "** -", ": ", " . ", "- -"):
        assert word in joined
    assert sum(len(writer.comments) for writer in writers) > 500


# The guard


def drop(what: str, instead: str = "") -> Callable[[Any], list[str]]:
    return lambda pieces: [line.replace(what, instead) for line in lines.lines(pieces)]


@pytest.mark.parametrize(
    ("what", "instead", "message"),
    [
        ("# keep", "", "formatting x.nn lost, changed or moved a comment"),
        ("# keep", "# kept", "lost, changed or moved a comment"),
        ("# keep", "# keep #", "lost, changed or moved a comment"),
        ("64", "65", "changed what line 2 says"),
        ("64", "6_4", "changed what line 2 says"),
        ("64", "64, 1", "changed what line 2 says"),
        ("64,", "64", "changed what line 2 says"),
        ("ReLU", "Relu", "changed what line 3 says"),
        ("ReLU", "", "changed what line 1 says"),
        ("'t'", '"t"', "changed what line 1 says"),
        ("-x", "x", "changed what line 4 says"),
        ("-x", "+x", "changed what line 4 says"),
        ("h:", "", "changed what line 5 says"),
        ("bias=", "", "changed what line 5 says"),
        ("a < b", "a > b", "changed what line 5 says"),
        ("}", "", "made a text that does not parse"),
        ("Tanh", "Tanh Tanh", "made a text that does not parse"),
    ],
)
def test_the_guard_sees_what_the_formatter_would_change(
    what: str, instead: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "race 't' {\na = (64,)\nReLU # keep\nb = -x\nh:f(a < b, bias=false); Tanh}"
    assert what in stable(text)
    monkeypatch.setattr(formatter, "lines", drop(what, instead))
    with pytest.raises(FormatFault, match=re.escape(message)):
        format_source(Source("x.nn", text))


def test_comments_that_change_places_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatter, "lines", lambda pieces: lines.lines(pieces)[::-1])
    with pytest.raises(FormatFault, match="comment"):
        format_source(Source("x.nn", "#a\n#b"))

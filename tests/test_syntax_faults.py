"""Faults put into good specs, at random but from fixed seeds: how many are reported, and with how many messages."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from good_specs import BLOCKS, LANES, RACE

from nnspec.checker import check
from nnspec.diagnostics import Diagnostic, Source

RECALL, MESSAGES = 0.93, 1.3

CORPUS = [RACE, LANES, BLOCKS]

TOKEN = re.compile(
    r"(?P<comment>#[^\n]*)|(?P<newline>\n)|(?P<space>[ \t]+)|(?P<string>\"[^\"\n]*\")"
    r"|(?P<number>\d[\d_]*(?:\.\d+)?(?:e-?\d+)?)|(?P<word>[A-Za-z_]\w*)|(?P<sign><=|>=|\*\*|[-+*/<>=(){}\[\],:;.])"
)
KEYWORDS = {"let", "or", "and", "not", "true", "false", "none", "import", "block"}


@dataclass(frozen=True)
class Tok:
    kind: str
    text: str
    start: int
    line: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True)
class Fault:
    """Characters that are replaced, and the lines on which a message about it is allowed."""

    start: int
    end: int
    text: str
    lines: frozenset[int]
    what: str


def tokens(text: str) -> list[Tok]:
    found = [Tok(str(m.lastgroup), m[0], m.start(), text.count("\n", 0, m.start()) + 1) for m in TOKEN.finditer(text)]
    assert "".join(t.text for t in found) == text
    return [t for t in found if t.kind not in ("space", "comment")]


def partner_line(toks: list[Tok], i: int) -> int:
    """Return the line of the bracket that belongs to bracket i."""
    step = 1 if toks[i].text in "([{" else -1
    depth, j = 0, i
    while True:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(toks[j].text, 0)
        if depth == 0:
            return toks[j].line
        j += step


def fault(tok: Tok, text: str, what: str, *more: int) -> Fault:
    return Fault(tok.start, tok.end, text, frozenset({tok.line, *more}), f"{what} {tok.text!r}")


def is_bracket(tok: Tok) -> bool:
    return tok.kind == "sign" and tok.text in "()[]{}"


def misspell(toks: list[Tok], i: int, rng: random.Random) -> Fault | None:
    tok, after, before = toks[i], toks[i + 1].text, toks[i - 1].text if i else ""
    defines = before in ("let", "model", "block") or after == ":" or (after == "{" and tok.text in ("wide", "last"))
    if tok.kind != "word" or tok.text in KEYWORDS or defines or len(tok.text) < 3:
        return None
    k = rng.randrange(len(tok.text))
    return fault(tok, tok.text[:k] + "q" + tok.text[k + rng.randrange(2) :], "misspelt")


def drop_bracket(toks: list[Tok], i: int, rng: random.Random) -> Fault | None:
    return fault(toks[i], "", "dropped", partner_line(toks, i)) if is_bracket(toks[i]) else None


def double_bracket(toks: list[Tok], i: int, rng: random.Random) -> Fault | None:
    return fault(toks[i], toks[i].text * 2, "doubled", partner_line(toks, i)) if is_bracket(toks[i]) else None


def drop_sign(toks: list[Tok], i: int, rng: random.Random) -> Fault | None:
    return fault(toks[i], " ", "dropped") if toks[i].text in ("=", ",", "<", ">", "<=") else None


def drop_value(toks: list[Tok], i: int, rng: random.Random) -> Fault | None:
    valued = toks[i].kind in ("number", "string", "word")
    if not valued or i == 0 or toks[i - 1].text not in ("=", "<", ">", "<=", "+", "*") or toks[i + 1].text == ".":
        return None
    return fault(toks[i], "", "dropped value")


def wrong_value(toks: list[Tok], i: int, rng: random.Random) -> Fault | None:
    wrong = ['"x"', "1.2.3", "0x1F", "3px", "@", "not"]
    return fault(toks[i], rng.choice(wrong), "wrong value for") if toks[i].kind == "number" else None


def stray(toks: list[Tok], i: int, rng: random.Random) -> Fault | None:
    return None if toks[i].kind == "newline" else fault(toks[i], toks[i].text + " " + rng.choice("$?@^"), "stray after")


def double_word(toks: list[Tok], i: int, rng: random.Random) -> Fault | None:
    # `model model {` is a model with a name, `not not x` a double negation.
    if toks[i].kind not in ("word", "string", "number") or toks[i].text in ("model", "not"):
        return None
    return fault(toks[i], f"{toks[i].text} {toks[i].text}", "doubled")


def reserve(toks: list[Tok], i: int, rng: random.Random) -> Fault | None:
    takes_name = toks[i].kind == "word" and toks[i].text not in KEYWORDS and toks[i + 1].text in ("=", "{", "(", ":")
    return fault(toks[i], rng.choice(["or", "and", "let"]), "reserved for") if takes_name else None


def open_string(toks: list[Tok], i: int, rng: random.Random) -> Fault | None:
    return fault(toks[i], toks[i].text[:-1], "unclosed") if toks[i].kind == "string" else None


def join_lines(toks: list[Tok], i: int, rng: random.Random) -> Fault | None:
    if toks[i].kind != "newline" or i == 0 or i + 1 == len(toks):
        return None
    around = (toks[i - 1], toks[i + 1])
    if any(t.kind == "newline" or t.text in "{}" for t in around):
        return None
    return fault(toks[i], " ", "joined lines at", toks[i].line - 1, toks[i].line + 1)


MUTATIONS: list[Callable[[list[Tok], int, random.Random], Fault | None]] = [
    misspell, drop_bracket, double_bracket, drop_sign, drop_value, wrong_value, stray, double_word, reserve,
    open_string, join_lines,
]  # fmt: skip


def one_fault(toks: list[Tok], rng: random.Random) -> Fault:
    while True:
        mutation = rng.choice(MUTATIONS)
        found = mutation(toks, rng.randrange(len(toks) - 1), rng)
        if found is not None:
            return found


def mutate(text: str, count: int, rng: random.Random) -> tuple[str, list[Fault]]:
    """Put `count` faults into a text, each on a separate line."""
    toks, faults = tokens(text), list[Fault]()
    while len(faults) < count:
        new = one_fault(toks, rng)
        if all(not new.lines & {line + d for line in old.lines for d in (-1, 0, 1)} for old in faults):
            faults.append(new)
    for each in sorted(faults, key=lambda f: f.start, reverse=True):
        text = text[: each.start] + each.text + text[each.end :]
    return text, faults


def lines_of(diagnostic: Diagnostic) -> set[int]:
    return {diagnostic.span.line, *(note.span.line for note in diagnostic.notes)}


def measure(count: int, specs: int) -> tuple[float, float, list[str]]:
    hits = messages = 0
    missed: list[str] = []
    for seed in range(specs):
        rng = random.Random(f"{count} faults, spec {seed}")
        text, faults = mutate(rng.choice(CORPUS), count, rng)
        found = check(Source("x.nn", text)).diagnostics
        messages += len(found)
        joined = sorted(f.start for f in faults if f.text == " " and "joined" in f.what)
        for each in faults:
            # A line end that another fault took out moves what stands below it.
            moved = sum(start < each.start for start in joined)
            lines = {line - moved for line in each.lines}
            if any(lines & lines_of(d) for d in found):
                hits += 1
            else:
                missed.append(f"spec {seed}: {each.what} on line {min(each.lines)}")
    return hits / (specs * count), messages / (specs * count), missed


@pytest.mark.parametrize(("count", "specs"), [(1, 150), (3, 100)])
def test_nearly_every_fault_is_reported_and_nearly_every_message_is_about_one(
    count: int, specs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    recall, per_fault, missed = measure(count, specs)
    with capsys.disabled():
        print(f"\n{count} fault(s) in each of {specs} specs: recall {recall:.3f}, {per_fault:.2f} messages a fault")
    assert recall >= RECALL, missed
    assert per_fault <= MESSAGES


def test_the_corpus_has_no_findings() -> None:
    assert [check(Source("x.nn", text)).diagnostics for text in CORPUS] == [(), (), ()]

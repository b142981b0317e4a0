"""Specs that are right, made at random from all that the language has; and edits that make them wrong.

`chance` is a `random.Random`, or anything that chooses as one does.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import TypeVar

from vocabulary import KEYWORDS, NAMES, SIGNS, STRANGE, VALUES

__all__ = ["TOKEN", "SpecWriter", "edited", "soup"]

T = TypeVar("T")

TOKEN = re.compile(r"#[^\r\n]*|\r\n|[\r\n]|\"[^\"\r\n]*\"|'[^'\r\n]*'|\w+|[ \t]+|<=|>=|==|!=|\*\*|//|.", re.DOTALL)
"""The words, signs, blanks and line ends of a text, roughly."""


class SpecWriter:
    """Writes one spec, and the files that it imports.

    Sizes are expressions, and the width of what leaves a layer is known as the expression that made it, so that
    whatever has to fit does fit, also where a sweep or a lane changes a `let`.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.files: dict[str, str] = {}
        self.sizes: list[str] = []
        self.rates: list[str] = []
        self.acts: list[str] = []
        self.blocks: list[str] = []
        self.labels = 0
        self.validates = False

    def pick(self, *options: T) -> T:
        """Choose one of them."""
        return options[self.chance.randrange(len(options))]

    def maybe(self, share: float = 0.5) -> bool:
        """Whether, as often as `share` says."""
        return self.chance.random() < share

    def text(self) -> str:
        """Return a spec, of which nothing is wrong."""
        lets = self.lets()
        blocks = [self.block(f"Block{i}") for i in range(self.pick(0, 0, 1, 2))]
        models = self.models()
        parts = [*self.settings(), *lets, *blocks, *models, self.train(), *self.runs(), self.expect()]
        parts = [part for part in parts if part]
        self.chance.shuffle(parts)
        if self.maybe(0.3):
            parts = self.imported(parts)
        return self.layout(parts)

    def layout(self, parts: list[str]) -> str:
        """Put parts below each other, with comments and empty lines between."""
        between = ["\n", "\n", "\n\n", "\n# about what follows\n", " # about what stands before\n", "\n;\n"]
        text = "".join(part + self.pick(*between) for part in parts)
        return text.replace("\n", self.pick("\n", "\n", "\n", "\r\n", "\r"))

    def imported(self, parts: list[str]) -> list[str]:
        """Move some of the parts into separate files."""
        count = self.pick(1, 2)
        shares: list[list[str]] = [[] for _ in range(count + 1)]
        for part in parts:
            alone = part.startswith(("race", "sweep", "expect", "train"))
            shares[0 if alone else self.chance.randrange(count + 1)].append(part)
        for i in range(1, count + 1):
            before = ['import "common2.nn"'] if i == 1 and count == 2 and self.maybe() else []
            self.files[f"common{i}.nn"] = self.layout([*before, *shares[i]])
        return [*(f'import "common{i}.nn"' for i in range(1, count + 1)), *shares[0]]

    # Expressions

    def size(self) -> str:
        """Return an expression for a small number of features."""
        number = self.pick(1, 2, 6, 8, 12, 16)
        written = [
            f"{number}",
            f"({number})",
            f"{number} + 1",
            f"2 * {number}",
            f"max({number}, 3)",
            f"{number}_0 // 5",
        ]
        written += ["data.features // 49", "data.classes", f"2 ** {self.pick(2, 3)}", f"len([{number}, 1, 2])"]
        written += [*self.sizes, *(f"{size} + 2" for size in self.sizes)]
        return self.pick(*written)

    def rate(self) -> str:
        """Return an expression for a rate."""
        number = self.pick("0.01", "1e-3", ".005", "0.1 / 8", "10 ** -2", *self.rates)
        schedules = [f"cosine({number}, to=1e-5)", f"linear({number}, warmup=1)", f"step({number}, every=2)"]
        return self.pick(number, number, number, f"({number})", *schedules)

    def optimizer(self) -> str:
        """Return an optimizer."""
        momentum = f"Momentum(lr={self.rate()}, momentum=0.8)"
        return self.pick("SGD", "Adam", f"SGD({self.rate()})", momentum, f"Adam(lr={self.rate()}, betas=(0.9, 0.99))")

    # Items

    def settings(self) -> list[str]:
        """Return the settings at the top of a file."""
        data = self.pick("Digits(train=60, test=20)", "Digits(test=20, train=90)", "Digits")
        if self.maybe(0.2):
            data = f"MNIST(train=60, test=20) or {data}"
        metrics = ["", "metrics = accuracy", "metrics = [accuracy]", "metrics = []"]
        metrics += ["metrics = [confusion, accuracy, top_k(3)]", "metrics = f1(average=micro)"]
        losses = ("CrossEntropy", "MSE", "CrossEntropy(label_smoothing=0.1)", "Hinge(0.5)", "MAE", "BCEWithLogits")
        made = [f"data = {data}", f"loss = {self.pick(*losses)}", f"optimizer = {self.optimizer()}"]
        made += [self.pick("seed = 3", "seed = 2 ** 40", ""), self.pick("", "dtype = float64", 'dtype = "float32"')]
        return [*made, self.pick(*metrics)]

    def lets(self) -> list[str]:
        """Return declarations, and remember what they name."""
        made = []
        for i in range(self.pick(0, 1, 2, 4)):
            made.append(f"let width{i} = {self.size()}")
            self.sizes.append(f"width{i}")
        if self.maybe(0.3):
            made.append(f"let rate = {self.pick('0.02', '1 / 50')}")
            self.rates.append("rate")
        if self.maybe(0.3):
            made.append(f"let act = {self.pick('ReLU', 'Tanh')}")
            self.acts.append("act")
        return made

    def block(self, name: str) -> str:
        """Return a block whose first parameter is the width of what leaves it."""
        inner = self.pick("units", "units", "units * 2")
        layers = [f"Linear({inner})", "act", self.pick("Dropout(drop)", "Flatten"), "Linear(units)"]
        if self.blocks and self.maybe():
            layers.insert(1, f"{self.pick(*self.blocks)}(units)")
        if self.maybe(0.3):
            layers.append(self.composition("units", 1))
        self.blocks.append(name)
        return f"block {name}(units, act={self.pick('ReLU', 'Sigmoid')}, drop=0.1) {self.braces(layers)}"

    def braces(self, items: list[str]) -> str:
        """Put items into braces, on one line or several."""
        if self.maybe(0.4):
            return "{ " + "; ".join(items) + " }"
        return "{\n    " + self.pick("\n", "\n    ", "\n\n    # c\n").join(items) + "\n}"

    def models(self) -> list[str]:
        """Return a model, or two and which is meant, and settings of their layers."""
        names = self.pick([""], [""], ["small"], ["small", "big"])
        made = []
        for name in names:
            labels: list[str] = []
            items = [*self.chain(3, labels), f"Linear({self.pick('data.classes', '10')})"]
            made.append(f"model {name} {self.braces(items)}")
        if len(names) == 2:
            made.append(f"model = {self.pick(*names)}")
        elif labels and self.maybe():
            made.append(f"model.{labels[0]}.bias = false")
        return made

    def chain(self, depth: int, labels: list[str]) -> list[str]:
        """Return layers in sequence."""
        width = self.size()
        items = [f"Linear({width})"]
        for _ in range(self.pick(0, 1, 2, 3)):
            kind = self.chance.randrange(8)
            if kind < 3:
                items.append(self.pick("ReLU", "Tanh", "Sigmoid", "Dropout(0.2)", "Flatten", "ReLU * 2", *self.acts))
            elif kind == 3 and depth:
                items.append(self.composition(width, depth - 1))
            elif kind == 4 and self.blocks:
                width = self.size()
                times = self.pick("", "", " * 2", " * 0") if self.maybe(0.3) else ""
                items.append(f"{self.pick(*self.blocks)}({width}){times}")
                if times == " * 0":
                    items.append(f"Linear({width})")
            else:
                width = self.size()
                items.append(self.linear(width, labels))
        return items

    def linear(self, width: str, labels: list[str]) -> str:
        """Return a linear layer, perhaps with a label."""
        more = self.pick("", "", ", bias=true", ", init=xavier_normal", ",\n        init=he_uniform")
        if self.maybe(0.7):
            return f"Linear({width}{more})"
        self.labels += 1
        labels.append(f"h{self.labels}")
        return f"h{self.labels}: Linear({width})"

    def composition(self, width: str, depth: int) -> str:
        """Return a section that gets and gives the same width."""
        inner = [self.pick("ReLU", "Tanh"), f"Linear({width})"]
        if depth and self.maybe(0.4):
            inner.insert(0, self.composition(width, depth - 1))
        kind = self.pick("residual", "shortcut", "add", "concat")
        if kind == "residual":
            return f"residual {self.braces(inner)}"
        if kind == "shortcut":
            return f"residual {self.braces([*inner, f'shortcut {{ Linear({width}, bias=false) }}'])}"
        other = self.pick("", f"Linear({width}); ReLU")
        branches = f"{kind} {self.braces([f'a {self.braces(inner)}', f'b {{ {other} }}'])}"
        return branches if kind == "add" else f"{branches}\n    Linear({width})"

    def train(self) -> str:
        """Return the section of training."""
        items = [
            self.pick("epochs = 2", "epochs = 5 * 2"),
            self.pick("batch = 16", "batch = 60 // 2"),
            "shuffle = true",
        ]
        self.validates = self.maybe(0.4)
        if self.validates:
            items.append("validation = 0.2")
            items += ["stratify = true"] if self.maybe(0.3) else []
            items.append(
                self.pick("early_stop = none", "early_stop = patience(2)", "early_stop = patience(1, of=val_loss)")
            )
        items.append(
            self.pick("clip_norm = 1.0", "clip_value = 0.5", "clip_norm = none", "drop_last = true", "repeats = 2")
        )
        items += ["standardise = true"] if self.maybe(0.2) else []
        if self.maybe(0.3):
            items.append(self.pick("augment = shift(1)", "augment = [flip, noise(0.1)]", "augment = none"))
        return "" if self.maybe(0.2) and not self.validates else f"train {self.braces(items)}"

    def runs(self) -> list[str]:
        """Return a race and a sweep, or one of them, or none."""
        made: list[str] = []
        races = self.maybe()
        if not races and self.maybe(0.2):
            made.append("optimizer.lr = 0.02")
        if races:
            lanes = ["SGD(lr=0.05)", f"fast: Adam(lr={self.rate()})", "slow { optimizer.lr = 1e-4; train.batch = 8 }"]
            lanes += ["other {\n        MSE\n        seed = 8\n    }"]
            title = self.pick("", ' "A race # of two"', " 'one'")
            made.append(f"race{title} {self.braces(lanes[: self.pick(1, 2, 3, 4)])}")
        if self.maybe(0.3):
            axes = ["train.epochs = [1, 2]", *(f"{size} = [4, 6]" for size in self.sizes[:1])]
            if not made:  # what is set in another way is not swept
                axes += ["train.batch = [8, 16]", "optimizer.lr = logspace(-3, -1, 2)", "seed = range(1, 3)"]
            self.chance.shuffle(axes)
            made.append(f"sweep{self.pick('', ' zip')} {self.braces(axes[: self.pick(1, 2)])}")
        return made

    def expect(self) -> str:
        """Return statements that hold, or may."""
        items = ["params < 10 ** 8", "memory > 0 and flops >= 1", "not params < 1", "loss < 5", "gradient_error < 1e-5"]
        items += ["test_loss / 2 + 1 < loss * 3 or loss > 0.1", "epochs_to(loss=1.0) <= 20", "(params) > 2 ** 2"]
        items += ["val_loss < 9"] if self.validates else []
        self.chance.shuffle(items)
        return f"expect {self.braces(items[: self.pick(1, 2, 3)])}" if self.maybe(0.6) else ""


# Edits


def soup(chance: random.Random, count: int) -> str:
    """Return words of the language in any order."""
    kinds = [KEYWORDS, SIGNS, SIGNS, SIGNS, NAMES, NAMES, VALUES, STRANGE, ["\n", "\n", ";", "{", "}"]]
    words = []
    for _ in range(count):
        kind = kinds[chance.randrange(len(kinds))]
        words.append(kind[chance.randrange(len(kind))])
    return (" " if chance.random() < 0.8 else "").join(words)


def edited(text: str, chance: random.Random, count: int) -> str:
    """Return a text with edits to its words, signs and lines."""
    for _ in range(count):
        text = _EDITS[chance.randrange(len(_EDITS))](text, chance)
    return text


def _words(text: str) -> list[str]:
    return TOKEN.findall(text) or [""]


def _delete(text: str, chance: random.Random) -> str:
    words = _words(text)
    at = chance.randrange(len(words))
    del words[at : at + 1 + chance.randrange(3)]
    return "".join(words)


def _insert(text: str, chance: random.Random) -> str:
    words = _words(text)
    words.insert(chance.randrange(len(words) + 1), soup(chance, 1 + chance.randrange(3)))
    return "".join(words)


def _replace(text: str, chance: random.Random) -> str:
    words = _words(text)
    words[chance.randrange(len(words))] = soup(chance, 1)
    return "".join(words)


def _repeat(text: str, chance: random.Random) -> str:
    words = _words(text)
    at = chance.randrange(len(words))
    part = words[at : at + 1 + chance.randrange(8)]
    return "".join([*words[:at], *part * (2 + chance.randrange(3)), *words[at + len(part) :]])


def _swap(text: str, chance: random.Random) -> str:
    words = _words(text)
    one, other = chance.randrange(len(words)), chance.randrange(len(words))
    words[one], words[other] = words[other], words[one]
    return "".join(words)


def _move(text: str, chance: random.Random) -> str:
    """Take some words from one place to another."""
    words = _words(text)
    at = chance.randrange(len(words))
    part = words[at : at + 1 + chance.randrange(20)]
    del words[at : at + len(part)]
    to = chance.randrange(len(words) + 1)
    return "".join([*words[:to], *part, *words[to:]])


def _line(text: str, chance: random.Random) -> str:
    """Delete a line, or write it twice."""
    lines = text.splitlines(keepends=True) or [""]
    at = chance.randrange(len(lines))
    lines[at : at + 1] = [lines[at]] * chance.randrange(3)
    return "".join(lines)


def _character(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chr(chance.randrange(1, 0x250)) + text[at + chance.randrange(2) :]


def _cut(text: str, chance: random.Random) -> str:
    return text[: chance.randrange(len(text) + 1)]


_EDITS: tuple[Callable[[str, random.Random], str], ...] = (
    _delete, _insert, _replace, _repeat, _swap, _move, _line, _character, _delete, _insert, _replace, _cut,
)  # fmt: skip

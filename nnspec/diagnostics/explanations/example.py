"""An explanation, and the small specs in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["NAME", "Example", "Explanation", "completed"]

NAME = "example.nn"
"""What an example is called in messages."""

# What a spec needs that a fragment leaves out.
_REST = {
    "data": "data = Digits(train=100, test=50)",
    "model": "model { Linear(10) }",
    "loss": "loss = CrossEntropy",
    "optimizer": "optimizer = SGD",
}


def completed(text: str) -> str:
    """Return a fragment of a spec with the settings that it needs and lacks added below."""
    missing = [line for word, line in _REST.items() if not re.search(rf"^{word}\b", text, re.MULTILINE)]
    return "\n".join([text.rstrip("\n"), *missing, ""])


@dataclass(frozen=True)
class Example:
    """A spec, or a fragment of one. What it lacks is added before it is checked, unless it is `whole`."""

    text: str
    beside: Mapping[str, str] = field(default_factory=dict)
    """Files in its folder: name and text."""
    whole: bool = False
    shown: str = ""
    """What is shown of a text that is too long to be."""

    @property
    def spec(self) -> str:
        """The whole spec."""
        return self.text if self.whole else completed(self.text)

    def files(self) -> dict[str, str]:
        """Return what a reader is shown: texts by the names of their files, the example's own first."""
        return {NAME: (self.shown or self.text).strip("\n"), **{n: t.strip("\n") for n, t in self.beside.items()}}


@dataclass(frozen=True)
class Explanation:
    """What a code means and why it is there, in paragraphs, with a spec that gets it and one that does not."""

    text: str
    bad: Example | None = None
    good: Example | None = None
    untold: str = ""
    """Why there is no example, where no text of a spec can get the code by itself."""
    can_be_ignored: bool = False
    """Whether a comment can say that it is meant."""

    def paragraphs(self) -> list[str]:
        """Return the text, a string a paragraph, without line ends."""
        return [" ".join(each.split()) for each in self.text.strip().split("\n\n")]

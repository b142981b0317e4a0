"""An explanation and its example specs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["NAME", "Example", "Explanation", "completed"]

NAME = "example.nn"
"""File name of an example in messages."""

# Settings that a fragment may omit.
_REST = {
    "data": "data = Digits(train=100, test=50)",
    "model": "model { Linear(10) }",
    "loss": "loss = CrossEntropy",
    "optimizer": "optimizer = SGD",
}


def completed(text: str) -> str:
    """Return a fragment of a spec with all missing required settings appended."""
    missing = [line for word, line in _REST.items() if not re.search(rf"^{word}\b", text, re.MULTILINE)]
    return "\n".join([text.rstrip("\n"), *missing, ""])


@dataclass(frozen=True)
class Example:
    """A spec or a fragment of one. Missing settings are added before it is checked, unless it is `whole`."""

    text: str
    beside: Mapping[str, str] = field(default_factory=dict)
    """Other files in the same folder: name -> text."""
    whole: bool = False
    shown: str = ""
    """The abridged text to display if the full text is too long."""

    @property
    def spec(self) -> str:
        """The complete spec."""
        return self.text if self.whole else completed(self.text)

    def files(self) -> dict[str, str]:
        """Return the texts to display by file name, starting with the example itself."""
        return {NAME: (self.shown or self.text).strip("\n"), **{n: t.strip("\n") for n, t in self.beside.items()}}


@dataclass(frozen=True)
class Explanation:
    """What a code means and why it exists, in paragraphs, with an example that triggers it and one that does not."""

    text: str
    bad: Example | None = None
    good: Example | None = None
    no_example: str = ""
    """Why there is no example, if the text of a spec alone cannot trigger the code."""
    can_be_ignored: bool = False
    """Whether an ignore comment can silence it."""

    def paragraphs(self) -> list[str]:
        """Return the text as a list of paragraphs, without line breaks."""
        return [" ".join(paragraph.split()) for paragraph in self.text.strip().split("\n\n")]

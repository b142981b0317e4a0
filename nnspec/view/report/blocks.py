"""What a page is made of: blocks of plain data. `blocks.html.j2` has a macro for each kind, and all of the markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from nnspec.view.palette import dash_of

__all__ = [
    "Block",
    "Details",
    "Heading",
    "Key",
    "Legend",
    "Listing",
    "Section",
    "SideBySide",
    "Stack",
    "Table",
    "Tabs",
    "Text",
    "svg_color",
    "svg_dash",
]


class Block(Protocol):
    """Something that the page shows."""

    @property
    def kind(self) -> str:
        """The name of its macro."""


@dataclass(frozen=True)
class Text:
    """A paragraph, or the content of a cell."""

    text: str
    style: str = ""
    """A class of the style sheet: `soft`, or `yes` for good and `no` for bad."""
    bold: str = ""
    """A bold prefix of the text."""
    code: str = ""
    """Code after the text."""
    is_name: bool = False
    """Whether it may be wrapped after characters such as `_` and `=` in a narrow column."""
    color: str = ""
    """The colour of the dot before a name."""
    indent: int = 0
    link: str = ""
    """A link after the text, to `href`, a path below the folder of the page."""
    href: str = ""
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Table:
    """A table; its columns from `numbers` on are set to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    caption: str = ""
    numbers: int = 99
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Details:
    """Blocks that a reader unfolds."""

    summary: str
    blocks: Sequence[Block]
    unfolded: bool = False
    kind: ClassVar[str] = "details"


@dataclass(frozen=True)
class Listing:
    """Lines of monospaced text."""

    lines: Sequence[str]
    numbered: bool = False
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True)
class Stack:
    """Blocks below each other, with a title."""

    title: str
    blocks: Sequence[Block]
    kind: ClassVar[str] = "stack"


@dataclass(frozen=True)
class SideBySide:
    """Blocks side by side, if there is room."""

    blocks: Sequence[Block]
    kind: ClassVar[str] = "side_by_side"


@dataclass(frozen=True)
class Tabs:
    """Blocks of which one is visible at a time, each with the name that selects it."""

    panes: Sequence[tuple[str, Block]]
    kind: ClassVar[str] = "tabs"


@dataclass(frozen=True)
class Key:
    """A line of a chart in its legend."""

    name: str
    color: str
    dash: str


@dataclass(frozen=True)
class Legend:
    """The lines of charts, for screens with no room for names in the charts themselves."""

    keys: Sequence[Key]
    kind: ClassVar[str] = "legend"

    @classmethod
    def of(cls, lanes: Sequence[tuple[str, int | None]]) -> Legend:
        """Return the legend of lanes with their places in the palette."""
        return cls([Key(name, svg_color(slot), svg_dash(dash_of(slot), 3)) for name, slot in lanes])


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading. The navigation leads to it."""

    title: str
    blocks: Sequence[Block]


def svg_color(slot: int | None) -> str:
    """Return the colour of a place in the palette. The style sheet defines it, for light and dark pages."""
    return "var(--soft)" if slot is None else f"var(--lane{slot})"


def svg_dash(dash: tuple[float, float] | None, width: float) -> str:
    """Return the `stroke-dasharray` of a dash for lines of a width; empty for a solid line."""
    return "" if dash is None else " ".join(f"{length * width:.3g}" for length in dash)

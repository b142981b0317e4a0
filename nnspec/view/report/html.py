"""Small pieces of HTML. Whatever comes from a run is escaped here, and nowhere else."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from nnspec.view.terminal.screen import joints

__all__ = ["breakable", "details", "element", "escape", "table"]


def escape(text: object) -> str:
    """Return text as HTML shows it, in quotes too; signs that no page may hold are escaped as Python does."""
    plain = str(text)
    if any((ord(sign) < 32 and sign not in "\n\t") or 0xD800 <= ord(sign) < 0xE000 for sign in plain):
        plain = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in plain)
    return html.escape(plain, quote=True)


def breakable(name: str) -> str:
    """Return a name that may be broken at its joints, such as `_` and `=`, where a column is narrow."""
    return "<wbr>".join(map(escape, joints(name)))


def element(tag: str, content: str, **attributes: object) -> str:
    """Return an element. `content` is HTML already; attributes are escaped (`class_` is `class`)."""
    words = "".join(f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items())
    return f"<{tag}{words}>{content}</{tag}>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", numbers: int = 1) -> str:
    """Return a table of HTML cells; the columns from `numbers` on are set to the right."""
    top = "".join(
        element("th", escape(name), scope="col", class_="n" if i >= numbers else "t") for i, name in enumerate(head)
    )
    body = ""
    for row in rows:
        first, *rest = row
        cells = "".join(element("td", cell, class_="n" if i + 1 >= numbers else "t") for i, cell in enumerate(rest))
        body += f"<tr>{element('th', first, scope='row')}{cells}</tr>\n"
    title = element("caption", escape(caption)) if caption else ""
    return f'<div class="scroll"><table>{title}<thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>\n'


def details(summary: str, content: str, *, shown: bool = False) -> str:
    """Return something that a reader may fold. `summary` is text."""
    return f"<details{' open' if shown else ''}><summary>{escape(summary)}</summary>\n{content}</details>\n"

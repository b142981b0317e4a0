"""HTML and SVG, rendered with Jinja2 from the templates next to the code (`*.j2`), which escape every value."""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import TYPE_CHECKING

from nnspec.text import printable
from nnspec.view.wrapping import joints

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render"]


def render(template: str, **values: object) -> str:
    """Return a template of this room, such as `report/page.html.j2`, filled with values.

    Templates have `unique_id()`, for ids that are unique within the page, and the filters `joints`, which splits a
    name at the points where it may be wrapped, and `points`, which formats the points of an SVG line. Characters that
    are not allowed in a page, such as ESC and lone surrogates, are shown as escapes.
    Raises `jinja2.UndefinedError` for a missing value.
    """
    page = _environment().get_template(template).render(values, unique_id=count(1).__next__)
    return printable(page, keep="\n\t")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nnspec", "view"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["joints"] = joints
    environment.filters["points"] = lambda points: " ".join(f"{x},{y}" for x, y in points)
    return environment

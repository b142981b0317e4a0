"""The pages of `docs` that are made from what nnspec knows and says: run this file to write them anew."""

from __future__ import annotations

import os
import re
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path

from broken_specs import GALLERY, Broken
from click.testing import CliRunner

from nnspec.cli import cli
from nnspec.cli.explain import found_in
from nnspec.diagnostics import CODES, render
from nnspec.diagnostics.explanations import Example, explanation, groups

DOCS = Path(__file__).resolve().parents[1] / "docs"
SPEC = "broken.nn"


# docs/errors.md


def errors_page() -> str:
    """Return the page of all codes."""
    return _page(_errors())


def _errors() -> Iterator[str]:
    yield "# What check says, code by code"
    yield _wrapped(
        "`nnspec explain NN401` shows the same in a terminal. Every example is checked by the tests: the first of each "
        "gets its code and nothing else, the second gets no finding. Fragments are completed by the settings that "
        "they lack."
    )
    yield "Errors stop a spec from being run. Advice (NN7xx) does not."
    for name, codes in groups():
        yield f"## {name}"
        yield "\n".join(f"- [{code}](#{_anchor(code)}): {CODES[code]}" for code in codes)
        for code in codes:
            yield f"### {_heading(code)}"
            yield from _about(code)


def _heading(code: str) -> str:
    return f"{code}: {CODES[code]}"


def _anchor(code: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", _heading(code).lower()).replace(" ", "-")


def _about(code: str) -> Iterator[str]:
    about = explanation(code)
    yield from (_wrapped(paragraph) for paragraph in about.paragraphs())
    if about.bad is None or about.good is None:
        yield f"There is no example. {about.untold}"
        return
    yield _listing(about.bad, "")
    yield _fenced("\n\n".join(render(diagnostic, fixes=True) for diagnostic in found_in(about.bad)))
    yield "Better:"
    yield _listing(about.good, "" if about.good.whole else "nn")
    if about.can_be_ignored:
        yield f"Where it is meant, a comment at the end of the line says so: `# nn: ignore[{code}]`."


def _listing(example: Example, language: str) -> str:
    return _files(example.files(), language)


def _files(files: Mapping[str, str], language: str = "") -> str:
    if len(files) == 1:
        return _fenced(*files.values(), language=language)
    return _fenced("\n\n".join(f"# {name}\n{text}" for name, text in files.items()))


# docs/gallery.md


def gallery_page() -> str:
    """Return the page of broken specs."""
    return _page(_gallery())


def _gallery() -> Iterator[str]:
    yield "# A gallery of broken specs"
    yield _wrapped(
        f"{sum(map(len, GALLERY.values()))} mistakes as people make them, each with exactly what `nnspec check` says. "
        "The tests make this page, and fail where it is not true any more. [errors.md](errors.md) explains the codes."
    )
    for chapter, specs in GALLERY.items():
        yield f"## {chapter}"
        for broken in specs:
            yield f"### {broken.title}"
            yield _wrapped(broken.context)
            yield _files({SPEC: broken.text, **broken.beside})
            yield _fenced(f"$ {' '.join(_command(broken))}\n{said_of(broken).rstrip()}")


def _command(broken: Broken) -> list[str]:
    return ["nnspec", "check", SPEC, *(word for flag in broken.flags for word in ("--set", flag))]


def said_of(broken: Broken) -> str:
    """Return all that check prints about a spec."""
    with tempfile.TemporaryDirectory(prefix="nnspec-") as folder, chdir(folder):
        for name, text in {**broken.beside, SPEC: broken.text}.items():
            Path(name).write_text(text + "\n", encoding="utf-8")
        arguments = [*_command(broken)[1:], "--isolated", "--no-cache"]
        result = CliRunner().invoke(cli, arguments, standalone_mode=False, env={"NO_COLOR": "1"})
    if result.exception is not None:
        raise result.exception
    assert os.fspath(folder) not in result.output
    return result.output


# Both


def _page(parts: Iterator[str]) -> str:
    return "\n\n".join(parts) + "\n"


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 118, break_long_words=False, break_on_hyphens=False))


def _fenced(text: str, language: str = "") -> str:
    return f"```{language}\n{text.rstrip()}\n```"


PAGES = {"errors.md": errors_page, "gallery.md": gallery_page}

SNAPSHOTS = Path(__file__).parent / "samples" / "steps"


def steps_printed(name: str) -> str:
    """Return what `show --steps` prints of one of the specs that come with nnspec."""
    with chdir(DOCS.parent):
        result = CliRunner().invoke(
            cli, ["show", f"specs/{name}", "--steps"], env={"NO_COLOR": "1", "COLUMNS": "200"}, standalone_mode=False
        )
    if result.exception is not None:
        raise result.exception
    return result.output


if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    for path in sorted((DOCS.parent / "specs").glob("*.nn")):
        (SNAPSHOTS / f"{path.name}.txt").write_text(steps_printed(path.name), encoding="utf-8")
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
        print(DOCS / name)

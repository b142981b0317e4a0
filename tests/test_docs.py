"""README and docs are correct: specs check, snippets run, commands print the shown output, and links work."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from page_runner import PAGES, ROOT, Reader, assert_alike, blocks, commands, tried

import nnspec.data  # noqa: F401  (declares the data sources)
from nnspec.checker.vocabulary import SETTINGS, TRAIN, figures
from nnspec.cli import cli
from nnspec.engine import PARTS


@pytest.fixture(scope="session")
def data_dir(request: pytest.FixtureRequest) -> Path | None:
    """Folder of the real MNIST, or None where there is none: then pages that show it are not compared."""
    try:
        folder: Path = request.getfixturevalue("mnist_dir")
    except pytest.skip.Exception:
        return None
    return folder


@pytest.fixture
def _own_parts() -> Iterator[None]:
    """Parts that a page defines are forgotten after it."""
    before, modules = {kind: dict(parts) for kind, parts in PARTS.items()}, {*sys.modules}
    yield
    for kind, parts in before.items():
        PARTS[kind].clear()
        PARTS[kind].update(parts)
    for name in ("sign_momentum", "doubled"):
        if name not in modules:
            sys.modules.pop(name, None)


@pytest.mark.usefixtures("_own_parts")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_does_what_it_shows(page: Path, tmp_path: Path, data_dir: Path | None) -> None:
    reader = Reader(tmp_path, data_dir)
    for block in tried(page):
        try:
            reader.follow(block)
        except Exception as error:
            error.add_note(f"in the block at {page.name}:{block.line}")
            raise


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_how_it_is_tried(page: Path) -> None:
    """No command is in an indented block, which nothing runs; and a fence names a language that `Reader` knows."""
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len([*blocks(text)])
    for block in blocks(text):
        assert block.language in LANGUAGES, f"{page.name}:{block.line}"
        if block.language in ("console", "sh"):
            assert [*commands(block)], f"{page.name}:{block.line}"
    assert not re.findall(r"(?:^|\n\n)    \S.*", prose(page))


LANGUAGES = {"", "nn", "python", "py", "pycon", "console", "sh", "diff", "ipython", "toml", "json", "yaml"}
"""Blocks of `json` are parts of files that nnspec writes, and not tried."""


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("loss 0.5601", "loss 0.5602"),
        ("a   b", "a b"),
        ("0.16 s", "12 ms"),
        ("first\n…\nlast", "first\nmore\nmuch more\nlast"),
        ("…\nmiddle\n…", "first\nmiddle\nlast"),
        ("7.6e-10", "2.1e-09"),
    ],
)
def test_what_is_alike(shown: str, printed: str) -> None:
    assert_alike(shown, printed, "command")


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("loss 0.56", "loss 0.86"),
        ("52,650 parameters", "52,651 parameters"),
        ("", "something"),
        ("something", ""),
        ("first", "first\nsecond"),
        ("first\n…\nlast", "first\nlast\nmore"),
        ("first\n…\nlast", "more\nfirst\nlast"),
        ("…\nb\n…\na\n…", "a\nb\nc"),
        ("first\n…\nfirst", "first"),
        ("✓ loss < 1", "✗ loss < 1"),
    ],
)
def test_what_is_not_alike(shown: str, printed: str) -> None:
    with pytest.raises(AssertionError, match="is not what the page shows"):
        assert_alike(shown, printed, "command")


def test_the_rule_of_contributing_works() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    text = next(block.text for block in blocks(page) if "@rule" in block.text)
    program = f"""
from __future__ import annotations
from pathlib import Path
from nnspec.checker import check
from nnspec.checker.rules import registry
from nnspec.checker.rules.common import layer_of
from nnspec.checker.rules.registry import advice, rule
from nnspec.diagnostics import Source
registry._RULES["experiment"].clear()
{text}
spec = "data = Digits; model {{ Linear(10); Dropout(0.5) }}; loss = CrossEntropy; optimizer = SGD(lr=0.1)"
found = check(Source("x.nn", spec, Path())).diagnostics
assert [(d.code, d.span.text) for d in found] == [("NN705", "Dropout(0.5)")], found
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", prose(page)):
        if not target.startswith("http"):
            goal = page.parent / target if target else page
            assert goal.is_dir() or goal.stat().st_size > 0, f"{page.name}: {target}"
            assert not anchor or anchor in anchors(goal), f"{page.name}: {target}#{anchor}"


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_contents_of_the_language_page_list_all_of_its_headings() -> None:
    page = prose(ROOT / "docs/language.md")
    contents = page.split("\n## ", 1)[0]
    headings = re.findall(r"^##+ (.*)$", page, re.MULTILINE)
    assert re.findall(r"\[([^]]*)\]\(#", contents) == headings


def test_the_index_leads_to_every_page_and_every_picture_is_shown() -> None:
    index = prose(ROOT / "docs/index.md")
    for page in PAGES:
        assert page.name == "index.md" or f"{page.name})" in index, page.name
    shown = "".join(map(prose, PAGES))
    for picture in (ROOT / "docs").rglob("*.png"):
        assert f"{picture.name})" in shown, picture.name


def test_the_readme_shows_the_actual_race() -> None:
    spec = (ROOT / "specs/race.nn").read_text(encoding="utf-8")
    items = "\n".join(line for line in spec.splitlines() if not line.startswith("#")).strip()
    assert f"```nn\n{items}\n```" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", sorted(PARTS))
def test_every_part_and_argument_is_in_the_description_of_the_language(kind: str) -> None:
    page = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("language.md", "parts.md"))
    for name, part in PARTS[kind].items():
        if part.__module__.startswith("nnspec."):
            assert f"`{name}" in page, name
            for argument in part.signature():
                assert re.search(rf"\b{argument.name}\b", page), f"{name}: {argument.name}"


def test_every_setting_is_in_the_description_of_the_language() -> None:
    page = (ROOT / "docs/language.md").read_text(encoding="utf-8")
    for name in [*SETTINGS, *(f"train.{argument.name}" for argument in TRAIN), *figures()]:
        samples = re.match(r"(val_|test_|)", name)[0]  # type: ignore[index]
        assert f"`{name}" in page or (f"`{samples}f1`" in page and f"`{name.removeprefix(samples)}`" in page), name


def options_of(*words: str) -> set[str]:
    """Return the options of a command, and of a command below it, by what a page writes after `nnspec`."""
    command: click.Command = cli
    options: set[str] = set()
    for word in words:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        assert found is not None, word
        command = found
    for parameter in command.params:
        options |= {*parameter.opts, *parameter.secondary_opts}
    return options | {"--help", "-h"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_within_sentences_exist_with_their_options(page: Path) -> None:
    for line in re.findall(r"`nnspec ([a-z]\w*[^`]*)`", prose(page)):
        words = re.split(r"[\s=]+", line)
        known = options_of(*(word for word in words[:2] if not word.startswith("-")))
        for word in words:
            assert not word.startswith("--") or word in known, f"{page.name}: nnspec {line}: {word}"

"""The gallery of broken specs shows what check says, and check says it well."""

from __future__ import annotations

import re

import pytest
from broken_specs import GALLERY, Broken
from pages import DOCS, SPEC, gallery_page, said_of

from nnspec.diagnostics import CODES

ALL = {broken.title: broken for chapter in GALLERY.values() for broken in chapter}


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    return {title: said_of(broken) for title, broken in ALL.items()}


def test_the_gallery_is_what_is_generated() -> None:
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert page == gallery_page(), "run `make docs`"


def test_there_are_many_and_each_is_there_once() -> None:
    assert len(ALL) == sum(map(len, GALLERY.values())) >= 25
    assert len({(broken.text, broken.flags) for broken in ALL.values()}) == len(ALL)
    for broken in ALL.values():
        assert broken.context.endswith((".", "?"))


@pytest.mark.parametrize("broken", ALL.values(), ids=ALL.keys())
def test_each_has_findings_that_say_what_to_do(broken: Broken, said: dict[str, str]) -> None:
    shown = said[broken.title]
    heads = re.findall(r"^(error|warning)\[(NN\d+)\]: (.+)$", shown, re.MULTILINE)
    assert heads
    assert {code for _, code, _ in heads} <= set(CODES)
    for _, _, message in heads:
        assert not message.endswith(".")
        assert message.count("`") % 2 == 0
    assert shown.count("nnspec explain") == len({code for _, code, _ in heads})
    assert re.search(r"^\d+ (error|warning)s? in ", shown.splitlines()[-1])


ONE_MISTAKE = [title for title in ALL if title != "Several mistakes at once"]
AT_ONCE = {
    "`:` instead of `=`": 2,
    "A model as Keras writes it": 4,
    "A model as PyTorch writes it": 3,
    "The batch size at top level": 2,
    "Python's True and None": 2,
}
"""How often those mistakes are made that are made more than once."""


@pytest.mark.parametrize("title", ONE_MISTAKE)
def test_a_mistake_costs_one_message(title: str, said: dict[str, str]) -> None:
    count = len(re.findall(r"^(?:error|warning)\[", said[title], re.MULTILINE))
    assert count == AT_ONCE.get(title, 1)


def test_all_mistakes_of_a_file_are_in_its_order(said: dict[str, str]) -> None:
    places = re.findall(rf"--> {re.escape(SPEC)}:(\d+):", said["Several mistakes at once"])
    assert len(places) == 7
    assert sorted(map(int, places)) == list(map(int, places))


def test_no_fix_is_offered_for_what_was_typed_on_the_command_line(said: dict[str, str]) -> None:
    assert "fix" not in said["A misspelt flag"]
    assert "did you mean `Adam`?" in said["A misspelt flag"]

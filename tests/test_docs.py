"""What README and docs show is true: every spec checks, every Python snippet runs, every link leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nnspec.data  # noqa: F401  (declares the data sources)
from nnspec.api import check
from nnspec.checker.vocabulary import SETTINGS, TRAIN, figures
from nnspec.diagnostics.explanations import completed
from nnspec.engine import PARTS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def snippets(language: str) -> list[object]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 2
            found.append(pytest.param(match[1], id=f"{page.name}:{line}"))
    return found


# Snippets that begin with a file's name are files that others import.
FILES = {
    match[1]: text for text in (s.values[0] for s in snippets("nn")) if (match := re.match(r"# (\w+\.nn)\n", text))
}


@pytest.mark.parametrize("text", [s for s in snippets("nn") if s.values[0] not in FILES.values()])
def test_every_spec_in_the_docs_checks(text: str, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "data").symlink_to(ROOT / "specs/data")
    spec = tmp_path / "snippet.nn"
    spec.write_text(completed(text), encoding="utf-8")
    result = check(spec)
    assert result.ok, str(result)
    assert not result.diagnostics, str(result)


# Digits stand in for MNIST here, and nobody needs to be warned of it.
QUIET = "import warnings, nnspec; warnings.simplefilter('ignore', nnspec.DataWarning)"


@pytest.mark.parametrize("text", [s for s in snippets("python") if "CONTRIBUTING" not in s.id])  # type: ignore[attr-defined]
def test_every_python_snippet_runs(text: str, tmp_path: Path) -> None:
    (tmp_path / "specs").symlink_to(ROOT / "specs")
    nowhere = {"NNSPEC_MNIST_MIRRORS": "http://127.0.0.1:9/", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{QUIET}\n{text}"],
        cwd=tmp_path,
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_the_worked_example_of_contributing_works() -> None:
    (text,) = [s.values[0] for s in snippets("python") if "CONTRIBUTING" in s.id]  # type: ignore[attr-defined]
    program = f"""
from __future__ import annotations
from nnspec.engine._numpy import np
from nnspec.engine.layers.activations import Activation
from nnspec.engine.layers.contract import saved
{text}
from nnspec import engine as nn
error = nn.numerical_gradient_check(Softsign(), np.random.default_rng(0).standard_normal((4, 5)))
assert error < 1e-7, error
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).stat().st_size > 0, f"{page.name}: {target}"


def test_the_readme_shows_the_race_as_it_is() -> None:
    spec = (ROOT / "specs/race.nn").read_text(encoding="utf-8")
    items = "\n".join(line for line in spec.splitlines() if not line.startswith("#")).strip()
    assert f"```nn\n{items}\n```" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_error_in_the_readme_is_what_check_says(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"^```\n(error\[NN401\].*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert shown is not None
    spec = tmp_path / "race.nn"
    text = (ROOT / "specs/race.nn").read_text(encoding="utf-8")
    spec.write_text(text.replace("Linear(32, 10)", "Linear(64, 10)"), encoding="utf-8")
    assert str(check(spec)).replace(str(tmp_path), "specs").startswith(shown[1].rstrip())


@pytest.mark.parametrize("kind", sorted(PARTS))
def test_every_part_and_argument_is_in_the_description_of_the_language(kind: str) -> None:
    page = (ROOT / "docs/language.md").read_text(encoding="utf-8")
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

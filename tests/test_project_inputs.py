"""Finding files by name, folder and glob, without those that git ignores, compared with git itself."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from nnspec.project.gitignore import Patterns
from nnspec.project.inputs import InputError, find_specs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a few specs."""
    monkeypatch.chdir(tmp_path)
    tree("a.nn", "b.txt", ".hidden.nn", "specs/c.nn", "specs/deep/er/d.nn", "specs/.git-like/e.nn", "x.nn/inner.nn")
    return tmp_path


def tree(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("")


def problems(*arguments: str, **options: object) -> list[InputError]:
    found: list[InputError] = []
    find_specs(arguments, complain=found.append, **options)  # type: ignore[arg-type]
    return found


FOUND = [
    (["a.nn"], ["a.nn"]),
    (["./a.nn", "a.nn", "specs/../a.nn"], ["a.nn"]),
    (["b.txt"], ["b.txt"]),
    ([".hidden.nn"], [".hidden.nn"]),
    (["."], ["a.nn", "specs/c.nn", "specs/deep/er/d.nn", "x.nn/inner.nn"]),
    (["specs/"], ["specs/c.nn", "specs/deep/er/d.nn"]),
    (["specs//./deep"], ["specs/deep/er/d.nn"]),
    (["x.nn"], ["x.nn/inner.nn"]),
    (["specs/.git-like"], ["specs/.git-like/e.nn"]),
    (["*.nn"], ["a.nn"]),
    (["*"], ["a.nn"]),
    (["?.nn"], ["a.nn"]),
    (["[ab].nn"], ["a.nn"]),
    ([".*.nn"], [".hidden.nn"]),
    (["**/*.nn"], ["a.nn", "specs/c.nn", "specs/deep/er/d.nn", "x.nn/inner.nn"]),
    (["**"], ["a.nn", "specs/c.nn", "specs/deep/er/d.nn", "x.nn/inner.nn"]),
    (["**/**/d.nn"], ["specs/deep/er/d.nn"]),
    (["specs/**/*.nn"], ["specs/c.nn", "specs/deep/er/d.nn"]),
    (["specs/*/*/d.nn"], ["specs/deep/er/d.nn"]),
    (["s*/c.nn"], ["specs/c.nn"]),
    (["specs/**/deep/**/d.nn"], ["specs/deep/er/d.nn"]),
    (["specs/.*/e.nn"], ["specs/.git-like/e.nn"]),
    (["-", "a.nn"], ["-", "a.nn"]),
    (["specs", "a.nn", "specs/c.nn"], ["a.nn", "specs/c.nn", "specs/deep/er/d.nn"]),
]


@pytest.mark.parametrize(("arguments", "expected"), FOUND, ids=lambda value: " ".join(value))
def test_files_folders_and_globs(here: Path, arguments: list[str], expected: list[str]) -> None:
    assert find_specs(arguments) == expected


def test_an_absolute_argument_gives_absolute_paths(here: Path) -> None:
    assert find_specs([str(here / "specs")]) == [f"{here}/specs/c.nn", f"{here}/specs/deep/er/d.nn"]
    assert find_specs([f"{here}/*.nn"]) == [f"{here}/a.nn"]
    assert find_specs([f"{here}/a.nn", "a.nn"]) == [f"{here}/a.nn"]


def test_what_is_above_keeps_its_dots(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here / "specs/deep")
    assert find_specs(["../c.nn", ".."]) == ["../c.nn", "../deep/er/d.nn"]


WRONG = [
    ("nowhere.nn", "file not found: nowhere.nn", False),
    ("empty", "no .nn files in empty", True),
    ("nowhere/*.nn", "folder not found: nowhere", False),
    ("q*.nn", "no .nn file matches q*.nn", True),
    ("b.*", "no .nn file matches b.*", True),
    ("", "file not found: .", False),
]


@pytest.mark.parametrize(("argument", "message", "empty"), WRONG)
def test_arguments_at_fault(here: Path, argument: str, message: str, empty: bool) -> None:
    (here / "empty").mkdir()
    (problem,) = problems(argument, "a.nn")
    assert (str(problem), problem.empty) == (message, empty)
    with pytest.raises(InputError) as raised:
        find_specs([argument, "a.nn", "missing"])
    assert str(raised.value) == f"{message}\nfile not found: missing"


def test_a_name_with_signs_of_a_glob_is_a_name_where_there_is_such_a_file(here: Path) -> None:
    tree("[ab].nn")
    assert find_specs(["[ab].nn"]) == ["[ab].nn"]


def test_links_to_folders_are_followed_where_they_are_named_only(here: Path) -> None:
    (here / "link").symlink_to("specs")
    (here / "specs/loop").symlink_to("..")
    (here / "specs/round.nn").symlink_to("round.nn")
    (here / "specs/folder.nn").symlink_to("deep")
    (here / "specs/file.nn").symlink_to("c.nn")
    names = ["c.nn", "deep/er/d.nn", "file.nn", "round.nn"]
    assert find_specs(["specs"]) == [f"specs/{name}" for name in names]
    assert find_specs(["link"]) == [f"link/{name}" for name in names]
    assert "link/c.nn" not in find_specs(["."])
    assert find_specs(["specs/round.nn"]) == ["specs/round.nn"]  # whoever reads it says what is wrong


def test_pipes_and_sockets_are_found(here: Path) -> None:
    os.mkfifo(here / "specs/pipe.nn")
    assert "specs/pipe.nn" in find_specs(["specs"])


def test_an_unreadable_folder_is_reported(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return honest(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (problem,) = problems("specs")
    assert (str(problem), problem.empty) == ("the folder deep cannot be read: Permission denied", False)
    assert [str(p) for p in problems("specs/deep")] == [
        f"the folder {here}/specs/deep cannot be read: Permission denied"
    ]


def test_exclusion_is_relative_to_the_root_and_spares_what_is_named(here: Path) -> None:
    options = {"root": here, "exclude": ["/specs/deep/", "a.nn"]}
    assert find_specs(["."], **options) == ["specs/c.nn", "x.nn/inner.nn"]  # type: ignore[arg-type]
    assert find_specs(["a.nn"], **options) == ["a.nn"]  # type: ignore[arg-type]
    assert find_specs(["a.nn", "specs/deep/er/d.nn"], force_exclude=True, **options) == []  # type: ignore[arg-type]
    for inside in ("specs/deep", "specs/deep/er", "specs/deep/*/*.nn"):
        (problem,) = problems(inside, **options)
        assert str(problem).endswith(" that is not ignored or excluded")
        assert problem.empty


def test_exclusion_does_not_reach_above_the_root(here: Path) -> None:
    assert find_specs(["a.nn"], root=here / "specs", exclude=["*"], force_exclude=True) == ["a.nn"]


# What git ignores


def test_hostile_patterns_take_no_time() -> None:
    """Each would take a backtracking matcher for ever."""
    lines = ["a*" * 40 + "b", "[^b]*" * 40 + "x", "**/a*/" * 20 + "q", " " * 100_000 + "x", "\\" * 4000, "[" * 4000]
    path = "/r" + f"/{'a' * 200}" * 20
    assert Patterns("/r", lines).verdict(path, False) is None
    assert Patterns("/r", [*lines, "a*" * 40]).verdict(path, False) is True


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(*arguments: str) -> str:
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", *arguments], env={**os.environ, **own}, capture_output=True, text=True, check=True)
    return done.stdout


def test_gitignore_holds_for_folders_and_globs_but_not_for_names(here: Path) -> None:
    (here / ".gitignore").write_text("deep/\na.nn\n")
    assert find_specs(["."]) == ["specs/c.nn", "x.nn/inner.nn"]
    assert find_specs(["specs/**/*.nn"]) == ["specs/c.nn"]
    assert find_specs(["a.nn", "specs/deep/er/d.nn"]) == ["a.nn", "specs/deep/er/d.nn"]
    assert find_specs(["a.nn", "specs/deep/er/d.nn", "specs/c.nn"], force_exclude=True) == ["specs/c.nn"]
    assert find_specs(["specs"], respect_gitignore=False) == ["specs/c.nn", "specs/deep/er/d.nn"]
    assert find_specs(["a.nn"], respect_gitignore=False, force_exclude=True) == ["a.nn"]


def test_a_gitignore_that_is_a_link_or_a_pipe_is_passed_over(here: Path) -> None:
    (here / "ignores").write_text("*.nn")
    (here / ".gitignore").symlink_to("ignores")
    os.mkfifo(here / "specs/.gitignore")
    assert "specs/c.nn" in find_specs(["."])


def test_lines_that_mean_nothing_are_passed_over(here: Path) -> None:
    for text in ("\ufeffa.nn\n", "# c\r\na.nn\r\n", "!\na.nn\n", "//\na.nn\n", "[z-a].nn\na.nn\n"):
        (here / ".gitignore").write_text(text)
        assert find_specs(["."])[0] == "specs/c.nn", text


@needs_git
def test_the_rules_of_a_repository_within_are_its_own(here: Path) -> None:
    git("init", "-q")
    git("init", "-q", "specs")
    (here / ".gitignore").write_text("*.nn\n!/x.nn/\n")
    (here / ".git/info").mkdir(exist_ok=True)
    (here / "specs/.git/info").mkdir(exist_ok=True)
    (here / "specs/.git/info/exclude").write_text("d.nn\n")
    assert find_specs(["."]) == ["specs/c.nn"]
    assert find_specs(["specs"]) == ["specs/c.nn"]


@needs_git
def test_the_exclusions_of_a_worktree_are_those_of_its_repository(here: Path) -> None:
    git("init", "-q")
    git("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-q", "--allow-empty", "-m", "x")
    git("worktree", "add", "-q", "tree", "-b", "other")
    (here / ".git/info").mkdir(exist_ok=True)
    (here / ".git/info/exclude").write_text("skipped.nn\n")
    tree("tree/kept.nn", "tree/skipped.nn")
    assert find_specs(["tree"]) == ["tree/kept.nn"]


PATTERNS = [
    "a",
    "b/",
    "/a",
    "/*",
    "*.nn",
    "!*.nn",
    "!a/",
    "!/a",
    "a/*",
    "!a/b",
    "**/b",
    "a/**",
    "!a/b/",
    "x.nn",
    "!x.nn",
    "[ab]/",
    "*/b",
    "/out/",
    "!keep",
    "keep/**/a.nn",
    "!keep/a.nn",
    "a.nn/",
    "b/**/",
    "*",
    "!*/",
    "?.nn",
    "b*",
    "!b.nn",
    "#c",
    "\\!x",
    "[ab].nn",
    "[^a].nn",
    "[!a]*",
    "[[:alpha:]].nn",
    "![[:punct:]x].nn",
    "[]x-].nn",
    "[x-a].nn",
    "[a",
    "a\\",
    "\\a.nn",
    "x.nn   ",
    "b\\ ",
    "a**b",
    "***/b",
    "a//b",
    "!/**/a.nn",
]


@needs_git
@pytest.mark.parametrize("seed", range(40))
def test_git_itself_ignores_the_same(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = random.Random(seed)
    git("init", "-q")
    for _ in range(14):
        folders = [rng.choice(["a", "b", "keep", "out"]) for _ in range(rng.randint(0, 3))]
        tree("/".join([*folders, rng.choice(["a.nn", "b.nn", "x.nn", "x.nn.nn", "é.nn"])]))
    places = [Path(), *(p for p in Path().rglob("*") if p.is_dir() and p.parts[0] != ".git")]
    for place in rng.sample(places, min(len(places), rng.randint(1, 3))):
        (place / ".gitignore").write_text("".join(f"{rng.choice(PATTERNS)}\n" for _ in range(rng.randint(1, 4))))
    Path(".git/info").mkdir(exist_ok=True)
    Path(".git/info/exclude").write_text(rng.choice(["", f"{rng.choice(PATTERNS)}\n"]))
    for target in (".", rng.choice(places).as_posix()):
        listed = git("ls-files", "-z", "--others", "--exclude-standard", target).split("\0")
        expected = sorted(path for path in listed if path.endswith(".nn"))
        assert find_specs([target], complain=lambda problem: None) == expected

"""`[tool.nnspec]`: where it is searched, what it may contain, and the errors for anything else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nnspec.project.config import Config, ConfigError, load_config


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inner = tmp_path / "project/inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    return tmp_path


def test_every_key(here: Path) -> None:
    (here / "project/pyproject.toml").write_text(
        '[tool.nnspec]\nexclude = ["drafts/"]\nfail-level = "warning"\nignore = ["NN701", "NN790"]\n'
        "respect-gitignore = false\n"
    )
    config = load_config()
    assert config == Config(
        str(here / "project"),
        "../pyproject.toml",
        ("drafts/",),
        "warning",
        frozenset({"NN701", "NN790"}),
        False,
    )
    assert load_config(isolated=True) == Config(str(here / "project/inner"))


def test_the_nearest_table_counts_and_the_search_ends_at_the_repository(here: Path) -> None:
    (here / "pyproject.toml").write_text('[tool.nnspec]\nfail-level = "warning"\n')
    (here / "project/pyproject.toml").write_text('[project]\ndependencies = ["nnspec"]\n')
    assert load_config().path == "../../pyproject.toml"
    (here / "project/pyproject.toml").write_text("tool.nnspec = {}\n")
    assert load_config().path == "../pyproject.toml"
    (here / "project/pyproject.toml").unlink()
    (here / "project/.git").mkdir()
    assert load_config() == Config(str(here / "project/inner"))


def test_a_named_file(here: Path) -> None:
    (here / "other.toml").write_text('[tool.nnspec]\nfail-level = "warning"\n')
    assert load_config("../../other.toml") == Config(str(here), "../../other.toml", fail_level="warning")


def test_an_invalid_pyproject_without_our_name_is_ignored(here: Path) -> None:
    (here / "project/pyproject.toml").write_text("[[[")
    assert load_config() == Config(str(here / "project/inner"))


WRONG = [
    ('exlude = ["a"]', "../pyproject.toml: unknown key `exlude` in [tool.nnspec]; did you mean `exclude`?"),
    ("fail_level = 1", "../pyproject.toml: unknown key `fail_level` in [tool.nnspec]; did you mean `fail-level`?"),
    (
        "xyzzy = 1",
        "unknown key `xyzzy` in [tool.nnspec]; valid keys are exclude, fail-level, ignore, respect-gitignore, ",
    ),
    ('fail-level = "info"', '`fail-level` in [tool.nnspec] must be "error" or "warning", not \'info\''),
    ("fail-level = [1]", '`fail-level` in [tool.nnspec] must be "error" or "warning", not [1]'),
    (
        'exclude = "drafts"',
        "`exclude` in [tool.nnspec] must be a list of patterns, such as [\"drafts/\"], not 'drafts'",
    ),
    ("exclude = [1]", "`exclude` in [tool.nnspec] must be a list of patterns"),
    ('exclude = ["!"]', "`exclude` in [tool.nnspec] contains '!', which is not a valid pattern"),
    ("respect-gitignore = 0", "`respect-gitignore` in [tool.nnspec] must be true or false, not 0"),
    ('ignore = ["NN401"]', "`ignore` in [tool.nnspec] contains NN401, but only lint (NN7xx) can be ignored"),
    ('ignore = ["N701"]', "`ignore` in [tool.nnspec] contains the unknown code 'N701'; did you mean NN701?"),
    ('ignore = ["lint"]', "`ignore` in [tool.nnspec] contains the unknown code 'lint'"),
    ('extensions = [""]', "`extensions` in [tool.nnspec] contains '', which is not the name of a package"),
    ('extensions = ["../x"]', "contains '../x', which is not the name of a package"),
    ('extensions = ["x --index-url=y"]', "contains 'x --index-url=y', which is not the name of a package"),
    ("a = 1\na = 2", "../pyproject.toml is not TOML: "),
    ("# \udcff", "../pyproject.toml is not TOML: "),
    ("x = " + "[" * 5000, "../pyproject.toml is not TOML: "),
]


@pytest.mark.parametrize(("lines", "message"), WRONG, ids=[row[0][:20].encode("ascii", "replace") for row in WRONG])
def test_invalid_settings_are_reported_with_file_and_key(here: Path, lines: str, message: str) -> None:
    (here / "project/pyproject.toml").write_text(
        f"[tool.nnspec]\n{lines}\n", encoding="utf-8", errors="surrogateescape"
    )
    with pytest.raises(ConfigError) as raised:
        load_config()
    assert message in str(raised.value)


def test_tables_that_are_none(here: Path) -> None:
    (here / "project/pyproject.toml").write_text("tool.nnspec = 3\n")
    with pytest.raises(ConfigError, match=r"`tool.nnspec` must be a table"):
        load_config()
    (here / "project/pyproject.toml").write_text("tool = 'nnspec'\n")
    assert load_config().path == ""


def test_named_files_that_are_not_there_or_say_nothing(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml cannot be read: No such file"):
        load_config("none.toml")
    os.mkfifo("pipe.toml")
    with pytest.raises(ConfigError, match=r"pipe.toml cannot be read: it is not a regular file"):
        load_config("pipe.toml")
    (here / "empty.toml").write_text("")
    with pytest.raises(ConfigError, match=r"has no \[tool.nnspec\]"):
        load_config("../../empty.toml")
    with (here / "long.toml").open("wb") as file:
        file.truncate(4 * 1024**2 + 1)
    with pytest.raises(ConfigError, match=r"long.toml cannot be read: it is larger than 4 MiB"):
        load_config("../../long.toml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        load_config("..")

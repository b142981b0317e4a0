"""The configuration of a project: `[tool.nnspec]` in a `pyproject.toml`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from nnspec.diagnostics.codes import CODES
from nnspec.diagnostics.suggest import nearest
from nnspec.errors import NnspecError
from nnspec.files import read_limited
from nnspec.text import is_package_name

__all__ = ["Config", "ConfigError", "load_config"]

_FILE = "pyproject.toml"
_LARGEST = 4 * 1024 * 1024


class ConfigError(NnspecError):
    """An invalid configuration. The message names the file and the key."""


class Config(NamedTuple):
    """Settings of a project. Paths in it are relative to `folder`."""

    folder: str
    """The folder of the configuration file, or the current folder if there is none."""
    path: str = ""
    exclude: tuple[str, ...] = ()
    """Patterns of files to skip, as in a `.gitignore`."""
    fail_level: str = "error"
    """The lowest severity for which `check` exits with 1."""
    ignore: frozenset[str] = frozenset()
    """Lint codes to silence."""
    respect_gitignore: bool = True
    """Whether to skip files that git ignores."""
    extensions: tuple[str, ...] = ()
    """Installed packages whose parts specs may use."""


def load_config(file: str | None = None, *, isolated: bool = False) -> Config:
    """Read the configuration from `file`, or from the nearest `pyproject.toml` upwards that has a `[tool.nnspec]`.

    The search ends at the root of the repository. With `isolated`, no file is read.

    Raises ConfigError for a file that cannot be read or is not TOML, and for an unknown key or an invalid value.
    """
    here = os.getcwd()
    if isolated:
        return Config(here)
    if file is not None:
        table = _table(file, named=True)
        if table is None:
            raise ConfigError(f"{file} has no [tool.nnspec]")
        return _config(table, os.path.dirname(os.path.abspath(file)), file)
    folder = here
    while True:
        path = os.path.join(folder, _FILE)
        if os.path.isfile(path):
            shown = os.path.relpath(path, here)
            table = _table(shown)
            if table is not None:
                return _config(table, folder, shown)
        above = os.path.dirname(folder)
        if above == folder or os.path.lexists(os.path.join(folder, ".git")):
            return Config(here)
        folder = above


def _table(path: str, named: bool = False) -> dict[str, Any] | None:
    """Return the table of a file, or None. A file is parsed only if it contains the name `nnspec`."""
    try:
        data = read_limited(path, _LARGEST)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if b"nnspec" not in data:
        return None
    import tomllib

    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    tool = document.get("tool")
    table = tool.get("nnspec") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise ConfigError(f"{path}: `tool.nnspec` must be a table, [tool.nnspec]")
    return table


class _Key(NamedTuple):
    field: str
    what: str
    """Description of the valid values."""
    fits: Callable[[Any], bool]
    convert: Callable[[Any], Any]


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_KEYS = {
    "exclude": _Key("exclude", 'a list of patterns, such as ["drafts/"]', _is_texts, tuple),
    "fail-level": _Key("fail_level", '"error" or "warning"', lambda v: v in ("error", "warning"), str),
    "ignore": _Key("ignore", 'a list of lint codes, such as ["NN701"]', _is_texts, frozenset),
    "respect-gitignore": _Key("respect_gitignore", "true or false", lambda v: isinstance(v, bool), bool),
    "extensions": _Key("extensions", 'a list of packages, such as ["adan-parts"]', _is_texts, tuple),
}


def _config(table: dict[str, Any], folder: str, path: str) -> Config:
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in _KEYS:
            right = nearest(name.replace("_", "-"), _KEYS)
            hint = f"did you mean `{right}`?" if right else f"valid keys are {', '.join(_KEYS)}"
            raise ConfigError(f"{path}: unknown key `{name}` in [tool.nnspec]; {hint}")
        key = _KEYS[name]
        if not key.fits(value):
            raise ConfigError(f"{path}: `{name}` in [tool.nnspec] must be {key.what}, not {value!r}")
        values[key.field] = key.convert(value)
    for code in sorted(values.get("ignore", ())):
        _ignorable(code, path)
    for pattern in values.get("exclude", ()):
        if not pattern.strip("!/ "):
            raise ConfigError(f"{path}: `exclude` in [tool.nnspec] contains {pattern!r}, which is not a valid pattern")
    for name in values.get("extensions", ()):
        if not is_package_name(name):
            raise ConfigError(
                f"{path}: `extensions` in [tool.nnspec] contains {name!r}, which is not the name of a package"
            )
    return Config(folder, path, **values)


def _ignorable(code: str, path: str) -> None:
    lint = [c for c in CODES if c.startswith("NN7")]
    if code in lint:
        return
    if code in CODES:
        raise ConfigError(f"{path}: `ignore` in [tool.nnspec] contains {code}, but only lint (NN7xx) can be ignored")
    right = nearest(code, lint)
    hint = f"; did you mean {right}?" if right else ""
    raise ConfigError(f"{path}: `ignore` in [tool.nnspec] contains the unknown code {code!r}{hint}")

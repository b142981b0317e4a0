"""Parts of other packages: which are installed, which are loaded, and what is recorded of them.

A package names its modules with parts in the entry point group `nnspec.parts`. The command line imports only those that
`[tool.nnspec]` lists as `extensions`; in Python, importing the module is enough. What is said of packages that are not
listed comes from their metadata, which is text.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from nnspec.engine.part import PARTS, Part
from nnspec.errors import NnspecError
from nnspec.text import is_package_name, printable

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["GROUP", "ExtensionError", "load_extensions", "missing_parts", "not_loaded", "provenance"]

GROUP = "nnspec.parts"
"""The entry point group: the name of a part, and the module that defines it, as in `Adan = "adan_parts"`."""


class ExtensionError(NnspecError):
    """An extension that a project lists cannot be loaded."""


class _Entry(NamedTuple):
    """An entry point of an installed package."""

    name: str
    """The part."""
    module: str
    package: str
    distribution: Distribution


def load_extensions(names: Iterable[str]) -> None:
    """Import the modules with parts of installed packages. What they print goes to stderr, not between the results.

    Raises ExtensionError for a package that is not installed, has no parts, or cannot be imported.
    """
    for name in names:
        entries = [entry for entry in _entries() if _plain(entry.package) == _plain(name)]
        if not entries:
            raise ExtensionError(f"extension `{name}`: {_why_not(name)}")
        for module in dict.fromkeys(entry.module for entry in entries):
            try:
                with redirect_stdout(sys.stderr):
                    importlib.import_module(module)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a module may raise anything
                words = " ".join("".join(traceback.format_exception_only(error)).split())
                raise ExtensionError(
                    f"extension `{name}`: its module {printable(module)} cannot be imported: {printable(words)}"
                ) from error


def _why_not(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version(name)
    except UnicodeDecodeError:
        return f"its metadata is damaged; install it again: `pip install --force-reinstall {name}`"
    except (PackageNotFoundError, ValueError):
        return f"no such package is installed; `pip install {name}`, or remove it from `extensions` in [tool.nnspec]"
    return (
        f"{name} {found} has no parts: its pyproject.toml has no entry points in the group `{GROUP}`; remove it from "
        "`extensions` in [tool.nnspec]"
    )


def not_loaded(word: str) -> str:
    """Say which installed package provides a part of this name, if it is not loaded; "" if none does."""
    entry = next((entry for entry in _entries() if entry.name == word), None)
    if entry is None or entry.module in sys.modules:
        return ""
    package = entry.package
    return f'`{word}` is provided by the package {package}; list it in [tool.nnspec]: `extensions = ["{package}"]`'


def provenance(part: type[Part]) -> dict[str, str]:
    """Return what a record says of a part that is not nnspec's own: package, version, module and digest of the source.

    The digest is that of the module's file or, in a notebook, of the source of the class's functions. What is unknown
    is "".
    """
    distribution = _distribution(part.__module__)
    return {
        "part": part.spec_name,
        "kind": part.kind,
        "package": distribution.metadata["Name"] if distribution else "",
        "version": distribution.version if distribution else "",
        "module": part.__module__,
        "sha256": _digest(part),
    }


def missing_parts(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Describe the parts of recorded provenances that are not loaded, and how to load them."""
    return [_missing(record) for record in records if record["part"] not in PARTS.get(record["kind"], {})]


def _missing(record: Mapping[str, Any]) -> str:
    part, package, module, version = (str(record[name]) for name in ("part", "package", "module", "version"))
    if not is_package_name(package):
        return f"the {record['kind']} `{part}` of {module}: import the module that defines it before using the run"
    installed = any(_plain(entry.package) == _plain(package) for entry in _entries())
    pinned = f"{package}=={version}" if re.fullmatch(r"[\w.+!]+", version, re.ASCII) else package
    first = "" if installed else f"`pip install {pinned}`, and "
    return (
        f"the {record['kind']} `{part}` of the package {package} {version}: {first}list {package} as an "
        f"extension in [tool.nnspec], or in Python `import {module}`"
    )


def _entries() -> tuple[_Entry, ...]:
    """Return the entry points of all installed packages; nothing is imported."""
    return _entries_on(tuple(sys.path))


@cache
def _entries_on(path: tuple[str, ...]) -> tuple[_Entry, ...]:
    from importlib.metadata import distributions

    return tuple(entry for distribution in distributions() for entry in _entries_of(distribution))


def _entries_of(distribution: Distribution) -> list[_Entry]:
    """Return the entry points of a package; none if its metadata is damaged, since it may be a package that nobody
    listed."""
    try:
        found = [entry for entry in distribution.entry_points if entry.group == GROUP]
        package = distribution.metadata["Name"] or "" if found else ""
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return []
    if not is_package_name(package):
        return []
    modules = (re.split(r"[:\[]", entry.value, maxsplit=1)[0].strip() for entry in found)
    return [_Entry(entry.name, module, package, distribution) for entry, module in zip(found, modules, strict=True)]


def _plain(name: str) -> str:
    """Return the name of a package as all spellings of it have it."""
    return name.lower().replace("_", "-").replace(".", "-")


def _distribution(module: str) -> Distribution | None:
    """Return the installed package that a module belongs to, if it is known."""
    from importlib.metadata import PackageNotFoundError, distribution

    for entry in _entries():
        if module == entry.module or module.startswith(f"{entry.module}."):
            return entry.distribution
    top = module.partition(".")[0]
    try:
        return distribution(top)
    except (PackageNotFoundError, ValueError):
        name = _package_of(top) if "-packages" in str(getattr(sys.modules.get(top), "__file__", "")) else ""
        return distribution(name) if name else None


@cache
def _package_of(top: str) -> str:
    """Return the package of an installed module of another name; reading the list of all files takes long."""
    from importlib.metadata import packages_distributions

    return next(iter(packages_distributions().get(top, ())), "")


def _digest(part: type[Part]) -> str:
    path = getattr(sys.modules.get(part.__module__), "__file__", None)
    try:
        if path is not None:
            with open(path, "rb") as file:
                return hashlib.sha256(file.read()).hexdigest()
        # A notebook has no file, and the source of a function in it is known, but not that of a class.
        functions = [getattr(value, "__func__", value) for value in vars(part).values()]
        sources = [inspect.getsource(function) for function in functions if inspect.isfunction(function)]
        return hashlib.sha256("".join(sources).encode()).hexdigest() if sources else ""
    except (OSError, TypeError):
        return ""

"""The rooms of the package and the arrows between them: `python tests/rooms.py [ROOM]`.

Without an argument, a table: each room with its files, its lines, and the rooms it imports; those that import nothing
come first. With a room, a line for each of its files: lines, and the modules it imports.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "nnspec"


@cache
def files(package: Path = PACKAGE) -> Mapping[str, Path]:
    """Return every file of a package by its dotted name: `nnspec.engine.part`."""
    names = {".".join(path.relative_to(package.parent).with_suffix("").parts): path for path in package.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in sorted(names.items())}


def room_of(module: str) -> str:
    """Return the room that a module is in; the package's own `__init__.py` is a room by itself."""
    return [*module.split("."), "__init__"][1]


def imports(module: str, package: Path = PACKAGE, *, in_functions: bool = True) -> frozenset[str]:
    """Return the modules of the package that a module imports, for types too; those in functions where asked."""
    outside, inside = _imports(module, package)
    return outside | inside if in_functions else outside


@cache
def _imports(module: str, package: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Return the modules of the package that a module imports outside functions, and in functions."""
    tree = ast.parse(files(package)[module].read_text("utf-8"))
    functions: list[ast.AST] = []
    return _imported([tree], package, functions), _imported(functions, package)


def _imported(waiting: list[ast.AST], package: Path, functions: list[ast.AST] | None = None) -> frozenset[str]:
    """Return the modules imported below some nodes; if there is a list of `functions`, they are put there instead."""
    found = set[str]()
    waiting = [*waiting]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and functions is not None:
            functions.append(node)
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in files(package) else str(node.module) for name in names}
        waiting += ast.iter_child_nodes(node)
    return frozenset(found & files(package).keys())


def circles(arrows: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Return the names that reach each other along arrows, circle by circle, each sorted."""

    def reach(start: str) -> set[str]:
        seen, waiting = set[str](), [*arrows[start]]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += arrows.get(name, ())
        return seen

    reached = {name: reach(name) for name in arrows}
    found = {tuple(sorted(other for other in reached[name] if name in reached.get(other, ()))) for name in arrows}
    return [list(names) for names in sorted(found) if names]


def room_arrows(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Return the other rooms that each room imports."""
    found: dict[str, set[str]] = {}
    for module in files(package):
        found.setdefault(room_of(module), set()).update(map(room_of, imports(module, package)))
    return {room: others - {room} for room, others in found.items()}


def _lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def _rows() -> Iterator[str]:
    arrows = room_arrows()
    waiting = sorted(arrows)
    while waiting:
        room = next((room for room in waiting if not arrows[room] & {*waiting}), waiting[0])
        waiting.remove(room)
        paths = [path for module, path in files().items() if room_of(module) == room]
        yield f"{room:<12} {len(paths):>5} {sum(map(_lines, paths)):>6}  {', '.join(sorted(arrows[room])) or '–'}"


def table() -> str:
    """Return the rooms as a table."""
    return "\n".join([f"{'room':<12} files  lines  imports", *_rows()])


def room_table(room: str) -> str:
    """Return the files of a room as a table."""
    rows = [
        f"{module.removeprefix('nnspec.'):<34} {_lines(path):>5}  "
        f"{', '.join(sorted(name.removeprefix('nnspec.') for name in imports(module))) or '–'}"
        for module, path in files().items()
        if room_of(module) == room
    ]
    return "\n".join(rows or [f"there is no room {room}; there are {', '.join(room_arrows())}"])


if __name__ == "__main__":
    print(room_table(sys.argv[1]) if len(sys.argv) > 1 else table())

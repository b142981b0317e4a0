"""The rooms of the package and the arrows between them: `python tests/rooms.py [ROOM]`.

Without an argument, a table: each room with its files, lines, and the rooms it imports. With a room, one line for each
of its files: lines, and the modules it imports.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "nnspec"


def module_of(path: Path, package: Path = PACKAGE) -> str:
    """Return a file's dotted name: `nnspec.engine.part`."""
    return ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    """Return the room that a module of the package is in; the package itself is the room `nnspec`."""
    return [*module.split("."), "nnspec"][1] if "." in module else "nnspec"


@cache
def files(package: Path = PACKAGE) -> Mapping[str, Path]:
    """Return every file of the package by its dotted name."""
    return {module_of(path, package): path for path in sorted(package.rglob("*.py"))}


def imports(module: str, *, inside_functions: bool = True) -> Iterator[str]:
    """Yield the modules of the package that a module imports, under TYPE_CHECKING too."""
    tree = ast.parse(files()[module].read_text("utf-8"))
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not inside_functions:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files())
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nnspec":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in files() else str(node.module)
        waiting += ast.iter_child_nodes(node)


def arrows() -> dict[str, set[str]]:
    """Return the other rooms that each room imports."""
    found: dict[str, set[str]] = {}
    for module in files():
        found.setdefault(room_of(module), set()).update(map(room_of, imports(module)))
    return {room: others - {room} for room, others in found.items()}


def _lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def table() -> str:
    """Return the rooms as a table, those that import nothing first."""
    rooms, rows, done = arrows(), [], set[str]()
    while len(done) < len(rooms):
        ready = [room for room in rooms if room not in done and rooms[room] <= done] or sorted(set(rooms) - done)
        done |= set(ready)
        for room in ready:
            paths = [path for module, path in files().items() if room_of(module) == room]
            lines = sum(map(_lines, paths))
            rows.append(f"{room:<12} {len(paths):>5} {lines:>6}  {', '.join(sorted(rooms[room])) or '–'}")
    return "\n".join([f"{'room':<12} files  lines  imports", *rows])


def room_table(room: str) -> str:
    """Return the files of a room as a table."""
    rows = []
    for module, path in files().items():
        if room_of(module) == room:
            others = sorted({name.removeprefix("nnspec.") for name in imports(module)})
            rows.append(f"{module.removeprefix('nnspec.'):<32} {_lines(path):>5}  {', '.join(others) or '–'}")
    return "\n".join(rows or [f"there is no room {room}; there are {', '.join(arrows())}"])


if __name__ == "__main__":
    print(room_table(sys.argv[1]) if len(sys.argv) > 1 else table())

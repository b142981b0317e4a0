"""Markdown pages, followed from top to bottom as a reader would: every spec, snippet and command of a page is tried.

The fence of a block says what it is:

- `nn`: a spec, or a part of one. `check` must find nothing; settings that a fragment lacks are filled in.
- `python`: runs without warnings, after the other Python of the page.
- `py`: Python that needs a package or a machine that tests do not have. It must be Python.
- `pycon`: a Python session. What it prints is compared with what the page shows.
- `ipython`: a cell of a notebook, which must succeed; skipped without IPython.
- `console`: commands after `$`, each followed by its output, which is compared with what the command prints.
- `diff`: what to change in the file that its first line names (`--- bikes.nn`). Hunks are separated by empty lines.
- `sh`: commands whose output is not shown. They must succeed.
- `yaml`: the configuration of another program. Its steps `run: nnspec …` must succeed.
- `toml`: the configuration of `check`, which must accept it.

A block that begins with a comment such as `# bikes.nn` is also written into the folder in which the page is tried, and
so is one without a language. A line `…` stands for output that is not shown.

To put what commands now print into the pages: `python tests/page_runner.py`, also `make docs`.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import runpy
import shlex
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tiny_spec import environment

import nnspec
from nnspec.cli import _code
from nnspec.diagnostics.explanations import completed

ROOT = Path(__file__).resolve().parents[1]
PAGES = tuple(sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]))

NOT_RUN = {
    "make": "needs a clone of the repository and installs packages",
    "git": "needs the address of the repository",
    "python3 -m venv": "installs packages",
    "pip install": "installs packages",
    ".venv/bin/": "needs the environment that the lines before it make",
    "source": "sets up a shell",
    "dask": "serves until it is stopped",
    "rm": "removes files of the user",
    "python benchmarks/": "takes minutes",
    "nnspec run specs/width_sweep.nn --cluster dask": "needs a cluster",
    "nnspec run benchmarks/": "takes minutes, and MNIST",
    "nnspec data fetch": "needs the network",
    "python tests/": "takes minutes",
}
"""How commands begin that are not run, and why."""


@dataclass(frozen=True)
class Block:
    """A fenced block: the line after its fence, its language, and its text."""

    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, if it begins with one."""
        match = re.match(r"# (\w+\.\w+)\n", self.text)
        return match[1] if match else None


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(text.count("\n", 0, match.start()) + 2, match[1], match[2])


def tried(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page that `Reader` follows. Classes in CONTRIBUTING.md have tests of their own."""
    for block in blocks(page.read_text("utf-8")):
        if not (page.name == "CONTRIBUTING.md" and block.language == "python"):
            yield block


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Yield the commands of a block, each with the output that is shown for it."""
    if block.language == "sh":
        for line in block.text.replace("\\\n", "").splitlines():
            if line.strip() and not line.startswith("#"):
                yield line, ""
        return
    if block.language == "yaml":
        yield from ((line, "") for line in re.findall(r"- run: (nnspec .*)", block.text))
        return
    parts = re.split(r"^\$ (.*)\n", block.text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"line {block.line}: output without a command"
    yield from zip(parts[1::2], parts[2::2], strict=True)


def reason_not_run(line: str) -> str | None:
    """Return why a command is not run, or None if it is."""
    return next((reason for start, reason in NOT_RUN.items() if line.startswith(start)), None)


class _Blank:
    """Takes the place of the drawing of a run's picture, which takes longer than all commands of a page."""

    waiting = False

    def begin(self, result: object) -> None:
        """Draw nothing."""

    def finish(self, result: object, path: Path) -> bool:
        """Write an empty picture."""
        path.touch()
        return True


class Reader:
    """Follows one page in a folder of its own, which holds copies of `specs`, and the real MNIST if there is one."""

    def __init__(self, folder: Path, data_dir: Path | None = None) -> None:
        shutil.copytree(ROOT / "specs", folder / "specs")
        (folder / "data").symlink_to(folder / "specs/data")
        self.has_mnist = data_dir is not None
        self._folder = folder
        self._variables = environment(
            folder / ".cache", NNSPEC_MNIST_MIRRORS="http://127.0.0.1:9/", NO_COLOR="1", COLUMNS="118"
        )
        if data_dir is not None:
            self._variables["NNSPEC_DATA_DIR"] = str(data_dir)
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._exit_code = 0
        self._loaded: list[str] = []

    def follow(self, block: Block) -> None:
        """Try one block; raise AssertionError if it does not do what it shows."""
        with self.at_work():
            if block.file is not None and block.language in ("", "nn", "python"):
                Path(block.file).write_text(block.text, encoding="utf-8")
            match block.language:
                case "nn":
                    self._check(block)
                case "python" if block.file is None:
                    self._execute(block)
                case "py":
                    compile(block.text, "page", "exec")
                case "pycon":
                    self._converse(block)
                case "ipython":
                    self._run_cell(block)
                case "console" | "sh" | "yaml":
                    for line, shown, printed in self.run(block):
                        if self.has_mnist or "MNIST" not in shown:
                            assert_alike(shown, printed, line)
                case "diff":
                    self._edit(block)
                case "toml":
                    self._configure(block)

    def _run_cell(self, block: Block) -> None:
        """Run a cell in a session of IPython, with the variables of the cells before it."""
        try:
            from IPython.core.interactiveshell import InteractiveShell
            from IPython.utils.capture import capture_output
        except ImportError:
            return
        with patch.dict(os.environ, {"IPYTHONDIR": str(self._folder / ".ipython")}):
            shell = InteractiveShell.instance(user_ns=self._names)
            try:
                with capture_output() as printed:
                    for line in self._loaded:
                        shell.run_cell(line)
                    done = shell.run_cell(block.text)
            finally:
                InteractiveShell.clear_instance()
        assert done.success, f"{block.text}\n{printed}"
        self._loaded += [line for line in block.text.splitlines() if line.startswith("%load_ext")]

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Work in the folder, with the variables of a reader who has set none."""
        undrawn = patch("nnspec.view.pictures.drawing.drawing_for", lambda compiled: contextlib.nullcontext(_Blank()))
        with contextlib.chdir(self._folder), patch.dict(os.environ, self._variables, clear=True), undrawn:
            yield

    def run(self, block: Block) -> list[tuple[str, str, str]]:
        """Run the commands of a block; return those whose output is shown, with the shown and the actual output."""
        results = []
        for line, shown in commands(block):
            if reason_not_run(line) is None:
                printed = self.output_of(line)
                if block.language == "console":
                    results.append((line, shown, printed))
                else:
                    assert self._exit_code == 0, f"{line}: exit code {self._exit_code}\n{printed}"
        return results

    def output_of(self, line: str) -> str:
        """Return the output of a command: standard output, or standard error if that is empty."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            match shlex.split(line, comments=True):
                case ["nnspec", *arguments]:
                    self._exit_code = _code(arguments)
                case ["python", file]:
                    runpy.run_path(file, run_name="__main__")
                    self._exit_code = 0
                case ["echo", text]:
                    print(text.replace("$?", str(self._exit_code)))
                case ["cat", file]:
                    print(Path(file).read_text("utf-8"), end="")
                case ["cp", source, target]:
                    shutil.copy(source, target)
                case ["head", count, file]:
                    print(*Path(file).read_text("utf-8").splitlines()[: -int(count)], sep="\n")
                case words:
                    raise AssertionError(f"pages cannot run {words[0]}: {line}")
        texts = [stream.buffer.getvalue().decode("utf-8") for stream in (out, err)]  # type: ignore[attr-defined]
        return re.sub(_PROGRESS, "", texts[0] or texts[1], flags=re.MULTILINE).strip("\n")

    def _check(self, block: Block) -> None:
        path = Path(block.file or "snippet.nn")
        if block.file is None:
            path.write_text(completed(block.text), encoding="utf-8")
        elif not re.search(r"^model\b", block.text, re.MULTILINE):
            return  # a file that others import
        result = nnspec.check(path)
        assert not result.diagnostics, str(result)

    def _execute(self, block: Block) -> None:
        program = compile("\n" * (block.line - 1) + block.text, "page", "exec")
        printed = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            warnings.simplefilter("error")
            if not self.has_mnist:  # drawn digits stand in for it, and that warning is right
                warnings.simplefilter("ignore", nnspec.DataWarning)
            exec(program, self._names)

    def _converse(self, block: Block) -> None:
        for example in doctest.DocTestParser().get_examples(block.text):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(example.source, "page", "single"), self._names)
            assert_alike(example.want, printed.getvalue(), example.source)

    def _edit(self, block: Block) -> None:
        head, hunks = block.text.split("\n", 1)
        path = Path(head.removeprefix("--- "))
        text = path.read_text("utf-8")
        for hunk in re.split(r"\n\n", hunks.strip("\n")):
            old, new = (
                "".join(f"{line[1:]}\n" for line in hunk.splitlines() if line[0] != sign) for sign in ("+", "-")
            )
            assert text.count(old) == 1, f"line {block.line}: {path} does not hold this once:\n{old}"
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")

    def _configure(self, block: Block) -> None:
        Path("pyproject.toml").write_text(block.text, encoding="utf-8")
        printed = self.output_of("nnspec check specs/race.nn")
        Path("pyproject.toml").unlink()
        assert self._exit_code == 0, printed


_PROGRESS = r"^(.+: (epoch \d+/\d+, .*|proving the gradients|\d+ trials? done\b.*)|tuning: \d+ %, .* trials done\b.*)\n"
"""Lines that a terminal shows in one place, and that are gone in the end."""


# Comparing


_TIME = r"\d+(?:\.\d+)? ?(?:s|ms|µs|min)\b"
_NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
TOLERANCE = 0.05
"""How far a number after training may be from the one on the page: BLAS kernels round differently."""


def assert_alike(shown: str, printed: str, command: str) -> None:
    """Raise AssertionError if a command prints something else than its page shows.

    Times and curves are not compared, nor is the width of columns, which depends on them. Integers must be equal, and
    other numbers agree within `TOLERANCE`.
    """
    lines = _plain_lines(printed)
    first, *pieces = map(_plain_lines, re.split(r"^ *… *\n", shown + "\n", flags=re.MULTILINE))
    end = len(lines)
    if pieces:  # the last piece ends the output, and the others follow each other at the first place where they fit
        last = pieces.pop()
        end -= len(last)
        fits = end >= len(first) and _all_alike(last, lines[end:]) and _all_alike(first, lines[: len(first)])
    else:
        fits = _all_alike(first, lines)
    start = len(first)
    for piece in pieces:
        places = range(start, end - len(piece) + 1)
        place = next((at for at in places if _all_alike(piece, lines[at : at + len(piece)])), None)
        fits = fits and place is not None
        start = (place or 0) + len(piece)
    assert fits, f"$ {command}\n{printed}\nis not what the page shows:\n{shown}"


def _plain_lines(text: str) -> list[str]:
    text = re.sub(r"[▁-█]+", "<curve>", re.sub(_TIME, "<time>", text))
    return [plain for line in text.splitlines() if (plain := " ".join(line.split()))]


def _all_alike(wanted: list[str], lines: list[str]) -> bool:
    return len(wanted) == len(lines) and all(map(_alike, wanted, lines))


def _alike(wanted: str, line: str) -> bool:
    if re.sub(_NUMBER, "0", wanted) != re.sub(_NUMBER, "0", line):
        return False
    return all(map(_close, re.findall(_NUMBER, wanted), re.findall(_NUMBER, line)))


def _close(wanted: str, number: str) -> bool:
    if wanted == number:
        return True
    a, b = (float(text.replace(",", "")) for text in (wanted, number))
    if max(abs(a), abs(b)) < 1e-6:  # rounding errors, such as those of gradients
        return True
    whole = not (set(".e") & set(wanted + number))
    return not whole and abs(a - b) <= TOLERANCE * max(abs(a), abs(b))


# Writing pages anew


def refreshed(page: Path, reader: Reader) -> str:
    """Return a page with the output of every command replaced by the current one if they differ."""
    text = page.read_text("utf-8")
    for block in tried(page):
        if block.language != "console":
            reader.follow(block)
            continue
        with reader.at_work():
            results = reader.run(block)
        for line, shown, printed in results:
            try:
                assert_alike(shown, printed, line)
            except AssertionError:
                if re.search(r"^ *… *$", shown, re.MULTILINE):
                    raise
                plain = "".join(f"{row.rstrip()}\n" for row in printed.splitlines())
                text = text.replace(f"$ {line}\n{shown}", f"$ {line}\n{plain}", 1)
    return text


def main() -> None:
    """Follow every page and write those of which something has changed."""
    data_dir = ROOT.parent / "shared/data/mnist"
    for page in map(Path, sys.argv[1:] or PAGES):
        with tempfile.TemporaryDirectory(prefix="nnspec-") as folder:
            try:
                new = refreshed(page, Reader(Path(folder), data_dir if data_dir.is_dir() else None))
            except AssertionError as error:
                sys.exit(f"{page}: {error}")
        if new != page.read_text("utf-8"):
            page.write_text(new, encoding="utf-8")
            print(page)


if __name__ == "__main__":
    main()

"""What large and hostile inputs cost: each in a process of its own, with the time of its processor and its peak memory.

    python tests/fuzz/sizes.py [--size 1048576] [--only WORD] [--all]

Prints a row for each that takes more than a limit, or, with --all, for each. Exits with 1 where one fails: a traceback,
a fault that nnspec reports of itself, or more than the hard limits.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from hostile_texts import BASE, BYTES, TEXTS  # noqa: E402

SECONDS, MEGABYTES = 2.5, 250
"""Beyond these an input is shown."""
MOST_SECONDS, MOST_MEGABYTES = 5, 500
"""Beyond these it fails."""
TIMEOUT = 12
"""Seconds of processor after which an input is given up."""

COMMANDS: dict[str, list[str]] = {
    "check": ["check"],
    "check json": ["check", "--format", "json"],
    "check sarif": ["check", "--format", "sarif"],
    "check cached": ["check"],
    "check --fix": ["check", "--fix", "--unsafe-fixes", "--diff"],
    "fmt": ["fmt", "--check"],
    "fmt --diff": ["fmt", "--diff"],
}


class Cost(NamedTuple):
    """What one command on one file took."""

    seconds: float
    megabytes: float
    code: int
    output: int
    """Bytes written."""
    last: str
    """The last line of standard error."""

    @property
    def failed(self) -> bool:
        """Whether it broke the promise."""
        return self.code not in (0, 1, 2) or self.seconds > MOST_SECONDS or self.megabytes > MOST_MEGABYTES

    @property
    def dear(self) -> bool:
        """Whether it is to be shown."""
        return self.failed or self.seconds > SECONDS or self.megabytes > MEGABYTES


def measure(arguments: list[str], folder: Path) -> Cost:
    """Run the command line in a process of its own; it is ended where it takes too long."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from nnspec.cli import main; main()", *arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            preexec_fn=_limit,
        )  # fmt: skip
        status, usage = _wait(process)
        size = out.seek(0, os.SEEK_END) + err.tell()
        err.seek(0)
        lines = err.read()[-300:].decode(errors="replace").splitlines()
    return Cost(
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        os.waitstatus_to_exitcode(status),
        size,
        lines[-1] if lines else "",
    )


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
    resource.setrlimit(resource.RLIMIT_CPU, (TIMEOUT, TIMEOUT))


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage]:
    """Wait for a process; one that sleeps is ended as well."""
    end = time.monotonic() + 20 * TIMEOUT
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return status, usage
        if time.monotonic() > end:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.01)


def inputs(size: int, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and the place of each input; what is not a file by itself is written to `x.nn`."""
    place = folder / "x.nn"
    for name, make in TEXTS.items():
        place.write_bytes(make(size).encode("utf-8"))
        yield name, place
    for name, data in BYTES.items():
        place.write_bytes(data)
        yield f"bytes: {name}", place
    for name, arrange in PLACES.items():
        yield f"place: {name}", arrange(folder / name.replace(" ", "-").replace("/", "-"))


# What a path may lead to


def _circle(folder: Path) -> Path:
    for i in range(50):
        (folder / f"{i}.nn").write_text(f'import "{(i + 1) % 50}.nn"\n', encoding="utf-8")
    return folder / "0.nn"


def _doubling(folder: Path) -> Path:
    """Each file imports the next two, so that there are very many ways to the last."""
    for i in range(40):
        (folder / f"{i}.nn").write_text(f'import "{i + 1}.nn"\nimport "{i + 2}.nn"\n', encoding="utf-8")
    return folder / "0.nn"


def _many_large(folder: Path) -> Path:
    for i in range(120):
        (folder / f"{i}.nn").write_text("#" * 2**20, encoding="utf-8")
    (folder / "x.nn").write_text("".join(f'import "{i}.nn"\n' for i in range(120)), encoding="utf-8")
    return folder / "x.nn"


def _importing(target: str) -> Callable[[Path], Path]:
    def arrange(folder: Path) -> Path:
        (folder / "pyproject.toml").touch()
        (folder / "x.nn").write_text(f'import "{target}"\n{BASE}', encoding="utf-8")
        os.mkfifo(folder / "pipe.nn")
        (folder / "zero.nn").symlink_to("/dev/zero")
        (folder / "passwd.nn").symlink_to("/etc/passwd")
        (folder / "loop.nn").symlink_to("loop.nn")
        (folder / "folder.nn").mkdir()
        (folder / "secret.nn").write_text("seed = 1", encoding="utf-8")
        (folder / "secret.nn").chmod(0)
        return folder / "x.nn"

    return arrange


def _itself(name: str) -> Callable[[Path], Path]:
    def arrange(folder: Path) -> Path:
        _importing(name)(folder)
        return folder / name

    return arrange


def _made(arrange: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def within(folder: Path) -> Path:
        folder.mkdir()
        return arrange(folder)

    return within


NAMES = ("pipe.nn", "zero.nn", "passwd.nn", "loop.nn", "folder.nn", "secret.nn", "missing.nn")
PLACES: dict[str, Callable[[Path], Path]] = {
    "a circle of imports": _made(_circle),
    "imports that double": _made(_doubling),
    "many large imports": _made(_many_large),
    **{f"import of {name}": _made(_importing(name)) for name in (*NAMES, "../x.nn", "../../../etc/passwd.nn")},
    **{f"{name} itself": _made(_itself(name)) for name in NAMES},
    "proc self mem": lambda folder: Path("/proc/self/mem"),
    "dev zero": lambda folder: Path("/dev/zero"),
    "dev random": lambda folder: Path("/dev/urandom"),
    "proc maps": lambda folder: Path("/proc/self/maps"),
}


def main() -> int:
    """Measure them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2**20, help="characters of each text")
    parser.add_argument("--only", default="", help="only inputs with this in their name")
    parser.add_argument("--command", default="", help="only this command")
    parser.add_argument("--all", action="store_true", help="show all rows")
    options = parser.parse_args()
    failed = count = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("| input | command | seconds | MB | exit | output |\n|---|---|---|---|---|---|")
        for title, place in inputs(options.size, folder):
            if options.only not in title:
                continue
            for what, arguments in COMMANDS.items():
                if options.command not in ("", what):
                    continue
                cost = measure([*arguments, str(place)], folder)
                count += 1
                failed += cost.failed
                if cost.dear or options.all:
                    figures = f"{cost.seconds:.2f} | {cost.megabytes:.0f} | {cost.code} | {cost.output:,}"
                    print(f"| {title} | {what} | {figures} |", cost.last if cost.failed else "", flush=True)
    print(f"\n{count} measured, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

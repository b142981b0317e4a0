"""A fuzzer of everything that reads a spec, guided by the coverage that inputs reach. Needs the extra `fuzz`.

    python tests/fuzz/fuzz_check.py [--seconds 60] [--target check] [--folder build/fuzz]

Each target gets its share of the time in a process of its own. It starts from the specs, the snippets of the docs, the
texts of the tests, and what it found in earlier runs. What breaks a promise (`tests/promises.py`), takes long or takes
much memory is written to `failures`; the exit code is then 1. A failure becomes a case in `tests/test_fuzz.py`.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import random
import re
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
ROOT = TESTS.parent
sys.path[:0] = [str(TESTS), str(ROOT)]

TARGETS = ("check", "fmt", "parse", "read")
LONGEST, LONGEST_SEED = 20_000, 2_500
SLOW, LARGE = 3.0, 100
"""Seconds of processor, and megabytes, that no input of that length may take. Coverage costs a factor of about four."""


# The targets


def _targets(folder: Path) -> dict[str, Callable[[bytes], object]]:
    import promises

    from nnspec.diagnostics import Source
    from nnspec.syntax import parse

    def flags(text: str) -> list[str]:
        return [line[5:] for line in text.splitlines() if line.startswith("#set ")][:2]

    def plain(data: bytes) -> str:
        return data.decode("utf-8", "replace").replace("\0", "")

    def read(data: bytes) -> object:
        source = promises.reads(data, folder / "read.bin")
        return source and promises.formats(source.text)

    return {
        "check": lambda data: promises.checks(text := plain(data), flags(text), folder),
        "fmt": lambda data: promises.formats(plain(data)),
        "parse": lambda data: parse(Source("x.nn", plain(data))),
        "read": read,
    }


# The process that fuzzes


def fuzz(target: str, folder: Path, arguments: list[str]) -> None:
    """Fuzz one target; does not return."""
    import atheris

    with atheris.instrument_imports(include=["nnspec"]):
        import promises  # noqa: F401  (and with it all of nnspec that is fuzzed)

        from nnspec.diagnostics.formats import FORMATS, load

        for name in FORMATS:
            load(name)
    from spec_writer import SpecWriter, edited, soup

    run = _targets(folder)[target]
    known: set[str] = set()

    def one(data: bytes) -> None:
        started, before = time.process_time(), _peak()
        what = trace = ""
        try:
            run(data)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
            what, trace = _kind(error), traceback.format_exc()
        seconds, megabytes = time.process_time() - started, _peak() - before
        if seconds > SLOW:
            what = what or f"slow: {seconds:.0f} s"
        elif megabytes > LARGE:
            what = what or f"large: {megabytes} MB"
        if what and what not in known:
            known.add(what)
            place = folder / "failures" / f"{target}-{hashlib.sha1(data).hexdigest()[:12]}"
            place.with_suffix(".nn").write_bytes(data)
            place.with_suffix(".txt").write_text(f"{what}\n{trace}", encoding="utf-8")
            print(f"FAILURE {what}: {place}.nn", flush=True)

    def mutated(data: bytes, longest: int, seed: int) -> bytes:
        chance = random.Random(seed)
        share = chance.random()
        if share < 0.15:
            return bytes(atheris.Mutate(data, longest))
        text = data.decode("utf-8", "replace")
        if share < 0.18 or not text:
            text = SpecWriter(chance).text()
        elif share < 0.22:
            text = soup(chance, chance.randrange(30))
        return edited(text, chance, 1 + chance.randrange(4)).encode("utf-8", "replace")[:longest]

    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutated)
    atheris.Fuzz()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _kind(error: Exception) -> str:
    """Return what is the same for one fault whatever the input: the exception and where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


# What it starts from


def seeds() -> Iterator[str]:
    """Yield the texts to start from."""
    import hostile_texts
    from spec_writer import SpecWriter

    for path in sorted([*ROOT.glob("specs/**/*.nn"), *ROOT.glob("nnspec/templates/*.nn")]):
        yield path.read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("**/*.md")):
        if ".venv" not in path.parts:
            yield from re.findall(r"^```nn?\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for path in sorted(TESTS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"[={(]", node.value):
                yield node.value
    for name, make in hostile_texts.TEXTS.items():
        if "points" not in name and "lanes" not in name:  # a thousand runs are legal, and slow down all that follows
            yield make(300)
    for seed in range(60):
        yield SpecWriter(random.Random(seed)).text()


def prepare(folder: Path) -> None:
    """Write the corpus, the dictionary, and the files that specs import."""
    from vocabulary import vocabulary

    for name in ("seeds", "failures", *(f"corpus/{target}" for target in TARGETS)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for text in seeds():
        data = text.encode("utf-8", "replace")[:LONGEST_SEED]
        (folder / "seeds" / hashlib.sha1(data).hexdigest()).write_bytes(data)
    words = {word.encode("utf-8") for word in vocabulary()}
    lines = ["".join(f"\\x{byte:02x}" for byte in word) for word in sorted(words)]
    (folder / "words.dict").write_text("".join(f'"{line}"\n' for line in lines), encoding="ascii")
    (folder / "common1.nn").write_text('import "common2.nn"\nlet width0 = 8\nblock Block0(units) { Linear(units) }\n')
    (folder / "common2.nn").write_text("let width0 = 6\nlet act = Tanh\ntrain.epochs = 3\nblock Block1 { act }\n")
    (folder / "a.nn").write_text('import "x.nn"\nimport "b.nn"\nsede = 1\n')
    (folder / "b.nn").write_text("model {\n    Linear(3\n}\n")


# All of them


def run(target: str, seconds: int, folder: Path) -> bool:
    """Fuzz one target for a while, say what came of it, and return whether nothing failed."""
    before = {path.name for path in (folder / "failures").iterdir()}
    arguments = [
        str(folder / "corpus" / target), str(folder / "seeds"), f"-dict={folder / 'words.dict'}",
        f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=60", "-rss_limit_mb=2000", "-len_control=20",
        f"-artifact_prefix={folder / 'failures' / target}-", "-report_slow_units=60", "-print_final_stats=1",
    ]  # fmt: skip
    command = [sys.executable, __file__, "--child", target, "--folder", str(folder), *arguments]
    process = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace", check=False)
    log = process.stdout + process.stderr
    (folder / f"{target}.log").write_text(log, encoding="utf-8")
    coverage = [int(found) for found in re.findall(r"\bcov: (\d+)", log)]
    features = [int(found) for found in re.findall(r"\bft: (\d+)", log)]
    runs = re.search(r"number_of_executed_units: (\d+)", log)
    count = f"{int(runs[1]):,} inputs" if runs else "stopped early"
    print(f"{target}: {count}", end="")
    if coverage:
        print(f", coverage {coverage[0]} → {coverage[-1]}, features {features[0]} → {features[-1]}", end="")
    failures = sorted({path.name for path in (folder / "failures").iterdir()} - before)
    print(f", {len(failures)} failure(s) {failures}" if failures else ", nothing found", flush=True)
    if process.returncode:
        print(log[-2000:])
    return not failures and process.returncode == 0


def main() -> int:
    """Fuzz, or, as a child, one target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=int, default=int(os.environ.get("FUZZ_SECONDS", "60")), help="for all targets"
    )
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "fuzz", help="corpus and failures")
    parser.add_argument("--child", choices=TARGETS, help=argparse.SUPPRESS)
    options, arguments = parser.parse_known_args()
    folder = options.folder.resolve()
    if options.child:
        fuzz(options.child, folder, arguments)
    prepare(folder)
    targets = [options.target] if options.target else [*TARGETS]
    good = [run(target, options.seconds // len(targets), folder) for target in targets]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

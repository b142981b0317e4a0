"""The cache: the same findings from it as without it, and none where anything has changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from findings import BASE
from tiny_spec import ROOT, environment

from nnspec.data.fetch import cache_folder
from nnspec.diagnostics.source import Source
from nnspec.project import cache as module
from nnspec.project.cache import Cache
from nnspec.project.checking import Checker, Outcome
from nnspec.project.stored import Unstorable, pack, unpack

WRONG = BASE.replace("Linear(10)", "Linear(3, 10)").replace("lr=0.1", "learning_rate=0.1") + "“\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a cache of its own, and a few specs."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NNSPEC_CACHE_DIR", str(tmp_path / "cache"))
    (folder / "good.nn").write_text(BASE)
    (folder / "wrong.nn").write_text(WRONG)
    (folder / "common.nn").write_text("loss = CrossEntropy\n")
    (folder / "imports.nn").write_text('import "common.nn"\n' + BASE.replace("loss = CrossEntropy\n", ""))
    (folder / "lost.nn").write_text('import "nowhere.nn"\n' + BASE)
    return folder


def run(name: str, *flags: str, root: str = "root") -> tuple[Outcome, bool]:
    """Check a file as a process of its own would, and say whether the cache knew it."""
    cache = Cache(root, flags)
    outcome = Checker(cache, flags).file(name)
    cache.save()
    return outcome, cache.hits == 1


def shown(outcome: Outcome) -> list[tuple[object, ...]]:
    """Return everything that is said, for comparison."""

    def place(span: Any) -> tuple[object, ...]:
        return span.source.name, span.source.text, span.source.bom, span.source.folder, span.start, span.end

    return [
        (
            d.code,
            d.severity,
            d.message,
            place(d.span),
            d.label,
            [(place(n.span), n.text) for n in d.notes],
            d.remarks,
            d.help,
            d.fix and (d.fix.message, d.fix.safe, [(place(e.span), e.text) for e in d.fix.edits]),
        )
        for d in outcome.diagnostics
    ]


def stored(tmp: Path) -> Path:
    (file,) = (tmp / "cache/check").iterdir()
    return file


@pytest.mark.parametrize("name", ["good.nn", "wrong.nn", "imports.nn", "lost.nn"])
def test_the_second_time_is_the_same_and_from_the_cache(here: Path, name: str) -> None:
    first, hit = run(name)
    assert not hit
    second, hit = run(name)
    assert hit
    assert shown(second) == shown(first)
    assert (second.lanes, second.code, second.name) == (first.lanes, first.code, first.name)


def test_a_byte_order_mark_is_remembered(here: Path) -> None:
    for name in ("wrong.nn", "common.nn"):
        (here / name).write_bytes(b"\xef\xbb\xbf" + (here / name).read_bytes())
    for name in ("wrong.nn", "imports.nn"):
        first, _ = run(name)
        second, hit = run(name)
        assert hit
        assert shown(second) == shown(first)
    assert {d.span.source.bom for d in run("wrong.nn")[0].diagnostics} == {True}


def test_findings_in_flags_and_imports_are_remembered(here: Path) -> None:
    (here / "common.nn").write_text("loss = CrossEntropie\n")
    for name, flags in (("good.nn", ["seed=-1"]), ("good.nn", ["train.epoch=1", "lr", "lr"]), ("imports.nn", [])):
        first, _ = run(name, *flags)
        assert first.diagnostics
        second, hit = run(name, *flags)
        assert hit
        assert shown(second) == shown(first)


# What has changed is read anew


def touch_self(here: Path) -> None:
    (here / "imports.nn").write_text((here / "imports.nn").read_text() + "\n")


def touch_import(here: Path) -> None:
    (here / "common.nn").write_text("loss = MSE\n")


def remove_import(here: Path) -> None:
    (here / "common.nn").unlink()


def spoil_import(here: Path) -> None:
    (here / "common.nn").unlink()
    os.mkfifo(here / "common.nn")


@pytest.mark.parametrize("change", [touch_self, touch_import, remove_import, spoil_import])
def test_a_change_of_the_file_or_an_import_is_seen(here: Path, change: Callable[[Path], None]) -> None:
    run("imports.nn")
    change(here)
    assert not run("imports.nn")[1]


def test_a_pipe_in_the_place_of_an_empty_file_is_seen(here: Path) -> None:
    (here / "empty.nn").write_text("")
    run("empty.nn")
    assert run("empty.nn")[1]
    (here / "empty.nn").unlink()
    os.mkfifo(here / "empty.nn")
    outcome, hit = run("empty.nn")
    assert not hit
    assert [d.code for d in outcome.diagnostics] == ["NN901"]


def test_a_file_that_was_missed_and_comes_is_seen(here: Path) -> None:
    first, _ = run("lost.nn")
    assert [d.code for d in first.diagnostics] == ["NN209"]
    (here / "nowhere.nn").write_text("")
    second, hit = run("lost.nn")
    assert not hit
    assert second.diagnostics == ()


def test_a_suggestion_that_comes_is_seen(here: Path) -> None:
    assert run("lost.nn")[0].diagnostics[0].help == ""
    (here / "nowhare.nn").write_text("")
    second, hit = run("lost.nn")
    assert not hit
    assert second.diagnostics[0].help == 'did you mean `"nowhare.nn"`?'


def test_other_flags_another_folder_and_another_project_are_apart(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("good.nn")
    assert not run("good.nn", "seed=1")[1]
    assert not run("good.nn", "seed=1", "train.epochs=1")[1]
    assert run("good.nn", "seed=1")[1]
    assert run("good.nn")[1]
    assert not run("./good.nn")[1]
    assert not run("good.nn", root="other")[1]
    (here / "inner").mkdir()
    shutil.copy(here / "good.nn", here / "inner/good.nn")
    monkeypatch.chdir(here / "inner")
    assert not run("good.nn")[1]


def test_a_changed_nnspec_or_lark_is_seen(here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run("good.nn")
    package = tmp_path / "package/nnspec"
    (package / "inner/__pycache__").mkdir(parents=True)
    (package / "inner/a.py").write_text("a")
    (tmp_path / "package/grammars").mkdir()
    (tmp_path / "package/grammars/nn.lark").write_text("a")
    monkeypatch.setattr(module, "_PACKAGE", str(package))
    assert not run("good.nn")[1]
    (package / "inner/__pycache__/a.pyc").write_text("a")
    assert run("good.nn")[1]
    for changed in ("nnspec/inner/a.py", "grammars/nn.lark"):
        (tmp_path / "package" / changed).write_text("ab")
        assert not run("good.nn")[1], changed
        assert run("good.nn")[1]
    lark = tmp_path / "lark.py"
    lark.write_text("__version__ = '0'")
    monkeypatch.setattr(module, "find_spec", lambda name: type("Spec", (), {"origin": str(lark)}))
    assert not run("good.nn")[1]


def test_what_is_written_to_while_it_is_checked_is_not_stored(here: Path) -> None:
    cache = Cache("root")
    known = Checker(cache).file("good.nn")
    other = Source("good.nn", "something else")
    cache.store("x.nn", b"something", module.Known(1, known.diagnostics), [other], [])
    assert cache.find("x.nn", b"something") is None


def test_a_refused_import_is_not_stored(here: Path) -> None:
    (here / "out.nn").write_text('import "../out.nn"\n' + BASE)
    for _ in range(2):
        outcome, hit = run("out.nn")
        assert [d.code for d in outcome.diagnostics] == ["NN209"]
        assert not hit


# Whatever lies in its place


def spoiled(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps(change(json.loads(data))).encode()


def entry(number: int, value: Any) -> Callable[[bytes], bytes]:
    def change(document: Any) -> Any:
        (entries,) = document["runs"].values()
        entries["wrong.nn"][number] = value
        return document

    return spoiled(change)


def first_finding(number: int, value: Any) -> Callable[[bytes], bytes]:
    def change(document: Any) -> Any:
        (entries,) = document["runs"].values()
        entries["wrong.nn"][4][0][number] = value
        return document

    return spoiled(change)


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "binary": lambda data: b"\x80\x04\x95" + data,
    "deep": lambda data: b"[" * 100_000,
    "list": lambda data: b"[]",
    "number": lambda data: b"9" * 10_000,
    "stamp": spoiled(lambda d: {**d, "stamp": "other"}),
    "root": spoiled(lambda d: {**d, "root": "other"}),
    "runs": spoiled(lambda d: {**d, "runs": []}),
    "no runs": spoiled(lambda d: {k: v for k, v in d.items() if k != "runs"}),
    "entries": spoiled(lambda d: {**d, "runs": dict.fromkeys(d["runs"], 0)}),
    "entry": spoiled(lambda d: {**d, "runs": {k: {n: [1] for n in v} for k, v in d["runs"].items()}}),
    "digest": entry(0, "0"),
    "lanes": entry(1, "3"),
    "imports": entry(2, [["/dev/zero", "x", "y"]]),
    "imports number": entry(2, 3),
    "imports short": entry(2, [["x"]]),
    "import number": entry(2, [[1, "x", "y"]]),
    "missing": entry(3, [[1, 2]]),
    "findings": entry(4, "x"),
    "finding short": entry(4, [["NN101"]]),
    "code": first_finding(0, "NN000"),
    "code number": first_finding(0, 7),
    "severity": first_finding(1, 2),
    "severity list": first_finding(1, []),
    "message": first_finding(2, None),
    "span text": first_finding(3, "x"),
    "span far": first_finding(3, [0, 0, 10**9]),
    "span back": first_finding(3, [0, 5, 1]),
    "span before": first_finding(3, [0, -5, 1]),
    "span source": first_finding(3, [9, 0, 1]),
    "span source before": first_finding(3, [-1, 0, 1]),
    "span float": first_finding(3, [0, 0.0, 1]),
    "notes": first_finding(5, [[[0, 0, 1]]]),
    "remarks": first_finding(6, [1]),
    "help": first_finding(7, 0),
    "fix": first_finding(8, []),
    "fix edits": first_finding(8, ["m", [[[0, 0, 1], 4]], True]),
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_cache_is_passed_over_and_replaced(
    here: Path, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    first, _ = run("wrong.nn")
    file = stored(tmp_path)
    file.write_bytes(spoil(file.read_bytes()))
    second, hit = run("wrong.nn")
    assert not hit
    assert shown(second) == shown(first)
    third, hit = run("wrong.nn")
    assert hit
    assert shown(third) == shown(first)


def test_a_pipe_or_a_folder_in_its_place_does_no_harm(here: Path, tmp_path: Path) -> None:
    run("good.nn")
    file = stored(tmp_path)
    file.unlink()
    os.mkfifo(file)
    assert not run("good.nn")[1]
    assert run("good.nn")[1]  # a pipe is replaced
    file.unlink()
    file.mkdir()
    assert not run("good.nn")[1]
    assert not run("good.nn")[1]


def test_a_folder_that_cannot_be_written_is_silent(here: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "cache").write_text("a file")
    assert run("good.nn")[0].lanes == 1
    assert capsys.readouterr() == ("", "")


def test_the_day_of_an_entry_is_kept_fresh_and_old_ones_go(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()

    def later(days: int) -> None:
        monkeypatch.setattr(time, "time", lambda: now + days * 86_400)

    run("good.nn")
    run("wrong.nn")
    before = stored(tmp_path).read_bytes()
    later(3)
    assert run("good.nn")[1]
    assert stored(tmp_path).read_bytes() == before  # not worth writing
    later(20)
    assert run("good.nn")[1]
    later(40)
    run("imports.nn")
    (entries,) = json.loads(stored(tmp_path).read_bytes())["runs"].values()
    assert set(entries) == {"good.nn", "imports.nn"}


def test_its_size_is_bounded(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    for name in ("good.nn", "wrong.nn", "imports.nn"):
        run(name)
    (entries,) = json.loads(stored(tmp_path).read_bytes())["runs"].values()
    assert len(entries) == 2


def test_caches_of_old_projects_and_leftovers_go(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PROJECTS", 2)
    folder = tmp_path / "cache/check"
    folder.mkdir(parents=True)
    (folder / "mine.json").write_text("not ours")
    leftover = folder / f".{'0' * 32}.json.abc.part"
    leftover.write_text("")
    os.utime(leftover, (0, 0))
    for age, root in enumerate(("a", "b", "c")):
        run("good.nn", root=root)
        for file in folder.glob("?" * 32 + ".json"):
            os.utime(file, (file.stat().st_mtime - 10 - age,) * 2)
    left = sorted(path.name for path in folder.iterdir())
    assert len(left) == 3
    assert "mine.json" in left
    assert run("good.nn", root="c")[1]
    assert not run("good.nn", root="a")[1]


def test_two_at_once_leave_a_whole_cache(here: Path, tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work(names: list[str]) -> None:
        try:
            for _ in range(10):
                for name in names:
                    cache = Cache("root")
                    Checker(cache).file(name)
                    cache._changed = True
                    cache.save()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(names,)) for names in (["good.nn"], ["wrong.nn"])]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for file in (tmp_path / "cache").rglob("*.json"):
            assert set(json.loads(file.read_bytes())) == {"stamp", "root", "runs"}
    assert errors == []
    assert [path.name.startswith(".") for path in (tmp_path / "cache/check").iterdir()] == [False]


def test_where_it_lies(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NNSPEC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run("good.nn")
    (file,) = [path for path in tmp_path.rglob("*.json") if "here" not in path.parts]
    assert file.parent == cache_folder("x").parents[1] / "check"
    monkeypatch.setenv("NNSPEC_CACHE_DIR", str(tmp_path / "named"))
    run("good.nn")
    (file,) = (tmp_path / "named").rglob("*.json")
    assert file.parent == cache_folder("x").parents[1] / "check"


def test_without_a_cache_nothing_is_read_or_written(here: Path, tmp_path: Path) -> None:
    for _ in range(2):
        cache = Cache("root", enabled=False)
        Checker(cache).file("good.nn")
        cache.save()
        assert cache.hits == 0
    assert not (tmp_path / "cache").exists()


def test_findings_about_other_texts_cannot_be_stored() -> None:
    def refuse(source: Source) -> int:
        raise Unstorable

    with pytest.raises(Unstorable):
        pack(Checker(Cache("root", enabled=False)).text(Source("x.nn", "“")).diagnostics, refuse)
    with pytest.raises(Unstorable):
        unpack("x", [])


BUDGET = ["lark", "numpy", "tomllib", "rich", "nnspec.api", "nnspec.checker", "nnspec.syntax"]


@pytest.mark.parametrize("form", ["full", "json", "concise", "github", "sarif"])
def test_a_hit_imports_next_to_nothing_and_says_the_same(here: Path, tmp_path: Path, form: str) -> None:
    (here / ".gitignore").write_text("build/\n*.tmp\n")
    program = (
        "import sys; from nnspec.cli import _code\n"
        f"code = _code(['check', '.', 'nowhere.nn', '--format', {form!r}])\n"
        f"print([m for m in {BUDGET!r} if m in sys.modules], code, file=sys.stderr)"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-P", "-c", program],
            env=environment(tmp_path, NNSPEC_CACHE_DIR=str(tmp_path / "cache")),
            cwd=here,
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
        for _ in range(2)
    )
    assert first.stdout == second.stdout
    assert "'nnspec.checker'" in first.stderr.splitlines()[-1]
    assert second.stderr.splitlines()[-1] == "[] 2"
    assert (ROOT / "nnspec").is_dir()

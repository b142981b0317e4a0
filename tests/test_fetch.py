"""Fetching, from servers on the loopback interface: good ones, and those that lie, stall, or are not there."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import socket
import threading
from urllib.request import OpenerDirector

import pytest
from tiny_idx import CONTENTS, FILES, NAMES
from tiny_mirror import FIRST, GOOD, serving

from nnspec.data import DataError, DataUnavailable
from nnspec.data.fetch import Patience, cache_folder, fetch_files, parse_mirrors

BODY = GOOD[FIRST]
BRIEF = Patience(answer=0.3, silence=0.3)


@pytest.fixture
def mirror(monkeypatch):
    """Start a mirror: `mirror({path: answer, ...})`."""
    monkeypatch.setenv("no_proxy", "*")
    with contextlib.ExitStack() as running:
        yield lambda routes=GOOD: running.enter_context(serving(routes))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "tiny"


@pytest.fixture
def nobody(monkeypatch):
    """An address without a server."""
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    return f"http://127.0.0.1:{port}/"


@pytest.fixture
def opened(monkeypatch):
    """Every answer that is opened, kept so that it is not closed merely by being forgotten."""
    answers = []
    really = OpenerDirector.open

    def remember(*args, **kwargs):
        answers.append(really(*args, **kwargs))
        return answers[-1]

    monkeypatch.setattr(OpenerDirector, "open", remember)
    return answers


def get(cache, *mirrors, files=FILES[:1], **more):
    urls = [mirror if isinstance(mirror, str) else mirror.url for mirror in mirrors]
    return fetch_files(files, cache, urls, source="Tiny", **more)


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def short_of_what_it_said(answer):
    answer.head(len(BODY))
    answer.wfile.write(BODY[:-9])


def short_and_did_not_say(answer):
    answer.head(None)
    answer.wfile.write(BODY[:-9])


def silent(answer):
    answer.server.over.wait(30)


def stalling(answer):
    answer.head(len(BODY))
    answer.wfile.write(BODY[:20])
    answer.server.over.wait(30)


def dripping(answer):
    answer.head(len(BODY))
    for position in range(len(BODY)):
        answer.wfile.write(BODY[position : position + 1])
        answer.wfile.flush()
        if answer.server.over.wait(0.05):
            return


def dripping_its_head(answer):
    answer.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not answer.server.over.wait(0.05):
        answer.wfile.write(b"x")


def long_and_says_so(answer):
    answer.head(10**12)
    answer.server.over.wait(30)


def endless(answer):
    answer.head(None)
    answer.wfile.write(BODY)
    while not answer.server.over.is_set():
        answer.wfile.write(bytes(1000))


def not_http(answer):
    answer.wfile.write(b"SSH-2.0 \x1b[31m" + b"x" * 500 + b"\r\n")


def to_a_file(answer):
    answer.head(0, 302, Location="file:///etc/passwd")


def to_ftp(answer):
    answer.head(0, 302, Location="ftp://127.0.0.1/x")


def round_in_circles(answer):
    answer.head(0, 302, Location=FIRST)


BAD = {
    "wrong hash": (gzip.compress(CONTENTS[0][:-1] + b"?"), "the file it gives is not the expected file: its SHA-256"),
    "another file": (
        GOOD[f"/{NAMES[1]}.gz"],
        "holds 12 numbers of type uint8, but must contain 12 × 4 × 3 of type uint8",
    ),
    "not gzipped": (CONTENTS[0], "is not an intact gzip file: Not a gzipped file"),
    "a web page": (b"<html>Log in to this network</html>", "is not an intact gzip file: Not a gzipped file"),
    "nothing": (b"", "is empty"),
    "cut short": (short_of_what_it_said, f"it sent an incomplete file: {len(BODY) - 9} of {len(BODY)} bytes"),
    "cut short, length not given": (short_and_did_not_say, "is truncated: its compressed data ends early"),
    "404": (404, "it returned HTTP 404"),
    "500": (500, "it returned HTTP 500"),
    "silent": (silent, "no answer within 0.3 s"),
    "stalling": (stalling, "it stalled for 0.3 s"),
    "dripping its head": (dripping_its_head, "no answer within 0.3 s"),
    "too long": (bytes(5000), "its file is too long: 5,000 bytes, 1,184 at most"),
    "too long by far": (long_and_says_so, "its file is too long: 1,000,000,000,000 bytes"),
    "endless": (endless, r"is not an intact gzip file|its file is too long: "),
    "not HTTP": (not_http, "it cannot be reached: SSH-2.0 \\[31mx{108}\\n"),
    "redirect to a file": (to_a_file, "it returned HTTP 302"),
    "redirect to ftp": (to_ftp, "it cannot be reached: unknown url type: ftp"),
    "redirect to itself": (round_in_circles, "it returned HTTP 302"),
}


def test_good_mirror(mirror, cache):
    server = mirror()
    assert get(cache, server, files=FILES) == dict.fromkeys(NAMES, f"{server.url}/")
    assert listing(cache) == sorted(NAMES)
    for name, content in zip(NAMES, CONTENTS, strict=True):
        assert (cache / name).read_bytes() == content
    assert server.asked == list(GOOD)


def test_length_not_given(mirror, cache):
    def answer(handler):
        handler.head(None)
        handler.wfile.write(BODY)

    get(cache, mirror({FIRST: answer}))
    assert (cache / NAMES[0]).read_bytes() == CONTENTS[0]


def test_server_that_does_not_hang_up(mirror, cache):
    """The body's end is where its length says, even if the connection stays open."""

    def answer(handler):
        handler.head(len(BODY))
        handler.wfile.write(BODY)
        handler.wfile.flush()
        handler.server.over.wait(30)

    get(cache, mirror({FIRST: answer}), patience=BRIEF)
    assert (cache / NAMES[0]).read_bytes() == CONTENTS[0]


def test_redirect(mirror, cache):
    target = mirror()
    server = mirror({FIRST: lambda answer: answer.head(0, 302, Location=target.url + FIRST)})
    get(cache, server)
    assert (cache / NAMES[0]).read_bytes() == CONTENTS[0]


@pytest.mark.parametrize(("route", "reason"), BAD.values(), ids=BAD)
def test_bad_mirror(mirror, cache, route, reason):
    server = mirror({FIRST: route})
    with pytest.raises(DataUnavailable, match=reason) as raised:
        get(cache, server, patience=BRIEF)
    lines = str(raised.value).splitlines()
    assert lines[0] == f"Tiny cannot be downloaded: no mirror provided {NAMES[0]}.gz"
    assert lines[1].startswith(f"  {server.url}/: ")
    assert len(lines) == 3
    for way in ("`nnspec data fetch Tiny`", "`--data-dir`", "NNSPEC_DATA_DIR", "or Digits("):
        assert way in lines[2]
    assert listing(cache) == []


@pytest.mark.parametrize(("route", "reason"), BAD.values(), ids=BAD)
def test_bad_mirror_then_good_one(mirror, cache, route, reason):
    bad, good = mirror({FIRST: route}), mirror()
    assert get(cache, bad, good, patience=BRIEF) == {NAMES[0]: f"{good.url}/"}
    assert (cache / NAMES[0]).read_bytes() == CONTENTS[0]
    assert bad.asked
    assert listing(cache) == [NAMES[0]]


def test_dripping_body(mirror, cache):
    """Each drop comes in time; the whole would take for ever."""
    patience = Patience(answer=5, silence=5, grace=0.3, bytes_per_second=1000)
    server = mirror({FIRST: dripping})
    with pytest.raises(DataUnavailable, match=r"too slow: \d+ bytes in "):
        get(cache, server, patience=patience)
    assert listing(cache) == []


def test_no_server_is_listening(nobody, cache):
    with pytest.raises(DataUnavailable, match=f"{nobody}: it cannot be reached: .*refused"):
        get(cache, nobody)


def test_every_mirror_has_its_line(mirror, nobody, cache):
    missing, wrong = mirror({}), mirror({FIRST: BAD["wrong hash"][0]})
    with pytest.raises(DataUnavailable) as raised:
        get(cache, nobody, missing, wrong)
    lines = str(raised.value).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == [f"{nobody}:", f"{missing.url}/:", f"{wrong.url}/:"]
    assert "refused" in lines[1]
    assert "HTTP 404" in lines[2]
    assert "SHA-256" in lines[3]


def test_name_that_does_not_resolve(monkeypatch, cache):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DataUnavailable, match="it cannot be reached: its name cannot be resolved"):
        get(cache, "http://mirror.test/")


def test_name_server_that_does_not_answer(mirror, monkeypatch, cache, opened):
    """Nobody waits for it, and what comes too late is closed."""
    server = mirror()
    answered = threading.Event()
    resolve = socket.getaddrinfo

    def slow(*args, **kwargs):
        answered.wait(30)
        return resolve(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(DataUnavailable, match=r"no answer within 0\.3 s"):
        get(cache, server, patience=BRIEF)
    answered.set()
    for thread in threading.enumerate():
        if thread.name == "nnspec-fetch":
            thread.join(20)
    assert server.asked == [FIRST]
    assert [answer.isclosed() for answer in opened] == [True]


@pytest.mark.parametrize("route", [BODY, BAD["wrong hash"][0], bytes(5000), short_of_what_it_said, stalling])
def test_answers_are_closed(mirror, cache, opened, route):
    with contextlib.suppress(DataUnavailable):
        get(cache, mirror({FIRST: route}), patience=BRIEF)
    assert [answer.isclosed() for answer in opened] == [True]


def test_name_that_is_none(cache, monkeypatch):
    """A host name that cannot even be written into a query raises what no other failure does, a ValueError."""
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(DataUnavailable, match=r"http://a\.\.b/: it cannot be reached: .*label"):
        get(cache, "http://a..b/")


def test_mirror_that_does_not_answer_is_asked_once(mirror, cache):
    dead, good = mirror(dict.fromkeys(GOOD, silent)), mirror()
    get(cache, dead, good, files=FILES, patience=BRIEF)
    assert dead.asked == [FIRST]
    assert good.asked == list(GOOD)


def test_mirror_that_lacks_a_file_is_asked_for_the_others(mirror, cache):
    partial, good = mirror({**GOOD, FIRST: 404}), mirror()
    given = get(cache, partial, good, files=FILES)
    assert list(given.values()) == [f"{good.url}/", *[f"{partial.url}/"] * 3]


def test_files_that_came_before_a_failure_stay(mirror, cache):
    server = mirror({path: body for path, body in GOOD.items() if path != f"/{NAMES[2]}.gz"})
    with pytest.raises(DataUnavailable, match=f"no mirror provided {NAMES[2]}.gz"):
        get(cache, server, files=FILES)
    assert listing(cache) == sorted(NAMES[:2])


def test_report(mirror, cache):
    seen = []
    get(cache, mirror(), files=FILES[:2], report=lambda *now: seen.append(now))
    for path in list(GOOD)[:2]:
        size = len(GOOD[path])
        mine = [now for now in seen if now[0] == path[1:]]
        assert mine[-1] == (path[1:], size, size)
        assert [now[1] for now in mine] == sorted(now[1] for now in mine)
    assert len({now[0] for now in seen}) == 2


def test_body_in_pieces(mirror, cache):
    def answer(handler):
        handler.head(len(BODY))
        for begin in range(0, len(BODY), 50):
            handler.wfile.write(BODY[begin : begin + 50])
            handler.wfile.flush()
            handler.server.over.wait(0.05)

    seen = []
    get(cache, mirror({FIRST: answer}), report=lambda *now: seen.append(now))
    assert (cache / NAMES[0]).read_bytes() == CONTENTS[0]
    assert len(seen) > 1
    assert seen[-1] == (FIRST[1:], len(BODY), len(BODY))
    assert [now[1] for now in seen] == sorted({now[1] for now in seen})


def test_old_file_is_replaced_or_kept_whole(mirror, cache):
    cache.mkdir(parents=True)
    (cache / NAMES[0]).write_bytes(b"old")
    with pytest.raises(DataUnavailable):
        get(cache, mirror({FIRST: BAD["wrong hash"][0]}))
    assert (cache / NAMES[0]).read_bytes() == b"old"
    get(cache, mirror())
    assert (cache / NAMES[0]).read_bytes() == CONTENTS[0]


def test_interrupt_while_receiving(mirror, cache):
    def interrupt(*now):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(cache, mirror(), report=interrupt)
    assert listing(cache) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_interrupt_while_writing(mirror, cache, monkeypatch, call):
    def interrupt(*args):
        assert any(name.endswith(".part") for name in listing(cache))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, call, interrupt)
    with pytest.raises(KeyboardInterrupt):
        get(cache, mirror())
    assert listing(cache) == []


def test_file_is_on_disk_before_it_gets_its_name(mirror, cache, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("replace"), replace(*names)))
    get(cache, mirror())
    assert calls == ["fsync", "replace"]


def test_full_disk(mirror, cache, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataUnavailable, match=r"in the cache cannot be written to \(No space left"):
        get(cache, mirror())
    assert listing(cache) == []


def test_unwritable_cache_is_noticed_before_anything_is_asked(mirror, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    server = mirror()
    with pytest.raises(DataUnavailable, match="cannot be written to") as raised:
        get(tmp_path / "cache" / "tiny", server)
    assert "--data-dir" in str(raised.value)
    assert str(tmp_path / "cache" / "tiny") in str(raised.value)
    assert server.asked == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_cache(mirror, cache):
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    server = mirror()
    with pytest.raises(DataUnavailable, match="Permission denied"):
        get(cache, server)
    assert server.asked == []


def test_folder_under_a_files_name(mirror, cache):
    (cache / NAMES[0]).mkdir(parents=True)
    with pytest.raises(DataUnavailable, match=f"{NAMES[0]} in the cache cannot be written to"):
        get(cache, mirror())
    assert listing(cache) == [NAMES[0]]


def test_mirrors_from_the_environment():
    assert parse_mirrors(" http://a/x  https://b:8080/ ", "V") == ("http://a/x", "https://b:8080/")
    assert parse_mirrors("", "V") == ()


@pytest.mark.parametrize("text", ["ftp://a/", "file:///etc/", "a/b", "http://", "http://[", "http://a file:///"])
def test_mirrors_must_be_urls(text):
    with pytest.raises(DataError, match=r"V: '.*' is not a URL that starts with http:// or https://"):
        parse_mirrors(text, "V")


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname == "Darwin", reason="XDG is for Linux and its kin")
def test_cache_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("mnist") == tmp_path / "nnspec" / "data" / "mnist"

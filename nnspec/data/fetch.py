"""Fetching the files of a data set: mirrors in order, each file verified before it gets its name.

Nothing here waits for long. A mirror that cannot be reached, or stalls, is not asked a second time; one that answers
with the wrong thing is passed over for that file only. Every wait has an end, name resolution and a slow drip included.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nnspec.data.idx import IdxFile, read_verified, unpacked
from nnspec.data.source import DataError, DataUnavailable, FileFault

if TYPE_CHECKING:
    from http.client import HTTPResponse

__all__ = ["Patience", "cache_folder", "fetch_files", "parse_mirrors", "ways_out"]

Report = Callable[[str, int, "int | None"], None]


@dataclass(frozen=True)
class Patience:
    """How long a mirror may take, in seconds."""

    answer: float = 5.0
    """From asking to the headers of the answer: resolving the name, connecting, redirects."""
    silence: float = 5.0
    """Between one piece of the file and the next."""
    grace: float = 15.0
    """After that long, a file must have come at `bytes_per_second` on average."""
    bytes_per_second: float = 10_000


class _MirrorError(Exception):
    """Why a mirror did not give a file; `gone` where it need not be asked for another one."""

    def __init__(self, reason: str, *, gone: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone


def cache_folder(name: str) -> Path:
    """Return the folder for fetched data called `name`, which need not exist.

    It lies in NNSPEC_CACHE_DIR where that is set, else in the user's cache folder, which follows XDG_CACHE_HOME.
    """
    import platformdirs

    named = os.environ.get("NNSPEC_CACHE_DIR")
    return (Path(named) if named else platformdirs.user_cache_path("nnspec", appauthor=False)) / "data" / name


def parse_mirrors(text: str, variable: str) -> tuple[str, ...]:
    """Read base addresses, separated by white space, from an environment variable's text.

    Raises `DataError` for what is not an http or https address.
    """
    from urllib.parse import urlsplit

    mirrors = tuple(text.split())
    for mirror in mirrors:
        try:
            parts = urlsplit(mirror)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            usable = False
        if not usable:
            raise DataError(f"{variable}: {mirror!r} is not an address that begins with http:// or https://")
    return mirrors


def ways_out(source: str) -> str:
    """Say how to get at the data of `source` when it cannot be fetched."""
    return (
        f"Run `nnspec data fetch {source}` where there is a network, or name a folder that holds the files with "
        f"`--data-dir` or NNSPEC_DATA_DIR, or write `{source}(...) or Digits(...)` in the spec."
    )


def fetch_files(
    files: Iterable[IdxFile],
    folder: Path,
    mirrors: Iterable[str],
    *,
    source: str,
    report: Report | None = None,
    patience: Patience = Patience(),
) -> dict[str, str]:
    """Fetch files (`name.gz` on the mirrors) into a folder, uncompressed, and replace what is there.

    A file is in the folder either whole and verified (size and SHA-256) or not at all, also after an interrupt.

    Returns:
        file name to the mirror that gave it.

    Raises:
        DataUnavailable: no mirror gave one of the files, or the folder cannot be written to.
    """
    mirrors = tuple(mirror.rstrip("/") + "/" for mirror in mirrors)
    _prepare(folder, source)
    gone: dict[str, str] = {}
    given: dict[str, str] = {}
    for file in files:
        reasons: dict[str, str] = {}
        for mirror in mirrors:
            if mirror in gone:
                reasons[mirror] = gone[mirror]
                continue
            try:
                content = _download(mirror, file, report, patience)
            except _MirrorError as failure:
                reasons[mirror] = str(failure)
                if failure.gone:
                    gone[mirror] = str(failure)
                continue
            _write(folder / file.name, content, source)
            given[file.name] = mirror
            break
        else:
            lines = "".join(f"\n  {mirror}: {reason}" for mirror, reason in reasons.items())
            raise DataUnavailable(
                f"{source} cannot be fetched: no mirror gave {file.name}.gz{lines}\n{ways_out(source)}"
            )
    return given


def _download(mirror: str, file: IdxFile, report: Report | None, patience: Patience) -> bytearray:
    """Return the file's uncompressed bytes, verified. Raises `_MirrorError`."""
    with _ask(f"{mirror}{file.name}.gz", patience) as response:
        body = _Body(response, file, report, patience)
        try:
            name = "the file it gives"
            with unpacked(io.BufferedReader(body, 1 << 16), name, gzipped=True) as stream:
                return read_verified(stream, file, file.nbytes, name)
        except FileFault as fault:
            raise _MirrorError(fault.message) from None


def _ask(address: str, patience: Patience) -> HTTPResponse:
    """Send the request and wait for the headers. Raises `_MirrorError`."""
    import urllib.error
    from http.client import HTTPException

    try:
        response = _open(address, patience)
    except urllib.error.HTTPError as error:
        error.close()
        raise _MirrorError(f"it answers HTTP {error.code}") from None
    except TimeoutError:
        raise _MirrorError(f"no answer within {patience.answer:g} s", gone=True) from None
    except (OSError, HTTPException, ValueError) as error:
        raise _MirrorError(f"it cannot be reached: {_in_words(error)}", gone=True) from None
    return response


def _open(address: str, patience: Patience) -> HTTPResponse:
    # A socket's timeout bounds one step on one of a host's addresses, and name resolution has none that Python could
    # set. Only a thread that can be left behind puts an end to all of it together.
    import urllib.error
    import urllib.request
    from concurrent.futures import Future
    from http.client import HTTPException
    from threading import Thread

    # Not `build_opener`: it also opens file: and ftp: addresses, and a redirect may lead to ftp.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    opener.addheaders = [("User-Agent", "nnspec")]
    future: Future[HTTPResponse] = Future()

    def work() -> None:
        try:
            response = cast("HTTPResponse", opener.open(address, timeout=patience.silence))
        except (OSError, HTTPException, ValueError) as error:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
            elif isinstance(error, urllib.error.HTTPError):
                error.close()
        else:
            if future.set_running_or_notify_cancel():
                future.set_result(response)
            else:
                response.close()

    Thread(target=work, name="nnspec-fetch", daemon=True).start()
    try:
        return future.result(patience.answer)
    finally:
        future.cancel()  # does nothing when it is done; otherwise the thread closes what comes too late


class _Body(io.RawIOBase):
    """The body of an answer, with its limits: length, silence, speed. Raises `_MirrorError`."""

    def __init__(self, response: HTTPResponse, file: IdxFile, report: Report | None, patience: Patience) -> None:
        self._response = response
        self._file = file
        self._report = report
        self._patience = patience
        self._begun = time.monotonic()
        self._received = 0
        self._total = response.length
        if self._total is not None and self._total > file.most_bytes:
            raise self._too_long(self._total)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io calls it with a memoryview
        piece = self._next(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def _next(self, size: int) -> bytes:
        from http.client import HTTPException

        if self._received == self._total:
            # A server that keeps the connection open would let the next read wait for nothing.
            return b""
        elapsed = time.monotonic() - self._begun
        if elapsed > self._patience.grace and self._received < elapsed * self._patience.bytes_per_second:
            raise _MirrorError(f"too slow: {self._received:,} bytes in {elapsed:.0f} s", gone=True)
        try:
            # `read` would go on until `size` bytes are there, one drop at a time if need be; `read1` takes what comes.
            piece = self._response.read1(size if self._total is None else min(size, self._total - self._received))
        except TimeoutError:
            raise _MirrorError(f"it stalled for {self._patience.silence:g} s", gone=True) from None
        except (OSError, HTTPException, ValueError) as error:
            raise _MirrorError(f"the transfer broke off: {_in_words(error)}") from None
        if not piece and self._total is not None:
            raise _MirrorError(f"it cut the file short: {self._received:,} of {self._total:,} bytes")
        self._received += len(piece)
        if self._received > self._file.most_bytes:
            raise self._too_long(self._received)
        if self._report:
            self._report(f"{self._file.name}.gz", self._received, self._total)
        return piece

    def _too_long(self, length: int) -> _MirrorError:
        return _MirrorError(f"the file it gives is too long: {length:,} bytes, and {self._file.most_bytes:,} at most")


def _in_words(error: BaseException) -> str:
    """Say why a connection failed, without errno and class names."""
    from socket import gaierror

    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, BaseException) else error
    if isinstance(cause, gaierror):
        return "its name cannot be resolved"
    text = getattr(cause, "strerror", None) or str(reason or cause) or type(cause).__name__
    # A server may have written this: it gets one line of the terminal, and no control over it.
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:120]


def _prepare(folder: Path, source: str) -> None:
    """Find out whether the folder can be written to before anything is fetched. Raises `DataUnavailable`."""
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise _unwritable(folder, source, error) from None


def _write(path: Path, content: bytearray, source: str) -> None:
    """Write a file so that it is there whole or not at all. Raises `DataUnavailable`."""
    from nnspec.files import atomic

    try:
        with atomic(path) as stream:
            stream.write(content)
    except OSError as error:
        raise _unwritable(path, source, error) from None


def _unwritable(path: Path, source: str, error: OSError) -> DataUnavailable:
    return DataUnavailable(
        f"{source} cannot be fetched: {path} in the cache cannot be written to ({error.strerror or error})\n"
        f"Clear the way, or set XDG_CACHE_HOME to another folder. {ways_out(source)}"
    )

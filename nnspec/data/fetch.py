"""Downloading the files of a data set: mirrors are tried in order, and each file is verified before it gets its name.

A mirror that cannot be reached, or that stalls, is tried only once; one that sends a wrong file is skipped for that
file alone. Every wait has a limit, including name resolution and a transfer that trickles.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nnspec.data.idx import IdxFile, read_verified, unpacked
from nnspec.data.source import DataError, DataUnavailable, FileFault
from nnspec.files import atomic

if TYPE_CHECKING:
    from http.client import HTTPResponse

__all__ = ["Patience", "cache_folder", "fetch_files", "parse_mirrors", "ways_out"]

Report = Callable[[str, int, "int | None"], None]


@dataclass(frozen=True)
class Patience:
    """How long a mirror may take, in seconds."""

    answer: float = 5.0
    """From the request to the headers of the answer: resolving the name, connecting, redirects."""
    silence: float = 5.0
    """Between one piece of the file and the next."""
    grace: float = 15.0
    """After that long, a file must have come at `bytes_per_second` on average."""
    bytes_per_second: float = 10_000


class _MirrorError(Exception):
    """Why a mirror did not provide a file; `gone` if it need not be tried for other files."""

    def __init__(self, reason: str, *, gone: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone


def cache_folder(name: str) -> Path:
    """Return the folder for downloads of the data set `name`, which may not exist yet.

    It is in NNSPEC_CACHE_DIR if that is set, otherwise in the user's cache folder, which follows XDG_CACHE_HOME.
    """
    import platformdirs

    named = os.environ.get("NNSPEC_CACHE_DIR")
    return (Path(named) if named else platformdirs.user_cache_path("nnspec", appauthor=False)) / "data" / name


def parse_mirrors(text: str, variable: str) -> tuple[str, ...]:
    """Read base addresses, separated by white space, from an environment variable's text.

    Raises `DataError` for anything but http and https addresses.
    """
    from urllib.parse import urlsplit

    for mirror in text.split():
        try:
            parts = urlsplit(mirror)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            usable = False
        if not usable:
            raise DataError(f"{variable}: {mirror!r} is not a URL that starts with http:// or https://")
    return tuple(text.split())


def ways_out(source: str) -> str:
    """Return help on how to get the data of `source` when it cannot be downloaded."""
    return (
        f"Run `nnspec data fetch {source}` with network access, or name a folder with the files with "
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
    """Download files (`name.gz` on the mirrors) into a folder, uncompressed, replacing existing ones.

    A file is either complete and verified (size and SHA-256) or not in the folder at all, even after an interrupt.

    Returns:
        the mirror that provided each file, by file name.

    Raises:
        DataUnavailable: no mirror provides one of the files, or the folder cannot be written to.
    """
    import tempfile

    mirrors = tuple(mirror.rstrip("/") + "/" for mirror in mirrors)
    with _writing(folder, source):  # before any request
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    gone: dict[str, str] = {}
    given: dict[str, str] = {}
    for file in files:
        reasons: list[str] = []
        for mirror in mirrors:
            try:
                if mirror in gone:
                    raise _MirrorError(gone[mirror])
                content = _download(mirror, file, report, patience)
            except _MirrorError as failure:
                reasons.append(f"\n  {mirror}: {failure}")
                if failure.gone:
                    gone[mirror] = str(failure)
                continue
            with _writing(folder / file.name, source), atomic(folder / file.name) as stream:
                stream.write(content)
            given[file.name] = mirror
            break
        else:
            what = f"no mirror provided {file.name}.gz{''.join(reasons)}"
            raise DataUnavailable(f"{source} cannot be downloaded: {what}\n{ways_out(source)}")
    return given


@contextmanager
def _writing(path: Path, source: str) -> Iterator[None]:
    """Within, an OSError means that the cache cannot be written to."""
    try:
        yield
    except OSError as error:
        raise DataUnavailable(
            f"{source} cannot be downloaded: {path} in the cache cannot be written to ({error.strerror or error})\n"
            f"Make it writable, or set XDG_CACHE_HOME to another folder. {ways_out(source)}"
        ) from None


def _download(mirror: str, file: IdxFile, report: Report | None, patience: Patience) -> bytearray:
    """Return the file's uncompressed bytes, verified. Raises `_MirrorError`."""
    with _ask(f"{mirror}{file.name}.gz", patience) as response:
        body = _receive(response, file, report, patience)
    try:
        with unpacked(io.BytesIO(body), "the file it gives", gzipped=True) as stream:
            return read_verified(stream, file, file.nbytes, "the file it gives")
    except FileFault as fault:
        raise _MirrorError(fault.message) from None


def _ask(address: str, patience: Patience) -> HTTPResponse:
    """Send the request and wait for the headers. Raises `_MirrorError`."""
    # A socket's timeout applies to each step and each address of a host, and name resolution has no timeout in Python.
    # Only a thread that can be abandoned limits all of it together.
    import urllib.error
    import urllib.request
    from concurrent.futures import Future
    from http.client import HTTPException
    from threading import Thread

    opener = urllib.request.OpenerDirector()  # `build_opener` would follow redirects to file: and ftp:
    for name in ("Proxy", "Unknown", "HTTP", "HTTPS", "HTTPDefaultError", "HTTPRedirect"):
        opener.add_handler(getattr(urllib.request, f"{name}Handler")())
    opener.add_handler(urllib.request.HTTPErrorProcessor())
    opener.addheaders = [("User-Agent", "nnspec")]
    future: Future[HTTPResponse] = Future()

    def work() -> None:
        try:
            response = cast("HTTPResponse", opener.open(address, timeout=patience.silence))
        except Exception as error:  # noqa: BLE001  (passed on to the caller)
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        else:
            if future.set_running_or_notify_cancel():
                future.set_result(response)
            else:
                response.close()  # too late

    Thread(target=work, name="nnspec-fetch", daemon=True).start()
    try:
        return future.result(patience.answer)
    except urllib.error.HTTPError as error:
        error.close()
        raise _MirrorError(f"it returned HTTP {error.code}") from None
    except TimeoutError:
        raise _MirrorError(f"no answer within {patience.answer:g} s", gone=True) from None
    except (OSError, HTTPException, ValueError) as error:
        raise _MirrorError(f"it cannot be reached: {_in_words(error)}", gone=True) from None
    finally:
        future.cancel()  # has no effect once there is an answer


def _receive(response: HTTPResponse, file: IdxFile, report: Report | None, patience: Patience) -> bytearray:
    """Return the body of an answer, within limits: length, silence, speed. Raises `_MirrorError`."""
    from http.client import HTTPException

    body, total, begun = bytearray(), response.length, time.monotonic()
    while (length := max(len(body), total or 0)) <= file.most_bytes:
        if len(body) == total:  # the server may keep the connection open
            return body
        elapsed = time.monotonic() - begun
        if elapsed > patience.grace and len(body) < elapsed * patience.bytes_per_second:
            raise _MirrorError(f"too slow: {len(body):,} bytes in {elapsed:.0f} s", gone=True)
        try:
            piece = response.read1(1 << 16)  # `read` would wait until all bytes have arrived
        except TimeoutError:
            raise _MirrorError(f"it stalled for {patience.silence:g} s", gone=True) from None
        except (OSError, HTTPException, ValueError) as error:
            raise _MirrorError(f"the transfer was interrupted: {_in_words(error)}") from None
        if not piece:
            if total is None:
                return body
            raise _MirrorError(f"it sent an incomplete file: {len(body):,} of {total:,} bytes")
        body += piece
        if report:
            report(f"{file.name}.gz", len(body), total)
    raise _MirrorError(f"its file is too long: {length:,} bytes, {file.most_bytes:,} at most")


def _in_words(error: BaseException) -> str:
    """Say why a connection failed, without errno and class names."""
    from socket import gaierror

    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, BaseException) else error
    if isinstance(cause, gaierror):
        return "its name cannot be resolved"
    text = getattr(cause, "strerror", None) or str(reason or cause) or type(cause).__name__
    # A server may have written this, so it is limited to one line of printable characters.
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:120]

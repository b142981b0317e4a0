"""Safe file access: non-blocking opening, reading up to a limit, atomic writing."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = ["NotRegularError", "atomic", "lock_folder", "open_regular", "output", "read_limited", "rewrite", "utf8"]

_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class NotRegularError(OSError):
    """Expected a regular file, got a folder, a pipe, a device or a socket."""


def open_regular(path: str | os.PathLike[str], *, follow_links: bool = True) -> IO[bytes]:
    """Open a file for reading. Only regular files are opened, since a pipe would block until it has a writer and a
    device may be endless.

    Raises OSError if the file does not exist or cannot be read, NotRegularError if it is not a regular file.
    """
    handle = os.open(path, _READ | (0 if follow_links else getattr(os, "O_NOFOLLOW", 0)))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise NotRegularError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise NotRegularError(errno.EINVAL, "it is not a regular file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_limited(path: str | os.PathLike[str], most: int, *, follow_links: bool = True) -> bytes:
    """Read a regular file of at most `most` bytes. Raises OSError, and ValueError for a larger one."""
    with open_regular(path, follow_links=follow_links) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most // 1024**2} MiB")
    return data


@contextmanager
def atomic(path: Path, mode: int | None = None, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Write a file under a temporary name and rename it when it is complete.

    `mode` sets its permissions, by default those of a new file. A file that is not `durable` may be lost if the machine
    fails.
    """
    import tempfile

    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask() if mode is None else mode)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


@contextmanager
def output(path: Path) -> Iterator[IO[bytes]]:
    """Write a user-specified file atomically, following links. Devices and pipes are written to, not replaced.

    Raises OSError, also for a folder, a read-only file and a pipe without a reader.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is None or stat.S_ISREG(mode):
        place = path.resolve()
        if mode is not None:
            _refuse_read_only(place, mode)
        with atomic(place, None if mode is None else stat.S_IMODE(mode)) as file:
            yield file
        return
    content = io.BytesIO()  # archives need to seek, which pipes and devices do not support
    yield content
    # Non-blocking, since opening a pipe without a reader would hang. Folders and sockets cannot be opened like this.
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as file:
        file.write(content.getbuffer())


def lock_folder(path: Path) -> int | None:
    """Lock a folder against all others that call this, until the returned handle is closed or the process ends.

    Returns None if the system or the file system has no locks. Raises BlockingIOError if the folder is locked.
    """
    try:
        import fcntl
    except ImportError:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL):
            raise
        return None
    return handle


def rewrite(path: Path, data: bytes) -> None:
    """Replace the contents of an existing file atomically, keeping its permissions and following links.

    Raises PermissionError for a read-only file, even if its folder is writable.
    """
    path = path.resolve()
    mode = stat.S_IMODE(path.stat().st_mode)
    _refuse_read_only(path, mode)
    with atomic(path, mode) as file:
        file.write(data)


def _refuse_read_only(path: Path, mode: int) -> None:
    # Even root must not change a file that is marked as read-only.
    if not mode & 0o222 or not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only", str(path))


def utf8(text: str) -> bytes:
    r"""Return a text as UTF-8. Bytes of a file's name that are not UTF-8, which Python holds as lone surrogates, are
    escaped: `\udce9`, which JSON reads back as they were."""
    return text.encode("utf-8", "backslashreplace")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

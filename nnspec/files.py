"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = ["atomic", "rewrite"]


@contextmanager
def atomic(path: Path, mode: int | None = None) -> Iterator[IO[bytes]]:
    """Write a file under another name and give it its own when it is whole.

    `mode` are its permissions, by default those of a new file.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask() if mode is None else mode)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def rewrite(path: Path, data: bytes) -> None:
    """Give a file that is there other contents: all or nothing, with the same permissions, where a link leads to.

    Raises PermissionError for a file that is read-only, although its folder would let it be replaced.
    """
    path = path.resolve()
    mode = stat.S_IMODE(path.stat().st_mode)
    # root may write everything; what is marked as read-only is not meant to be changed all the same.
    if not mode & 0o222 or not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only", str(path))
    with atomic(path, mode) as file:
        file.write(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

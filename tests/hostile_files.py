"""Hostile files in place of data files: none may hang, use much memory, or raise anything but FileFault."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nnspec.data import FileFault

__all__ = ["HOSTILE", "refused"]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may have only some hundred characters
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def _huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 42)  # nothing of it lies on the disk


def _nothing(path: Path) -> None:
    pass


def _memory(path: Path) -> None:
    path.symlink_to("/proc/self/mem")  # calls itself a regular file


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (_pipe, "is not a regular file"),
    "folder": (_folder, "is a folder, not a file"),
    "device": (_device, "is not a regular file"),
    "circle of links": (_circle, "cannot be read"),
    "socket": (_socket, "cannot be read|is not a regular file"),
    "huge": (_huge, "is larger than"),
    "nothing": (_nothing, "file not found"),
    "memory": (_memory, "cannot be read|is empty|is not a"),
}
"""What makes it at a path, and what is said of it."""


@contextmanager
def refused(message: str, argument: str = "path") -> Iterator[None]:
    """Expect a FileFault."""
    with pytest.raises(FileFault, match=message) as caught:
        yield
    assert caught.value.argument == argument
    assert str(caught.value).isprintable()

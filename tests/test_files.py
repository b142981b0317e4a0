"""How every room opens a file that may be anything."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nnspec.files import NotRegularError, open_regular, read_limited


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file may be."""
    return tmp_path / "file"


def test_a_regular_file_is_opened_for_reading(path: Path) -> None:
    path.write_bytes(b"content\r\n")
    with open_regular(path) as file:
        assert file.read() == b"content\r\n"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (os.mkdir, errno.EISDIR),
        (os.mkfifo, errno.EINVAL),
        (lambda path: os.symlink("/dev/zero", path), errno.EINVAL),
    ],
)
def test_a_folder_a_pipe_and_a_device_are_not_opened(make, code: int, path: Path) -> None:
    make(path)
    handles = len(os.listdir("/dev/fd"))
    with pytest.raises(NotRegularError) as raised:
        open_regular(path)
    assert raised.value.errno == code
    assert len(os.listdir("/dev/fd")) == handles  # closed


def test_links_are_followed_unless_that_is_forbidden(path: Path) -> None:
    path.with_name("target").write_bytes(b"content")
    path.symlink_to("target")
    with open_regular(path) as file:
        assert file.read() == b"content"
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(path, follow_links=False)


def test_no_more_than_the_limit_is_read(path: Path) -> None:
    path.write_bytes(bytes(1024**2))
    assert read_limited(path, 1024**2) == bytes(1024**2)
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="it is larger than 1 MiB"):
        read_limited(path, 1024**2)

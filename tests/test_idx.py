"""IDX files: exactly the necessary bytes are read."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from tiny_idx import idx_bytes, idx_file, numbers_of

from nnspec.data import DataError, DataUnavailable, FileFault
from nnspec.data.idx import read_idx, read_verified, unpacked

SHAPE = (5, 4, 3)
NUMBERS = numbers_of(SHAPE)
CONTENT = idx_bytes(SHAPE, NUMBERS)
FILE = idx_file("five", CONTENT, SHAPE)
REMEDY = "fetch it anew"


def flipped(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "five"


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("first", [0, 1, 3, 5])
def test_first_samples(path, pack, first):
    path.write_bytes(pack(CONTENT))
    array = read_idx(path, FILE, first, REMEDY)
    assert array.dtype == np.uint8
    assert array.shape == (first, 4, 3)
    assert array.flags.c_contiguous
    assert array.tobytes() == NUMBERS[: first * 12]


def test_one_dimension(path):
    content = idx_bytes((4,), b"\x07\x02\x01\x00")
    path.write_bytes(content)
    assert read_idx(path, idx_file("four", content, (4,)), 3, REMEDY).tolist() == [7, 2, 1]


def test_gzip_in_two_members_is_one_file(path):
    path.write_bytes(gzip.compress(CONTENT[:30]) + gzip.compress(CONTENT[30:]))
    assert read_idx(path, FILE, 5, REMEDY).tobytes() == NUMBERS


@pytest.mark.parametrize("first", [-1, 6])
def test_more_samples_than_there_are(path, first):
    path.write_bytes(CONTENT)
    with pytest.raises(ValueError, match="holds 5 samples"):
        read_idx(path, FILE, first, REMEDY)


BROKEN = {
    "empty": (b"", "is empty"),
    "one byte": (b"\0", "ends inside its header"),
    "half a header": (CONTENT[:9], "ends inside its header"),
    "header only": (CONTENT[:16], "truncated: it ends after 16 of 76 bytes"),
    "last byte missing": (CONTENT[:-1], "truncated: it ends after 75 of 76 bytes"),
    "a byte too many": (CONTENT + b"\0", "too long: bytes follow its 76"),
    "far too long": (CONTENT + bytes(5000), "too long: 5,076 bytes, and 76 are expected"),
    "a web page": (b"<html>not found</html>" * 9, "not an IDX file: it begins with 3c 68 74 6d"),
    "short and not IDX": (b"<", "ends inside its header"),
    "floats": (
        idx_bytes(SHAPE, NUMBERS, 0x0D),
        "holds 5 × 4 × 3 numbers of type float32, but must contain 5 × 4 × 3 of type uint8",
    ),
    "type unheard of": (idx_bytes(SHAPE, NUMBERS, 0x77), "not an IDX file: it begins with 00 00 77 03"),
    "labels for images": (
        idx_bytes((60,), NUMBERS),
        "holds 60 numbers of type uint8, but must contain 5 × 4 × 3 of type uint8",
    ),
    "no dimensions": (b"\0\0\x08\0" + NUMBERS, "has 0 dimensions"),
    "255 dimensions": (b"\0\0\x08\xff" + NUMBERS, "has 255 dimensions"),
    "other sizes": (
        idx_bytes((5, 3, 4), NUMBERS),
        "holds 5 × 3 × 4 numbers of type uint8, but must contain 5 × 4 × 3 of type uint8",
    ),
    "sizes of a giant": (idx_bytes((2**32 - 1,) * 3, NUMBERS), "holds 4,294,967,295 × "),
    "another pixel": (flipped(CONTENT, -1), f"its SHA-256 is [0-9a-f]{{64}} and must be {FILE.sha256}"),
    "gzip truncated": (gzip.compress(CONTENT)[:40], "truncated: its compressed data ends early"),
    "gzip without its end": (gzip.compress(CONTENT)[:-1], "truncated: its compressed data ends early"),
    "gzip of two bytes": (b"\x1f\x8b", "truncated: its compressed data ends early"),
    "gzip with a wrong checksum": (flipped(gzip.compress(CONTENT), -5), "not an intact gzip file: CRC"),
    "gzip with a wrong length": (flipped(gzip.compress(CONTENT), -1), "not an intact gzip file: Incorrect length"),
    "gzip with a wrong method": (flipped(gzip.compress(CONTENT), 2), "not an intact gzip file"),
    "gzip with a broken block": (gzip.compress(CONTENT)[:10] + b"\xff" * 60, "not an intact gzip file: Error -3"),
    "gzip with a tail": (gzip.compress(CONTENT) + b"tail", "not an intact gzip file: Not a gzipped file"),
    "gzip of nothing": (gzip.compress(b""), "is empty"),
    "gzip of too little": (gzip.compress(CONTENT[:-1]), "truncated: it ends after 75 of 76 bytes"),
    "gzip of too much": (gzip.compress(CONTENT + b"\0"), "too long: bytes follow its 76"),
    "gzip of a gzip": (gzip.compress(gzip.compress(CONTENT)), "not an IDX file: it begins with 1f 8b"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("first", [0, 5])
def test_broken_files(path, content, message, first):
    """Also when no sample is asked: all of a file is verified always."""
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read_idx(path, FILE, first, REMEDY)
    assert str(raised.value).startswith(f"{path} ")
    assert str(raised.value).endswith(f"; {REMEDY}")
    assert not isinstance(raised.value, DataUnavailable)


def test_directory(path):
    path.mkdir()
    with pytest.raises(DataError, match="is a folder, not a file; fetch it anew"):
        read_idx(path, FILE, 1, REMEDY)


def test_missing(path):
    with pytest.raises(DataError, match=r"file not found: .*; fetch it anew"):
        read_idx(path, FILE, 1, REMEDY)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    raised: list[DataError] = []

    def read():
        try:
            read_idx(path, FILE, 1, REMEDY)
        except DataError as error:
            raised.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert "is not a regular file" in str(raised[0])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable(path):
    path.write_bytes(CONTENT)
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read_idx(path, FILE, 1, REMEDY)


def test_link_to_itself(path):
    path.symlink_to(path)
    with pytest.raises(DataError, match="cannot be read: "):
        read_idx(path, FILE, 1, REMEDY)


class Counting(io.BytesIO):
    taken = 0

    def read(self, size=-1):
        piece = super().read(size)
        self.taken += len(piece)
        return piece


def test_bomb_is_not_unpacked():
    """64 MB of zeros after a correct header: memory and reading stop at the expected length, up to one buffer."""
    bomb = Counting(gzip.compress(CONTENT + bytes(64_000_000)))
    tracemalloc.start()
    try:
        with (
            pytest.raises(FileFault, match="too long: bytes follow its 76"),
            unpacked(bomb, "it", gzipped=True) as stream,
        ):
            read_verified(stream, FILE, FILE.nbytes, "it")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    assert bomb.taken < len(bomb.getvalue())


def test_endless_stream_is_left_after_its_expected_end():
    class Endless(io.RawIOBase):
        position = 0

        def read(self, size=-1):
            piece = (CONTENT + bytes(10_000))[self.position : self.position + size]
            self.position += size
            return piece

    endless = Endless()
    with pytest.raises(FileFault, match="it is too long"):
        read_verified(endless, FILE, 0, "it")
    assert endless.position == FILE.nbytes + 1


def test_short_reads_are_put_together():
    class Dripping(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 1))

    assert read_verified(Dripping(CONTENT), FILE, 20, "it") == CONTENT[:20]


def test_errors_of_the_stream_pass_through():
    class Failing(io.BytesIO):
        def read(self, size=-1):
            raise InterruptedError("by the test")

    with pytest.raises(InterruptedError, match="by the test"):
        read_verified(Failing(CONTENT), FILE, 20, "it")


# Blocks of samples whose SHA-256 is known

BLOCKS = [NUMBERS[:24], NUMBERS[24:48], NUMBERS[48:]]  # of two samples each, and one


def with_blocks(*blocks: bytes):
    """The description of a file whose digest is wrong, so that reading all of it would fail."""
    digests = tuple(hashlib.sha256(block).hexdigest() for block in blocks)
    return replace(FILE, sha256="0" * 64, block=2, blocks=digests)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("first", [0, 1, 2, 3, 4])
def test_blocks_are_verified_as_far_as_they_are_needed(path, pack, first):
    needed = -(-first // 2)
    wrong = [b"another block"] * (3 - needed)
    path.write_bytes(pack(CONTENT))
    array = read_idx(path, with_blocks(*BLOCKS[:needed], *wrong), first, REMEDY)
    assert array.shape == (first, 4, 3)
    assert array.tobytes() == NUMBERS[: first * 12]
    if needed:
        with pytest.raises(DataError, match=rf"the SHA-256 of samples {2 * needed - 2} to {2 * needed - 1} is \w+ and"):
            read_idx(path, with_blocks(*BLOCKS[: needed - 1], b"another block", *wrong), first, REMEDY)


@pytest.mark.parametrize("at", range(16, 16 + 48))
def test_every_byte_that_is_used_is_verified(path, at):
    path.write_bytes(flipped(CONTENT, at + len(FILE.header) - 16))
    with pytest.raises(DataError, match="is not the expected file: the SHA-256 of samples"):
        read_idx(path, with_blocks(*BLOCKS), 3, REMEDY)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_file_that_ends_inside_a_block_is_truncated(path, pack):
    path.write_bytes(pack(CONTENT[:-30]))
    with pytest.raises(DataError, match="is truncated: it ends after 46 of 76 bytes; fetch it anew"):
        read_idx(path, with_blocks(*BLOCKS), 3, REMEDY)
    path.write_bytes(gzip.compress(CONTENT)[:40])
    with pytest.raises(DataError, match="is truncated"):
        read_idx(path, with_blocks(*BLOCKS), 3, REMEDY)


@pytest.mark.parametrize(("first", "whole"), [(5, False), (1, True), (0, True)])
def test_a_file_that_is_used_or_fetched_whole_is_verified_whole(path, first, whole):
    path.write_bytes(CONTENT)
    with pytest.raises(DataError, match="its SHA-256 is"):
        read_idx(path, with_blocks(*BLOCKS), first, REMEDY, whole=whole)

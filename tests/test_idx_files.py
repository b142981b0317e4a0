"""The user's own IDX files, and Fashion-MNIST: reading them, and errors for files that do not match each other."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hostile_files import HOSTILE, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_idx import NAMES, fill, idx_bytes, numbers_of
from tiny_spec import ROOT, spec

from nnspec.checker import check
from nnspec.data import IDX, Access, DataError, DataUnavailable, Facts, FashionMNIST, FileFault
from nnspec.data import mnist as module
from nnspec.diagnostics import Source

IMAGES, LABELS = NAMES[0], NAMES[1]


@pytest.fixture(params=[False, True], ids=["plain", "gzip"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return fill(tmp_path / "own", gz=request.param)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return fill(tmp_path / "own")


def test_a_folder(folder: Path) -> None:
    source = IDX(folder, train=5, test=2)
    labels = sorted({*numbers_of((12,)), *numbers_of((6,))})
    assert replace(source.facts(), remarks=()) == Facts((4, 3), len(labels), 5, 2)
    assert source.facts().remarks[0].code == "NN735"
    data = source.load(Access())
    assert data.train.x.tobytes() == numbers_of((12, 4, 3))[: 5 * 12]
    assert data.train.x.shape == (5, 12)
    assert [labels[y] for y in data.train.y] == list(numbers_of((12,))[:5])
    assert [labels[y] for y in data.test.y] == list(numbers_of((6,))[:2])
    assert data.class_names == tuple(map(str, labels))
    assert data.divisor == 255
    everything = IDX(folder).facts()
    assert (everything.train, everything.test) == (12, 6)


def test_files_by_name(plain: Path, tmp_path: Path) -> None:
    four = {
        word: plain / name
        for word, name in zip(("train_images", "train_labels", "test_images", "test_labels"), NAMES, strict=True)
    }
    assert IDX(**four).load(Access()).sha256 == IDX(plain).load(Access()).sha256
    (plain / NAMES[0]).rename(tmp_path / "elsewhere")
    moved = IDX(plain, train_images=tmp_path / "elsewhere")
    assert moved.facts().train == 12
    with pytest.raises(ValueError, match="IDX: `train` must be at least 1"):
        IDX(plain, train=0)
    with pytest.raises(ValueError, match="either a folder or all four files are needed"):
        IDX()
    del four["test_images"]
    with pytest.raises(ValueError, match="`test_images` is missing"):
        IDX(**four)


@pytest.mark.parametrize(
    ("code", "dtype"), [(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
def test_numbers_of_every_type(plain: Path, code: int, dtype: str) -> None:
    for name, count in ((NAMES[0], 12), (NAMES[2], 6)):
        values = (np.arange(count * 2 * 3 * 2) % 100).astype(dtype)
        (plain / name).write_bytes(idx_bytes((count, 2, 3, 2), values.tobytes(), code))
    data = IDX(plain).load(Access())
    assert data.facts.shape == (2, 3, 2)
    assert data.facts.stored == data.train.x.dtype.name
    assert data.train.x.dtype.isnative
    assert data.train.x[1].tolist() == list(range(12, 24))
    assert data.divisor == (255 if code == 0x08 else 1)


def test_labels_of_more_bytes(plain: Path) -> None:
    for name, count in ((NAMES[1], 12), (NAMES[3], 6)):
        (plain / name).write_bytes(idx_bytes((count,), (np.arange(count) % 2 * 300 - 3).astype(">i4").tobytes(), 0x0C))
    data = IDX(plain).load(Access())
    assert (data.facts.classes, data.class_names) == (2, ("-3", "297"))
    assert data.train.y.tolist() == [0, 1] * 6


CONTENT = idx_bytes((12, 4, 3), numbers_of((12, 4, 3)))
BAD = {
    "empty": (IMAGES, b"", "is empty"),
    "other": (IMAGES, b"\x89PNG....", "is not an IDX file: it begins with 89 50 4e 47"),
    "type": (IMAGES, b"\0\0\x0a\x03" + CONTENT[4:], "is not an IDX file: it begins with 00 00 0a 03"),
    "no dimensions": (IMAGES, b"\0\0\x08\0" + CONTENT[4:], "has 0 dimensions"),
    "many dimensions": (IMAGES, b"\0\0\x08\xff" + CONTENT[4:], "has 255 dimensions"),
    "short header": (IMAGES, CONTENT[:9], "ends inside its header"),
    "absurd": (
        IMAGES,
        struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3),
        "says that it holds 4,294,967,295 × .* the limit is 1 GiB",
    ),
    "bomb": (IMAGES, gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 2**31, 28, 28)), "the limit is 1 GiB"),
    "cut gzip": (IMAGES, gzip.compress(CONTENT)[:12], "its compressed data ends early"),
    "no gzip": (IMAGES, b"\x1f\x8b" + b"x" * 30, "is not an intact gzip file"),
    "more samples": (IMAGES, idx_bytes((13, 4, 3), numbers_of((13, 4, 3))), "holds 13 samples, and .* 12 labels"),
    "no samples": (IMAGES, idx_bytes((12,), numbers_of((12,))), "contains single numbers, but must contain samples"),
    "other shape": (NAMES[2], idx_bytes((6, 3, 4), numbers_of((6, 3, 4))), "differ in shape from"),
    "labels of two": (LABELS, idx_bytes((12, 2), bytes(24)), "12 × 2 labels"),
    "long labels": (LABELS, idx_bytes((12,), bytes(13)), "bytes follow its 12 bytes"),
    "short labels": (LABELS, idx_bytes((12,), bytes(11)), "it ends after 11 of 12 bytes"),
    "float labels": (
        LABELS,
        idx_bytes((12,), np.zeros(12, ">f4").tobytes(), 0x0D),
        "contains floats, but labels must be whole numbers",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_does_not_fit(plain: Path, kind: str) -> None:
    name, content, message = BAD[kind]
    (plain / name).write_bytes(content)
    with refused(message):
        IDX(plain).facts()


def test_the_argument_at_fault_is_the_one_that_names_the_file(plain: Path) -> None:
    (plain / LABELS).write_bytes(b"x" * 20)
    with refused("is not an IDX file", "train_labels"):
        IDX(plain, train_labels=plain / LABELS).facts()
    with refused("file not found", "test_images"):
        IDX(plain, train_labels=plain / NAMES[3], test_images=plain / "none").facts()
    text = spec("Linear(300)", data='IDX("own", train_labels="own/none")')
    (found,) = check(Source("t.nn", text, plain.parent)).diagnostics
    assert (found.code, found.span.text) == ("NN502", '"own/none"')
    text = spec("Linear(300)", data='IDX("own", train=13)')
    (plain / LABELS).write_bytes(idx_bytes((12,), bytes(12)))
    (found,) = check(Source("t.nn", text, plain.parent)).diagnostics
    assert (found.code, found.span.text) == ("NN502", "13")
    (found,) = check(Source("t.nn", spec(data="IDX(train_labels=3)"))).diagnostics
    assert (found.code, found.span.text) == ("NN301", "3")
    (found,) = check(Source("t.nn", spec(data="IDX"))).diagnostics
    assert (found.code, found.span.text) == ("NN302", "IDX")


def test_images_that_are_not_intact_are_found_when_they_are_read(plain: Path) -> None:
    (plain / IMAGES).write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match="is not intact: it ends after 143 of 144 bytes"):
        IDX(plain).load(Access())
    (plain / IMAGES).write_bytes(gzip.compress(CONTENT + b"x" * 10**6))
    with pytest.raises(DataError, match="is not intact: bytes follow its 144"):
        IDX(plain).load(Access())
    for name, count in ((NAMES[0], 12), (NAMES[2], 6)):
        (plain / name).write_bytes(idx_bytes((count, 1), np.full(count, np.nan, ">f4").tobytes(), 0x0D))
    with pytest.raises(
        DataError, match=r"`train-images-idx3-ubyte\[0, 0\]` is NaN \(row 0, column 0, .* 12 of 12 numbers"
    ):
        IDX(plain).load(Access())


@pytest.mark.parametrize("kind", HOSTILE)
def test_paths_that_are_not_files(plain: Path, kind: str) -> None:
    make, message = HOSTILE[kind]
    (plain / IMAGES).unlink()
    make(plain / IMAGES)
    with refused(message):
        IDX(plain).facts()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=80)
    | st.binary(max_size=60).map(lambda b: b"\0\0\x08" + b)
    | st.binary(max_size=60).map(gzip.compress),
    which=st.sampled_from(NAMES),
)
def test_any_bytes(tmp_path: Path, content: bytes, which: str) -> None:
    folder = fill(tmp_path / "any")
    (folder / which).write_bytes(content)
    try:
        data = IDX(folder).load(Access())
    except FileFault:
        return
    assert data.facts == IDX(folder).facts()


# Fashion-MNIST


@pytest.fixture(scope="module")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four files in their sizes, with other bytes than the true ones."""
    folder = tmp_path_factory.mktemp("data") / "fashion-mnist"
    folder.mkdir()
    for name, shape in zip(NAMES, ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)), strict=True):
        content = bytes(int(np.prod(shape))) if len(shape) == 3 else bytes(range(10)) * (shape[0] // 10)
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(shape, content), 1))
    return folder


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("NNSPEC_DATA_DIR", raising=False)
    monkeypatch.setattr(module, "cache_folder", lambda name: tmp_path / name)
    return tmp_path


def test_fashion(clothes: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FashionMNIST(train=100, test=20)
    assert source.facts() == Facts((28, 28), 10, 100, 20)
    with pytest.raises(DataUnavailable, match="nnspec does not fetch it"):
        source.load(Access())
    with pytest.raises(DataUnavailable, match="name a folder with `--data-dir`"):
        FashionMNIST.fetch(Access())
    for folder in (clothes, clothes.parent):
        data = source.load(Access(data_dir=folder))
        assert data.train.y.tolist() == list(range(10)) * 10
        assert len(data.class_names) == 10
    monkeypatch.setenv("NNSPEC_DATA_DIR", str(nowhere))
    with pytest.raises(DataError, match="correct NNSPEC_DATA_DIR") as caught:
        source.load(Access())
    assert not isinstance(caught.value, DataUnavailable)
    monkeypatch.delenv("NNSPEC_DATA_DIR")
    (nowhere / "fashion-mnist").symlink_to(clothes)
    assert source.load(Access()).sha256 == data.sha256
    assert [how for _, how in FashionMNIST.fetch(Access())] == ["already there"] * 4


def test_other_data_is_not_taken_for_fashion(plain: Path, nowhere: Path) -> None:
    with pytest.raises(DataError, match="is not a Fashion-MNIST file: it holds 12 × 4 × 3 numbers"):
        FashionMNIST().load(Access(data_dir=plain))


def test_mnist_is_not_taken_for_fashion(nowhere: Path) -> None:
    folder = ROOT.parent / "shared/data/mnist"
    if not folder.is_dir():
        pytest.skip("there is no MNIST beside the clone")
    with pytest.raises(DataError, match="is MNIST's, and not Fashion-MNIST's"):
        FashionMNIST().load(Access(data_dir=folder))

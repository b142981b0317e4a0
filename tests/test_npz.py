"""Arrays from NumPy files: how they are used, and errors for files with other contents."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hostile_files import HOSTILE, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_spec import run, spec

from nnspec.checker import check
from nnspec.data import NPY, NPZ, Access, DataError, Facts, FileFault
from nnspec.data.axes import Arrangement
from nnspec.data.npy import NumpyArray
from nnspec.diagnostics import Source
from nnspec.engine.part import FilePath

X = np.arange(60, dtype=np.float32).reshape(10, 3, 2)
Y = np.arange(10) % 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.npz"


def load(path: Path, **arrays: np.ndarray):
    np.savez(path, **arrays)
    source = NPZ(path, shuffle=False)
    data = source.load(Access())
    assert data.facts == source.facts()
    assert data.train.x.dtype == data.test.x.dtype == data.facts.stored
    return data


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_four_arrays(path: Path, save) -> None:
    save(path, x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2], other=np.zeros(3))
    data = NPZ(path).load(Access())
    (unused,) = data.facts.remarks
    assert (unused.code, unused.message.split(" contains ")[1]) == ("NN736", "`other`, which nothing uses")
    assert data.facts == NPZ(path).facts() == Facts((3, 2), 3, 10, 2, "float32", remarks=(unused,))
    assert data.train.x.tolist() == X.reshape(10, 6).tolist()
    assert data.test.y.tolist() == [0, 1]


def test_two_arrays_are_split(path: Path) -> None:
    data = load(path, x=X, y=Y)
    assert (data.train.x[:, 0].tolist(), data.test.x[:, 0].tolist()) == ([0, 6, 12, 18, 24, 30, 36, 42], [48, 54])
    mixed = NPZ(path, test=0.3, seed=3).load(Access())
    words = np.random.PCG64(np.random.SeedSequence(3, spawn_key=(0,))).random_raw(10)
    order = np.argsort(words, kind="stable")
    assert [*mixed.train.y, *mixed.test.y] == Y[order].tolist()
    assert len(mixed.test.y) == 3


def test_what_numpy_drew_with_the_same_seed_is_shuffled(path: Path) -> None:
    np.savez(path, x=np.zeros((600, 2)), y=np.random.default_rng(0).choice(4, 600, p=[0.25] * 4))
    data = NPZ(path, seed=0).load(Access())
    assert np.bincount(data.test.y, minlength=4).min() > 15


def test_targets(path: Path) -> None:
    assert load(path, x=X, y=Y[:, None].astype(np.uint8)).facts.target == ()  # as Keras writes labels
    sequence = load(path, x=np.zeros((10, 4, 3)), y=np.arange(40).reshape(10, 4) % 5)
    assert (sequence.facts.classes, sequence.facts.target, sequence.train.y.shape) == (5, (4,), (8, 4))
    numbers = load(path, x=X, y=np.linspace(0, 1, 20, dtype=np.float32).reshape(10, 2))
    assert (numbers.facts.classes, numbers.facts.target, numbers.train.y.dtype) == (None, (2,), np.float64)
    assert load(path, x=X, y=np.ones(10)).facts.target == ()


@pytest.mark.parametrize(
    ("dtype", "stored", "divisor"),
    [("u1", "uint8", 255), ("?", "uint8", 1), ("<i2", "int16", 1), (">f8", "float64", 1), ("f2", "float32", 1)],
)
def test_types(path: Path, dtype: str, stored: str, divisor: float) -> None:
    data = load(path, x=(X > 5).astype(dtype) if dtype == "?" else X.astype(dtype), y=Y)
    assert (data.facts.stored, data.divisor) == (stored, divisor)
    assert data.train.x[3, 1] == (1 if dtype == "?" else 19)
    assert NPZ(path, divisor=2).load(Access()).divisor == 2


def test_other_orders_and_versions(path: Path) -> None:
    assert load(path, x=np.asfortranarray(X), y=Y).train.x.tolist() == X[:8].reshape(8, 6).tolist()
    assert load(path, x=np.arange(10.0), y=Y).facts.shape == (1,)
    for version in ((1, 0), (2, 0), (3, 0)):
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in (("x", X), ("y", Y)):
                content = io.BytesIO()
                np.lib.format.write_array(content, array, version)
                archive.writestr(f"{name}.npy", content.getvalue())
        assert NPZ(path).facts().shape == (3, 2)


def test_files_of_their_own(tmp_path: Path) -> None:
    for name, array in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", array)
    x, y = tmp_path / "x.npy", tmp_path / "y.npy"
    assert NPY(x, y).facts() == Facts((3, 2), 3, 8, 2, "float32")
    assert NPY(x, y, x, y).load(Access()).facts == Facts((3, 2), 3, 10, 10, "float32")
    with pytest.raises(ValueError, match="`x_test` and `y_test` go together"):
        NPY(x, y, x)
    np.save(tmp_path / "short.npy", Y[:9])
    with refused("`y` has 9 targets, but `x` has 10 samples", "y"):
        NPY(x, tmp_path / "short.npy").facts()
    with refused("file not found", "y_test"):
        NPY(x, y, x, tmp_path / "none.npy").facts()
    with refused("is not a NumPy array", "x_test"):
        (tmp_path / "text.npy").write_text("0.1 0.2 0.3")
        NPY(x, y, tmp_path / "text.npy", y).facts()


WRONG = {
    "other names": (
        {"a": X, "b": Y},
        "no samples and targets under known names; it contains `a`, `b`; name them x and y",
    ),
    "counts": ({"x": X, "y": Y[:9]}, "`y` has 9 targets, but `x` has 10 samples"),
    "number": ({"x": np.float64(3), "y": Y}, "but `x` has a single number"),
    "one sample": ({"x": X[:1], "y": Y[:1]}, "there is only one sample in `x`: too few"),
    "nothing": ({"x": X[:0], "y": Y[:0]}, "`x` has no samples"),
    "no features": ({"x": np.zeros((10, 0)), "y": Y}, "samples of `x` contain no numbers: their shape is 0"),
    "no columns": ({"x": np.zeros((10, 3, 0)), "y": Y}, "samples of `x` contain no numbers: their shape is 3×0"),
    "no targets": ({"x": X, "y": np.zeros((10, 0))}, "`y` holds no numbers"),
    "one class": ({"x": X, "y": 0 * Y + 7}, "all labels in `y` are 7: there is nothing to learn"),
    "one text": ({"x": X, "y": np.array(["a"] * 10)}, "all labels in `y` are `a`: there is nothing to learn"),
    "complex": ({"x": X + 1j, "y": Y}, "`x` contains complex numbers; save real and imaginary parts"),
    "texts": ({"x": np.array(["a"] * 10), "y": Y}, "`x` contains text, but samples must be numbers"),
    "records": (
        {"x": X, "y": np.zeros(10, [("a", "f4")])},
        "`y` contains records with the fields `a`; save the fields",
    ),
    "dates": ({"x": X, "y": np.arange(10).astype("M8[D]")}, "`y` contains dates; save `"),
    "durations": ({"x": X, "y": np.arange(10).astype("m8[s]")}, "`y` contains durations; save `x /"),
    "long floats": (
        {"x": X.astype(np.longdouble), "y": Y},
        r"`x` contains floats of more than 64 bits; save `x\.ast",
    ),
    "test shape": (
        {"x_train": X, "y_train": Y, "x_test": X[:, :1], "y_test": Y},
        "`x_test` is 1×2 numbers a sample, and `x_train` 3×2 numbers",
    ),
    "test kind": (
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y / 2},
        "`y_test` is one of numbers a sample, and `y_train` one of whole numbers",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_arrays_that_do_not_fit(path: Path, kind: str) -> None:
    arrays, message = WRONG[kind]
    np.savez(path, **arrays)
    with refused(message):
        NPZ(path).facts()


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


def test_nothing_is_unpickled(path: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    np.savez(path, x=np.array([Trap(trace)] * 10), y=Y)
    with refused("`x` contains Python objects, which are never unpickled"):
        NPZ(path).facts()
    path.write_bytes(pickle.dumps(Trap(trace)))
    with refused("is not an .npz file"):
        NPZ(path).facts()
    with refused("is not a NumPy array", "x"):
        NPY(path, path).facts()
    assert not trace.exists()


def header(text: str, version: int = 1, length: int | None = None) -> bytes:
    return (
        b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text) if length is None else length) + text.encode()
    )


HEADERS = {
    "absurd": (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627775, 1000)}"),
        "the limit is 1 GiB",
    ),
    "negative": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "a header that is not NumPy's"),
    "no tuple": (header("{'descr': '<f8', 'fortran_order': False, 'shape': 3}"), "a header that is not NumPy's"),
    "code": (header("__import__('os').abort()"), "a header that is not NumPy's"),
    "deep": (header("(" * 5000), "a header that is not NumPy's"),
    "list": (header("[1, 2]"), "a header that is not NumPy's"),
    "lacking": (header("{'descr': '<f8'}"), "a header that is not NumPy's"),
    "long": (header("{}", length=20_000), "its header has 20,000 bytes, but at most 10,000 are allowed"),
    "cut": (header("{'descr'", length=500), "ends inside its header"),
    "version": (header("{}", version=9), "is not a NumPy array"),
    "object": (header("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}"), "never unpickled"),
    "strange": (header("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (3,)}"), "contains dates"),
    "empty": (b"", "is empty"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers(tmp_path: Path, kind: str) -> None:
    content, message = HEADERS[kind]
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with refused(message, "x"):
        NPY(path, path).facts()


def test_archives_that_are_not_sound(path: Path) -> None:
    np.savez(path, x=X, y=Y)
    sound = path.read_bytes()
    path.write_bytes(sound[:-30])
    with refused("is not an .npz file"):
        NPZ(path).facts()
    at = sound.index(b"\x93NUMPY") + 140
    path.write_bytes(sound[:at] + b"\xff\xfe" + sound[at + 2 :])
    with pytest.raises(DataError, match=r"is not an intact \.npz file: Bad CRC-32"):
        NPZ(path).load(Access())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", b"x")
        archive.writestr("y.npy", b"x")
    with refused("compressed otherwise than by deflate"):
        NPZ(path).facts()
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(5000):
            archive.writestr(f"{i}.npy", b"")
    with refused("too many files|5,000 arrays, and 100"):
        NPZ(path).facts()
    # A bomb: far more than the header promises.
    content = io.BytesIO()
    np.lib.format.write_array(content, Y)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content.getvalue() + bytes(10**7))
        archive.writestr("y.npy", content.getvalue())
    with pytest.raises(DataError, match="`x` is not intact: bytes follow its 80"):
        NPZ(path).load(Access())


def test_numbers_that_are_none(path: Path) -> None:
    x = X.copy()
    x[3, 1, 1] = np.nan
    np.savez(path, x=x, y=Y)
    with pytest.raises(
        DataError, match=r"`x\[3, 1, 1\]` is NaN \(row 3, counted from 0\); 1 of 60 numbers is NaN or infinite"
    ):
        NPZ(path).load(Access())


@pytest.mark.parametrize("kind", HOSTILE)
def test_paths_that_are_not_files(path: Path, kind: str) -> None:
    make, message = HOSTILE[kind]
    make(path)
    with refused(message):
        NPZ(path).facts()


def _sound() -> bytes:
    content = io.BytesIO()
    np.savez(content, x=X[:3], y=Y[:3])
    return content.getvalue()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=100),
    cut=st.integers(0, 900),
    flips=st.lists(st.tuples(st.integers(0, 899), st.integers(1, 255)), max_size=4),
)
def test_any_bytes(tmp_path: Path, content: bytes, cut: int, flips: list[tuple[int, int]]) -> None:
    data = bytearray(_sound())
    for at, flip in flips:
        data[at % len(data)] ^= flip
    data[cut % len(data) : cut % len(data)] = content if cut % 2 else b""
    path = tmp_path / "any.npz"
    path.write_bytes(data)
    try:
        facts = NPZ(path).facts()
        assert NPZ(path).load(Access()).facts == facts
    except DataError:
        pass
    array = tmp_path / "any.npy"
    array.write_bytes(data[30:])
    with pytest.raises(FileFault):
        NPY(array, array).facts()


def test_in_a_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(path, x=X, y=Y)
    monkeypatch.chdir(path.parent)
    result = run(spec("Flatten; Linear(data.classes)", data='NPZ("t.npz")', train="epochs = 1; batch = 4"))
    assert len(result["run"].history["loss"]) == 1
    (found,) = check(Source("t.nn", spec("Linear(3)", data='NPZ("t.npy")'))).diagnostics
    assert (found.code, found.span.text, found.help) == ("NN502", '"t.npy"', 'did you mean `"t.npz"`?')


def test_other_rows_than_the_header_had_are_a_change(path: Path) -> None:
    path = path.with_name("x.npy")
    np.save(path, np.zeros((3, 2)))
    array = NumpyArray(FilePath(path), "x", "x")
    for read in (
        lambda: array.read(count=5),
        lambda: array.read(np.arange(4), 4),
        lambda: array.read(arrangement=Arrangement(("features",), (3,))),
    ):
        with pytest.raises(DataError, match=r"x\.npy changed while it was being read; run again"):
            read()
    assert array.read(np.array([1, -1, 0]), 2).shape == (2, 2)

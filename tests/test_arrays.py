"""Arrays as people have them: every dtype, labels that do not start at 0, names of arrays, numbers that are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_idx import NAMES, idx_bytes
from tiny_spec import run, spec

import nnspec
from nnspec import runs
from nnspec.cli import _code as main_code

X = np.arange(48).reshape(12, 4) * 7 % 23  # 0 to 22: every type holds them
Y = X.sum(axis=1) % 3
INTEGERS = ["i1", "<i2", ">i2", "<i4", ">i4", "<i8", ">i8", "<u2", ">u2", "<u4", ">u4", "<u8", ">u8"]
FLOATS = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of(data: str, **more: str) -> str:
    train = more.pop("train", "epochs = 2; batch = 5; validation = 0.2; standardise = true")
    return spec("Linear(3); ReLU; Linear(data.classes)", data=data, train=train, **more)


def losses(text: str) -> list[float]:
    (lane,) = run(text).lanes.values()
    return [*lane.history["loss"], *lane.history["test_loss"], *lane.history["val_loss"]]


def save(kind: str, x: np.ndarray, y: np.ndarray) -> str:
    """Write arrays as a kind of file; return the source that reads it without shuffling."""
    if kind == "npz":
        np.savez("a.npz", x=x, y=y)
        return 'NPZ("a.npz", shuffle=false)'
    if kind == "npy":
        np.save("x.npy", x)
        np.save("y.npy", y)
        return 'NPY("x.npy", "y.npy", shuffle=false)'
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    for name, array in zip(NAMES, (x[:10], y[:10], x[10:], y[10:]), strict=True):
        big = array.astype(array.dtype.newbyteorder(">"))
        Path(name).write_bytes(idx_bytes(array.shape, big.tobytes(), codes[array.dtype.str[1:]]))
    return 'IDX(".")'


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_whole_numbers_stand_for_themselves_in_every_type(kind: str) -> None:
    # What PyTorch would be given: the same numbers as float64.
    expected = losses(of(save(kind, X.astype("<f8"), Y)))
    for dtype in [*INTEGERS, *FLOATS]:
        assert losses(of(save(kind, X.astype(dtype), Y))) == expected, dtype
    for dtype in ["u1", *INTEGERS]:
        assert losses(of(save(kind, X.astype("<f8"), Y.astype(dtype)))) == expected, dtype


def test_whole_numbers_of_idx_files_stand_for_themselves() -> None:
    expected = losses(of(save("idx", X.astype("<f8"), Y.astype("u1"))))
    for dtype in ("i1", "i2", "i4", "f4"):
        assert losses(of(save("idx", X.astype(dtype), Y.astype("u1")))) == expected, dtype
        if dtype != "f4":
            assert losses(of(save("idx", X.astype("<f8"), Y.astype(dtype)))) == expected, dtype


def test_bytes_are_divided_by_255_and_by_nothing_with_divisor_1() -> None:
    plain = "epochs = 2; batch = 5; validation = 0.2"
    as_bytes, as_floats = X.astype("u1"), X.astype("f4")
    expected = losses(of(save("npz", as_floats * np.float32(1 / 255), Y), train=plain))
    assert losses(of(save("npz", as_bytes, Y), train=plain)) == expected
    expected = losses(of(save("npz", as_floats, Y), train=plain))
    source = save("npz", as_bytes, Y).replace("shuffle", "divisor=1, shuffle")
    assert losses(of(source, train=plain)) == expected
    truth = X > 10
    expected = losses(of(save("npz", truth.astype("f4"), Y), train=plain))
    assert losses(of(save("npz", truth, Y), train=plain)) == expected


def test_whole_numbers_with_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = of(save("npz", X.astype(">i8"), Y), race="SGD; Adam", optimizer="")
    Path("a.nn").write_text(text)
    nnspec.run("a.nn", out="out", alone=True, jobs=2)
    for command in ("check a.nn", "show a.nn", "gradcheck a.nn", "eval out", "predict out a.npz"):
        assert main_code(command.split()) == 0, (command, capsys.readouterr())
    predictions = runs.predict(runs.load("out"), ["a.npz"])[0]
    np.savez("floats.npz", x=X.astype("f8"))
    same = runs.predict(runs.load("out"), ["floats.npz"])[0]
    assert predictions.outputs.tolist() == same.outputs.tolist()

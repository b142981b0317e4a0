"""`test = 0`: all samples of any source are for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nnspec
from nnspec import runs

DENSE = "model { Linear(8); ReLU; Linear(data.classes) }"
CHARACTERS = "model { Embedding(4); Linear(data.classes) }"
SOURCES = {
    "Digits(train=40, test=0)": DENSE,
    "Blobs(train=40, test=0)": DENSE,
    'NPZ("a.npz", test=0)': DENSE,
    'NPY("x.npy", "y.npy", test=0)': DENSE,
    'CSV("t.csv", target="kind", test=0)': DENSE,
    'CSV("t.csv", target="kind", test=0, stratify=true)': DENSE,
    'Text("t.txt", context=8, test=0)': CHARACTERS,
    'Images("images", test=0)': DENSE,
    'IDX("idx", test=0)': DENSE,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 40 samples in every format."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    np.savez(folder / "a.npz", x=x, y=y)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    rows = "".join(f"{row[0]:.3f},{row[1]:.3f},{'uvw'[label]}\n" for row, label in zip(x, y, strict=True))
    (folder / "t.csv").write_text(f"a,b,kind\n{rows}", encoding="utf-8")
    (folder / "t.txt").write_text("hello world, this is a text. " * 12, encoding="utf-8")
    for name in "ab":
        (folder / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 255, (2, 2), dtype=np.uint8).tobytes()
            (folder / "images" / name / f"{i}.pgm").write_bytes(b"P5 2 2 255\n" + pixels)
    (folder / "idx").mkdir()
    for stem, array in (("images-idx3", rng.integers(0, 255, (40, 2, 2))), ("labels-idx1", y)):
        sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
        content = bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()
        for part in ("train", "t10k"):
            (folder / "idx" / f"{part}-{stem}-ubyte").write_bytes(content)
    return folder


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_without_test_data_trains(source: str, folder: Path) -> None:
    if source.startswith("Images"):
        pytest.importorskip("PIL", reason="needs Pillow")
    text = f"data = {source}\n{SOURCES[source]}\nloss = CrossEntropy\noptimizer = Adam\ntrain {{ epochs = 1 }}\n"
    run = nnspec.Spec.parse(text, folder=folder).run()
    (lane,) = run.lanes.values()
    assert not [figure for figure in lane.history if figure.startswith("test_")]
    assert np.isfinite(lane.history["loss"]).all()
    (data,) = run.data
    assert (data.train, data.test) == (43 if "Text" in source else 40, 0)


def test_a_run_without_test_data_is_evaluated_on_other_samples_only(folder: Path, tmp_path: Path) -> None:
    text = f"data = Blobs(train=40, test=0)\n{DENSE}\nloss = CrossEntropy\noptimizer = Adam\ntrain {{ epochs = 1 }}\n"
    (tmp_path / "s.nn").write_text(text + "metrics = [accuracy, confusion]\n", encoding="utf-8")
    nnspec.run(tmp_path / "s.nn", out=tmp_path / "run")
    with pytest.raises(nnspec.DataError, match="no test samples"):
        runs.evaluate(tmp_path / "run")
    (found,) = runs.evaluate(tmp_path / "run", data=(np.zeros((3, 2)), np.array([0, 1, 2])))
    assert sorted(found.figures) == ["test_accuracy", "test_loss"]
    assert "no test samples" in runs.report([tmp_path / "run"]).read_text("utf-8")


@pytest.mark.parametrize("source", ["Digits(train=40, test=-1)", 'NPZ("a.npz", test=-0.1)', 'NPZ("a.npz", test=1.0)'])
def test_less_than_no_test_data_is_an_error(source: str, folder: Path) -> None:
    text = f"data = {source}\n{DENSE}\nloss = CrossEntropy\noptimizer = Adam\n"
    assert [found.code for found in nnspec.Spec.parse(text, folder=folder).check().diagnostics] == ["NN302"]

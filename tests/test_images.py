"""Images in folders: classes, sizes, colours, and what is said of folders and files that are something else."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hostile_files import HOSTILE, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_spec import run, spec

from nnspec.checker import check
from nnspec.data import Access, DataError, Facts, FileFault, Images
from nnspec.data.images import image_files, read_image
from nnspec.diagnostics import Source


def draw(path: Path, grey: int, size: tuple[int, int] = (4, 3)) -> None:
    """Write an image of `size` = (height, width), its first pixel 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(size, grey, np.uint8)
    pixels[0, 0] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, name in enumerate(("cats", "ants")):
        for i in range(5):
            draw(tmp_path / "pictures" / name / f"{i}.png", 100 * k + i)
    (tmp_path / "pictures" / "cats" / "notes.txt").write_text("no image")
    (tmp_path / "pictures" / ".hidden").mkdir()
    return tmp_path / "pictures"


def test_a_folder_for_each_class(folder: Path) -> None:
    source = Images(folder)
    assert source.facts() == Facts((4, 3), 2, 8, 2)
    data = source.load(Access())
    assert data.class_names == ("ants", "cats")
    assert data.train.x.shape == (8, 12)
    assert (data.train.x[:, 0] == 255).all()
    assert sorted(data.train.y) == [0] * 4 + [1] * 4
    assert sorted(data.test.y) == [0, 1]
    greys = np.concatenate([data.train.x[:, 5], data.test.x[:, 5]])
    assert sorted(greys) == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]
    assert ((greys >= 100) == (np.concatenate([data.train.y, data.test.y]) == 0)).all()
    assert source.load(Access()).sha256 == data.sha256
    assert {Images(folder, seed=s).load(Access()).sha256 for s in range(5)} != {data.sha256}


def test_parts_that_are_there_already(folder: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    for part in ("train", "test"):
        (whole / part).symlink_to(folder)
    assert Images(whole).facts() == Facts((4, 3), 2, 10, 10)
    (whole / "test").unlink()
    draw(whole / "test" / "ants" / "0.png", 3)
    with refused("only one of .* has the class `cats`"):
        Images(whole).facts()
    (whole / "test" / "cats").mkdir()
    data = Images(whole).load(Access())
    assert (data.test.x[0, 5], data.test.y.tolist()) == (3, [0])
    (whole / "test" / "ants" / "0.png").unlink()
    with refused("there are no images in"):
        Images(whole).facts()


def test_sizes_and_colours(folder: Path) -> None:
    colourful = np.arange(36, dtype=np.uint8).reshape(4, 3, 3)  # height, width, colours
    Image.fromarray(colourful).save(folder / "cats" / "5.png")
    data = Images(folder, colour="rgb", test=0.01).load(Access())
    assert data.facts.shape == (3, 4, 3)
    colours = {tuple(row.reshape(3, 12)[:, 7]) for row in np.concatenate([data.train.x, data.test.x])}
    assert (21, 22, 23) in colours
    images = np.concatenate([data.train.x, data.test.x]).reshape(-1, 3, 4, 3)
    assert any((image == colourful.transpose(2, 0, 1)).all() for image in images)
    assert (104, 104, 104) in colours
    assert Images(folder, size=(8, 9)).load(Access()).train.x.shape == (8 + 1, 72)
    draw(folder / "cats" / "6.png", 1, (5, 3))
    with pytest.raises(DataError, match=r"is 5×3, and the first is 4×3; `size = \(4, 3\)` scales all to one size"):
        Images(folder).load(Access())
    assert Images(folder, size=(4, 3)).load(Access()).facts.shape == (4, 3)


def test_images_are_upright_and_white_where_they_are_transparent(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    pixels = np.zeros((3, 4), np.uint8)
    pixels[2, 0] = 255  # the lower left corner, which is the upper left one when it is turned
    for path in folder.glob("*/*.png"):
        Image.fromarray(pixels).save(path, exif=exif)
    source = Images(folder)
    assert source.facts().shape == (4, 3)
    assert (source.load(Access()).train.x[0].reshape(4, 3) == [[255, 0, 0], *[[0, 0, 0]] * 3]).all()
    array, size = read_image(str(path), (4, 3))
    assert size == (4, 3)
    assert (array.reshape(-1) == source.load(Access()).test.x[0]).all()

    Image.fromarray(np.zeros((4, 3, 4), np.uint8)).save(path)
    assert (read_image(str(path), (4, 3))[0] == 255).all()
    data = Images(folder).load(Access())
    assert sum((row == 255).all() for row in (*data.train.x, *data.test.x)) == 1


def test_images_of_a_folder_and_its_sub_folders(folder: Path, tmp_path: Path) -> None:
    draw(folder / "one.png", 7)
    found = [str(Path(path).relative_to(folder)) for path in image_files(str(folder))]
    assert found == ["one.png", *(f"{name}/{i}.png" for name in ("ants", "cats") for i in range(5))]
    (tmp_path / "none").mkdir()
    with pytest.raises(FileFault, match="there are no images in"):
        image_files(str(tmp_path / "none"))


def test_every_format(folder: Path) -> None:
    for i, suffix in enumerate(("JPG", "jpeg", "bmp", "gif", "webp", "pgm")):
        draw(folder / "cats" / f"x{i}.{suffix}", 50, (4, 3))
    assert Images(folder).load(Access()).facts.train == 4 + 9


def test_without_pillow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with refused(r'takes Pillow, which is not installed; install it: `pip install "nnspec\[images\]"`'):
        Images(folder).facts()
    assert Images(folder, size=(4, 3)).facts().shape == (4, 3)  # nothing need be opened for that
    with pytest.raises(DataError, match="takes Pillow"):
        Images(folder, size=(4, 3)).load(Access())


def test_folders_that_do_not_fit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with refused("there is no folder"):
        Images(tmp_path / "none").facts()
    with refused("is not a folder; there is a sub-folder"):
        Images(folder / "cats" / "0.png").facts()
    with refused("has no sub-folders; there is one for each class"):
        Images(folder / "cats").facts()
    with refused("cannot be the name of a folder"):
        Images("a\0b").facts()
    (folder / "dogs").mkdir()
    with refused("class `dogs` of .* has 0 images, and 2 are the least"):
        Images(folder).facts()
    (folder / "dogs").rmdir()
    monkeypatch.setattr("nnspec.data.images.MOST_STORED", 10**6)
    with refused("take more than .*; read them smaller", "size"):
        Images(folder, size=(400, 400), colour="rgb").facts()
    monkeypatch.setattr("nnspec.data.images.MOST_FILES", 5)
    with refused("holds more than 5 files|holds 10 images, and 5"):
        Images(folder).facts()
    monkeypatch.setattr("nnspec.data.images.MOST_CLASSES", 1)
    with refused("has 2 sub-folders, and 1 classes are the most"):
        Images(folder).facts()


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind not in ("folder", "nothing")])
def test_what_is_no_file(folder: Path, kind: str) -> None:
    make, message = HOSTILE[kind]
    for name in ("0", "1", "2", "3", "4"):
        (folder / "ants" / f"{name}.png").unlink()
        make(folder / "ants" / f"{name}.png")
    with refused(message):
        Images(folder).facts()


def test_an_absurd_image(folder: Path) -> None:
    for i in range(5):
        (folder / "ants" / f"{i}.png").unlink()
        (folder / "ants" / f"{i}.pgm").write_bytes(b"P5 60000 60000 255\n")
    with refused("is not an image that can be read|has 60,000×60,000 pixels"):
        Images(folder).facts()
    with pytest.raises(DataError, match=r"is not an image that can be read|has 60,000×60,000 pixels"):
        Images(folder, size=(4, 3)).load(Access())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60), flips=st.lists(st.tuples(st.integers(0, 70), st.integers(1, 255)), max_size=5))
def test_any_bytes(folder: Path, content: bytes, flips: list[tuple[int, int]]) -> None:
    draw(folder / "cats" / "0.png", 7)
    sound = bytearray((folder / "cats" / "0.png").read_bytes())
    for at, flip in flips:
        sound[at % len(sound)] ^= flip
    for data in (content, b"P5 4 3 255\n" + content, bytes(sound), bytes(sound[: len(sound) // 2])):
        (folder / "cats" / "0.png").write_bytes(data)
        with suppress(FileFault):
            assert Images(folder, size=(4, 3)).load(Access()).facts.train == 8


def test_in_a_spec(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    text = spec(
        "Conv2D(4, 3, padding=same); ReLU; Flatten; Linear(data.classes)",
        data='Images("pictures", colour=rgb)',
        train="batch = 4; epochs = 1",
    )
    assert len(run(text)["run"].history["loss"]) == 1
    (found,) = check(Source("t.nn", spec("Linear(2)", data='Images("picture")'))).diagnostics
    assert (found.code, found.span.text) == ("NN502", '"picture"')
    source = Images("pictures")
    assert {"pictures", str(Path("pictures") / "cats")} <= set(source.looks_at())

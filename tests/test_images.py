"""Images in folders: classes, sizes, colours, and errors for other folders and files."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_files import HOSTILE, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_spec import run, spec

from nnspec.checker import check
from nnspec.data import Access, DataError, Facts, FileFault, Images, images
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
    with pytest.raises(DataError, match=r"of 2 sizes: 11 of 4×3, 1 of 5×3; `size = \(4, 3\)` scales all to one size"):
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
    for i, suffix in enumerate(("JPG", "jpeg", "bmp", "gif", "webp", "pgm", "TIF", "tiff", "jp2", "ppm")):
        draw(folder / "cats" / f"x{i}.{suffix}", 50, (4, 3))
    assert Images(folder).load(Access()).facts.train == 4 + 12


def test_without_pillow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with refused(r'takes Pillow, which is not installed; install it: `pip install "nnspec\[images\]"`'):
        Images(folder).facts()
    assert Images(folder, size=(4, 3)).facts().shape == (4, 3)  # nothing need be opened for that
    with pytest.raises(DataError, match="takes Pillow"):
        Images(folder, size=(4, 3)).load(Access())


def test_folders_that_do_not_fit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with refused("folder not found"):
        Images(tmp_path / "none").facts()
    with refused("is not a folder; there is a sub-folder"):
        Images(folder / "cats" / "0.png").facts()
    with refused("has no sub-folders; at least two sub-folders are needed"):
        Images(folder / "cats").facts()
    with refused("cannot be the name of a folder"):
        Images("a\0b").facts()
    (folder / "dogs").mkdir()
    with refused("class `dogs` of .* has no images, but at least 2 are needed"):
        Images(folder).facts()
    (folder / "dogs").rmdir()
    monkeypatch.setattr("nnspec.data.images.MOST_STORED", 10**6)
    with refused("take more than .*; read them smaller", "size"):
        Images(folder, size=(400, 400), colour="rgb").facts()
    monkeypatch.setattr("nnspec.data.images.MOST_FILES", 5)
    with refused("holds more than 5 files|holds 10 images, and 5"):
        Images(folder).facts()
    monkeypatch.setattr("nnspec.data.images.MOST_CLASSES", 1)
    with refused("has 2 sub-folders, but at most 1 classes are allowed"):
        Images(folder).facts()


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind not in ("folder", "nothing")])
def test_paths_that_are_not_files(folder: Path, kind: str) -> None:
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


# Folders as people have them


def tiny(data: str) -> str:
    return spec("Linear(data.classes)", data=data, train="epochs = 1; batch = 2")


@pytest.mark.parametrize(
    ("parts", "counts"),
    [
        (("train", "test"), (6, 4)),
        (("training", "testing"), (6, 4)),
        (("Train", "Val"), (6, 4)),  # what is held out is all there is to test with
        (("train", "valid", "test"), (10, 4)),  # four of them for validation
        (("train",), (4, 2)),  # 3 images a class, one of which is for testing
    ],
)
def test_folders_of_parts(tmp_path: Path, parts: tuple[str, ...], counts: tuple[int, int]) -> None:
    for part in parts:
        for name in ("a", "b"):
            for i in range(3 if part.lower().startswith("train") else 2):
                draw(tmp_path / "p" / part / name / "2020" / f"{i}.png", 7)
    data = Images(tmp_path / "p", test=0.3).load(Access())
    assert (data.facts.train, data.facts.test, data.class_names) == (*counts, ("a", "b"))
    assert data.notes == (("the images in `Val` are the test data",) if parts == ("Train", "Val") else ())
    assert data.facts.validation == (4 if len(parts) == 3 else 0)
    assert data.train.y[-4:].tolist() == ([0, 0, 1, 1] if len(parts) == 3 else data.train.y[-4:].tolist())


def test_parts_that_are_not_clear(tmp_path: Path) -> None:
    for part in ("train", "training"):
        draw(tmp_path / part / "a" / "0.png", 7)
    with refused("contains both `train` and `training`: which one is meant"):
        Images(tmp_path).facts()
    # A class may be called `train`, too.
    vehicles = tmp_path / "vehicles"
    for name in ("bus", "train"):
        for i in range(2):
            draw(vehicles / name / f"{i}.png", 7)
    assert Images(vehicles).load(Access()).class_names == ("bus", "train")


def test_other_files_are_skipped_and_counted(folder: Path) -> None:
    (folder / "ants" / "Thumbs.db").write_bytes(b"x")
    (folder / "ants" / "more.txt").write_bytes(b"x")
    (folder / "ants" / "LICENSE").write_bytes(b"x")
    (folder / "ants" / ".DS_Store").write_bytes(b"x")
    data = Images(folder).load(Access())
    (note,) = data.notes
    assert note.startswith("4 files of other kinds skipped: 2 .txt, ")
    assert sorted(note.split(": ")[1].split(", ")) == ["1 .db", "1 without a suffix", "2 .txt"]
    assert run(tiny(f'Images("{folder}")')).data[0].notes == data.notes


def test_folders_that_go_in_circles_or_deep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "ants" / "again").symlink_to(folder / "ants")
    (folder / "ants" / "up").symlink_to(folder)
    assert Images(folder).facts().train == 4 + 8  # all ten are below `ants`, and none of them twice
    (folder / "ants" / "up").unlink()
    assert Images(folder).facts().train == 8
    deep = folder / "cats" / Path(*["d"] * 33)
    draw(deep / "x.png", 7)
    with refused("nests them more than 32 deep"):
        Images(folder).facts()
    shutil.rmtree(folder / "cats" / "d")
    monkeypatch.setattr("nnspec.data.images.MOST_FOLDERS", 2)
    for i in range(3):
        (folder / "cats" / str(i)).mkdir()
    with refused("more than 2 folders"):
        Images(folder).facts()


def test_all_corrupt_images_are_named_at_once_or_skipped(folder: Path) -> None:
    broken = ["ants/1.png", "ants/3.png", "cats/0.png"]
    for name in broken[:2]:
        (folder / name).write_bytes((folder / name).read_bytes()[:20])  # not even a head
    sound = (folder / broken[2]).read_bytes()
    (folder / broken[2]).write_bytes(sound[:45])  # a head, and no pixels
    with pytest.raises(DataError, match="3 of 10 images cannot be read") as caught:
        Images(folder).load(Access())
    assert all(name in str(caught.value) for name in broken)
    assert str(caught.value).endswith("; remove or replace them, or leave them out with `corrupt = skip`")
    text = tiny(f'Images("{folder}", corrupt=skip, test=0.3)')
    assert check(Source("t.nn", text)).diagnostics == ()
    use = run(text).data[0]
    assert (use.train, use.test) == (2 + 3, 1 + 1)
    assert use.notes == (
        "2 of 5 images in `ants` could not be read and were skipped: ants/1.png, ants/3.png",
        "1 of 5 images in `cats` could not be read and were skipped: cats/0.png",
        "1 file of other kinds skipped: 1 .txt",
    )
    skipped = Images(folder, corrupt="skip").load(Access())
    for name in broken:
        (folder / name).unlink()
    assert Images(folder).load(Access()).sha256 == skipped.sha256
    for path in (folder / "ants").iterdir():
        path.write_bytes(b"x")
    with refused("class `ants` of .* has no images that can be read"):
        Images(folder, corrupt="skip").facts()
    # The first image decides the size: where it cannot be read, all that cannot be opened are named.
    with refused("3 of 7 images cannot be read: .*ants/.*ants/.*ants/"):
        Images(folder).facts()


def test_what_each_kind_of_image_becomes(tmp_path: Path) -> None:
    """Hand values: L = (299 R + 587 G + 114 B) / 1000 (ITU-R 601), CMYK as R = 255 (1 − C)(1 − K)."""
    path = tmp_path / "x.tif"

    def grey(image: Image.Image, **more: object) -> int:
        image.save(path, **more)
        return int(read_image(str(path), (2, 2))[0][1, 1])

    def colour(image: Image.Image) -> list[int]:
        image.save(path)
        return read_image(str(path), (3, 2, 2))[0][:, 1, 1].tolist()

    assert grey(Image.new("L", (2, 2), 77)) == 77
    assert grey(Image.new("1", (2, 2), 1)) == 255
    assert grey(Image.new("RGB", (2, 2), (10, 20, 30))) == (2990 + 11740 + 3420) // 1000
    assert grey(Image.fromarray(np.full((2, 2), 0x1234, np.uint16))) == 0x12
    assert grey(Image.fromarray(np.full((2, 2), 0xFFFF, np.int32))) == 0xFF
    assert grey(Image.new("RGBA", (2, 2), (0, 0, 0, 0))) == 255
    assert grey(Image.new("LA", (2, 2), (0, 51))) == 204  # a fifth of black on white
    assert colour(Image.new("CMYK", (2, 2), (0, 255, 255, 0))) == [255, 0, 0]
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert colour(palette) == [9, 8, 7]
    for odd, message in (
        (np.full((2, 2), 0.5, np.float32), "contains floats"),
        (np.full((2, 2), 70_000, np.int32), "70,000"),
        (np.full((2, 2), -1, np.int32), "is not an intact image|save it with 8 or 16 bits"),
    ):
        Image.fromarray(odd).save(path)
        with pytest.raises(FileFault, match=message):
            read_image(str(path), (2, 2))


def test_images_with_16_bits_are_reported(folder: Path) -> None:
    for path in (folder / "ants").iterdir():
        Image.fromarray(np.full((4, 3), 4000, np.uint16)).save(path)
    data = Images(folder).load(Access())
    assert set(data.train.x[data.train.y == 0].reshape(-1)) == {4000 >> 8}
    assert data.notes[-1] == (
        "5 images have 16 bits per pixel: only the upper 8 were read, of "
        "values up to 4,000; multiply them by 16 to use all 8"
    )


def test_an_image_is_decoded_again_only_after_it_has_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5, 75):  # more images than results are kept of other readers
        draw(folder / "cats" / f"{i}.png", i)
    decoded: list[str] = []
    decode = images._bytes

    def counted(image: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        decoded.append(Path(path).name)
        return decode(image, path, *args, **kwargs)

    monkeypatch.setattr(images, "_bytes", counted)
    source = Images(folder, size=(4, 3), corrupt="skip")
    before = source.facts()
    assert len(decoded) == 80
    assert source.facts() == before
    assert len(decoded) == 80
    (folder / "cats" / "7.png").write_bytes(b"no image")
    after = source.facts()
    assert (after.train + after.test, len(decoded)) == (79, 80)
    draw(folder / "cats" / "7.png", 200, (5, 5))
    assert source.facts() == before
    assert decoded[80:] == ["7.png"]

"""Images of one's own: a folder with a sub-folder for each class. Reading them takes Pillow (`nnspec[images]`)."""

from __future__ import annotations

import os
import stat
import warnings
from math import prod
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

from nnspec.data.files import Seed, Share, digest_of, open_regular, shares, shown, size_in_words
from nnspec.data.source import Access, Dataset, DataSource, Facts, FileFault, Split
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, BareWord, FilePath, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Images", "image_files", "is_image", "read_image"]

MOST_FILES = 200_000
MOST_CLASSES = 1000
MOST_STORED = 1 << 30
MOST_BYTES = 1 << 26  # of one file
MOST_PIXELS = 1 << 26
_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WEBP",
} | dict.fromkeys((".pgm", ".ppm", ".pbm"), "PPM")

Side = Annotated[int, Range(low=1, high=4096)]


class Images(DataSource):
    """Images in a folder, a sub-folder a class, as torchvision's ImageFolder has them: classes are the names of the
    sub-folders, sorted. Where the folder holds `train` and `test`, these hold the classes; else a random `test` of each
    class's images is for testing, by `seed`.

    Each is read as 8-bit grey `(height, width)`, or in colour `(3, height, width)` with `colour = rgb`; bytes stand for
    0 to 1. It is upright as its camera says, and white where it is transparent.
    With `size = (height, width)` images are scaled to that; without it all must be of one size.
    PNG, JPEG, BMP, GIF (its first image), WebP and PNM; whatever else lies in the sub-folders is passed over.
    """

    spec_name = "Images"
    also = ("ImageFolder", "image_dataset_from_directory", "Folder")

    def __init__(
        self,
        path: Annotated[FilePath, Also("folder", "dir", "root", "directory")],
        *,
        size: Annotated[tuple[Side, Side] | None, Also("image_size", "resize", "target_size")] = None,
        colour: Annotated[Literal["grey", "rgb"], Also("color", "mode", "color_mode")] = "grey",
        test: Share = 0.2,
        seed: Seed = 0,
    ) -> None:
        self.path = FilePath(path)
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.colour = BareWord(colour)
        self.test, self.seed = test, seed

    def looks_at(self) -> tuple[str, ...]:
        """The folders: they change where a file comes or goes."""
        found = [str(self.path)]
        for folder in [found[0], *(os.path.join(self.path, part) for part in ("train", "test"))]:
            try:
                with os.scandir(folder) as entries:
                    found += [
                        entry.path
                        for entry, _ in zip(entries, range(MOST_CLASSES), strict=False)
                        if _is_folder(entry.path)
                    ]
            except (OSError, ValueError):
                continue
        return tuple(dict.fromkeys(found))

    def facts(self) -> Facts:
        """Classes and counts by the folders' entries, and the size by the first image where it is not given."""
        return self._facts(*self._files())

    def load(self, access: Access) -> Dataset:
        """Read the images. `access` is not used: the path says where they are.

        Raises DataError for what `facts` does, and for an image that cannot be read or is of another size.
        """
        names, train, test = self._files()
        facts = self._facts(names, train, test)
        splits = [self._read(files, facts) for files in (train, test)]
        return Dataset(
            source=self.spec_name,
            facts=facts,
            train=splits[0],
            test=splits[1],
            divisor=255.0,
            sha256=digest_of(array for split in splits for array in (split.x, split.y)),
            origin=os.path.abspath(self.path),
            class_names=tuple(names),
        )

    def _facts(self, names: list[str], train: list[tuple[str, int]], test: list[tuple[str, int]]) -> Facts:
        size = self.size or self._size_of(train[0][0])
        shape = (3, *size) if self.colour == "rgb" else size
        if prod(shape) * (len(train) + len(test)) > MOST_STORED:
            message = (
                f"{len(train) + len(test):,} images of {size[0]}×{size[1]} take more than {size_in_words(MOST_STORED)}"
            )
            raise FileFault(
                message, argument="size" if self.size else "path", help="read them smaller: `size = (64, 64)`"
            )
        return Facts(shape, len(names), len(train), len(test))

    def _files(self) -> tuple[list[str], list[tuple[str, int]], list[tuple[str, int]]]:
        """Return the classes' names, and path and class of every image for training and for testing."""
        halves = [os.path.join(self.path, part) for part in ("train", "test")]
        if all(map(_is_folder, halves)):
            names, other = (_folders(half) for half in halves)
            if names != other:
                odd = sorted(set(names) ^ set(other))[0]
                raise FileFault(f"only one of {shown(halves[0])} and {shown(halves[1])} has the class `{shown(odd)}`")
            found = [[[*_images(os.path.join(half, name))] for name in names] for half in halves]
            parts = [[(path, k) for k, paths in enumerate(half) for path in paths] for half in found]
            for half, part in zip(halves, parts, strict=True):
                if not part:
                    raise FileFault(f"there are no images in {shown(half)}")
            self._check(names, sum(map(len, parts)))
            return names, parts[0], parts[1]
        names = _folders(self.path)
        train: list[tuple[str, int]] = []
        test: list[tuple[str, int]] = []
        for k, name in enumerate(names):
            paths = _images(os.path.join(self.path, name))
            if len(paths) < 2:
                message = f"class `{shown(name)}` of {shown(self.path)} has {len(paths)} images, and 2 are the least"
                raise FileFault(message, help="one is for training and one for testing; hidden files do not count")
            words = np.random.PCG64([self.seed, k]).random_raw(len(paths))
            order = [paths[i] for i in np.argsort(words, kind="stable")]
            border = shares(len(paths), self.test)[0]
            train += [(path, k) for path in order[:border]]
            test += [(path, k) for path in order[border:]]
        self._check(names, len(train) + len(test))
        return names, train, test

    def _check(self, names: list[str], files: int) -> None:
        if len(names) < 2:
            what = f"{shown(self.path)} has {len(names) or 'no'} sub-folder{'s' * (len(names) != 1)}"
            raise FileFault(what, help="there is one for each class, and 2 are the least")
        if files > MOST_FILES:
            raise FileFault(f"{shown(self.path)} holds {files:,} images, and {MOST_FILES:,} are the most")

    def _size_of(self, path: str) -> tuple[int, int]:
        with _open(path) as file, _image(file, path) as image:
            return _size(image)

    def _read(self, files: list[tuple[str, int]], facts: Facts) -> Split:
        x = np.empty((len(files), *facts.shape), np.uint8)
        height, width = facts.shape[-2:]
        for i, (path, _) in enumerate(files):
            with _open(path) as file, _image(file, path) as image:
                x[i] = self._pixels(image, path, height, width)
        return Split(x.reshape(len(files), -1), np.array([k for _, k in files], np.int64))

    def _pixels(self, image: Any, path: str, height: int, width: int) -> NDArray[Any]:
        found = _size(image)
        if self.size is None and found != (height, width):
            what = f"is {found[0]}×{found[1]}, and the first is {height}×{width}"
            raise FileFault(f"{shown(path)} {what}", help=f"`size = ({height}, {width})` scales all to one size")
        return _bytes(image, path, (height, width), rgb=self.colour == "rgb")


def _turned(image: Any) -> int:
    """Return how a camera says that the image is to be turned: EXIF's orientation, 1 to 8."""
    try:
        turned = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001  (EXIF that is damaged says nothing, and the image may be whole)
        return 1
    return turned if turned in range(1, 9) else 1


def _size(image: Any) -> tuple[int, int]:
    """Return height and width as the image is looked at."""
    return (image.width, image.height) if _turned(image) >= 5 else (image.height, image.width)


def _bytes(image: Any, path: str, size: tuple[int, int], *, rgb: bool) -> NDArray[Any]:
    """Return an image as bytes, grey `(height, width)` or coloured `(3, height, width)`: upright, what is transparent
    white, and scaled where it has another size. Raises FileFault for one that is not intact."""
    from PIL import Image, ImageOps

    try:
        if _turned(image) > 1:
            image = ImageOps.exif_transpose(image)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        pixels = _eight_bits(image).convert("RGB" if rgb else "L")
        height, width = size
        if pixels.size != (width, height):
            pixels = pixels.resize((width, height))
        array: NDArray[Any] = np.asarray(pixels, np.uint8)
    except Exception as error:  # noqa: BLE001  (Pillow says a broken file in many ways)
        raise FileFault(f"{shown(path)} is not an intact image: {_line(error)}") from None
    return array.transpose(2, 0, 1) if rgb else array


def _eight_bits(image: Any) -> Any:
    """Return an image of 16 bits a pixel with its upper eight; Pillow would cut off what is above 255."""
    if not image.mode.startswith("I;16") and image.mode != "I":
        return image
    from PIL import Image

    return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))


def is_image(path: str) -> bool:
    """Whether a file is called as images are."""
    return os.path.splitext(path)[1].lower() in _FORMATS


def read_image(path: str, shape: tuple[int, ...]) -> tuple[NDArray[Any], tuple[int, int]]:
    """Read an image as training images are read, as bytes of a shape, `(height, width)` for grey or
    `(3, height, width)` for colour, scaled to it, and return it with the height and width that it had.

    Raises FileFault for what is no intact image.
    """
    with _open(path) as file, _image(file, path) as image:
        return _bytes(image, path, (shape[-2], shape[-1]), rgb=len(shape) == 3), _size(image)


def image_files(folder: str) -> list[str]:
    """Return the images in a folder and in its sub-folders, sorted by their paths.

    Raises FileFault for a folder that cannot be read, or with none.
    """
    inside = sorted(entry.path for entry in _entries(folder, MOST_FILES) if _is_folder(entry.path))
    found = [path for place in (folder, *inside) for path in _images(place)]
    if not found:
        raise FileFault(f"there are no images in {shown(folder)}", help=f"known are {', '.join(_FORMATS)}")
    if len(found) > MOST_FILES:
        raise FileFault(f"{shown(folder)} holds {len(found):,} images, and {MOST_FILES:,} are the most")
    return found


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _entries(folder: FilePath | str, most: int) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = [
                entry for entry, _ in zip(entries, range(most + 1), strict=False) if not entry.name.startswith(".")
            ]
    except FileNotFoundError:
        raise FileFault(
            f"there is no folder {shown(folder)}", help="a path starts from the folder that the spec lies in"
        ) from None
    except NotADirectoryError:
        raise FileFault(f"{shown(folder)} is not a folder", help="there is a sub-folder in it for each class") from None
    except OSError as error:
        raise FileFault(f"{shown(folder)} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise FileFault("this cannot be the name of a folder") from None
    if len(found) > most:
        raise FileFault(f"{shown(folder)} holds more than {most:,} files")
    return sorted(found, key=lambda entry: entry.name)


def _folders(folder: FilePath | str) -> list[str]:
    """Return the names of the classes."""
    names = [entry.name for entry in _entries(folder, MOST_CLASSES * 10) if _is_folder(entry.path)]
    if len(names) > MOST_CLASSES:
        raise FileFault(f"{shown(folder)} has {len(names):,} sub-folders, and {MOST_CLASSES:,} classes are the most")
    return names


def _images(folder: str) -> list[str]:
    """Return the paths of the images in a folder, sorted by name."""
    entries = _entries(folder, MOST_FILES)
    return [
        entry.path
        for entry in entries
        if os.path.splitext(entry.name)[1].lower() in _FORMATS and not _is_folder(entry.path)
    ]


def _open(path: str) -> IO[bytes]:
    return open_regular(path, MOST_BYTES)[0]


def _image(file: IO[bytes], path: str) -> Any:
    """Open an image: its head is read, and no pixel. Raises FileFault for what is none, DataError without Pillow."""
    try:
        from PIL import Image
    except ImportError:
        raise FileFault(
            "reading images takes Pillow, which is not installed", help='install it: `pip install "nnspec[images]"`'
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = Image.open(file, formats=sorted(set(_FORMATS.values())))
    except Exception as error:  # noqa: BLE001  (Pillow says a broken file in many ways)
        reason = "" if "cannot identify" in str(error) else f": {_line(error)}"
        raise FileFault(f"{shown(path)} is not an image that can be read{reason}") from None
    if image.width * image.height > MOST_PIXELS:
        raise FileFault(f"{shown(path)} has {image.height:,}×{image.width:,} pixels, and {MOST_PIXELS:,} are the most")
    return image


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())[:120]
    return text if text.isprintable() else ascii(text)[1:-1]

"""The user's own images: a folder with one sub-folder per class. Reading them requires Pillow (`nnspec[images]`)."""

from __future__ import annotations

import math
import os
import stat
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from math import prod
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from nnspec.data.files import digest_of, open_file, remembered, shown, size_in_words
from nnspec.data.source import Access, Dataset, DataSource, Facts, FileFault, Split
from nnspec.data.splitting import Seed, Share, shares
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, FilePath, Range
from nnspec.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Images", "image_files", "is_image", "read_image"]

MOST_FILES = 200_000
MOST_FOLDERS = 20_000
MOST_DEPTH = 32
MOST_CLASSES = 1000
MOST_STORED = 1 << 30
MOST_BYTES = 1 << 26  # of one file
MOST_PIXELS = 1 << 26
_LISTED = 10
# Pillow reads more formats. Those start another program (EPS, PDF), or cannot be recognised by their content (TGA).
_FORMATS = {
    ".png": "PNG",
    ".apng": "PNG",
    ".gif": "GIF",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".qoi": "QOI",
} | {
    suffix: name
    for name, suffixes in {
        "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
        "JPEG2000": (".jp2", ".j2k", ".jpx"),
        "TIFF": (".tif", ".tiff"),
        "BMP": (".bmp", ".dib"),
        "PPM": (".pgm", ".ppm", ".pbm", ".pnm"),
    }.items()
    for suffix in suffixes
}
_PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The folder names that denote a split."""

Side = Annotated[int, Range(low=1, high=4096)]


class _File(NamedTuple):
    """An image and its class."""

    path: str
    label: int


@dataclass
class _Found:
    """The contents of a folder of images."""

    names: list[str]
    """The classes."""
    train: list[_File]
    test: list[_File]
    validation: list[_File] = field(default_factory=list)
    """Images for validation."""
    folders: list[str] = field(default_factory=list)
    """All folders that were searched."""
    others: Counter[str] = field(default_factory=Counter)
    """How many files of other kinds there are, by their suffix."""
    notes: list[str] = field(default_factory=list)


class Images(DataSource):
    """Images in a folder with one sub-folder per class, as in torchvision's ImageFolder. Classes are the names of the
    sub-folders, sorted; images may be nested deeper. If the folder contains `train` and `test` (or `training`,
    `testing`), these contain the classes. An additional `val` (`valid`, `validation`, `dev`) is used for validation
    (`train.validation = given`, the default), or as the test set if there is no other. Otherwise a random fraction
    `test` of each class is held out for testing, by `seed`.

    Images are read as 8-bit grey `(height, width)`, or with `colour = rgb` as `(3, height, width)`; bytes are scaled to
    [0, 1]. EXIF orientation is applied, and transparent areas become white. Of 16 bits per pixel, the upper 8 are used;
    palettes and CMYK become RGB; of several frames, the first is read. Pixels that are floats are an error. With
    `size = (height, width)` images are resized; without it all must have the same size.
    PNG, JPEG, TIFF, BMP, GIF, WebP, AVIF, JPEG 2000, PNM and QOI are read, where Pillow supports them; other files are
    skipped and counted. An image that cannot be read is an error, or skipped with `corrupt = skip`.
    """

    spec_name = "Images"
    also = ("ImageFolder", "image_dataset_from_directory", "Folder")

    path: Annotated[FilePath, Also("folder", "dir", "root", "directory")]
    _: KW_ONLY
    size: Annotated[tuple[Side, Side] | None, Also("image_size", "resize", "target_size")] = None
    colour: Annotated[Literal["grey", "rgb"], Also("color", "mode", "color_mode")] = "grey"
    test: Share = 0.2
    seed: Seed = 0
    corrupt: Annotated[Literal["error", "skip"], Also("broken", "invalid", "on_error")] = "error"

    def looks_at(self) -> tuple[str, ...]:
        """The folders: they change when a file is added or removed."""
        try:
            return tuple(dict.fromkeys([str(self.path), *self._files().folders]))
        except FileFault:
            return (str(self.path),)

    def facts(self) -> Facts:
        """Count classes and images by listing the folders, and read the size off the first image if none is given. With
        `corrupt = skip`, all images are read to find out which can be."""
        return self._facts(self._files())

    def load(self, access: Access) -> Dataset:
        """Read the images. `access` is not used: the path says where they are.

        Raises DataError for whatever `facts` rejects, for images that cannot be read, and for images of several sizes.
        """
        found = self._files()
        facts = self._facts(found)
        pixels = _Pixels(self, facts)
        splits = [pixels.read(files) for files in (found.train + found.validation, found.test)]
        pixels.check()
        return Dataset(
            source=self.spec_name,
            facts=facts,
            train=splits[0],
            test=splits[1],
            divisor=255.0,
            sha256=digest_of(array for split in splits for array in (split.x, split.y)),
            origin=os.path.abspath(self.path),
            class_names=tuple(found.names),
            notes=(*found.notes, *pixels.notes()),
        )

    def _facts(self, found: _Found) -> Facts:
        files = [*found.train, *found.validation, *found.test]
        size = self.size or self._first_size(files)
        shape = (3, *size) if self.colour == "rgb" else size
        if prod(shape) * len(files) > MOST_STORED:
            message = f"{len(files):,} images of {size[0]}×{size[1]} take more than {size_in_words(MOST_STORED)}"
            raise FileFault(
                message, argument="size" if self.size else "path", help="read them smaller: `size = (64, 64)`"
            )
        held_out = len(found.validation)
        return Facts(shape, len(found.names), len(found.train) + held_out, len(found.test), validation=held_out)

    def _first_size(self, files: Sequence[_File]) -> tuple[int, int]:
        """Return the size of the first image. Raises FileFault where it cannot be read, naming all that cannot."""
        try:
            return _size_of(files[0].path)
        except FileFault:
            faults = {path: _fault_of(path) for path, _ in files}  # raises if Pillow is not installed
        raise _broken({path: fault for path, fault in faults.items() if fault}, len(files))

    def _files(self) -> _Found:
        """Find the classes, and every image for training and for testing."""
        folders = _folders(self.path)
        parts = self._parts(folders)
        if "train" not in parts or (len(parts) == 1 and len(folders) > 1):
            found = self._split(self.path, folders)
        elif len(parts) == 1:
            found = self._split(parts["train"], _folders(parts["train"]))
        else:
            found = self._given(parts)
            if "test" not in parts:
                found.notes.append(f"the images in `{os.path.basename(parts['val'])}` are the test data")
        if found.others:
            kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in found.others.most_common(_LISTED))
            total = found.others.total()
            found.notes.append(f"{total:,} file{'s' if total > 1 else ''} of other kinds skipped: {kinds}")
        self._check(found.names, len(found.train) + len(found.validation) + len(found.test))
        return found

    def _parts(self, folders: Sequence[str]) -> dict[str, str]:
        """Return the folders by the split that they contain. Raises FileFault for two of the same split."""
        parts: dict[str, str] = {}
        for name in folders:
            for part, names in _PARTS.items():
                if name.lower() in names:
                    if part in parts:
                        both = f"both `{os.path.basename(parts[part])}` and `{name}`"
                        raise FileFault(
                            f"{shown(self.path)} contains {both}: which one is meant?", help="keep one of them"
                        )
                    parts[part] = os.path.join(self.path, name)
        return parts

    def _given(self, parts: dict[str, str]) -> _Found:
        """Find the images of a folder that is already split."""
        train, *others = (parts[part] for part in ("train", "test", "val") if part in parts)
        names = _folders(train)
        for other in others:
            if odd := sorted(set(names) ^ set(_folders(other))):
                raise FileFault(f"only one of {shown(train)} and {shown(other)} has the class `{shown(odd[0])}`")
        found = _Found(names, [], [])
        for half, files in zip((train, *others), (found.train, found.test, found.validation), strict=False):
            for k, name in enumerate(names):
                files += [_File(path, k) for path in self._images(os.path.join(half, name), found)]
            if not files:
                raise FileFault(f"there are no images in {shown(half)}", help=_known_kinds())
        return found

    def _split(self, folder: str, names: list[str]) -> _Found:
        """Find the images of a folder, and split each class at random."""
        found = _Found(names, [], [])
        for k, name in enumerate(names):
            paths = self._images(os.path.join(folder, name), found)
            least = 2 if self.test else 1
            if len(paths) < least:
                count = f"{len(paths) or 'no'} image{'s' * (len(paths) != 1)}"
                count += " that can be read" if self.corrupt == "skip" else ""
                needed = "at least 2 are needed" if self.test else "at least 1 is needed"
                message = f"class `{shown(name)}` of {shown(folder)} has {count}, but {needed}"
                use = "one is for training and one for testing; " if self.test else ""
                raise FileFault(message, help=f"{use}{_known_kinds()}")
            words = np.random.PCG64([self.seed, k]).random_raw(len(paths))
            order = [paths[i] for i in np.argsort(words, kind="stable")]
            border = shares(len(paths), self.test)[0]
            found.train += [_File(path, k) for path in order[:border]]
            found.test += [_File(path, k) for path in order[border:]]
        return found

    def _images(self, folder: str, found: _Found) -> list[str]:
        """Return the images of a class; with `corrupt = skip`, only those that can be read."""
        tree = _walk(folder)
        found.folders += tree.folders
        found.others += tree.others
        if self.corrupt != "skip":
            return tree.images
        broken = [path for path in tree.images if _fault_of(path)]
        if broken:
            names = ", ".join(shown(os.path.relpath(path, self.path)) for path in broken[:_LISTED])
            more = f" and {len(broken) - _LISTED:,} more" if len(broken) > _LISTED else ""
            found.notes.append(
                f"{len(broken):,} of {len(tree.images):,} images in "
                f"`{shown(os.path.basename(folder))}` could not be read "
                f"and were skipped: {names}{more}"
            )
        return [path for path in tree.images if path not in set(broken)]

    def _check(self, names: list[str], files: int) -> None:
        if len(names) < 2:
            what = f"{shown(self.path)} has {len(names) or 'no'} sub-folder{'s' * (len(names) != 1)}"
            raise FileFault(what, help="at least two sub-folders are needed, one per class")
        if files > MOST_FILES:
            raise FileFault(f"{shown(self.path)} holds {files:,} images, but at most {MOST_FILES:,} are allowed")


class _Pixels:
    """Reads images, and collects all faults."""

    def __init__(self, source: Images, facts: Facts) -> None:
        self._source, self._facts = source, facts
        self._broken: dict[str, str] = {}
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._deep = 0
        self._largest = 0
        self._count = 0

    def read(self, files: Sequence[_File]) -> Split:
        """Read images as bytes, one row per image."""
        x = np.empty((len(files), *self._facts.shape), np.uint8)
        self._count += len(files)
        for i, (path, _) in enumerate(files):
            try:
                with _open(path) as file, _image(file, path) as image:
                    self._take(image, path, x[i])
            except FileFault as fault:
                if _pillow() is None:
                    raise
                self._broken[path] = fault.message
        return Split(x.reshape(len(files), math.prod(x.shape[1:])), np.array([k for _, k in files], np.int64))

    def _take(self, image: Any, path: str, row: NDArray[Any]) -> None:
        size, wanted = _size(image), self._facts.shape[-2:]
        self._sizes[size] += 1
        if self._source.size is None and size != wanted:
            return
        row[...] = _bytes(image, path, (wanted[0], wanted[1]), rgb=self._source.colour == "rgb")
        if _is_deep(image):
            self._deep += 1
            self._largest = max(self._largest, int(np.asarray(image).max(initial=0)))

    def check(self) -> None:
        """Raise FileFault for images that could not be read, or that differ in size."""
        if self._broken:
            raise _broken(self._broken, self._count)
        if self._source.size is None and len(self._sizes) > 1:
            usual = self._sizes.most_common(_LISTED)
            listed = ", ".join(f"{count:,} of {h}×{w}" for (h, w), count in usual)
            more = f" and {len(self._sizes) - _LISTED:,} sizes more" if len(self._sizes) > _LISTED else ""
            raise FileFault(
                f"the images in {shown(self._source.path)} are of {len(self._sizes):,} sizes: {listed}{more}",
                help=f"`size = ({usual[0][0][0]}, {usual[0][0][1]})` scales all to one size",
            )

    def notes(self) -> list[str]:
        """Return a note on images with 16 bits per pixel, if there are any."""
        if not self._deep:
            return []
        note = (
            f"{self._deep:,} image{'s have' if self._deep > 1 else ' has'} "
            "16 bits per pixel: only the upper 8 were read"
        )
        if self._largest < 1 << 15:
            note += (
                f", of values up to {self._largest:,}; multiply them by {65_535 // max(self._largest, 1)} to use all 8"
            )
        return [note]


def _broken(faults: dict[str, str], count: int) -> FileFault:
    """Name all images that cannot be read."""
    if len(faults) == 1:
        message = next(iter(faults.values()))
    else:
        listed = "; ".join(faults[path] for path in sorted(faults)[:_LISTED])
        more = f"; and {len(faults) - _LISTED:,} more" if len(faults) > _LISTED else ""
        message = f"{len(faults):,} of {count:,} images cannot be read: {listed}{more}"
    return FileFault(message, help="remove or replace them, or leave them out with `corrupt = skip`")


def _fault_of(path: str) -> str:
    """Return what is wrong with an image, or "" for one that can be read; cached while it does not change."""

    def fault_in(file: IO[bytes]) -> str:
        try:
            with _image(file, path) as image:
                _bytes(image, path, _size(image), rgb=True)
        except FileFault as fault:
            if _pillow() is None:
                raise
            return fault.message
        return ""

    try:
        return remembered(fault_in, path, MOST_BYTES, entries=MOST_FILES)
    except FileFault as fault:
        if _pillow() is None:
            raise
        return fault.message


def _size_of(path: str) -> tuple[int, int]:
    with _open(path) as file, _image(file, path) as image:
        return _size(image)


def _turned(image: Any) -> int:
    """Return the EXIF orientation, 1 to 8."""
    try:
        turned = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001  (damaged EXIF is ignored: the image itself may be intact)
        return 1
    return turned if turned in range(1, 9) else 1


def _size(image: Any) -> tuple[int, int]:
    """Return height and width of the upright image."""
    return (image.width, image.height) if _turned(image) >= 5 else (image.height, image.width)


def _bytes(image: Any, path: str, size: tuple[int, int], *, rgb: bool) -> NDArray[Any]:
    """Return an image as bytes, grey `(height, width)` or coloured `(3, height, width)`: upright, on
    white, and resized to `size`. Raises FileFault for one that is not intact."""
    from PIL import Image, ImageOps

    if image.mode == "F":
        raise FileFault(f"{shown(path)} contains floats: save it with 8 or 16 bits per pixel")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mostly about metadata; damaged pixels raise an error
            image.load()
        if _turned(image) > 1:
            image = ImageOps.exif_transpose(image)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        pixels = _eight_bits(image, path).convert("RGB" if rgb else "L")
        height, width = size
        if pixels.size != (width, height):
            pixels = pixels.resize((width, height))
        array: NDArray[Any] = np.asarray(pixels, np.uint8)
    except FileFault:
        raise
    except Exception as error:  # noqa: BLE001  (Pillow raises many types of error for a damaged file)
        raise FileFault(f"{shown(path)} is not an intact image: {_line(error)}") from None
    return array.transpose(2, 0, 1) if rgb else array


def _is_deep(image: Any) -> bool:
    """Whether an image has 16 bits per pixel, which Pillow may give as 32."""
    return bool(image.mode.startswith("I;16") or image.mode == "I")


def _eight_bits(image: Any, path: str) -> Any:
    """Return the upper 8 of 16 bits per pixel; Pillow would clip values above 255."""
    if not _is_deep(image):
        return image
    from PIL import Image

    pixels = np.asarray(image).astype(np.int64)
    if pixels.size and not 0 <= pixels.min() <= pixels.max() < 1 << 16:
        raise FileFault(f"{shown(path)} holds {pixels.max():,}: save it with 8 or 16 bits per pixel")
    return Image.fromarray((pixels >> 8).astype(np.uint8))


def is_image(path: str) -> bool:
    """Whether a file has the suffix of an image."""
    return os.path.splitext(path)[1].lower() in _FORMATS


def read_image(path: str, shape: tuple[int, ...]) -> tuple[NDArray[Any], tuple[int, int]]:
    """Read an image as training images are read, as bytes of a shape, `(height, width)` for grey or
    `(3, height, width)` for colour, scaled to it, and return it with the height and width that it had.

    Raises FileFault for a file that is not an intact image.
    """
    with _open(path) as file, _image(file, path) as image:
        return _bytes(image, path, (shape[-2], shape[-1]), rgb=len(shape) == 3), _size(image)


def image_files(folder: str) -> list[str]:
    """Return the images in a folder and in its sub-folders, sorted by their paths.

    Raises FileFault for a folder that cannot be read, or with none.
    """
    found = _walk(folder).images
    if not found:
        raise FileFault(f"there are no images in {shown(folder)}", help=_known_kinds())
    return found


class _Tree(NamedTuple):
    """A folder and all below it."""

    images: list[str]
    """Sorted, those of a folder before those of its sub-folders."""
    folders: list[str]
    others: Counter[str]


def _walk(folder: str) -> _Tree:
    """Find all images in a folder and below it. Symbolic links are followed, and no folder is entered twice.

    Raises FileFault for more files or folders, or deeper ones, than are read.
    """
    tree = _Tree([], [], Counter())
    waiting, seen = [(folder, 0)], set()
    while waiting:
        here, depth = waiting.pop()
        entries = _entries(here, MOST_FILES)
        try:
            status = os.stat(here)
        except OSError as error:
            raise FileFault(f"{shown(here)} cannot be read: {error.strerror or error}") from None
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        tree.folders.append(here)
        if depth > MOST_DEPTH or len(tree.folders) > MOST_FOLDERS:
            raise FileFault(
                f"{shown(folder)} has more than {MOST_FOLDERS:,} folders, or nests them more than {MOST_DEPTH} deep"
            )
        inside = []
        for entry in entries:
            if _is_folder(entry.path):
                inside.append((entry.path, depth + 1))
            elif is_image(entry.name):
                tree.images.append(entry.path)
            else:
                tree.others[os.path.splitext(entry.name)[1].lower() or "without a suffix"] += 1
        if len(tree.images) > MOST_FILES:
            raise FileFault(f"{shown(folder)} holds more than {MOST_FILES:,} images, the most that nnspec reads")
        waiting += reversed(inside)
    return tree


def _known_kinds() -> str:
    return f"supported formats are {', '.join(sorted(_FORMATS))}; hidden files are ignored"


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
            f"folder not found: {shown(folder)}", help="paths are relative to the folder of the spec"
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
        raise FileFault(
            f"{shown(folder)} has {len(names):,} sub-folders, but at most {MOST_CLASSES:,} classes are allowed"
        )
    return names


def _open(path: str) -> IO[bytes]:
    return open_file(path, MOST_BYTES)


def _pillow() -> Any:
    """Return Pillow's module for images, None where it is not installed."""
    try:
        from PIL import Image
    except ImportError:
        return None
    return Image


def _image(file: IO[bytes], path: str) -> Any:
    """Open an image, reading only its header. Raises FileFault for a file that is not an image, and without Pillow."""
    Image = _pillow()
    if Image is None:
        raise FileFault(
            "reading images takes Pillow, which is not installed", help='install it: `pip install "nnspec[images]"`'
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Image.init()
            image = Image.open(file, formats=sorted(set(_FORMATS.values()) & Image.OPEN.keys()))
    except Exception as error:  # noqa: BLE001  (Pillow raises many types of error for a damaged file)
        reason = "" if "cannot identify" in str(error) else f": {_line(error)}"
        raise FileFault(f"{shown(path)} is not an image that can be read{reason}") from None
    if image.width * image.height > MOST_PIXELS:
        raise FileFault(
            f"{shown(path)} has {image.height:,}×{image.width:,} pixels, but at most {MOST_PIXELS:,} are allowed"
        )
    return image


def _line(error: BaseException) -> str:
    return printable(" ".join(str(error).split())[:120])

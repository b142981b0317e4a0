"""The user's own arrays, from NumPy's files: an `.npz` with all of them, or an `.npy` for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.data.array_source import ArraySource, Pair, Parts
from nnspec.data.files import shown
from nnspec.data.named_targets import join_targets
from nnspec.data.npy import NumpyArray, array_names, listed_names
from nnspec.data.several import SeveralArrays, check_names, each_of
from nnspec.data.source import FileFault, Remark
from nnspec.engine.part import Also, FilePath
from nnspec.text import quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NPY", "NPZ", "TARGETS", "read_labels", "read_samples"]

_SAMPLES = ("x", "data", "features", "inputs", "images")
TARGETS = ("y", "target", "targets", "labels", "label")
_WEIGHTS = ("w", "sample_weight", "sample_weights")
_VALIDATION = ("val", "valid", "validation", "dev")


class NPZ(ArraySource):
    """Arrays in an `.npz` file from `numpy.savez`: `x_train`, `y_train`, `x_test` and `y_test`, as in Keras, or
    `x` and `y`, of which a random fraction `test` is held out for testing (by `seed`; with `shuffle = false`, the last
    samples). `x_val` and `y_val` are used for validation (`train.validation = given`, the default). Other names are
    `X`, `data`, `features`, `inputs` and `images`, `target`, `targets`, `label` and `labels`, and
    combinations such as `train_images`. `w`, or `w_train`, `w_val` and `w_test`, are weights of samples, also called
    `sample_weight`: in the loss and for `standardise`, a sample of weight 2 counts as two; metrics count it once.

    Whole numbers, booleans and text in y are classes: the distinct values, sorted. All other targets are numbers to
    predict. `ignore` drops the samples with that label, which marks samples without one, or excludes the positions
    with it from loss and metrics. Samples with NaN are an error,
    or dropped with `missing = drop`. Bytes are scaled to [0, 1] as in an image, and other numbers are used as they are,
    unless `divisor` is given. Samples with one axis are features; with two, a sequence, or an image if they are bytes;
    with three, an image, channels first; `axes` overrides this. With `ids`, samples are ids from 0 to `ids` - 1, one or
    a row of them, for `Embedding`; `padding` is the id after the end of a sample, and labels there do not count. With
    `inputs=["left", "right"]`, a sample has several inputs: the arrays `left_train` and `right_train`, or `left` and
    `right`, which a model reads by `from(left)`. With `targets=["digit", "parity"]`, a sample has several targets: the
    arrays `digit_train` and `parity_train`, or `digit` and `parity`, for the outputs of a
    model with these names. Files and arrays may have up to 1 GiB. Nothing is ever unpickled.
    """

    spec_name = "NPZ"
    also = ("Npz", "Arrays", "numpy", "savez")

    path: Annotated[FilePath, Also("file", "filename")]
    _: KW_ONLY
    inputs: Annotated[tuple[str, ...] | None, Also("input_names", "features")] = None
    targets: Annotated[tuple[str, ...] | None, Also("target_names", "outputs", "labels")] = None

    def __post_init__(self) -> None:
        """Raise ValueError for inputs and targets that a model cannot name."""
        check_names(self.inputs)
        check_names(self.targets, "targets")

    def looks_at(self) -> tuple[str, ...]:
        """The archive."""
        return (self.path,)

    def parts(self) -> tuple[Parts, list[Remark]]:
        """Find the arrays in the archive by name, with a remark on unused ones."""
        keys = array_names(self.path)
        train, test = self._pair(keys, "train"), self._pair(keys, "test")
        if train is None:
            train, test = self._pair(keys), None
        if train is None and self.inputs:
            absent = [name for name in self.inputs if not any(name.lower() in key.lower() for key in keys)]
            message = f"no array for the input {listed_names(absent)}" if absent else "no targets with its inputs"
            raise FileFault(
                f"{shown(self.path)} has {message}",
                argument="inputs",
                help=f"it contains {listed_names(keys)}; name them {self.inputs[0]} and y, or {self.inputs[0]}_train, "
                f"y_train, {self.inputs[0]}_test, y_test",
            )
        if train is None and self.targets:
            raise FileFault(
                f"{shown(self.path)} has no samples, or no array for one of the targets",
                argument="targets",
                help=f"it contains {listed_names(keys)}; name them x and {self.targets[0]}, or x_train, "
                f"{self.targets[0]}_train, x_test, {self.targets[0]}_test",
            )
        if train is None:
            raise FileFault(
                f"{shown(self.path)} has no samples and targets under known names",
                help=f"it contains {listed_names(keys)}; name them x and y, or x_train, y_train, x_test, y_test"
                + self._as_inputs(keys),
            )
        both = {array.key for array in each_of(train.x)} & {array.key for array in each_of(train.y)}
        if both:
            message = f"{shown(self.path)}: {listed_names(sorted(both))} would be both an input and a target"
            raise FileFault(message, argument="inputs", help="remove it from one of them")
        parts = Parts(train, self._pair(keys, *_VALIDATION), test)
        places = (place for pair in parts.pairs for place in (*each_of(pair.x), *each_of(pair.y), pair.w))
        used = {place.key for place in places if place is not None}
        return _with_named_targets(parts), _unused(self.path, [key for key in keys if key not in used])

    @staticmethod
    def _as_inputs(keys: Sequence[str]) -> str:
        """Return how to read several arrays of samples as inputs, if the archive may have such."""
        others = [key for key in keys if key.isidentifier() and key.lower() not in (*TARGETS, *_WEIGHTS)]
        likely = 1 < len(others) < 5 and len(others) < len(keys)
        return f"; if they are several inputs, `inputs=[{', '.join(map(quoted, others))}]`" if likely else ""

    def _pair(self, keys: Sequence[str], *words: str) -> Pair | None:
        """Return the samples, targets and weights whose names contain one of `words`, or no word if none is given; None
        unless there are samples and targets."""
        x, y, w = (self._only(keys, names, words) for names in (_SAMPLES, TARGETS, _WEIGHTS))
        if self.targets:
            aims = [(name, self._only(keys, (name.lower(),), words)) for name in self.targets]
            found = tuple((name, array) for name, array in aims if array is not None)
            y = SeveralArrays(found) if len(found) == len(aims) else None  # type: ignore[assignment]
        if self.inputs:
            named = [(name, self._only(keys, (name.lower(),), words)) for name in self.inputs]
            several = tuple((name, array) for name, array in named if array is not None)
            return None if y is None or len(several) < len(named) else Pair(SeveralArrays(several), y, w)
        return None if x is None or y is None else Pair(x, y, w)

    def _only(self, keys: Sequence[str], names: Sequence[str], words: Sequence[str]) -> NumpyArray | None:
        """Return the array whose name combines one of `names` with one of `words`. Raises FileFault where two match."""
        forms = ("{0}_{1}", "{1}_{0}") if words else ("{0}",)
        known = {form.format(name, word) for name in names for word in words or ("",) for form in forms}
        found = [key for key in keys if key.lower() in known]
        if len(found) > 1:
            message = f"{shown(self.path)} contains both `{found[0]}` and `{found[1]}`: which one is meant?"
            raise FileFault(message, help="keep one of the two")
        return NumpyArray(self.path, "path", found[0], in_archive=True) if found else None


class NPY(ArraySource):
    """Arrays in separate `.npy` files, as `numpy.save` writes them: samples `x` and targets `y`, and optionally a test
    set; without one, a random fraction `test` of the samples is held out. `x_val` and `y_val` are used for validation.
    Everything else is as in `NPZ`."""

    spec_name = "NPY"
    also = ("Npy",)

    x: Annotated[FilePath, Also("x_train", "path", "inputs")]
    y: Annotated[FilePath, Also("y_train", "targets", "labels")]
    x_test: FilePath | None = None
    y_test: FilePath | None = None
    _: KW_ONLY
    x_val: Annotated[FilePath | None, Also("x_valid", "x_validation", "x_dev")] = None
    y_val: Annotated[FilePath | None, Also("y_valid", "y_validation", "y_dev")] = None

    def __post_init__(self) -> None:
        """Raise ValueError for samples without targets, or targets without samples."""
        if (self.x_test is None) != (self.y_test is None):
            raise ValueError("`x_test` and `y_test` go together")
        if (self.x_val is None) != (self.y_val is None):
            raise ValueError("`x_val` and `y_val` go together")

    def looks_at(self) -> tuple[str, ...]:
        """The files."""
        return tuple(path for path in (self.x, self.y, self.x_val, self.y_val, self.x_test, self.y_test) if path)

    def parts(self) -> tuple[Parts, list[Remark]]:
        """Return the files."""

        def pair(x: FilePath | None, y: FilePath | None, suffix: str) -> Pair | None:
            if x is None or y is None:
                return None
            return Pair(*(NumpyArray(path, word, word) for path, word in ((x, f"x{suffix}"), (y, f"y{suffix}"))))

        train = Pair(NumpyArray(self.x, "x", "x"), NumpyArray(self.y, "y", "y"))
        return Parts(train, pair(self.x_val, self.y_val, "_val"), pair(self.x_test, self.y_test, "_test")), []


def _with_named_targets(parts: Parts) -> Parts:
    """Return the same with the targets that have names as rows."""
    named = [pair.y.arrays for pair in parts.pairs if isinstance(pair.y, SeveralArrays)]
    if not named:
        return parts
    rows = iter(join_targets(named, "targets"))
    return Parts(*(None if pair is None else pair._replace(y=next(rows)) for pair in parts))  # type: ignore[arg-type]


def read_samples(path: str, names: Sequence[str] = ()) -> NDArray[Any]:
    """Read an array of samples: an `.npy` file, or of an `.npz` the array `x`, or `x_test`, or the only one. With
    `names`, these replace `x`.

    Raises FileFault for any other file, and for NaN, infinity and integers too large for a float.
    """
    array = _array_in(path, names)
    head = array.header()
    if head.kind in "US":
        raise FileFault(f"{array.name} contains text, but samples must be numbers")
    return array.read().reshape(head.shape)


def read_labels(path: str, names: Sequence[str]) -> NDArray[Any]:
    """Read an array of labels, of any dtype that labels may have, including text: as `read_samples`."""
    array = _array_in(path, names)
    return array.read(labels=True).reshape(array.header().shape)


def _array_in(path: str, names: Sequence[str]) -> NumpyArray:
    """Return the array of an `.npy` file, or one of an `.npz`. Raises FileFault for any other file."""
    if path.lower().endswith(".npy"):
        return NumpyArray(FilePath(path), "path", "x")
    keys = array_names(FilePath(path))
    wanted = {form.format(name) for name in names or _SAMPLES for form in ("{}", "{}_test", "test_{}")}
    known = sorted((key for key in keys if key.lower() in wanted), key=lambda key: ("test" in key.lower(), key))
    if not known and (names or len(keys) != 1):
        raise FileFault(
            f"{shown(path)} has no array `{names[0] if names else 'x'}`", help=f"it contains {listed_names(keys)}"
        )
    return NumpyArray(FilePath(path), "path", (known or keys)[0], in_archive=True)


def _unused(path: FilePath, keys: Sequence[str]) -> list[Remark]:
    """Name the arrays of an archive that nothing uses."""
    if not keys:
        return []
    help = "save the file without " + ("it" if len(keys) == 1 else "them")
    if any("val" in key.lower() for key in keys):
        help = "name validation samples `x_val` and their targets `y_val`, or save the file without them"
    return [Remark("NN736", f"{shown(path)} contains {listed_names(keys)}, which nothing uses", "path", help)]

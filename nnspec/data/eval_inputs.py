"""Samples with their targets from a file that was no part of a run, in the form of those that it was trained on.

Files are read with the limits of `predict_inputs`: a table by the names of its columns, arrays `x` and `y`, or a folder
with a sub-folder of images for each class.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nnspec.data.files import shown
from nnspec.data.frames import is_frame
from nnspec.data.given import given_data
from nnspec.data.memory import as_array
from nnspec.data.numpy_source import TARGETS, read_labels, read_samples
from nnspec.data.predict_inputs import Inputs, Wanted, array_inputs, read_inputs, read_table, table_inputs
from nnspec.data.source import FileFault, Split
from nnspec.engine._numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Targets", "read_given"]


@dataclass(frozen=True)
class Targets:
    """What targets are in the data of a run."""

    classes: int | None
    """How many classes there are; None for numbers."""
    names: tuple[str, ...] = ()
    """What the classes are called, where they have names."""
    columns: tuple[str, ...] = ()
    """The columns of a table that hold the targets."""
    shape: tuple[int, ...] = ()
    """Shape of one sample's target."""
    ignore: int | None = None
    """The label of positions that are ignored."""


def read_given(data: Any, wanted: Wanted, targets: Targets) -> tuple[Split, tuple[str, ...]]:
    """Read samples and targets: the path of a file, `(X, y)`, or a table with the columns of the targets. The notes say
    what is odd about the samples.

    Raises FileFault for what does not match, and DataError for what is no such data.
    """
    if isinstance(data, str):
        return _read_file(data, wanted, targets)
    if is_frame(data):
        inputs, y = _with_targets(table_inputs(data, wanted), _of_frame(data, targets), wanted, "the table")
    else:
        pair = given_data(data).pair("train")
        if pair is None:
            raise FileFault("the data has no samples")
        x, y_given = pair.x, pair.y
        inputs, y = array_inputs(x.read(), wanted), _matching(y_given.read(labels=True), targets, y_given.name)
    if len(y) != len(inputs.x):
        raise FileFault(f"the data has {len(inputs.x):,} samples and {len(y):,} targets")
    return Split(inputs.x, y), inputs.notes


def _with_targets(inputs: Inputs, y: NDArray[Any], wanted: Wanted, name: str) -> tuple[Inputs, NDArray[Any]]:
    """Return the samples that have targets, and these: of a time series, from the windows up to each of its rows and
    the targets of all rows. Raises FileFault if there is none."""
    windows = wanted.windows
    if windows is None:
        return inputs, y
    rows = len(y)
    y = windows.targets(y)
    if not len(y):
        raise FileFault(f"{name} has {rows:,} rows, and a window with its target takes {windows.span:,}")
    return replace(inputs, x=inputs.x[:: windows.stride][: len(y)]), y


def _of_frame(frame: Any, targets: Targets) -> NDArray[Any]:
    missing = next((name for name in targets.columns if name not in frame.columns), None)
    if missing is not None or not targets.columns:
        raise FileFault(f"the table has no column {missing!r}, which holds the target")
    columns = [as_array(name, frame[name]) for name in targets.columns]
    return _matching(columns[0] if len(columns) == 1 else np.stack(columns, axis=1), targets, "the table")


def _read_file(path: str, wanted: Wanted, targets: Targets) -> tuple[Split, tuple[str, ...]]:
    inputs = read_inputs(path, wanted)
    if os.path.isdir(path):
        y = _classes([_class_of(name, path) for name in inputs.names], targets, shown(path))
    elif wanted.columns:
        inputs, y = _with_targets(inputs, _of_table(path, targets, wanted), wanted, shown(path))
    elif path.lower().endswith(".npz"):
        y = _of_arrays(path, targets)
    else:
        help = "use an .npz with `x` and `y`, or a folder with a sub-folder of images for each class"
        raise FileFault(f"{shown(path)} has samples but no targets", help=help)
    if len(y) != len(inputs.x):
        raise FileFault(f"{shown(path)} has {len(inputs.x):,} samples and {len(y):,} targets")
    return Split(inputs.x, y), inputs.notes


def _of_table(path: str, targets: Targets, wanted: Wanted) -> NDArray[Any]:
    header, body, form = read_table(path, wanted)
    missing = [name for name in targets.columns if header is None or name not in header]
    if missing or header is None:
        raise FileFault(f"{shown(path)} has no column `{(missing or targets.columns)[0]}`, which holds the target")
    places = [header.index(name) for name in targets.columns]
    if targets.classes is not None:
        return _classes([cells[places[0]].strip() for _, cells in body], targets, shown(path))
    rows = []
    for line, cells in body:
        numbers = [form.number(cells[place].strip()) for place in places]
        if None in numbers or not np.isfinite(np.array(numbers, float)).all():
            raise FileFault(f"{shown(path)}, line {line:,}: the target is not a usable number")
        rows.append(numbers)
    return np.array(rows, float).reshape(len(rows), *targets.shape)


def _class_of(image: str, folder: str) -> str:
    """Return the sub-folder that an image is in, at whatever depth. Raises FileFault for one that is in none."""
    inside = os.path.relpath(image, folder).split(os.sep)
    if len(inside) == 1:
        raise FileFault(f"{shown(image)} is not in a sub-folder of {shown(folder)}", help="there must be one per class")
    return inside[0]


def _of_arrays(path: str, targets: Targets) -> NDArray[Any]:
    y = read_samples(path, TARGETS) if targets.classes is None else read_labels(path, TARGETS)
    return _matching(y, targets, shown(path))


def _matching(y: NDArray[Any], targets: Targets, name: str) -> NDArray[Any]:
    """Return targets in the form of those of the run; `name` is where they come from. Raises FileFault."""
    if (
        targets.classes is not None
        and not targets.shape
        and y.shape[1:] == (targets.classes,)
        and y.dtype.kind in "biuf"
    ):
        if not (((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()):
            raise FileFault(f"{name} has rows of {targets.classes} targets that are not one-hot")
        return y.argmax(axis=1)
    if y.shape[1:] != targets.shape and y.shape[1:] != (1, *targets.shape):
        raise FileFault(
            f"{name} has targets of shape {y.shape[1:]}, but the network "
            f"was trained on targets of shape {targets.shape}"
        )
    if targets.classes is None:
        return y.reshape(len(y), *targets.shape)
    ignored = np.zeros(y.shape, bool) if targets.ignore is None else y == targets.ignore
    distinct, places = np.unique(y[~ignored], return_inverse=True)
    classes = np.full(y.shape, -1, np.int64)
    classes[~ignored] = _classes([_name(label) for label in distinct.tolist()], targets, name)[places.reshape(-1)]
    return classes.reshape(-1, *targets.shape)


def _name(label: bool | int | float | str | bytes) -> str:
    """Return what a class is called that a file has as this label: whole floats are as whole numbers."""
    if isinstance(label, bytes):
        return label.decode("utf-8", "backslashreplace")
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _classes(found: Sequence[str], targets: Targets, name: str) -> NDArray[Any]:
    """Return the class of each label: the place of its name, or the number that it is."""
    known = {label: i for i, label in enumerate(targets.names or map(str, range(targets.classes or 0)))}
    unknown = next((label for label in found if label not in known), None)
    if unknown is not None:
        names = ", ".join(f"`{name}`" for name in list(known)[:8])
        what = f"{name} has a class `{shown(unknown)}`, which was not in the training data"
        raise FileFault(what, help=f"its classes are {names}")
    return np.array([known[label] for label in found], np.int64)

"""Pictures of training: their curves, titles and captions."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nnspec.files import atomic
from nnspec.results.data_use import DataUse
from nnspec.results.run import RunResult
from nnspec.view.palette import NAMED
from nnspec.view.pictures.figure import draw_figure
from nnspec.view.pictures.panels import BANDS, Panel, even
from nnspec.view.wording.numbers import is_percent, measures
from nnspec.view.wording.phrases import data_in_words, seeds, seeds_in_words, stand_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnspec.compiler.proofs import Compiled
    from nnspec.records.saved import SavedRun

__all__ = [
    "Picture",
    "draw_run",
    "panels",
    "picture_of",
    "picture_of_saved",
    "plot_training_curves",
    "save_picture",
]

_NO_FIGURES = frozenset({"seed", "seconds", "lr", "gradient_norms", "repeats"})
"""What the record of a lane has besides its figures."""


def plot_training_curves(
    history: Mapping[str, Sequence[float] | Mapping[str, Any]],
    title: str = "Training",
    *,
    subtitle: str = "",
    path: str | os.PathLike[str] | IO[bytes] | None = None,
) -> Figure:
    """Draw training curves and return the figure. With `path`, also save it there; as PNG if that is an open file.

    `history` maps a name to its losses, one per epoch: `{"SGD": [2.1, 1.8], "Adam": [1.5, 0.9]}`, or to figures
    by name: `{"Adam": {"loss": […], "test_loss": […], "test_accuracy": […]}}`, as in `history.json`. The key
    `steps` has the step of each value if they were not measured after every epoch. The key
    `repeats` lists such figures for single trainings: the 95 % interval of their mean is drawn as a band. If there are
    more than 12 lanes, only the 12 with the lowest final loss have colours. `path` ends in `.png`, `.svg` or `.pdf`.
    Raises ValueError if there is nothing to draw.
    """
    return draw_figure(history, panels(history), title, subtitle, path)


def panels(history: Mapping[str, Any]) -> list[Panel]:
    """Return all panels that may be drawn."""
    lanes = [lane for lane in history.values() if isinstance(lane, Mapping)]
    figures = [name for lane in lanes for name in lane if name not in {*_NO_FIGURES, "steps", "epochs"}]
    return [
        Panel("Loss", "loss", solid="training", thin=("val_", "test_")),
        Panel("Training loss, logarithmic", "loss", log=True),
        *(
            Panel(
                f"Test {name.replace('_', ' ')}", f"test_{name}", solid="test", thin=("val_",), percent=is_percent(name)
            )
            for name in measures(figures)
        ),
    ]


@dataclass(frozen=True)
class Picture:
    """What the picture of a run shows, as plain data."""

    history: Mapping[str, Mapping[str, Any]]
    title: str
    subtitle: str

    @property
    def curves(self) -> bool:
        """Whether there is any: a lane that has finished an epoch."""
        return any(lane["loss"] for lane in self.history.values())

    def draw(self, path: str | os.PathLike[str] | IO[bytes] | None = None) -> Figure:
        """Draw it, into a file with `path`."""
        return plot_training_curves(self.history, self.title, subtitle=self.subtitle, path=path)


def picture_of(result: RunResult) -> Picture:
    """Return the picture of a run. Lanes without a finished epoch have no curve, and keep their colour."""
    lanes = result.lanes.values()
    history = {
        lane.name: {**lane.history, **lane.places, "repeats": [one.history | one.places for one in lane.repeats]}
        for lane in lanes
    }
    status = {lane.name: lane.status for lane in lanes}
    return _picture(result.title, result.data, history, status, result.shapes, seeds(result))


def picture_of_saved(saved: SavedRun, compiled: Compiled) -> Picture:
    """Return the picture of a run on disk, from its records and its program. Raises RunError."""
    from nnspec.records.saved import data_use, usable

    history, summary = saved.history, saved.summary
    with usable(saved.path / "summary.json"):
        lanes = {name: saved.lane(name) for name in saved.lanes}
        data = [data_use(record) for record in summary["data"]]
        first = {int(lane["seed"]) for lane in lanes.values()}
        last = {int(lane.get("repeats", [lane])[-1]["seed"]) for lane in lanes.values()}
        status = {name: str(lane["status"]) for name, lane in lanes.items()}
        title = str(summary["title"])
    shapes = {lane.shapes for lane in compiled.program.lanes if lane.name in lanes}
    with usable(saved.path / "history.json"):
        curves = {name: _figures(history[name]) for name in lanes}
    return _picture(title, data, curves, status, shapes.pop() if len(shapes) == 1 else "", seeds_in_words(first, last))


def _figures(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves of a lane from a record, which has null in place of NaN. Raises ValueError."""
    figures: dict[str, Any] = {
        name: [math.nan if value is None else float(value) for value in values]
        for name, values in record.items()
        if name not in _NO_FIGURES
    }
    return {**figures, "repeats": [_figures(one) for one in record.get("repeats", ())]}


def _picture(
    title: str,
    data: Sequence[DataUse],
    history: Mapping[str, Mapping[str, Any]],
    status: Mapping[str, str],
    shapes: str,
    seeds: str,
) -> Picture:
    full_title = title + "".join(f" – {stand_in(use)}" for use in data if use.stands_in)
    uses = " · ".join(data_in_words(use) for use in data)
    lanes = len(history)  # all of them, for the sake of the colours
    named = f"the best {NAMED} of {lanes} are named" if lanes > NAMED else ""
    facts = [uses, shapes, seeds, _spread([lane["repeats"] for lane in history.values()]), named]
    unfinished = "".join(f" · {name} {how}" for name, how in status.items() if how != "done")
    return Picture(history, full_title, " · ".join(fact for fact in facts if fact) + unfinished)


def draw_run(result: RunResult, path: str | os.PathLike[str] | IO[bytes] | None = None) -> Figure:
    """Draw a run, into a file with `path`."""
    return picture_of(result).draw(path)


def save_picture(picture: Picture, path: Path) -> None:
    """Draw into a file of a run's folder: a link there is replaced, not followed. Raises OSError."""
    with atomic(path) as file:
        picture.draw(file)


def _spread(lanes: Sequence[Sequence[Mapping[str, Sequence[float]]]]) -> str:
    """Say how the repeats of each lane are drawn: lines are means, bands their intervals."""
    repeated = [repeats for repeats in lanes if repeats]
    counts = sorted({len(repeats) for repeats in repeated})
    if not counts:
        return ""
    apart = any(not even([one["loss"] for one in repeats]) for repeats in repeated)
    how_many = "–".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    if len(repeated) > BANDS:
        return f"means of {how_many} seeds"
    return f"mean and 95 % interval of {how_many} seeds" + (", each as a thin line if they end apart" if apart else "")

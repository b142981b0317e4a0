"""What a network makes of test samples: which class it takes for which, and the pictures that it finds hardest."""

from __future__ import annotations

import base64
import io
from typing import Any

from nnspec.analysis.evaluate import Evaluation
from nnspec.compiler.proofs import Compiled
from nnspec.engine._numpy import np
from nnspec.results.predictor import probabilities
from nnspec.view.report.html import escape
from nnspec.view.wording import numbers

__all__ = ["confusion_table", "worst_pictures"]

_MOST_CLASSES = 30
_SHOWN = 24


def confusion_table(one: Evaluation) -> str:
    """Return a table with a row a class and a column a prediction; empty where there are no classes, or too many."""
    counts = one.confusion()
    if counts is None or len(counts) > _MOST_CLASSES:
        return ""
    names = [one.dataset.class_name(i) for i in range(len(counts))]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = ""
    for i, name in enumerate(names):
        total = max(int(counts[i].sum()), 1)
        cells = "".join(_cell(int(counts[i, j]), total, right=i == j) for j in range(len(names)))
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>\n'
    right = float(np.trace(counts)) / max(int(counts.sum()), 1)
    said = (
        f"{int(counts.sum()):,} test samples, {numbers.percent(right)} "
        "right: one row per class, one column per prediction"
    )
    return (
        f'<p class="soft">{escape(said)}</p><div class="scroll"><table class="confusion">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"
    )


def _cell(count: int, total: int, *, right: bool) -> str:
    if not count:
        return '<td class="soft" style="--share:0">·</td>'
    tone = "#009E73" if right else "#D55E00"
    share = min(100 * count / total * (0.55 if right else 2.5), 75)
    return f'<td style="--tone:{tone};--share:{share:.0f}">{count:,}</td>'


def worst_pictures(one: Evaluation, compiled: Compiled) -> str:
    """Return the test images with the largest loss; empty where samples are no images."""
    facts = one.dataset.facts
    if (
        one.dataset.divisor != 255
        or len(facts.shape) not in (2, 3)
        or (len(facts.shape) == 3 and facts.shape[0] not in (1, 3))
    ):
        return ""
    experiment = next(lane for lane in compiled.program.lanes if lane.name == one.lane)
    odds = probabilities(one.outputs, experiment)
    guess = one.predicted
    losses = np.where(np.isfinite(one.losses), one.losses, np.inf)
    found = ""
    for i in np.argsort(-losses, kind="stable")[:_SHOWN]:
        told = f"loss {numbers.loss(float(one.losses[i]))}"
        if guess is not None and guess.ndim == 1:
            label, taken = int(one.dataset.test.y[i]), int(guess[i])
            kind = "yes" if label == taken else "no"
            sure = f" ({numbers.percent(float(odds[i, taken]))})" if odds is not None else ""
            wrong = f'<span class="{kind}">{escape(one.dataset.class_name(taken))}</span>'
            told = f"{escape(one.dataset.class_name(label))}, taken for {wrong}{sure}<br>{told}"
        source = _picture(one.dataset.test.x[i], facts.shape)
        found += f'<figure><img alt="test sample {i}" src="{source}"><figcaption>{told}</figcaption></figure>\n'
    return f'<div class="images">\n{found}</div>'


def _picture(pixels: Any, shape: tuple[int, ...]) -> str:
    """Return an image as a data URI."""
    from nnspec.view.pictures.figure import matplotlib_module

    matplotlib_module()
    from matplotlib import image

    array = np.asarray(pixels, np.uint8).reshape(shape)
    if array.ndim == 3:
        array = array[0] if shape[0] == 1 else array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = np.stack([array] * 3, axis=-1)
    buffer = io.BytesIO()
    image.imsave(buffer, np.ascontiguousarray(array), format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

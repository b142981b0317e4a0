"""Evaluations and predictions of trained networks, as tables and as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnspec.analysis.evaluate import Evaluation
from nnspec.analysis.predict import Prediction
from nnspec.engine._numpy import np
from nnspec.results.predictor import Predictor
from nnspec.text import finite, printable, to_json
from nnspec.view.terminal.confusion import confusion
from nnspec.view.terminal.screen import Column, say, table
from nnspec.view.wording import numbers

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["evaluation_record", "prediction_rows", "prediction_text", "print_evaluations", "print_predictions"]

_SHOWN = 1000
"""Maximum number of samples printed; `--out` writes all of them."""


def evaluation_record(found: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Return evaluations as JSON holds them."""
    return [
        {
            "lane": one.lane,
            "seed": one.seed,
            "samples": len(one.outputs),
            "status": one.status,
            "figures": {name: finite(value) for name, value in one.figures.items()},
            "recorded": {name: finite(one.recorded.get(name)) for name in one.figures},
            "same": one.same,
            "same_data": one.same_data,
            **({"data": one.given} if one.given else {}),
            "tables": dict(one.tables),
        }
        for one in found
    ]


def print_evaluations(found: Sequence[Evaluation], console: Console, *, whole: bool = False) -> None:
    """Print the figures of each network, whether they are the recorded ones, and which classes are confused most.

    With `whole`, the whole table of which class is taken for which.
    """
    names = list(dict.fromkeys(name for one in found for name in one.figures))
    several = len({one.seed for one in found}) > 1
    columns = [Column("lane", [one.lane for one in found])]
    columns += [Column("seed", [str(one.seed) for one in found], right=True)] if several else []
    columns += [
        Column(name, [_value(name, one.figures.get(name)) for one in found], rank, right=True)
        for rank, name in enumerate(names, 1)
    ]
    columns.append(Column("samples", [f"{len(one.outputs):,}" for one in found], len(names) + 1, right=True))
    said = ["" if one.given else "as recorded, bit for bit" if one.same else _differs(one) for one in found]
    columns.append(Column("", said, prose=True, styles=["green" if one.same else "bold yellow" for one in found]))
    console.print(table(columns, console.width))
    if not all(one.same_data for one in found):
        others = ", ".join(dict.fromkeys(one.dataset.source for one in found if not one.same_data))
        text = f"! this is not the data of the run, but {printable(others)}; use --data-dir DIR for that of the run"
        say(console, text, style="bold yellow")
    for note in dict.fromkeys(note for one in found if one.given for note in one.dataset.notes):
        console.print(f"! {printable(note)}", style="bold yellow", soft_wrap=True)
    for one in found:
        for line in _confused(one, whole, several, console.width):
            say(console, line)


def _value(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return numbers.percent(value) if numbers.is_percent(name) else numbers.loss(value)


def _differs(one: Evaluation) -> str:
    off = [abs(one.figures[name] - one.recorded[name]) for name in one.figures if name in one.recorded]
    return f"differs from the record by up to {max(off):.2g}" if off else "not recorded"


def _confused(one: Evaluation, whole: bool, several: bool, width: int) -> Iterator[str]:
    counts = one.confusion()
    if counts is None:
        return
    label = [printable(one.dataset.class_name(i)) for i in range(len(counts))]
    wrong = [
        (int(counts[i, j]), i, j) for i in range(len(counts)) for j in range(len(counts)) if i != j and counts[i, j]
    ]
    worst = sorted(wrong, key=lambda each: (-each[0], each[1:]))[:3]
    if worst:
        told = ", ".join(f"{label[i]} for {label[j]} ({count}×)" for count, i, j in worst)
        yield f"– {printable(one.lane)}{f', seed {one.seed}' if several else ''} most often mistakes {told}"
    if whole:
        lines = confusion(counts.tolist(), label, width)
        yield ""
        if lines is None:
            yield f"{len(label)} × {len(label)} counts do not fit in this terminal; use --json"
        else:
            yield "one row per label, one column per prediction"
            yield from lines


# Predictions


def prediction_rows(predictor: Predictor, found: Sequence[Prediction], top: int = 1) -> Iterator[dict[str, Any]]:
    """Yield one row per sample: its name with the likeliest classes and probabilities, or with numbers."""
    for prediction in found:
        for i, name in enumerate(prediction.names):
            outputs = prediction.outputs[i]
            if predictor.several:
                yield {"sample": name, **dict(_by_output(predictor, outputs))}
                continue
            if predictor.classes is None:
                yield {"sample": name, **_numbers(predictor, outputs)}
                continue
            if outputs.ndim > 1:
                places = outputs.argmax(axis=-1).reshape(-1)
                yield {"sample": name, "class": " ".join(predictor.name_of(int(place)) for place in places)}
                continue
            if not np.isfinite(outputs).all():
                yield {"sample": name, "class": None}
                continue
            odds = None if prediction.probabilities is None else prediction.probabilities[i]
            scores = odds if odds is not None else outputs
            order = sorted(range(len(scores)), key=lambda label: (-float(scores[label]), label))
            if len(scores) == 1:
                order = [int(outputs[0] > 0)]
            row: dict[str, Any] = {"sample": name}
            for rank, label in enumerate(order[: max(top, 1)]):
                end = "" if rank == 0 else f"_{rank + 1}"
                row[f"class{end}"] = predictor.name_of(label)
                if odds is not None:
                    row[f"probability{end}"] = float(odds[label])
            yield row


def _by_output(predictor: Predictor, outputs: Any) -> Iterator[tuple[str, Any]]:
    """Yield a class, or numbers, for each of several outputs."""
    for name, values in predictor.by_output(outputs[None]).items():
        numbers_of = values[0].reshape(-1).tolist()
        for i, value in enumerate(numbers_of):
            shown = finite(value) if isinstance(value, float) else str(value)
            yield name if len(numbers_of) == 1 else f"{name}_{i}", shown


def _numbers(predictor: Predictor, outputs: Any) -> Mapping[str, float | None]:
    values = [finite(float(value)) for value in outputs.reshape(-1)]
    names = predictor.wanted.target_names
    if len(names) != len(values):
        names = ("output",) if len(values) == 1 else tuple(f"output_{i}" for i in range(len(values)))
    return dict(zip(names, values, strict=True))


def print_predictions(predictor: Predictor, rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print one line per sample, up to a limit."""
    shown = rows[:_SHOWN]
    names = list(dict.fromkeys(name for row in shown for name in row))
    columns = [
        Column(name.replace("_", " "), [_cell(name, row.get(name)) for row in shown], i, right=name != "sample")
        for i, name in enumerate(names)
    ]
    console.print(table(columns, console.width))
    if len(rows) > len(shown):
        console.print(f"– and {len(rows) - len(shown):,} more; --out FILE has all of them", style="dim")


def _cell(name: str, value: Any) -> str:
    if isinstance(value, float):
        return numbers.percent(value) if name.startswith("probability") else f"{value:.6g}"
    return "" if value is None else printable(str(value))


def prediction_text(rows: Sequence[Mapping[str, Any]], kind: str) -> str:
    """Return predictions as CSV or JSON, as `kind` says."""
    import csv
    import io

    if kind == "json":
        return to_json(rows, indent=1, ensure_ascii=False) + "\n"
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

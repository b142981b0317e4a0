"""The page: what was run, who got how far, and all that a reader asks next, in one file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from typing import Any

from nnspec.analysis.evaluate import Evaluation
from nnspec.compiler.proofs import Compiled
from nnspec.engine.metrics.contract import higher_is_better
from nnspec.environment import in_words
from nnspec.records.folder import REPORT_MARK
from nnspec.records.saved import SavedRun, usable
from nnspec.results.health import DEAD
from nnspec.semantics.resolved import rows
from nnspec.semantics.values import plain
from nnspec.statistics.significance import interval
from nnspec.view.palette import NAMED, slots
from nnspec.view.pictures.panels import BANDS
from nnspec.view.report.charts import Series, chart, color, legend
from nnspec.view.report.html import breakable, details, element, escape, table
from nnspec.view.report.network import network_drawing
from nnspec.view.report.predictions import confusion_table, worst_pictures
from nnspec.view.report.side_by_side import side_by_side
from nnspec.view.terminal.run_comparison import ComparedRuns
from nnspec.view.wording import numbers, phrases
from nnspec.view.wording.fairness import shared_in_words
from nnspec.view.wording.sweep import best_lines, grid_columns, grid_title, grids_of, ranked_records

__all__ = ["ReportRun", "best_first", "report_page"]

"""What tells a report from any other page."""
_NORMS = 8
"""Tensors whose gradient norms are drawn: of more, weights before biases, the first and the last of them."""
_numbers = count()


@dataclass(frozen=True)
class ReportRun:
    """A run, and what could be found out about it besides its records."""

    saved: SavedRun
    compiled: Compiled | None
    """Its program; None where it cannot be had any more."""
    why: str = ""
    """Why not."""
    evaluations: tuple[Evaluation, ...] = ()
    """The first network of each lane over the test data."""
    unseen: str = ""
    """Why there are none."""


def report_page(runs: Sequence[ReportRun], compared: ComparedRuns | None = None) -> str:
    """Return a page about one run, or several one below the other, which `compared` holds against each other."""
    with usable(runs[0].saved.path / "summary.json"):
        title = str(runs[0].saved.summary["title"]) if len(runs) == 1 else f"{len(runs)} runs"
    style = files("nnspec.view.report").joinpath("page.css").read_text("utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    body = ""
    if compared is not None:
        body += f"<h1>{escape(title)}</h1>\n<section><h2>Side by side</h2>{side_by_side(compared)}</section>\n"
    for run in runs:
        with usable(run.saved.path):
            body += _run(run, alone=len(runs) == 1) + "\n"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{REPORT_MARK}\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(title)}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _run(run: ReportRun, *, alone: bool) -> str:
    number = next(_numbers)
    summary = run.saved.summary
    sections = [
        ("Lanes", _lanes(run) + _verdicts(summary)),
        ("Curves", _curves(run)),
        ("Network", _network(run)),
        ("Confusion", _confusion(run)),
        ("Hardest samples", _worst(run)),
        ("Rates", _rates(run)),
        ("Gradients", _gradients(run) + _health(summary)),
        ("Spec", _spec(run)),
        ("Record", _record(run)),
    ]
    shown = [(name, content) for name, content in sections if content]
    links = "".join(element("a", name, href=f"#r{number}-{i}") for i, (name, _) in enumerate(shown))
    tag = "h1" if alone else "h2"
    head = f"<header><{tag}>{escape(summary['title'])}</{tag}>\n{_facts(run)}<nav>{links}</nav></header>\n"
    parts = (
        f'<section id="r{number}-{i}"><h2>{escape(name)}</h2>\n{content}</section>\n'
        for i, (name, content) in enumerate(shown)
    )
    return f"<article>\n{head}{''.join(parts)}</article>"


def _soft(text: str) -> str:
    return element("p", escape(text), class_="soft")


def _facts(run: ReportRun) -> str:
    summary = run.saved.summary
    data = ", ".join(f"{use['source']} {use['train']:,} train / {use['test']:,} test" for use in summary["data"])
    seeds = run.saved.seeds(run.saved.lanes[0]) if run.saved.lanes else []
    seed = f"seeds {min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"seed {seeds[0]}" if seeds else ""
    when = str(summary["started"])[:16].replace("T", " ")
    facts = [data, seed, f"{when} UTC", f"nnspec {summary['environment']['nnspec']}"]
    lines = [_soft(" · ".join(filter(None, facts)))]
    for use in summary["data"]:
        if use["stands_in"]:
            lines.append(element("p", escape(f"{use['source']} stands in for {use['asked_for']}."), class_="no"))
    shared = shared_in_words(summary.get("fairness"))
    if shared:
        lines.append(element("p", escape(f"By digests of the arrays in use, {shared}.")))
    notes = [*summary.get("notes", ()), *(str(note) for use in summary["data"] for note in use.get("notes", ()))]
    lines += [element("p", escape(note), class_="no") for note in dict.fromkeys(notes)]
    return "".join(lines)


def _slots(run: ReportRun) -> dict[str, int]:
    return slots({str(lane["name"]): _loss(lane) for lane in run.saved.summary["lanes"]})


def _loss(lane: Mapping[str, Any]) -> float:
    found = lane["final"].get("loss")
    return math.inf if found is None or lane["status"] in ("diverged", "failed") else float(found)


def _ranked(run: ReportRun) -> list[Mapping[str, Any]]:
    """The lanes, the best first."""
    return ranked_records(run.saved.summary)[0]


def best_first(saved: SavedRun) -> list[str]:
    """Return the names of the lanes, the best first. Raises RunError for a damaged record."""
    with usable(saved.path / "summary.json"):
        return [str(lane["name"]) for lane in _ranked(ReportRun(saved, None))]


def _lanes(run: ReportRun) -> str:
    target = run.saved.summary["common_loss"]
    lanes = _ranked(run)
    figures = list(dict.fromkeys(name for lane in lanes for name in lane["final"]))
    odd = any(lane["status"] != "done" for lane in lanes)
    head = ["lane", "optimizer", *(["status"] if odd else []), "epochs"]
    head += [*(name.replace("_", " ") for name in figures), "weights", "time"]
    head += [f"to loss {target:g}"] if target is not None else []
    body = []
    places = _slots(run)
    for lane in lanes:
        dot = f'<span class="dot" style="background:{color(places.get(lane["name"]))}"></span>'
        status = "" if lane["status"] == "done" else f'<span class="no">{escape(lane["status"])}</span>'
        row = [dot + breakable(lane["name"]), escape(lane["optimizer"]), *([status or "done"] if odd else [])]
        row.append(f"{lane['epochs']}/{lane['epochs_asked_for']}")
        row += [escape(_figure(name, lane)) for name in figures]
        row += [f"{lane['params']:,}", numbers.seconds(lane["seconds"])]
        if target is not None:
            epochs = lane["epochs_to_common_loss"]
            row.append("–" if epochs is None else f"epoch {epochs:.3g}")
        body.append(row)
    several = any("repeats" in lane for lane in lanes)
    figure = ranked_records(run.saved.summary)[1]
    extreme = "highest" if figure and higher_is_better(figure) else "lowest"
    caption = "Means over the seeds ± half of the 95 % interval. " if several else ""
    caption += f"The {extreme} {figure.replace('_', ' ')} first." if figure and len(lanes) > 1 else ""
    text = table(head, body, caption=caption, numbers=2 + odd) + _best(run.saved.summary)
    for lane in lanes:
        for line in filter(None, (lane["message"], lane["stopped"] and f"stopped {lane['stopped']}", _kept(lane))):
            text += _soft(f"{lane['name']}: {line}")
    return text


def _best(summary: Mapping[str, Any]) -> str:
    """The best point of a sweep, how to run it again, and the figure that decides over two settings."""
    text = ""
    for line, kind in best_lines(summary):
        text += element("p", f"<code>{escape(line)}</code>" if kind == "command" else escape(f"{line}."))
    for grid in grids_of(summary):
        columns = grid_columns(grid, summary)
        body = [[escape(column.cells[i].strip()) for column in columns] for i in range(len(grid.rows[1]))]
        text += table([column.head.strip() for column in columns], body, caption=grid_title(grid, summary), numbers=1)
    return text


def _kept(lane: Mapping[str, Any]) -> str:
    kept = {one["seed"]: one["kept_epoch"] for one in lane.get("repeats", (lane,)) if "kept_epoch" in one}
    return f"weights and figures of {phrases.kept_epochs(kept, several='repeats' in lane)}, the best" if kept else ""


def _figure(name: str, lane: Mapping[str, Any]) -> str:
    value = lane["final"].get(name, math.nan)
    found = lane.get("intervals", {}).get(name)
    half = (found["high"] - found["low"]) / 2 if found and found["low"] is not None else math.nan
    return numbers.figure(name, value, half)


def _verdicts(summary: Mapping[str, Any]) -> str:
    text = ""
    if summary["expectations"]:
        marks = {True: ("✓ held", "yes"), False: ("✗ missed", "no"), None: ("– not judged", "soft")}
        body = []
        for found in summary["expectations"]:
            mark, kind = marks[found["held"]]
            body.append(
                [f"<code>{escape(found['text'])}</code>", element("span", mark, class_=kind), escape(found["detail"])]
            )
        text += "<h3>What was expected</h3>" + table(["expectation", "verdict", "measured"], body, numbers=9)
    comparisons = summary.get("comparisons", ())
    if comparisons:
        body = []
        for one in comparisons:
            kind = "yes" if one["shown"] else "soft"
            verdict = f"{one['lanes'][0]} is better" if one["shown"] else "no difference shown"
            tested = one["p_adjusted"] is not None
            span = f"{one['difference']:.3g} [{one['low']:.3g}, {one['high']:.3g}]"
            body.append(
                [
                    " – ".join(map(breakable, one["lanes"])),
                    element(
                        "span",
                        escape(verdict if tested else "no spread to test against" if one["difference"] else "the same"),
                        class_=kind,
                    ),
                    escape(one["figure"]),
                    span,
                    f"{one['p_adjusted']:.2g}" if tested else "–",
                    str(one["n"]),
                ]
            )
        caption = "Paired t-tests over the seeds; p by Holm over all pairs, the interval that of its pair alone."
        head = ["lanes", "verdict", "figure", "difference [95 %]", "p", "seeds"]
        shown = sum(bool(one["shown"]) for one in comparisons)
        told = f"{len(comparisons)} pair{'s' if len(comparisons) > 1 else ''}: "
        told += f"a difference is shown in {shown}" if shown else "no difference is shown"
        text += "<h3>Lane against lane</h3>" + details(told, table(head, body, caption=caption, numbers=3))
    return text


# Curves


def _curves(run: ReportRun) -> str:
    history, names = run.saved.history, [lane["name"] for lane in _ranked(run)[:NAMED]]
    figures = list(
        dict.fromkeys(name for lane in names for name, values in history[lane].items() if _is_figure(name, values))
    )
    bases = [name for name in figures if not name.startswith(("val_", "test_"))]
    text = ""
    for base in bases:
        shown = [name for name in (base, f"val_{base}", f"test_{base}") if name in figures]
        series = [one for name in shown for one in _series(run, names, name)]
        percent = numbers.is_percent(base)
        linear = chart(f"{base} of training (solid) and other samples (dashed)", series, percent=percent)
        if not linear:
            continue
        several = any(len(one.values) > 1 for one in series)
        logged = chart(f"{base}, logarithmic", series, log=True) if several and not percent else ""
        parts = _tabs(("linear", linear), ("logarithmic", logged)) if logged else linear
        text += f"<div><h3>{escape(base.replace('_', ' '))}</h3>{parts}</div>\n"
    note = _samples(figures, single=all(len(history[lane].get("loss", ())) <= 1 for lane in names))
    if any("repeats" in history[lane] for lane in names):
        repeated = sum("repeats" in history[lane] for lane in names)
        note += f" Lines are means over the seeds{', bands their 95 % intervals' if repeated <= BANDS else ''}."
    if len(names) < len(history):
        note += f" The best {len(names)} of {len(history)} lanes."
    lanes = legend([(name, _slots(run).get(name)) for name in names])
    return f'{_soft(note)}{lanes}<div class="pair">{text}</div>' if text else ""


def _samples(figures: Sequence[str], *, single: bool) -> str:
    """Say how lines, or the points of a single epoch, of training, validation and test samples are told apart."""
    kinds = (("val_", "validation", "dotted", "◇"), ("test_", "test", "dashed", "□"))
    drawn = [("training", "solid", "●"), *(row[1:] for row in kinds if any(f.startswith(row[0]) for f in figures))]
    told = ", ".join(f"{word} {sign if single else dash}" for word, dash, sign in drawn)
    return f"{told[0].upper()}{told[1:]}."


def _is_figure(name: str, values: object) -> bool:
    return isinstance(values, list) and name not in ("seconds", "repeats", "lr")


def _floats(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _series(run: ReportRun, lanes: Sequence[str], figure: str) -> Iterator[Series]:
    """Yield a figure's line of each lane, with its band over the repeats that its mean is of.

    Of more than a few lanes there are no bands, which would cover each other.
    """
    kind = next((prefix for prefix in ("val", "test") if figure.startswith(f"{prefix}_")), "")
    places = _slots(run)
    banded = sum("repeats" in run.saved.history[lane] for lane in lanes) <= BANDS
    for lane in lanes:
        curves = run.saved.history[lane]
        done = {one["seed"] for one in run.saved.lane(lane).get("repeats", ()) if one["status"] == "done"}
        each = [_floats(one[figure]) for one in curves.get("repeats", ()) if figure in one and one["seed"] in done]
        low: list[float] = []
        high: list[float] = []
        if any(values != each[0] for values in each) and banded and not kind:
            found = [interval(values) for values in zip(*each, strict=False)]  # in those epochs that all have
            low, high = [one.low for one in found], [one.high for one in found]
        yield Series(lane, _floats(curves.get(figure, ())), places.get(lane), kind, low, high)


def _tabs(*panes: tuple[str, str]) -> str:
    number = next(_numbers)
    heads = ""
    for i, (name, _) in enumerate(panes):
        checked = " checked" if i == 0 else ""
        one = f"t{number}-{i}"
        heads += f'<input type="radio" name="t{number}" id="{one}"{checked}><label for="{one}">{name}</label>'
    contents = "".join(element("div", content, class_="pane") for _, content in panes)
    return element("div", heads + contents, class_="tabs")


def _rates(run: ReportRun) -> str:
    series = list(_series(run, [lane["name"] for lane in _ranked(run)[:NAMED]], "lr"))
    drawn = chart("learning rate at the end of each epoch", series, log=True)
    several = any(one.low for one in series)
    note = _soft("Lines are means over the seeds, bands their 95 % intervals.") if several else ""
    lanes = legend([(one.name, one.slot) for one in series if one.values])
    return f'{note}{lanes}<div class="pair"><div>{drawn}</div></div>' if drawn else ""


def _gradients(run: ReportRun) -> str:
    """Draw the norms of each lane's gradients, tensor by tensor; of a lane with repeats, those of the first."""
    text = ""
    for lane in _ranked(run)[:4]:
        curves = run.saved.history[lane["name"]]
        norms = (curves.get("repeats") or [curves])[0].get("gradient_norms", {})
        names = _first_and_last(norms)
        series = [Series(name, _floats(norms[name]), i) for i, name in enumerate(names)]
        drawn = chart(f"gradient norms of {lane['name']}", series, log=True)
        tensors = legend([(one.name, one.slot) for one in series])
        text += f"<div><h3>{escape(lane['name'])}</h3>{tensors}{drawn}</div>" if drawn else ""
    if not text:
        return _soft("No gradient norms were recorded.")
    text_of_note = "L2 norm of each tensor’s gradient, of the last batch of every epoch, before clipping."
    if any("repeats" in run.saved.history[lane["name"]] for lane in _ranked(run)[:4]):
        text_of_note += " Of a lane with several seeds, those of its first."
    note = _soft(text_of_note)
    return note + element("div", text, class_="pair")


def _first_and_last(norms: Mapping[str, Any]) -> list[str]:
    """Return the tensors that are drawn: weights, of many the first and the last; then biases, as far as there is
    room."""
    weights = [name for name in norms if not name.endswith("bias")]
    if len(weights) > _NORMS:
        return [*weights[: _NORMS // 2], *weights[-_NORMS // 2 :]]
    return [*weights, *(name for name in norms if name not in weights)][:_NORMS]


def _health(summary: Mapping[str, Any]) -> str:
    found = [(lane["name"], one) for lane in summary["lanes"] for one in lane.get("health", ())]
    if not found:
        nothing = (
            "No problems found: no loss diverged or rose, no regression was worse than predicting the mean, no layer "
            "had more than "
            f"{100 * DEAD:.0f} % of its units dead at the end, no gradients vanished or exploded."
        )
        return "<h3>Diagnosis</h3>" + _soft(nothing) + _dead(summary)
    body = [
        [
            escape(name),
            escape(one["kind"]),
            f"<code>{escape(one['file'])}:{escape(one['line'])}</code>",
            escape(one["text"]),
            escape(one["advice"]),
        ]
        for name, one in found
    ]
    return "<h3>Diagnosis</h3>" + table(["lane", "what", "where", "measured", "try"], body, numbers=9) + _dead(summary)


def _dead(summary: Mapping[str, Any]) -> str:
    """Say how many units each layer had dead, of lanes that had any; of a lane with repeats, of its first."""
    told = []
    for lane in summary["lanes"]:
        counts = lane.get("repeats", (lane,))[0].get("dead_units", {})
        some = [f"{layer} {dead} of {units}" for layer, (dead, units, _) in counts.items() if dead]
        if some:
            samples = max(samples for *_, samples in counts.values())
            told.append(f"{lane['name']}: {', '.join(some)} units dead (on a flat end for all of {samples:,} samples)")
    return "".join(map(_soft, told))


# Networks and what they make of samples


def _network(run: ReportRun) -> str:
    if run.compiled is None:
        return _soft(f"The network cannot be drawn: {run.why}")
    text = ""
    drawn: dict[str, list[str]] = {}
    for lane in run.compiled.program.lanes:
        key = "; ".join(
            f"{node.name}={node.value}→{node.geometry.out}" for layer in lane.layers for node in layer.walk()
        )
        drawn.setdefault(f"{key} {lane.loss.name}", []).append(lane.name)
    by_name = {lane.name: lane for lane in run.compiled.program.lanes}
    for names in list(drawn.values())[:6]:
        experiment = by_name[names[0]]
        layout = run.compiled.layouts[experiment.name]
        which = "" if len(drawn) == 1 else f"{', '.join(names[:6])}{' …' if len(names) > 6 else ''}: "
        said = f"{which}{layout.params:,} weights, {layout.flops:,} FLOPs per sample, {experiment.dtype}"
        text += _soft(said) + element("div", network_drawing(experiment), class_="scroll")
    return text + (_soft(f"and {len(drawn) - 6} more networks") if len(drawn) > 6 else "")


def _confusion(run: ReportRun) -> str:
    text = ""
    for one in run.evaluations:
        drawn = confusion_table(one)
        if drawn:
            text += details(f"{one.lane}, seed {one.seed}", drawn, shown=not text)
    if not run.evaluations:
        return _soft(f"The test data was not looked at again: {run.unseen}") if run.unseen else ""
    return text


def _worst(run: ReportRun) -> str:
    if not run.evaluations or run.compiled is None:
        return ""
    one = run.evaluations[0]
    drawn = worst_pictures(one, run.compiled)
    if not drawn:
        return ""
    return _soft(f"The test samples with the largest loss, of {one.lane}, seed {one.seed}.") + drawn


# What was run


def _spec(run: ReportRun) -> str:
    lines = run.saved.text.splitlines()
    listing = "\n".join(f'<span class="line">{i}</span>{escape(line)}' for i, line in enumerate(lines, 1))
    text = f"<p><code>{escape(run.saved.manifest.spec)}</code></p>\n<pre>{listing}</pre>\n"
    if run.saved.manifest.set:
        text += element("p", "with " + ", ".join(f"<code>--set {escape(one)}</code>" for one in run.saved.manifest.set))
    if run.compiled is None:
        return text + _soft(f"It cannot be resolved: {run.why}")
    for lane in run.compiled.program.lanes[:NAMED]:
        body = [
            [
                f'<span style="padding-left:{row.depth}em">{escape(row.shown)}</span>',
                escape("" if row.value is None and row.kind == "group" else plain(row.value)),
            ]
            for row in rows(lane)
        ]
        text += details(f"{lane.name}, resolved: every value", table(["name", "value"], body, numbers=9))
    return text


def _record(run: ReportRun) -> str:
    summary = run.saved.summary
    environment = [[escape(name), escape(in_words(value))] for name, value in summary["environment"].items()]
    data = [[escape(f"data: {use['source']}"), f"<code>{escape(use['sha256'])}</code>"] for use in summary["data"]]
    spec = [["spec", f"<code>{escape(summary['spec']['sha256'])}</code>"]]
    text = table(["what", "as it was"], [*environment, *data, *spec], numbers=9)
    prints = [
        [
            escape(lane["name"]),
            f"<code>{escape(one['seed'])}</code>",
            f"<code>{escape(one['fingerprints'].get('order', ''))}</code>",
            f"<code>{escape(next(iter(one['fingerprints'].get('start', {}).values()), ''))}</code>",
        ]
        for lane in summary["lanes"]
        for one in lane.get("repeats", (lane,))
    ]
    head = ["lane", "seed", "order of samples", "first tensor at the start"]
    text += details("Fingerprints", table(head, prints, numbers=9))
    return (
        text
        + f"<p>Run it again and compare every bit: <code>nnspec verify {escape(run.saved.path.as_posix())}</code></p>"
    )

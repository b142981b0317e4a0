"""The page: what was run, the results of each lane, and further details, in one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnspec.environment import in_words
from nnspec.records.saved import SavedRun, usable
from nnspec.semantics.resolved import rows
from nnspec.semantics.values import as_json
from nnspec.view.html import render
from nnspec.view.palette import DARK, NAMED, PALETTE
from nnspec.view.report.blocks import Block, Details, Listing, Section, Table, Text
from nnspec.view.report.curves import curves, gradients, learning_rates
from nnspec.view.report.network import network_drawing
from nnspec.view.report.predictions import confusion, hardest_images
from nnspec.view.report.results import health, results
from nnspec.view.report.run import ReportRun
from nnspec.view.report.search import search
from nnspec.view.report.side_by_side import side_by_side
from nnspec.view.terminal.run_comparison import ComparedRuns
from nnspec.view.wording.fairness import shared_in_words
from nnspec.view.wording.phrases import compiled_in_words

__all__ = ["Article", "ReportRun", "best_first", "page", "report_page"]

_MOST_NETWORKS = 6


@dataclass(frozen=True)
class Article:
    """A run on the page: its title, the facts below it, and its sections."""

    title: str
    facts: Sequence[Text]
    sections: Sequence[Section]


def report_page(runs: Sequence[ReportRun], compared: ComparedRuns | None = None) -> str:
    """Return a page about one run, or about several with a comparison of them first. Raises RunError."""
    with usable(runs[0].saved.path / "summary.json"):
        title = str(runs[0].summary["title"]) if len(runs) == 1 else f"{len(runs)} runs"
    articles = []
    for run in runs:
        with usable(run.saved.path):
            articles.append(_article(run))
    return page(title, articles, [*side_by_side(compared)] if compared is not None else [])


def page(title: str, articles: Sequence[Article], comparison: Sequence[Block] = ()) -> str:
    """Return a page as HTML."""
    palettes = {"light": PALETTE, "dark": DARK}
    return render("report/page.html.j2", title=title, articles=articles, comparison=comparison, **palettes)


def best_first(saved: SavedRun) -> list[str]:
    """Return the names of the lanes, the best first. Raises RunError for a damaged record."""
    with usable(saved.path / "summary.json"):
        return [str(lane["name"]) for lane in ReportRun(saved, None).ranked]


def _article(run: ReportRun) -> Article:
    sections = {
        "Lanes": results(run),
        "Search": search(run),
        "Curves": curves(run),
        "Network": _networks(run),
        "Confusion": _confusions(run),
        "Hardest samples": _hardest(run),
        "Rates": learning_rates(run),
        "Gradients": (*gradients(run), *health(run.summary)),
        "Spec": _spec(run),
        "Record": _record(run),
    }
    filled = ((title, list(blocks)) for title, blocks in sections.items())
    return Article(
        str(run.summary["title"]), list(_facts(run)), [Section(title, blocks) for title, blocks in filled if blocks]
    )


def _facts(run: ReportRun) -> Iterator[Text]:
    summary = run.summary
    data = ", ".join(f"{use['source']} {use['train']:,} train / {use['test']:,} test" for use in summary["data"])
    seeds = run.saved.seeds(run.saved.lanes[0]) if run.saved.lanes else []
    seed = f"seeds {min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"seed {seeds[0]}" if seeds else ""
    when = f"{str(summary['started'])[:16].replace('T', ' ')} UTC"
    version = f"nnspec {summary['environment']['nnspec']}"
    yield Text(" · ".join(filter(None, (data, seed, when, version))), "soft")
    for use in summary["data"]:
        if use["stands_in"]:
            yield Text(f"{use['source']} stands in for {use['asked_for']}.", "no")
    if shared := shared_in_words(summary.get("fairness")):
        yield Text(f"By digests of the arrays in use, {shared}.")
    if compiled := compiled_in_words(summary.get("ways", {}).get("compiled")):
        yield Text(compiled)
    for note in summary.get("notes", ()):
        yield Text(note, "no")
    for note in dict.fromkeys(str(note) for use in summary["data"] for note in use.get("notes", ())):
        yield Text(note)


def _networks(run: ReportRun) -> Iterator[Block]:
    """Yield a drawing of each network, with the lanes that share it."""
    if run.compiled is None:
        yield Text(f"The network cannot be drawn: {run.why}", "soft")
        return
    lanes_of: dict[str, list[str]] = {}
    for lane in run.compiled.program.lanes:
        layers = (f"{n.name}={n.value}→{n.geometry.out}" for layer in lane.layers for n in layer.walk())
        lanes_of.setdefault(f"{'; '.join(layers)} {lane.loss.name}", []).append(lane.name)
    experiments = {lane.name: lane for lane in run.compiled.program.lanes}
    for names in list(lanes_of.values())[:_MOST_NETWORKS]:
        experiment, layout = experiments[names[0]], run.compiled.layouts[names[0]]
        which = "" if len(lanes_of) == 1 else f"{', '.join(names[:6])}{' …' if len(names) > 6 else ''}: "
        size = f"{layout.params:,} weights, {layout.flops:,} FLOPs per sample, {experiment.dtype}"
        yield Text(which + size, "soft")
        yield network_drawing(experiment)
    if len(lanes_of) > _MOST_NETWORKS:
        yield Text(f"and {len(lanes_of) - _MOST_NETWORKS} more networks", "soft")


def _confusions(run: ReportRun) -> Iterator[Block]:
    tables = {f"{one.lane}, seed {one.seed}": confusion(one) for one in run.evaluations}
    drawn = {lane: table for lane, table in tables.items() if table is not None}
    for i, (lane, table) in enumerate(drawn.items()):
        yield Details(lane, [table], unfolded=i == 0)
    if not run.evaluations and run.unseen:
        yield Text(f"The networks were not evaluated again: {run.unseen}", "soft")


def _hardest(run: ReportRun) -> Iterator[Block]:
    if run.evaluations and run.compiled is not None:
        best = run.evaluations[0]
        images = hardest_images(best, run.compiled)
        if images is not None:
            yield Text(f"The test samples with the largest loss, of {best.lane}, seed {best.seed}.", "soft")
            yield images


def _spec(run: ReportRun) -> Iterator[Block]:
    yield Text("", code=run.saved.manifest.spec)
    yield Listing(run.saved.text.splitlines(), numbered=True)
    if run.saved.manifest.set:
        yield Text("with ", code=" ".join(f"--set {setting}" for setting in run.saved.manifest.set))
    if run.compiled is None:
        yield Text(f"It cannot be resolved: {run.why}", "soft")
        return
    for lane in run.compiled.program.lanes[:NAMED]:
        values = [
            (
                Text(row.shown, indent=row.depth),
                "" if row.value is None and row.kind == "group" else str(as_json(row.value)),
            )
            for row in rows(lane)
        ]
        yield Details(f"{lane.name}, resolved: every value", [Table(["name", "value"], values)])


def _record(run: ReportRun) -> Iterator[Block]:
    summary = run.summary
    values: list[tuple[str, str | Text]] = [
        *((name, in_words(value)) for name, value in summary["environment"].items()),
        *((f"data: {use['source']}", Text("", code=use["sha256"])) for use in summary["data"]),
        ("spec", Text("", code=summary["spec"]["sha256"])),
    ]
    yield Table(["name", "value"], values)
    fingerprints = [(lane["name"], *_prints(one)) for lane in summary["lanes"] for one in lane.get("repeats", (lane,))]
    head = ["lane", "seed", "order of samples", "first tensor at the start"]
    yield Details("Fingerprints", [Table(head, fingerprints)])
    yield Text("To run it again and compare every bit: ", code=f"nnspec verify {run.saved.path.as_posix()}")


def _prints(one: Mapping[str, Any]) -> tuple[Text, Text, Text]:
    prints = one["fingerprints"]
    start = next(iter(prints.get("start", {}).values()), "")
    return Text("", code=str(one["seed"])), Text("", code=prints.get("order", "")), Text("", code=start)

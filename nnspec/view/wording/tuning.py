"""A search in words: the table of tuned hyperparameters, and the findings in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnspec.results.tuning import Tuned
from nnspec.view.wording import numbers

__all__ = ["Row", "choices", "rows", "sentences", "title", "value_in_words"]


@dataclass(frozen=True)
class Row:
    """A setting of a lane."""

    lane: str
    """Empty for a further setting of the lane above."""
    setting: str
    space: str
    chosen: str
    figure: str
    diverged: str
    tolerance: str
    """How far the value may be off from the middle of the range of good values, to either side: `×/÷ 3.1`, `± 0.05`."""


def title(tuned: Tuned) -> str:
    """Say how settings were chosen: `tuned by val_loss: best of 20 trials per lane (halton search)`."""
    studies = len({study.number for study in tuned.studies})
    several = f" in each of {studies} studies" if studies > 1 else ""
    counts = {len(study.trials) for study in tuned.studies} or {0}
    trials = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    many = f"{trials} trial{'s' if trials != '1' else ''}"
    return f"tuned by {tuned.by}: best of {many} per lane{several} ({tuned.search} search)"


def choices(tuned: Tuned) -> Iterator[str]:
    """Yield what was chosen for each lane: `SGD: lr = 0.1736, best val loss 1.789`; of several studies, by each."""
    for lane in tuned.lanes:
        chosen = [study.chosen for study in tuned.of(lane)]
        if not any(chosen):
            yield f"{lane}: none of its trials has a finite {tuned.by}"
            continue
        values = {name: [each and each.settings[name] for each in chosen] for name in tuned.spaces[lane]}
        settings = [f"{name.removeprefix('optimizer.')} = {_listed(own)}" for name, own in values.items()]
        figures = ", ".join(numbers.figure(tuned.by, each.figure) for each in chosen if each is not None)
        yield f"{lane}: {'; '.join(settings)}, best {numbers.named(tuned.by)} {figures}"


def _listed(values: Iterable[Any]) -> str:
    return ", ".join("–" if value is None else value_in_words(value) for value in values)


def rows(tuned: Tuned, summary: Mapping[str, Any]) -> list[Row]:
    """Return a row for each setting of each lane; `summary` is that of the search."""
    found = []
    for lane in summary["lanes"]:
        name = str(lane["lane"])
        for number, (setting, space) in enumerate(tuned.spaces[name].items()):
            chosen = [None if each is None else each[setting] for each in lane["chosen"]]
            reached = [figure for figure in lane["figures"] if figure is not None]
            found.append(
                Row(
                    lane="" if number else name,
                    setting=setting.removeprefix("optimizer."),
                    space=str(space),
                    chosen=_listed(chosen),
                    figure="" if number else ", ".join(numbers.figure(tuned.by, figure) for figure in reached),
                    diverged="" if number else f"{lane['diverged']} of {lane['trials']}" if lane["diverged"] else "–",
                    tolerance=_tolerance(lane["ranges"].get(setting)),
                )
            )
    return found


def value_in_words(value: Any) -> str:
    """Return the value of a setting, with four digits."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tolerance(found: Mapping[str, Any] | None) -> str:
    if found is None or found["reason"]:
        return "–"
    least = "at least " if found["open_low"] or found["open_high"] else ""
    if found["factor"] is not None:
        return f"{least}×/÷ {numbers.two_digits(found['factor'])}"
    return f"{least}± {numbers.two_digits(found['margin'])}"


def sentences(tuned: Tuned, summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the findings of a search as sentences, each with its kind: `fact` or `doubt`."""
    yield from ((line, "fact") for line in _fewer(tuned, summary["lanes"]))
    yield from ((line, "fact") for line in _times(tuned, summary.get("times", {})))
    stability = summary["stability"]
    if found := stability.get("seeds"):
        yield (
            f"{found['winner']} has the best mean {tuned.by} in {_percent(found['share'])} of bootstrap resamples of "
            "the race's seeds",
            "fact",
        )
    if found := stability.get("trials"):
        yield (
            f"{found['winner']} has the best trial in {_percent(found['share'])} of bootstrap resamples of the trials",
            "fact",
        )
    between = summary.get("between_studies", ())
    yield from ((_difference(pair), "fact") for pair in between)
    if stability.get("seeds") and not between:
        yield (
            "the t-tests over seeds compare the chosen settings, not the optimizers: another search may choose others. "
            "To compare the optimizers, repeat the search with `tune.studies = 5`",
            "fact",
        )
    yield from ((str(remark), "doubt") for remark in summary["remarks"])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _difference(pair: Mapping[str, Any]) -> str:
    """Say whether two lanes differ by more than one search differs from the next."""
    one, other = pair["lanes"]
    how = f"Welch's t-test between {pair['n']} studies"
    if pair["p_adjusted"] is None:
        why = "it does not vary between studies" if pair["n"] > 1 else "one of them has it in fewer than two studies"
        return f"{one} and {other} cannot be compared by {pair['figure']}: {why} ({how})"
    p = "p < 0.0001" if pair["p_adjusted"] < 1e-4 else f"p = {pair['p_adjusted']:.2g}"
    size = f"{pair['difference']:.3g} [{pair['low']:.3g}, {pair['high']:.3g}]"
    if not pair["shown"]:
        return f"no difference shown between {one} and {other} in {pair['figure']}: {size}, {p} ({how})"
    word = "lower" if pair["difference"] < 0 else "higher"
    return f"{one} is {word} than {other} in {pair['figure']}, {size}, {p} ({how})"


def _fewer(tuned: Tuned, lanes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say how good the best of a quarter of the trials would have been."""
    counts = {len(lane["best_after"]) for lane in lanes}
    if len(counts) != 1 or (few := max(counts) // 4) < 2:
        return
    found = []
    for lane in lanes:
        best = lane["best_after"][few - 1]
        if best["median"] is not None:
            found.append(f"{numbers.figure(tuned.by, best['median'])} for {lane['lane']}")
    if found:
        yield f"with only {few} trials per lane, the median best {tuned.by} would be {', '.join(found)}"


def _times(tuned: Tuned, times: Mapping[str, Any]) -> Iterator[str]:
    """Say how long each lane took to the target: over its seeds, and with several studies over all of these."""
    of_study = {f"{study.lane},study={study.number}": study.lane for study in tuned.studies}
    for lane in dict.fromkeys(of_study.get(name, name) for name in times):
        goal = "{} {:g}".format(*tuned.goal)
        names = [name for name in times if of_study.get(name, name) == lane]
        found = [times[name] for name in names]
        reached, of = (sum(each["steps"][count] for each in found) for count in ("reached", "of"))
        seeds = f"{reached} of {of} {'seeds' if len(names) == 1 else 'trainings'}" if of > 1 else ""
        medians = [each for each in found if each["steps"]["median"] is not None]
        if not medians:
            few = f" with only {seeds}, too few for a median time"
            yield f"{lane} reached {goal}{few}" if reached else f"{lane} did not reach {goal}"
            continue
        steps, evaluations, seconds = (
            [each[unit]["median"] for each in medians] for unit in ("steps", "gradient_evaluations", "seconds")
        )
        counts = _range(steps, "{:,.0f}".format) + " steps"
        if evaluations != steps:
            counts += f", {_range(evaluations, '{:,.0f}'.format)} gradient evaluations"
        middle = "median" if len(medians) == 1 else "medians"
        if len(names) > 1:
            middle += f" of {len(medians)} of {len(names)} studies"
        yield f"{lane} reached {goal} after {counts}, {_range(seconds, numbers.seconds)}" + (
            f" ({middle}; reached with {seeds})" if seeds else ""
        )


def _range(values: Sequence[float], text: Callable[[float], str]) -> str:
    low, high = text(min(values)), text(max(values))
    return low if low == high else f"{low} to {high}"

"""What every space of settings and every search must do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nnspec.engine.part import PlainPart
from nnspec.engine.searches import Search
from nnspec.engine.spaces import LAST, Choice, Integers, LogUniform, Space, UniformSpace
from nnspec.testing.check import case, require, rule
from nnspec.testing.others import has_effect
from nnspec.testing.samples import PartSample

PLACES = [n / 97 for n in range(97)] + [LAST]
"""Points of [0, 1), in order."""
CUBES: list[list[Space]] = [
    [LogUniform(1e-4, 1)],
    [UniformSpace(0, 1), LogUniform(1e-4, 1)],
    [Integers(1, 3), UniformSpace(0, 1), Choice(("a", "b"))],
    [Integers(1, 3), Choice((True, None))],
]
"""Spaces to search; the last have six settings."""


@rule("space")
def quantiles(sample: PartSample) -> None:
    """Values are numbers, words or plain parts; they do not decrease with u, do not depend on what was asked before,
    and differ at both ends.
    """
    space: Space = sample.make()
    values = [space.at(u) for u in PLACES]
    for value in values:
        known = value is None or isinstance(value, (bool, int, float, str, PlainPart))
        require(known, f"a value is a {type(value).__name__}, which a spec cannot write")
        require(not isinstance(value, float) or math.isfinite(value), f"a value is {value}")
    require([space.at(u) for u in PLACES[::-1]] == values[::-1], "values depend on the order of calls")
    require(space.at(0) != space.at(LAST), f"there is a single value, {values[0]!r}")
    if space.scale != "values":
        require(values == sorted(values), "values decrease")
    if space.size is not None:
        count = min(space.size, 1000)
        require(len(space.levels(count)) == count or space.size > count, f"there are not {space.size} values")


@rule("space")
def places(sample: PartSample) -> None:
    """Each value has a place u in [0, 1) with that value, in the order of the values, and no other value has one."""
    space: Space = sample.make()
    found = []
    for value in [space.at(u) for u in PLACES]:
        with case(value=value):
            u = space.place(value)
            require(isinstance(u, float) and 0 <= u < 1, f"its place is {u!r}")
            require(space.at(u) == value, f"at its place, {u}, the value is {space.at(u)!r}")
            found.append(u)
    require(found == sorted(found), "places decrease")
    if space.size is None:
        distance = max(abs(u - place) for u, place in zip(PLACES, found, strict=True))
        require(distance < 1e-3, f"the place of a value is {distance:g} from the u that gave it")
    try:
        place = space.place("no value of a space")
    except (ValueError, TypeError):
        return
    require(False, f"a word that is not in the space has the place {place}")


@rule("space")
def levels(sample: PartSample) -> None:
    """A grid has at most as many levels as asked for, all different and in the space; two or more include both ends."""
    space: Space = sample.make()
    for count in (1, 2, 3, 7):
        with case(count=count):
            values = space.levels(count)
            require(1 <= len(values) <= count, f"there are {len(values)}")
            require(len({*map(space.place, values)}) == len(values), f"some are equal: {values}")
            ends = [space.at(0), space.at(LAST)]
            require(count == 1 or [values[0], values[-1]] == ends, f"they reach from {values[0]!r} to {values[-1]!r}")


@rule("space")
def edges(sample: PartSample) -> None:
    """Its width is a number greater than 0, and the ends lie at an edge where there is an order, but not the middle."""
    space: Space = sample.make()
    require(isinstance(space.width, float) and 0 < space.width < math.inf, f"its width is {space.width!r}")
    require(space.scale in ("linear", "log", "values"), f"its scale is {space.scale!r}")
    ends = {space.edge(space.at(0)), space.edge(space.at(LAST))}
    orderly = space.ordered and (space.size is None or space.size > 2)
    require(ends == ({"low", "high"} if orderly else {""}), f"the edges of its ends are {sorted(ends)}")
    require(space.edge(space.at(0.5)) == "", "its middle lies at an edge")


@rule("space", whole=True)
def values_depend_on_arguments(cls: type[Space], samples: Sequence[PartSample]) -> None:
    """Every argument changes the values."""
    has_effect(cls, samples, lambda sample: [repr(sample.make().at(u)) for u in PLACES])


def _settings(search: Search, spaces: Sequence[Space], budget: int, seed: int = 0, study: int = 1) -> list[Any]:
    points = search.points(spaces, budget, seed, study)
    return [[space.at(u) for space, u in zip(spaces, row, strict=True)] for row in points]


@rule("search")
def points(sample: PartSample) -> None:
    """Points lie in the unit cube, as many as announced, and no setting twice; the same when asked again. If some are
    not trained to the end, what all of them cost is at most the budget.
    """
    search: Search = sample.make()
    for spaces in CUBES:
        for budget in (1, 6, 20):
            with case(spaces=spaces, budget=budget):
                rows = search.points(spaces, budget, seed=3)
                kept = search.kept(len(rows), budget)
                ends = [1 / d for d, _ in kept] + [1.0]
                counts = [len(rows), *(n for _, n in kept)]
                require(
                    ends == sorted(ends) and counts == sorted(counts, reverse=True), f"of the trials, {kept} are kept"
                )
                cost = sum(n * (end - start) for n, start, end in zip(counts, [0.0, *ends], ends, strict=False))
                require(cost <= budget + 1e-9, f"they cost {cost:g} trainings")
                require(
                    len(rows) == search.trials(spaces, budget), f"`trials` announces {search.trials(spaces, budget)}"
                )
                require(all(len(row) == len(spaces) for row in rows), "points do not have one coordinate per space")
                require(all(0 <= u < 1 for row in rows for u in row), "some points are not in [0, 1)")
                require(search.points(spaces, budget, seed=3) == rows, "a second call returns different points")
                settings = _settings(search, spaces, budget, seed=3)
                require(len({*map(repr, settings)}) == len(settings), "a combination is tried twice")
    require(len(search.points(CUBES[-1], 20, seed=3)) == 6, "a budget of 20 does not try all of six combinations")


@rule("search")
def larger_budget(sample: PartSample) -> None:
    """A larger budget extends a smaller one."""
    search: Search = sample.make()
    for spaces in CUBES:
        rows = search.points(spaces, 20, seed=3)
        for budget in range(1, 21):
            with case(spaces=spaces, budget=budget):
                points = search.points(spaces, budget, seed=3)
                require(points == rows[: len(points)], "a larger budget returns different points")


@rule("search")
def studies(sample: PartSample) -> None:
    """Another seed and another study have other points, but other spaces have the same, so that lanes are paired."""
    search: Search = sample.make()
    rows = search.points(CUBES[1], 9, seed=3)
    require(search.points(CUBES[1], 9, seed=4) != rows, "a different seed returns the same points")
    require(search.points(CUBES[1], 9, seed=3, study=2) != rows, "a different study returns the same points")
    others: list[Space] = [LogUniform(5, 6), UniformSpace(-1, 3)]
    require(search.points(others, 9, seed=3) == rows, "other spaces get different points")


@rule("search", whole=True)
def points_depend_on_arguments(cls: type[Search], samples: Sequence[PartSample]) -> None:
    """Every argument changes the points."""
    has_effect(
        cls,
        samples,
        lambda sample: [repr(sample.make().points(CUBES[1], 20, seed=3)), repr(sample.make().kept(50, 20))],
    )

"""Spaces of settings, and the searches that choose from them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import spec

from nnspec.api import check_text
from nnspec.checker.binding import Given
from nnspec.checker.budget import Budget
from nnspec.checker.evaluator import Evaluator
from nnspec.checker.findings import UNKNOWN, Findings
from nnspec.checker.program import PartValue
from nnspec.checker.recovery import Recovery
from nnspec.checker.usage import Usage
from nnspec.diagnostics import Diagnostic, Source
from nnspec.engine import searches
from nnspec.engine.random import Stream, stream
from nnspec.engine.schedules import CosineSchedule
from nnspec.engine.searches import GridSearch, HaltonSearch, RandomSearch, Search
from nnspec.engine.spaces import LAST, Choice, Integers, LogUniform, Space, UniformSpace
from nnspec.syntax.parser import parse
from nnspec.syntax.tree import Let

WANTED = json.loads((Path(__file__).parent / "oracle" / "searches.json").read_text(encoding="utf-8"))
SPACES = {
    "uniform(0.8, 0.99)": UniformSpace(0.8, 0.99),
    "uniform(-2, 1e6)": UniformSpace(-2, 1e6),
    "loguniform(1e-5, 0.1)": LogUniform(1e-5, 0.1),
    "loguniform(0.1, 0.11)": LogUniform(0.1, 0.11),
    "integers(-5, 10)": Integers(-5, 10),
    "integers(1, 3)": Integers(1, 3),
}
BY_SEED = (HaltonSearch(), RandomSearch())


def evaluated(text: str, kind: str = "space") -> tuple[object, list[Diagnostic]]:
    """Return the part that the last line of a text, `let x = …`, is in a spec, and what was reported."""
    source, findings = Source("spec.nn", text), Findings()
    items = [item for item in parse(source).file.items if isinstance(item, Let)]
    lets = {item.name.text: Given(item.value, item.name.span) for item in items[:-1]}
    evaluator = Evaluator(findings, Recovery(), Usage(), Budget(findings), lets)
    value: object = evaluator.part(items[-1].value, kind)
    if isinstance(value, PartValue):
        value = evaluator.made(value)
    return value, [*findings.diagnostics]


# Spaces


@pytest.mark.parametrize("name", SPACES)
def test_values_are_the_quantiles_of_scipy_rounded(name: str) -> None:
    space, u = SPACES[name], WANTED["u"]
    for at, wanted in zip(u, WANTED["quantiles"][name], strict=True):
        if isinstance(space, Integers):
            assert space.at(at) == max(wanted, space.low)
        elif isinstance(space, LogUniform):
            assert abs(math.log(space.at(at) / wanted)) <= math.log(space.high / space.low) / 1000
        else:
            assert abs(space.at(at) - wanted) <= space.width / 1000


def test_numbers_are_as_short_as_they_are_shown() -> None:
    assert [LogUniform(1e-4, 1).at(u) for u in (0.1, 0.5)] == [0.0002512, 0.01]
    assert UniformSpace(0.8, 0.99).at(0.123456) == 0.8235
    assert LogUniform(0.1, 0.11).at(0.5) == 0.104881
    assert UniformSpace(-1e6, 1e6).at(0.1234567) == -753000


def test_the_ends_of_a_space_are_reached_however_many_digits_they_have() -> None:
    for space in (UniformSpace(0.12345678, 2.34561111), LogUniform(1.2345678e-3, 0.98761111)):
        assert (space.at(0), space.at(LAST)) == (space.low, space.high) == (space.levels(2))
        assert all(space.low <= space.at(u) <= space.high for u in np.linspace(0, LAST, 500))


def test_integers_include_both_ends_and_are_equally_likely() -> None:
    values = [Integers(1, 3).at(u) for u in np.arange(300) / 300]
    assert [values.count(n) for n in (1, 2, 3)] == [100, 100, 100]
    assert all(type(value) is int for value in values)


def test_integers_on_a_logarithmic_scale_have_the_share_of_the_interval_about_them() -> None:
    space = Integers(1, 8, log=True)
    values = [space.at(u) for u in (np.arange(20_000) + 0.5) / 20_000]
    for n in range(1, 9):
        share = math.log((n + 0.5) / (n - 0.5)) / math.log(8.5 / 0.5)
        assert values.count(n) / 20_000 == pytest.approx(share, abs=2e-4)
    assert Integers(1, 8, log=True).levels(20) == tuple(range(1, 9))


def test_a_choice_holds_numbers_words_and_parts() -> None:
    cosine = CosineSchedule(0.1)
    space = Choice([0.1, cosine, "same", None, True])
    assert [space.at(u) for u in (0, 0.2, 0.4, 0.6, 0.8, LAST)] == [0.1, cosine, "same", None, True, True]
    assert space.place(CosineSchedule(0.1)) == 0.3
    assert str(space) == 'choice([0.1, cosine(0.1), "same", none, true])'
    assert Choice([0, False]).place(False) == 0.75  # which is equal to 0 in Python


@pytest.mark.parametrize(
    ("space", "size", "scale", "width"),
    [
        (LogUniform(1e-4, 1), None, "log", 4.0),
        (UniformSpace(-1, 1), None, "linear", 2.0),
        (Integers(10, 1000, log=True), 991, "log", 2.0),
        (Integers(10, 1000), 991, "linear", 990.0),
        (Choice([1, 2, 4]), 3, "values", 3.0),
    ],
)
def test_the_size_of_a_space(space: Space, size: int | None, scale: str, width: float) -> None:
    assert (space.size, space.scale, space.width) == (size, scale, pytest.approx(width))


@pytest.mark.parametrize(
    ("space", "values", "edges"),
    [
        (LogUniform(1e-4, 1), (1e-4, 1.5e-4, 1.6e-4, 0.5, 0.7, 1), ("low", "low", "", "", "high", "high")),
        (UniformSpace(0, 1), (0.04, 0.05, 0.9, 0.95), ("low", "", "", "high")),
        (Integers(1, 3), (1, 2, 3), ("low", "", "high")),
        (Integers(1, 1000), (1, 50, 51, 1000), ("low", "low", "", "high")),
        (Integers(1, 2), (1, 2), ("", "")),
        (Choice([0.1, 0.01, 0.001]), (0.1, 0.01, 0.001), ("high", "", "low")),
        (Choice([2, 1, 3]), (2, 1, 3), ("", "", "")),
        (Choice([1, "same", 3]), (1, "same", 3), ("", "", "")),
    ],
)
def test_the_edge_of_a_space(space: Space, values: tuple[Any, ...], edges: tuple[str, ...]) -> None:
    assert tuple(map(space.edge, values)) == edges


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (LogUniform(1e-4, 1), 2),
        (UniformSpace(0, 1), -0.1),
        (Integers(1, 3), 1.5),
        (Integers(1, 3), True),
        (Choice([1, 2]), 3),
        (Choice([1, 2]), True),
    ],
)
def test_a_value_outside_a_space_has_no_place(space: Space, value: object) -> None:
    with pytest.raises(ValueError, match="is not in"):
        space.place(value)


def test_the_levels_of_a_grid_are_evenly_spaced_and_include_the_ends() -> None:
    assert LogUniform(1e-3, 1).levels(4) == (1e-3, 1e-2, 0.1, 1.0)
    assert UniformSpace(0, 2).levels(5) == (0.0, 0.5, 1.0, 1.5, 2.0)
    assert UniformSpace(0, 2).levels(1) == (1.0,)
    assert Integers(1, 9).levels(3) == (1, 5, 9)
    assert Integers(1, 3).levels(10) == (1, 2, 3)
    assert Choice([1, 2, 4, 8]).levels(2) == (1, 8)
    assert Integers(16, 512, log=True).levels(6) == (16, 31, 63, 126, 255, 512)


# Spaces in specs


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("loguniform(1e-4, 1)", LogUniform(1e-4, 1)),
        ("uniform(0.8, high=0.99)", UniformSpace(0.8, 0.99)),
        ("uniform(low=0.8, high=0.99)", UniformSpace(0.8, 0.99)),
        ("integers(16, 512, log=true)", Integers(16, 512, log=True)),
        ("choice(range(1, 4))", Choice([1, 2, 3])),
        ("choice([same, none, true, 2])", Choice(["same", None, True, 2])),
        ("choice([cosine(0.1), 0.1])", Choice([CosineSchedule(0.1), 0.1])),
    ],
)
def test_spaces_are_written_as_calls(text: str, space: Space) -> None:
    value, errors = evaluated(f"let x = {text}")
    assert (value, errors) == (space, [])
    assert evaluated(f"let x = {value!r}") == (space, [])


def test_uniform_is_a_space_or_an_initialiser_depending_on_where_it_is() -> None:
    assert evaluated("let s = uniform(0, 1)\nlet x = s") == (UniformSpace(0, 1), [])
    value, errors = evaluated("let s = uniform(low=0, high=1)\nlet x = s", "initializer")
    assert not errors
    assert repr(value) == "uniform(low=0, high=1)"
    text = spec("Linear(6, init=uniform(low=-1, high=1)); ReLU; Linear(10)") + "\nlet u = uniform\ninit = u"
    assert check_text(Source("a.nn", text)).ok
    text = spec("Linear(6, init=uniform(-1, 1)); ReLU; Linear(10)")
    assert [found.code for found in check_text(Source("a.nn", text)).diagnostics] == ["NN303"]


@pytest.mark.parametrize(
    ("text", "code", "at", "message", "help"),
    [
        (
            "loguniform(1, 0.1)",
            "NN302",
            "0.1",
            "`high` must be greater than `low`, got 1 and 0.1",
            "`loguniform(0.1, 1)`",
        ),
        ("uniform(0.5, 0.5)", "NN302", "0.5", "both are 0.5", "to fix a setting, write its value"),
        ("integers(low=3, high=1)", "NN302", "1", "got 3 and 1", "`integers(1, 3)`"),
        ("loguniform(0, 1)", "NN302", "0", "`low` must be greater than 0", ""),
        ("integers(0, 8, log=true)", "NN302", "0", "`low` must be at least 1 with `log`, got 0", "log=false"),
        ("uniform(-1e308, 1e308)", "NN302", "1e308", "is too large for a float", ""),
        ("uniform(1, 1 + 1e-12)", "NN302", "1 + 1e-12", "agree to ten digits", ""),
        ("loguniform(1, 1 + 1e-12)", "NN302", "1 + 1e-12", "agree to ten digits", ""),
        ("integers(0.5, 8)", "NN301", "0.5", "`low` must be an integer", ""),
        ("integers(0, 1e13)", "NN301", "1e13", "`high` must be an integer", ""),
        ("choice([1])", "NN302", "[1]", "at least two values", "to fix a setting, write its value"),
        ("choice([1, 2, 1])", "NN302", "[1, 2, 1]", "`1` is given twice", ""),
        ("choice(1, 2)", "NN303", "2", "takes 1 positional argument", "`choice([1, 2])`"),
        ("choice(3)", "NN301", "3", "must be a list of values", "`[3]`"),
        ("choice([SGD(0.1), 1])", "NN301", "[SGD(0.1), 1]", "must be a list of values", ""),
        ("LogUniform(1, 2)", "NN201", "LogUniform", "unknown space", "`loguniform`"),
        ("trial.suggest_float(1, 2)", "NN201", "trial.suggest_float", "unknown space", "`uniform`"),
        ("randint(1, 2)", "NN201", "randint", "unknown space", "`integers`"),
        ("categorical([1, 2])", "NN201", "categorical", "unknown space", "`choice`"),
        ("quniform(0, 1, 0.1)", "NN201", "quniform", "unknown space", "`linspace(0, 0.5, 11)`"),
        ("loguniform(min=1, high=2)", "NN202", "min", "no argument `min`", "`low`"),
        ("halton", "NN305", "halton", "expected a space, but `halton` is a search", ""),
    ],
)
def test_mistakes_in_spaces(text: str, code: str, at: str, message: str, help: str) -> None:
    value, errors = evaluated(f"let x = {text}")
    assert value is UNKNOWN
    assert (errors[0].code, errors[0].span.text) == (code, at)
    assert message in errors[0].message
    assert help in errors[0].help


def test_a_let_block_or_parameter_may_be_called_like_a_space_or_a_search() -> None:
    for name in ("choice", "grid", "random", "integers", "halton"):
        text = f"let {name} = 0.1\n" + spec(optimizer=f"SGD({name})")
        assert check_text(Source("a.nn", text)).ok


# Searches


def values(search: Search, spaces: list[Space], budget: int, **more: int) -> list[tuple[Any, ...]]:
    rows = search.points(spaces, budget, **({"seed": 0} | more))
    return [tuple(space.at(u) for space, u in zip(spaces, row, strict=True)) for row in rows]


@pytest.mark.parametrize("base", ["2", "3", "13"])
def test_the_sequence_of_scipy_with_the_same_permutations(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorded:
        def __init__(self) -> None:
            self.rows: Iterator[list[int]] = iter(WANTED["van_der_corput"][base]["permutations"])

        def permutation(self, count: int) -> Any:
            row = next(self.rows)
            assert len(row) == count
            return np.array(row)

    monkeypatch.setattr(searches, "stream", lambda *key: Recorded())
    dimension = searches.PRIMES.index(int(base))
    numbers = searches._van_der_corput(0, 1, dimension)
    wanted = WANTED["van_der_corput"][base]["numbers"]
    np.testing.assert_allclose([next(numbers) for _ in wanted], wanted, rtol=1e-15)


def discrepancy(x: Any) -> float:
    """The square of the centred discrepancy. Hickernell 1998, equation 5.3c."""
    n, d = x.shape
    y = np.abs(x - 0.5)
    pairs = 1 + y[:, None] / 2 + y[None] / 2 - np.abs(x[:, None] - x[None]) / 2
    return float((13 / 12) ** d - 2 / n * (1 + y / 2 - y**2 / 2).prod(1).sum() + pairs.prod(2).sum() / n**2)


@pytest.mark.parametrize("row", WANTED["discrepancy"], ids=lambda row: f"{row['count']}x{row['dimensions']}")
def test_points_are_spread_as_evenly_as_those_of_scipy(row: dict[str, Any]) -> None:
    spaces = [UniformSpace(0, 1)] * row["dimensions"]
    for search, name in ((HaltonSearch(), "halton"), (RandomSearch(), "random")):
        drawn = [discrepancy(np.array(search.points(spaces, row["count"], seed))) for seed in range(60)]
        assert np.median(drawn) == pytest.approx(row[name], rel=0.3)
    assert row["halton"] < 0.3 * row["random"]


def test_each_part_of_a_space_has_its_share_of_halton_points() -> None:
    rows = np.array(HaltonSearch().points([UniformSpace(0, 1)] * 3, 30, seed=4))
    for column, base in zip(rows.T, (2, 3, 5), strict=True):
        for start in range(0, 30, base):
            assert sorted(np.floor(column[start : start + base] * base)) == list(range(base))


@pytest.mark.parametrize("search", BY_SEED, ids=str)
def test_a_larger_budget_continues_a_smaller_one(search: Search) -> None:
    for spaces in ([LogUniform(1e-4, 1), Integers(1, 3)], [Integers(1, 3), Choice([1, 2, 3, 4])]):
        longest = search.points(spaces, 20, seed=3)
        for budget in range(1, 20):
            assert search.points(spaces, budget, seed=3) == longest[:budget]


@pytest.mark.parametrize("search", BY_SEED, ids=str)
def test_points_depend_on_seed_and_study_and_not_on_the_lane(search: Search) -> None:
    spaces = [LogUniform(1e-4, 1), UniformSpace(0, 1)]
    rows = search.points(spaces, 10, seed=1)
    assert search.points(spaces, 10, seed=1) == rows
    assert search.points([UniformSpace(5, 6), LogUniform(1, 2)], 10, seed=1) == rows
    assert [row[:1] for row in rows] == list(search.points(spaces[:1], 10, seed=1))
    assert not {*rows} & {*search.points(spaces, 10, seed=2), *search.points(spaces, 10, seed=1, study=2)}
    assert all(0 <= u < 1 for row in rows for u in row)


def test_random_points_are_those_of_the_streams_of_the_seed() -> None:
    drawn = [stream(7, Stream.SEARCH, 2, d).random(5) for d in range(2)]
    assert RandomSearch().points([UniformSpace(0, 1)] * 2, 5, seed=7, study=2) == tuple(zip(*drawn, strict=True))


@pytest.mark.parametrize("search", [*BY_SEED, GridSearch()], ids=str)
def test_no_setting_is_tried_twice(search: Search) -> None:
    spaces: list[Space] = [Integers(1, 3), Choice(["a", "b", "c"])]
    tried = values(search, spaces, 20)
    assert len(tried) == search.trials(spaces, 20) == 9 == len({*tried})
    assert len(values(search, spaces, 5)) == search.trials(spaces, 5)
    assert values(search, [Integers(1, 2)], 7) in ([(1,), (2,)], [(2,), (1,)])


def test_settings_that_are_rarely_drawn_are_tried_at_last() -> None:
    class Stubborn(Search):
        def rows(self, spaces: Any, budget: int, seed: int, study: int) -> Iterator[tuple[float, ...]]:
            while True:
                yield (0.5, 0.5)

    spaces: list[Space] = [Integers(1, 3), Choice([False, 0])]
    assert values(Stubborn(), spaces, 4) == [(2, 0), (1, False), (1, 0), (2, False)]
    assert len(values(Stubborn(), spaces, 99)) == 6
    assert len(values(Stubborn(), [UniformSpace(0, 1), Integers(0, 10**9)], 1000)) == 1000


@pytest.mark.parametrize(
    ("spaces", "budget", "levels"),
    [
        ([UniformSpace(0, 1)], 20, (20,)),
        ([UniformSpace(0, 1)] * 2, 20, (5, 4)),
        ([UniformSpace(0, 1)] * 3, 20, (3, 3, 2)),
        ([Choice([1, 2]), UniformSpace(0, 1), Integers(1, 3)], 20, (2, 3, 3)),
        ([Choice([1, 2]), UniformSpace(0, 1)], 20, (2, 10)),
        ([UniformSpace(0, 1)] * 5, 1, (1, 1, 1, 1, 1)),
        ([Choice([1, 2])], 20, (2,)),
    ],
)
def test_a_grid_has_as_many_levels_as_fit_into_the_budget(spaces: list[Space], budget: int, levels: Any) -> None:
    tried = values(GridSearch(), spaces, budget)
    assert len(tried) == GridSearch().trials(spaces, budget) == math.prod(levels) <= budget
    assert tuple(len({*column}) for column in zip(*tried, strict=True)) == levels
    assert values(GridSearch(), spaces, budget, seed=5, study=3) == tried


def test_halton_has_a_limit_to_the_number_of_spaces() -> None:
    spaces = [UniformSpace(0, 1)] * 51
    assert len(HaltonSearch().points(spaces[:50], 3, seed=0)[0]) == 50
    with pytest.raises(ValueError, match="at most 50 settings, not 51; use `random`"):
        HaltonSearch().points(spaces, 3, seed=0)
    assert len(RandomSearch().points(spaces, 3, seed=0)[0]) == 51

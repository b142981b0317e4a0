"""Initialisers: exact where they are, in distribution where they draw; the fans of layers; and as specs write them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_plan import make_plan
from tiny_spec import spec

from nnspec import engine as nn
from nnspec.checker import check
from nnspec.diagnostics import Source
from nnspec.engine import PARTS
from nnspec.semantics.meaning import identity, meaning

OURS = {name: part for name, part in PARTS["initializer"].items() if part.__module__.startswith("nnspec.")}
ARGUMENTS: dict[str, dict[str, Any]] = {"fill": {"value": 0.1}}
MADE = {name: part(**ARGUMENTS.get(name, {})) for name, part in OURS.items()}
IN, OUT = 400, 100


def draw(init: nn.Initializer, shape: tuple[int, ...] = (IN, OUT), seed: int = 0) -> np.ndarray:
    return init.draw(shape, shape[0], shape[1], np.random.default_rng(seed))


@pytest.mark.parametrize("init", MADE.values(), ids=MADE.keys())
@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (1, 1), (6, 3, 2, 2), (3, 6, 5)])
def test_every_draw_has_its_shape_and_is_the_generators(init: nn.Initializer, shape: tuple[int, ...]) -> None:
    one, same = draw(init, shape), draw(init, shape)
    assert (one.shape, one.dtype, one.flags.c_contiguous) == (shape, np.float64, True)
    np.testing.assert_array_equal(one, same)
    assert np.isfinite(one).all()
    if one.size > 1 and init not in (nn.Zeros(), nn.Ones(), nn.Fill(0.1)):
        assert not np.array_equal(one, draw(init, shape, seed=1))


# The distribution of each: its mean, its variance, and the farthest that a draw may be from the mean.
DISTRIBUTIONS: list[tuple[nn.Initializer, float, float, float]] = [
    (nn.Normal(std=0.02), 0, 0.02**2, math.inf),
    (nn.Normal(std=0.5, mean=2), 2, 0.25, math.inf),
    (nn.TruncatedNormal(std=0.5, mean=-1), -1, 0.25 * 0.7737, 1.0),
    (nn.Uniform(), 0, 0.1**2 / 12, 0.05),
    (nn.Uniform(low=1, high=4), 2.5, 9 / 12, 1.5),
    (nn.XavierNormal(), 0, 2 / (IN + OUT), math.inf),
    (nn.XavierUniform(), 0, 2 / (IN + OUT), math.sqrt(6 / (IN + OUT))),
    (nn.HeNormal(), 0, 2 / IN, math.inf),
    (nn.HeUniform(), 0, 2 / IN, math.sqrt(6 / IN)),
    (nn.LeCunNormal(), 0, 1 / IN, math.inf),
    (nn.LeCunUniform(), 0, 1 / IN, math.sqrt(3 / IN)),
    (nn.Orthogonal(), 0, 1 / IN, 1.0),
    (nn.Sparse(nonzeros=20, std=0.5), 0, 0.25 * 20 / IN, math.inf),
    (nn.PyTorch(), 0, 1 / (3 * IN), math.sqrt(1 / IN)),
    (nn.XavierNormal(gain=2.0), 0, 4 * 2 / (IN + OUT), math.inf),
    (nn.XavierUniform(gain=0.5), 0, 0.25 * 2 / (IN + OUT), 0.5 * math.sqrt(6 / (IN + OUT))),
    (nn.HeNormal(gain=2.0, mode="fan_out"), 0, 4 * 2 / OUT, math.inf),
    (nn.HeUniform(gain=2.0, mode="fan_out"), 0, 4 * 2 / OUT, 2 * math.sqrt(6 / OUT)),
    (nn.LeCunNormal(gain=5 / 3), 0, 25 / 9 / IN, math.inf),
    (nn.LeCunUniform(gain=0.1), 0, 0.01 / IN, 0.1 * math.sqrt(3 / IN)),
]


@pytest.mark.parametrize(("init", "mean", "variance", "farthest"), DISTRIBUTIONS, ids=lambda v: repr(v))
def test_draws_have_mean_variance_and_bounds(
    init: nn.Initializer, mean: float, variance: float, farthest: float
) -> None:
    values = draw(init)
    assert values.var() == pytest.approx(variance, rel=0.03)
    assert abs(values.mean() - mean) < 4 * math.sqrt(variance / values.size)
    size = np.abs(values - mean).max()
    assert size <= farthest
    if math.isinf(farthest):
        assert size > 3.5 * math.sqrt(variance), "nothing is cut off"
    elif not isinstance(init, nn.Orthogonal):
        assert size > 0.99 * farthest


def test_every_initializer_is_held_to_what_it_is() -> None:
    exact = {"zeros", "ones", "fill"}
    assert OURS.keys() == exact | {init.spec_name for init, *_ in DISTRIBUTIONS}


def test_constants_are_exact() -> None:
    assert set(draw(nn.Zeros()).ravel()) == {0.0}
    assert set(draw(nn.Ones()).ravel()) == {1.0}
    assert set(draw(nn.Fill(-3)).ravel()) == {-3.0}


@pytest.mark.parametrize("gain", [1.0, 0.5, math.sqrt(2)])
@pytest.mark.parametrize("shape", [(8, 8), (60, 20), (20, 60), (1, 5), (16, 3, 3, 3), (4, 8, 3, 3), (200, 200)])
def test_orthogonal_matrices_are_orthogonal(shape: tuple[int, ...], gain: float) -> None:
    q = draw(nn.Orthogonal(gain=gain), shape).reshape(shape[0], -1)
    product = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), rtol=0, atol=1e-12)


def test_orthogonal_matrices_are_drawn_evenly() -> None:
    # Without the signs of R's diagonal, the first column would have one sign only.
    rng = np.random.default_rng(5)
    found = np.array([nn.Orthogonal().draw((3, 3), 3, 3, rng) for _ in range(2000)])
    assert np.abs(found.mean(axis=0)).max() < 0.06
    np.testing.assert_allclose((found**2).mean(axis=0), np.full((3, 3), 1 / 3), atol=0.03)
    assert abs(np.linalg.det(found).mean()) < 0.1, "reflections as often as rotations"


FANS = [
    ("Linear", {"in_features": 30, "out_features": 20}, 30, 20),
    ("Conv2D", {"in_channels": 6, "out_channels": 8, "kernel_size": 3}, 54, 72),
    ("Conv2D", {"in_channels": 6, "out_channels": 8, "kernel_size": 3, "groups": 2}, 27, 36),
    ("Conv1D", {"in_channels": 4, "out_channels": 6, "kernel_size": 5}, 20, 30),
    ("ConvTranspose2D", {"in_channels": 6, "out_channels": 8, "kernel_size": 3, "groups": 2}, 36, 27),
]


@pytest.mark.parametrize(("part", "arguments", "fan_in", "fan_out"), FANS)
def test_layers_hand_their_fans_in(part: str, arguments: dict[str, Any], fan_in: int, fan_out: int) -> None:
    seen = []

    class Spy(nn.Initializer):
        def draw(self, shape: Any, fan_in: int, fan_out: int, rng: Any) -> np.ndarray:
            seen.append((shape, fan_in, fan_out))
            return np.zeros(shape)

    if part not in PARTS["layer"]:
        pytest.skip(f"there is no {part}")
    layer = PARTS["layer"][part](**arguments, init=Spy())
    assert seen == [(layer.weight.shape, fan_in, fan_out)]
    PARTS["layer"][part](**arguments, bias_init=Spy())
    assert seen[1:] == [(layer.bias.shape, fan_in, fan_out)], "the fans of a bias are those of its weight"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("normal", {"std": 0}),
        ("normal", {"mean": "far"}),
        ("truncated_normal", {"std": -1.0}),
        ("uniform", {"high": 0.0, "low": 0.0}),
        ("orthogonal", {"gain": 0}),
        ("fill", {"value": "much"}),
        ("fill", {"value": 1e10}),
        ("fill", {"value": float("nan")}),
        ("uniform", {"high": float("inf")}),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{list(arguments)[-1]}`"):
        OURS[name](**arguments)


def test_an_initializer_is_a_value_that_reads_as_a_spec_writes_it() -> None:
    assert nn.Normal(std=0.02) == nn.Normal(std=0.02) != nn.Normal(std=0.03)
    assert nn.Normal(std=0.02) != nn.TruncatedNormal(std=0.02)
    assert nn.HeNormal() == nn.HeNormal()
    shown = [nn.HeNormal(), nn.Normal(std=0.02), nn.Normal(), nn.Fill(0.5), nn.Orthogonal(gain=2.0), nn.Uniform(low=-1)]
    assert [repr(init) for init in shown] == [
        "he_normal",
        "normal(std=0.02)",
        "normal",
        "fill(0.5)",
        "orthogonal(gain=2.0)",
        "uniform(low=-1)",
    ]


def test_a_sparse_start_connects_each_unit_to_as_many_inputs() -> None:
    assert set((draw(nn.Sparse()) != 0).sum(axis=0)) == {15}
    assert set((draw(nn.Sparse(nonzeros=4), (10, 6, 3, 3)) != 0).sum(axis=(1, 2, 3))) == {4}
    assert (draw(nn.Sparse(), (10, 6)) != 0).all(), "there are no more inputs than that"
    used = (draw(nn.Sparse(), (40, 4000)) != 0).mean(axis=1)
    np.testing.assert_allclose(used, 15 / 40, atol=0.04)


STARTS = json.loads((Path(__file__).parent / "oracle/starts.json").read_text())


@pytest.mark.parametrize("layer", dict.fromkeys(case["layer"] for case in STARTS["cases"]))
def test_layers_start_as_pytorch_starts_them(layer: str) -> None:
    kind, _, written = layer.removesuffix(")").partition("(")
    numbers = [int(word) for word in written.split(", ") if word.isdigit()]
    more: dict[str, Any] = {"groups": 2} if "groups" in written else {}
    if PARTS["layer"][kind].accepts("init"):
        more["init"] = nn.PyTorch()
    rng = np.random.default_rng(0)
    if PARTS["layer"][kind].accepts("rng"):
        more["rng"] = rng
    theirs = {case["parameter"]: case for case in STARTS["cases"] if case["layer"] == layer}
    first = PARTS["layer"][kind](*numbers, **more).parameters()
    assert first.keys() == theirs.keys()
    draws = -(-12_000 // min([p.size for n, p in first.items() if theirs[n]["deviation"]], default=20_000))
    networks = [PARTS["layer"][kind](*numbers, **more).parameters() for _ in range(draws)]
    for name, case in theirs.items():
        values = np.concatenate(
            [parameters[name].data.ravel() for parameters in networks[: 1 + 12_000 // first[name].size]]
        )
        deviation = case["deviation"]
        if not deviation:
            assert set(values) == {case["mean"]}, name
            continue
        assert values.std() == pytest.approx(deviation, rel=0.03), name
        np.testing.assert_allclose(
            np.quantile(values, STARTS["at"]), case["quantiles"], atol=0.08 * deviation, rtol=0.03
        )
        if case["largest"] < 2 * deviation:  # uniform numbers have a bound
            assert np.abs(values).max() == pytest.approx(case["largest"], rel=2e-3)


def test_the_start_of_a_spec_is_that_of_its_layers() -> None:
    """`init = …` at the top of a spec means the same as the argument in each layer that has none."""
    model = (
        "Reshape([28, 28]); Conv1D(6, 3{}); residual { LSTM(6{}) }; MultiHeadAttention(2{}); Flatten; Linear(10, {}{})"
    )
    for init in ("pytorch", "normal(std=0.02)"):
        everywhere = model.replace("{}{}", "init=ones").replace("{}", f", init={init}")
        once = model.replace("{}{}", "init=ones").replace("{}", "")
        starts = [make_plan(spec(once, more=f"init = {init}")), make_plan(spec(everywhere))]
        ours, reference = ([p.data for p in plan.network.parameters()] for plan in starts)
        for one, other in zip(ours, reference, strict=True):
            np.testing.assert_array_equal(one, other)
        programs = [
            check(Source("tiny.nn", spec(text, **more)), []).program
            for text, more in ((once, {"more": f"init = {init}"}), (everywhere, {}))
        ]
        assert identity(meaning(programs[0])) == identity(meaning(programs[1]))


def test_recurrent_layers_start_as_told() -> None:
    start = {"init": nn.XavierUniform(), "recurrent_init": nn.Orthogonal(), "bias_init": nn.Fill(0.5)}
    layer = nn.LSTM(50, 40, **start, rng=np.random.default_rng(0))
    assert np.abs(layer.weight_ih.data).max() == pytest.approx(math.sqrt(6 / 90), rel=1e-2)
    for gate in np.split(layer.weight_hh.data, 4, axis=1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(40), atol=1e-12)
    assert set(layer.bias_ih.data) == set(layer.bias_hh.data) == {0.5}
    assert not nn.GRU(5, 4, init=nn.Normal()).bias_hh.data.any()


@pytest.mark.parametrize("name", OURS)
def test_a_plan_starts_with_it(name: str) -> None:
    arguments = ", ".join(f"{key}={value}" for key, value in ARGUMENTS.get(name, {}).items())
    text = f"{name}({arguments})" if arguments else name
    plan = make_plan(spec(f"Linear(12, init={text}); ReLU; Linear(10)"))
    weight = plan.network.parameters()[0].data
    assert weight.dtype == np.float32
    if name == "orthogonal":
        np.testing.assert_allclose(weight.T @ weight, np.eye(12), atol=1e-5)
    plan.begin(0)
    plan.train_batch(0)


@pytest.mark.parametrize(
    ("init", "told", "help"),
    [
        ("uniform(low=1, high=0)", "`low` must be less than `high`", ""),
        ("constant(0.1)", "`constant` is a schedule", "did you mean `fill`?"),
        ("glorot_uniform", "there", "did you mean `xavier_uniform`?"),
        ("trunc_normal", "unknown name `trunc_normal`", "did you mean `truncated_normal`?"),
        ("fill", "`fill` needs `value`", "fill(value)"),
    ],
)
def test_check_says_what_is_wrong_with_an_initializer(init: str, told: str, help: str) -> None:
    checked = check(Source("tiny.nn", spec(f"Linear(12, init={init}); ReLU; Linear(10)")), [])
    (found,) = checked.diagnostics
    assert told in found.message or told == "there"
    assert found.help == help

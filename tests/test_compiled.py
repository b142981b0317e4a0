"""Compiled kernels: the same formula as a loop over numbers, and the same numbers, bit for bit."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np
import pytest
from tiny_spec import run, spec

from nnspec import engine as nn
from nnspec.engine.compiled import CompilerMissing, compiled
from nnspec.engine.optimizers import Optimizer
from nnspec.engine.parameter import Parameter, Segment
from nnspec.engine.part import PARTS
from nnspec.errors import NnspecError

STEPS = 5


def optimizers() -> list[tuple[type[Optimizer], dict[str, Any]]]:
    """Every optimizer, with and without what changes its formula."""
    found: list[tuple[type[Optimizer], dict[str, Any]]] = []
    for part in PARTS["optimizer"].values():
        assert issubclass(part, Optimizer)
        arguments = part.signature().arguments
        variants: list[dict[str, Any]] = [{}]
        for name, value in {"momentum": 0.7, "centered": True, "betas": (0.6, 0.5)}.items():
            if name in arguments:
                variants += [variant | {name: value} for variant in variants]
        if "momentum" in arguments:
            variants.append({"momentum": 0.0})
        found += [(part, more | decay) for more in variants for decay in ({}, {"weight_decay": 0.1})]
    return [case for case in found if case[0].__module__.startswith("nnspec.")]


def names(case: object) -> str | None:
    return case.__name__ if isinstance(case, type) else str(case)


WITH_LOOP = [(part, more) for part, more in optimizers() if part([Parameter(np.zeros(1))], **more).loop() is not None]


def trained(part: type[Optimizer], more: dict[str, Any], dtype: str, how: str) -> tuple[list[bytes], list[bytes]]:
    """Take some steps: by arrays, by the loop in plain Python, or by the loop compiled.

    One parameter is a plain matrix; one does not decay; one is a vector of tensors with rates and decays of their own.
    """
    rng = np.random.default_rng(3)
    rates = [(1.0, None, False), (0.5, None, False), (0.5, 0.03, False), (1.0, None, True), (0.5, 0.0, False)]
    segments = [
        Segment((2, 2), 4 * i, rate=rate, weight_decay=decay, frozen=frozen)
        for i, (rate, decay, frozen) in enumerate(rates)
    ]
    params = [
        Parameter(rng.normal(size=(7, 5)), dtype),
        Parameter(rng.normal(size=11), dtype, decays=False),
        Parameter.over(rng.normal(size=20).astype(dtype), np.zeros(20, dtype), segments),
    ]
    optimizer = part(params, lr=0.05, **more)
    if how == "python":
        optimizer._compiled = optimizer.loop()
    elif how == "compiled":
        optimizer.compile()
    for _ in range(STEPS):
        for parameter in params:
            parameter.grad = rng.normal(size=parameter.shape) * 10.0 ** rng.integers(-4, 3, parameter.shape)
            parameter.grad[..., 0] = 0
        optimizer.step()
    state = [array.tobytes() for own in optimizer.state for array in own.values()]
    return [parameter.data.tobytes() for parameter in params], state


def test_every_optimizer_that_moves_numbers_one_by_one_has_a_loop() -> None:
    assert {part for part, _ in WITH_LOOP} == {part for part, _ in optimizers() if not part.whole_tensors}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("part", "more"), WITH_LOOP, ids=names)
def test_a_loop_moves_parameters_as_the_arrays_do(part: type[Optimizer], more: dict[str, Any], dtype: str) -> None:
    assert trained(part, more, dtype, "python") == trained(part, more, dtype, "arrays")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("part", "more"), WITH_LOOP, ids=names)
def test_compiled_it_does_so_too(part: type[Optimizer], more: dict[str, Any], dtype: str) -> None:
    pytest.importorskip("numba", reason="compiled kernels need Numba, which is an extra")
    assert trained(part, more, dtype, "compiled") == trained(part, more, dtype, "arrays")


def test_an_optimizer_with_another_formula_does_not_inherit_the_loop() -> None:
    class Other(nn.Adam):
        def update(self, theta: Any, grad: Any, scratch: Any, *state: Any) -> None:
            theta -= 1

    assert Other([Parameter(np.zeros(3))]).loop() is None
    other = Other([parameter := Parameter(np.zeros(3))])
    other.compile()
    other.step()
    np.testing.assert_array_equal(parameter.data, -np.ones(3))


def test_without_numba_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def missing(name: str, *more: Any, **other: Any) -> Any:
        if name == "numba":
            raise ImportError(name)
        return found(name, *more, **other)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(CompilerMissing, match=r'pip install "nnspec\[fast\]"'):
        compiled(lambda: None)


def test_a_run_with_compiled_kernels_is_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="compiled kernels need Numba, which is an extra")
    text = spec(race="SGD; Momentum; Adam(weight_decay=0.01); AdamW", train="epochs = 3; batch = 16")
    plain = run(text)
    monkeypatch.setenv("NNSPEC_COMPILED", "1")
    fast = run(text)
    for name, lane in plain.lanes.items():
        assert fast.lanes[name].history == lane.history
        theirs = fast.lanes[name].network.named_parameters()
        for key, parameter in lane.network.named_parameters().items():
            np.testing.assert_array_equal(parameter.data, theirs[key].data)
    assert (plain.summary["environment"]["compiled"], fast.summary["environment"]["compiled"]) == (False, True)


@pytest.mark.parametrize(("word", "said"), [("1", "need Numba"), ("yes", "not 'yes'")])
def test_what_cannot_be_had_is_said_before_anything_runs(word: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNSPEC_COMPILED", word)
    monkeypatch.setitem(sys.modules, "numba", None)
    compiled.cache_clear()
    with pytest.raises(NnspecError, match=said):
        run(spec())

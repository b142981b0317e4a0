"""The formula of each optimizer as a loop over numbers, and the same numbers, bit for bit."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from nnspec import engine as nn
from nnspec.engine.optimizers import Optimizer
from nnspec.engine.parameter import Parameter, Segment
from nnspec.engine.part import PARTS

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


@cache
def in_machine_code(loop: Any) -> Any:
    """Compile a loop, which optimizers with other arguments may share, once for each type of numbers."""
    import numba

    return numba.njit(loop, error_model="numpy")


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
    loop: Any = optimizer.loop() if how != "arrays" else None
    if how == "compiled":
        loop = in_machine_code(loop)
    for _ in range(STEPS):
        for parameter in params:
            parameter.grad = rng.normal(size=parameter.shape) * 10.0 ** rng.integers(-4, 3, parameter.shape)
            parameter.grad[..., 0] = 0
        if loop is None:
            optimizer.step()
            continue
        optimizer.steps += 1
        for group in optimizer.groups:
            loop(*optimizer.arrays(group), *map(np.dtype(dtype).type, optimizer.factors(group)))
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

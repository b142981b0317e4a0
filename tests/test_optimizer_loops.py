"""Which optimizers have a loop over numbers; that it gives the bits of the arrays is checked by nnspec.testing."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnspec import engine as nn
from nnspec.engine.optimizers import Optimizer
from nnspec.engine.parameter import Parameter
from nnspec.native.library import rule_name
from nnspec.testing.tables import own_parts


def test_every_optimizer_that_moves_numbers_one_by_one_has_a_loop() -> None:
    for part in own_parts("optimizer").values():
        optimizer = part.as_kind(Optimizer)
        # What depends on all gradients is computed before anything moves.
        without = (optimizer.whole_tensors and not optimizer.couples_tensors) or optimizer.evaluates
        assert (optimizer([Parameter(np.zeros(1))]).loop() is None) is without


def test_every_loop_becomes_a_kernel() -> None:
    for part in own_parts("optimizer").values():
        optimizer = part.as_kind(Optimizer)([Parameter(np.zeros(1))])
        loop = optimizer.loop()
        if loop is not None:
            optimizer.advance()
            factors = optimizer.factors(optimizer.groups[0])
            assert rule_name(loop, len(optimizer.state[0]), len(factors), "f8")


def test_an_optimizer_with_another_formula_does_not_inherit_the_loop() -> None:
    class Other(nn.Adam):
        def update(self, theta: Any, grad: Any, scratch: Any, *state: Any) -> None:
            theta -= 1

    assert Other([Parameter(np.zeros(3))]).loop() is None

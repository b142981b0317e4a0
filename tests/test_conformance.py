"""The conformance kit: nnspec's own parts pass it, and it finds the errors in others."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import command

from nnspec import engine as nn
from nnspec.engine.part import PARTS, FilePath, Part
from nnspec.testing import Check, ConformanceError, Outcome, checks, conform
from nnspec.testing.check import RULES, rule
from nnspec.testing.conform import run_check

OWN = checks("nnspec.engine", "nnspec.data")


@pytest.mark.parametrize("check", OWN, ids=str)
def test_own_parts_conform(check: Check) -> None:
    check()


def test_every_part_of_a_kind_with_rules_is_checked() -> None:
    own = {cls for kind in RULES for cls in PARTS[kind].values() if cls.__module__.startswith("nnspec.")}
    assert {check.part for check in OWN} == own
    without = {check.part.spec_name for check in OWN if not check.samples}
    own_data, in_networks = {"CSV", "NPZ", "NPY", "Text", "IDX", "Images", "Given"}, {"from", "same", "transposed"}
    assert without == own_data | in_networks
    assert len(OWN) >= 1580
    assert {check.part.spec_name for check in OWN if check.part.expected_failures} == {"Sample", "SOAP", "grid"}


# The kit notices


@pytest.fixture
def _own_parts() -> Iterator[None]:
    """Parts that a test defines are forgotten after it."""
    before = {kind: dict(parts) for kind, parts in PARTS.items()}
    yield
    for kind, parts in before.items():
        PARTS[kind].clear()
        PARTS[kind].update(parts)


def outcome(cls: type[Part], name: str) -> Outcome:
    (check,) = (check for check in checks(cls) if check.rule.name == name)
    return run_check(check)


def test_a_gradient_check_that_is_blind_fails_the_spoilt_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    right = nn.numerical_gradient_check
    monkeypatch.setattr(nn, "numerical_gradient_check", lambda layer, x, **more: 1e-9 * right(layer, x, **more))
    found = outcome(nn.Linear, "spoilt_gradients")
    assert found.status == "failed"
    assert "wrong derivatives are not noticed: too large by 1e-5, too small by 1e-5, one sign flipped" in found.reason


@pytest.mark.parametrize(("rule", "said"), [("descends", "wrong sign"), ("checkpoint", "outside of `state_slots`")])
def test_checks_of_an_optimizer_that_are_blind_fail_its_spoilt_steps(
    rule: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"nnspec.testing.optimizers.{rule}", lambda sample: None)
    found = outcome(nn.Adam, "spoilt_steps")
    assert (found.status, said in found.reason) == ("failed", True)


@pytest.mark.usefixtures("_own_parts")
def test_failures_may_be_expected_and_must_then_happen() -> None:
    class Halved(nn.Tanh):
        spec_name = "Halved"
        expected_failures = {"gradients": "it is a straight-through estimator", "float32": "no reason at all"}

        def backward(self, grad: Any, out: Any = None, *, input_grad: bool = True) -> Any:
            return np.multiply(super().backward(grad), 0.5, out=out)

    conformance = conform(Halved)
    by_rule = {each.check.rule.name: each for each in conformance.outcomes}
    assert (by_rule["gradients"].status, by_rule["gradients"].reason) == (
        "expected",
        "it is a straight-through estimator",
    )
    assert by_rule["float32"].status == "unexpected"
    assert not conformance.good
    assert conformance.count("skipped") == 1  # spoilt_gradients: they are wrong already
    with pytest.raises(unittest.SkipTest, match="expected to fail: it is a straight-through estimator"):
        by_rule["gradients"].check()
    with pytest.raises(AssertionError, match="Halved: float32 passes; remove it from `expected_failures`"):
        by_rule["float32"].check()


def constant_rows(self: Any, spaces: Any, budget: int, seed: int, study: int) -> Any:
    return ([n / budget for _ in spaces] for n in range(budget))


@pytest.mark.usefixtures("_own_parts")
@pytest.mark.parametrize(
    ("base", "members", "failed"),
    [
        (nn.UniformSpace, {"at": lambda self, u: self.high - u * self.width}, {"quantiles", "places"}),
        (nn.UniformSpace, {"at": lambda self, u: self.low}, {"quantiles", "places", "edges"}),
        (nn.LogUniform, {"place": lambda self, value: 0.5}, {"places", "levels"}),
        (nn.LogUniform, {"levels": lambda self, count: (self.low, self.high)}, {"levels"}),
        (nn.Integers, {"width": 0.0}, {"edges"}),
        (nn.Integers, {"edge": lambda self, value: ""}, {"edges"}),
        (nn.HaltonSearch, {"rows": constant_rows}, {"larger_budget", "studies"}),
        (nn.RandomSearch, {"trials": lambda self, spaces, budget: budget}, {"points"}),
        (
            nn.RandomSearch,
            {"rows": lambda self, spaces, *more: iter([(1.0,) * len(spaces)] * 20)},
            {"points", "studies"},
        ),
    ],
)
def test_spoilt_spaces_and_searches_fail(base: type[Part], members: dict[str, Any], failed: set[str]) -> None:
    cls: Any = type("Spoilt", (base,), {"spec_name": "spoilt", "__module__": __name__, **members})
    outcomes = {check.rule.name: run_check(check).status for check in checks(cls)}
    assert {name for name, status in outcomes.items() if status == "failed"} >= failed


@pytest.mark.usefixtures("_own_parts")
@pytest.mark.parametrize(
    ("members", "said"),
    [
        (
            {"expected_failures": {"gradient": "a"}},
            "`expected_failures` names gradient; the rules for a layer are",
        ),
        ({"example_shapes": ()}, "Mine accepts none of the shapes that it is tried with; give it some of its own"),
        ({"__annotations__": {"path": FilePath}}, r"Mine requires path: give it `examples = \(\{\"path\": …\},\)`"),
    ],
)
def test_a_part_that_cannot_be_tried_is_an_error(members: dict[str, Any], said: str) -> None:
    cls: Any = type("Mine", (nn.ReLU,), {"spec_name": "Mine", "__module__": __name__, **members})
    with pytest.raises(ConformanceError, match=said):
        checks(cls)


def test_what_cannot_be_imported_or_has_no_parts_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "unfinished.py").write_text("x = (")
    (tmp_path / "raises.py").write_text("1 / 0")
    for name, said in (
        ("nowhere_at_all", "cannot be imported: No module named"),
        ("json", "json defines no parts"),
        ("unfinished", "unfinished cannot be imported: SyntaxError: '(' was never closed (unfinished.py, line 1)"),
        ("raises", "raises cannot be imported: ZeroDivisionError: division by zero"),
    ):
        done = command("conform", name, cwd=tmp_path)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_two_rules_of_one_name_are_an_error() -> None:
    def gradients(sample: Any) -> None: ...

    with pytest.raises(ValueError, match="two rules for a layer are called gradients"):
        rule("layer")(gradients)

"""What a part must do, as rules; and a rule applied to a part, as a check.

A rule is a function in the file of its kind of part, with the decorator `rule`. It is called with each sample of a
part, or once with the class and all samples, raises AssertionError if the part breaks it, and SkipTest with the reason
if it does not apply. Nothing else lists it.
"""

from __future__ import annotations

import importlib
import unittest
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from nnspec.engine.part import PARTS, Part
from nnspec.errors import NnspecError

__all__ = ["BATCHES", "Check", "ConformanceError", "Nonconforming", "Rule", "case", "checks", "require", "rule", "skip"]

BATCHES = (1, 5)
"""The sizes of batches that rules try: a single sample, and a few."""
_FILES = ("layers", "losses", "optimizers", "closures", "others", "spaces", "training")
RULES: dict[str, dict[str, Rule]] = {}
"""Kind of part -> name of the rule -> the rule."""


class Nonconforming(AssertionError):
    """A part breaks a rule."""


class ConformanceError(NnspecError):
    """There is nothing to check, or the expectations of a part name rules that do not exist."""


@dataclass(frozen=True)
class Rule:
    """Something that every part of a kind must do."""

    kind: str
    name: str
    test: Callable[..., None]
    applies: Callable[[type[Part]], bool]
    """Whether it is for a part of its kind."""
    whole: bool
    """Whether it is called once with the class and all samples, instead of with each sample."""

    @property
    def promise(self) -> str:
        """Describe it in a sentence."""
        return (self.test.__doc__ or "").split("\n\n")[0]


def rule(
    *kinds: str, whole: bool = False, applies: Callable[[type[Part]], bool] = lambda cls: True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a rule for these kinds of parts, or for those that it `applies` to, under its own name."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        for kind in kinds:
            named = RULES.setdefault(kind, {})
            if test.__name__ in named:
                raise ValueError(f"two rules for a {kind} are called {test.__name__}")
            named[test.__name__] = Rule(kind, test.__name__, test, applies, whole)
        return test

    return decorate


def require(holds: object, message: str) -> None:
    """Raise Nonconforming with a message unless a condition holds. Unlike `assert`, it works under -O."""
    if not holds:
        raise Nonconforming(message)


def skip(reason: str) -> None:
    """Leave a sample out, with the reason. pytest and unittest both take the exception for a skipped test."""
    raise unittest.SkipTest(reason)


@contextmanager
def case(**values: Any) -> Iterator[None]:
    """Name the case in which something fails."""
    try:
        yield
    except Exception as error:
        error.add_note("in the case " + ", ".join(f"{name}={value!s:.80}" for name, value in values.items()))
        raise


@dataclass(frozen=True)
class Check:
    """A rule for a part: call it to check."""

    part: type[Part]
    rule: Rule
    samples: Sequence[Any] = field(repr=False)

    @property
    def expected_failure(self) -> str | None:
        """The reason why the part cannot pass, if it gives one in `expected_failures`."""
        return self.part.expected_failures.get(self.rule.name)

    def __call__(self) -> None:
        """Try all samples. Raises SkipTest with the reason for a rule that does not apply, and for a failure that the
        part expects; Nonconforming if it passes although it is expected to fail, and what `run` raises.
        """
        if self.expected_failure is None:
            self.run()
            return
        try:
            self.run()
        except unittest.SkipTest:
            raise
        except Exception:  # noqa: BLE001  (a part may fail in any way)
            skip(f"expected to fail: {self.expected_failure}")
        raise Nonconforming(f"{self} passes; remove it from `expected_failures`")

    def run(self) -> None:
        """Try all samples. Raises one ExceptionGroup for those that fail; SkipTest if the rule applies to none."""
        if not self.samples:
            required = [argument.name for argument in self.part.signature() if argument.required]
            skip(f"it needs {', '.join(required) or 'data'} of a user's own")
        if self.rule.whole:
            self.rule.test(self.part, self.samples)
            return
        failures: list[Exception] = []
        skipped: list[str] = []
        for sample in self.samples:
            try:
                with case(sample=sample):
                    self.rule.test(sample)
            except unittest.SkipTest as reason:
                skipped.append(str(reason))
            except Exception as error:  # noqa: BLE001  (raised below)
                failures.append(error)
        if failures:
            raise ExceptionGroup(f"{self}: {self.rule.promise}", failures)
        if len(skipped) == len(self.samples):
            skip("; ".join(dict.fromkeys(skipped)))

    def __str__(self) -> str:
        return f"{self.part.spec_name}: {self.rule.name}"


def checks(*parts: type[Part] | str, kind: str = "") -> list[Check]:
    """Return all checks of parts, or of all parts in packages and modules, which are imported.

        @pytest.mark.parametrize("check", nnspec.testing.checks("my_package"), ids=str)
        def test_conformance(check):
            check()

    `kind` selects parts of one kind. Raises ConformanceError if there are no parts, or if one has no samples.
    """
    from nnspec.testing.tables import is_own, samples_of

    _load_rules()
    found: list[Check] = []
    for cls in _classes(parts):
        if kind and cls.kind != kind:
            continue
        rules = {name: each for name, each in RULES.get(cls.kind, {}).items() if each.applies(cls)}
        unknown = sorted(set(cls.expected_failures) - set(rules))
        if unknown:
            raise ConformanceError(
                f"{cls.spec_name}: `expected_failures` names {', '.join(unknown)}; the rules for a {cls.kind} are "
                f"{', '.join(rules)}"
            )
        samples = samples_of(cls) if rules else ()
        if rules and not samples and not is_own(cls):
            raise ConformanceError(_no_samples(cls))
        found += [Check(cls, each, samples) for each in rules.values()]
    return found


def _no_samples(cls: type[Part]) -> str:
    from nnspec.testing.samples import lacking

    missing = lacking(cls, cls.examples[0] if cls.examples else {})
    if missing:
        example = ", ".join(f'"{name}": …' for name in missing)
        return (
            f"{cls.spec_name} requires {', '.join(missing)}: give it `examples = ({{{example}}},)` to be checked with"
        )
    return (
        f"{cls.spec_name} accepts none of the shapes that it is tried with; give it some of its own, such as "
        "`example_shapes = ((8,), (4, 8))`, or `examples` with other arguments"
    )


def _classes(parts: Sequence[type[Part] | str]) -> list[type[Part]]:
    """Return the parts that are meant, each once. Raises ConformanceError."""
    found: dict[type[Part], None] = {}
    for part in parts:
        if not isinstance(part, str):
            found[part] = None
            continue
        module = part.removesuffix(".py")
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # a module may raise anything
            reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
            raise ConformanceError(f"{module} cannot be imported: {reason}") from error
        inside = [
            cls
            for named in PARTS.values()
            for cls in named.values()
            if cls.__module__ == module or cls.__module__.startswith(f"{module}.")
        ]
        if not inside:
            raise ConformanceError(
                f"{module} defines no parts: a part is a subclass of a layer, loss, optimizer, … with a `spec_name`"
            )
        found.update(dict.fromkeys(inside))
    return list(found)


def _load_rules() -> None:
    """Import the files with rules, which are not needed before."""
    for name in _FILES:
        importlib.import_module(f"nnspec.testing.{name}")

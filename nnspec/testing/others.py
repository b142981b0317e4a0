"""What every schedule, initialiser, metric, augmentation and data source must do."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.testing import assert_array_equal

from nnspec.compiler.scaling import scaling
from nnspec.data.scopes import ScopeFault
from nnspec.data.source import Access, Dataset, DataSource, DataUnavailable, Facts, Split
from nnspec.engine.augmentations import Augmentation, Mixing
from nnspec.engine.initializers import Initializer
from nnspec.engine.layers.contract import Shape, ShapeError
from nnspec.engine.metrics import Metric
from nnspec.engine.part import Part
from nnspec.engine.scalers import Scaler
from nnspec.engine.schedules import Schedule
from nnspec.engine.work import Borrower
from nnspec.testing.arguments import differ, other_values
from nnspec.testing.check import Nonconforming, case, require, rule, skip
from nnspec.testing.memory import growth
from nnspec.testing.samples import PartSample

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPOCHS = 10
PROGRESS = [n / 7 for n in range(7 * EPOCHS + 1)]
"""Points of a training, in epochs."""


def has_effect(cls: type[Part], samples: Sequence[PartSample], computed: Any) -> None:
    """Require that another value of every argument changes what `computed` returns."""
    for argument in cls.signature():
        changed = False
        for sample in samples:
            before = computed(sample)
            for value in other_values(argument):
                try:
                    after = computed(PartSample(sample.kind, sample.part, sample.arguments | {argument.name: value}))
                except (ShapeError, ValueError):
                    continue
                changed = changed or differ(before, after)
        require(changed, f"no value of `{argument.name}` changes what {cls.spec_name} computes")


@rule("schedule", "initializer", "augmentation", "scaling rule", "space", "search")
def plain(sample: PartSample) -> None:
    """It is a value: equal to another with the same arguments, and not changed by being used."""
    part, other = sample.make(), sample.make()
    require(part == other and hash(part) == hash(other), "two with the same arguments are not equal")
    require(part.in_spec() == other.in_spec() and part.spec_name in part.in_spec(), f"in a spec it is {part.in_spec()}")


# Schedules

_CURVE = (1.0, 2.0, 3.0, 0.9, 2.0, 3.0, 2.0, 2.0, 2.0, 2.0)
"""A figure after each epoch, for schedules that depend on one: it improves a little once."""


def _rates(schedule: Schedule) -> list[float]:
    follower = schedule.follow()
    rates = []
    for epoch in range(EPOCHS):
        rates += [follower.rate(epoch + n / 7, EPOCHS, 7) for n in range(7)]
        if schedule.of:
            follower.tell(epoch + 1, {schedule.of: _CURVE[epoch]}, 7)
    return rates


@rule("schedule")
def rates(sample: PartSample) -> None:
    """Rates are finite floats, not negative, and do not depend on what was asked before."""
    schedule = sample.make()
    values = _rates(schedule)
    for rate in values:
        require(isinstance(rate, (int, float)) and math.isfinite(rate), f"a rate is {rate!r}")
        require(rate >= 0, f"a rate is {rate}")
    require(_rates(schedule) == values, "a second training has other rates")
    if not schedule.of:
        backwards = [schedule.rate(at, EPOCHS) for at in PROGRESS[::-1]]
        require(backwards[::-1] == [schedule.rate(at, EPOCHS) for at in PROGRESS], "rates depend on the order of calls")
    require(max(values) > 0, "all rates are 0")


@rule("schedule")
def warmup(sample: PartSample) -> None:
    """A warm-up rises linearly from 0, and moves the rest."""
    if "warmup" in sample.arguments:
        skip("an example with a warm-up of its own")
    schedule = PartSample(sample.kind, sample.part, sample.arguments | {"warmup": 2, "staircase": False}).make()
    rise = [schedule.rate(at, EPOCHS) for at in (0, 0.5, 1, 1.5)]
    require(rise[0] == 0 and np.allclose(rise, np.array([0, 0.5, 1, 1.5]) * schedule.start / 2), f"it rises {rise}")


@rule("schedule")
def state_round_trip(sample: PartSample) -> None:
    """The state of a follower is all it takes to resume."""
    schedule = sample.make()
    follower, resumed = schedule.follow(), schedule.follow()
    if schedule.of:
        for epoch in range(4):
            follower.tell(epoch + 1, {schedule.of: 1.0})
    resumed.keep_state(follower.state())
    require(resumed.rate(4.5, EPOCHS) == follower.rate(4.5, EPOCHS), "a resumed training has another rate")


@rule("schedule", whole=True)
def arguments_have_effects(cls: type[Schedule], samples: Sequence[PartSample]) -> None:
    """Every argument changes the rates."""

    def computed(sample: PartSample) -> Any:
        return [*_rates(sample.make()), sample.make().of]

    has_effect(cls, samples, computed)


# Initialisers


@rule("initializer")
def draws(sample: PartSample) -> None:
    """Numbers are finite float64 of the shape that is asked for; equal generators give equal bits."""
    init: Initializer = sample.make()
    for shape in ((6, 5), (5,), (4, 3, 2, 2)):
        with case(shape=shape):
            try:
                first, second = (init.draw(shape, 6, 5, np.random.default_rng(1)) for _ in range(2))
            except (ShapeError, ValueError) as error:
                require(len(shape) != 2, f"a matrix cannot be drawn: {error}")
                continue
            require(first.shape == shape, f"the shape is {first.shape}")
            require(first.dtype == np.float64, f"the numbers are {first.dtype}")
            require(np.isfinite(first).all(), "some numbers are not finite")
            assert_array_equal(first, second)


@rule("initializer", whole=True)
def draws_depend_on_arguments(cls: type[Initializer], samples: Sequence[PartSample]) -> None:
    """Every argument changes the numbers."""
    has_effect(cls, samples, lambda sample: sample.make().draw((6, 5), 6, 5, np.random.default_rng(1)))


# Metrics


@dataclass(frozen=True)
class Situation:
    """Outputs and targets that a metric may be made for, and a spec that has such."""

    outputs: Shape
    classes: int | None
    target: Shape
    spec: str

    def numbers(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return outputs and targets of 23 samples."""
        rng = np.random.default_rng(4)
        outputs = rng.standard_normal((23, *self.outputs))
        if self.classes is not None:
            return outputs, rng.integers(0, self.classes, (23, *self.target))
        return outputs, rng.standard_normal((23, *self.target))


SITUATIONS = [
    Situation((10,), 10, (), "data = Digits(train=20, test=10)\nloss = CrossEntropy\nmodel { Linear(10) }"),
    Situation((2,), 2, (), "data = Moons(train=20, test=10)\nloss = CrossEntropy\nmodel { Linear(2) }"),
    Situation((1,), None, (), "data = Sine(train=20, test=10)\nloss = MSE\nmodel { Linear(1) }"),
]
"""Many classes, two classes, and numbers."""


def situation_of(sample: PartSample) -> Situation:
    """Return the first situation that a metric accepts."""
    cls = sample.cls.as_kind(Metric)
    settings = {argument.name: argument.default for argument in cls.signature()} | sample.arguments
    for each in SITUATIONS:
        if (cls.needs_classes and each.classes is None) or (cls.needs_numbers and each.classes is not None):
            continue
        with contextlib.suppress(ShapeError):
            cls.fit(each.outputs, each.classes, each.target, settings)
            return each
    raise Nonconforming("it fits none of 10 outputs for 10 classes, 2 for 2 classes, and 1 for a number")


def _measured(metric: Metric, outputs: NDArray[Any], targets: NDArray[Any], batch: int) -> Any:
    metric.begin()
    for start in range(0, len(outputs), batch):
        metric.add(outputs[start : start + batch], targets[start : start + batch])
    return metric.result()


@rule("metric")
def ragged_batches(sample: PartSample) -> None:
    """The result does not depend on how samples are divided into batches, and `begin` forgets everything."""
    metric: Metric = sample.make()
    outputs, targets = situation_of(sample).numbers()
    whole = _measured(metric, outputs, targets, 1000)
    for batch in (1, 5, 23):
        np.testing.assert_allclose(_measured(metric, outputs, targets, batch), whole, rtol=1e-10, atol=1e-12)


@rule("metric")
def inputs_unchanged(sample: PartSample) -> None:
    """Neither outputs nor targets change, and lent work arrays change nothing."""
    metric, lent = sample.make(), sample.make()
    situation = situation_of(sample)
    outputs, targets = situation.numbers()
    before = outputs.copy(), targets.copy()
    kinds = {"float": np.float64, "bool": np.bool_, "index": np.intp}
    work = type(lent).work(situation.outputs, sample.arguments)
    lent.lend({name: np.ones((6, *each.shape), kinds[each.dtype]) for name, each in work.items()})
    assert_array_equal(_measured(lent, outputs, targets, 5), _measured(metric, outputs, targets, 5))
    assert_array_equal(outputs, before[0], err_msg="outputs")
    assert_array_equal(targets, before[1], err_msg="targets")


@rule("metric")
def figure(sample: PartSample) -> None:
    """A figure is a finite float, and a percentage lies in [0, 1]."""
    metric: Metric = sample.make()
    if not metric.is_figure:
        skip("it is a table")
    for dtype in (np.float32, np.float64):
        outputs, targets = situation_of(sample).numbers()
        value = _measured(metric, outputs.astype(dtype), targets, 5)
        require(type(value) is float, f"the result is a {type(value).__name__}, not a float")
        require(math.isfinite(value), f"the result is {value}")
        require(not metric.percent or 0 <= value <= 1, f"a percentage is {value}")


# Augmentations


def _applied(augmentation: Augmentation, x: NDArray[Any], seed: int = 0, work: Borrower | None = None) -> NDArray[Any]:
    y = x.copy()
    augmentation.apply(y, np.random.default_rng(seed), work)
    return y


def _samples(count: int, shape: tuple[int, ...], dtype: str = "float64") -> NDArray[Any]:
    return np.random.default_rng(5).standard_normal((count, *shape)).astype(dtype)


def _shapes(augmentation: Augmentation) -> list[tuple[int, ...]]:
    """Return the shapes of samples to try: those that it accepts."""
    found: list[tuple[int, ...]] = []
    for shape in ((6, 5), (2, 6, 5), (3, 6, 5)):
        with contextlib.suppress(ShapeError):
            augmentation.fit(shape)
            found.append(shape)
    require(found, "it accepts no images of 6 × 5 pixels")
    return found


def _lent(augmentation: Augmentation, rows: int, shape: tuple[int, ...]) -> Borrower:
    work, kinds = Borrower(), {"float": np.float32, "bool": np.bool_, "index": np.intp}
    arrays = augmentation.work(shape).items()
    work.lend({name: np.full((rows, *each.shape), 77).astype(kinds[each.dtype]) for name, each in arrays})
    return work


@rule("augmentation")
def noise(sample: PartSample) -> None:
    """Equal generators give equal bits, others do not; the samples of a batch vary independently; types stay."""
    augmentation: Augmentation = sample.make()
    for shape in _shapes(augmentation):
        with case(shape=shape):
            x = _samples(40, shape)
            y = _applied(augmentation, x)
            assert_array_equal(_applied(augmentation, x), y)
            require((_applied(augmentation, x, seed=1) != y).any(), "another generator gives the same numbers")
            require((y != x).any(), "nothing changes")
            same = np.broadcast_to(_samples(1, shape), (30, *shape)).copy()
            varied = {row.tobytes() for row in _applied(augmentation, same)}
            require(isinstance(augmentation, Mixing) or len(varied) > 1, "all samples change alike")
            require(_applied(augmentation, _samples(3, shape, "float32")).dtype == np.float32, "float32 does not stay")


@rule("augmentation")
def work_arrays_change_nothing(sample: PartSample) -> None:
    """The numbers are the same with work arrays that are lent, and nothing else is allocated."""
    augmentation: Augmentation = sample.make()
    for shape in _shapes(augmentation):
        with case(shape=shape):
            work = _lent(augmentation, 40, shape)
            for rows in (40, 40, 7, 1):
                x = _samples(rows, shape, "float32")
                assert_array_equal(_applied(augmentation, x, work=work), _applied(augmentation, x))
            rows = 3000
            work, x, rng = _lent(augmentation, rows, shape), _samples(rows, shape, "float32"), np.random.default_rng(0)
            augmentation.apply(x, rng, work)
            grown = growth(lambda: augmentation.apply(x, rng, work))  # noqa: B023
            require(grown < 8192, f"{grown:,} bytes are allocated; declare them in `work`")


@rule("augmentation", whole=True)
def noise_depends_on_arguments(cls: type[Augmentation], samples: Sequence[PartSample]) -> None:
    """Every argument changes what it does."""
    has_effect(cls, samples, lambda sample: _applied(sample.make(), _samples(20, (3, 6, 5))))


# Rules for scaling


def _scaled(rule: Scaler) -> dict[tuple[int, ...], Any]:
    """Return shift and scale of every feature of a table, of images and of constant features, if the rule applies."""
    found: dict[tuple[int, ...], Any] = {}
    for shape, factor in (((6,), 3.0), ((2, 3, 1), 3.0), ((3,), 0.0)):
        x = factor * _samples(25, shape) + 5
        facts = Facts(shape, None, len(x), len(x), "float64")
        split = Split(x.reshape(len(x), -1), np.zeros(len(x)))
        data = Dataset("data", facts, split, split, 2.0, "", "")
        with contextlib.suppress(ScopeFault):
            found[shape] = scaling(data, np.arange(20), [rule])
    return found


@rule("scaling rule")
def scales(sample: PartSample) -> None:
    """It returns a finite shift and a scale above 0 for every feature, constant ones too, and the same again."""
    rule: Scaler = sample.make()
    again = _scaled(rule)
    require(again, "it applies neither to a row of six features nor to images with two channels")
    for shape, (shift, scale) in _scaled(rule).items():
        with case(shape=shape):
            assert_array_equal((shift, scale), again[shape])
            require(shift.shape == scale.shape == (math.prod(shape),), f"shapes are {shift.shape} and {scale.shape}")
            require(shift.dtype == scale.dtype == np.float64, f"types are {shift.dtype} and {scale.dtype}")
            require(bool(np.isfinite(shift).all()) and bool((scale > 0).all()), "some numbers cannot be scaled")


@rule("scaling rule", whole=True)
def scales_depend_on_arguments(cls: type[Scaler], samples: Sequence[PartSample]) -> None:
    """Every argument changes shift or scale."""
    has_effect(cls, samples, lambda sample: _scaled(sample.make()))


# Data sources


def _loaded(source: DataSource) -> Any:
    try:
        return source.load(Access(offline=True))
    except DataUnavailable as error:
        skip(f"the data is not available offline: {error}")


@rule("data source")
def facts(sample: PartSample) -> None:
    """The data has the shapes, counts, types and classes that `facts` declares, which are the same when asked again."""
    source: DataSource = sample.make()
    declared = source.facts()
    require(source.facts() == declared, "`facts` are other ones when they are asked again")
    data = _loaded(source)
    require(data.facts == declared, f"the data has the facts {data.facts}")
    for name, split, count in (("train", data.train, declared.train), ("test", data.test, declared.test)):
        with case(split=name):
            require(split.x.shape == (count, declared.features), f"x has shape {split.x.shape}")
            require(split.y.shape == (count, *declared.target), f"y has shape {split.y.shape}")
            require(str(split.x.dtype) == declared.stored, f"x is {split.x.dtype}")
            kind = "iu" if declared.classes is not None else "f"
            require(split.y.dtype.kind in kind, f"targets are {split.y.dtype}")
            require(np.isfinite(split.x).all() and np.isfinite(split.y).all(), "some numbers are not finite")


@rule("data source")
def loads_the_same(sample: PartSample) -> None:
    """Loading again gives the same bits, and the digest is that of the bits."""
    import hashlib

    first, second = _loaded(sample.make()), _loaded(sample.make())
    digest = hashlib.sha256()
    for ours, again in ((first.train, second.train), (first.test, second.test)):
        assert_array_equal(ours.x, again.x)
        assert_array_equal(ours.y, again.y)
        digest.update(np.ascontiguousarray(ours.x).tobytes())
        digest.update(np.ascontiguousarray(ours.y).tobytes())
    require(first.sha256 == second.sha256, "another digest for the same data")
    require(first.sha256 == digest.hexdigest(), "`sha256` is not that of train.x, train.y, test.x, test.y")

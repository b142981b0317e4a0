"""Parts in specs: plans that train as layers do one by one, and lanes that end with the same bits in every way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.testing import assert_allclose

from nnspec.checker import check
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import build_network
from nnspec.compiler.proofs import Compiled, prove
from nnspec.data.source import Access, Dataset, DataSource, Facts, Split
from nnspec.diagnostics import Source, render_all
from nnspec.engine.losses.composed import with_terms
from nnspec.engine.part import PARTS, Count, Part, Range
from nnspec.engine.random import Stream, stream
from nnspec.results.lane import LaneResult
from nnspec.runner.options import RunOptions
from nnspec.runner.resuming import Checkpoints
from nnspec.runner.run import run_program
from nnspec.semantics.meaning import meaning
from nnspec.testing.check import require, rule, skip
from nnspec.testing.others import situation_of
from nnspec.testing.samples import Composed, LossSample, Sample, Wrapped

__all__ = ["Arrays", "arrays", "drawn", "layer_spec"]

TRAIN, BATCH, EPOCHS = 8, 3, 2
ALONE = RunOptions(jobs=1, stack=False, compiled="never")
STACKED = RunOptions(jobs=1, compiled="never")


class Arrays(DataSource):
    """Random numbers of any shape, or with a vocabulary integers below it."""

    spec_name = "RandomArrays"
    shape: tuple[Count, ...]
    vocabulary: Annotated[int, Range(low=0)] = 0

    def facts(self) -> Facts:
        """Few samples of 4 classes, or of as many as the vocabulary has ids."""
        return Facts(tuple(self.shape), self.vocabulary or 4, TRAIN, 2, "float64", tokens=self.vocabulary)

    def load(self, access: Access) -> Dataset:
        """Draw them."""
        return drawn(self)


del PARTS["data source"][Arrays.spec_name]  # specs can name it only within `arrays()`


@contextmanager
def arrays() -> Iterator[None]:
    """Let specs name the data source `RandomArrays`."""
    PARTS["data source"][Arrays.spec_name] = Arrays
    try:
        yield
    finally:
        del PARTS["data source"][Arrays.spec_name]


def drawn(source: DataSource) -> Dataset:
    """Return the same random numbers for the same facts."""
    rng, facts = np.random.default_rng(3), source.facts()

    def split(count: int) -> Split:
        shape = (count, facts.features)
        x = rng.integers(0, facts.tokens, shape).astype(float) if facts.tokens else rng.normal(size=shape)
        return Split(x, rng.integers(0, facts.classes or 1, count))

    return Dataset(Arrays.spec_name, facts, split(TRAIN), split(2), 1.0, "", "random")


def _written(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, Part):
        return value.in_spec()
    return (
        str(value).lower()
        if value is None or isinstance(value, bool)
        else f'"{value}"'
        if isinstance(value, str)
        else str(value)
    )


def _call(part: str, arguments: dict[str, Any]) -> str:
    """Return a part as written in a spec."""
    return f"{part}({', '.join(f'{name}={_written(value)}' for name, value in arguments.items())})"


def _spec(model: str, data: str, *, loss: str = "CrossEntropy", optimizer: str = "SGD(lr=0.05)", more: str = "") -> str:
    train = f"train {{ epochs = {EPOCHS}; batch = {BATCH} }}"
    return f"data = {data}\nmodel {{ {model} }}\nloss = {loss}\noptimizer = {optimizer}\n{train}\n{more}\n"


def layer_spec(sample: Sample) -> str:
    """Return a spec around a layer: with trained layers before it, unless it takes ids."""
    model = f"{_call(sample.part, sample.arguments)}; Flatten; Linear({sample.tokens or 4})"
    shape = sample.incoming if sample.tokens else (3,)
    if not sample.tokens:
        model = f"Linear({prod(sample.incoming)}); Reshape({_written(sample.incoming)}); {model}"
    data = f"{Arrays.spec_name}(shape={_written(shape)}, vocabulary={sample.tokens})"
    return _spec(model, data, more="dtype = float64")


def compiled(text: str) -> Compiled:
    """Check and compile a spec that must be right."""
    checked = check(Source("conformance.nn", text))
    if checked.program is None:
        require(False, f"a spec with it has errors:\n{render_all(checked.diagnostics)}")
    return prove(checked.program)[0]  # type: ignore[arg-type]


@rule("layer")
def plan(sample: Sample) -> None:
    """A compiled plan trains it as the layers do one by one, with a ragged last batch."""
    if isinstance(sample, (Composed, Wrapped)):
        skip("a plan takes compositions apart")
    with arrays():
        found = compiled(layer_spec(sample))
    (experiment,) = found.program.lanes
    data = drawn(experiment.data[0].source)
    plan = plan_alone(experiment, found.layouts["run"], data)
    network = build_network(experiment)
    loss = with_terms(experiment.loss.make(), network.layers)
    optimizer = experiment.optimizer.make(params=network.parameters())
    expected, losses = [], []
    for epoch in range(EPOCHS):
        plan.begin(epoch)
        losses += [plan.train_batch(number)[0] for number in range(plan.batches)]
        order = np.arange(TRAIN)
        stream(experiment.seed, Stream.SHUFFLE, epoch).shuffle(order)
        for start in range(0, TRAIN, BATCH):
            chosen = order[start : start + BATCH]
            x = data.train.x[chosen].reshape(len(chosen), *experiment.layers[0].incoming)
            expected.append(loss.forward(network.forward(x), data.train.y[chosen]))
            network.backward(loss.backward())
            optimizer.step()
    assert_allclose(losses, expected, rtol=1e-12, atol=1e-12)
    wanted, trained = network.named_parameters(), plan.network.named_parameters()
    require(trained.keys() == wanted.keys(), f"the plan has the parameters {[*trained]}, not {[*wanted]}")
    for name, parameter in trained.items():
        assert_allclose(parameter.data, wanted[name].data, rtol=1e-11, atol=1e-12, err_msg=name)
    for name, array in plan.network.state().items():
        assert_allclose(array, network.state()[name], rtol=1e-12, atol=1e-12, err_msg=name)
    tested, _ = plan.test()
    outputs = network.eval().forward(data.test.x.reshape(2, *experiment.layers[0].incoming))
    assert_allclose(tested, loss.forward(outputs, data.test.y), rtol=1e-10)


@rule("layer", "loss", "optimizer", "schedule", "initializer", "metric", "augmentation", whole=True)
def reproduces(cls: type[Part], samples: Sequence[Any]) -> None:
    """A spec with it trains to the same bits alone, in a stack, and interrupted and resumed."""
    sample = next((each for each in samples if not isinstance(each, Wrapped)), samples[0])
    with arrays():
        program = compiled(_spec_with(cls, sample) + "train.repeats = 2\n")
        alone = run_program(program, Access(offline=True), _Stopper(), options=ALONE)
        for way, result in (
            ("in a stack", lambda: run_program(program, Access(offline=True), _Stopper(), options=STACKED)),
            ("interrupted and resumed", lambda: _resumed(program)),
        ):
            for name, lane in result().lanes.items():
                require(_facts(lane) == _facts(alone[name]), f"trained {way}, it ends with other numbers")


def _spec_with(cls: type[Part], sample: Any) -> str:
    """Return a spec that uses a part."""
    data, model = f"{Arrays.spec_name}(shape=[3])", "Linear(5); Tanh; Linear(4)"
    if isinstance(sample, Sample):
        return layer_spec(sample)
    if isinstance(sample, LossSample):
        width = sample.outputs[-1] if sample.outputs[-1] > 1 else 4  # a row for each class, as one output takes two
        squashed = "; LogSoftmax" if cls.as_kind(type(sample.make())).takes_logs else ""
        return _spec(f"Linear(5); Tanh; Linear({width}){squashed}", data, loss=_call(sample.part, sample.arguments))
    part = _call(sample.part, sample.arguments) if sample.arguments else sample.part
    match cls.kind:
        case "optimizer":
            # Beside another optimizer, and with features that are always zero, whose weights are left out.
            wide, digits = "Linear(5); Tanh; Linear(10)", "Digits(train=20, test=10)"
            return _spec(wide, digits, more=f"race {{ own {{ optimizer = {part} }}\n plain {{ seed = 1 }} }}")
        case "schedule":
            return _spec(model, data, optimizer=f"SGD(lr={part})", more="train.validation = 0.3")
        case "initializer":
            return _spec(f"Linear(5, init={part}); Tanh; Linear(4)", data)
        case "metric":
            text = situation_of(sample).spec
            train = f"train {{ epochs = {EPOCHS}; batch = {BATCH}; validation = 0.2 }}"
            return f"{text}\noptimizer = SGD(lr=0.05)\n{train}\nmetrics = [{part}]\n"
    return _spec("Linear(5); Tanh; Linear(10)", "Digits(train=20, test=10)", more=f"train.augment = {part}")


class _Stopper:
    """An observer that sees nothing, and presses Ctrl-C after so many epochs."""

    def __init__(self, at: int = 0) -> None:
        self._left = at

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

    def epoch_done(self, lane: LaneResult) -> None:
        """Count the epoch."""
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


def _resumed(program: Compiled) -> Any:
    found = meaning(program.program)
    with tempfile.TemporaryDirectory(prefix="nnspec-conform-") as folder:
        started = Checkpoints(Path(folder), found, 0, resume=False)
        run_program(program, Access(offline=True), _Stopper(1), lambda: started, STACKED)
        kept = Checkpoints(Path(folder), found, 0, resume=True)
        return run_program(program, Access(offline=True), _Stopper(), lambda: kept, STACKED)


def _facts(lane: LaneResult) -> list[Any]:
    """Return all that must not depend on how a lane was trained; as text, since NaN is not equal to NaN."""
    return [
        (repr(one.history), one.rates, one.status, {name: a.tobytes() for name, a in one.network.state_dict().items()})
        for one in lane.trainings
    ]

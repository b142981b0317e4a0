"""Every layer in a spec and in the plan: the same numbers as the eager layers give, ragged last batch and all."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any

import numpy as np
import pytest
from samples import Composed, Sample, every_sample
from samples.wrapped import Wrapped
from tiny_spec import compiled, spec

from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import build_network
from nnspec.data.source import Dataset, DataSource, Facts, Split
from nnspec.engine.part import PARTS, Count, Range
from nnspec.engine.random import Stream, stream

SAMPLES = [sample for sample in every_sample() if not isinstance(sample, (Composed, Wrapped))]
TRAIN, BATCH, EPOCHS = 8, 3, 2


class Arrays(DataSource):
    """Random numbers of any shape, or with a vocabulary whole ones below that."""

    spec_name = "ArraysOfThisTest"

    def __init__(self, shape: tuple[Count, ...], vocabulary: Annotated[int, Range(low=0)] = 0) -> None:
        self.shape, self.vocabulary = tuple(shape), vocabulary

    def facts(self) -> Facts:
        return Facts(self.shape, self.vocabulary or 4, TRAIN, 2, "float64", tokens=self.vocabulary)


def drawn(source: DataSource) -> Dataset:
    rng, facts = np.random.default_rng(3), source.facts()

    def split(count: int) -> Split:
        shape = (count, facts.features)
        x = rng.integers(0, facts.tokens, shape).astype(float) if facts.tokens else rng.normal(size=shape)
        return Split(x, rng.integers(0, facts.classes or 1, count))

    return Dataset(Arrays.spec_name, facts, split(TRAIN), split(2), 1.0, "", "random")


del PARTS["data source"][Arrays.spec_name]  # it is this test's alone


@pytest.fixture
def _arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARTS["data source"], Arrays.spec_name, Arrays)


def written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(written, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def text_of(sample: Sample) -> str:
    """Write a spec around a layer: something trained before it, wherever it may stand behind something."""
    arguments = ", ".join(f"{name}={written(value)}" for name, value in sample.arguments.items())
    model = f"{sample.part}({arguments}); Flatten; Linear({sample.tokens or 4})"
    shape = sample.incoming if sample.tokens else (3,)
    if not sample.tokens:
        model = f"Linear({prod(sample.incoming)}); Reshape({written(sample.incoming)}); {model}"
    return spec(
        model,
        data=f"{Arrays.spec_name}(shape={written(shape)}, vocabulary={sample.tokens})",
        train=f"epochs = {EPOCHS}; batch = {BATCH}",
        optimizer="SGD(lr=0.05)",
        more="dtype = float64",
    )


@pytest.mark.usefixtures("_arrays")
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_the_plan_computes_what_the_layers_compute(sample: Sample) -> None:
    found = compiled(text_of(sample))
    (experiment,) = found.program.lanes
    data = drawn(experiment.data[0].source)
    plan = plan_alone(experiment, found.layouts["run"], data)
    network, loss = build_network(experiment), experiment.loss.make()
    optimizer = experiment.optimizer.make(params=network.parameters())
    theirs, ours = [], []
    for epoch in range(EPOCHS):
        plan.begin(epoch)
        ours += [plan.train_batch(number)[0] for number in range(plan.batches)]
        order = np.arange(TRAIN)
        stream(experiment.seed, Stream.SHUFFLE, epoch).shuffle(order)
        for start in range(0, TRAIN, BATCH):
            chosen = order[start : start + BATCH]
            x = data.train.x[chosen].reshape(len(chosen), *experiment.layers[0].incoming)
            theirs.append(loss.forward(network.forward(x), data.train.y[chosen]))
            network.backward(loss.backward())
            optimizer.step()
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    wanted = network.named_parameters()
    assert plan.network.named_parameters().keys() == wanted.keys()
    for name, parameter in plan.network.named_parameters().items():
        np.testing.assert_allclose(parameter.data, wanted[name].data, rtol=1e-11, atol=1e-12, err_msg=name)
    for name, array in plan.network.state().items():
        np.testing.assert_allclose(array, network.state()[name], rtol=1e-12, atol=1e-12, err_msg=name)
    tested, _ = plan.test()
    outputs = network.eval().forward(data.test.x.reshape(2, *experiment.layers[0].incoming))
    assert tested == pytest.approx(loss.forward(outputs, data.test.y), rel=1e-10)

"""Every layer in a spec and in the plan: the same numbers as the eager layers give, ragged last batch and all."""

from __future__ import annotations

import numpy as np
import pytest
from layer_specs import BATCH, EPOCHS, SAMPLES, TRAIN, drawn, text_of, with_arrays
from samples import Sample
from tiny_spec import compiled

from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import build_network
from nnspec.engine.random import Stream, stream


@pytest.fixture
def _arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    with_arrays(monkeypatch)


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

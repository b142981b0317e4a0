"""Every argument of a layer, a loss and an optimizer has an effect: none is taken and ignored."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from loss_samples import CLASSES as LOSSES
from loss_samples import SAMPLES as LOSS_SAMPLES
from loss_samples import LossSample
from samples import CLASSES as LAYERS
from samples import every_sample

from nnspec import engine as nn
from nnspec.engine import PARTS
from nnspec.engine.layers.contract import ShapeError
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Argument, Part

OPTIMIZERS = {name: cls for name, cls in PARTS["optimizer"].items() if cls.__module__.startswith("nnspec.")}
NUMBERS = (0.3, 0.9, 2, 3, 0.05, 0, 5, 1)


def arguments_of(parts: Mapping[str, type[Part]]) -> list[Any]:
    return [
        pytest.param(name, argument, id=f"{name} {argument.name}")
        for name, cls in parts.items()
        for argument in cls.signature()
    ]


def others(argument: Argument, count: int) -> Iterator[Any]:
    """Other values that an argument takes; `count` is how many weights a list of weights has."""
    words = (word for option in typing.get_args(argument.type) for word in (typing.get_args(option) or (option,)))
    candidates = [
        True,
        False,
        *NUMBERS,
        *argument.words,
        *words,
        nn.Normal(std=3.0),
        (0.5, 0.7),
        (3.0, *(1.0,) * count),
    ]
    for value in candidates:
        right = isinstance(value, (bool, int, float, str, tuple, nn.Normal)) and argument.problem(value) is None
        if right and not isinstance(value, type):
            yield value


def differ(one: Any, other: Any) -> bool:
    """Whether two nests of arrays and numbers are not the same."""
    if isinstance(one, dict):
        return one.keys() != other.keys() or any(differ(one[name], other[name]) for name in one)
    return not (np.shape(one) == np.shape(other) and np.array_equal(one, other))


def layer_does(part: str, sample: Any, **changes: Any) -> dict[str, Any]:
    """All that one pass of a layer computes."""
    values = sample.defaults() | sample.arguments | changes
    geometry = LAYERS[part].geometry(sample.incoming, values)
    if "init" in changes:
        made = sample.arguments | changes
        return {n: p.data for n, p in LAYERS[part](**geometry.inferred | made).parameters().items()}
    nn.set_seed(3)
    layer = LAYERS[part](**dict(geometry.inferred) | sample.arguments | changes)
    y = layer.forward(sample.x(5) * (1 if sample.tokens else 3)).copy()
    dx = layer.backward(np.cos(np.arange(y.size)).reshape(y.shape))
    grads = {name: parameter.grad for name, parameter in layer.parameters().items()}
    return {"y": y, "dx": dx, "state": layer.state(), **grads}


@pytest.mark.parametrize(("name", "argument"), arguments_of(LAYERS))
def test_every_argument_of_a_layer_has_an_effect(name: str, argument: Argument) -> None:
    if argument.inferred:
        return  # follows from what arrives; another value is an error
    samples = [sample for sample in every_sample() if sample.part == name]
    for sample in samples:
        before = layer_does(name, sample)
        for value in others(argument, 0) if argument.name != "shape" else [(-1,), (1, -1)]:
            try:
                if differ(before, layer_does(name, sample, **{argument.name: value})):
                    return
            except (ShapeError, ValueError):
                continue  # what does not fit this sample
    pytest.fail(f"no value of `{argument.name}` changes anything that {name} computes")


@pytest.mark.parametrize(("name", "argument"), arguments_of(LOSSES))
def test_every_argument_of_a_loss_has_an_effect(name: str, argument: Argument) -> None:
    for sample in (sample for sample in LOSS_SAMPLES if sample.part == name):
        before = loss_does(sample)
        for value in others(argument, sample.outputs[-1] - 1):
            try:
                if differ(before, loss_does(sample, **{argument.name: value})):
                    return
            except ValueError:
                continue  # weights of another number of classes
    pytest.fail(f"no value of `{argument.name}` changes anything that {name} computes")


def loss_does(sample: LossSample, **changes: Any) -> list[float]:
    """The value of a loss, and its gradient."""
    loss = sample.cls(**sample.arguments | changes)
    return [loss.forward(3 * sample.y(5), sample.targets(5)), *loss.backward().reshape(-1)]


@pytest.mark.parametrize(("name", "argument"), arguments_of(OPTIMIZERS))
def test_every_argument_of_an_optimizer_has_an_effect(name: str, argument: Argument) -> None:
    def does(**changes: Any) -> list[Any]:
        rng = np.random.default_rng(0)
        weight = Parameter(rng.standard_normal((2, 3)), "float64")
        bias = Parameter(rng.standard_normal(3), "float64", decays=False)
        optimizer = OPTIMIZERS[name]([weight, bias], **changes)
        for _ in range(10):
            for parameter in (weight, bias):
                parameter.grad[...] = rng.standard_normal(parameter.shape)
            optimizer.step()
        return [*weight.data.reshape(-1), *bias.data]

    for base in ({}, {"weight_decay": 0.1}):
        for value in others(argument, 0):
            if differ(does(**base), does(**base | {argument.name: value})):
                return
    pytest.fail(f"no value of `{argument.name}` changes the steps of {name}")

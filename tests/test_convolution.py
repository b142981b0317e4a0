"""Convolutions: what the contract of layers does not ask, in their kernels, in specs and in the plan."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from tiny_plan import make_plan, peak_growth, train
from tiny_spec import OFFLINE, compiled, spec

import nnspec.compiler.rewrites as rewrites
from nnspec import engine as nn
from nnspec.api import check_text
from nnspec.compiler.plan import Plan
from nnspec.diagnostics import Source
from nnspec.engine.layers import convolution
from nnspec.engine.layers.contract import Layer, ShapeError
from nnspec.engine.layers.windows import windows_on
from nnspec.runner.gradients import prove_gradients

DEFAULTS: dict[str, Any] = {
    "in_channels": None,
    "stride": 1,
    "padding": "valid",
    "dilation": 1,
    "groups": 1,
    "bias": True,
}


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape)


def made(layer: Layer) -> Layer:
    for parameter in layer.parameters().values():
        parameter.data = normal(*parameter.shape)
    return layer


def passes(layer: Layer, x: np.ndarray, out: np.ndarray | None = None, dx: np.ndarray | None = None) -> list[Any]:
    y = layer.forward(x, out)
    passed = layer.backward(normal(*y.shape), dx)
    return [y.copy(), passed, *(parameter.grad.copy() for parameter in layer.parameters().values())]


def batch_last(shape: tuple[int, ...]) -> np.ndarray:
    return np.moveaxis(np.empty((*shape[1:], shape[0])), -1, 0)


# By hand


def test_a_convolution_by_hand() -> None:
    layer = nn.Conv2D(1, 1, 2)
    layer.weight.data = [[[[1.0, 2.0], [0.0, -1.0]]]]
    layer.bias.data = [0.5]
    x = np.array([[[[1.0, 0.0, 2.0], [3.0, 1.0, 0.0]]]])
    np.testing.assert_array_equal(layer.forward(x), [[[[1 - 1 + 0.5, 4 + 0.5]]]])
    dx = layer.backward(np.array([[[[1.0, 10.0]]]]))
    np.testing.assert_array_equal(dx, [[[[1, 2 + 10, 20], [0, -1, -10]]]])
    np.testing.assert_array_equal(layer.weight.grad, [[[[1 + 0, 0 + 20], [3 + 10, 1 + 0]]]])
    np.testing.assert_array_equal(layer.bias.grad, [11])


@pytest.mark.parametrize(("extent", "kernel", "stride"), [(28, 5, 1), (28, 4, 1), (28, 3, 2), (7, 2, 3), (5, 1, 2)])
def test_same_gives_as_many_windows_as_strides_fit(extent: int, kernel: int, stride: int) -> None:
    windows = windows_on((extent, extent), kernel, stride, "same", 1, "Conv2D")
    assert windows.out == (-(-extent // stride),) * 2
    assert windows.before[0] in (windows.after[0], windows.after[0] - 1)


def test_depthwise_is_a_convolution_of_each_channel_alone() -> None:
    x, layer = normal(3, 4, 5, 5), made(nn.Conv2D(4, 4, 3, groups=4, padding=1))
    y = layer.forward(x)
    for channel in range(4):
        alone = nn.Conv2D(1, 1, 3, padding=1)
        alone.weight.data = layer.weight.data[channel : channel + 1]
        alone.bias.data = layer.bias.data[channel : channel + 1]
        np.testing.assert_allclose(alone.forward(x[:, channel : channel + 1])[:, 0], y[:, channel], rtol=1e-13)


def test_weights_start_by_what_one_window_sees() -> None:
    layer = nn.Conv2D(8, 300, [3, 5], groups=2, rng=np.random.default_rng(0))
    assert layer.weight.shape == (300, 4, 3, 5)
    assert layer.weight.data.var() == pytest.approx(2 / (4 * 3 * 5), rel=0.05)
    assert layer.weight.decays
    assert not layer.bias.decays
    glorot = nn.Conv1D(100, 300, 3, init=nn.XavierNormal(), rng=np.random.default_rng(0))
    assert glorot.weight.data.var() == pytest.approx(2 / (3 * 400), rel=0.05)


# Kernels


CASES = [
    ({}, (3, 2, 6, 5)),
    ({"padding": 1}, (3, 2, 6, 5)),
    ({"padding": "same", "stride": 2}, (2, 2, 7, 6)),
    ({"stride": 3, "dilation": 2, "padding": 2}, (2, 2, 9, 8)),
    ({"groups": 2, "padding": 1}, (3, 4, 5, 5)),
]
convolutions = pytest.mark.parametrize(("arguments", "shape"), CASES, ids=[str(arguments) for arguments, _ in CASES])


@convolutions
@pytest.mark.parametrize("band", [1, 60, 100])
def test_bands_change_no_number(
    arguments: dict[str, Any], shape: tuple[int, ...], band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A band is never smaller than the weights, so that there must be few of these.
    layer, x = made(nn.Conv2D(shape[1], arguments.get("groups", 1), 3, **arguments)), normal(*shape)
    whole = passes(layer, x)
    monkeypatch.setattr(convolution, "BAND", band)
    signature = {"out_channels": len(layer.weight.data), "kernel_size": 3}
    work = nn.Conv2D.geometry(shape[1:], DEFAULTS | arguments | signature).work
    assert "partial" in work
    lent = {name: np.full((len(x), *array.shape), np.nan) for name, array in work.items()}
    for arrays in ({}, lent):
        layer.lend(arrays)
        for found, expected in zip(passes(layer, x), whole, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)
    assert not np.isnan(lent["partial"][0]).any()


@convolutions
def test_the_order_of_arrays_in_memory_changes_no_bit(arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    layer, x = made(nn.Conv2D(shape[1], 4, 2, **arguments)), normal(*shape)
    expected = passes(layer, x)
    other = batch_last(x.shape)
    other[...] = x
    for out in (np.empty(expected[0].shape), batch_last(expected[0].shape)):
        for found, value in zip(passes(layer, other, out, batch_last(shape)), expected, strict=True):
            np.testing.assert_array_equal(found, value)


def test_a_convolution_gives_arrays_whose_samples_are_last_in_memory() -> None:
    y = nn.Conv2D(2, 3, 2).forward(normal(4, 2, 5, 5))
    assert y.shape == (4, 3, 4, 4)
    assert y.strides[0] == y.itemsize


# What does not fit


@pytest.mark.parametrize(
    ("incoming", "arguments", "message", "argument"),
    [
        ((3, 8, 8), {"in_channels": 1}, "expects 1 channel but got 3", "in_channels"),
        ((784,), {}, "expects an image, channels × rows × columns, but got 784 features", None),
        ((28, 28), {}, "expects an image, channels × rows × columns, but got a sequence of 28×28", None),
        ((2, 3, 4, 4), {}, "got an array of 2×3×4×4", None),
        ((3, 8, 8), {"groups": 2}, "got 3 and 4 channels in 2 groups", "groups"),
        ((4, 2, 8), {}, "a window of 3×3 does not fit into 2×8", "kernel_size"),
        ((4, 2, 2), {"dilation": 2, "padding": 1}, "5×5 does not fit into 4×4 with its padding", "kernel_size"),
    ],
)
def test_what_does_not_fit_is_refused(
    incoming: tuple[int, ...], arguments: dict[str, Any], message: str, argument: str | None
) -> None:
    with pytest.raises(ShapeError, match=message) as caught:
        nn.Conv2D.geometry(incoming, DEFAULTS | {"out_channels": 4, "kernel_size": 3} | arguments)
    assert caught.value.argument == argument


def test_two_sizes_are_too_many_for_one_axis() -> None:
    with pytest.raises(ValueError, match="Conv1D: `kernel_size` must be an integer of at least 1, not a list of 2"):
        nn.Conv1D(2, 4, [3, 3])
    with pytest.raises(ShapeError, match="MaxPool slides along 1 axis here, but got 2 sizes"):
        nn.MaxPool.geometry((8, 2), {"kernel_size": 2, "stride": [2, 2], "padding": "valid"})
    with pytest.raises(ShapeError, match=r"windows slide over images \(B, C, H, W\), not over an array of shape"):
        nn.Conv2D(1, 4, 3).forward(normal(2, 8, 8))


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        (lambda: nn.Conv2D(1, 2, 0), "kernel_size"),
        (lambda: nn.Conv2D(1, 2, [3, 0]), "kernel_size"),
        (lambda: nn.Conv2D(1, 2, [3, 3, 3]), "kernel_size"),
        (lambda: nn.Conv2D(1, 2, 3, stride=0), "stride"),
        (lambda: nn.Conv2D(1, 2, 3, padding=-1), "padding"),
        (lambda: nn.Conv2D(1, 2, 3, padding="full"), "padding"),
        (lambda: nn.Conv2D(1, 2, 3, dilation=0), "dilation"),
        (lambda: nn.Conv2D(3, 4, 3, groups=2), "groups"),
    ],
)
def test_wrong_arguments_are_refused_by_name(wrong: Any, argument: str) -> None:
    with pytest.raises(ValueError, match=f"`{argument}`"):
        wrong()


# In specs and in the plan


LENET = "Conv2D(4, 5, padding=same); ReLU; MaxPool; Conv2D(6, 3); ReLU; MaxPool; Flatten; Linear(12); ReLU; Linear(10)"
MODELS = [
    LENET,
    "Conv2D(1, 4, 5, stride=2); Tanh; AvgPool(3, stride=2, padding=1); Dropout(0.2); GlobalAvgPool; Linear(10)",
    "Conv2D(4, 3, stride=3); Sigmoid; ReLU; MaxPool(2, stride=1); Flatten; Linear(10)",
    "Conv2D(4, 3, stride=3); ReLU; residual { Conv2D(4, 3, padding=same); ReLU }; ReLU; MaxPool; Flatten; Linear(10)",
    "Conv2D(4, 3, stride=3); concat { a { ReLU; Conv2D(3, 1) }; b { MaxPool(3, stride=1, padding=1) } }; GlobalAvgPool;"
    " Linear(10)",
    "add { a { Conv2D(2, 3, stride=3) }; b { Conv2D(2, 5, stride=3, padding=1) } }; ReLU; Flatten; Linear(10)",
    "Conv2D(4, 3, stride=3); residual { Flatten; Linear(324); Reshape([4, 9, 9]) }; ReLU; MaxPool; Flatten; Linear(10)",
    "Reshape([28, 28]); Conv1D(4, 5, stride=2); ReLU; MaxPool; Flatten; Linear(10)",
    "Reshape([1, 28, -1]); MaxPool; Conv2D(2, 3); ReLU; Conv2D(10, 12)",
]
LAST = {"Reshape([1, 28, -1]); MaxPool; Conv2D(2, 3); ReLU; Conv2D(10, 12)": "; Flatten"}
models = pytest.mark.parametrize("model", [model + LAST.get(model, "") for model in MODELS])


def test_a_sample_without_channels_has_one() -> None:
    for model in ("Conv2D(4, 5)", "Conv2D(1, 4, 5)", "Conv2D(4, kernel_size=[5, 5])"):
        layers = compiled(spec(f"{model}; Flatten; Linear(10)")).layouts["run"].layers
        assert [layer.node.incoming for layer in layers][:2] == [(1, 28, 28), (4, 24, 24)]
        assert layers[0].size == 4 * 25 + 4


def test_a_convolution_of_a_row_suggests_a_shape() -> None:
    result = check_text(Source("tiny.nn", spec("Linear(784); Conv2D(4, 5); Flatten; Linear(10)")), [])
    assert "add `Reshape([1, 28, 28])` before it" in str(result)
    assert check_text(
        Source("tiny.nn", spec("Linear(784); Reshape([1, 28, 28]); Conv2D(4, 5); Flatten; Linear(10)")), []
    ).ok


def in_c_order(text: str, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The same plan with all arrays in C order, and nothing taken over by another layer."""
    with monkeypatch.context() as patch:
        patch.setattr(rewrites, "REWRITES", ())
        return make_plan(text)


@models
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_orders_of_memory_and_layers_taken_over_change_no_number(
    model: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = spec(model, more=f"dtype = {dtype}")
    plan, plain = make_plan(text), in_c_order(text, monkeypatch)
    assert any(slot.samples_last for slot in plan.layout.steps.slots.values())
    assert not any(slot.samples_last for slot in plain.layout.steps.slots.values())
    losses = train(plan)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(losses, train(plain), rtol=tolerance)
    np.testing.assert_allclose(plan.buffers["parameters"], plain.buffers["parameters"], rtol=1, atol=10 * tolerance)


@models
def test_the_plan_computes_what_its_network_computes(model: str) -> None:
    plan = make_plan(spec(model, more="dtype = float64", train="epochs = 1; batch = 16; shuffle = false"))
    network = copy.deepcopy(plan.network)
    network.eval()
    plan.begin(0)
    x = plan.dataset.train.x[:16].reshape(16, *plan.experiment.layers[0].incoming) / 255
    expected = network.forward(x)
    plan.network.eval()
    rows = plan.data.train(0)
    plan.loop.forward(rows)
    np.testing.assert_allclose(plan.loop.views(rows)[plan.loop.outputs], expected, rtol=1e-12, atol=1e-12)


@models
def test_nothing_of_a_batchs_size_is_allocated(model: str) -> None:
    plan = make_plan(spec(model, data="Digits(train=300, test=200)", train="epochs = 1; batch = 128"))
    train(plan, 1)
    assert peak_growth(plan) < 128 * 1024


def test_the_layout_says_how_arrays_lie() -> None:
    def last(model: str) -> str:
        steps = compiled(spec(model)).layouts["run"].steps
        flags = {
            step.node: steps.slots[str(step.writes)].samples_last
            for step in steps
            if step.op in ("forward", "add", "concat")
        }
        return "".join("x" if flags[name] else "." for name in steps.nodes if name in flags)

    assert last(LENET) == "xxxxx..."  # two of its ReLUs are absorbed
    assert last("Linear(12); ReLU; Flatten; Linear(10)") == "...."
    # Linear takes rows in any order, and places in C order: then what writes over the convolution's output is so too.
    assert last("Conv2D(2, 5); Tanh; Flatten; Linear(10)") == "xxx."
    assert last("Conv1D(8, 5); ReLU; Linear(3); Flatten; Linear(10)") == "....."
    assert last("Conv1D(8, 5); MaxPool; Tanh; ReLU; Linear(3); Flatten; Linear(10)") == "xxx...."
    # What goes to the loss is in C order.
    assert last("Conv2D(2, 5); ReLU; Flatten") == "xx."
    assert last("Conv2D(2, 5); Flatten") == ".."
    assert last("Conv2D(2, 5); residual { ReLU; Conv2D(2, 1) }; GlobalAvgPool; Linear(10)") == "xxxx.."
    inside = "Flatten; Linear(1152); Reshape([2, 24, 24])"
    assert last(f"Conv2D(2, 5); residual {{ {inside} }}; GlobalAvgPool; Linear(10)") == "......."


def test_a_plan_runs_a_rectified_pool_instead_of_two_layers() -> None:
    steps = compiled(spec(LENET)).layouts["run"].steps
    forward = [step.node for step in steps if step.op == "forward"]
    assert forward == [
        "Conv2D1", "MaxPool1", "Conv2D2", "MaxPool2", "Flatten1", "Linear1", "ReLU3", "Linear2",
    ]  # fmt: skip
    assert [step.node for step in steps if step.op == "backward"] == forward[::-1]
    assert steps.absorbed == {"ReLU1": "MaxPool1", "ReLU2": "MaxPool2"}


def test_biases_that_start_on_kinks_are_checked_beside_them() -> None:
    # A black background under biases of zero: every window that sees nothing stands exactly where ReLU bends.
    program = compiled(spec("Conv2D(2, 3, stride=5); ReLU; Flatten; Linear(10)")).program
    experiment = program.lanes[0]
    data = experiment.data[0].value.make().load(OFFLINE)
    report = prove_gradients(experiment, data, samples=4)
    assert report.moved == ("Conv2D1.bias",)
    assert report.error < 1e-7
    assert [tensor.name for tensor in report.tensors] == [
        "Conv2D1.weight", "Conv2D1.bias", "Linear1.weight", "Linear1.bias", "input", "loss",
    ]  # fmt: skip
    smooth = compiled(spec("Conv2D(2, 3, stride=5); Tanh; Flatten; Linear(10)")).program.lanes[0]
    assert prove_gradients(smooth, data, samples=4).moved == ()

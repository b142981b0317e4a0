"""The gradient check: it accepts correct gradients, finds wrong ones, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from derivatives import normal

from nnspec import engine as nn
from nnspec.engine import gradcheck
from nnspec.engine.copies import Copies, Lines, Tensor, product_with
from nnspec.engine.layers.contract import Layer
from nnspec.testing.mistakes import MISTAKES, wrong_layer, wrong_loss

BOUND = 1e-7


def network(*layers: Layer) -> nn.NumpyMLP:
    nn.set_seed(42)
    return nn.NumpyMLP(*(layers or (nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 3))))


def by_name(report: nn.GradientReport) -> dict[str, nn.TensorCheck]:
    return {tensor.name: tensor for tensor in report.tensors}


LABELS = np.array([0, 1, 2, 2, 1, 0, 0, 2])


# --- What is right passes. ---


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (nn.CrossEntropyLoss(), LABELS),
        (nn.CrossEntropyLoss(), np.eye(3)[LABELS]),
        (nn.MSELoss(), normal(8, 3)),
    ],
    ids=["class numbers", "one-hot rows", "values"],
)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid, nn.Tanh])
def test_a_right_network_passes_in_every_tensor(activation: type[Layer], loss: Any, targets: np.ndarray) -> None:
    nn.set_seed(42)
    model = nn.NumpyMLP(nn.Linear(6, 5), activation(), nn.Dropout(0.3), nn.Linear(5, 3))
    report = nn.check_gradients(model, loss, normal(8, 6), targets)
    assert [tensor.name for tensor in report.tensors] == [
        "Linear1.weight",
        "Linear1.bias",
        "Linear2.weight",
        "Linear2.bias",
        "input",
        "loss",
    ]
    assert [tensor.shape for tensor in report.tensors] == [(6, 5), (5,), (5, 3), (3,), (8, 6), (8, 3)]
    assert all(tensor.checked == np.prod(tensor.shape) and tensor.kinks == 0 for tensor in report.tensors)
    assert report.error == max(tensor.error for tensor in report.tensors) < BOUND
    assert (report.samples, report.epsilon) == (8, 1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_verdict_does_not_hang_on_the_scale_of_the_loss(scale: float) -> None:
    model = network(nn.Linear(6, 3))
    report = nn.check_gradients(model, nn.MSELoss(), normal(8, 6) * scale, normal(8, 3) * scale)
    assert report.error < BOUND


def test_a_whole_network_may_be_given_in_place_of_a_layer() -> None:
    assert nn.numerical_gradient_check(network(), normal(8, 6)) < BOUND


@pytest.mark.parametrize("epsilon", [1e-4, 1e-5, 1e-6])
def test_the_step_may_be_chosen(epsilon: float) -> None:
    assert nn.numerical_gradient_check(nn.Linear(6, 5), normal(8, 6), epsilon=epsilon) < BOUND


@pytest.mark.parametrize(
    "arranged",
    [np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2], lambda x: x.tolist()],
    ids=["fortran", "strided", "list"],
)
def test_the_input_may_be_arranged_in_any_way(arranged: Callable[[np.ndarray], Any]) -> None:
    x = arranged(normal(8, 6))
    assert nn.numerical_gradient_check(network(), x) < BOUND
    assert nn.check_gradients(network(), nn.CrossEntropyLoss(), x, LABELS).error < BOUND


def test_an_integer_input_is_taken_as_real_numbers() -> None:
    assert nn.numerical_gradient_check(network(), np.arange(12).reshape(2, 6)) < BOUND


def test_images_pass_through_flatten() -> None:
    model = network(nn.Flatten(), nn.Linear(12, 3))
    assert nn.check_gradients(model, nn.CrossEntropyLoss(), normal(8, 3, 4), LABELS).error < BOUND


# --- What is wrong is found: one entry for each derivative in the engine, and each way to get it wrong. ---


def plant(monkeypatch: pytest.MonkeyPatch, cls: type[Layer], which: str, mistake: Callable[[np.ndarray], Any]) -> None:
    """Spoil a derivative until the end of the test."""
    wrong = wrong_layer(cls, which, mistake)
    right = cls.backward
    with wrong:
        spoilt = cls.backward
    assert cls.backward is right
    monkeypatch.setattr(cls, "backward", spoilt)


@pytest.mark.parametrize("which", ["input", "weight", "bias"])
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_wrong_derivative_is_found_in_a_whole_network(
    which: str, mistake: Callable[[np.ndarray], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    plant(monkeypatch, nn.Linear, which, mistake)
    report = by_name(nn.check_gradients(model, nn.CrossEntropyLoss(), normal(8, 6), LABELS))
    at_fault = "input" if which == "input" else f"Linear3.{which}"
    assert report[at_fault].error > BOUND
    assert report["loss"].error < BOUND


def test_a_weight_gradient_taken_from_the_wrong_side_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, nn.Linear, "weight", lambda grad: np.copyto(grad, grad.T.copy()))
    assert nn.numerical_gradient_check(nn.Linear(4, 4), normal(5, 4)) > BOUND


def test_weights_that_are_not_transposed_on_the_way_back_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Linear, "backward", lambda self, grad, out=None, **_: grad @ self.weight.data)
    assert nn.numerical_gradient_check(nn.Linear(4, 4, bias=False), normal(5, 4)) > BOUND


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_wrong_derivative_in_a_loss_of_one_hot_rows_is_found_and_named(mistake: Callable[[np.ndarray], Any]) -> None:
    with wrong_loss(nn.CrossEntropyLoss, mistake):
        report = nn.check_gradients(network(), nn.CrossEntropyLoss(), normal(8, 6), np.eye(3)[LABELS])
    assert by_name(report)["loss"].error > BOUND
    assert report.error > BOUND


def test_a_gradient_with_nan_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, nn.Linear, "bias", lambda grad: grad.fill(np.nan))
    assert not nn.numerical_gradient_check(nn.Linear(4, 3), normal(5, 4)) < BOUND


@pytest.mark.parametrize("position", [0, 2])
def test_a_not_a_number_is_not_hidden_by_the_other_tensors(position: int) -> None:
    right = nn.TensorCheck("right", (1,), 1e-12, 1, 0, 0)
    tensors = [right, right]
    tensors.insert(position, nn.TensorCheck("unchecked", (1,), float("nan"), 0, 0, 1))
    assert np.isnan(nn.GradientReport(tuple(tensors), 1, 1e-5).error)


# --- A gradient that is truly zero is no error. ---


def test_weights_that_no_input_reaches_read_far_below_the_bound() -> None:
    x = normal(8, 6)
    x[:, 2] = 0
    assert nn.check_gradients(network(), nn.CrossEntropyLoss(), x, LABELS).error < BOUND
    report = by_name(nn.check_gradients(network(), nn.CrossEntropyLoss(), np.zeros((8, 6)), LABELS))
    assert report["Linear1.weight"].error < BOUND / 10
    assert report["Linear1.bias"].error < BOUND


def test_a_dead_network_reads_far_below_the_bound() -> None:
    model = network(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    model.layers[0].bias.data = np.full(5, -100.0)
    report = by_name(nn.check_gradients(model, nn.CrossEntropyLoss(), normal(8, 6), LABELS))
    for name in ("Linear1.weight", "Linear1.bias", "Linear2.weight", "input"):
        assert report[name].error < BOUND / 10
        assert report[name].kinks == 0
    assert report["Linear2.bias"].error < BOUND


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_rounding_noise_about_a_zero_gradient_reads_below_the_bound(scale: float) -> None:
    # Targets are what the network says already: the gradient is zero, and every difference is rounding.
    model, x = network(), normal(8, 6)
    model.layers[-1].weight.data *= scale
    logits = model.forward(x)
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    assert nn.check_gradients(model, nn.CrossEntropyLoss(), x, share).error < BOUND


def test_a_network_that_fits_its_targets_exactly_reads_below_the_bound() -> None:
    model, x = network(), normal(8, 6)
    assert nn.check_gradients(model, nn.MSELoss(), x, model.forward(x)).error < BOUND


def test_a_saturated_network_reads_below_the_bound() -> None:
    assert nn.numerical_gradient_check(nn.Sigmoid(), np.full((2, 3), 40.0)) < BOUND
    assert nn.numerical_gradient_check(nn.Tanh(), np.full((2, 3), -40.0)) < BOUND


def test_a_gradient_that_should_be_zero_and_is_not_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, nn.Linear, "weight", lambda grad: np.add(grad, 1e-5, out=grad))
    assert nn.numerical_gradient_check(nn.Linear(4, 3), np.zeros((5, 4))) > BOUND


def test_a_derivative_that_is_wrong_by_1e_9_where_zero_is_right_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(grad: np.ndarray) -> None:
        grad[0, 0] += 1e-9

    plant(monkeypatch, nn.Linear, "weight", spoil)
    assert nn.numerical_gradient_check(nn.Linear(4, 3), np.zeros((5, 4))) > BOUND


def test_a_slope_is_taken_over_the_step_that_was_really_made() -> None:
    layer = nn.Linear(1, 1)
    layer.weight.data[...] = 1e6 / 7  # floats lie so far apart here that the step is rounded by a millionth
    layer.bias.data[...] = -1e6 / 7
    assert nn.numerical_gradient_check(layer, np.ones((1, 1))) < BOUND


# --- A kink has no derivative. ---


def test_steps_across_a_kink_are_counted_and_skipped() -> None:
    x = np.array([[0.0, 1.0, -1.0, 0.0], [2.0, 0.0, 5e-6, -5e-6]])
    report = by_name(nn.check_gradients(network(nn.ReLU()), nn.MSELoss(), x, normal(2, 4)))
    assert report["input"].kinks == 5
    assert report["input"].checked == 3
    assert report["input"].kink_share == 5 / 8
    assert report["input"].error < BOUND
    assert report["loss"].kinks == 0


def test_kinks_at_zero_do_not_fail_the_check_of_a_layer() -> None:
    x = normal(5, 4)
    x[::2, ::2] = 0
    assert nn.numerical_gradient_check(nn.ReLU(), x) < BOUND


def test_a_kink_after_other_layers_is_detected() -> None:
    model = network(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    model.layers[0].bias.data = np.zeros(2)
    report = by_name(nn.check_gradients(model, nn.MSELoss(), np.zeros((1, 3)), normal(1, 2)))
    assert report["Linear1.bias"].kinks == 2
    assert report["Linear1.bias"].checked == 0
    assert report["Linear2.bias"].kinks == 0


def test_where_every_step_crosses_a_kink_nothing_is_claimed() -> None:
    assert np.isnan(nn.numerical_gradient_check(nn.ReLU(), np.zeros((2, 3))))


# --- Noise is held. ---


@pytest.mark.parametrize("training", [True, False])
def test_a_network_with_dropout_passes(training: bool) -> None:
    model = network(nn.Linear(6, 20), nn.Dropout(0.5), nn.Tanh(), nn.Dropout(0.2), nn.Linear(20, 3))
    if not training:
        model.eval()
    assert nn.check_gradients(model, nn.CrossEntropyLoss(), normal(8, 6), LABELS).error < BOUND
    assert nn.numerical_gradient_check(model, normal(8, 6)) < BOUND
    assert [layer.hold_noise for layer in model.layers] == [False] * 5
    assert [layer.training for layer in model.layers] == [training] * 5


def test_noise_is_drawn_again_after_a_check() -> None:
    layer, x = nn.Dropout(0.5), np.ones((20, 30))
    nn.numerical_gradient_check(layer, x[:2, :3])
    assert not np.array_equal(layer.forward(x), layer.forward(x))


def test_noise_that_was_held_before_is_held_after() -> None:
    layer = nn.Dropout(0.5)
    layer.hold_noise = True
    nn.numerical_gradient_check(layer, normal(4, 6))
    assert layer.hold_noise


def test_noise_is_let_go_when_a_check_fails() -> None:
    model = network(nn.Linear(6, 5), nn.Dropout(0.5))
    with pytest.raises(ValueError, match="labels"):
        nn.check_gradients(model, nn.CrossEntropyLoss(), normal(8, 6), LABELS[:3])
    assert not model.layers[1].hold_noise


# --- Nothing is changed. ---


@pytest.mark.parametrize("full_up_to", [20_000, 10], ids=["every entry", "sampled"])
def test_weights_and_input_are_bitwise_as_before(full_up_to: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradcheck, "FULL_UP_TO", full_up_to)
    monkeypatch.setattr(gradcheck, "SAMPLED_ENTRIES", 5)
    model, x = network(), normal(8, 6)
    for parameter in model.parameters():
        parameter.data.reshape(-1)[0] = 1e3 / 7  # neither comes back by adding a step and taking it off again
        parameter.data.reshape(-1)[-1] = 1e-30
    before = [parameter.data.copy() for parameter in model.parameters()]
    arrays = [parameter.data for parameter in model.parameters()]
    x_before, labels = x.copy(), LABELS.copy()
    nn.check_gradients(model, nn.CrossEntropyLoss(), x, labels)
    nn.numerical_gradient_check(model, x)
    for parameter, values, array in zip(model.parameters(), before, arrays, strict=True):
        assert parameter.data is array
        assert parameter.data.tobytes() == values.tobytes()
    assert x.tobytes() == x_before.tobytes()
    np.testing.assert_array_equal(labels, LABELS)


def test_gradients_afterwards_are_those_of_a_backward_pass_here() -> None:
    model, x, loss = network(), normal(8, 6), nn.CrossEntropyLoss()
    nn.check_gradients(model, loss, x, LABELS)
    checked = [parameter.grad.copy() for parameter in model.parameters()]
    loss.forward(model.forward(x), LABELS)
    model.backward(loss.backward())
    for parameter, grad in zip(model.parameters(), checked, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad)


def test_a_check_gives_the_same_figures_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradcheck, "FULL_UP_TO", 10)
    monkeypatch.setattr(gradcheck, "SAMPLED_ENTRIES", 5)
    one, other = (nn.check_gradients(network(), nn.CrossEntropyLoss(), normal(8, 6), LABELS) for _ in range(2))
    assert one == other


def test_the_seeded_weights_that_follow_do_not_hang_on_a_check() -> None:
    model = network()
    expected = nn.Linear(4, 3).weight.data
    model = network()
    nn.check_gradients(model, nn.CrossEntropyLoss(), normal(8, 6), LABELS)
    np.testing.assert_array_equal(nn.Linear(4, 3).weight.data, expected)


# --- Float32 is refused; large tensors are sampled. ---


def test_a_float32_network_is_refused_by_the_parameters_name() -> None:
    model = network(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3, dtype="float32"))
    with pytest.raises(ValueError, match=r"needs float64, and Linear2\.weight is float32"):
        nn.check_gradients(model, nn.CrossEntropyLoss(), normal(8, 6), LABELS)
    with pytest.raises(ValueError, match="needs float64"):
        nn.numerical_gradient_check(nn.Linear(6, 5, dtype="float32"), normal(8, 6))


def test_a_float32_input_is_checked_in_float64() -> None:
    assert nn.numerical_gradient_check(network(), normal(8, 6).astype(np.float32)) < BOUND


def test_tensors_of_more_than_20000_entries_are_sampled_and_seen_whole_along_directions() -> None:
    model = network(nn.Linear(143, 141), nn.Tanh(), nn.Linear(141, 3))
    report = by_name(nn.check_gradients(model, nn.CrossEntropyLoss(), normal(2, 143), LABELS[:2]))
    weight = report["Linear1.weight"]
    assert (weight.checked, weight.directions) == (384, 32)
    assert weight.error < BOUND
    for name in ("Linear1.bias", "Linear2.weight", "input", "loss"):
        assert (report[name].checked, report[name].directions) == (np.prod(report[name].shape), 0)


def test_full_takes_every_entry_of_a_large_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradcheck, "FULL_UP_TO", 10)
    monkeypatch.setattr(gradcheck, "SAMPLED_ENTRIES", 5)
    report = nn.check_gradients(network(), nn.CrossEntropyLoss(), normal(8, 6), LABELS, full=True)
    assert report.error < BOUND
    for tensor in report.tensors:
        assert (tensor.checked, tensor.directions) == (np.prod(tensor.shape), 0)


def test_the_largest_tensor_that_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gradcheck.FULL_UP_TO == 20_000
    monkeypatch.setattr(gradcheck, "FULL_UP_TO", 20)
    monkeypatch.setattr(gradcheck, "SAMPLED_ENTRIES", 7)
    for width, checked, directions in ((4, 20, 0), (5, 7, 32)):
        report = by_name(nn.check_gradients(network(nn.Linear(5, width)), nn.MSELoss(), normal(2, 5), normal(2, width)))
        assert (report["Linear1.weight"].checked, report["Linear1.weight"].directions) == (checked, directions)


def test_kinks_are_skipped_in_directions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradcheck, "FULL_UP_TO", 5)
    monkeypatch.setattr(gradcheck, "SAMPLED_ENTRIES", 6)
    x = normal(2, 3)
    x[0, 0] = 0
    report = by_name(nn.check_gradients(network(nn.ReLU()), nn.MSELoss(), x, normal(2, 3)))
    assert (report["input"].checked, report["input"].directions) == (5, 0)
    assert report["input"].kinks == 1 + 32


@pytest.mark.parametrize("mistake", ["one entry", "all entries"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_directions_find_what_the_sample_misses(mistake: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradcheck, "SAMPLED_ENTRIES", 1)

    def spoil(grad: np.ndarray) -> None:
        if mistake == "one entry":
            grad.reshape(-1)[np.abs(grad).argmax()] *= -1
        else:
            grad *= 1 + 1e-5

    model = network(nn.Linear(143, 141), nn.Tanh(), nn.Linear(141, 3))
    plant(monkeypatch, nn.Linear, "weight", spoil)
    rng = np.random.default_rng(seed)
    report = by_name(nn.check_gradients(model, nn.CrossEntropyLoss(), normal(2, 143), LABELS[:2], rng=rng))
    assert report["Linear1.weight"].error > BOUND


# --- Where a function bends within a short distance, the differences are sharpened, and see as much as elsewhere. ---


def rows_of_one() -> tuple[nn.NumpyMLP, np.ndarray]:
    """y = x / √(x² + eps) bends within √eps = 0.003, where a step of 1e-5 leaves an error of about 1e-6."""
    return network(nn.RMSNorm(1, eps=1e-5), nn.Linear(1, 3)), normal(8, 1) * 0.01


def rows_of_two() -> tuple[nn.NumpyMLP, np.ndarray]:
    return network(nn.Linear(3, 2), nn.LayerNorm(2), nn.LayerNorm(2, eps=1e-2), nn.Linear(2, 3)), normal(8, 3) * 0.003


SHORT = pytest.mark.parametrize(("make", "which"), [(rows_of_one, "input"), (rows_of_two, "bias")])


def simple_differences(model: nn.NumpyMLP, x: np.ndarray, array: np.ndarray, grad: np.ndarray) -> float:
    """The relative error with central differences at 1e-5 alone."""
    loss, slopes, flat = nn.CrossEntropyLoss(), [], array.reshape(-1)
    for i in range(flat.size):
        here = flat[i]
        values = []
        for flat[i] in (here + 1e-5, here - 1e-5):
            values.append(loss.forward(model.forward(x), LABELS))
        flat[i] = here
        slopes.append((values[0] - values[1]) / 2e-5)
    norm = np.linalg.norm
    return float(norm(np.ravel(grad) - slopes) / (norm(grad) + norm(slopes)))


@SHORT
def test_a_strongly_curved_function_is_not_a_false_alarm(
    make: Callable[[], tuple[nn.NumpyMLP, np.ndarray]], which: str
) -> None:
    model, x = make()
    loss = nn.CrossEntropyLoss()
    loss.forward(model.forward(x), LABELS)
    dx = model.backward(loss.backward())
    array, grad = (x, dx) if which == "input" else (model.layers[0].bias.data, model.layers[0].bias.grad)
    assert simple_differences(model, x, array, grad.copy()) > BOUND, "differences at 1e-5 are not enough here"
    report = nn.check_gradients(model, loss, x, LABELS)
    assert report.error < BOUND / 5
    assert max(tensor.resolution for tensor in report.tensors) < BOUND / 10


@SHORT
@pytest.mark.parametrize("relative", [4e-7, -4e-7, 3e-6])
def test_a_derivative_that_is_wrong_by_as_little_as_a_false_alarm_is_found(
    make: Callable[[], tuple[nn.NumpyMLP, np.ndarray]], which: str, relative: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = make()
    plant(monkeypatch, type(model.layers[0]), which, lambda grad: np.multiply(grad, 1 + relative, out=grad))
    name = "input" if which == "input" else "Linear1.bias"
    assert by_name(nn.check_gradients(model, nn.CrossEntropyLoss(), x, LABELS))[name].error > BOUND


def probe_of_the_sum(model: nn.NumpyMLP, at: np.ndarray) -> tuple[gradcheck._Probe, Tensor]:
    """A probe of the sum of the outputs that steps in the input."""
    copies = Copies(model, at, lambda outputs: product_with(np.ones_like(outputs)))
    return gradcheck._Probe(nn.GradientCheck(), copies), Tensor("input", at, np.zeros_like(at), 0)


@pytest.mark.parametrize("x", [0.0, 0.001, 0.003, 0.02, 0.5])
@pytest.mark.parametrize("eps", [1e-5, 1e-8])
def test_a_sharpened_slope_is_the_derivative_within_the_error_that_it_predicts(x: float, eps: float) -> None:
    model, at = network(nn.RMSNorm(1, eps=eps)), np.array([[x]])
    probe, tensor = probe_of_the_sum(model, at)
    sharp = probe._sharp(tensor, Lines(np.array([0])), 0, probe._noise(tensor))
    assert sharp is not None
    slope, doubt = sharp
    assert abs(slope - eps / (x * x + eps) ** 1.5) <= doubt < 1e-8 / np.sqrt(eps)
    assert at[0, 0] == x


def test_the_rounding_of_a_function_is_measured_with_all_that_enlarges_it() -> None:
    # y = 1e6 (w + 1) − 1e6, in which the rounding of 1e6 (w + 1), of 1.2e-10 at most, is left.
    model = network(nn.Linear(1, 1))
    model.layers[0].weight.data[...] = 1e6
    model.layers[0].bias.data[...] = -1e6
    at = np.ones((1, 1))
    probe, tensor = probe_of_the_sum(model, at)
    assert 1e-12 < probe._noise(tensor) < 2.4e-10


# --- Effort is bounded. ---


def test_a_check_with_a_known_effort_takes_fewer_samples_and_then_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    samples = 0
    evaluate = Copies.__call__

    def counting(self: Copies, tensor: Tensor, lines: Lines, which: np.ndarray, t: np.ndarray) -> Any:
        nonlocal samples
        samples += len(which) * len(self.inputs[0])
        return evaluate(self, tensor, lines, which, t)

    monkeypatch.setattr(Copies, "__call__", counting)

    def check(effort: float, **more: Any) -> nn.GradientReport:
        nonlocal samples
        samples = 0
        monkeypatch.setattr(gradcheck, "EFFORT", effort)
        return nn.check_gradients(
            model,
            loss,
            normal(8, 6),
            LABELS,
            effort=lambda n: [n * (type(m) is nn.Linear) for m in model.layers],
            **more,
        )

    whole, of_whole = check(1e9), samples
    # Both sides of every entry, for 8 samples, in as many Linear as come from there on.
    needed = 2 * 8 * ((30 + 5) * 3 + (20 + 4) * 2 + (12 + 3) * 1 + 8 * 6 * 3)
    assert (whole.samples, whole.asked, whole.share) == (8, None, 1.0)
    half = check(0.5 * needed)
    assert (half.samples, half.asked, half.share) == (4, 8, 1.0)
    little = check(0.01 * needed)
    assert (little.samples, little.asked) == (2, 8)
    assert little.share < 0.2
    assert all(tensor.checked >= min(8, np.prod(tensor.shape)) for tensor in little.tensors)
    assert any(tensor.directions for tensor in little.tensors)
    assert little.error < BOUND
    assert samples < of_whole / 8
    full = check(0.01 * needed, full=True)
    assert (full.samples, full.asked, full.share) == (8, None, 1.0)


def test_ids_have_no_gradient_and_no_row_in_the_report() -> None:
    model = network(nn.Embedding(4, 3), nn.Flatten(), nn.Linear(6, 3))
    report = nn.check_gradients(model, nn.CrossEntropyLoss(), np.arange(16).reshape(8, 2) % 4, LABELS)
    assert [tensor.name for tensor in report.tensors] == ["Embedding1.weight", "Linear1.weight", "Linear1.bias", "loss"]


def test_rows_of_branches_are_made_during_a_check() -> None:
    """Tests of what a branch declares, made with a few steps, leave nothing for the steps that follow."""
    branches = [nn.Linear(4, 30), nn.Tanh()], [nn.Linear(4, 2)]
    model = nn.NumpyMLP(nn.Linear(3, 4), nn.Concat(*branches), nn.Linear(32, 2))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    assert nn.check_gradients(model, nn.MSELoss(), x, y).error < 1e-7

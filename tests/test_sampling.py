"""The sampling layer of variational autoencoders, and what a layer adds to the loss: everywhere, with the same bits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import compiled, spec

import nnspec
from nnspec import engine as nn
from nnspec.checker import check
from nnspec.diagnostics import Source
from nnspec.engine.losses.composed import with_terms
from nnspec.native import library

needs_numba = pytest.mark.skipif(not library.available(), reason="compiled steps need Numba, which is an extra")
ORACLE = json.loads((Path(__file__).parent / "oracle/layers_sampling.json").read_text())

VAE = """
seed = 1
dtype = float64
data = Digits(train=60, test=20)
model { Linear(12); Tanh; Linear(8); z: Sample(kl=0.01); Linear(784) }
loss = BCEWithLogits
optimizer = Adam(lr=0.002)
train { epochs = 2; batch = 16; target = input; validation = 0.2 }
"""


def errors(text: str) -> list[str]:
    return [f"{each.code} {each.message}" for each in check(Source("a.nn", text)).diagnostics]


def test_a_training_is_that_of_pytorch() -> None:
    case = ORACLE["training"]
    sample = nn.Sample(kl=case["kl"])
    network = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), sample, nn.Linear(2, 6))
    network.load_state_dict({name: np.array(array) for name, array in case["start"].items()})
    loss, optimizer = with_terms(nn.BCEWithLogitsLoss(), network.layers), nn.SGD(network.parameters(), lr=0.5)
    sample.hold_noise = True
    found, divergences = [], []
    for x, noise in zip(np.array(case["x"]), np.array(case["noise"]), strict=True):
        sample._noise = noise
        found.append(loss(network(x), x))
        divergences.append(sample.added)
        network.backward(loss.backward())
        optimizer.step()
    np.testing.assert_allclose(found, case["losses"], rtol=1e-12)
    np.testing.assert_allclose(divergences, case["divergences"], rtol=1e-12)
    for name, array in network.state_dict().items():
        np.testing.assert_allclose(array, case["end"][name], rtol=1e-10, atol=1e-13, err_msg=name)


def test_noise_is_standard_normal_in_training_and_none_in_evaluation() -> None:
    nn.set_seed(0)
    layer, x = nn.Sample(), np.zeros((2_000, 40))
    x[:, 20:] = 2 * math.log(3.0)
    z = layer(x) / 3
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02
    assert abs((z**4).mean() - 3) < 0.15
    np.testing.assert_allclose(np.corrcoef(z[:, 0], z[:, 1])[0, 1], 0, atol=0.1)
    layer.training = False
    x[:, :20] = 1.5
    np.testing.assert_array_equal(layer(x), 1.5)


@pytest.mark.parametrize("shape", [(5,), (2, 4), (1, 4, 4)])
def test_it_takes_means_and_as_many_log_variances(shape: tuple[int, ...]) -> None:
    with pytest.raises(nnspec.ShapeError, match="a row of means and as many log-variances, but got"):
        nn.Sample.geometry(shape, {"kl": 1.0})


def test_the_loss_is_that_of_the_outputs_plus_the_divergence(tmp_path: Path) -> None:
    result = nnspec.Spec.parse(VAE).run()
    (lane,) = result.lanes.values()
    assert lane.figures == ("loss", "kl_loss", "val_loss", "val_kl_loss", "test_loss", "test_kl_loss")
    x = nnspec.data.Digits(train=60, test=20).load(nnspec.data.Access()).test.x.reshape(20, -1) / 255
    network = lane.network
    outputs = network.forward(x)
    sample = network["z"]
    assert lane.final("test_kl_loss") == pytest.approx(sample.added, rel=1e-12)
    expected = nn.BCEWithLogitsLoss()(outputs, x) + 0.01 * sample.added
    assert lane.final("test_loss") == pytest.approx(expected, rel=1e-12)
    assert lane.loss == "BCEWithLogits + 0.01 kl_loss"


RACE = VAE + "race { a { } b { optimizer.lr = 0.001 } c { model.z.kl = 1 } }\n"


def test_lanes_have_the_same_bits_alone_stacked_in_processes_and_compiled(kernels: Path) -> None:
    ways: list[dict[str, Any]] = [{}, {"stack": False}, {"jobs": 2}, {"compiled": "never"}]
    ways += [{"compiled": "always"}] if library.available() else []
    found = [nnspec.Spec.parse(RACE).run(**how) for how in ways]
    histories = [{name: lane.history for name, lane in result.lanes.items()} for result in found]
    assert all(history == histories[0] for history in histories)
    assert histories[0]["a"]["kl_loss"] != histories[0]["c"]["kl_loss"]


@needs_numba
@pytest.mark.usefixtures("kernels")
def test_a_compiled_step_has_no_python_left() -> None:
    result = nnspec.Spec.parse(VAE).run(compiled="always")
    (lane,) = result.lanes.values()
    assert lane.compiled is not None
    assert "refused" not in lane.compiled
    assert lane.compiled["python"] == {}


@needs_numba
@pytest.mark.usefixtures("kernels")
def test_a_loss_that_cannot_be_recorded_keeps_its_layers_in_python_too() -> None:
    text = spec(
        "Linear(8); Sample(kl=0.1); Linear(10)",
        data="Digits(train=60, test=20)",
        loss="CrossEntropy(label_smoothing=0.1)",
        train="epochs = 2; batch = 16",
    )
    fast, slow = (nnspec.Spec.parse(text).run(compiled=how) for how in ("always", "never"))
    (one,), (other,) = fast.lanes.values(), slow.lanes.values()
    assert one.history == other.history
    assert {"Sample", "LossWithTerms"} <= one.compiled["python"].keys()


def test_gradients_include_the_divergence_and_miss_a_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.NumpyMLP(nn.Linear(3, 4), nn.Residual([nn.Linear(4, 8), nn.Sample(kl=0.7)]), nn.Linear(4, 2))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    assert nn.check_gradients(model, nn.MSELoss(), x, y).error < 1e-7
    monkeypatch.setattr(nn.Sample, "times", classmethod(lambda cls, arguments: 0.6))
    assert nn.check_gradients(model, nn.MSELoss(), x, y).error > 1e-3


def test_weighted_samples_are_refused() -> None:
    rng = np.random.default_rng(0)
    text = spec("Linear(4); Sample; Linear(1)", data="Given", loss="MSE", train="epochs = 1; batch = 4")
    data = {"x_train": rng.standard_normal((12, 3)), "y_train": rng.standard_normal(12), "w_train": np.ones(12)}
    data |= {"x_test": data["x_train"], "y_test": data["y_train"]}
    with pytest.raises(nnspec.DataError, match="the layer that adds kl_loss to the loss takes none; remove"):
        nnspec.Spec.parse(text).run(data)


EXPECT = "expect { test_kl_loss < 1e6; kl_loss > 0; gradient_error < 1e-7 }\n"


def test_its_figure_may_be_expected_and_followed() -> None:
    text = VAE.replace("batch = 16;", "batch = 16; early_stop = patience(1, of=val_kl_loss);")
    result = nnspec.Spec.parse(text + EXPECT).run()
    assert [verdict.held for verdict in result.verdicts] == [True] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VAE.replace("z: Sample(kl=0.01)", "Tanh") + EXPECT, "NN602 `test_kl_loss` is not measured"),
        (
            VAE.replace("z: Sample(kl=0.01)", "Tanh").replace(
                "batch = 16;", "batch = 16; early_stop = patience(1, of=kl_loss);"
            ),
            "NN602 `kl_loss` is not measured after each epoch",
        ),
        (VAE.replace("Linear(8)", "Linear(7)"), "NN401 Sample expects a row of means and as many log-variances"),
        (VAE.replace("kl=0.01", "kl=-1"), "NN302 `kl` must be at least 0"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    assert any(each.startswith(message) for each in errors(text)), errors(text)


def test_flops_and_parameters() -> None:
    (lane,) = compiled(VAE).program.lanes
    assert lane.objective == f"{lane.loss} + 0.01 kl_loss"
    assert [node.geometry.out for node in lane.layers] == [(12,), (12,), (8,), (4,), (784,)]


def test_a_sample_outside_training_is_the_mean_even_of_infinite_deviations() -> None:
    network = nn.Sequential(nn.Sample()).eval()
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(network.forward(np.array([[3.0, -2.0, 5000.0, -5000.0]])), [[3, -2]])


@pytest.mark.parametrize("end", [0.0, 1 - 2**-53])
def test_noise_is_finite_at_both_ends_of_what_a_generator_draws(end: float) -> None:
    class Ends:
        def random(self, out: Any, dtype: Any) -> None:
            out.fill(end)

    layer = nn.Sample(rng=Ends())  # type: ignore[arg-type]
    layer.training = True
    assert np.isfinite(layer.forward(np.zeros((2, 4)))).all()

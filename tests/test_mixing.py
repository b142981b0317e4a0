"""Mixed samples: what is mixed, and that the loss is mixed likewise, as by PyTorch."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import ALONE, run, spec

import nnspec
from nnspec import engine as nn
from nnspec.checker import check
from nnspec.compiler import preparing
from nnspec.diagnostics import Source
from nnspec.engine.losses.mixed import MixedLoss, Mixture

pytestmark = pytest.mark.usefixtures("undrawn")

WANTED = json.loads((Path(__file__).parent / "oracle" / "mixing.json").read_text())


class Scripted:
    """A generator that returns given shares and partners."""

    shares = itertools.cycle([0.0])
    orders = iter([[0]])

    def beta(self, a: float, b: float) -> float:
        return next(self.shares)

    def shuffle(self, order: np.ndarray) -> None:
        order[...] = next(self.orders)


@pytest.mark.parametrize("loss", WANTED["cases"])
def test_training_is_that_of_pytorch(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = WANTED["cases"][loss]
    numbers = loss in ("MSE", "Huber")
    x, y = np.array(WANTED["x"], float), np.array(WANTED["numbers"] if numbers else WANTED["labels"])
    y = y.astype(float) if numbers else y
    monkeypatch.setattr(Scripted, "shares", itertools.cycle(WANTED["shares"]))
    monkeypatch.setattr(Scripted, "orders", iter(WANTED["orders"]))
    monkeypatch.setattr(preparing, "stream", lambda *place: Scripted())
    text = spec(
        f"Linear({len(wanted['bias'])}, init=zeros)",
        loss=loss,
        optimizer=f"SGD(lr={WANTED['lr']})",
        train="epochs = 2; batch = 4; shuffle = false; augment = mixup",
        data=f"Given(features=4, {'targets=2' if numbers else 'classes=3'})",
        more="dtype = float64",
    )
    result = nnspec.Spec.parse(text).run(data={"x_train": x, "y_train": y, "x_test": x, "y_test": y})
    state = result["run"].network.state_dict()
    np.testing.assert_allclose(state["Linear1.weight"], wanted["weight"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(state["Linear1.bias"], wanted["bias"], rtol=1e-10, atol=1e-12)
    if "class_weights" not in loss:
        means = [np.average(wanted["losses"][i : i + 3], weights=[4, 4, 2]) for i in (0, 3)]
        np.testing.assert_allclose(result["run"].history["loss"], means, rtol=1e-10)


def test_samples_are_mixed_with_another_of_the_batch() -> None:
    rng = np.random.default_rng(3)
    x = rng.random((50, 7))
    mixed = x.copy()
    share, order = nn.Mixup(0.4).mix(mixed, np.random.default_rng(0))
    assert 0.5 <= share < 1
    assert sorted(order.tolist()) == list(range(50)) != order.tolist()
    np.testing.assert_allclose(mixed, share * x + (1 - share) * x[order])
    shares = [nn.Mixup(2.0).mix(x[:3].copy(), rng)[0] for _ in range(2000)]
    # The mean of max(λ, 1 − λ) for λ from Beta(2, 2), whose density is 6 λ (1 − λ): 11/16.
    assert np.mean(shares) == pytest.approx(11 / 16, abs=0.01)


def test_a_rectangle_comes_from_another_image() -> None:
    x = np.random.default_rng(3).random((20, 3, 8, 6))
    shares = []
    for seed in range(200):
        mixed = x.copy()
        share, order = nn.CutMix().mix(mixed, np.random.default_rng(seed))
        cut = (mixed[0] != x[0]).all(axis=0) if order[0] else np.zeros((8, 6), bool)
        np.testing.assert_array_equal(mixed, np.where(cut, x[order], x) if order[0] else mixed)
        if order[0]:
            assert share == pytest.approx(1 - cut.mean())
            rows, columns = np.flatnonzero(cut.any(axis=1)), np.flatnonzero(cut.any(axis=0))
            assert cut.sum() == len(rows) * len(columns)
        shares.append(share)
    assert min(shares) < 0.6 < 0.9 < max(shares)


RACE = "a { optimizer = SGD(lr=0.1) }\nb { optimizer = Adam(lr=0.01) }"


@pytest.mark.parametrize("augment", ["mixup(0.4)", "[flip, cutmix]"])
@pytest.mark.parametrize("loss", ["CrossEntropy", "MSE"])
def test_lanes_have_the_bits_that_they_have_alone(augment: str, loss: str) -> None:
    train = f"epochs = 2; batch = 16; validation = 0.2; augment = {augment}"
    text = spec("Linear(8); ReLU; Linear(10)", loss=loss, train=train, race=RACE)
    together, alone = run(text), run(text, ways=ALONE)
    for name in "ab":
        assert together[name].history == alone[name].history
        for mine, other in zip(together[name].network.parameters(), alone[name].network.parameters(), strict=True):
            assert mine.data.tobytes() == other.data.tobytes()
    plain = run(spec("Linear(8); ReLU; Linear(10)", loss=loss, train=train.partition("; augment")[0], race=RACE))
    assert plain["a"].history != alone["a"].history


@pytest.mark.parametrize(
    ("train", "data", "says"),
    [
        ("augment = [mixup, cutmix]", "", "`mixup` and `cutmix` would both mix a batch"),
        ("augment = mixup; target = input", "", "`mixup` mixes targets, but with `target = input` there are none"),
        ("augment = mixup", "weights", "`mixup` mixes samples, but they have weights"),
        ("augment = cutmix", "Blobs(train=50, test=10)", "`cutmix` expects images"),
    ],
)
def test_what_cannot_be_mixed_is_refused(train: str, data: str, says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=np.ones((9, 3)), y_train=np.arange(9) % 3, w_train=np.ones(9))
    data = f'NPZ("{(tmp_path / "d.npz").as_posix()}")' if data == "weights" else data or "Digits(train=50, test=20)"
    more: dict[str, Any] = {"model": "Linear(784)", "loss": "MSE"} if "input" in train else {"model": "Linear(10)"}
    more = {"model": "Linear(3)"} if "Digits" not in data else more
    found = check(Source("s.nn", spec(train=train, data=data, **more))).diagnostics
    assert [says in each.message for each in found if each.severity == "error"] == [True], found


def test_the_weight_of_a_batch_is_mixed_as_its_loss() -> None:
    loss = MixedLoss(nn.CrossEntropyLoss(class_weights=[1.0, 3.0]), Mixture(0.25, None, np.array([1, 1])))
    loss.forward(np.zeros((2, 2)), np.array([0, 0]))
    assert loss.weight(2) == 0.25 * 2 + 0.75 * 6

"""What becomes of samples before the network sees them: held out, standardised, varied, and taken as targets."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_plan import ALLOCATION, make_plan, peak_growth, train
from tiny_spec import compiled, noise, run, spec

import nnspec
from nnspec.checker import check
from nnspec.checker.program import TrainSettings
from nnspec.compiler.layout import lay_out
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.compiler.preparing import divide
from nnspec.compiler.scaling import Standardiser, constant_features, scaling
from nnspec.data.source import DataError, Dataset, Facts, Split
from nnspec.diagnostics import Source
from nnspec.engine.augmentations import Flip, Noise, Shift
from nnspec.engine.gradcheck import GradientCheck
from nnspec.engine.random import Stream, stream
from nnspec.engine.scalers import Standard
from nnspec.records.write import write_record
from nnspec.runner import gradients as prove

BLOBS = "Blobs(train=200, test=60, noise=2.0)"
DIGITS = "Digits(train=50, test=20)"


def plan_of(settings: str, data: str = DIGITS, model: str = "Linear(10)", **more: str) -> Plan:
    text = spec(model, data=data, train=f"batch = 16; {settings}", **more)
    (lane,) = compiled(text).program.lanes
    dataset = lane.data[0].source.load(None)
    return plan_alone(lane, compiled(text).layouts[lane.name], dataset)


PLAIN = "augment = flip(0)"
"""Samples as they are, all columns of them: a plan that prepares none may leave some out."""


def batches(plan: Plan, epoch: int) -> np.ndarray:
    """What enters the network in an epoch, as rows."""
    plan.begin(epoch)
    return np.concatenate(
        [plan.data.x(plan.data.train(n)).reshape(-1, plan.dataset.facts.features).copy() for n in range(plan.batches)]
    )


def measured(plan: Plan) -> list[np.ndarray]:
    """What enters the network where nothing is learned."""
    data = plan.data
    return [np.concatenate([data.x(rows).copy() for rows in way]) for way in (data.validation(), data.test())]


# Held out with every class in its share


@pytest.mark.parametrize("share", [0.05, 0.1, 0.33, 0.5, 0.9])
def test_every_class_has_its_share_of_what_is_held_out(share: float) -> None:
    labels = np.random.default_rng(0).choice(4, 200, p=[0.6, 0.25, 0.1, 0.05])
    settings = TrainSettings(validation=share, stratify=True)
    trained, held_out = divide(settings, 3, labels)
    assert sorted([*trained, *held_out]) == list(range(200))
    assert list(held_out) == sorted(held_out)
    assert len(held_out) == settings.held_out(200)
    found, whole = Counter(labels[held_out].tolist()), Counter(labels.tolist())
    for label, count in whole.items():
        assert abs(found[label] - share * count) < 1


def test_a_larger_share_holds_out_what_a_smaller_one_does_and_more() -> None:
    labels = np.random.default_rng(1).integers(0, 7, 120)
    before: set[int] = set()
    for percent in range(1, 100, 3):
        _, chosen = divide(TrainSettings(validation=percent / 100, stratify=True), 0, labels)
        assert before < set(chosen.tolist()) or percent == 1
        before = set(chosen.tolist())


def test_which_are_held_out_is_a_choice_of_the_seed_and_not_of_their_order() -> None:
    labels = np.arange(300) % 3
    first, second = (set(divide(TrainSettings(validation=0.2, stratify=True), s, labels)[1].tolist()) for s in (0, 1))
    assert first != second
    usual = set(divide(TrainSettings(validation=0.2), 0, labels)[1].tolist())
    assert usual == set(stream(0, Stream.VALIDATION).permutation(300)[:60].tolist()) != first


def test_a_plan_holds_out_what_is_stratified() -> None:
    plan = plan_of("validation = 0.1; stratify = true", BLOBS, "Linear(3)")
    labels = plan.dataset.train.y[plan.data._held_out]
    assert sorted(Counter(labels.tolist()).values()) == [6, 7, 7]


# Standardising


def dataset(x: np.ndarray, divisor: float = 1.0) -> Dataset:
    facts = Facts(x.shape[1:], 2, len(x), len(x), stored=str(x.dtype))
    split = Split(x, np.zeros(len(x), np.uint8))
    return Dataset("Blobs", facts, split, split, divisor, "", "random")


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_mean_and_deviation_are_those_of_the_samples_chosen(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((3000, 5)) * [1, 2, 10, 0.1, 30] + [0, 100, -3, 7, 90]).clip(0, 255).astype(dtype)
    chosen = rng.permutation(3000)[:2500]
    mean, deviation = scaling(dataset(x, 255.0), chosen, [Standard()])
    whole = x[chosen].astype(np.float64) / 255
    np.testing.assert_allclose(mean, whole.mean(axis=0), rtol=1e-12)
    wanted = whole.std(axis=0)
    np.testing.assert_allclose(deviation, np.where(wanted > 0, wanted, 1), rtol=1e-10)


def test_a_feature_that_does_not_vary_becomes_zero() -> None:
    x = np.zeros((100, 4))
    x[:, 1] = 0.1
    x[:, 2] = 1e6 + 1e-3 * np.arange(100)  # which float32 could not tell apart
    x[:, 3] = np.arange(100)
    mean, deviation = scaling(dataset(x), np.arange(100), [Standard()])
    np.testing.assert_array_equal(deviation[:2], 1)
    np.testing.assert_allclose((x - mean)[:, :2], 0, atol=1e-12)
    # The deviation of 0, 1, …, 99 is √((100² − 1) / 12).
    np.testing.assert_allclose(deviation[2:], [28.86607004772212e-3, 28.86607004772212], rtol=1e-6)
    assert [*constant_features(dataset(x), np.arange(100), [Standard()])] == [(0, 0.0), (1, 0.0)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", [BLOBS, DIGITS])
def test_the_network_sees_samples_of_mean_0_and_deviation_1(data: str, dtype: str) -> None:
    classes = 3 if data == BLOBS else 10
    plan = plan_of("standardise = true; validation = 0.2", data, f"Linear({classes})", more=f"dtype = {dtype}")
    seen = batches(plan, 0).astype(np.float64)
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=2e-5)
    deviation = seen.std(axis=0)
    alive = deviation > 1e-3
    assert alive.all() or data == DIGITS
    np.testing.assert_allclose(deviation[alive], 1, rtol=1e-4)
    assert plan.data.scaling is not None
    mean, std = plan.data.scaling
    source, held_out = plan.dataset, plan.data._held_out
    for found, stored in zip(measured(plan), (source.train.x[held_out], source.test.x), strict=True):
        wanted = (stored / source.divisor - mean) / std
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_only_what_is_trained_on_counts() -> None:
    plan = plan_of("standardise = true; validation = 0.2", BLOBS, "Linear(3)")
    source = plan.dataset
    x = source.train.x.copy()
    x[plan.data._held_out] = 1000
    other = replace(source, train=Split(x, source.train.y), test=Split(source.test.x + 50, source.test.y))
    changed = plan_alone(plan.experiment, plan.layout, other)
    np.testing.assert_array_equal(batches(plan, 0), batches(changed, 0))


def test_scales_do_not_matter_any_more() -> None:
    plan = plan_of("standardise = true", BLOBS, "Linear(3)", more="dtype = float64")
    stretched = replace(plan.dataset, train=Split(plan.dataset.train.x * 4 + 16, plan.dataset.train.y))
    other = plan_alone(plan.experiment, plan.layout, stretched)
    np.testing.assert_allclose(batches(plan, 0), batches(other, 0), atol=1e-6)


@pytest.mark.parametrize("stored", ["float32", "float64", "int32"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_large_mean_costs_no_precision(stored: str, dtype: str) -> None:
    plan = plan_of("standardise = true; shuffle = false", "Sine(train=102, test=9)", "Linear(1)", loss="MSE",
                   more=f"dtype = {dtype}")  # fmt: skip
    # 102 numbers in a row, far from 0: each must become (i − 50.5) / √((102² − 1) / 12), as from scikit-learn's
    # StandardScaler in float64. Steps of 64 at 10⁹ are exact in float32 too, and their mean is not.
    x = (1e9 + 64 * np.arange(102)).astype(stored)[:, None]
    split = Split(x, plan.dataset.train.y)
    data = replace(plan.dataset, train=split, test=split, facts=replace(plan.dataset.facts, stored=stored))
    choice = replace(plan.experiment.data[0], facts=data.facts)
    experiment = replace(plan.experiment, data=(choice,))
    z = batches(plan_alone(experiment, lay_out(experiment), data), 0)[:, 0]
    assert z.dtype == dtype
    wanted = (np.arange(102) - 50.5) / 29.44344862047696
    np.testing.assert_allclose(z, wanted, rtol=2e-7 if dtype == "float32" else 1e-12, atol=1e-12)
    alone = x.astype("float32" if (stored, dtype) == ("float32", "float32") else "float64")
    Standardiser.alone(scaling(data, np.arange(102), [Standard()]), alone.dtype.name)(alone)
    np.testing.assert_array_equal(alone[:, 0].astype(dtype), z)


def test_a_run_names_features_that_are_constant(tmp_path: Path) -> None:
    lines = [f"{i % 7},0.1,{i},x,{i % 3}" for i in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,d,y", *lines]) + "\n")
    data = f'CSV("{(tmp_path / "t.csv").as_posix()}", "y")'
    text = spec("Linear(1)", loss="MSE", data=data, train="epochs = 1; standardise = true; repeats = 2")
    note = "features `b` and `d=x` are constant in the training samples and become 0 when standardised"
    assert run(text).notes == (note,)
    assert run(text.replace("standardise = true; ", "")).notes == ()
    digits = run(spec("Linear(10)", train="epochs = 1; standardise = true")).notes
    sentence = "of 784 features are constant in the training samples and become 0 when standardised"
    assert any(note.endswith(sentence) for note in digits)


def test_the_proof_is_of_what_the_network_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    run_check = GradientCheck.run
    monkeypatch.setattr(GradientCheck, "run", lambda *a: (seen.append(a[3]), run_check(*a))[1])
    plan = plan_of("standardise = true; validation = 0.3; shuffle = false", BLOBS, "Linear(8); Tanh; Linear(3)")
    assert prove.prove_gradients(plan.experiment, plan.dataset, samples=8).error < 1e-7
    assert plan.data.scaling is not None
    mean, deviation = plan.data.scaling
    np.testing.assert_allclose(seen[0], (plan.dataset.train.x[:8] - mean) / deviation, rtol=1e-12)


def test_lanes_share_a_proof_where_they_see_the_same() -> None:
    race = "\n".join(
        [
            "a { optimizer = SGD }",
            "b { optimizer = Adam }",
            "c { train.standardise = true }",
            "d { train.standardise = true; train.validation = 0.5 }",
            "e { train.standardise = true; optimizer = Adam }",
        ]
    )
    lanes = compiled(spec(race=race, more="optimizer = SGD")).program.lanes
    groups = prove.alike_lanes(lanes)
    assert [[lane.name for lane in group] for group in groups] == [["a", "b"], ["c", "e"], ["d"]]
    other = [replace(lane, train=replace(lane.train, target="input")) for lane in lanes[:1]]
    assert len(prove.alike_lanes([lanes[0], *other])) == 2


def test_a_run_says_how_its_network_takes_samples(tmp_path: Path) -> None:
    text = spec("Linear(8); ReLU; Linear(3)", data=BLOBS, train="epochs = 3; standardise = true; validation = 0.1")
    result = run(text)
    lane = result["run"]
    write_record(result, tmp_path)
    with np.load(tmp_path / "run/weights.npz") as file:
        mean, deviation = file["input.mean"], file["input.deviation"]
    np.testing.assert_array_equal([mean, deviation], lane.scaling)
    source = compiled(text).program.lanes[0].data[0].source.load(None)
    outputs = lane.network.forward(((source.test.x - mean) / deviation).astype(np.float32))
    assert (outputs.argmax(axis=1) == source.test.y).mean() == pytest.approx(lane.final("test_accuracy"))


# Augmentation


def test_training_samples_vary_and_those_that_measure_do_not() -> None:
    plain = plan_of(f"validation = 0.2; {PLAIN}")
    varied = plan_of("validation = 0.2; augment = [shift(2), flip, noise(0.1)]")
    assert (batches(plain, 0) != batches(varied, 0)).any()
    for one, other in zip(measured(plain), measured(varied), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_drawn_depends_on_seed_and_epoch_alone() -> None:
    setting = "augment = [shift(2), noise(0.1)]"
    plan, other = plan_of(setting), plan_of(setting, model="Linear(8); ReLU; Linear(10)", optimizer="Adam")
    first, second = batches(plan, 0), batches(plan, 1)
    np.testing.assert_array_equal(batches(other, 1), second)
    np.testing.assert_array_equal(batches(other, 0), first)
    unshuffled = f"shuffle = false; {setting}"
    assert (batches(plan_of(unshuffled), 0) != batches(plan_of(unshuffled), 1)).any()
    assert (batches(plan_of(unshuffled), 0) != batches(plan_of(unshuffled, more="seed = 1"), 0)).any()


def test_each_augmentation_has_its_own_random_stream() -> None:
    x = batches(plan_of(PLAIN), 0).reshape(-1, 28, 28).copy()
    found = batches(plan_of("augment = [shift(2), flip(0.3), noise(0.1)]"), 0)
    for i, augmentation in enumerate([Shift(2), Flip(0.3), Noise(0.1)]):
        rng = stream(0, Stream.AUGMENT, 0, i)
        for start in range(0, len(x), 16):
            augmentation.apply(x[start : start + 16], rng)
    np.testing.assert_array_equal(found.reshape(x.shape), x)


def test_images_are_moved_before_they_are_standardised_and_noise_comes_last() -> None:
    plan = plan_of("augment = [noise(0.1), shift(2)]; standardise = true")
    assert plan.data.scaling is not None
    mean, deviation = plan.data.scaling
    x = batches(plan_of(PLAIN), 0).reshape(-1, 28, 28).copy()
    moves, noises = stream(0, Stream.AUGMENT, 0, 1), stream(0, Stream.AUGMENT, 0, 0)
    wanted = []
    for start in range(0, len(x), 16):
        part = x[start : start + 16]
        Shift(2).apply(part, moves)
        part = ((part.reshape(len(part), -1) - mean) / deviation).astype(np.float32)
        Noise(0.1).apply(part, noises)
        wanted.append(part)
    np.testing.assert_allclose(batches(plan, 0), np.concatenate(wanted), rtol=1e-4, atol=1e-4)


# The sample as its own target


@pytest.mark.parametrize("more", ["", "standardise = true", "augment = shift(1)"])
def test_outputs_are_compared_with_what_the_network_got(more: str) -> None:
    plan = plan_of(f"target = input; validation = 0.2; {more}", model="Linear(8); ReLU; Linear(784)", loss="MSE")
    plan.begin(0)
    for rows in (*map(plan.data.train, range(plan.batches)), *plan.data.validation(), *plan.data.test()):
        assert plan.data.targets(rows).shape == (rows, 784)
        np.testing.assert_array_equal(plan.data.targets(rows), plan.data.x(rows))
        np.testing.assert_array_equal(plan.data.labels(rows), plan.data.targets(rows))


def test_noise_is_not_in_the_target() -> None:
    setting = "target = input; augment = [noise(0.5), shift(1)]"
    plan = plan_of(setting, model="Linear(8); ReLU; Linear(784)", loss="MSE")
    plan.begin(0)
    rows = plan.data.train(0)
    off = plan.data.x(rows) - plan.data.targets(rows)
    assert 0.48 < off.std() < 0.52
    assert set(np.unique(plan.data.targets(rows) == 0)) == {True, False}  # black is black
    rows = next(plan.data.test())
    np.testing.assert_array_equal(plan.data.x(rows), plan.data.targets(rows))


def test_an_autoencoder_trains_and_its_gradients_hold() -> None:
    result = run(
        spec(
            "Linear(24); ReLU; Linear(784, init=xavier_normal); Sigmoid",
            loss="MSE",
            optimizer="Adam(lr=0.01)",
            train="target = input; epochs = 12; batch = 10; validation = 0.2",
            expect="gradient_error < 1e-7; val_loss < 0.2",
        )
    )
    lane = result["run"]
    assert list(lane.history) == ["loss", "val_loss", "test_loss"]
    assert lane.history["loss"][-1] < 0.8 * lane.history["loss"][0]
    assert result.exit_code == 0


# All of it


def test_a_plan_without_any_of_it_prepares_nothing() -> None:
    plan = plan_of("validation = 0.1")
    assert plan.data._prepare is None
    assert plan.data.scaling is None


@pytest.mark.parametrize("moves", ["shift(2), flip", "crop(2, mode=reflect), rotate(9)", "zoom(0.2), cutout(5)"])
def test_training_with_all_of_it_allocates_no_arrays(moves: str) -> None:
    settings = f"augment = [{moves}, noise(0.1)]; standardise = true; validation = 0.2; target = input"
    text = spec(
        "Linear(256); ReLU; Linear(784)",
        data="Digits(train=700, test=150)",
        loss="MSE",
        optimizer="Adam",
        train=f"batch = 128; {settings}",
    )
    plan = make_plan(text)
    train(plan, 1)
    plan.validate()
    assert peak_growth(plan) <= ALLOCATION


def test_colours_change_only_where_numbers_are_from_0_to_1(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((20, 3, 6, 6)) * 2
    np.savez(tmp_path / "d.npz", x=images, y=np.arange(20) % 2)
    data = f'NPZ("{(tmp_path / "d.npz").as_posix()}", divisor={{}})'
    train = "epochs = 1; augment = jitter(brightness=0.2, hue=0.1)"
    with pytest.raises(DataError, match="`jitter` is for images with numbers from 0 to 1, but those of NPZ range from"):
        run(spec("Flatten; Linear(2)", data=data.format(1), train=train))
    assert run(spec("Flatten; Linear(2)", data=data.format(2), train=train))["run"].status == "done"


@pytest.mark.parametrize("settings", ["standardise = true", "augment = [shift(1), noise(0.2)]", "stratify = true"])
def test_equal_runs_are_equal_to_the_last_bit(settings: str) -> None:
    text = spec(train=f"epochs = 2; batch = 16; validation = 0.2; {settings}")
    one, other = run(text)["run"], run(text)["run"]
    assert one.history == other.history
    for mine, theirs in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert mine.data.tobytes() == theirs.data.tobytes()


def test_lanes_and_their_settings_are_written_into_the_record(tmp_path: Path) -> None:
    race = "a { train.augment = [shift(1), flip] }\nb { train.augment = noise(0.5) }\nc { train.standardise = true }"
    result = run(spec(train="epochs = 1", race=race, more="optimizer = SGD"))
    assert len({lane.final("loss") for lane in result.values()}) == 3
    write_record(result, tmp_path)
    lanes = json.loads((tmp_path / "summary.json").read_text())["lanes"]
    assert [lane["train"]["augment"] for lane in lanes] == [["shift(1)", "flip"], "noise(0.5)", None]
    assert [lane["train"]["standardise"] for lane in lanes] == [False, False, True]


def test_columns_that_are_always_zero_stay_where_samples_are_prepared() -> None:
    facts = Facts((28, 28), 10, 50, 20)
    source = noise(facts)
    source.train.x[:, :400] = 0
    for settings, narrow in (("", True), ("standardise = true", False), ("augment = shift(1)", False)):
        plan = make_plan(spec(train=f"batch = 16; {settings}"), source)
        assert (plan.data.alive is not None) == narrow
        train(plan, 1)


# What does not fit


def findings(settings: str, **more: str) -> list[str]:
    checked = check(Source("tiny.nn", spec(train=settings, **more)), [])
    return [f"{d.code} {d.message}" for d in checked.diagnostics]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ("augment = shift(28)", "NN401 `shift` by 28 pixels moves an image of 28×28 completely out of view"),
        ("augment = Adam", "NN305 `augment` must be an augmentation or a list of augmentations or none"),
        ("augment = [noise(0.1), 3]", "NN301 `augment` must be an augmentation or a list of augmentations or none"),
        ("augment = [noise(-0.1)]", "NN302 `std` must be greater than 0"),
        ("augment = RandomFlip", "NN201 unknown name `RandomFlip`"),
        ("stratify = true", "NN302 `stratify` has no effect without validation samples"),
        ("target = inputs", "NN301 `target` must be one of `labels`, `input`, not `inputs`"),
        ("target = 3", "NN301 `target` must be one of `labels`, `input`, not 3"),
        ("target = input", "NN402 CrossEntropy needs classes"),
        ("standardize = true", "NN201 `train` has no setting `standardize`"),
    ],
)
def test_mismatches_are_reported(settings: str, found: str) -> None:
    (only,) = findings(settings)
    assert only.startswith(found)


def test_mismatches_with_the_data_are_reported() -> None:
    (only,) = findings("augment = [noise(0.1), flip]", data="Blobs", model="Linear(3)")
    assert only == "NN401 `flip` expects images, but a sample is a row of 2 features"
    (only,) = findings("stratify = true; validation = 0.1", data="Sine", model="Linear(1)", loss="MSE")
    assert only == "NN302 `stratify` needs classes, but the data has none"
    (only,) = findings("target = input", model="Linear(6)", loss="MSE")
    assert only.startswith("NN402 MSE compares 6 outputs with targets of 784")
    (only,) = findings("target = input", model="Linear(784)", loss="MSE", more="metrics = accuracy")
    assert only == "NN305 `accuracy` needs classes, but the targets have none"
    assert findings('target = "input"', model="Linear(784)", loss="MSE") == []
    (only,) = findings(f"augment = [{', '.join(['flip'] * 17)}]")
    assert only == "NN302 at most 16 augmentations are allowed, got 17"
    assert findings("augment = []") == findings("augment = none") == []


@pytest.mark.parametrize(
    "settings",
    [
        "augment = [shift(1), noise(0.2)]",
        "standardise = true; stratify = true",
        "target = input; augment = noise(0.2)",
        "standardise = robust(per=all); augment = [crop(2), rotate(20), zoom(0.2), jitter(contrast=0.3), cutout(5)]",
    ],
)
@pytest.mark.parametrize("seeds", ["", "; seed = 7"])
def test_a_lane_of_a_race_has_the_bits_that_it_has_alone(settings: str, seeds: str) -> None:
    of_input = "target" in settings
    model, loss = (
        ("Linear(8); ReLU; Linear(784)", "MSE") if of_input else ("Linear(8); ReLU; Linear(10)", "CrossEntropy")
    )
    train = f"epochs = 2; batch = 16; validation = 0.2; {settings}"
    race = f"a {{ optimizer = SGD(lr=0.1) }}\nb {{ optimizer = Adam(lr=0.01){seeds} }}\nc {{ optimizer = SGD(lr=0.2) }}"
    both = run(spec(model, loss=loss, train=train, race=race))
    alone = [
        run(spec(model, loss=loss, train=train, optimizer="SGD(lr=0.1)"))["run"],
        run(spec(model, loss=loss, train=train, optimizer="Adam(lr=0.01)", more=seeds.removeprefix("; ")))["run"],
    ]
    for lane, single in zip("ab", alone, strict=True):
        assert both[lane].history == single.history
        for mine, other in zip(both[lane].network.parameters(), single.network.parameters(), strict=True):
            assert mine.data.tobytes() == other.data.tobytes()


def test_settings_for_numbers_are_rejected_for_ids(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the quick brown fox jumps over the lazy dog " * 20)
    path = tmp_path / "t.nn"
    told = {
        "augment = noise(0.1)": "`augment`",
        "standardise = true": "`standardise`",
        "target = input": "`target = input`",
    }
    for settings, what in told.items():
        path.write_text(spec("Embedding(4); Linear(data.classes)", data='Text("t.txt", 8)', train=settings))
        messages = [d.message for d in nnspec.check(path).diagnostics]
        assert f"{what} needs numbers, but the samples are ids" in messages

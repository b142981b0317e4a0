"""Networks of saved runs, used: evaluated to the bits of the record, asked about files, written elsewhere."""

from __future__ import annotations

import csv
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shelf import trained
from tiny_spec import ROOT, command, spec

from nnspec import run, runs
from nnspec.cli import _code as main_code
from nnspec.data.source import DataError, FileFault
from nnspec.errors import NnspecError
from nnspec.records.folder import OutputError
from nnspec.records.saved import RunError
from nnspec.runner.options import RunOptions
from nnspec.training.checkpoint import CheckpointError

IMAGES = spec(race="SGD(lr=0.1); Adam(lr=0.01)", train="epochs = 3; batch = 16", data="Digits(train=200, test=60)")
TABLE = "kind,height,weight,name\n" + "\n".join(
    f"{'abc'[i % 3]},{i % 7 + (i % 3) * 5},{i % 5 if i % 11 else 'NA'},{'cat' if i % 3 else 'dog'}" for i in range(60)
)


pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained_here(text: str) -> Path:
    """Train a spec that reads files of the current folder."""
    Path("tiny.nn").write_text(text)
    run("tiny.nn", out="out", force=True)
    return Path("out")


def shipped(name: str) -> str:
    """One of the specs that come with nnspec, with its data named from anywhere, and a small recurrent layer."""
    text = (ROOT / "specs" / name).read_text().replace('"data/', f'"{(ROOT / "specs/data").as_posix()}/')
    return text.replace("GRU(64)", "GRU(8)")


SPECS = {
    "dense": IMAGES,
    "conv": spec("Conv2D(3, 3); BatchNorm; ReLU; MaxPool(2); Flatten; Linear(10)", data="Digits(train=60, test=30)"),
    "dropout and scaling": spec(
        "Linear(8); Dropout(0.3); Linear(10)", train="epochs = 2; batch = 16; standardise = true"
    ),
    "repeats": spec(train="epochs = 2; batch = 16; repeats = 3; validation = 0.2"),
    "repeats, each with its own scaling": spec(
        train="epochs = 2; batch = 16; repeats = 3; validation = 0.2; standardise = true",
        data="Blobs(train=60, test=30)",
    ).replace("Linear(10)", "Linear(3)"),
    "best": spec(
        optimizer="SGD(lr=3.0)", train="epochs = 8; batch = 8; early_stop = patience(9, of=loss, restore_best=true)"
    ),
    "autoencoder": spec("Linear(8); ReLU; Linear(784)", loss="MSE", train="epochs = 2; batch = 16; target = input"),
    "regression": "regression.nn",
    "text": "names_rnn.nn",
    "precision": spec(more="dtype = float64"),
}


@pytest.mark.parametrize("name", SPECS)
def test_figures_are_those_of_the_record_to_the_last_bit(name: str) -> None:
    if SPECS[name].endswith(".nn"):
        few = {"train.epochs": 1} | ({"train.sample": 8} if name == "text" else {})
        out = trained(shipped(SPECS[name]), set=few)
    else:
        out = trained(SPECS[name])
    found = runs.evaluate(out)
    assert found
    for one in found:
        assert one.figures.keys() == {figure for figure in one.recorded if figure.startswith("test_")}
        assert one.same, (one.figures, one.recorded)
        assert one.same_data
        assert one.losses.mean() == pytest.approx(one.figures["test_loss"], rel=1e-5)
        assert len(one.outputs) == len(one.dataset.test.y)


def test_confusion_counts_every_sample_and_agrees_with_accuracy() -> None:
    out = trained(IMAGES)
    for one in runs.evaluate(out):
        counts = one.confusion()
        assert counts is not None
        assert counts.sum() == 60
        assert np.trace(counts) / 60 == one.figures["test_accuracy"]
        assert (counts.sum(axis=1) == np.bincount(one.dataset.test.y, minlength=10)).all()


def test_the_command_prints_figures_and_says_where_they_differ() -> None:
    out = trained(IMAGES)
    done = command("eval", "out", "--confusion")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("as recorded, bit for bit") == 2
    assert "one row per label, one column per prediction" in done.stdout
    with np.load(out / "SGD/weights.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    np.savez(
        out / "SGD/weights.npz", **arrays | {"Linear2.bias": arrays["Linear2.bias"] + 1e-3 * np.arange(10, dtype="f4")}
    )
    done = command("eval", "out", "--json")
    assert done.returncode == 1
    assert [one["same"] for one in json.loads(done.stdout)] == [False, True]
    np.savez(out / "SGD/weights.npz", **arrays | {"Linear2.bias": np.zeros(9, "f4")})
    done = command("eval", "out", "--lane", "SGD")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Linear2.bias is float32 (9,), not float32 (10,)" in done.stderr
    done = command("eval", "out", "--lane", "Adm")
    assert "out has no lane Adm; its lanes are SGD, Adam" in done.stderr


def test_other_data_is_reported() -> None:
    Path("table.csv").write_text(TABLE.replace("NA", "2"))
    trained_here(spec("Linear(4); ReLU; Linear(2)", data='CSV("table.csv", target="name")'))
    Path("table.csv").write_text(TABLE.replace("NA", "3"))
    done = command("eval", "out")
    assert done.returncode == 1
    assert "! this is not the data of the run, but CSV" in done.stdout


# Predictions


def test_a_predictor_gives_what_the_network_gave() -> None:
    for name in ("dense", "conv", "dropout and scaling"):
        out = trained(SPECS[name])
        lane = open_lane = runs.open_run(out).lanes[-1]
        (one,) = runs.evaluate(out, lane)
        outputs = runs.load(out, open_lane).outputs(one.dataset.test.x)
        np.testing.assert_allclose(outputs, one.outputs, rtol=1e-4, atol=1e-5, err_msg=f"{name} {lane}")
        odds = runs.load(out, lane).probabilities(outputs)
        assert odds is not None
        np.testing.assert_allclose(odds.sum(axis=1), 1)


def test_where_the_first_seed_left_nothing_the_next_one_is_asked() -> None:
    out = trained(SPECS["repeats"])
    (weights,) = out.glob("run/seed-0.npz")
    weights.unlink()
    assert runs.load(out).seed == 1
    with pytest.raises(RunError, match="has no weights for"):
        runs.load(out, seed=0)


def test_classes_of_a_text_are_its_characters() -> None:
    Path("letters.txt").write_text("abba cab " * 60)
    model, train = "Embedding(8); Linear(4)", "epochs = 1; sample = 5"
    trained_here(spec(model, data='Text("letters.txt", context=8)', train=train))
    done = command("eval", "out", "--confusion")
    assert re.search(r"most often mistakes '[abc ]' for '[abc ]' \(\d+×\)", done.stdout), done.stdout


def test_probabilities_are_those_of_the_last_layer_where_the_loss_bends_nothing() -> None:
    """Whether outputs are logarithms is known from the layer, not seen in the numbers: a batch changes nothing."""
    x = np.random.default_rng(0).integers(0, 256, (20, 784)).astype(float)
    network = runs.load(trained(spec("Linear(10); LogSoftmax", loss="NLL")))
    odds = network.probabilities(network.outputs(x))
    assert odds is not None
    np.testing.assert_allclose(odds.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(odds, np.exp(network.outputs(x).astype(float)))
    bare = runs.load(trained(spec("Linear(10)", loss="NLL")))
    for count in (1, 20):
        assert bare.probabilities(bare.outputs(x[:count])) is None
    hinge = runs.load(trained(spec("Linear(10); Softmax", loss="Hinge")))
    given = hinge.probabilities(hinge.outputs(x))
    assert given is not None
    np.testing.assert_array_equal(given, hinge.outputs(x))


def test_escape_codes_of_a_table_reach_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    red = "\x1b[31m"
    Path("odd.csv").write_text(f"a,{red}b,kind,target\n" + f"1,2,{red}u,x\n2,1,v,y\n3,4,{red}u,x\n4,1,v,y\n" * 4)
    trained_here(spec("Linear(4); ReLU; Linear(2)", data='CSV("odd.csv", target="target", test=0.25)'))
    for text in (
        f"a,{red}c,kind\n1,2,v\n",
        f"a,{red}b,kind\n1,{red},v\n",
        f"a,{red}b,kind\n1,2,{red}w\n",
        f"{red}b,kind\n2,v\n",
        "1,2,3\n",
        f"a,{red}b,{red}b\n1,2,v\n",
        f"a,{red}b,kind\n1,2,v,{red}\n",
    ):
        Path("new.csv").write_text(text)
        with pytest.raises(FileFault) as fault:
            runs.predict(runs.load("out"), ["new.csv"])
        assert "\x1b" not in str(fault.value), ascii(fault.value)
    said: list[str] = []
    monkeypatch.setattr("click.echo", lambda text, **more: said.append(text))
    assert main_code(["predict", "out", "no\x1b[31msuch.csv"]) == main_code(["eval", "no\x1b[31msuch\nrun"]) == 2
    assert len(said) == 2
    assert not any("\x1b" in text for text in said), said


def test_the_best_lane_is_asked_unless_one_is_named() -> None:
    out = trained(IMAGES)
    finals = {lane["name"]: lane["final"]["test_loss"] for lane in runs.open_run(out).summary["lanes"]}
    assert runs.load(out).lane == min(finals, key=finals.__getitem__)
    assert runs.load(out, "SGD").lane == "SGD"
    trained(SPECS["repeats"])
    assert [runs.load(out, seed=seed).seed for seed in (None, 1, 2)] == [0, 1, 2]
    with pytest.raises(RunError, match="was not trained with seed 9, but with 0, 1, 2"):
        runs.load(out, seed=9)


def test_arrays_tables_and_images_give_the_same_classes() -> None:
    out = trained(IMAGES)
    (one,) = runs.evaluate(out, "Adam")
    x, classes = one.dataset.test.x[:6], one.predicted
    assert classes is not None
    np.savez("x.npz", x=x)
    np.save("x.npy", x.reshape(-1, 28, 28))
    np.save("one.npy", x[0].reshape(28, 28))
    np.savetxt("x.csv", x, delimiter=",", fmt="%d")
    np.savetxt("named.csv", x, delimiter=";", fmt="%d", header=";".join(f"p{i}" for i in range(784)), comments="")
    for file, count in (("x.npz", 6), ("x.npy", 6), ("one.npy", 1), ("x.csv", 6), ("named.csv", 6)):
        done = command("predict", "out", file, "--lane", "Adam", "--json")
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)
        assert [row["class"] for row in rows] == [str(label) for label in classes[:count]], file
        assert all(0.1 <= row["probability"] <= 1 for row in rows)


def test_images_are_scaled_and_turned_as_they_are_asked_to_be() -> None:
    image = pytest.importorskip("PIL.Image", reason="reading images takes Pillow")
    out = trained(IMAGES)
    (one,) = runs.evaluate(out, "Adam")
    pixels, classes = one.dataset.test.x[0].reshape(28, 28), one.predicted
    assert classes is not None
    image.fromarray(pixels).save("exact.png")
    image.fromarray(255 - pixels).save("dark.png")
    image.fromarray(pixels).resize((84, 84), image.Resampling.NEAREST).convert("RGB").save("large.png")
    glass = image.fromarray(pixels).convert("LA")
    glass.putalpha(image.fromarray(255 * (pixels > 0).astype(np.uint8)))
    glass.save("glass.png")
    files = ["exact.png", "dark.png", "large.png", "glass.png"]
    done = command("predict", "out", *files, "--lane", "Adam", "--json")
    rows = json.loads(done.stdout)
    assert rows[0]["class"] == rows[2]["class"] == str(classes[0])
    bright = "has a bright border, and the images that were trained on a dark one; --invert swaps dark and bright"
    assert done.stderr.splitlines() == [
        f"note: dark.png {bright}",
        "note: large.png was scaled from 84×84 to 28×28",
        f"note: glass.png {bright}",
    ]
    done = command("predict", "out", "dark.png", "--invert", "--lane", "Adam", "--json")
    assert json.loads(done.stdout)[0] | {"sample": ""} == rows[0] | {"sample": ""}
    Path("pictures/sevens").mkdir(parents=True)
    for i in range(6):
        image.fromarray(pixels).resize((30, 30)).save(f"pictures/sevens/{i}.png")
    image.fromarray(pixels).save("pictures/first.png")
    done = command("predict", "out", "pictures", "--lane", "Adam", "--json")
    names = [row["sample"] for row in json.loads(done.stdout)]
    assert names == ["pictures/first.png", *(f"pictures/sevens/{i}.png" for i in range(6))]
    assert done.stderr.splitlines()[-1] == "note: and so on for 2 more"
    Path("broken.png").write_bytes(Path("exact.png").read_bytes()[:60])
    done = command("predict", "out", "broken.png")
    assert (done.returncode, done.stdout) == (2, "")
    assert "broken.png is not an" in done.stderr


def test_a_table_is_read_by_the_names_of_its_columns() -> None:
    Path("table.csv").write_text(TABLE)
    model = "Linear(8); ReLU; Linear(2)"
    out = trained_here(
        spec(
            model,
            data='CSV("table.csv", target="name", missing=mean)',
            train="epochs = 30; batch = 8; standardise = true",
        )
    )
    (one,) = runs.evaluate(out)
    assert one.dataset.class_names == ("cat", "dog")
    with Path("table.csv").open() as file:
        rows = list(csv.DictReader(file))
    with Path("new.csv").open("w") as file:
        writer = csv.DictWriter(file, ["weight", "note", "kind", "height"])  # another order, one column more, no target
        writer.writeheader()
        writer.writerows({**{k: v for k, v in row.items() if k != "name"}, "note": "x"} for row in rows)
    Path("table.csv").unlink()  # the run knows its columns without it
    with pytest.raises(NnspecError, match="file not found: table"):
        runs.evaluate(out)
    Path("table.csv").write_text(TABLE)
    predictor = runs.load(out)
    (found,) = runs.predict(predictor, ["new.csv"])
    whole = np.concatenate([one.dataset.train.x, one.dataset.test.x])
    expected = {tuple(np.round(row, 9)): tuple(out) for row, out in zip(whole, predictor.outputs(whole), strict=True)}
    assert len(found.names) == 60
    inputs = runs.predict(predictor, ["new.csv"])[0].outputs
    assert {tuple(row) for row in inputs} == set(expected.values())
    done = command("predict", "out", "new.csv", "--out", "told.csv")
    assert done.stdout == "told.csv: 60 samples, by lane run, seed 0\n"
    with Path("told.csv").open() as file:
        told = [row["class"] for row in csv.DictReader(file)]
    assert np.mean([guess == row["name"] for guess, row in zip(told, rows, strict=True)]) > 0.9


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", "1,2,3\n", "a.csv has 3 columns, and the network takes 784 numbers a sample"),
        ("a.csv", ",".join(["1"] * 785), "leave the column of labels out"),
        ("a.csv", ",".join(["1"] * 783 + ["nan"]), "line 1, column 784: `nan` is not a usable number"),
        ("a.csv", ",".join(["1"] * 784) + "\n1,2\n", "line 2: 2 cells, but the first line has 784"),
        ("a.xyz", "1", "the format of a.xyz is unknown"),
        ("a.npy", "1", "a.npy"),
        ("a.npz", "PK", "a.npz is not an .npz file"),
        ("a.csv", "\udcff", "a.csv"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_words(name: str, content: str, message: str) -> None:
    trained(IMAGES)
    Path(name).write_bytes(content.encode(errors="surrogateescape"))
    done = command("predict", "out", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_shapes_objects_and_nan_in_arrays_are_refused() -> None:
    out = trained(IMAGES)
    for array, message in (
        (np.zeros((3, 7)), "holds 3×7, but the network expects samples of 28×28"),
        (np.full((2, 784), np.nan), "is NaN"),
        (np.array([{}], dtype=object), "never unpickled"),
        (np.zeros((2, 28, 14, 2)), "holds 2×28×14×2"),
    ):
        np.save("a.npy", array, allow_pickle=True)
        with pytest.raises(DataError, match=message):
            runs.predict(runs.load(out), ["a.npy"])


def test_nothing_is_written_over_unasked() -> None:
    out = trained(IMAGES)
    np.save("x.npy", np.zeros((1, 784)))
    Path("told.json").write_text("mine")
    done = command("predict", "out", "x.npy", "--out", "told.json")
    assert (done.returncode, Path("told.json").read_text()) == (2, "mine")
    assert command("predict", "out", "x.npy", "--out", "told.json", "--force").returncode == 0
    assert json.loads(Path("told.json").read_text())[0]["sample"] == "x.npy:0"
    assert command("predict", "out").returncode == 2
    Path("w.npz").write_text("mine")
    with pytest.raises(OutputError, match="already exists"):
        runs.export_weights(out, "w.npz")


def test_a_text_is_written_on() -> None:
    trained(shipped("names_rnn.nn"), set={"train.epochs": 1})
    done = command("predict", "out", "--prompt", "an", "--length", "30")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("an")
    assert len(done.stdout) == 2 + 30 + 1
    assert ("these characters do not occur in the training data: '€'") in command(
        "predict", "out", "--prompt", "€"
    ).stderr
    trained(IMAGES)
    assert "was not trained on text" in command("predict", "out", "--prompt", "a").stderr


# Export


@pytest.mark.parametrize("name", ["conv", "dropout and scaling", "repeats"])
def test_exported_weights_are_those_of_the_run(name: str) -> None:
    safetensors = pytest.importorskip("safetensors", reason="takes nnspec[safetensors]")
    from safetensors.numpy import load_file

    out = trained(SPECS[name])
    saved = runs.open_run(out)
    for seed in saved.seeds("run"):
        arrays = saved.weights("run", seed)
        for file in ("w.safetensors", "w.npz"):
            runs.export_weights(out, file, seed=seed, force=True)
            found = load_file(file) if file.endswith("safetensors") else dict(np.load(file))
            found.pop("__metadata__", None)  # the certificate of an .npz
            assert found.keys() == arrays.keys()
            for key, array in arrays.items():
                assert found[key].dtype == array.dtype
                np.testing.assert_array_equal(found[key], array)
    with safetensors.safe_open("w.safetensors", "np") as file:
        assert file.metadata()["lane"] == "run"
        assert file.metadata()["identity"] == saved.manifest.identity
    data = Path("w.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert set(json.loads(data[8 : 8 + length])) == {"__metadata__", *saved.weights("run")}


def test_export_says_what_it_writes_and_where() -> None:
    trained(IMAGES)
    done = command("export", "out", "w.npz", "--lane", "SGD")
    assert (done.returncode, done.stdout) == (0, "w.npz\n")
    with pytest.raises(NnspecError, match=r"as \.safetensors or \.npz, and w\.onnx ends in neither"):
        runs.export_weights("out", "w.onnx")


# What attacks found


def test_an_autoencoder_of_pictures_with_labels_has_no_confusion() -> None:
    trained(SPECS["autoencoder"])
    done = command("eval", "out", "--confusion")
    assert done.returncode == 0, done.stderr
    assert "as recorded, bit for bit" in done.stdout


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (",".join(["1"] * 783 + ["O"]), "the first line of a.csv holds `O`, and otherwise numbers"),
        (",".join(["1"] * 783 + [""]), "holds an empty cell between numbers"),
        (",".join(f"p{i % 783}" for i in range(784)), "has two columns `p0`"),
        (",".join(["1e300"] * 784), "a.csv contains 1e+300: the limit is 3e+38"),
    ],
)
def test_a_first_line_is_names_or_numbers_and_no_row_is_lost(first: str, message: str) -> None:
    trained(IMAGES)
    Path("a.csv").write_text(first + "\n" + ",".join(["1"] * 784) + "\n")
    done = command("predict", "out", "a.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_fractions_in_place_of_bytes_are_noted_and_used_unchanged() -> None:
    out = trained(IMAGES)
    (one,) = runs.evaluate(out, "Adam")
    x = one.dataset.test.x[:4]
    np.savetxt("share.csv", x / 255, delimiter=",", fmt="%.9f")
    np.save("odd.npy", x * 3.0)
    (found,) = runs.predict(runs.load(out, "Adam"), ["share.csv"])
    assert "but the network was trained on 0 to 255" in found.notes[0]
    with pytest.warns(UserWarning, match="but the network was trained on 0 to 255"):
        expected = runs.load(out, "Adam").outputs(x / 255)
    np.testing.assert_allclose(found.outputs, expected, rtol=1e-3, atol=1e-4)
    (found,) = runs.predict(runs.load(out, "Adam"), ["odd.npy"])
    assert "but the network was trained on 0 to 255" in found.notes[0]


def test_sixteen_bits_a_pixel_are_not_cut_off() -> None:
    image = pytest.importorskip("PIL.Image", reason="reading images takes Pillow")
    from nnspec.data.images import read_image

    levels = (np.arange(784).reshape(28, 28) * 83).astype(np.uint16)
    image.fromarray(levels).save("deep.png")
    pixels, _ = read_image("deep.png", (28, 28))
    np.testing.assert_array_equal(pixels, levels >> 8)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["lanes"][0].update(data=7),
        lambda r: r["lanes"][0].update(name="other"),
        lambda r: r["lanes"][0].pop("final"),
        lambda r: r["lanes"][0].update(final=[1]),
        lambda r: r["lanes"][0]["final"].update(test_loss="x"),
        lambda r: r["data"][0].pop("sha256"),
        lambda r: r["data"][0].update(divisor=0),
        lambda r: r["lanes"][0].update(seed=1e400),
        lambda r: r.update(lanes=7),
    ],
)
def test_damaged_records_are_reported(change: Any) -> None:
    out = trained(spec())
    record = json.loads((out / "summary.json").read_text())
    change(record)
    (out / "summary.json").write_text(json.dumps(record))
    np.save("x.npy", np.zeros((1, 784)))
    refused = 0
    for words in (("eval", "out"), ("predict", "out", "x.npy"), ("verify", "out", "out")):
        done = command(*words)
        assert done.returncode in (0, 1, 2), done.stderr
        assert "Traceback" not in done.stderr
        refused += done.returncode == 2
        assert done.returncode < 2 or re.search(r"out\S* (is damaged|has no)|or out is damaged", done.stderr), (
            done.stderr
        )
    assert refused, "a command that needs what was changed says so"


def test_no_byte_of_the_weights_makes_a_fault(here: Path) -> None:
    out = trained(spec("Linear(10)"))
    honest = (out / "run/weights.npz").read_bytes()
    saved = runs.open_run(out)
    for place in range(400):
        (out / "run/weights.npz").write_bytes(honest[:place] + bytes([honest[place] ^ 87]) + honest[place + 1 :])
        try:
            runs.load(out)
        except RunError:
            continue
    for place in range(len(honest) - 700, len(honest)):
        (out / "run/weights.npz").write_bytes(honest[:place] + bytes([honest[place] ^ 87]) + honest[place + 1 :])
        try:
            saved.weights("run")
        except RunError:
            continue


def test_arrays_of_a_folder_are_no_larger_than_their_file(here: Path) -> None:
    """A few bytes that unpack to gigabytes are refused before any of them is made: nnspec does not compress arrays."""
    out = trained(spec("Linear(10)"))
    saved = runs.open_run(out)
    file = out / "run/weights.npz"
    np.savez_compressed(file, **saved.weights("run"), bomb=np.zeros(1 << 24))
    assert file.stat().st_size < 1 << 18
    with pytest.raises(RunError, match=r"weights.npz is damaged .*it is compressed"):
        saved.weights("run")
    (checkpoint,) = (out / "checkpoints").rglob("*.npz")
    with np.load(checkpoint) as archive:
        arrays = dict(archive)
    np.savez_compressed(checkpoint, **arrays)
    with pytest.raises(CheckpointError, match="cannot be used: it is damaged"):
        run("tiny.nn", out="out", resume=True)


def test_an_interrupted_run_has_the_weights_of_its_last_whole_epoch(here: Path) -> None:
    from functools import partial

    from tiny_spec import OFFLINE

    from nnspec.api import compile_spec, run_into
    from nnspec.compiler.plan import Plan
    from nnspec.records.folder import RunFolder
    from nnspec.training.observer import Silent

    (here / "tiny.nn").write_text(spec(train="epochs = 9; batch = 8"))
    honest, steps = Plan.train_batch, []

    def pressed(plan: Plan, number: int) -> Any:
        steps.append(number)
        if len(steps) == 24:  # amid the fourth epoch of seven steps
            raise KeyboardInterrupt
        return honest(plan, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "train_batch", pressed)
        result = run_into(
            compile_spec("tiny.nn"),
            OFFLINE,
            Silent(),
            partial(RunFolder.make, "tiny.nn", "out"),
            options=RunOptions(jobs=1),
        )
    assert result["run"].message == "after 3 of 9 epochs"
    (one,) = runs.evaluate("out")
    assert (one.same, one.status) == (True, "interrupted")
    assert runs.verify("out", "out").same
    assert runs.verify("out").same


def test_an_old_record_does_not_stay_beside_a_new_spec(here: Path) -> None:
    out = trained(spec())
    from nnspec.records.folder import RunFolder
    from nnspec.records.saved import Manifest

    folder = RunFolder.make("tiny.nn", out, force=True)
    folder.begin(Manifest("tiny.nn", "another"), "", resume=False)
    folder.leave()
    with pytest.raises(RunError, match=r"has no summary\.json"):
        _ = runs.open_run(out).summary


def test_verifying_nothing_is_a_failure() -> None:
    out = trained(spec())
    (out / "trace.json").write_text('{"format": 1, "lanes": {}}')
    with pytest.raises(RunError, match="have no lane and seed in common"):
        runs.verify(out, out)


def test_standardisation_and_forms_of_weights_are_verified() -> None:
    out = trained(SPECS["dropout and scaling"])
    assert runs.verify(out, out).same
    file = out / "run/weights.npz"
    arrays = dict(np.load(file))
    for name, array, text in (
        ("input.mean", arrays["input.mean"] + 9, "input.mean in"),
        ("Linear2.bias", arrays["Linear2.bias"].view("i4"), "Linear2.bias in"),
        ("Linear2.bias", arrays["Linear2.bias"].reshape(2, 5), "Linear2.bias in"),
        ("more", np.zeros(3), "has more, which is not in the recorded result of training"),
    ):
        np.savez(file, **arrays | {name: array})
        (spoilt,) = runs.verify(out, out).spoilt
        assert text in spoilt

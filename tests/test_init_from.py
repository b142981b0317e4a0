"""Initial weights from files: names, shapes and dtypes, hostile files, and the same bits however lanes are trained."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_files import HOSTILE, refused
from numpy.typing import NDArray
from tiny_spec import ALONE, OFFLINE, TOGETHER, command, compiled, run, spec

import nnspec
from nnspec import runs
from nnspec.api import identity_of
from nnspec.checker import check
from nnspec.checker.program import Experiment
from nnspec.compiler.plan import build_network
from nnspec.data.source import DataError
from nnspec.data.weights import Weights
from nnspec.diagnostics import Source, render_all
from nnspec.results.digests import next_digest
from nnspec.results.run import RunResult
from nnspec.runner.load_data import load_data
from nnspec.runner.load_weights import with_all_weights, with_weights
from nnspec.runner.options import RunOptions
from nnspec.training.groups import train_together, trainings
from nnspec.training.observer import Silent

ORACLE = Path(__file__).parent / "oracle"
MODEL = "stem: Linear(6); bn: BatchNorm; ReLU; head: Linear(10)"
FINE = spec(
    MODEL,
    data="Digits(train=60, test=20, seed=3)",
    race="all { }; rest { train.freeze = [stem] }; new { init_from.head = none }; random { init_from = none }",
    more='seed = 7\noptimizer = SGD(lr=0.1)\ninit_from = "pretrained"',
)


def safetensors(tensors: Mapping[str, NDArray[Any]], **names: str) -> bytes:
    """Return the bytes of a safetensors file; `names` are other dtypes."""
    head: dict[str, Any] = {}
    at = 0
    for name, array in tensors.items():
        dtype = names.get(name, f"{array.dtype.kind.upper()}{8 * array.itemsize}")
        head[name] = {"dtype": dtype, "shape": [*array.shape], "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values())


def header(text: str | dict[str, Any], data: bytes = b"") -> bytes:
    """Return the bytes of a safetensors file with this header."""
    head = (text if isinstance(text, str) else json.dumps(text)).encode()
    return len(head).to_bytes(8, "little") + head + data


def errors(text: str, *flags: str) -> str:
    """Return what `check` says of a spec that has errors."""
    checked = check(Source("tiny.nn", text), [Source("--set", flag) for flag in flags])
    assert checked.program is None
    return render_all(checked.diagnostics)


def starts(result: RunResult, lane: str) -> dict[str, str]:
    """Return the digests of a lane's tensors before training."""
    found: dict[str, str] = result[lane].fingerprints["start"]
    return found


def digest(array: NDArray[Any]) -> str:
    """Return the digest of a parameter, as `starts` has them."""
    return next_digest(str(array.shape), array)


def digests(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """Return the digests of all parameters, without the state of layers."""
    return {name: digest(array) for name, array in arrays.items() if ".running_" not in name}


def bits(result: RunResult) -> dict[str, Any]:
    """Return the weights and curves of each lane."""
    return {
        one.label: ({name: array.tobytes() for name, array in one.network.state_dict().items()}, one.history)
        for lane in result.lanes.values()
        for one in lane.repeats or (lane,)
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pretrained run and its weights in other files."""
    folder = tmp_path_factory.mktemp("init-from")
    (folder / "pre.nn").write_text(spec(MODEL, more="seed = 1"))
    nnspec.run(folder / "pre.nn", out=folder / "pretrained")
    with np.load(folder / "pretrained/run/weights.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    (folder / "w.safetensors").write_bytes(safetensors(arrays))
    np.savez_compressed(folder / "w.npz", **arrays)
    (folder / "w.pt").write_bytes(pickle.dumps(arrays))
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, which is the working folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pretrained() -> dict[str, NDArray[Any]]:
    """Return the weights of the pretrained run."""
    return runs.open_run("pretrained").weights("run")


# What is loaded


@pytest.mark.parametrize(
    "path", ["pretrained", "pretrained/", "pretrained/run", "pretrained/run.json", "w.npz", "w.safetensors"]
)
def test_a_network_starts_from_a_run_or_a_file(here: Path, path: str) -> None:
    result = run(FINE.replace('"pretrained"', f'"{path}"'), ways=TOGETHER)
    weights = digests(pretrained())
    for lane in ("all", "rest"):
        assert starts(result, lane) == weights
    drawn = starts(run(spec(MODEL, data="Digits(train=60, test=20, seed=3)", more="seed = 7")), "run")
    assert starts(result, "random") == drawn
    assert starts(result, "new") == {name: (drawn if name.startswith("head") else weights)[name] for name in weights}, (
        "a head that is not loaded is the one of a network that loads nothing"
    )
    assert starts(result, "all") != drawn


def test_a_layer_may_have_a_file_of_its_own_and_another_name_there(here: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "net.fc.weight": rng.normal(size=(6, 784)).astype(np.float32),
        "net.fc.bias": rng.normal(size=6).astype(np.float32),
    }
    np.savez("foreign.npz", **arrays)
    text = spec(
        MODEL, more='init_from = "pretrained"\ninit_from.stem = Weights("foreign.npz", layer="net.fc", transpose=true)'
    )
    arrays_of = digests(pretrained())
    arrays_of |= {
        "stem.weight": digest(np.ascontiguousarray(arrays["net.fc.weight"].T)),
        "stem.bias": digest(arrays["net.fc.bias"]),
    }
    assert starts(run(text), "run") == arrays_of
    prefixed = {f"model.{name}": array for name, array in pretrained().items()}
    np.savez("prefixed.npz", **prefixed)
    whole = run(spec(MODEL, more='init_from = Weights("prefixed.npz", layer="model")'))
    assert starts(whole, "run") == digests(pretrained())


def test_kinds_copies_and_sections_select_as_for_training_by_layer(here: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez("h.npz", **{"one.weight": rng.normal(size=(6, 6)).astype("f4"), "one.bias": np.ones(6, "f4")})
    text = spec(
        "Linear(6); h: Linear(6) * 2; Linear(10)",
        more='init_from { h = Weights("h.npz", layer="one"); h2.bias = none }',
    )
    result = starts(run(text), "run")
    assert result["h1.weight"] == result["h2.weight"]
    assert result["h1.bias"] == digest(np.ones(6, "f4"))
    assert result["h2.bias"] == digest(np.zeros(6, "f4"))
    found = starts(run(FINE, "all.init_from.bias=none", "all.init_from.BatchNorm=none"), "all")
    loaded = {name for name, value in digests(pretrained()).items() if value == found[name]}
    assert loaded == {"stem.weight", "head.weight"}


def test_a_network_of_pytorch_computes_the_same_here(tmp_path: Path) -> None:
    record = json.loads((ORACLE / "weights.json").read_text())
    text = spec(
        "fc1: Linear(5); norm: BatchNorm; Tanh; fc2: Linear(5); Tanh; fc3: Linear(3)",
        data="Blobs(features=6, train=20, test=10)",
        more=f'dtype = float64\ninit_from = Weights("{ORACLE / "weights.safetensors"}", transpose=true)',
    )
    lane = with_weights(compiled(text).program.lanes[0])
    assert lane.initial is not None
    assert {each.name: each.stored for each in lane.initial.tensors} == {
        **dict.fromkeys(("fc1.weight", "fc1.bias", "norm.weight", "norm.bias"), "float32"),
        **dict.fromkeys(("norm.running_mean", "norm.running_var"), "float32"),
        **dict.fromkeys(("fc2.weight", "fc2.bias"), "bfloat16"),
        **dict.fromkeys(("fc3.weight", "fc3.bias"), "float16"),
    }
    (path,) = lane.initial.files
    assert lane.initial.unused(path) == ["norm.num_batches_tracked"]
    outputs = build_network(lane).eval()(np.array(record["x"]))
    np.testing.assert_allclose(outputs, record["outputs"], rtol=1e-12)


def test_our_own_reader_agrees_with_the_library(here: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.normal(size=(3, 4)),
        "b": rng.normal(size=7).astype("f2"),
        "c": np.array(2.5, "f4"),
        "d": np.zeros((0, 2)),
    }
    library.save_file({**arrays, "n": np.arange(3)}, "lib.safetensors", metadata={"by": "test"})
    weights = Weights("lib.safetensors")
    facts = weights.facts()
    assert {each.name: (each.dtype, each.shape) for each in facts.tensors} == {
        **{name: (str(array.dtype), array.shape) for name, array in arrays.items()},
        "n": ("int64", (3,)),
    }
    for name, array in weights.load(facts, arrays).items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == arrays[name].dtype


# The same bits


@pytest.mark.parametrize(
    "ways",
    [ALONE, RunOptions(jobs=2, stack=False), replace(TOGETHER, compiled="never")],
    ids=["alone", "jobs", "numpy"],
)
def test_bits_do_not_depend_on_how_lanes_are_trained(here: Path, ways: RunOptions) -> None:
    text = FINE.replace("epochs = 2", "epochs = 2; repeats = 2")
    together = bits(run(text))
    assert together == bits(run(text, ways=ways))
    assert len({one[1]["loss"][0] for label, one in together.items() if label.startswith("all")}) == 2


def test_a_worker_needs_no_file(here: Path) -> None:
    program = compiled(FINE)
    here_trained = bits(run(FINE))
    loaded = replace(program, program=with_all_weights(program.program))
    group = tuple(trainings(loaded))
    dataset, _ = load_data(program.program, OFFLINE)["all"]
    sent = pickle.loads(pickle.dumps(group[0].experiment.initial))
    shutil.rmtree("pretrained")
    assert sent.complete
    lane = replace(group[0], experiment=replace(group[0].experiment, initial=sent))
    (trained,) = train_together((lane,), dataset, Silent())
    arrays = {name: array.tobytes() for name, array in trained.network.state_dict().items()}
    assert arrays == here_trained["all"][0]


def test_weights_that_were_not_read_are_never_taken_for_random_ones(here: Path) -> None:
    program = compiled(FINE)
    dataset, _ = load_data(program.program, OFFLINE)["all"]
    with pytest.raises(RuntimeError, match="initial weights were not read"):
        train_together(tuple(trainings(program))[:1], dataset, Silent())


def test_a_resumed_run_has_the_same_bits_and_notices_another_file(here: Path) -> None:
    Path("fine.nn").write_text(FINE)
    whole = nnspec.run("fine.nn", {"train.epochs": 4}, out="whole")
    nnspec.run("fine.nn", {"train.epochs": 2}, out="part", checkpoint=0)
    assert bits(nnspec.run("fine.nn", {"train.epochs": 4}, out="part", resume=True)) == bits(whole)
    assert runs.verify("part").same
    weights = Path("pretrained/run/weights.npz")
    arrays = pretrained()
    arrays["stem.bias"][0] += 1
    np.savez(weights, **arrays)
    with pytest.raises(nnspec.OutputError, match=r"`init_from.sha256` of all, rest, new was \w+ and is now \w+"):
        nnspec.run("fine.nn", {"train.epochs": 4}, out="part", resume=True)
    done = command("verify", "part")
    assert done.returncode == 2
    assert re.search(r"weights.npz has changed: its sha256 is \w{12}…, not \w{12}…; restore the file", done.stderr)


def test_a_run_needs_the_file_no_more(here: Path) -> None:
    Path("fine.nn").write_text(FINE)
    nnspec.run("fine.nn", out="fine")
    (before,) = runs.evaluate("fine", "all")
    shutil.rmtree("pretrained")
    assert runs.evaluate("fine", "all")[0].figures == before.figures
    x = np.zeros((2, 28, 28), np.uint8)
    assert runs.load("fine", "all").predict(x).shape == (2,)
    runs.export_weights("fine", "out.npz", "all")
    done = command("verify", "fine")
    assert (done.returncode, "not found: " in done.stderr) == (2, True)


def test_gradients_are_checked_at_the_loaded_weights(here: Path) -> None:
    text = spec("stem: Linear(6); Tanh; head: Linear(10)", expect="gradient_error < 1e-7", more="seed = 7")
    arrays = {name: array for name, array in pretrained().items() if not name.startswith("bn")}
    np.savez("plain.npz", **arrays)
    loaded = run(text, 'init_from="plain.npz"')
    drawn = run(text)
    assert loaded.verdicts[0].held
    assert loaded.gradient_error != drawn.gradient_error
    (proof,) = nnspec.gradcheck(nnspec.Spec.parse(text).with_(init_from='"plain.npz"'))
    assert proof.holds
    both = text.replace(
        "optimizer = SGD(lr=0.1)", 'race { SGD(lr=0.1); loaded { optimizer = SGD; init_from = "plain.npz" } }'
    )
    result = run(both)
    assert result.gradients["SGD"].error != result.gradients["loaded"].error, (
        "networks that start apart are checked apart"
    )
    assert len(nnspec.gradcheck(nnspec.Spec.parse(both))) == 2


def test_dtypes_are_converted_and_that_is_said(here: Path) -> None:
    arrays = {name: array.astype(np.float64) for name, array in pretrained().items()}
    np.savez("double.npz", **arrays)
    result = run(FINE.replace("pretrained", "double.npz"))
    assert starts(result, "all") == starts(run(FINE), "all")
    assert "converted from float64 to float32" in result.notes[0]
    arrays["head.bias"][3] = 1e300
    np.savez("double.npz", **arrays)
    with pytest.raises(DataError, match=r"head.bias\[3\] is 1e\+300, which is too large for float32"):
        run(FINE.replace("pretrained", "double.npz"))
    assert run(FINE.replace("pretrained", "double.npz"), "dtype=float64", "train.epochs=1")["all"].status != "failed"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_must_be_finite(here: Path, value: float) -> None:
    arrays = pretrained()
    arrays["stem.weight"][2, 1] = value
    Path("bad.safetensors").write_bytes(safetensors(arrays))
    with pytest.raises(DataError, match=rf"stem.weight\[2, 1\] is {value:g}; load other weights"):
        run(FINE.replace("pretrained", "bad.safetensors"))


# What is said


def test_what_was_loaded_and_what_was_not_is_listed(here: Path) -> None:
    Path("fine.nn").write_text(FINE)
    result = nnspec.run("fine.nn", out="fine")
    sha256 = hashlib.sha256(Path("pretrained/run/weights.npz").read_bytes()).hexdigest()
    both, new = result.notes[:2]
    names = "stem.weight, stem.bias, bn.weight, bn.bias, bn.running_mean, bn.running_var"
    assert both == f"all, rest: 8 tensors start from pretrained (sha256 {sha256[:12]}): {names}, …"
    assert "not used from the file: head.weight, head.bias; newly initialised: head.weight, head.bias" in new
    summary = runs.open_run("fine").summary
    assert both in summary["notes"]
    lanes = {lane["name"]: lane.get("init_from") for lane in summary["lanes"]}
    assert lanes["random"] is None
    assert lanes["new"]["not_loaded"] == ["head.weight", "head.bias"]
    assert lanes["new"]["files"] == [
        {"path": "pretrained", "file": "run/weights.npz", "sha256": sha256, "unused": ["head.weight", "head.bias"]}
    ]
    shown = command("show", "fine.nn").stdout
    assert f"init from         pretrained (sha256 {sha256[:12]})" in shown
    assert "head.weight     newly initialised" in shown
    assert "init_from.head" in command("show", "fine.nn", "--resolved").stdout
    assert "--- " not in command("diff", "fine.nn", "fine.nn").stdout


def test_the_digest_of_the_file_is_part_of_what_an_experiment_means(here: Path) -> None:
    plain, before = compiled(FINE, "init_from=none", "new.init_from.head='w.npz'"), compiled(FINE)
    assert identity_of(compiled(FINE)) == identity_of(before) != identity_of(plain)
    arrays = pretrained()
    arrays["head.bias"][0] += 1
    np.savez("pretrained/run/weights.npz", **arrays)
    assert identity_of(compiled(FINE)) != identity_of(before)


def test_a_spec_that_loads_nothing_means_what_it_meant(here: Path) -> None:
    assert identity_of(compiled(spec(MODEL))) == identity_of(compiled(spec(MODEL), "init_from=none"))


@pytest.mark.parametrize(
    ("model", "value", "said"),
    [
        (
            "stem: Linear(5); bn: BatchNorm; ReLU; head: Linear(10)",
            '"w.npz"',
            "has shape 784×6, but `stem.weight` has shape 784×5; 6 more",
        ),
        (
            "stem: Linear(6); ReLU; hed: Linear(10)",
            '"w.npz"',
            "w.npz has no tensor `hed.weight`; 1 more tensor does not fit",
        ),
        ("stem: Linear(6); ReLU; hed: Linear(10)", '"w.npz"', 'write `init_from.hed = Weights("w.npz", layer="head")`'),
        (MODEL, 'Weights("w.npz", layer="net")', "w.npz has no tensor `net.stem.weight`"),
        (MODEL, 'Weights("w.npz", transpose=true)', "shape 784×6, transposed 6×784, but `stem.weight` has shape 784×6"),
        (MODEL, 'Weights("w.npz", transpose=true)', 'this file stores them as (in, out); write `init_from = "w.npz"`'),
        (MODEL, '"w.pt"', "safetensors.torch.save_file"),
        (MODEL, '"nothing.npz"', "file not found: nothing.npz"),
        (MODEL, '"pretraned"', 'did you mean `"pretrained"`?'),
        (MODEL, '"."', ". contains no trained weights"),
        (MODEL, "3", "`init_from` must be a path in quotes or a weights file or none, not 3"),
        (MODEL, "w", "unknown name `w`"),
        (MODEL, "w.npz", 'write a path in quotes: `"w.npz"`'),
        (MODEL, '"pretrained/Adam"', "error[NN502]: pretrained has no lane Adam"),
        (MODEL, '"pretrained/Adam"', 'its weights are in `"pretrained/run"`'),
        (MODEL, '["w.npz"]', "`init_from` must be a path in quotes"),
        (MODEL, 'CSV("w.npz", target="x")', "is a data source"),
    ],
)
def test_mistakes_are_reported_at_their_line(here: Path, model: str, value: str, said: str) -> None:
    found = errors(f"{spec(model)}init_from = {value}\n")
    assert said in " ".join(found.split()), found
    assert "tiny.nn:8:" in found


def test_what_help_says_works(here: Path) -> None:
    arrays = {"fc1.weight": pretrained()["stem.weight"].T, "fc1.bias": pretrained()["stem.bias"]}
    np.savez("torch.npz", **arrays)
    text = spec("stem: Linear(6); ReLU; Linear(10)")
    bare = text + 'init_from.stem = "torch.npz"\n'
    assert [d.code for d in check(Source("tiny.nn", bare)).diagnostics] == ["NN503"]
    found = errors(bare)
    assert "it has `fc1.weight` (6×784)" in found
    written = 'init_from.stem = Weights("torch.npz", layer="fc1", transpose=true)'
    assert f"`{written}`" in found
    assert "stem.weight" in run(text + written).notes[0]
    found = errors(text + 'init_from.stem = Weights("torch.npz", layer="fc1")\n')
    assert "PyTorch stores matrices as (out, in)" in found
    assert f"`{written}`" in found


def test_an_unknown_layer_and_settings_without_effect(here: Path) -> None:
    assert "the model has no layer `hed`" in errors(FINE + "init_from.hed = none")
    assert "did you mean `head`?" in errors(FINE + "init_from.hed = none")
    for more, said in (
        ("init_from.head = none", "`init_from.head` has no effect: no weights are loaded into it"),
        ('init_from.ReLU = "w.npz"', "`init_from.ReLU` has no effect: it has no parameters here"),
        (
            'init_from.head = "w.npz"\ninit_from.Linear = "w.npz"\ninit_from.stem = "w.npz"',
            "`init_from.Linear` has no effect: more specific",
        ),
    ):
        found = render_all(check(Source("tiny.nn", spec(MODEL) + more)).diagnostics)
        assert said in found


def test_a_run_with_several_networks_needs_a_lane(here: Path) -> None:
    Path("fine.nn").write_text(FINE.replace("epochs = 2", "epochs = 1; repeats = 2"))
    nnspec.run("fine.nn", out="fine")
    found = " ".join(errors(spec(MODEL) + 'init_from = "fine"').split())
    assert "fine contains the weights of 8 networks" in found
    assert 'name one of them: "fine/all/seed-7.npz", "fine/all/seed-8.npz", "fine/rest/seed-7.npz" and 5 more' in found
    result = run(spec(MODEL) + 'init_from = "fine/rest/seed-8.npz"')
    weights = runs.open_run("fine").weights("rest", 8)
    assert starts(result, "run") == digests(weights)


# Hostile files


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_only_regular_files_of_limited_size_are_read(tmp_path: Path, name: str, suffix: str) -> None:
    make, message = HOSTILE[name]
    path = tmp_path / f"w{suffix}"
    make(path)
    if name == "folder":
        message = "contains no trained weights"
    with refused(message):
        Weights(path).facts()


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\1\0", "ends inside its header"),
        ((1 << 62).to_bytes(8, "little"), "its header is to have 4,611,686,018,427,387,904 bytes, and the file has 0"),
        ((9 << 20).to_bytes(8, "little") + bytes(9 << 20), "at most 8,388,608 are allowed"),
        (header("[" * 100_000), "its header is damaged"),
        (header("[]"), "its header is damaged"),
        (header("{"), "its header is damaged"),
        (header(b"\xff\xfe".decode("latin-1")), "its header is damaged"),
        (header({"a": ONE}), "its tensors have 8 bytes, but 0 follow the header"),
        (header({"a": ONE}, bytes(9)), "its tensors have 8 bytes, but 9 follow the header"),
        (header({"a": ONE, "b": ONE}, bytes(8)), "`b` begins at byte 0, but the tensor before it ends at 8"),
        (
            header({"a": ONE | {"data_offsets": [4, 12]}}, bytes(12)),
            "`a` begins at byte 4, but the tensor before it ends at 0",
        ),
        (header({"a": ONE | {"data_offsets": [8, 0]}}, bytes(8)), "size of 'a'"),
        (header({"a": ONE | {"data_offsets": [-8, 0]}}, bytes(8)), "shape or place of 'a'"),
        (header({"a": ONE | {"shape": [1 << 60]}}, bytes(8)), "shape or place of 'a'"),
        (header({"a": ONE | {"shape": [2.0]}}, bytes(8)), "shape or place of 'a'"),
        (header({"a": ONE | {"shape": [True, 2]}}, bytes(8)), "shape or place of 'a'"),
        (header({"a": ONE | {"shape": "22"}}, bytes(8)), "shape or place of 'a'"),
        (header({"a": ONE | {"dtype": "F4"}}, bytes(8)), "dtype of 'a'"),
        (header({"a": ONE | {"dtype": ["F32"]}}, bytes(8)), "its header is damaged"),
        (header({"a": 1}), "its header is damaged"),
        (header(f'{{"a": {json.dumps(ONE)}, "a": {json.dumps(ONE)}}}', bytes(8)), "a name occurs twice"),
    ],
)
def test_a_damaged_safetensors_file_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with refused(said):
        Weights(path).facts()


def _cut(path: Path) -> None:
    np.savez(path, a=np.ones(1000))
    path.write_bytes(path.read_bytes()[:-300])


def _pickled(path: Path) -> None:
    np.savez(path, a=np.array([{"x": Bomb()}], dtype=object))


class Bomb:
    """Would be called by unpickling."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return pytest.fail, ("unpickled",)


def _twice(path: Path) -> None:
    np.savez(path, a=np.ones(3))
    with zipfile.ZipFile(path) as archive:
        data = archive.read("a.npy")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a.npy", data)


def _bomb(path: Path) -> None:
    head = str({"descr": "<f8", "fortran_order": False, "shape": (1 << 38,)}).ljust(117) + "\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head.encode())


def _not(path: Path) -> None:
    path.write_bytes(b"PK no archive")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_cut, "is not an .npz file"),
        (_pickled, "never unpickled"),
        (_twice, "two tensors have the same name"),
        (_bomb, "the limit is 1 GiB"),
        (_not, "is not an .npz file"),
    ],
)
def test_a_damaged_archive_is_refused(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "w.npz"
    make(path)
    with refused(said):
        Weights(path).facts()


@pytest.mark.parametrize("dtype", ["int32", "bool", "U3", "uint8"])
def test_weights_are_floats(here: Path, dtype: str) -> None:
    np.savez("int.npz", **pretrained() | {"head.bias": np.zeros(10).astype(dtype)})
    found = errors(spec(MODEL) + 'init_from = "int.npz"')
    assert "but weights are floats" in found
    assert "init_from" in run(spec(MODEL), "init_from='int.npz'", "init_from.head.bias=none").summary["lanes"][0]


@pytest.mark.parametrize(
    "folders", ['{"x": "../pretrained/run"}', '{"x": "/etc"}', '{"x": ".."}', "[]", '{"x": "a\\u0000"}']
)
def test_a_manifest_leads_nowhere_else(here: Path, folders: str) -> None:
    Path("evil").mkdir()
    Path("evil/run.json").write_text(f'{{"folders": {folders}}}')
    with refused("is damaged"):
        Weights("evil").facts()


def test_a_link_is_followed_and_a_file_that_changes_is_noticed(here: Path) -> None:
    Path("link.npz").symlink_to("w.npz")
    lane = compiled(spec(MODEL) + 'init_from = "link.npz"').program.lanes[0]
    assert with_weights(lane).initial is not None
    Path("w.npz").write_bytes(Path("pretrained/run/weights.npz").read_bytes())
    with pytest.raises(DataError, match=r"link.npz has changed: its sha256 is"):
        with_weights(lane)


def test_lanes_that_load_the_same_share_the_arrays(here: Path) -> None:
    lanes: tuple[Experiment, ...] = with_all_weights(compiled(FINE).program).lanes
    arrays = [lane.initial.arrays["stem.weight"] if lane.initial else None for lane in lanes]
    assert arrays[0] is arrays[1]
    assert arrays[3] is None

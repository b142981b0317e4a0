"""Repeated runs: whether they give the same bits, and where two of them diverge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import command, environment, nnspec, spec

from nnspec import run
from nnspec.records.saved import RunError, open_run
from nnspec.runs import compile_run, verify

pytestmark = pytest.mark.usefixtures("undrawn")

SPEC = spec(
    "Linear(6); BatchNorm; ReLU; Linear(10)",
    race="SGD(lr=0.1); Adam(lr=0.01)",
    train="epochs = 4; batch = 16; repeats = 2; early_stop = patience(2, of=loss, restore_best=true)",
    more="seed = 5",
)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.nn").write_text(SPEC)
    run("tiny.nn", out="one")
    return tmp_path / "one"


def rewrite(path: Path, change: Any) -> None:
    record = json.loads(path.read_text("utf-8"))
    change(record)
    path.write_text(json.dumps(record))


def test_a_run_is_the_same_when_it_is_run_again(path: Path) -> None:
    found = verify(path)
    assert found.same
    assert [(match.lane, match.seed, match.epochs) for match in found.matches] == [
        (lane, seed, 4) for lane in ("SGD", "Adam") for seed in (5, 6)
    ]
    assert all(match.tensors == 4 + 2 + 2 for match in found.matches)  # weights, scale and shift, running statistics
    assert found.environment == {}


def test_it_may_be_taken_up_from_another_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path.parent / "elsewhere").mkdir()
    monkeypatch.chdir(path.parent / "elsewhere")
    (path.parent / "tiny.nn").write_text("this is no spec any more")
    assert verify("../one").same


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("lane", ["SGD", "Adam"])
def test_it_says_in_which_epoch_and_tensor_runs_part(path: Path, lane: str, epoch: int) -> None:
    def change(record: Any) -> None:
        digests = record["lanes"][lane][1]["epochs"]["Linear2.bias"]
        digests[epoch - 1 :] = ["0" * 16] * (len(digests) - epoch + 1)

    rewrite(path / "trace.json", change)
    found = verify(path)
    (parted,) = [match for match in found.matches if not match.same]
    assert (parted.lane, parted.seed, parted.epoch, parted.parted) == (lane, 6, epoch, ("Linear2.bias",))
    assert parted.figures == ()
    assert parted.text == f"differ in epoch {epoch}: Linear2.bias (1 of 8 tensors)"
    assert not found.same


def test_figures_starting_weights_orders_and_lengths_count_too(path: Path) -> None:
    honest = {name: (path / name).read_text() for name in ("trace.json", "history.json")}

    def figure(record: Any) -> None:
        value = record["lanes"]["Adam"]["repeats"][0]["test_loss"][2]
        record["lanes"]["Adam"]["repeats"][0]["test_loss"][2] = float(np.nextafter(value, 9))

    def start(record: Any) -> None:
        record["lanes"]["Adam"][0]["start"]["Linear1.weight"] = "x"

    def order(record: Any) -> None:
        record["lanes"]["Adam"][0]["order"] = "x"

    def shorter(record: Any) -> None:
        for values in record["lanes"]["Adam"]["repeats"][0].values():
            if isinstance(values, list):
                del values[3:]

    for name, change, text in (
        ("history.json", figure, "differ in epoch 3: test_loss"),
        ("trace.json", start, "differ before the first step: Linear1.weight (1 of 8 tensors)"),
        ("trace.json", order, "the orders of samples differ"),
        ("history.json", shorter, "one has 3 epochs, the other 4"),
    ):
        rewrite(path / name, change)
        found = verify(path)
        assert [(match.lane, match.seed, match.text) for match in found.matches if not match.same] == [
            ("Adam", 5, text)
        ]
        (path / name).write_text(honest[name])
    assert verify(path).same


def test_weights_in_the_folder_are_those_that_training_ended_with(path: Path) -> None:
    file = path / "Adam" / "seed-6.npz"
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["Linear1.bias"][0] = np.nextafter(arrays["Linear1.bias"][0], np.float32(9))
    np.savez(file, **arrays)
    found = verify(path)
    assert all(match.same for match in found.matches)
    assert found.spoilt == (f"Linear1.bias in {file} is not the recorded result of training",)
    assert not found.same
    file.write_bytes(b"PK no archive")
    (text,) = verify(path).spoilt
    assert "seed-6.npz is damaged" in text
    file.unlink()
    assert verify(path).spoilt == (f"{path} has no weights for Adam, seed 6: {file} is missing",)


def test_two_runs_on_disk_are_compared_as_far_as_they_have_lanes_in_common(path: Path) -> None:
    run("tiny.nn", {"train.repeats": 1, "Adam.optimizer.lr": 0.02}, out="other")
    found = verify("one", "other")
    texts = {(match.lane, match.seed): match.text for match in found.matches}
    assert texts["SGD", 5] == "identical, bit for bit"
    assert texts["SGD", 6] == "not in other"
    assert texts["Adam", 5].startswith("differ in epoch 1: Linear1.weight, Linear1.bias")


def test_the_command_exits_with_0_and_1_and_writes_nothing(path: Path) -> None:
    before = {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    done = command("verify", "one", cwd=path.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("✓ identical, bit for bit\n")
    assert "Adam, seed 6 (2 of 2): epoch 4/4" in done.stderr
    rewrite(path / "trace.json", lambda record: record["lanes"]["SGD"][0]["epochs"]["Linear1.bias"].reverse())
    done = nnspec("verify", "one", "--json", "--jobs", "2", cwd=path.parent)
    record = json.loads(done.stdout)
    assert done.returncode == 1
    assert record["same"] is False
    assert [one["same"] for one in record["trainings"]] == [False, True, True, True]
    assert record["trainings"][0]["epoch"] == 1
    (path / "trace.json").write_bytes(before[path / "trace.json"])
    assert {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()} == before


@pytest.mark.parametrize(
    ("file", "place", "words"),
    [
        ("summary.json", ("lanes", 0, "final", "loss"), "lanes[0].final.loss in"),
        ("summary.json", ("lanes", 1, "repeats", 0, "fingerprints", "order"), "lanes[1].repeats[0].fingerprints.order"),
        ("summary.json", ("best", "value"), "best.value"),
        ("summary.json", ("spec", "sha256"), "spec.sha256"),
        ("run.json", ("meaning", "shared", "seed"), "`meaning` in"),
        ("history.json", ("lanes", "SGD", "repeats", 0, "gradient_norms", "Linear1.bias", 2), ""),
    ],
)
def test_what_follows_from_a_run_is_verified_too(path: Path, file: str, place: tuple[Any, ...], words: str) -> None:
    def change(record: Any) -> None:
        for key in place[:-1]:
            record = record[key]
        value = record[place[-1]]
        record[place[-1]] = f"{value}x" if isinstance(value, str) else value + 1

    rewrite(path / file, change)
    found = verify(path)
    assert not found.same
    assert words in "; ".join(found.spoilt)


def test_runs_that_cannot_be_repeated_are_reported(path: Path) -> None:
    with pytest.raises(RunError, match="run not found: nowhere"):
        open_run("nowhere")
    with pytest.raises(RunError, match=r"is not a run: it has no run\.json"):
        open_run(path.parent)
    (path / "spec.nn").write_text(SPEC.replace("lr=0.01", "lr=0.02"))
    with pytest.raises(RunError, match=r"`optimizer\.lr` of Adam was 0\.01 and is now 0\.02"):
        compile_run(open_run(path))
    (path / "trace.json").write_text('{"format": 1, "lanes": [7]}')
    done = command("verify", "one", "one", cwd=path.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: one/trace.json is damaged" in done.stderr
    (path / "trace.json").unlink()
    done = command("verify", "one", "one", cwd=path.parent)
    assert "has no trace.json: its run has not finished; continue it with `nnspec run " in done.stderr


def test_a_run_has_its_own_copies_of_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "common.nn").write_text("train { epochs = 2 }\n")
    (tmp_path / "tiny.nn").write_text('import "common.nn"\n' + spec(train="batch = 16"))
    run("tiny.nn", out="one")
    assert verify("one").same
    summary = open_run("one").summary
    assert [found["path"] for found in summary["spec"]["imports"]] == ["common.nn"]
    (tmp_path / "common.nn").write_text("train { epochs = 3 }\n")
    assert verify("one").same


def test_a_folder_of_unknown_origin_has_no_file_shown(path: Path) -> None:
    """A changed record that leads elsewhere, to a file that was no part of the run, gets none of its lines."""
    (path.parent / "elsewhere").mkdir()
    (path.parent / "elsewhere/secret.nn").write_text("password = hunter2\n")
    rewrite(path / "run.json", lambda record: record.update(home="../elsewhere"))
    (path / "spec.nn").write_text('import "secret.nn"\n' + (path / "spec.nn").read_text())
    done = command("eval", path.name, cwd=path.parent)
    assert done.returncode == 2
    assert "the run folder has no copy of secret.nn" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_another_kernel_of_the_blas_is_found_out(path: Path) -> None:
    """Another order of sums gives other bits, somewhere: the very thing that comparing records is for."""
    blas = open_run(path).summary["environment"]["blas"][0]
    if blas["library"] != "openblas" or blas["architecture"] in ("Prescott", "Nehalem", None):
        pytest.skip("there is no OpenBLAS whose kernel can be chosen")
    code = "import nnspec; nnspec.run('tiny.nn', out='other')"
    variables = {**environment(path.parent), "OPENBLAS_CORETYPE": "Nehalem"}
    subprocess.run([sys.executable, "-c", code], cwd=path.parent, env=variables, check=True, timeout=60)
    found = verify("one", "other")
    assert found.environment["blas"][1][0]["architecture"] != blas["architecture"]
    assert not found.same
    assert all(match.epoch == 1 for match in found.matches)

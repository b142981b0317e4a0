"""Trainings on a Dask cluster: a real scheduler, workers that are processes, one of which is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from farm import Farm
from outcomes import outcome
from tiny_spec import OFFLINE, command, environment, spec

from nnspec import bench, run
from nnspec.api import compile_spec
from nnspec.executors import dask_cluster as cluster
from nnspec.executors.dask_cluster import ClusterError
from nnspec.results.lane import LaneResult
from nnspec.runner.options import RunOptions
from nnspec.runner.run import run_program
from nnspec.runs import compare_runs, verify
from nnspec.training.observer import Silent

pytest.importorskip("distributed", reason="takes nnspec[dask]")
pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system cannot kill as this needs it"),
    pytest.mark.filterwarnings("ignore"),  # Dask's own, of its libraries
]

SPEC = spec(
    "Linear(12); BatchNorm; ReLU; Dropout(0.2); Linear(10)",
    race="SGD(lr=0.1); Adam(lr=cosine(0.01)); Momentum(lr=0.05); other { optimizer = Adam; train.batch = 20 }",
    train="epochs = 5; batch = 16; repeats = 2; validation = 0.2; standardise = true",
    data="Digits(train=200, test=50)",
    more="seed = 7",
)


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    (tmp_path / "farm").mkdir()
    found = Farm(tmp_path / "farm")
    yield found
    found.close()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.nn").write_text(SPEC)
    return tmp_path / "tiny.nn"


def test_a_cluster_gives_the_bits_that_this_machine_gives(path: Path, farm: Farm) -> None:
    farm.hire(2)
    run(path, out="here")
    far = run(path, out="there", cluster=farm.address)
    assert far.exit_code == 0
    assert outcome(Path("there")) == outcome(Path("here"))
    ways = json.loads(Path("there/summary.json").read_text())["ways"]
    assert (ways["on"], ways["same_kernels"], ways["differences"]) == (farm.address, True, {})
    assert sorted(ways["trained_by"]) == sorted(
        f"{lane}, seed {seed}" for lane in ("SGD", "Adam", "Momentum", "other") for seed in (7, 8)
    )
    assert set(ways["trained_by"].values()) == set(ways["workers"])
    again = run(path, out="there", resume=True)  # everything came back, and is not trained again
    assert again.summary["ways"] == {"jobs": 1, "stacks": []}
    assert outcome(Path("there")) == outcome(Path("here"))
    loaded = {"init_from": '"here/SGD/seed-7.npz"', "train.epochs": 2}  # a worker is sent the weights
    run(path, loaded, out="loaded here")
    run(path, loaded, out="loaded there", cluster=farm.address)
    assert outcome(Path("loaded there")) == outcome(Path("loaded here"))


def test_a_bench_on_a_cluster_has_the_results_that_it_has_here(path: Path, farm: Farm) -> None:
    """Of its trials, its races and its profiles, one contestant of which has no setting to race with."""
    for name, classes in (("narrow", 3), ("wide", 5)):
        model = f"Linear({2 * classes}); Tanh; Linear({classes})"
        data, train = (
            f"Blobs(classes={classes}, train=60, test=20)",
            "epochs = 2; batch = 15; validation = 0.2; repeats = 2",
        )
        text = spec(model, data=data, train=train, more="tune { by = val_loss; target = 1 }")
        Path(f"{name}.nn").write_text(text.replace("optimizer = SGD(lr=0.1)\n", ""))
    spaces = "optimizer.lr = loguniform(1e-3, 0.1); Lion.optimizer.lr = [1e300, 1e301]"
    Path("contestants.nn").write_text(f"race {{ SGD; Adam; Lion }}\ntune {{ budget = 2; {spaces} }}\n")
    farm.hire(2)
    problems = ["narrow.nn", "wide.nn"]
    here = bench(problems, "contestants.nn", "here", jobs=1)
    there = bench(problems, "contestants.nn", "there", cluster=farm.address)
    assert [each.status for each in there.problems] == ["done", "done"]
    assert there.profiles("steps") == here.profiles("steps")
    for name in ("narrow", "wide"):
        for run_folder in (name, f"{name}/trials"):
            assert outcome(Path("there", run_folder)) == outcome(Path("here", run_folder))
            ways = json.loads(Path("there", run_folder, "summary.json").read_text())["ways"]
            assert (ways["on"], ways["same_kernels"]) == (farm.address, True)
            assert set(ways["trained_by"].values()) <= set(ways["workers"])
        for ours, theirs in zip(there[name].entries, here[name].entries, strict=True):
            assert (ours.contestant, ours.chosen, ours.untrained) == (
                theirs.contestant,
                theirs.chosen,
                theirs.untrained,
            )
            assert [(one.figure, one.test, one.steps_to) for one in ours.runs] == [
                (one.figure, one.test, one.steps_to) for one in theirs.runs
            ]
    assert there["wide"]["Lion"].untrained


def test_a_worker_that_is_killed_is_survived(path: Path, farm: Farm) -> None:
    """The other worker trains its groups, to the same bits; observers see each lane start once."""
    farm.hire(2)
    path.write_text(SPEC.replace("epochs = 5", "epochs = 60"))
    run(path, out="here")

    class Killer(Silent):
        def __init__(self) -> None:
            self.begun: list[str] = []
            self.killed = 0

        def lane_begins(self, lane: LaneResult) -> None:
            self.begun.append(lane.label)

        def epoch_done(self, lane: LaneResult) -> None:
            if not self.killed:
                self.killed = len(lane.epoch_seconds)
                farm.workers[0].kill()

    killer = Killer()
    ways = RunOptions(cluster=farm.address, stack=False)
    result = run_program(compile_spec(path), OFFLINE, killer, options=ways)
    assert 0 < killer.killed < 60
    farm.workers[0].join(10)
    assert farm.workers[0].exitcode == -signal.SIGKILL
    assert [lane.status for lane in result.values()] == ["done"] * 4
    assert len(killer.begun) == len(set(killer.begun)) == 8
    here, traces = (json.loads(Path(f"here/{file}.json").read_text())["lanes"] for file in ("history", "trace"))
    for name, lane in result.items():
        for one, known in zip(lane.repeats, here[name]["repeats"], strict=True):
            assert one.history == {figure: known[figure] for figure in one.history}
            trace = next(each for each in traces[name] if each["seed"] == one.seed)
            assert one.trace == trace["epochs"]


def test_an_interrupted_run_is_resumed_on_a_cluster(path: Path, farm: Farm) -> None:
    farm.hire(1)
    run(path, out="here")
    child = subprocess.Popen(
        [sys.executable, "-c", "import nnspec; nnspec.run('tiny.nn', out='part', resume=True, checkpoint=0)"],
        cwd=path.parent,
        env=environment(path.parent),
    )
    end = time.monotonic() + 120
    while not list(Path("part").glob("checkpoints/*/*.npz")) and time.monotonic() < end and child.poll() is None:
        time.sleep(0.005)
    child.kill()
    child.wait()
    run(path, out="part", resume=True, cluster=farm.address)
    assert outcome(Path("part")) == outcome(Path("here"))


def test_other_kernels_are_reported_and_results_are_close(path: Path, farm: Farm) -> None:
    path.write_text(SPEC.replace("; standardise = true", ""))
    farm.hire(1, OPENBLAS_CORETYPE="Nehalem")
    single, far_single = run(path), run(path, cluster=farm.address)
    path.write_text(path.read_text().replace("seed = 7", "seed = 7\ndtype = float64"))
    here = run(path, out="here")
    there = run(path, out="there", cluster=farm.address)
    ways = there.summary["ways"]
    if ways["same_kernels"]:
        pytest.skip("the BLAS of this machine has no other kernel to choose")
    assert "blas" in next(iter(ways["differences"].values()))
    (note,) = there.notes
    assert "differs from this machine" in note
    assert "blas" in verify("here", "there").environment
    assert [each.what for each in compare_runs(["here", "there"]).contest.unlike] == ["blas"]
    for name in here:
        for one, other, at_first, at_last in ((here, there, 1e-9, 1e-9), (single, far_single, 1e-5, 0.05)):
            losses, far = one[name].history["loss"], other[name].history["loss"]
            assert far[0] == pytest.approx(losses[0], rel=at_first)
            assert far[-1] == pytest.approx(losses[-1], rel=at_last)


def test_an_address_without_a_scheduler_is_reported(path: Path, farm: Farm) -> None:
    for address, message in (
        ("127.0.0.1:1", "--cluster must be dask://HOST:PORT, such as dask://10.0.0.5:8786, not 127.0.0.1:1"),
        ("dask://nowhere", "--cluster must be dask://HOST:PORT"),
        ("dask://127.0.0.1:1", "no Dask scheduler at dask://127.0.0.1:1"),
    ):
        done = command("run", "tiny.nn", "--cluster", address, cwd=path.parent)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    done = command("run", "tiny.nn", "--cluster", farm.address, "--jobs", "2", cwd=path.parent)
    assert "--cluster cannot be used with --jobs" in done.stderr


def test_a_scheduler_without_workers_is_reported(path: Path, farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WAIT", 1.0)
    with pytest.raises(ClusterError, match="has no worker after 1 s; start one with `dask worker`"):
        run(path, cluster=farm.address)


def test_a_lost_scheduler_is_reported_and_finished_trainings_are_kept(
    path: Path, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ANSWER", 3.0)
    farm.hire(1)
    path.write_text(SPEC.replace("other { ", "other { train.epochs = 100000; "))

    class Killer(Silent):
        def lane_ends(self, lane: LaneResult) -> None:
            farm.scheduler.kill()

    from functools import partial

    from nnspec.api import run_into
    from nnspec.records.folder import RunFolder

    make = partial(RunFolder.make, "tiny.nn", "out", resume=True)
    with pytest.raises(ClusterError, match=r"lost the scheduler at .*; finished trainings are kept"):
        run_into(
            compile_spec(path),
            OFFLINE,
            Killer(),
            make,
            options=RunOptions(stack=False, cluster=farm.address, resume=True),
        )
    assert len(list(Path("out").glob("checkpoints/*/*.npz"))) >= 2


def test_ctrl_c_ends_what_trains_there_too(path: Path, farm: Farm) -> None:
    """Lanes return with their completed epochs, those that had not begun are skipped, and the worker is idle again."""
    farm.hire(1)
    path.write_text(SPEC.replace("other { ", "other { train.epochs = 1000000; "))

    class Presser(Silent):
        def epoch_done(self, lane: LaneResult) -> None:
            if lane.epochs == 1000000:
                raise KeyboardInterrupt

    result = run_program(compile_spec(path), OFFLINE, Presser(), options=RunOptions(cluster=farm.address, stack=False))
    assert (result.interrupted, result.exit_code) == (True, 130)
    assert [lane.status for lane in result.values()] == ["done"] * 3 + ["interrupted"]
    (first,) = (one for one in result["other"].repeats)  # the second had not begun
    assert 0 < len(first.epoch_seconds) == len(first.history["loss"]) < 1000000
    assert farm.is_idle()


def test_workers_do_not_train_for_a_client_that_is_gone(path: Path, farm: Farm) -> None:
    farm.hire(1)
    path.write_text(SPEC.replace("epochs = 5", "epochs = 1000000"))
    code = f"import nnspec; nnspec.run('tiny.nn', out='out', cluster='{farm.address}')"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=path.parent, env=environment(path.parent))
    assert farm.is_idle(False)
    child.kill()
    child.wait()
    assert farm.is_idle()


def test_fail_fast_ends_what_trains_there_too(path: Path, farm: Farm) -> None:
    farm.hire(1, nthreads="2")
    doubled = "SGD(lr=1e-9, weight_decay=3e9)"  # every step takes the weights times -2
    race, train = f"Adam; {doubled}", "epochs = 1000000; batch = 32"
    path.write_text(spec("Linear(12); ReLU; Linear(10)", race=race, train=train, data="Digits(train=200, test=50)"))
    result = run_program(
        compile_spec(path), OFFLINE, Silent(), options=RunOptions(cluster=farm.address, stack=False, fail_fast=True)
    )
    assert result.halted == "SGD, which diverged"
    assert result["Adam"].status == "interrupted"
    assert len(result["Adam"].epoch_seconds) > 0
    assert farm.is_idle()


def test_two_tasks_in_one_process_have_the_same_bits_as_one(path: Path, farm: Farm) -> None:
    """Products are on one thread for all of them, as long as any of them trains."""
    wide = SPEC.replace("Linear(12)", "Linear(256)").replace("epochs = 5", "epochs = 12").replace("16;", "100;")
    path.write_text(wide.replace("train.batch = 20", "train.epochs = 2"))
    farm.hire(1, nthreads="2")
    run(path, out="here")
    run(path, out="there", cluster=farm.address)
    assert outcome(Path("there")) == outcome(Path("here"))


def test_an_unusable_worker_is_skipped_and_named(path: Path, farm: Farm, tmp_path: Path) -> None:
    """Alone it is an error that says what to do; it may also join a run, or be joined by one that can be used."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text("import sys; sys.modules['nnspec'] = None")
    farm.hire(1, PYTHONPATH=str(tmp_path / "without"))
    with pytest.raises(ClusterError, match=r"no worker at .* cannot run nnspec \(.*\); install nnspec \S+ there"):
        run(path, cluster=farm.address)
    farm.hire(1)
    farm.wait_for(2)
    far = run(path, out="there", cluster=farm.address)
    run(path, out="here")
    assert outcome(Path("there")) == outcome(Path("here"))
    ((worker, why),) = far.summary["ways"]["left_out"].items()
    assert why.startswith("cannot run nnspec (")
    assert worker not in far.summary["ways"]["workers"]
    assert far.notes[-1] == f"worker {worker} was not used: it {why}"


def test_another_version_is_refused(path: Path, farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    farm.hire(1)
    monkeypatch.setattr(cluster, "__version__", "0.0.0")
    wrong = r"has nnspec \S+, but this machine has 0\.0\.0; install the same version on both"
    with pytest.raises(ClusterError, match=f"^the scheduler at {farm.address} {wrong}"):
        run(path, cluster=farm.address)
    monkeypatch.setattr(cluster.DaskCluster, "_meet_scheduler", lambda self: None)
    with pytest.raises(ClusterError, match=f"^no worker at {farm.address} can be used: worker \\S+ {wrong}"):
        run(path, cluster=farm.address)


def test_losing_all_workers_is_reported(path: Path, farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ALONE", 1.0)
    farm.hire(1)
    path.write_text(SPEC.replace("epochs = 5", "epochs = 1000000"))

    class Killer(Silent):
        def epoch_done(self, lane: LaneResult) -> None:
            farm.workers[0].kill()

    with pytest.raises(
        ClusterError, match=r"is left; .*: start workers with `dask worker .*`, and continue with --out"
    ):
        run_program(compile_spec(path), OFFLINE, Killer(), options=RunOptions(cluster=farm.address))


@pytest.mark.parametrize(
    "answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 64, b"\xff" * 8, b"\x08" + b"\0" * 7]
)
def test_a_port_of_another_server_is_reported(
    answer: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is silent, hangs up, or sends something at once; the last is the head of a frame that never comes."""
    monkeypatch.setattr(cluster, "KNOCK", 1.0)
    (tmp_path / "tiny.nn").write_text(SPEC)
    lines = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                lines.append(listening.accept()[0])
                if answer is not None:
                    lines[-1].sendall(answer)
                if answer == b"":
                    lines[-1].close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        started = time.monotonic()
        with pytest.raises(ClusterError, match="no Dask scheduler at dask://"):
            run(tmp_path / "tiny.nn", cluster=f"dask://127.0.0.1:{listening.getsockname()[1]}")
        assert time.monotonic() - started < 15
        listening.shutdown(socket.SHUT_RDWR)
    for line in lines:
        line.close()


def test_it_is_imported_only_where_it_is_asked_for() -> None:
    code = "import nnspec, sys; nnspec.run; assert not {'distributed', 'dask'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))

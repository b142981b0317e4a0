"""The spec of a number, trained in every way that there is, and all that must not depend on the way, compared.

alone      lane after lane, each by itself: what the other ways are held against
stacked    lanes of one kin as one network
resumed    stacked, ended amid training (killed while a checkpoint is kept, or by Ctrl-C after an epoch), and resumed
jobs       in two processes
dask       on the workers of a Dask scheduler
compiled   by compiled steps, lanes of one kin beginning as one network
lonely     by compiled steps, lane after lane
late       by compiled steps from some epoch on
changed    ended amid training and resumed, with or without compiled steps each time
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from run_writer import RunWriter
from tiny_spec import OFFLINE

from nnspec.checker import check
from nnspec.compiler import switch
from nnspec.compiler.proofs import Compiled, prove
from nnspec.diagnostics import Source, render_all
from nnspec.executors.processes import Processes
from nnspec.native import How
from nnspec.results.epochs import columns
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.runner import executor_choice as choice_module
from nnspec.runner.options import RunOptions
from nnspec.runner.resuming import Checkpoints
from nnspec.runner.run import run_program
from nnspec.semantics.meaning import meaning
from nnspec.training.checkpoint import Checkpoint, Keeper
from nnspec.training.observer import Silent

__all__ = ["WAYS", "Bench", "difference", "facts"]

WAYS = ("stacked", "resumed", "jobs", "dask", "compiled", "lonely", "late", "changed")

TIMES = {"profile", "compiled"}
"""What may differ: how long it took, and by which way."""
HELD = {"network", "repeats", "writer", "predictor", "scaling", "records", *TIMES}
"""Fields of a lane that are compared in a form of their own, if at all. Every other field is compared as it is."""


def facts(lane: LaneResult) -> dict[str, Any]:
    """Return all that must not depend on how a lane was trained; arrays by their bytes."""
    found: dict[str, Any] = {f.name: getattr(lane, f.name) for f in fields(lane) if f.name not in HELD}
    found |= {f"weights of {name}": array.tobytes() for name, array in lane.network.state_dict().items()}
    found |= {f"scaling {i}": array.tobytes() for i, array in enumerate(lane.scaling or ())}
    found |= {name: column for name, column in columns(lane.records, lane.figures).items() if name != "epoch_seconds"}
    found |= lane.fingerprints | {
        "epochs done": len(lane.records),
        "training": [layer.training for layer in lane.network.layers],
    }
    return found | {f"repeat {one.seed}, {name}": fact for one in lane.repeats for name, fact in facts(one).items()}


def difference(one: RunResult, other: RunResult) -> str:
    """Say where two runs part; nothing where no bit differs."""
    if list(one) != list(other):
        return f"lanes {list(one)} and {list(other)}"
    for name in one:
        ours, theirs = facts(one[name]), facts(other[name])
        for fact in ours | theirs:
            if repr(ours.get(fact)) != repr(theirs.get(fact)):  # by their texts, since NaN is not NaN
                return f"{name}: {fact}: {str(ours.get(fact))[:200]} and {str(theirs.get(fact))[:200]}"
    return ""


class Killed(BaseException):
    """The process is gone."""


class _Killer:
    """Ends a run where its n-th checkpoint is kept, before or after it is there."""

    def __init__(self, at: int, before: bool) -> None:
        self.left, self.before = at, before
        self._store = Keeper.store

    def __call__(self, keeper: Keeper, checkpoint: Checkpoint) -> None:
        self.left -= 1
        if self.left == 0 and self.before:
            raise Killed
        self._store(keeper, checkpoint)
        if self.left == 0:
            raise Killed


class _Stopper(Silent):
    """Presses Ctrl-C after a number of epochs, counted over all lanes."""

    def __init__(self, at: int) -> None:
        self.left = at

    def epoch_done(self, lane: LaneResult) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class Bench:
    """Trains specs by their numbers in a folder that holds the data. `workers` and `dask` are shared by all of them."""

    def __init__(self, folder: Path, workers: Processes | None = None, dask: str = "") -> None:
        self.folder, self._workers, self._dask = folder, workers, dask

    def text(self, number: int) -> str:
        """Return the spec of a number."""
        return RunWriter(number, self.folder.as_posix()).text()

    @lru_cache(maxsize=1)  # noqa: B019
    def compiled(self, number: int) -> Compiled:
        """Check and compile it, once for all ways: none may change it. Raises AssertionError for one with an error."""
        checked = check(Source("random.nn", self.text(number)))
        if checked.program is None:
            raise AssertionError(render_all(checked.diagnostics))
        return prove(checked.program)[0]

    def alone(self, number: int) -> RunResult:
        """Train it lane after lane."""
        return run_program(
            self.compiled(number), OFFLINE, Silent(), options=RunOptions(jobs=1, stack=False, compiled="never")
        )

    def trained(self, number: int, way: str) -> RunResult:
        """Train it in one of WAYS."""
        ways: dict[str, Callable[[int], RunResult]] = {
            "stacked": lambda n: self._run(n, RunOptions(jobs=1, compiled="never")),
            "resumed": lambda n: self._resumed(n, ["never"]),
            "jobs": self._jobs,
            "dask": lambda n: self._run(n, RunOptions(cluster=self._dask)),
            "compiled": lambda n: self._run(n, RunOptions(jobs=1, compiled="always")),
            "lonely": lambda n: self._run(n, RunOptions(jobs=1, stack=False, compiled="always")),
            "late": self._late,
            "changed": lambda n: self._resumed(n, ["always", "never"]),
        }
        return ways[way](number)

    def fault(self, number: int, way: str, alone: RunResult) -> str:
        """Train it in a way, and say how that differs from the lanes alone; nothing where it does not."""
        return difference(alone, self.trained(number, way))

    def _run(self, number: int, ways: RunOptions) -> RunResult:
        return run_program(self.compiled(number), OFFLINE, Silent(), options=ways)

    def _jobs(self, number: int) -> RunResult:
        if self._workers is None:
            return self._run(number, RunOptions(jobs=2))
        with patch.object(choice_module, "Processes", lambda count, script: nullcontext(self._workers)):
            return self._run(number, RunOptions(jobs=2))

    def _late(self, number: int) -> RunResult:
        """Train it by NumPy calls at first: its kernels are there after some turns."""
        self._run(number, RunOptions(jobs=1, compiled="always"))  # they are made
        left = random.Random(number).randrange(1, 5)

        class Slow:
            """A builder whose kernels are ready after some turns."""

            def ready(self, names: Iterable[str], *, wait: bool = False) -> bool:
                nonlocal left
                left -= 1
                return left <= 0

        # However short the training is.
        with patch.multiple(switch, the_builder=Slow, GAINS=0.0, WORTH=0.0):
            return self._run(number, RunOptions(jobs=1, compiled="auto"))

    def _resumed(self, number: int, hows: Sequence[How]) -> RunResult:
        """End it amid training, perhaps twice, and resume it, by one of these ways each time."""
        chance, compiled = random.Random(number), self.compiled(number)
        found = meaning(compiled.program)
        place = self.folder / f"checkpoints-{number}"
        epochs = sum(lane.train.epochs * lane.train.repeats for lane in compiled.program.lanes)
        resume = False
        for _ in range(chance.choice([1, 1, 1, 2])):
            kept = Checkpoints(place, found, 0, resume)
            at, kind = chance.randrange(1, epochs + 1), chance.randrange(3)
            killer = _Killer(at if kind else 0, kind == 1)
            observer = Silent() if kind else _Stopper(at)
            try:
                with patch.object(Keeper, "store", lambda keeper, kept, killer=killer: killer(keeper, kept)):
                    ways = RunOptions(jobs=1, compiled=chance.choice(hows))
                    run_program(compiled, OFFLINE, observer, lambda kept=kept: kept, ways)
            except Killed:
                pass
            resume = True
        again = Checkpoints(place, found, 0, True)
        result = run_program(
            compiled, OFFLINE, Silent(), lambda: again, RunOptions(jobs=1, compiled=chance.choice(hows))
        )
        for file in place.glob("*/*"):
            file.unlink()
        for folder in (*place.glob("*"), place):
            folder.rmdir()
        return result

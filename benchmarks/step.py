"""How long a training step takes, as a ratio to its matrix products alone. One command, one interleaved run.

    python benchmarks/step.py [--rounds 15] [--spec specs/race.nn] [--data-dir DIR]

Every contender trains epochs of the same network on the same data, 784-64-32-10 with batch 64 in float32 on one
thread. In each round every contender runs once, in turn, and its time is divided by the time that the products took in
that same round; the table shows the median, and the least and most, of these ratios. Absolute times are shown for
orientation only: they are the machine's, at that moment.

"The products" are the eight matrix products of forward and backward, over all columns and all batches of an epoch
(the ragged last one included), with the gradient of the input left out.

Contenders that are not installed are left out, and the table says so: optimizers compiled by Numba, PyTorch (eager),
scikit-learn, JAX (jit + scan).
"""

from __future__ import annotations

import argparse
import os

# Before the first import of a library that reads them.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import nnspec
from nnspec.api import compile_spec
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.compiler.replay import Replay
from nnspec.data.source import Access, Dataset
from nnspec.environment import environment
from nnspec.native.library import make
from nnspec.runner.load_data import load_data

Epoch = Callable[[], object]
BATCH = 64
RATES = {"SGD": 0.01, "Momentum": 0.01, "Adam": 0.001}


def products(data: Dataset) -> dict[str, Epoch]:
    """The eight products of a step, into buffers that are there already."""
    rng = np.random.default_rng(0)
    x = (data.train.x / 255).astype(np.float32)
    w1, w2, w3 = (rng.random(shape, dtype=np.float32) for shape in ((784, 64), (64, 32), (32, 10)))
    g = rng.random((BATCH, 10), dtype=np.float32)
    h1, h2, out, g2, g1 = (np.empty((BATCH, n), np.float32) for n in (64, 32, 10, 32, 64))
    d1, d2, d3 = (np.empty_like(w) for w in (w1, w2, w3))
    steps = []
    for start in range(0, len(x), BATCH):
        xb = x[start : start + BATCH]
        n = len(xb)
        steps.append((xb, h1[:n], h2[:n], out[:n], g[:n], g2[:n], g1[:n]))

    def epoch() -> None:
        for xb, y1, y2, y3, e3, e2, e1 in steps:
            np.matmul(xb, w1, out=y1)
            np.matmul(y1, w2, out=y2)
            np.matmul(y2, w3, out=y3)
            np.matmul(y2.T, e3, out=d3)
            np.matmul(e3, w3.T, out=e2)
            np.matmul(y1.T, e2, out=d2)
            np.matmul(e2, w2.T, out=e1)
            np.matmul(xb.T, e1, out=d1)

    return {"products": epoch}


def ours(data: Dataset, spec: str) -> dict[str, Epoch]:
    """The compiled plan: loss and accuracy of every batch included."""
    compiled = compile_spec(spec)
    return {
        f"nnspec {lane.name}": _plan(plan_alone(lane, compiled.layouts[lane.name], data))
        for lane in compiled.program.lanes
    }


def ours_compiled(data: Dataset, spec: str) -> dict[str, Epoch]:
    """The same as compiled steps, and the measuring of the test data with it."""
    compiled, found = compile_spec(spec), {}
    for lane in compiled.program.lanes:
        plan = plan_alone(lane, compiled.layouts[lane.name], data)
        replay = Replay(plan.loop.alone(plan))
        make(replay.kernels)
        replay.link()
        epochs = iter(range(10**9))
        found[f"nnspec {lane.name}, compiled"] = lambda replay=replay, epochs=epochs: replay.train(next(epochs))
    return found


def _plan(plan: Plan) -> Epoch:
    epochs = iter(range(10**9))

    def epoch() -> None:
        plan.begin(next(epochs))
        for number in range(plan.batches):
            plan.train_batch(number)

    return epoch


def torch_eager(data: Dataset) -> dict[str, Epoch]:
    """PyTorch as its tutorials write it, with the data as float tensors already, and the loss of every batch read."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    x = torch.from_numpy((data.train.x / 255).astype(np.float32))
    y = torch.from_numpy(data.train.y.astype(np.int64))

    def contender(name: str) -> Epoch:
        model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        loss_function = nn.CrossEntropyLoss()
        optimizer = {
            "SGD": lambda p: torch.optim.SGD(p, lr=RATES["SGD"]),
            "Momentum": lambda p: torch.optim.SGD(p, lr=RATES["Momentum"], momentum=0.9),
            "Adam": lambda p: torch.optim.Adam(p, lr=RATES["Adam"]),
        }[name](model.parameters())

        def epoch() -> float:
            order, total = torch.randperm(len(x)), 0.0
            for start in range(0, len(x), BATCH):
                chosen = order[start : start + BATCH]
                optimizer.zero_grad()
                loss = loss_function(model(x[chosen]), y[chosen])
                loss.backward()
                optimizer.step()
                total += loss.item() * len(chosen)
            return total

        return epoch

    return {f"PyTorch {torch.__version__.split('+')[0]} eager {name}": contender(name) for name in RATES}


def sklearn(data: Dataset) -> dict[str, Epoch]:
    """scikit-learn's MLPClassifier, an epoch at a time by partial_fit."""
    import sklearn as package
    from sklearn.neural_network import MLPClassifier

    x, y = (data.train.x / 255).astype(np.float32), data.train.y.astype(int)
    solvers = {
        "SGD": {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False},
        "Momentum": {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False},
        "Adam": {"solver": "adam"},
    }

    def contender(name: str) -> Epoch:
        model = MLPClassifier((64, 32), batch_size=BATCH, learning_rate_init=RATES[name], alpha=0.0, **solvers[name])
        return lambda: model.partial_fit(x, y, classes=np.arange(10))

    return {f"scikit-learn {package.__version__} {name}": contender(name) for name in RATES}


def jax_scan(data: Dataset) -> dict[str, Epoch]:
    """JAX: a whole epoch in one jitted scan; the ragged last batch in a second call."""
    import jax
    import jax.numpy as jnp

    x = jnp.asarray((data.train.x / 255).astype(np.float32))
    y = jnp.asarray(data.train.y.astype(np.int32))
    rng = np.random.default_rng(0)

    def loss_of(p: list, xb: object, yb: object) -> object:
        h = jax.nn.relu(xb @ p[0] + p[1])
        h = jax.nn.relu(h @ p[2] + p[3])
        z = h @ p[4] + p[5]
        return -jnp.take_along_axis(jax.nn.log_softmax(z), yb[:, None], axis=1).mean()

    def update(name: str, p: list, state: tuple, grads: list) -> tuple[list, tuple]:
        lr = RATES[name]
        if name == "SGD":
            return [a - lr * g for a, g in zip(p, grads, strict=True)], state
        if name == "Momentum":
            v = [0.9 * a + g for a, g in zip(state[0], grads, strict=True)]
            return [a - lr * b for a, b in zip(p, v, strict=True)], (v,)
        m = [0.9 * a + 0.1 * g for a, g in zip(state[0], grads, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(state[1], grads, strict=True)]
        t = state[2] + 1
        scale = lr * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return [a - scale * b / (jnp.sqrt(c) + 1e-8) for a, b, c in zip(p, m, v, strict=True)], (m, v, t)

    def contender(name: str) -> Epoch:
        def step(carry: tuple, chosen: object) -> tuple:
            p, state = carry
            loss, grads = jax.value_and_grad(loss_of)(p, x[chosen], y[chosen])
            return update(name, p, state, grads), loss

        run = jax.jit(lambda carry, order: jax.lax.scan(step, carry, order))
        p = [jnp.asarray(rng.normal(size=s).astype(np.float32) * 0.05) for s in ((784, 64), (64, 32), (32, 10))]
        p = [a for w in p for a in (w, jnp.zeros(w.shape[1], jnp.float32))]
        zeros = [jnp.zeros_like(a) for a in p]
        state = {"SGD": (), "Momentum": (zeros,), "Adam": (zeros, zeros, jnp.float32(0))}[name]
        carry = [(p, state)]
        full = len(x) // BATCH * BATCH

        def epoch() -> None:
            order = rng.permutation(len(x))
            carry[0], losses = run(carry[0], jnp.asarray(order[:full].reshape(-1, BATCH)))
            if full < len(x):
                carry[0], losses = run(carry[0], jnp.asarray(order[full:][None]))
            losses.block_until_ready()

        return epoch

    return {f"JAX {jax.__version__} jit+scan {name}": contender(name) for name in RATES}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--epochs", type=int, default=3, help="epochs of a contender's turn")
    options.add_argument("--spec", default="specs/race.nn")
    options.add_argument("--data-dir", type=Path)
    given = options.parse_args()
    compiled = compile_spec(given.spec)
    data = next(iter(load_data(compiled.program, Access(given.data_dir, offline=True)).values()))[0]
    contenders = {**products(data), **ours(data, given.spec)}
    left_out = []
    for contender in (lambda d: ours_compiled(d, given.spec), torch_eager, sklearn, jax_scan):
        try:
            contenders |= contender(data)
        except ImportError as error:
            left_out.append(f"{error.name} is not installed")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for epoch in contenders.values():
        epoch()
        epoch()
    for number in range(given.rounds):
        for name, epoch in contenders.items():
            started = time.perf_counter()
            for _ in range(given.epochs):
                epoch()
            times[name].append((time.perf_counter() - started) / given.epochs)
        print(f"\rround {number + 1} of {given.rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    _print(times, data, given.rounds, left_out)


def _print(times: dict[str, list[float]], data: Dataset, rounds: int, left_out: list[str]) -> None:
    batches = -(-len(data.train.y) // BATCH)
    print(
        f"nnspec {nnspec.__version__}, NumPy {np.__version__}, Python {platform.python_version()}, one thread; "
        f"{data.source}, {len(data.train.y)} samples, batch {BATCH}; {rounds} rounds; "
        f"kernels {', '.join(str(pool.get('architecture')) for pool in environment()['blas'])}"
    )
    print(f"\n{'':34} {'times the products':>26}    {'a step':>9}\n{'':34} {'median':>8} {'least':>8} {'most':>8}")
    for name, own in times.items():
        ratios = sorted(t / p for t, p in zip(own, times["products"], strict=True))
        step = statistics.median(own) / batches * 1e6
        print(f"{name:34} {statistics.median(ratios):8.2f} {ratios[0]:8.2f} {ratios[-1]:8.2f}    {step:6.0f} µs")
    print()
    for lane in RATES:
        others = [name for name in times if name.endswith(f" {lane}") and not name.startswith("nnspec")]
        for own in (f"nnspec {lane}", f"nnspec {lane}, compiled"):
            for other in others if own in times else ():
                ratios = [a / b for a, b in zip(times[other], times[own], strict=True)]
                print(f"{other}: {statistics.median(ratios):.2f} times as long as {own}")
    for line in left_out:
        print(f"left out, {line}")


if __name__ == "__main__":
    main()

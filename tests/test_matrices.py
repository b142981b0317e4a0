"""Optimizers that move a matrix as a whole: which tensors are matrices, and what is computed of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_plan import make_plan
from tiny_spec import spec

import nnspec
from nnspec import engine as nn
from nnspec.compiler.plan import build_network
from nnspec.engine.parameter import Parameter

REFERENCE = json.loads((Path(__file__).parent / "oracle/trajectories_matrices.json").read_text(encoding="utf-8"))
RNG = np.random.default_rng(0)


def stepped(optimizer: type[nn.Optimizer], data: Any, grads: Any, *, decays: bool = True, **more: Any) -> np.ndarray:
    """The values of a parameter after a step for each gradient."""
    parameter = Parameter(data, decays=decays)
    made = optimizer([parameter], **more)
    for grad in grads:
        parameter.grad = grad
        made.step()
    return parameter.data


@pytest.mark.parametrize("case", REFERENCE["orthogonal"], ids=lambda case: f"{np.shape(case['matrix'])}")
@pytest.mark.parametrize("steps", [1, 5])
def test_muon_orthogonalises_as_its_author(case: dict[str, Any], steps: int) -> None:
    matrix = np.array(case["matrix"])
    # In PyTorch a weight is (out, in), so that its transpose is what moves here; the first step is along -O · lr · s.
    moved = stepped(nn.Muon, np.zeros(matrix.T.shape), [matrix.T], lr=1.0, ns_steps=steps)
    scale = np.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
    np.testing.assert_allclose(-moved.T, scale * np.array(case["steps"][str(steps)]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_moves_all_directions_alike(shape: tuple[int, ...]) -> None:
    moved = stepped(nn.Muon, np.zeros(shape), [RNG.standard_normal(shape)], lr=1.0, adjust_lr="match_rms_adamw")
    lengths = np.linalg.svd(moved / (0.2 * np.sqrt(max(shape))), compute_uv=False)
    assert (lengths > 0.5).all()
    assert (lengths < 1.3).all()


def test_muon_moves_a_kernel_as_the_matrix_of_its_outputs() -> None:
    start, grads = RNG.standard_normal((8, 2, 3, 1)), RNG.standard_normal((5, 8, 2, 3, 1))
    moved = stepped(nn.Muon, start, grads, weight_decay=0.1)
    # A matrix of a `Linear` is (in, out).
    matrix = stepped(nn.Muon, start.reshape(8, 6).T, [grad.reshape(8, 6).T for grad in grads], weight_decay=0.1)
    np.testing.assert_allclose(moved.reshape(8, 6), matrix.T, rtol=1e-12, atol=1e-12)


def test_muon_moves_what_is_no_matrix_by_adamw() -> None:
    adamw = {"lr": 0.3 * 0.5, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.2, "decay_all": True}
    more = adamw | {"lr": 0.3, "adamw_lr_factor": 0.5}
    for shape, decays in (((5,), True), ((2, 3), False)):
        start, grads = RNG.standard_normal(shape), RNG.standard_normal((5, *shape))
        ours = stepped(nn.Muon, start, grads, decays=decays, **more)
        theirs = stepped(nn.AdamW, start, grads, decays=decays, **adamw)
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)
        assert (stepped(nn.Muon, start, grads, **more) == ours).all() is np.bool(len(shape) == 1)


TABLES = {"Embedding1.weight", "PositionalEmbedding1.weight"}
MATRICES = ["LSTM1.weight_ih", "LSTM1.weight_hh", "Linear1.weight", "Linear2.weight"]


@pytest.mark.parametrize(("more", "matrices"), [({}, MATRICES), ({"hidden_only": True}, MATRICES[1:-1])])
def test_muon_moves_tables_and_ends_by_adamw(more: dict[str, Any], matrices: list[str], tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abcd\n" * 40, encoding="utf-8")
    model = "Embedding(6); PositionalEmbedding; LSTM(4); LayerNorm; Linear(6); PReLU; Linear(5)"
    (tmp_path / "text.nn").write_text(spec(model, data='Text("text.txt", context=8)'), encoding="utf-8")
    program = nnspec.check(tmp_path / "text.nn").compiled
    assert program is not None
    tensors = build_network(program.program.lanes[0]).named_parameters()
    optimizer = nn.Muon(tensors.values(), **more)
    for parameter in tensors.values():
        parameter.grad = np.ones(parameter.shape)
    optimizer.step()
    # Those that AdamW moves have a second moment.
    unused = [not state["second_moment"].any() for state in optimizer.state]
    assert tensors.keys() > TABLES
    assert [name for name, one in zip(tensors, unused, strict=True) if one] == matrices


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["Muon", "Muon(hidden_only=true, weight_decay=0.1, decay_all=true)"])
def test_a_spec_moves_as_python_does(optimizer: str, dtype: str) -> None:
    model = "Linear(12); LayerNorm; residual { Linear(12); Tanh }; PReLU; Linear(10)"
    text = spec(model, optimizer=optimizer, train="epochs = 2; batch = 16", more=f"dtype = {dtype}")
    plan, other = make_plan(text), make_plan(text)
    network, loss = build_network(plan.experiment), nn.CrossEntropyLoss()
    chosen = plan.experiment.optimizer
    made = chosen.part(network.parameters(), **{name: bound.value for name, bound in chosen.arguments.items()})
    for epoch in range(2):
        plan.begin(epoch)
        other.begin(epoch)
        for number in range(other.batches):
            plan.train_batch(number)
            rows = other.data.train(number)
            loss.forward(network.forward(other.data.x(rows, whole=True)), other.data.targets(rows))
            network.backward(loss.backward())
            made.step()
    for name, parameter in network.named_parameters().items():
        assert plan.network.named_parameters()[name].data.tobytes() == parameter.data.tobytes(), name

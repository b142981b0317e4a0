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
from nnspec.engine.optimizers import soap
from nnspec.engine.parameter import Parameter

REFERENCE = json.loads((Path(__file__).parent / "oracle/trajectories_matrices.json").read_text(encoding="utf-8"))
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("case", REFERENCE["regression"]["cases"], ids=lambda case: f"{case['arguments']}")
def test_soap_goes_the_same_way_with_bases_of_both_sides(case: dict[str, Any]) -> None:
    given, network, losses = REFERENCE["regression"], nn.NumpyMLP(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 4)), []
    for parameter, values in zip(network.parameters(), given["start"], strict=True):
        parameter.data = values
    x, y, loss = np.array(given["x"]), np.array(given["y"]), nn.MSELoss()
    optimizer = nn.SOAP(network.parameters(), **case["arguments"])
    for _ in range(100):
        losses.append(loss.forward(network.forward(x), y))
        network.backward(loss.backward())
        optimizer.step()
    np.testing.assert_allclose(losses[::10], case["losses"], rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(network.parameters(), case["after"], strict=True):
        np.testing.assert_allclose(ours.data, theirs, rtol=1e-10, atol=1e-10)


def test_soap_without_bases_is_adam_after_its_first_step() -> None:
    start, grads = RNG.standard_normal((4, 3)), RNG.standard_normal((6, 4, 3))
    ours = stepped(nn.SOAP, start, grads, max_precond_dim=2, weight_decay=0.0, eps=1e-30)
    theirs = stepped(nn.Adam, start, grads[1:], lr=0.003, betas=(0.95, 0.95), eps=1e-30)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_soap_turns_with_its_matrix() -> None:
    """In another orthonormal basis of rows and columns, steps are the same ones, turned."""
    left, right = (np.linalg.qr(RNG.standard_normal((4, 4)))[0] for _ in range(2))
    start, grads = RNG.standard_normal((4, 4)), RNG.standard_normal((30, 4, 4))
    plain = stepped(nn.SOAP, start, grads, precondition_frequency=4)
    turned = stepped(nn.SOAP, left @ start @ right, [left @ g @ right for g in grads], precondition_frequency=4)
    np.testing.assert_allclose(turned, left @ plain @ right, rtol=1e-9, atol=1e-9)
    alone = stepped(nn.SOAP, start, grads, precondition_frequency=4, max_precond_dim=3)
    assert np.abs(alone - plain).max() > 1e-3


def test_soap_moves_a_kernel_as_a_matrix() -> None:
    start, grads = RNG.standard_normal((8, 2, 3, 1)), RNG.standard_normal((5, 8, 2, 3, 1))
    matrix = stepped(nn.SOAP, start.reshape(8, 6), [grad.reshape(8, 6) for grad in grads])
    np.testing.assert_array_equal(stepped(nn.SOAP, start, grads).reshape(8, 6), matrix)


@pytest.mark.parametrize(("shape", "size"), [((3,), 0), ((3, 4), 9 + 16), ((2, 3, 5), 4), ((11, 12), 0)])
def test_soap_keeps_square_matrices_of_sides_that_are_not_too_long(shape: tuple[int, ...], size: int) -> None:
    assert nn.SOAP.state_of_tensor({"max_precond_dim": 10}, shape) == {"grams": size, "bases": size}


@pytest.mark.parametrize("number", [1, 2, 6])
def test_gradients_that_are_not_finite_spoil_soap_for_everyone_to_see(number: int) -> None:
    grads = RNG.standard_normal((8, 4, 3))
    grads[number - 1, 2, 1] = np.nan
    with np.errstate(invalid="ignore"):
        assert np.isnan(stepped(nn.SOAP, np.ones((4, 3)), grads, precondition_frequency=2)).any()


def test_a_decomposition_that_does_not_converge_spoils_soap_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(matrix: Any) -> Any:
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    monkeypatch.setattr(np.linalg, "eigh", raising)
    assert np.isnan(stepped(nn.SOAP, np.ones((4, 3)), RNG.standard_normal((2, 4, 3)))).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("size", "rank"), [(1, 1), (96, 96), (97, 97), (130, 130), (130, 60), (130, 1), (50, 1)])
def test_bases_of_soap_are_those_of_a_qr_decomposition(size: int, rank: int, dtype: str) -> None:
    matrix = (RNG.standard_normal((size, rank)) @ RNG.standard_normal((rank, size))).astype(dtype)
    matrix[:, rank:] = 0
    unit = np.finfo(dtype).eps * size
    basis = soap._orthonormal(matrix.copy())
    np.testing.assert_allclose(basis.T @ basis, np.eye(size), atol=10 * unit)
    np.testing.assert_allclose(np.tril(basis.T @ matrix, -1), 0, atol=10 * unit * (1 + np.abs(matrix).max()))
    expected = np.linalg.qr(matrix)[0][:, :rank]
    np.testing.assert_allclose(basis[:, :rank], expected, atol=unit * max(1, np.linalg.cond(matrix[:, :rank])))


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
@pytest.mark.parametrize(
    "optimizer",
    [
        "Muon",
        "Muon(hidden_only=true, weight_decay=0.1, decay_all=true)",
        "SOAP(precondition_frequency=3, max_precond_dim=20)",
    ],
)
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

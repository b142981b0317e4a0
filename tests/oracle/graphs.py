"""Training by PyTorch of networks with skip connections, products, several inputs and shared parameters.

    python tests/oracle/make_reference.py graphs

Each case has the text of nnspec's model, the data, the weights at the start and at the end by nnspec's names, the
gradients of the first batch, and the loss of each batch: SGD with momentum, in batches of half the samples. Networks
are written with plain tensors, so that a parameter that is used twice is one tensor used twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from row import Tensor, normal
from torch.nn import functional as F

SAMPLES, EPOCHS, RATE, MOMENTUM = 8, 3, 0.1, 0.9
Weights = dict[str, Tensor]


def case(
    text: str,
    shapes: dict[str, tuple[int, ...]],
    x: dict[str, Tensor],
    y: Tensor,
    run: Callable[..., Tensor],
    loss: str,
    head: str = "",
    state: dict[str, Tensor] | None = None,
    **data: Any,
) -> dict[str, Any]:
    """Train a network: `run` takes its weights, its state and its inputs."""
    weights = {name: normal(*shape, scale=0.4).requires_grad_() for name, shape in shapes.items()}
    losses = {
        "MSE": F.mse_loss,
        "CrossEntropy": lambda z, t: F.cross_entropy(z.reshape(-1, z.shape[-1]), t.reshape(-1)),
    }
    start = {name: tensor.tolist() for name, tensor in weights.items()}
    kept = {name: tensor.clone() for name, tensor in (state or {}).items()}
    before = {name: tensor.tolist() for name, tensor in kept.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=RATE, momentum=MOMENTUM)
    found, gradients = [], {}
    for step in range(2 * EPOCHS):
        part = slice(0, SAMPLES // 2) if step % 2 == 0 else slice(SAMPLES // 2, SAMPLES)
        optimizer.zero_grad()
        value = losses[loss](run(weights, kept, *(each[part] for each in x.values())), y[part])
        value.backward()
        gradients = gradients or {name: tensor.grad.tolist() for name, tensor in weights.items()}
        optimizer.step()
        found.append(value.item())
    end = {name: tensor.tolist() for name, tensor in weights.items()} | {name: a.tolist() for name, a in kept.items()}
    arrays = {name: each.tolist() for name, each in x.items()}
    return {
        "model": text, "head": head, "loss": loss, "data": data, "x": arrays, "y": y.tolist(),
        "start": start | before, "gradients": gradients, "losses": found, "end": end,
    }  # fmt: skip


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    """x W + b."""
    return x @ w[f"{name}.weight"] + w[f"{name}.bias"]


def u_shaped(w: Weights, _: Weights, x: Tensor) -> Tensor:
    """An autoencoder with a skip connection."""
    a = F.conv2d(x.reshape(-1, 1, 4, 4), w["a.weight"], w["a.bias"], padding=1)
    h = torch.tanh(F.conv2d(F.max_pool2d(torch.relu(a), 2), w["code.weight"], w["code.bias"], padding=1))
    joined = torch.cat([F.interpolate(h, scale_factor=2), a], dim=1)
    return F.conv2d(joined, w["Conv2D3.weight"], w["Conv2D3.bias"], padding=1).flatten(1)


def siamese(w: Weights, state: Weights, left: Tensor, right: Tensor) -> Tensor:
    """The distance of what one tower makes of two inputs."""

    def tower(x: Tensor) -> Tensor:
        t = "distance1.left.t"
        h = torch.tanh(linear(w, f"{t}.Linear1", x))
        mean, var = state[f"{t}.BatchNorm1.running_mean"], state[f"{t}.BatchNorm1.running_var"]
        h = F.batch_norm(h, mean, var, w[f"{t}.BatchNorm1.weight"], w[f"{t}.BatchNorm1.bias"], training=True)
        return linear(w, f"{t}.Linear2", h)

    return F.pairwise_distance(tower(left), tower(right))


def tied(w: Weights, _: Weights, ids: Tensor) -> Tensor:
    """A language model whose output layer is its embedding."""
    h = torch.tanh(linear(w, "Linear1", F.embedding(ids, w["e.weight"])))
    return F.linear(h, w["e.weight"], w["out.bias"])


def tied_decoder(w: Weights, _: Weights, x: Tensor) -> Tensor:
    """An autoencoder whose decoder has the weights of its encoder; the outer layer is used once more in the middle."""
    h = torch.tanh(linear(w, "outer", x))
    h = torch.tanh(linear(w, "inner", h)) @ w["inner.weight"].T
    return torch.tanh(linear(w, "outer", h @ w["outer.weight"].T)) @ w["outer.weight"].T


def squeeze_and_excitation(w: Weights, _: Weights, x: Tensor) -> Tensor:
    """Channels times gates of what they are on average."""
    h = F.conv2d(x.reshape(-1, 2, 3, 3), w["Conv2D1.weight"], w["Conv2D1.bias"], padding=1)
    gate = torch.relu(linear(w, "multiply1.gate.Linear1", h.mean(dim=(2, 3))))
    gate = torch.sigmoid(linear(w, "multiply1.gate.Linear2", gate))
    return linear(w, "Linear1", (h * gate[:, :, None, None]).mean(dim=(2, 3)))


def factors(w: Weights, _: Weights, user: Tensor, film: Tensor) -> Tensor:
    """Matrix factorisation: the cosine of two embeddings, plus a gate, minus a bias of the film."""
    u, f = F.embedding(user, w["u.weight"]), F.embedding(film, w["f.weight"])
    cosine = F.cosine_similarity(u, f)[:, None]
    dot = (u * f).sum(dim=1, keepdim=True)
    return (cosine * torch.sigmoid(dot) - F.embedding(film, w["subtract1.bias.b.weight"])).flatten()


def cases() -> list[dict[str, Any]]:
    """All networks."""
    n = SAMPLES
    conv = {"a": (3, 1, 3, 3), "code": (4, 3, 3, 3), "Conv2D3": (1, 7, 3, 3)}
    t = "distance1.left.t"
    width = {f"{t}.Linear1.weight": (3, 5), f"{t}.Linear1.bias": (5,), f"{t}.BatchNorm1.weight": (5,)}
    width |= {f"{t}.BatchNorm1.bias": (5,), f"{t}.Linear2.weight": (5, 2), f"{t}.Linear2.bias": (2,)}
    statistics = {f"{t}.BatchNorm1.running_mean": torch.zeros(5), f"{t}.BatchNorm1.running_var": torch.ones(5)}
    ids = torch.randint(0, 7, (n, 4))
    user, film = torch.randint(0, 6, (n,)), torch.randint(0, 6, (n,))
    gates = "multiply1.gate.Linear"
    return [
        case(
            "Reshape([1, 4, 4]); a: Conv2D(3, 3, padding=same); ReLU; MaxPool(2); code: Conv2D(4, 3, padding=same);"
            " Tanh; Upsample(2); concat { up { }; skip { from(a) } }; Conv2D(1, 3, padding=same); Flatten",
            {f"{k}.weight": s for k, s in conv.items()} | {f"{k}.bias": s[:1] for k, s in conv.items()},
            {"x": normal(n, 16)}, normal(n, 16), u_shaped, "MSE",
        ),
        case(
            "distance { left { from(left); t: Tower(5) }; right { from(right); same(distance1.left.t) } }",
            width, {"left": normal(n, 3), "right": normal(n, 3)}, normal(n).abs(), siamese, "MSE",
            head="block Tower(n) { Linear(n); Tanh; BatchNorm; Linear(2) }", state=statistics,
            inputs=["left", "right"],
        ),
        case(
            "e: Embedding(5); Linear(5); Tanh; out: transposed(e, bias=true)",
            {"e.weight": (7, 5), "Linear1.weight": (5, 5), "Linear1.bias": (5,), "out.bias": (7,)},
            {"x": ids}, torch.randint(0, 7, (n, 4)), tied, "CrossEntropy", ids=7, classes=7,
        ),
        case(
            "outer: Linear(4); Tanh; inner: Linear(3); Tanh; transposed(inner); transposed(outer); same(outer); Tanh;"
            " transposed(outer)",
            {"outer.weight": (6, 4), "outer.bias": (4,), "inner.weight": (4, 3), "inner.bias": (3,)},
            {"x": normal(n, 6)}, normal(n, 6), tied_decoder, "MSE",
        ),
        case(
            "Reshape([2, 3, 3]); Conv2D(4, 3, padding=same); multiply { x { }; gate { GlobalAvgPool; Linear(2); ReLU;"
            " Linear(4); Sigmoid } }; GlobalAvgPool; Linear(3)",
            {"Conv2D1.weight": (4, 2, 3, 3), "Conv2D1.bias": (4,), f"{gates}1.weight": (4, 2), f"{gates}1.bias": (2,)}
            | {f"{gates}2.weight": (2, 4), f"{gates}2.bias": (4,), "Linear1.weight": (4, 3), "Linear1.bias": (3,)},
            {"x": normal(n, 18)}, torch.randint(0, 3, (n,)), squeeze_and_excitation, "CrossEntropy", classes=3,
        ),
        case(
            "from(user); u: Embedding(4); from(film); f: Embedding(4); subtract { score { multiply { cosine {"
            " dot(normalise=true) { a { from(u) }; b { from(f) } } }; gate { dot { a { from(u) }; b { from(f) } };"
            " Sigmoid } } }; bias { from(film); b: Embedding(1) } }",
            {"u.weight": (6, 4), "f.weight": (6, 4), "subtract1.bias.b.weight": (6, 1)},
            {"user": user, "film": film}, normal(n), factors, "MSE", inputs=["user", "film"], ids=6,
        ),
    ]  # fmt: skip


def content() -> dict[str, Any]:
    """All of what is in the file."""
    return {"cases": cases()}

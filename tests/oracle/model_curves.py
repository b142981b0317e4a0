"""Trains models of `specs/models` in PyTorch, and writes the losses of all epochs and the final weights to
`model_curves.json`.

    python tests/oracle/model_curves.py

Models are written here as functions of parameters that are named and laid out as in nnspec: matrices are (in, out).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from model_runs import BATCHES, CASES, EPOCHS, initial, normal  # noqa: E402

torch.set_default_dtype(torch.float64)


class Parameters(dict[str, Tensor]):
    """Parameters by name, created with their initial values on first use, and the running statistics of BatchNorm."""

    def get_(self, name: str, *shape: int) -> Tensor:
        if name not in self:
            self[name] = torch.tensor(initial(name, shape), requires_grad=True)
        return self[name]

    def linear(self, name: str, x: Tensor, out: int, bias: bool = True) -> Tensor:
        y = x @ self.get_(f"{name}.weight", x.shape[-1], out)
        return y + self.get_(f"{name}.bias", out) if bias else y

    def conv(self, name: str, x: Tensor, out: int, size: int, padding: int = 0, bias: bool = True) -> Tensor:
        weight = self.get_(f"{name}.weight", out, x.shape[1], size, size)
        return F.conv2d(x, weight, self.get_(f"{name}.bias", out) if bias else None, padding=padding)

    def batch_norm(self, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
        """Normalise each feature (the last axis of rows and sequences) or each channel of images."""
        size = x.shape[1] if x.ndim == 4 else x.shape[-1]
        weight, bias = self.get_(f"{name}.weight", size), self.get_(f"{name}.bias", size)
        rows = x if x.ndim == 4 else x.reshape(-1, size)
        return F.batch_norm(rows, None, None, weight, bias, training=True, eps=eps).reshape(x.shape)

    def layer_norm(self, name: str, x: Tensor, eps: float = 1e-5, bias: bool = True) -> Tensor:
        size = x.shape[-1]
        shift = self.get_(f"{name}.bias", size) if bias else None
        return F.layer_norm(x, (size,), self.get_(f"{name}.weight", size), shift, eps)

    def embedding(self, name: str, ids: Tensor, rows: int, size: int) -> Tensor:
        return F.embedding(ids, self.get_(f"{name}.weight", rows, size))

    def attention(
        self, name: str, x: Tensor, heads: int, mask: Tensor | None = None, causal: bool = False, bias: bool = True
    ) -> Tensor:
        batch, places, width = x.shape
        qkv = x @ self.get_(f"{name}.qkv_weight", width, 3 * width)
        if bias:
            qkv = qkv + self.get_(f"{name}.qkv_bias", 3 * width)
        q, k, v = (part.reshape(batch, places, heads, -1).transpose(1, 2) for part in qkv.split(width, -1))
        allowed = None if mask is None else mask[:, None, None, :]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=causal)
        y = y.transpose(1, 2).reshape(batch, places, width) @ self.get_(f"{name}.out_weight", width, width)
        return y + self.get_(f"{name}.out_bias", width) if bias else y

    def recurrent(self, kind: type[torch.nn.Module], name: str, x: Tensor, size: int, gates: int) -> Tensor:
        """Run PyTorch's own module with these parameters; all states."""
        weights = {
            "weight_ih_l0": self.get_(f"{name}.weight_ih", x.shape[-1], gates * size).T,
            "weight_hh_l0": self.get_(f"{name}.weight_hh", size, gates * size).T,
            "bias_ih_l0": self.get_(f"{name}.bias_ih", gates * size),
            "bias_hh_l0": self.get_(f"{name}.bias_hh", gates * size),
        }
        module = kind(x.shape[-1], size, batch_first=True)
        states: Tensor = torch.func.functional_call(module, weights, (x,))[0]
        return states


NOISE: list[int] = []
"""One entry for each forward pass in which a `Sample` drew noise."""
Model = Callable[[Parameters, Any, Tensor], Tensor]
"""The loss of a batch."""


def caffe_lenet(p: Parameters, x: Tensor, t: Tensor) -> Tensor:
    y = F.max_pool2d(p.conv("Conv2D1", x / (256 / 255), 20, 5), 2)
    y = F.max_pool2d(p.conv("Conv2D2", y, 50, 5), 2).flatten(1)
    return F.cross_entropy(p.linear("Linear2", F.relu(p.linear("Linear1", y, 500)), 10), t)


def karpathy_mlp(p: Parameters, x: Tensor, t: Tensor) -> Tensor:
    y = p.embedding("Embedding1", x, 27, 10).flatten(1)
    return F.cross_entropy(p.linear("Linear2", torch.tanh(p.linear("Linear1", y, 200)), 27), t)


def karpathy_wavenet(p: Parameters, x: Tensor, t: Tensor) -> Tensor:
    y = p.embedding("Embedding1", x, 27, 24)
    for number, places in enumerate((4, 2, 1), 1):
        y = p.linear(f"Merge{number}.Linear1", y.reshape(len(x), places, -1), 128, bias=False)
        y = torch.tanh(p.batch_norm(f"Merge{number}.BatchNorm1", y))
    return F.cross_entropy(p.linear("Linear1", y.flatten(1), 27), t)


def karpathy_nanogpt(p: Parameters, x: Tensor, t: Tensor) -> Tensor:
    width, ids = 16, 20
    y = p.embedding("tokens", x, ids, width) + p.get_("PositionalEmbedding1.weight", x.shape[1], width)
    for number in range(1, 5):
        layer = f"Layer{number}"
        z = p.layer_norm(f"{layer}.residual1.LayerNorm1", y, bias=False)
        y = y + p.attention(f"{layer}.residual1.MultiHeadAttention1", z, 4, causal=True, bias=False)
        z = p.layer_norm(f"{layer}.residual2.LayerNorm1", y, bias=False)
        z = F.gelu(p.linear(f"{layer}.residual2.Linear1", z, 4 * width, bias=False))
        y = y + p.linear(f"{layer}.residual2.Linear2", z, width, bias=False)
    logits = p.layer_norm("LayerNorm1", y, bias=False) @ p["tokens.weight"].T
    return F.cross_entropy(logits.reshape(-1, ids), t.reshape(-1))


def keras_siamese(p: Parameters, x: Mapping[str, Tensor], t: Tensor) -> Tensor:
    def tower(x: Tensor) -> Tensor:
        inside = "distance1.left.tower"
        y = p.batch_norm(f"{inside}.BatchNorm1", x.reshape(-1, 1, 28, 28), eps=1e-3)
        y = F.avg_pool2d(torch.tanh(p.conv(f"{inside}.Conv2D1", y, 4, 5)), 2)
        y = F.avg_pool2d(torch.tanh(p.conv(f"{inside}.Conv2D2", y, 16, 5)), 2).flatten(1)
        return torch.tanh(p.linear(f"{inside}.Linear1", p.batch_norm(f"{inside}.BatchNorm2", y, eps=1e-3), 10))

    distance = F.pairwise_distance(tower(x["left"]), tower(x["right"]))[:, None]
    d = torch.sigmoid(p.linear("Linear1", p.batch_norm("BatchNorm1", distance, eps=1e-3), 1))[:, 0]
    return ((1 - t) * d**2 + t * F.relu(1 - d) ** 2).mean() / 2


def pytorch_vae(p: Parameters, x: Tensor, t: Tensor) -> Tensor:
    mean, log_variance = p.linear("Linear2", F.relu(p.linear("Linear1", x, 400)), 40).split(20, -1)
    z = mean + torch.exp(log_variance / 2) * torch.tensor(normal(f"noise {len(NOISE)}", (len(x), 20)))
    NOISE.append(len(x))
    y = p.linear("Linear4", F.relu(p.linear("Linear3", z, 400)), 784)
    divergence = (mean**2 + log_variance.exp() - log_variance - 1).sum(1).mean() / 2
    return F.binary_cross_entropy_with_logits(y, x) + divergence / 784


def keras_text_transformer(p: Parameters, x: Tensor, t: Tensor) -> Tensor:
    width, real = 32, x != 0
    y = p.embedding("Embedding1", x, 30, width) + p.get_("PositionalEmbedding1.weight", x.shape[1], width)
    y = p.layer_norm("LayerNorm1", y + p.attention("residual1.MultiHeadAttention1", y, 2, real), 1e-6)
    z = F.relu(p.linear("residual2.Linear1", y, width))
    y = p.layer_norm("LayerNorm2", y + p.linear("residual2.Linear2", z, width), 1e-6)
    y = (y * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    return F.cross_entropy(p.linear("Linear2", F.relu(p.linear("Linear1", y, 20)), 2), t)


def se_resnet(p: Parameters, x: Tensor, t: Tensor) -> Tensor:
    y = F.relu(p.conv("Conv2D1", x, 32, 3, padding=1))
    for number in range(1, 5):
        inside = f"Unit{number}.residual1"
        z = p.conv(f"{inside}.Conv2D1", y, 32, 3, padding=1, bias=False)
        z = F.relu(p.batch_norm(f"{inside}.BatchNorm1", z))
        gate = F.relu(p.linear(f"{inside}.SE1.multiply1.gate.Linear1", z.mean((2, 3)), 8))
        gate = torch.sigmoid(p.linear(f"{inside}.SE1.multiply1.gate.Linear2", gate, 32))
        y = F.relu(y + z * gate[:, :, None, None])
        y = F.max_pool2d(y, 2) if number == 2 else y
    return F.cross_entropy(p.linear("Linear1", y.mean((2, 3)), 10), t)


def keras_unet(p: Parameters, x: Tensor, t: Tensor) -> Tensor:
    width = 4

    def norm(name: str, x: Tensor) -> Tensor:
        return p.batch_norm(f"{name}.BatchNorm1", x, eps=1e-3)

    def separable(name: str, x: Tensor, channels: int) -> Tensor:
        depth = x.shape[1]
        y = F.conv2d(F.relu(x), p.get_(f"{name}.Conv2D1.weight", depth, 1, 3, 3), padding=1, groups=depth)
        return norm(name, p.conv(f"{name}.Conv2D2", y, channels, 1))

    def transposed(name: str, x: Tensor, channels: int) -> Tensor:
        weight = p.get_(f"{name}.ConvTranspose2D1.weight", x.shape[1], channels, 3, 3)
        bias = p.get_(f"{name}.ConvTranspose2D1.bias", channels)
        return norm(name, F.conv_transpose2d(F.relu(x), weight, bias, padding=1))

    weight = p.get_("Conv2D1.weight", width, 3, 3, 3)
    y = F.conv2d(F.pad(x, (0, 1, 0, 1)), weight, p.get_("Conv2D1.bias", width), stride=2)
    y = F.relu(p.batch_norm("BatchNorm1", y, eps=1e-3))
    for number, channels in enumerate((2 * width, 4 * width, 8 * width), 1):
        inside = f"Down{number}.residual1"
        z = separable(f"{inside}.Separable2", separable(f"{inside}.Separable1", y, channels), channels)
        z = F.max_pool2d(F.pad(z, (0, 1, 0, 1), value=-math.inf), 3, stride=2)
        y = z + p.conv(f"{inside}.shortcut.Conv2D1", y[:, :, ::2, ::2], channels, 1)
    for number, channels in enumerate((8 * width, 4 * width, 2 * width, width), 1):
        inside = f"Up{number}.residual1"
        z = transposed(f"{inside}.Transposed2", transposed(f"{inside}.Transposed1", y, channels), channels)
        y = p.conv(f"{inside}.shortcut.Conv2D1", F.interpolate(y, scale_factor=2), channels, 1)
        y = F.interpolate(z, scale_factor=2) + y
    return F.cross_entropy(p.conv("Conv2D2", y, 3, 3, padding=1).flatten(2), t)


def d2l_gru(p: Parameters, x: Tensor, t: Tensor) -> Tensor:
    y = p.linear("Linear1", p.recurrent(torch.nn.GRU, "GRU1", F.one_hot(x, 12).double(), 32, 3), 12)
    return F.cross_entropy(y.reshape(-1, 12), t.reshape(-1))


def keras_addition(p: Parameters, x: Tensor, t: Tensor) -> Tensor:
    last = p.recurrent(torch.nn.LSTM, "Recurrent1.LSTM1", F.one_hot(x, 12).double(), 16, 4)[:, -1:]
    y = p.linear("Linear1", p.recurrent(torch.nn.LSTM, "Recurrent2.LSTM1", last.repeat(1, 4, 1), 16, 4), 12)
    return F.cross_entropy(y.reshape(-1, 12), t.reshape(-1))


def sklearn_alpha(p: Parameters, x: Tensor, t: Tensor) -> Tensor:
    y = F.relu(p.linear("Hidden1.Linear1", x, 10))
    y = p.linear("Linear1", F.relu(p.linear("Hidden2.Linear1", y, 10)), 1)[:, 0]
    weights = sum((p[name] ** 2).sum() for name in p if name.endswith(".weight"))
    return F.binary_cross_entropy_with_logits(y, t.double()) + 1.0 / 2 / 60 * weights


def _decaying(p: Parameters, decay: float, no_bias: bool = True) -> list[dict[str, Any]]:
    """Parameter groups in which biases and normalisations do not decay."""
    vectors = [value for value in p.values() if value.ndim == 1]
    others = [value for value in p.values() if value.ndim > 1]
    return [{"params": others, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def _caffe(p: Parameters) -> torch.optim.Optimizer:
    biases = [value for name, value in p.items() if name.endswith("bias")]
    others = [value for name, value in p.items() if not name.endswith("bias")]
    groups = [{"params": others, "lr": 0.01}, {"params": biases, "lr": 0.02}]
    return torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=0.0005)


def _half_bias(p: Parameters) -> torch.optim.Optimizer:
    """Half the rate for the two biases of a recurrent layer, whose sum moves as fast as a single one."""
    halved = [value for name, value in p.items() if "LSTM" in name and ".bias" in name]
    others = [value for name, value in p.items() if not ("LSTM" in name and ".bias" in name)]
    return torch.optim.Adam([{"params": others}, {"params": halved, "lr": 0.0005}], lr=0.001, eps=1e-7)


Rate = Callable[[int], float]
CONSTANT: Rate = lambda step: 1.0  # noqa: E731
OPTIMIZERS: dict[str, tuple[Callable[[Parameters], torch.optim.Optimizer], Rate]] = {
    "caffe_lenet": (_caffe, lambda step: (1 + 1e-4 * step) ** -0.75),
    "karpathy_mlp": (lambda p: torch.optim.SGD(p.values(), lr=0.1), CONSTANT),
    "karpathy_wavenet": (lambda p: torch.optim.SGD(p.values(), lr=0.1), CONSTANT),
    "karpathy_nanogpt": (
        lambda p: torch.optim.AdamW(_decaying(p, 0.1), lr=1.0, betas=(0.9, 0.99)),
        lambda step: 1e-3 * step / 10 if step < 10 else 1e-4 + 9e-4 * (1 + math.cos(math.pi * (step - 10) / 40)) / 2,
    ),
    "keras_siamese": (lambda p: torch.optim.RMSprop(p.values(), lr=0.001, alpha=0.9, eps=0.5e-7), CONSTANT),
    "pytorch_vae": (lambda p: torch.optim.Adam(p.values(), lr=0.001, eps=1e-8 / 784 / 128), CONSTANT),
    "keras_text_transformer": (lambda p: torch.optim.Adam(p.values(), lr=0.001, eps=1e-7), CONSTANT),
    "se_resnet": (lambda p: torch.optim.SGD(_decaying(p, 1e-4), lr=0.1, momentum=0.9), CONSTANT),
    "keras_unet": (lambda p: torch.optim.RMSprop(p.values(), lr=0.001, alpha=0.9, eps=1e-7), CONSTANT),
    "d2l_gru": (lambda p: torch.optim.SGD(p.values(), lr=4.0), CONSTANT),
    "keras_addition": (_half_bias, CONSTANT),
    "sklearn_alpha": (
        lambda p: torch.optim.LBFGS(p.values(), lr=1, max_iter=2, history_size=10, line_search_fn="strong_wolfe"),
        CONSTANT,
    ),
}
CLIPPED = {"d2l_gru": 1.0, "karpathy_nanogpt": 1.0}


def tensors(value: Any) -> Any:
    """Turn arrays into tensors."""
    return (
        {name: torch.tensor(array) for name, array in value.items()} if isinstance(value, dict) else torch.tensor(value)
    )


def rows(value: Any, at: slice) -> Any:
    """Return some of the samples."""
    return {name: array[at] for name, array in value.items()} if isinstance(value, dict) else value[at]


def train(name: str, model: Model) -> dict[str, Any]:
    """Train for all epochs; return the mean loss of each, and the sum and sum of squares of each final parameter."""
    case, p = CASES[name], Parameters()
    x, t = map(tensors, case.arrays())
    model(p, rows(x, slice(case.batch)), t[: case.batch])  # creates the parameters
    NOISE.clear()
    make, rate = OPTIMIZERS[name]
    optimizer = make(p)
    base = [group["lr"] for group in optimizer.param_groups]
    losses: list[float] = []
    for epoch in range(EPOCHS):
        total = 0.0
        for number in range(BATCHES):
            at = slice(number * case.batch, (number + 1) * case.batch)
            for group, lr in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = lr * rate(epoch * BATCHES + number)

            def closure(at: slice = at) -> Tensor:
                optimizer.zero_grad()
                loss = model(p, rows(x, at), t[at])
                loss.backward()
                if name in CLIPPED:
                    torch.nn.utils.clip_grad_norm_(p.values(), CLIPPED[name])
                return loss

            total += float(optimizer.step(closure))
        losses.append(total / BATCHES)
    final = {key: [float(value.sum()), float((value**2).sum())] for key, value in p.items()}
    return {"parameters": sum(value.numel() for value in p.values()), "losses": losses, "final": final}


def main() -> None:
    """Train all, or those that the command line names."""
    path = HERE / "model_curves.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in sys.argv[1:] or OPTIMIZERS:
        results[name] = train(name, globals()[name])
        print(name, results[name]["parameters"], results[name]["losses"][0], results[name]["losses"][-1])
    path.write_text(json.dumps({name: results[name] for name in sorted(results)}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Makes padding.json: what PyTorch computes for padded sequences, in float64.

Attention has a `key_padding_mask`, recurrent layers read packed sequences, the mean is over real places, and the loss
has an `ignore_index`. Weights are in nnspec's layout, (in, out). Run with PyTorch, it writes the file.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.set_default_dtype(torch.float64)
RNG = np.random.default_rng(7)
LENGTHS = torch.tensor([5, 3, 1, 4])
IDS = np.where(np.arange(5) < LENGTHS.numpy()[:, None], RNG.integers(1, 9, (4, 5)), 0)
PADDED = torch.tensor(IDS == 0)


def draw(*shape: int) -> torch.Tensor:
    return torch.tensor(RNG.normal(size=shape).round(2), requires_grad=True)


def plain(value: Any) -> Any:
    return value.detach().numpy().tolist() if isinstance(value, torch.Tensor) else value


def case(
    layer: str, arguments: dict[str, Any], x: torch.Tensor, weights: dict[str, torch.Tensor], y: torch.Tensor
) -> Any:
    cotangent = draw(*y.shape).detach()
    (y * cotangent).sum().backward()
    return {
        "layer": layer,
        "arguments": arguments,
        "x": plain(x),
        "weights": {name: plain(weight) for name, weight in weights.items()},
        "y": plain(y),
        "cotangent": plain(cotangent),
        "x_grad": plain(x.grad),
        "grads": {name: plain(weight.grad) for name, weight in weights.items()},
    }


def attended(x: torch.Tensor, w: dict[str, torch.Tensor], heads: int, causal: bool) -> torch.Tensor:
    mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None
    return nn.functional.multi_head_attention_forward(
        *[x.transpose(0, 1)] * 3, x.shape[-1], heads, w["qkv_weight"].T, w["qkv_bias"], None, None, False, 0.0,
        w["out_weight"].T, w["out_bias"], training=True, key_padding_mask=PADDED, need_weights=False, attn_mask=mask,
    )[0].transpose(0, 1)  # fmt: skip


def attention_weights(width: int) -> dict[str, torch.Tensor]:
    return {
        "qkv_weight": draw(width, 3 * width),
        "qkv_bias": draw(3 * width),
        "out_weight": draw(width, width),
        "out_bias": draw(width),
    }


def attention(causal: bool) -> Any:
    x, weights = draw(4, 5, 6), attention_weights(6)
    return case("MultiHeadAttention", {"num_heads": 2, "causal": causal}, x, weights, attended(x, weights, 2, causal))


def of_recurrent(layer: nn.Module, weights: dict[str, torch.Tensor], x: torch.Tensor, whole: bool) -> torch.Tensor:
    named = {}
    for name, weight in weights.items():
        start, reverse = name.removesuffix("_reverse"), "_reverse" if name.endswith("_reverse") else ""
        named[f"{start}_l0{reverse}"] = weight.T if weight.ndim == 2 else weight
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    y, state = torch.func.functional_call(layer, named, (packed,))
    state = state[0] if isinstance(state, tuple) else state
    return pad_packed_sequence(y, batch_first=True, total_length=5)[0] if whole else torch.cat([*state], dim=1)


def recurrent_weights(gates: int, bidirectional: bool) -> dict[str, torch.Tensor]:
    weights = {}
    for suffix in ("", "_reverse") if bidirectional else ("",):
        weights[f"weight_ih{suffix}"], weights[f"weight_hh{suffix}"] = draw(3, gates * 4), draw(4, gates * 4)
        weights[f"bias_ih{suffix}"], weights[f"bias_hh{suffix}"] = draw(gates * 4), draw(gates * 4)
    return weights


def recurrent(name: str, gates: int, bidirectional: bool, whole: bool) -> Any:
    layer = getattr(nn, name)(3, 4, batch_first=True, bidirectional=bidirectional)
    x, weights = draw(4, 5, 3), recurrent_weights(gates, bidirectional)
    y = of_recurrent(layer, weights, x, whole)
    return case(name, {"hidden_size": 4, "bidirectional": bidirectional, "return_sequences": whole}, x, weights, y)


def mean() -> Any:
    x = draw(4, 5, 3)
    real = (~PADDED)[:, :, None]
    return case("GlobalAvgPool", {}, x, {}, (x * real).sum(dim=1) / real.sum(dim=1))


def steps(kind: str) -> Any:
    """Five steps of SGD with a network for padded ids: classes of samples, or of places, some of which are ignored."""
    width = 4
    weights = {"Embedding1.weight": draw(9, width), "Linear1.weight": draw(width, 3), "Linear1.bias": draw(3)}
    inner: dict[str, torch.Tensor] = {}
    if kind == "MultiHeadAttention":
        inner = attention_weights(width)
    elif kind == "LSTM":
        inner = {"weight_ih": draw(width, 16), "weight_hh": draw(4, 16), "bias_ih": draw(16), "bias_hh": draw(16)}
    start = {name: plain(weight) for name, weight in weights.items()}
    start |= {f"{kind}1.{name}": plain(weight) for name, weight in inner.items()}
    labels = torch.tensor(RNG.integers(0, 3, (4, 5) if not inner else 4))
    wanted = torch.where(PADDED, -100, labels) if not inner else labels
    losses = []
    for _ in range(5):
        h = weights["Embedding1.weight"][torch.tensor(IDS)]
        if kind == "MultiHeadAttention":
            real = (~PADDED)[:, :, None]
            h = (attended(h, inner, 2, False) * real).sum(dim=1) / real.sum(dim=1)
        elif kind == "LSTM":
            h = of_recurrent(nn.LSTM(width, 4, batch_first=True), inner, h, False)
        logits = h @ weights["Linear1.weight"] + weights["Linear1.bias"]
        loss = nn.functional.cross_entropy(logits.reshape(-1, 3), wanted.reshape(-1), ignore_index=-100)
        losses.append(loss.item())
        every = [*weights.values(), *inner.values()]
        for weight, grad in zip(every, torch.autograd.grad(loss, every), strict=True):
            weight.data -= 0.5 * grad
    end = {name: plain(weight) for name, weight in weights.items()}
    end |= {f"{kind}1.{name}": plain(weight) for name, weight in inner.items()}
    return {"kind": kind, "start": start, "labels": labels.tolist(), "losses": losses, "end": end}


if __name__ == "__main__":
    kinds = {"RNN": 1, "LSTM": 4, "GRU": 3}
    found = {
        "ids": IDS.tolist(),
        "layers": [
            attention(False),
            attention(True),
            mean(),
            *(
                recurrent(name, n, both, whole)
                for name, n in kinds.items()
                for both in (False, True)
                for whole in (False, True)
            ),
        ],
        "training": [steps(kind) for kind in ("Linear", "MultiHeadAttention", "LSTM")],
    }
    (Path(__file__).parent / "padding.json").write_text(json.dumps(found), encoding="utf-8")

"""A network with three outputs, trained by PyTorch: a weighted sum of three losses.

python tests/oracle/several_outputs.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

KIND, PARITY, SIZE = 3, 1, 2


def rounded(*shape: int) -> torch.Tensor:
    """Normal numbers with four decimals."""
    return (torch.randn(*shape) * 1e4).round() / 1e4


def content() -> dict[str, Any]:
    """The data, the weights at the start and at the end, and the losses of ten steps."""
    trunk, heads = nn.Linear(4, 5), nn.ModuleList([nn.Linear(5, n) for n in (KIND, PARITY, SIZE)])
    names = ["Linear1", "outputs1.kind.Linear1", "outputs1.parity.Linear1", "outputs1.size.Linear1"]
    named = dict(zip(names, [trunk, *heads], strict=True))
    for layer in named.values():
        layer.weight.data, layer.bias.data = rounded(*layer.weight.shape), rounded(*layer.bias.shape)

    def tensors() -> dict[str, Any]:
        found = {f"{name}.weight": layer.weight.T.tolist() for name, layer in named.items()}
        return found | {f"{name}.bias": layer.bias.tolist() for name, layer in named.items()}

    x, size = rounded(12, 4), rounded(12, SIZE)
    kind, parity = torch.tensor([0, 1, 2] * 4), torch.tensor([0, 1] * 6)
    start, losses = tensors(), []
    optimizer = torch.optim.SGD([p for layer in named.values() for p in layer.parameters()], lr=0.2)
    for _ in range(10):
        h = torch.tanh(trunk(x))
        parts = [
            nn.functional.cross_entropy(heads[0](h), kind),
            nn.functional.binary_cross_entropy_with_logits(heads[1](h)[:, 0], parity.to(torch.float64)),
            nn.functional.huber_loss(heads[2](h), size, delta=0.7),
        ]
        loss = parts[0] + 0.3 * parts[1] + 2 * parts[2]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append([loss.item(), *(part.item() for part in parts)])
    data = {"x": x.tolist(), "kind": kind.tolist(), "parity": parity.tolist(), "size": size.tolist()}
    return {"torch": torch.__version__, **data, "start": start, "losses": losses, "end": tensors()}


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1)
    path = Path(__file__).with_suffix(".json")
    path.write_text("{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in content().items()) + "\n}\n")

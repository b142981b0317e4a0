"""Make weights.safetensors and weights.json: a network of PyTorch, saved by safetensors, and its outputs.

python tests/oracle/weights.py  # needs PyTorch and safetensors
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent


class Network(torch.nn.Module):
    """6 features -> 3 logits, with weights of three dtypes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = torch.nn.Linear(6, 5)
        self.norm = torch.nn.BatchNorm1d(5)
        self.fc2 = torch.nn.Linear(5, 5)
        self.fc3 = torch.nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 6) -> (B, 3)."""
        x = torch.tanh(self.norm(self.fc1(x)))
        return self.fc3(torch.tanh(self.fc2(x)))


def main() -> None:
    """Write both files."""
    torch.manual_seed(0)
    network = Network()
    for _ in range(20):
        network(torch.randn(16, 6) + 1)  # for the running means
    with torch.no_grad():
        network.norm.weight.uniform_(0.5, 2)
        network.norm.bias.uniform_(-1, 1)
    state = network.state_dict()
    for name, dtype in (("fc2", torch.bfloat16), ("fc3", torch.float16)):
        for key in (f"{name}.weight", f"{name}.bias"):
            state[key] = state[key].to(dtype)
    network.load_state_dict(state)  # rounded
    save_file(state, HERE / "weights.safetensors", metadata={"format": "pt"})
    network.double().eval()
    x = torch.randn(4, 6, dtype=torch.float64)
    record = {"torch": torch.__version__.split("+")[0], "x": x.tolist(), "outputs": network(x).tolist()}
    (HERE / "weights.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

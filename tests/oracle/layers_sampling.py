"""The sampling layer of a variational autoencoder, as PyTorch's example of it: in evaluation, and in a training."""

from __future__ import annotations

from typing import Any

import torch
from row import Tensor, normal
from torch import nn
from torch.nn import functional


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each sample: Kingma and Welling 2014, appendix B."""
    return -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(dim=1)


def in_evaluation(case: str, x: Tensor, kl: float) -> dict[str, Any]:
    """The mean, and the gradient of Σ r·y + kl · KL."""
    x = x.clone().requires_grad_()
    mean, log_variance = x.chunk(2, dim=1)
    r = normal(*mean.shape)
    ((r * mean).sum() + kl * divergence(mean, log_variance).mean()).backward()
    return {
        "part": "Sample",
        "case": case,
        "arguments": {"kl": kl},
        "training": False,
        "x": x.tolist(),
        "parameters": {},
        "y": mean.tolist(),
        "r": r.tolist(),
        "x_grad": x.grad.tolist(),
        "parameter_grads": {},
    }


def training(kl: float, steps: int) -> dict[str, Any]:
    """An autoencoder of 6 numbers through 2, trained with plain descent: the losses, and the weights at the end."""
    encoder, decoder = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)), nn.Linear(2, 6)
    named = {"Linear1": encoder[0], "Linear2": encoder[2], "Linear3": decoder}
    for layer in named.values():
        layer.weight.data, layer.bias.data = normal(*layer.weight.shape), normal(*layer.bias.shape)
    parameters = [p for layer in named.values() for p in layer.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.5)

    def tensors() -> dict[str, Any]:
        found = {f"{name}.weight": layer.weight.T.tolist() for name, layer in named.items()}
        return found | {f"{name}.bias": layer.bias.tolist() for name, layer in named.items()}

    x, noise = torch.rand(steps, 8, 6), normal(steps, 8, 2)
    start, losses, divergences = tensors(), [], []
    for batch, epsilon in zip(x, noise, strict=True):
        mean, log_variance = encoder(batch).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_variance) * epsilon
        term = divergence(mean, log_variance).mean()
        loss = functional.binary_cross_entropy_with_logits(decoder(z), batch) + kl * term
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        divergences.append(term.item())
    return {
        "kl": kl,
        "x": x.tolist(),
        "noise": noise.tolist(),
        "start": start,
        "losses": losses,
        "divergences": divergences,
        "end": tensors(),
    }


def content() -> dict[str, Any]:
    """Both."""
    return {
        "cases": [
            in_evaluation("rows", normal(5, 6), 1.0),
            in_evaluation("no divergence", normal(4, 2), 0.0),
            in_evaluation("far", normal(3, 4, scale=5), 0.01),
        ],
        "training": training(kl=0.25, steps=10),
    }

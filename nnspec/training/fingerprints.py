"""Digests of what a training computes with: its tensors at the start, and after every epoch."""

from __future__ import annotations

from nnspec.compiler.plan import Plan
from nnspec.results.digests import array_digest, next_digest

__all__ = ["start_digests", "tensor_digests"]


def start_digests(plan: Plan) -> dict[str, str]:
    """Return a digest of each tensor of a plan's network, by full name; equal bytes and shape, equal digest."""
    parameters = plan.network.named_parameters()
    return {name: next_digest(str(p.shape), p.data) for name, p in parameters.items()}


def tensor_digests(plan: Plan) -> dict[str, str]:
    """Return a digest of each tensor as it is now, and of what layers remember beside their parameters."""
    return {name: array_digest(array) for name, array in plan.network.state_dict().items()}

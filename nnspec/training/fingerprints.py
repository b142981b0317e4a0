"""Digests of the tensors of a training: at the start and after every epoch."""

from __future__ import annotations

from nnspec.compiler.plan import Plan
from nnspec.results.digests import array_digest, next_digest

__all__ = ["start_digests", "tensor_digests"]


def start_digests(plan: Plan) -> dict[str, str]:
    """Return a digest of each tensor of a plan's network, by full name: of its bytes and shape."""
    parameters = plan.network.named_parameters()
    return {name: next_digest(str(p.shape), p.data) for name, p in parameters.items()}


def tensor_digests(plan: Plan) -> dict[str, str]:
    """Return a digest of the current value of each parameter and of other layer state, by full name."""
    return {name: array_digest(array) for name, array in plan.network.state_dict().items()}

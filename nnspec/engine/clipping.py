"""Gradient clipping: shrink gradients in place, between the backward pass and the update.

If both are used, `clip_grad_value` comes first, so that one exploding entry does not dominate the norm and clipping by
the norm does not wipe out the others. Both bounds hold afterwards, because clipping by the norm only shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.parameter import Parameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["clip_grad_norm", "clip_grad_value"]

_EPSILON = 1e-6
"""Added to the norm before dividing, as in PyTorch, so that it never divides by zero."""


def clip_grad_value(params: Sequence[Parameter], clip_value: float) -> None:
    """g ← min(max(g, −c), c), elementwise, as PyTorch's `clip_grad_value_`; NaN stays NaN. Nothing is allocated.

    Frozen parameters are not changed. Raises ValueError if `clip_value` is not greater than 0.
    """
    _hold("clip_value", clip_value)
    for grad in _trained(params):
        np.clip(grad, -clip_value, clip_value, out=grad)


def clip_grad_norm(params: Sequence[Parameter], max_norm: float) -> float:
    """g ← g · max_norm / (‖g‖ + 10⁻⁶) if that factor is below 1; ‖g‖ is the L2 norm over the entries of all
    parameters that are not frozen.

    Returns the original ‖g‖. Nothing is allocated. Pascanu et al. 2013; as PyTorch's `clip_grad_norm_`, except for
    gradients whose square overflows: PyTorch sets them to zero, while here they are scaled to `max_norm` too. Gradients
    that contain NaN or inf are not changed, so that training sees its divergence.

    Raises ValueError if `max_norm` is not greater than 0.
    """
    _hold("max_norm", max_norm)
    grads = _trained(params)
    with np.errstate(over="ignore"):
        norm = _norm(grads)
    if math.isinf(norm):
        return _clip_huge(grads, max_norm)
    factor = max_norm / (norm + _EPSILON)
    if factor < 1:
        _scale(grads, factor)
    return norm


def _hold(name: str, limit: float) -> None:
    if not 0 < limit < math.inf:
        raise ValueError(f"{name} must be greater than 0, got {limit!r}")


def _trained(params: Sequence[Parameter]) -> list[NDArray[Any]]:
    """Return the gradients of parameters that are not frozen, each in as few slices as possible."""
    return [parameter.grad.reshape(-1)[part] for parameter in params for part in parameter.trained]


def _norm(grads: Sequence[NDArray[Any]]) -> float:
    """‖g‖, with squares summed in the gradients' own dtype, parameter by parameter."""
    return math.sqrt(sum(float(np.vdot(grad, grad)) for grad in grads))


def _scale(grads: Sequence[NDArray[Any]], factor: float) -> None:
    for grad in grads:
        np.multiply(grad, factor, out=grad)


def _clip_huge(grads: Sequence[NDArray[Any]], max_norm: float) -> float:
    """Clip gradients whose squares overflow, by first dividing them by the largest entry."""
    largest = max(max(float(grad.max()), -float(grad.min())) for grad in grads if grad.size)
    if not math.isfinite(largest):
        return largest
    _scale(grads, 1 / largest)
    shape = _norm(grads)
    _scale(grads, min(max_norm / shape, largest))
    return largest * shape

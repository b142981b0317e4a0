"""Samples of nnspec's own parts: those that need arguments, or shapes of their own."""

from __future__ import annotations

from nnspec.testing.own import (
    activations,
    attention,
    channels,
    compositions,
    convolution,
    normalisation,
    norms,
    plain,
    pooling,
    recurrent,
    resampling,
    smooth,
)

__all__ = ["LAYERS"]

LAYERS = [
    *activations.SAMPLES,
    *attention.SAMPLES,
    *channels.SAMPLES,
    *compositions.SAMPLES,
    *convolution.SAMPLES,
    *normalisation.SAMPLES,
    *norms.SAMPLES,
    *plain.SAMPLES,
    *pooling.SAMPLES,
    *recurrent.SAMPLES,
    *resampling.SAMPLES,
    *smooth.SAMPLES,
]

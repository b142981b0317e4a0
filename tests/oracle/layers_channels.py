"""Layers that work on groups of channels, on frames, on single positions, and elementwise leftovers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from layers_resampling import Applied, unchanged
from row import LayerRow, OverPlaces, normal
from torch import nn
from torch.nn import functional

Tensor = torch.Tensor


class Scaled(nn.Module):
    """A learned scale of each feature or channel, and a shift."""

    def __init__(self, shape: tuple[int, ...], start: float, *, bias: bool) -> None:
        super().__init__()
        self.beside = shape
        features = max(shape)
        self.weight = nn.Parameter(torch.full((features,), start))
        self.bias = nn.Parameter(torch.zeros(features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Multiply, and add."""
        y = x * self.weight.reshape(self.beside)
        return y if self.bias is None else y + self.bias.reshape(self.beside)


class Token(nn.Module):
    """A learned position before the others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate."""
        return torch.cat([self.weight.expand(len(x), 1, -1), x], dim=1)


def applied(part: str, case: str, x: Tensor, function: Callable[[Tensor], Tensor], **arguments: Any) -> LayerRow:
    """A layer without parameters."""
    return LayerRow(part, case, lambda: Applied(function), x, arguments)


def layer_rows() -> list[LayerRow]:
    """Every argument alone, and several together."""
    far = torch.tensor([[-1e4, -40.0, -2.0, -1e-9], [1e-9, 2.0, 40.0, 1e4]])
    wide, pixels = normal(5, 4, scale=4), normal(2, 3, 2, 2, scale=4)
    plain: list[tuple[str, Callable[[], nn.Module], dict[str, Any]]] = [
        ("HardTanh", nn.Hardtanh, {}),
        ("HardTanh", lambda: nn.Hardtanh(-0.5, 3.0), {"min_val": -0.5, "max_val": 3.0}),
        ("ReLU6", nn.ReLU6, {}),
        ("SoftSign", nn.Softsign, {}),
        ("LogSigmoid", nn.LogSigmoid, {}),
        ("CELU", nn.CELU, {}),
        ("CELU", lambda: nn.CELU(0.5), {"alpha": 0.5}),  # which PyTorch rounds to float32
    ]
    elementwise = [
        LayerRow(part, f"{case}{arguments or ''}", make, x, arguments)
        for part, make, arguments in plain
        for case, x in {"rows": wide, "images": pixels, "far out": far}.items()
    ]

    def grouped(case: str, x: Tensor, groups: int, **more: Any) -> LayerRow:
        def make() -> nn.Module:
            channels = x.shape[2] if x.ndim == 3 else x.shape[1]
            layer = nn.GroupNorm(groups, channels, **more)
            return OverPlaces(layer) if x.ndim == 3 else layer

        arguments = {"num_groups": groups, "num_channels": x.shape[2] if x.ndim == 3 else x.shape[1], **more}
        return LayerRow("GroupNorm", case, make, x, arguments, convert=unchanged)

    def each(case: str, x: Tensor, make: type[nn.Module], **more: Any) -> LayerRow:
        channels = x.shape[2] if x.ndim == 3 else x.shape[1]
        arguments = {"num_channels": channels, **more}
        return LayerRow(
            "InstanceNorm",
            case,
            lambda: OverPlaces(make(channels, **more)) if x.ndim == 3 else make(channels, **more),
            x,
            arguments,
            convert=unchanged,
        )

    return [
        *elementwise,
        grouped("images", normal(2, 4, 3, 2), 2),
        grouped("one group", normal(3, 3, 2, 2), 1, eps=0.1),
        grouped("places", normal(2, 3, 6), 3),
        grouped("rows, not affine", normal(4, 6), 2, affine=False),
        each("images", normal(2, 3, 2, 3), nn.InstanceNorm2d),
        each("images, affine", normal(2, 3, 3, 2), nn.InstanceNorm2d, affine=True, eps=0.01),
        each("places", normal(2, 5, 3), nn.InstanceNorm1d),
        applied("UnitNorm", "rows", wide, lambda x: functional.normalize(x, dim=-1)),
        applied("UnitNorm", "places", normal(2, 3, 4), lambda x: functional.normalize(x, dim=-1)),
        applied("UnitNorm", "images", pixels, lambda x: functional.normalize(x, dim=1)),
        applied("UnitNorm", "short rows", normal(4, 3), lambda x: functional.normalize(x, dim=-1, eps=1.7), eps=1.7),
        LayerRow("Scale", "rows", lambda: Scaled((4,), 1.0, bias=False), normal(3, 4), {"num_features": 4}),
        LayerRow(
            "Scale",
            "places, with a shift",
            lambda: Scaled((1, 4), 0.1, bias=True),
            normal(2, 3, 4),
            {"num_features": 4, "init": 0.1, "bias": True},
        ),
        LayerRow(
            "Scale",
            "images",
            lambda: Scaled((3, 1, 1), 2.0, bias=True),
            pixels,
            {"num_features": 3, "init": 2.0, "bias": True},
        ),
        LayerRow("GLU", "rows", nn.GLU, normal(3, 6)),
        LayerRow("GLU", "places", nn.GLU, normal(2, 3, 4)),
        LayerRow("GLU", "images", lambda: nn.GLU(dim=1), normal(2, 4, 2, 3)),
        applied("GlobalMaxPool", "images", normal(2, 3, 4, 2), lambda x: nn.AdaptiveMaxPool2d(1)(x).flatten(1)),
        applied("GlobalMaxPool", "places", normal(2, 5, 3), lambda x: x.max(dim=1).values),
        applied("ZeroPad", "one number", normal(2, 2, 3, 2), nn.ZeroPad2d(2), margin=2),
        applied("ZeroPad", "rows, columns", normal(1, 2, 3, 2), nn.ZeroPad2d((2, 2, 1, 1)), margin=[1, 2]),
        applied("ZeroPad", "four", normal(2, 1, 2, 2), nn.ZeroPad2d((2, 3, 0, 1)), margin=[0, 1, 2, 3]),
        applied("ZeroPad", "places", normal(2, 3, 2), lambda x: functional.pad(x, (0, 0, 2, 1)), margin=[2, 1]),
        applied("Cropping", "one number", normal(2, 2, 5, 4), lambda x: x[:, :, 1:-1, 1:-1], margin=1),
        applied("Cropping", "four", normal(2, 1, 4, 6), lambda x: x[:, :, :-1, 2:-3], margin=[0, 1, 2, 3]),
        applied("Cropping", "places", normal(2, 5, 2), lambda x: x[:, 1:-2], margin=[1, 2]),
        applied("RepeatVector", "three times", normal(2, 4), lambda x: x[:, None].expand(-1, 3, -1), length=3),
        applied("Select", "the first", normal(2, 3, 4), lambda x: x[:, 0], index=0),
        applied("Select", "the last but one", normal(2, 3, 4), lambda x: x[:, -2], index=-2),
        LayerRow("ClassToken", "before", lambda: Token(3), normal(2, 4, 3), {"embedding_dim": 3}, convert=unchanged),
        applied(
            "OneHot",
            "characters",
            torch.tensor([[0.0, 2.0, 1.0], [3.0, 3.0, 0.0]]),
            lambda x: functional.one_hot(x.round().long(), 5).to(x.dtype) + 0 * x[..., None],
            num_classes=5,
        ),
        LayerRow("GaussianNoise", "in use", lambda: Applied(lambda x: x), normal(2, 3), training=False),
        applied("SpatialDropout", "nothing is dropped", normal(2, 3, 2, 2), lambda x: x, p=0.0),
    ]

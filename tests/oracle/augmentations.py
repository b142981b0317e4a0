"""Images turned, zoomed and recoloured: python tests/oracle/augmentations.py > tests/oracle/augmentations.json

Geometry is PyTorch's `affine_grid` and `grid_sample`, which torchvision's `rotate` and `affine` call with the same
matrices. Colours are the formulas that torchvision documents for `adjust_brightness`, `adjust_contrast`,
`adjust_saturation` and `adjust_hue`, the last through Python's own `colorsys`.
"""

import colorsys
import json
import math

import torch
from torch.nn.functional import affine_grid, grid_sample

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
images = (torch.rand(2, 3, 6, 5) * 1e4).round() / 1e4
images[0, :, 0, 0] = 0.5  # grey, without a hue
angles, scales, factors = [17.0, -63.0], [0.8, 1.3], [0.6, 1.37]
turns = [0.1, -0.27]


def warped(matrices):
    """Sample at M p, in pixels from the centre: torchvision divides its matrices by half the sides likewise."""
    height, width = images.shape[-2:]
    sides = torch.tensor([width / 2, height / 2])
    theta = torch.zeros(len(matrices), 2, 3)
    theta[:, :, :2] = torch.tensor(matrices) * sides / sides[:, None]
    grid = affine_grid(theta, images.shape, align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False).tolist()


def rotation(degrees):
    """In (x, y): the content turns counter-clockwise, as by torchvision, with y downwards."""
    a = math.radians(degrees)
    return [[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]


def grey(x):
    """Convert as `rgb_to_grayscale`."""
    return (0.2989 * x[0] + 0.587 * x[1] + 0.114 * x[2])[None]


def blended(x, other, factor):
    """torchvision's `_blend`."""
    return (factor * x + (1 - factor) * other).clamp(0, 1)


def turned(x, turn):
    """Move the hue of every pixel."""
    y = x.clone()
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            h, s, v = colorsys.rgb_to_hsv(*x[:, i, j].tolist())
            y[:, i, j] = torch.tensor(colorsys.hsv_to_rgb((h + turn) % 1.0, s, v))
    return y


def each(of, numbers):
    """Apply to every image with a number of its own."""
    return [of(x, number).tolist() for x, number in zip(images, numbers, strict=True)]


print(
    json.dumps(
        {
            "images": images.tolist(),
            "rotate": {"drawn": angles, "images": warped([rotation(angle) for angle in angles])},
            "zoom": {"drawn": scales, "images": warped([[[1 / s, 0.0], [0.0, 1 / s]] for s in scales])},
            "brightness": {"drawn": factors, "images": each(lambda x, f: blended(x, 0 * x, f), factors)},
            "contrast": {"drawn": factors, "images": each(lambda x, f: blended(x, grey(x).mean(), f), factors)},
            "saturation": {"drawn": factors, "images": each(lambda x, f: blended(x, grey(x), f), factors)},
            "hue": {"drawn": turns, "images": each(turned, turns)},
        }
    )
)

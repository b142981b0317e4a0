"""Draw what augmentations do to digits: python tests/augmentation_sheet.py docs/pictures/augmentations.png"""

from __future__ import annotations

import sys

import matplotlib
import numpy as np

from nnspec import engine as nn
from nnspec.data import Access, Digits

ROWS = [
    None,
    nn.Flip(),
    nn.Shift(3),
    nn.Crop(4, "reflect"),
    nn.Rotate(20),
    nn.Zoom(0.3),
    nn.Jitter(brightness=0.6, contrast=0.6),
    nn.Cutout(10),
    nn.Noise(0.2),
    nn.Mixup(8),
    nn.CutMix(),
]


def main(path: str) -> None:
    """Draw a row of images for each."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    images = Digits(train=20, test=5).load(Access(offline=True)).train.x.reshape(-1, 28, 28)[:6] / 255
    figure, axes = plt.subplots(len(ROWS), 7, figsize=(6, 6.6), width_ratios=[4.2, *[1] * 6])
    for row, augmentation in zip(axes, ROWS, strict=True):
        found = images.copy()
        if augmentation is not None:
            augmentation.apply(found, np.random.default_rng(3))
        row[0].text(0, 0.5, "as stored" if augmentation is None else augmentation.in_spec(), va="center", fontsize=8)
        for place, image in zip(row[1:], found, strict=True):
            place.imshow(image, cmap="gray", vmin=0, vmax=1)
        for place in row:
            place.set_axis_off()
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.99, 0.05, 0.1)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1])

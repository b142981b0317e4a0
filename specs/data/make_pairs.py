"""Makes pairs.npz: pairs of drawn digits, 14 × 14 pixels, half of them of the same digit.

y is 0 for two of the same digit and 1 for two different ones. The pictures of test pairs are in no training pair.
"""

from pathlib import Path

import numpy as np

from nnspec.data import Access, Digits

rng = np.random.default_rng(7)
data = Digits(train=2000, test=500, seed=3).load(Access())
arrays = {}
for part, split, count in (("train", data.train, 1500), ("test", data.test, 300)):
    pixels = split.x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).astype(np.uint8) // 32 * 32  # eight greys
    different = np.arange(count) % 2
    left = rng.choice(len(split.y), count)
    numbers = np.arange(len(split.y))
    right = []
    for first, unlike in zip(left, different, strict=True):
        same = split.y == split.y[first]
        right.append(rng.choice(numbers[~same if unlike else same & (numbers != first)]))
    arrays |= {f"left_{part}": pixels[left], f"right_{part}": pixels[right], f"y_{part}": different.astype(np.uint8)}
np.savez_compressed(Path(__file__).parent / "pairs.npz", **arrays)

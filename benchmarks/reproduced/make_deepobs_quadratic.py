"""Write `deepobs_quadratic.npz` and `deepobs_quadratic_start.npz`: the test problem quadratic_deep of DeepOBS 1.1.

DeepOBS (Schneider, Balles and Hennig 2019) minimises the mean of ½ (θ − x)ᵀ Q (θ − x) over points x ~ N(0, 0.6²) in 100
dimensions, from θ = 1. Ninety eigenvalues of Q are from U(0, 1) and ten from U(30, 60), in directions that are rotated
at random. Q and x come from seeds that the package fixes, so these are the same numbers; the file has those 896 test
points on which DeepOBS measures.

As a network, θ − x is a layer with the weight −1 and the bias θ, and a second layer multiplies it by a root of 50 Q:
its mean square over 100 outputs, the loss `MSE` for targets 0, is the loss of DeepOBS.

    python benchmarks/reproduced/make_deepobs_quadratic.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
DIMENSIONS = 100
BATCH = 128


def hessian() -> np.ndarray:
    """Return Q `(100, 100)`, with the eigenvalues and the rotation of DeepOBS."""
    rng = np.random.RandomState(42)
    eigenvalues = np.concatenate((rng.uniform(0.0, 1.0, 90), rng.uniform(30.0, 60.0, 10)))
    turned = rotation(rng, DIMENSIONS)
    return turned.T @ np.diag(eigenvalues) @ turned


def rotation(rng: np.random.RandomState, dimensions: int) -> np.ndarray:
    """Return a rotation drawn uniformly, by the subgroup algorithm (Diaconis & Shahshahani 1987)."""
    angle = 2 * np.pi * rng.uniform()
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for size in range(3, dimensions + 1):
        pole = rng.normal(size=size)
        pole /= np.linalg.norm(pole)
        mirror = np.eye(size)[0] - pole
        mirror /= np.linalg.norm(mirror)
        larger = np.eye(size)
        larger[1:, 1:] = turned
        turned = larger - 2 * np.outer(mirror, mirror @ larger)
    return -turned


def points(seed: int) -> np.ndarray:
    """Return the 1,000 points x of the training data (seed 42) or the test data (seed 43)."""
    return np.random.RandomState(seed).normal(0.0, 0.6, (1000, DIMENSIONS)).astype(np.float32)


def main() -> None:
    values, vectors = np.linalg.eigh(hessian())
    root = vectors * np.sqrt(DIMENSIONS / 2 * values)  # root @ root.T = 50 Q
    train, test = points(42), points(43)[: 1000 // BATCH * BATCH]
    zeros = {"y_train": np.zeros_like(train), "y_test": np.zeros_like(test)}
    np.savez(HERE / "deepobs_quadratic.npz", x_train=train, x_test=test, **zeros)
    start = {"shift.weight": -np.eye(DIMENSIONS), "shift.bias": np.ones(DIMENSIONS), "curve.weight": root}
    np.savez(HERE / "deepobs_quadratic_start.npz", **start)


if __name__ == "__main__":
    main()

"""Compositions."""

from __future__ import annotations

from collections.abc import Callable

from nnspec import engine as nn
from nnspec.engine.layers.contract import Layer
from nnspec.testing.samples import Composed, MakeLinear


def _composed(
    part: str, case: str, compose: Callable[[MakeLinear], Layer], incoming: tuple[int, ...] = (6,)
) -> Composed:
    return Composed(part, {"case": case}, incoming, compose=compose)


SAMPLES = [
    _composed("residual", "identity", lambda L: nn.Residual([L(6, 6), nn.Tanh(), L(6, 6)])),
    _composed("residual", "a layer", lambda L: nn.Residual([L(6, 6)])),
    _composed("residual", "in place first", lambda L: nn.Residual([nn.ReLU(), L(6, 6), nn.Sigmoid(), L(6, 6)])),
    _composed("residual", "in place last", lambda L: nn.Residual([L(6, 6), nn.Sigmoid()])),
    _composed("residual", "in place only", lambda L: nn.Residual([nn.ReLU()])),
    _composed("residual", "three in place", lambda L: nn.Residual([nn.Tanh(), nn.Dropout(0.4), nn.Sigmoid()])),
    _composed("residual", "dropout", lambda L: nn.Residual([L(6, 4), nn.Dropout(0.3), nn.ReLU(), L(4, 6)])),
    _composed("residual", "dropout last", lambda L: nn.Residual([L(6, 6), nn.Dropout(0.3)])),
    _composed("residual", "shortcut", lambda L: nn.Residual([L(6, 5), nn.ReLU(), L(5, 3)], [L(6, 3)])),
    _composed("residual", "ReLU first in both", lambda L: nn.Residual([nn.ReLU(), L(6, 3)], [nn.ReLU(), L(6, 3)])),
    _composed(
        "residual", "Sigmoid last in both", lambda L: nn.Residual([L(6, 3), nn.Sigmoid()], [L(6, 3), nn.Sigmoid()])
    ),
    _composed("residual", "shortcut without weights", lambda L: nn.Residual([L(6, 6)], [nn.Dropout(0.5)])),
    _composed("residual", "weights in the shortcut alone", lambda L: nn.Residual([nn.Tanh()], [L(6, 6)])),
    _composed(
        "residual",
        "images",
        lambda L: nn.Residual([nn.Flatten(), L(12, 5)], [nn.ReLU(), nn.Flatten(), L(12, 5)]),
        (3, 4),
    ),
    _composed("residual", "wide and narrow", lambda L: nn.Residual([L(6, 9), L(9, 2), L(2, 8), L(8, 6)])),
    _composed("residual", "in a residual", lambda L: nn.Residual([nn.Residual([L(6, 6), nn.ReLU()]), L(6, 6)])),
    _composed(
        "residual",
        "three deep",
        lambda L: nn.Residual(
            [
                L(6, 4),
                nn.Residual([nn.Residual([nn.Tanh(), L(4, 4)]), nn.Sigmoid(), nn.Dropout(0.2)]),
                nn.ReLU(),
                L(4, 6),
            ]
        ),
    ),
    _composed("multiply", "two", lambda L: nn.Multiply([L(6, 3)], [L(6, 3), nn.Sigmoid()])),
    _composed("multiply", "three", lambda L: nn.Multiply([L(6, 6)], [nn.Tanh()], [])),
    _composed("multiply", "by a number", lambda L: nn.Multiply([L(6, 4)], [L(6, 1), nn.Sigmoid()])),
    _composed(
        "multiply",
        "squeeze and excitation",
        lambda L: nn.Multiply([], [nn.GlobalAvgPool(), L(2, 2), nn.Sigmoid()]),
        (2, 3, 2),
    ),
    _composed("multiply", "places", lambda L: nn.Multiply([L(3, 4)], [L(3, 1)], [L(3, 4), nn.GlobalAvgPool()]), (5, 3)),
    _composed("subtract", "two", lambda L: nn.Subtract([L(6, 3)], [L(6, 3), nn.Tanh()])),
    _composed("subtract", "identity", lambda L: nn.Subtract([nn.Tanh()], [])),
    _composed("subtract", "a mean", lambda L: nn.Subtract([], [nn.GlobalAvgPool()]), (2, 3, 2)),
    _composed("dot", "two", lambda L: nn.Dot([L(6, 3)], [L(6, 3), nn.Tanh()])),
    _composed("dot", "cosine", lambda L: nn.Dot([L(6, 3)], [L(6, 3), nn.Tanh()], normalise=True)),
    _composed("dot", "of images", lambda L: nn.Dot([nn.Tanh()], [], normalise=True), (3, 2, 2)),
    _composed("distance", "two", lambda L: nn.Distance([L(6, 3)], [L(6, 3), nn.Tanh()])),
    _composed("distance", "of positions", lambda L: nn.Distance([L(3, 4)], [L(3, 4), nn.Sigmoid()]), (5, 3)),
    _composed("add", "two", lambda L: nn.Add([L(6, 3)], [L(6, 3), nn.Tanh()])),
    _composed("add", "identity first", lambda L: nn.Add([], [L(6, 6), nn.ReLU()], [nn.Sigmoid()])),
    _composed("add", "identity last", lambda L: nn.Add([nn.ReLU(), L(6, 6)], [L(6, 6)], [])),
    _composed("add", "nothing but identities", lambda L: nn.Add([], [], [])),
    _composed("add", "two identities, then layers", lambda L: nn.Add([], [], [nn.Tanh()], [L(6, 6)])),
    _composed("add", "flattened", lambda L: nn.Add([nn.Flatten()], [nn.Flatten(), nn.ReLU()]), (2, 3)),
    _composed("add", "of images", lambda L: nn.Add([nn.Tanh()], [nn.Dropout(0.2)]), (2, 3, 2)),
    _composed("concat", "two", lambda L: nn.Concat([L(6, 3)], [L(6, 2), nn.Tanh()])),
    _composed("concat", "identity", lambda L: nn.Concat([L(6, 3), nn.ReLU()], [])),
    _composed("outputs", "two", lambda L: nn.Outputs(a=[L(6, 3)], b=[L(6, 2), nn.Tanh()])),
    _composed("outputs", "identity", lambda L: nn.Outputs(a=[L(6, 3), nn.ReLU()], b=[])),
    _composed("concat", "identity first", lambda L: nn.Concat([], [nn.Sigmoid(), L(6, 1)], [nn.Dropout(0.5)])),
    _composed(
        "concat", "in place everywhere", lambda L: nn.Concat([nn.ReLU()], [nn.Tanh(), nn.Dropout(0.2)], [nn.Sigmoid()])
    ),
    _composed("concat", "of images", lambda L: nn.Concat([nn.ReLU()], [nn.Tanh()], []), (2, 3, 2)),
    _composed(
        "concat",
        "flattened at the end",
        lambda L: nn.Concat([nn.Tanh(), nn.Flatten()], [nn.Flatten(), L(6, 2)]),
        (2, 3),
    ),
    _composed(
        "concat",
        "of compositions",
        lambda L: nn.Concat(
            [nn.Residual([nn.ReLU(), L(6, 4)], [L(6, 4)]), nn.Add([nn.ReLU()], [nn.Residual([L(4, 4)])])],
            [nn.Concat([L(6, 2), nn.Sigmoid()], [nn.Residual([nn.Tanh()])]), L(8, 3)],
        ),
    ),
]

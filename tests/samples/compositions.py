"""Compositions."""

from __future__ import annotations

from collections.abc import Callable

from nnspec import engine as nn
from nnspec.engine.layers.contract import Layer
from samples import Composed, Linear


def composed(part: str, case: str, compose: Callable[[Linear], Layer], incoming: tuple[int, ...] = (6,)) -> Composed:
    return Composed(part, {"case": case}, incoming, compose=compose)


SAMPLES = [
    composed("residual", "identity", lambda L: nn.Residual([L(6, 6), nn.Tanh(), L(6, 6)])),
    composed("residual", "a layer", lambda L: nn.Residual([L(6, 6)])),
    composed("residual", "in place first", lambda L: nn.Residual([nn.ReLU(), L(6, 6), nn.Sigmoid(), L(6, 6)])),
    composed("residual", "in place last", lambda L: nn.Residual([L(6, 6), nn.Sigmoid()])),
    composed("residual", "in place only", lambda L: nn.Residual([nn.ReLU()])),
    composed("residual", "three in place", lambda L: nn.Residual([nn.Tanh(), nn.Dropout(0.4), nn.Sigmoid()])),
    composed("residual", "dropout", lambda L: nn.Residual([L(6, 4), nn.Dropout(0.3), nn.ReLU(), L(4, 6)])),
    composed("residual", "dropout last", lambda L: nn.Residual([L(6, 6), nn.Dropout(0.3)])),
    composed("residual", "shortcut", lambda L: nn.Residual([L(6, 5), nn.ReLU(), L(5, 3)], [L(6, 3)])),
    composed("residual", "ReLU first in both", lambda L: nn.Residual([nn.ReLU(), L(6, 3)], [nn.ReLU(), L(6, 3)])),
    composed(
        "residual", "Sigmoid last in both", lambda L: nn.Residual([L(6, 3), nn.Sigmoid()], [L(6, 3), nn.Sigmoid()])
    ),
    composed("residual", "shortcut without weights", lambda L: nn.Residual([L(6, 6)], [nn.Dropout(0.5)])),
    composed("residual", "weights in the shortcut alone", lambda L: nn.Residual([nn.Tanh()], [L(6, 6)])),
    composed(
        "residual",
        "images",
        lambda L: nn.Residual([nn.Flatten(), L(12, 5)], [nn.ReLU(), nn.Flatten(), L(12, 5)]),
        (3, 4),
    ),
    composed("residual", "wide and narrow", lambda L: nn.Residual([L(6, 9), L(9, 2), L(2, 8), L(8, 6)])),
    composed("residual", "in a residual", lambda L: nn.Residual([nn.Residual([L(6, 6), nn.ReLU()]), L(6, 6)])),
    composed(
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
    composed("add", "two", lambda L: nn.Add([L(6, 3)], [L(6, 3), nn.Tanh()])),
    composed("add", "identity first", lambda L: nn.Add([], [L(6, 6), nn.ReLU()], [nn.Sigmoid()])),
    composed("add", "identity last", lambda L: nn.Add([nn.ReLU(), L(6, 6)], [L(6, 6)], [])),
    composed("add", "nothing but identities", lambda L: nn.Add([], [], [])),
    composed("add", "two identities, then layers", lambda L: nn.Add([], [], [nn.Tanh()], [L(6, 6)])),
    composed("add", "flattened", lambda L: nn.Add([nn.Flatten()], [nn.Flatten(), nn.ReLU()]), (2, 3)),
    composed("add", "of images", lambda L: nn.Add([nn.Tanh()], [nn.Dropout(0.2)]), (2, 3, 2)),
    composed("concat", "two", lambda L: nn.Concat([L(6, 3)], [L(6, 2), nn.Tanh()])),
    composed("concat", "identity", lambda L: nn.Concat([L(6, 3), nn.ReLU()], [])),
    composed("concat", "identity first", lambda L: nn.Concat([], [nn.Sigmoid(), L(6, 1)], [nn.Dropout(0.5)])),
    composed(
        "concat", "in place everywhere", lambda L: nn.Concat([nn.ReLU()], [nn.Tanh(), nn.Dropout(0.2)], [nn.Sigmoid()])
    ),
    composed("concat", "of images", lambda L: nn.Concat([nn.ReLU()], [nn.Tanh()], []), (2, 3, 2)),
    composed(
        "concat",
        "flattened at the end",
        lambda L: nn.Concat([nn.Tanh(), nn.Flatten()], [nn.Flatten(), L(6, 2)]),
        (2, 3),
    ),
    composed(
        "concat",
        "of compositions",
        lambda L: nn.Concat(
            [nn.Residual([nn.ReLU(), L(6, 4)], [L(6, 4)]), nn.Add([nn.ReLU()], [nn.Residual([L(4, 4)])])],
            [nn.Concat([L(6, 2), nn.Sigmoid()], [nn.Residual([nn.Tanh()])]), L(8, 3)],
        ),
    ),
]

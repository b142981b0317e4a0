"""Shifts and scales by scikit-learn: python tests/oracle/scalers.py > tests/oracle/scalers.json

Rules `per = channel` and `per = all` are the scalers of all numbers of a channel or an image as one column.
"""

import json

import numpy as np
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

rng = np.random.default_rng(3)
table = np.round(rng.standard_normal((13, 4)) * [1, 30, 0.01, 5] + [0, 1000, -3, 7], 4)
table[:, 3] = 0.1  # constant
table[:3, 0] = 50.0  # outliers
images = rng.integers(0, 256, (6, 2, 3, 4))
weights = np.round(rng.random(13) * 3, 2)
RULES = {
    "standard": StandardScaler(),
    "min_max": MinMaxScaler(),
    "min_max(-1, 3)": MinMaxScaler((-1, 3)),
    "robust": RobustScaler(),
}


def numbers(scaler, columns, weights=None):
    """Return m and d of (x - m) / d, and the scaled columns."""
    scaler.fit(columns, sample_weight=weights) if weights is not None else scaler.fit(columns)
    if isinstance(scaler, MinMaxScaler):  # which keeps x * scale_ + min_
        shift, scale = -scaler.min_ / scaler.scale_, 1 / scaler.scale_
    else:
        shift, scale = getattr(scaler, "center_", getattr(scaler, "mean_", None)), scaler.scale_
    return {"shift": shift.tolist(), "scale": scale.tolist(), "scaled": scaler.transform(columns).tolist()}


channels = images.transpose(0, 2, 3, 1).reshape(-1, 2) / 255
found = {
    "table": table.tolist(),
    "images": images.tolist(),
    "weights": weights.tolist(),
    "feature": {rule: numbers(scaler, table) for rule, scaler in RULES.items()},
    "channel": {rule: numbers(scaler, channels) for rule, scaler in RULES.items()},
    "all": {rule: numbers(scaler, channels.reshape(-1, 1)) for rule, scaler in RULES.items()},
    "weighted": {"standard": numbers(StandardScaler(), table, weights)},
}
print(json.dumps(found))

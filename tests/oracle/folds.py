"""Sizes of folds by scikit-learn: python tests/oracle/folds.py > tests/oracle/folds.json"""

import json

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

CASES = [(50, 5, [0.5, 0.5]), (53, 4, [0.6, 0.3, 0.1]), (101, 7, [0.9, 0.1]), (23, 10, [0.5, 0.5])]

found = []
for samples, k, shares in CASES:
    labels = np.random.default_rng(samples).choice(len(shares), samples, p=shares)
    split = list(StratifiedKFold(k, shuffle=True, random_state=0).split(labels, labels))
    sizes = [len(test) for _, test in KFold(k, shuffle=True, random_state=0).split(labels)]
    assert sizes == [len(test) for _, test in split]
    of = {str(c): sorted(int((labels[test] == c).sum()) for _, test in split) for c in range(len(shares))}
    found.append({"samples": samples, "k": k, "labels": labels.tolist(), "sizes": sizes, "of_classes": of})
print(json.dumps(found))

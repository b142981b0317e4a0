"""Quantiles, sequences and discrepancies by SciPy: python tests/oracle/searches.py > tests/oracle/searches.json

The permutations of digits are recorded, so that a test can use the same ones.
"""

import json

import numpy as np
from scipy import stats
from scipy.stats import qmc
from scipy.stats._qmc import van_der_corput

U = [0.0, 0.013, 0.24, 0.49, 0.731, 0.999]
DISTRIBUTIONS = {
    "uniform(0.8, 0.99)": stats.uniform(0.8, 0.19),
    "uniform(-2, 1e6)": stats.uniform(-2, 1e6 + 2),
    "loguniform(1e-5, 0.1)": stats.loguniform(1e-5, 0.1),
    "loguniform(0.1, 0.11)": stats.loguniform(0.1, 0.11),
    "integers(-5, 10)": stats.randint(-5, 11),
    "integers(1, 3)": stats.randint(1, 4),
}
BASES = [2, 3, 13]


def digits(base):
    """Return permutations for each digit of a van der Corput sequence, and the numbers of the sequence."""
    count = int(np.ceil(54 / np.log2(base))) - 1
    permutations = [np.random.default_rng([base, k]).permutation(base) for k in range(count)]
    numbers = van_der_corput(40, base, scramble=True, permutations=permutations)
    return {"permutations": np.array(permutations).tolist(), "numbers": numbers.tolist()}


def discrepancies(points):
    """Return the median of the centred discrepancy of the points of 200 seeds."""
    return float(np.median([qmc.discrepancy(points(seed)) for seed in range(200)]))


print(
    json.dumps(
        {
            "u": U,
            "quantiles": {name: found.ppf(U).tolist() for name, found in DISTRIBUTIONS.items()},
            "van_der_corput": {base: digits(base) for base in BASES},
            "discrepancy": [
                {
                    "count": n,
                    "dimensions": d,
                    "halton": discrepancies(lambda seed, n=n, d=d: qmc.Halton(d, rng=seed).random(n)),
                    "random": discrepancies(lambda seed, n=n, d=d: np.random.default_rng(seed).random((n, d))),
                }
                for n, d in [(20, 1), (20, 2), (20, 4), (60, 3), (100, 8)]
            ],
        }
    )
)

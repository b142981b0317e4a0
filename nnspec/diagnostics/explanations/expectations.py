"""NN6xx: training, limits, and what is expected."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN601": Explanation(
        """ A statement of `expect` about the program itself (its parameters, FLOPs or
memory) is judged when the spec is checked, because it needs no training. This one does not hold; the figure beside it
is exact. Change the network, or the statement. `nnspec show` says where the parameters are.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\nexpect { params < 50_000 }\n"),
        Example("model {\n    Linear(48)\n    ReLU\n    Linear(10)\n}\nexpect { params < 50_000 }\n"),
    ),
    "NN602": Explanation(
        """
A statement, or early stopping, uses a figure that this run does not have: an unknown figure, one of a lane that does
not exist, `val_loss` without held-out samples, `accuracy` without that metric. Or it states nothing: a figure alone is
neither true nor false until it is compared.
""",
        Example("seed = 1\nexpect { val_accuracy > 0.5 }\n"),
        Example("seed = 1\ntrain.validation = 0.1\nexpect { val_accuracy > 0.5 }\n"),
    ),
    "NN603": Explanation(
        """
The spec exceeds a limit: 500 million parameters, 16 GiB of buffers in a lane, 20,000 layers, 1,000 runs, 100 imported
files. `check` computes sizes without allocating anything, so a typo costs a message and not the machine's memory.
""",
        Example("model {\n    Linear(1_000_000_000)\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(1_000)\n    ReLU\n    Linear(10)\n}\n"),
    ),
    "NN604": Explanation(
        """
Accuracy is a fraction of the samples, from 0 to 1. Compared with a number outside that range, a statement is always
true or always false. Usually the number is meant as a percentage.
""",
        Example("seed = 1\nexpect { test_accuracy > 90 }\n"),
        Example("seed = 1\nexpect { test_accuracy > 0.9 }\n"),
    ),
    "NN605": Explanation(
        """
A division by zero has no value, and no comparison with it is ever true: the run would train to the end and then fail.
The zero may be computed, as in `loss / (width - 16)` where `width` is 16.
""",
        Example("seed = 1\nlet start = 0\nexpect { test_loss / start < 0.5 }\n"),
        Example("seed = 1\nlet start = 2.3\nexpect { test_loss / start < 0.5 }\n"),
    ),
    "NN606": Explanation(
        """
Both sides are the same figure of the same lane, so the comparison is always true or always false, whatever the
training does. Usually one side was meant to name another lane. A figure without a lane stands for every lane, so
`loss < SGD.loss` also compares `SGD` with itself and never holds.
""",
        Example("seed = 1\nrace { SGD; Adam }\nexpect { Adam.loss < Adam.loss }\n"),
        Example("seed = 1\nrace { SGD; Adam }\nexpect { Adam.loss < SGD.loss }\n"),
    ),
}

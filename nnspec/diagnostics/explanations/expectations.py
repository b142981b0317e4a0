"""NN6xx: training, limits and expectations."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN601": Explanation(
        """
An `expect` statement about the network itself (its parameters, FLOPs or memory) needs no training, so `check`
evaluates it. This one does not hold; the figure next to it is exact. Change the network or the statement. `nnspec
show` lists the parameters of each layer.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\nexpect { params < 50_000 }\n"),
        Example("model {\n    Linear(48)\n    ReLU\n    Linear(10)\n}\nexpect { params < 50_000 }\n"),
    ),
    "NN602": Explanation(
        """
A statement, or early stopping, uses a figure that this run does not have: an unknown figure, a figure of a lane that
does not exist, `val_loss` without validation samples, `accuracy` without that metric. Or the statement is a figure
alone, which is neither true nor false until it is compared with something.
""",
        Example("seed = 1\nexpect { val_accuracy > 0.5 }\n"),
        Example("seed = 1\ntrain.validation = 0.1\nexpect { val_accuracy > 0.5 }\n"),
    ),
    "NN603": Explanation(
        """
The spec exceeds a limit: 500 million parameters, 16 GiB of buffers in a lane, 20,000 layers, 1,000 runs, 100 imported
files. `check` computes sizes without allocating anything, so a typo results in a message and does not fill the
machine's memory.
""",
        Example("model {\n    Linear(1_000_000_000)\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(1_000)\n    ReLU\n    Linear(10)\n}\n"),
    ),
    "NN604": Explanation(
        """
Accuracy is a fraction of the samples, between 0 and 1. A comparison with a number outside that range is always true or
always false. Usually the number was meant as a percentage.
""",
        Example("seed = 1\nexpect { test_accuracy > 90 }\n"),
        Example("seed = 1\nexpect { test_accuracy > 0.9 }\n"),
    ),
    "NN605": Explanation(
        """
A division by zero has no value, so no comparison with it is ever true: the run would finish training and then fail.
The zero may be the result of an expression, as in `loss / (width - 16)` where `width` is 16.
""",
        Example("seed = 1\nlet start = 0\nexpect { test_loss / start < 0.5 }\n"),
        Example("seed = 1\nlet start = 2.3\nexpect { test_loss / start < 0.5 }\n"),
    ),
    "NN606": Explanation(
        """
Both sides are the same figure of the same lane, so the comparison is always true or always false, whatever the
training does. Usually one side was meant to name a different lane. A figure without a lane refers to every lane, so
`loss < SGD.loss` also compares `SGD` with itself and never holds.
""",
        Example("seed = 1\nrace { SGD; Adam }\nexpect { Adam.loss < Adam.loss }\n"),
        Example("seed = 1\nrace { SGD; Adam }\nexpect { Adam.loss < SGD.loss }\n"),
    ),
    "NN607": Explanation(
        """
One setting changes what the other relies on. `LBFGS` looks along a line for a lower loss and learns from the gradients
on the way: clipped gradients are not those of its loss, a constraint or `lookahead` moves the weights elsewhere, and a
parameter with a rate of its own would leave the line. A sharpness-aware step needs two gradients of the same batch, so
it cannot be accumulated from several. `ScheduleFreeSGD` and `ScheduleFreeAdamW` evaluate an average that they compute
themselves, so they exclude any other average, and a constraint, which would apply to the training weights only.
""",
        Example("optimizer = LBFGS\ntrain { batch = data.size; clip_norm = 1 }\n"),
        Example("optimizer = LBFGS\ntrain { batch = data.size; penalty = L2(1e-4) }\n"),
    ),
    "NN608": Explanation(
        """
`tune` tries many settings and keeps those with the best figure. If that is a test figure, the reported result is the
best of many looks at the test data, which is too optimistic. Hold out a validation set and choose settings by it; the
race then measures the chosen settings on the test data, which no trial has seen. Without a validation set, settings
can be chosen by the training loss.
""",
        Example("tune { by = test_loss; optimizer.lr = loguniform(1e-3, 1) }\n"),
        Example("tune { by = val_loss; optimizer.lr = loguniform(1e-3, 1) }\ntrain.validation = 0.2\n"),
    ),
}

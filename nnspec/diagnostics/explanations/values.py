"""NN3xx: values and their types."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN301": Explanation(
        """ Each argument and setting says what it takes: an integer, a number, `true`
or `false`, a string, a part, or a few of these. Nothing is converted in silence. A string that looks like a number is
a string, and `64 / 2` is the fraction 32.0, as in Python: for whole numbers there is `//`.
""",
        Example("let width = 64\nmodel {\n    Linear(width / 2)\n    ReLU\n    Linear(10)\n}\n"),
        Example("let width = 64\nmodel {\n    Linear(width // 2)\n    ReLU\n    Linear(10)\n}\n"),
    ),
    "NN302": Explanation(
        """
The value has the right type but cannot work: a width of 0, a learning rate below 0, more samples than the data has.
Shares and probabilities are between 0 and 1, not percentages, and dropping everything (`Dropout(1)`) leaves nothing to
learn from. Values that work but are probably mistakes, such as a rate of 10, get advice instead (NN706).
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Dropout(20)\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Dropout(0.2)\n    Linear(10)\n}\n"),
    ),
    "NN303": Explanation(
        """
A part or a function is given more or fewer values than it takes, or the lists of a `sweep zip` have different lengths,
so that some values would have no partner. Pass arguments in the middle of a list by name: `Adam(0.001, eps=1e-7)`. For
`Linear`, one number is the output size and two are input and output, like `range`.
""",
        Example("optimizer = Adam(0.001, 0.9, 0.999)\n"),
        Example("optimizer = Adam(0.001, betas=(0.9, 0.999))\n"),
    ),
    "NN304": Explanation(
        """
Every operand is a number, but there is no result: a division by zero, the root of a negative number, something too
large for a float, or a list of more than 10,000 items. Integers are exact up to about 4,000 binary digits, so
`10 ** 10 ** 10` is rejected instead of blocking the checker.
""",
        Example("let layers = 0\noptimizer = SGD(lr=0.1 / layers)\n"),
        Example("let layers = 2\noptimizer = SGD(lr=0.1 / layers)\n"),
    ),
    "NN305": Explanation(
        """
The name is known but means something of another kind: an optimizer among the layers, a loss in place of an optimizer,
a plain value in place of a part. Parts are written without quotes, since they belong to the language and can be
checked, and each position takes one kind. To compare several optimizers, make them lanes of a race.
""",
        Example("optimizer = [SGD, Adam]\n"),
        Example("race {\n    SGD\n    Adam\n}\n"),
    ),
}

"""NN3xx: values and their types."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN301": Explanation(
        """
Each argument and setting has a type: an integer, a number, `true` or `false`, a string, a part, or a union of these.
Values are never converted implicitly. A string that looks like a number is still a string, and `64 / 2` is the float
32.0, as in Python; use `//` for integers.
""",
        Example("let width = 64\nmodel {\n    Linear(width / 2)\n    ReLU\n    Linear(10)\n}\n"),
        Example("let width = 64\nmodel {\n    Linear(width // 2)\n    ReLU\n    Linear(10)\n}\n"),
    ),
    "NN302": Explanation(
        """
The value has the right type but is not valid: a width of 0, a negative learning rate, more samples than the data has.
Fractions and probabilities are between 0 and 1, not percentages; `Dropout(1)` is rejected because it would drop
everything. Values that are valid but probably mistakes, such as a learning rate of 10, get advice instead (NN706).
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Dropout(20)\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Dropout(0.2)\n    Linear(10)\n}\n"),
    ),
    "NN303": Explanation(
        """
A part or a function gets too many or too few arguments, or the lists of a `sweep zip` have different lengths. To skip
optional arguments, pass the later ones by name: `Adam(0.001, eps=1e-7)`. With one number, `Linear` takes it as the
output size; with two, as the input and output sizes.
""",
        Example("optimizer = Adam(0.001, 0.9, 0.999)\n"),
        Example("optimizer = Adam(0.001, betas=(0.9, 0.999))\n"),
    ),
    "NN304": Explanation(
        """
Every operand is a number, but the result is undefined or too large: a division by zero, the square root of a negative
number, a float overflow, or a list of more than 10,000 items. Integers are exact up to about 4,000 bits, so `10 ** 10
** 10` is rejected instead of blocking the checker.
""",
        Example("let layers = 0\noptimizer = SGD(lr=0.1 / layers)\n"),
        Example("let layers = 2\noptimizer = SGD(lr=0.1 / layers)\n"),
    ),
    "NN305": Explanation(
        """
This name or value is valid, but of the wrong kind for this place: an optimizer among the layers, a loss instead of an
optimizer, a plain value instead of a part. Parts are written without quotes, since they are names in the language and
can be checked. To compare several optimizers, make them lanes of a race.
""",
        Example("optimizer = [SGD, Adam]\n"),
        Example("race {\n    SGD\n    Adam\n}\n"),
    ),
}

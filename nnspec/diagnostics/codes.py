"""Every diagnostic code, once. Codes are stable and never used for something else.

NN1xx syntax, NN2xx names, NN3xx values and types, NN4xx shapes, NN5xx data, NN6xx training and expectations,
NN7xx lint, NN9xx the tool itself.
"""

from __future__ import annotations

__all__ = ["CODES"]

CODES: dict[str, str] = {
    "NN101": "a word or sign cannot stand where it stands",
    "NN102": "a bracket or brace is not closed, or closes nothing",
    "NN103": "a string is not closed, or has an unknown escape",
    "NN104": "something is not a number",
    "NN106": "nested too deep",
    "NN107": "a file or a line that is larger than what is read",
    "NN201": "unknown name",
    "NN202": "unknown argument",
    "NN203": "something stands where it has no meaning",
    "NN204": "given twice",
    "NN205": "something needed is missing",
    "NN206": "a name is taken already, or reserved",
    "NN207": "a name that depends on itself",
    "NN209": "an import that cannot be read",
    "NN210": "imports that go in a circle",
    "NN301": "a value of the wrong type",
    "NN302": "a value out of range",
    "NN303": "wrong number of arguments",
    "NN304": "an expression that cannot be computed",
    "NN305": "one kind of part where another belongs",
    "NN401": "shapes do not fit",
    "NN402": "the network's outputs do not fit the loss or a metric",
    "NN501": "the alternatives of `or` have different shapes",
    "NN502": "a data file that cannot be used",
    "NN601": "an expectation that the program itself does not meet",
    "NN602": "an expectation over something that is not measured",
    "NN603": "larger than the compiler allows",
    "NN604": "a bound that a figure cannot reach",
    "NN701": "more outputs than classes",
    "NN702": "an activation before cross-entropy",
    "NN703": "two linear layers with nothing between",
    "NN704": "starting weights made for ReLU before another activation",
    "NN705": "dropout behind the last layer",
    "NN706": "a rate far from what is usual",
    "NN707": "a batch larger than the data",
    "NN708": "an outcome is expected without a seed",
    "NN709": "early stopping that looks at the test data",
    "NN710": "a name that nothing uses",
    "NN711": "a file that is no experiment by itself",
    "NN712": "a loss of log-probabilities behind other outputs",
    "NN713": "a bias that the next layer takes off",
    "NN790": "an ignore comment that ignores nothing",
    "NN791": "an ignore comment that cannot be followed",
    "NN901": "a file that cannot be read",
    "NN902": "a fault of nnspec itself",
    "NN903": "more findings than are shown",
}

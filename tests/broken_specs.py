"""Broken specs with common mistakes. `docs/gallery.md` shows the output of `nnspec check` for each."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["GALLERY", "Broken"]


@dataclass(frozen=True)
class Broken:
    """A spec with a mistake."""

    title: str
    context: str
    """A sentence or two about the mistake or the message."""
    text: str
    flags: tuple[str, ...] = ()
    """Flags that are passed with `--set`."""
    beside: dict[str, str] = field(default_factory=dict)
    """Other files in the same folder: name -> text."""


_SMALL = " Linear(64); ReLU; Linear(10) "
_ADAM = "optimizer = Adam(lr=0.001)"


def _mnist(more: str = "", *, model: str = _SMALL, optimizer: str = _ADAM, loss: str = "CrossEntropy") -> str:
    """Return a spec that is correct except for the given settings."""
    lines = ["data = MNIST", f"model {{{model}}}", f"loss = {loss}", optimizer, more]
    return "\n".join(line for line in lines if line)


GALLERY: dict[str, tuple[Broken, ...]] = {
    "Typos and punctuation": (
        Broken(
            "A setting is misspelt",
            "The message suggests the closest valid name.",
            _mnist("train {\n    epocs = 20\n    batch = 64\n}"),
        ),
        Broken(
            "An argument is misspelt",
            "`--fix --unsafe-fixes` would insert the suggested name, but the author should check it first.",
            _mnist(optimizer="optimizer = Momentum(lr=0.01, momentun=0.9)"),
        ),
        Broken(
            "A layer is misspelt",
            "There is one message: no follow-up errors about the model, which cannot be built.",
            _mnist(model="\n    Linear(128)\n    ReLU\n    Droput(0.2)\n    Linear(10)\n"),
        ),
        Broken(
            "A comma is missing",
            "In a list of arguments, where it is easy to overlook.",
            _mnist(optimizer="optimizer = Adam(lr=0.001 eps=1e-8)"),
        ),
        Broken(
            "A bracket is not closed",
            "Reported where it was opened, not on the next line.",
            _mnist(model="\n    Linear(128\n    ReLU\n    Linear(10)\n"),
        ),
        Broken(
            "A brace is not closed",
            "The next lines are not indented, which shows where the brace should have been.",
            "data = MNIST\nmodel {\n    Linear(128)\n    ReLU\n    Linear(10)\n\nloss = CrossEntropy\n"
            "optimizer = Adam\n\ntrain {\n    epochs = 5\n}",
        ),
        Broken(
            "A string is not closed",
            "The brace at the end of the line still opens the race, and its lanes are checked.",
            _mnist('race "Three optimizers {\n    SGD(lr=0.01)\n    Adam(lr=0.001)\n}', optimizer=""),
        ),
        Broken(
            "`:` instead of `=`",
            "As in YAML, JSON and a Python dict.",
            _mnist("train {\n    epochs: 20\n    batch: 64\n}"),
        ),
        Broken(
            "Neither `:` nor `=`",
            "As in the configuration files of many other tools.",
            _mnist("train {\n    epochs 20\n}"),
        ),
        Broken(
            "Commas between the settings",
            "As in a dict. There is one message for all commas of a section, and `--fix` replaces them.",
            _mnist("train { epochs = 20, batch = 64, shuffle = false }"),
        ),
        Broken(
            "A comma in a number",
            "Thousands are separated by `_`.",
            _mnist("expect { params < 60,000 }"),
        ),
        Broken(
            "Curly quotes",
            "Word processors, chats and slides replace quotes automatically.",
            _mnist("race “Optimizers” {\n    SGD(lr=0.01)\n    Adam(lr=0.001)\n}", optimizer=""),
        ),
        Broken(
            "Several mistakes at once",
            "All mistakes are reported at once, in file order, without follow-up errors.",
            "sede = 42\ndata = MNIST(train=2000, test=500\n\nmodel {\n    Linear(784, 64)\n    Relu\n    Droput(0.2)\n"
            "    Linear(64, 10)\n}\n\nloss = CrossEntropy\noptimizer = Adam(learning_rate=0.001)\n\ntrain {\n"
            '    epochs = "15"\n}\n\nexpect {\n    test_acuracy > 0.9\n}',
        ),
    ),
    "Habits from other tools": (
        Broken(
            "A model as Keras writes it",
            "The names that other frameworks use for layers and arguments are recognised.",
            _mnist(model='\n    Dense(128, activation="relu")\n    Dense(10, activation="softmax")\n'),
        ),
        Broken(
            "A model as PyTorch writes it",
            "Specs have no modules, so names have no prefix.",
            _mnist(model="\n    nn.Linear(784, 128)\n    nn.ReLU()\n    nn.Linear(128, 10)\n"),
        ),
        Broken(
            "An optimizer by its long name",
            "The learning rate is called `lr`, as in PyTorch. `--fix` replaces the name, since it has only one "
            "meaning.",
            _mnist(optimizer="optimizer = Adam(learning_rate=0.001)"),
        ),
        Broken(
            "The batch size at top level",
            "This is its name in Keras, at the place where scripts define their constants.",
            _mnist("batch_size = 64\nepochs = 10"),
        ),
        Broken(
            "A softmax at the end",
            "In textbooks, classifiers end in a softmax. Here the loss computes it, without overflow.",
            _mnist(model="\n    Linear(128)\n    ReLU\n    Linear(10)\n    Softmax\n"),
        ),
        Broken(
            "A loss as a string",
            "As in Keras's `model.compile`.",
            _mnist(loss='"categorical_crossentropy"'),
        ),
        Broken(
            "Python's True and None",
            "In specs they are lowercase.",
            _mnist("train {\n    shuffle = True\n    clip_norm = None\n}"),
        ),
        Broken(
            "Several optimizers in a list",
            "To compare optimizers, use a race.",
            _mnist(optimizer="optimizer = [SGD, Adam]"),
        ),
        Broken(
            "A layer that is named with `=`",
            "As in the constructor of a PyTorch module.",
            _mnist(model="\n    fc1 = Linear(128)\n    ReLU\n    Linear(10)\n"),
        ),
        Broken(
            "A loop",
            "Specs have no loops; to repeat a layer or a block, multiply it.",
            _mnist(model="\n    for i in range(3):\n        Linear(64)\n        ReLU\n    Linear(10)\n"),
        ),
        Broken(
            "A condition",
            "Specs have no conditions; to compare variants, use the lanes of a race.",
            _mnist("let deep = true\nif deep {\n    train.epochs = 20\n}"),
        ),
        Broken(
            "Two comparisons in one",
            "Python reads this as two comparisons; most other languages compare the first result with the second "
            "bound.",
            _mnist("seed = 1\nexpect {\n    0.9 < test_accuracy < 0.99\n}"),
        ),
        Broken(
            "A setting where a statement belongs",
            "`=` sets a value, `==` compares.",
            _mnist("expect {\n    params = 50_890\n}"),
        ),
    ),
    "Shapes": (
        Broken(
            "A mismatch in a long chain of layers",
            "The message shows the shape, where it comes from, and all shapes on the way.",
            _mnist(
                model="\n    Linear(784, 512)\n    ReLU\n    Linear(512, 256)\n    ReLU\n    Dropout(0.2)\n"
                "    Linear(265, 128)\n    ReLU\n    Linear(128, 10)\n",
            ),
        ),
        Broken(
            "A mismatch inside a block",
            "The block works in one place but not in another, so both places are shown.",
            "data = MNIST\n\nblock Hidden(units) {\n    Linear(64, units)\n    ReLU\n}\n\nmodel {\n    Linear(64)\n"
            "    Hidden(32)\n    Hidden(16)\n    Linear(10)\n}\n\nloss = CrossEntropy\noptimizer = Adam",
        ),
        Broken(
            "A residual that changes the width",
            "The input is added to the output of the layers, so both must have the same shape.",
            _mnist(model="\n    Linear(64)\n    residual {\n        Linear(32)\n        ReLU\n    }\n    Linear(10)\n"),
        ),
        Broken(
            "Fewer outputs than classes",
            "The digits 8 and 9 could never be predicted.",
            _mnist(model="\n    Linear(64)\n    ReLU\n    Linear(8)\n"),
        ),
        Broken(
            "Zeros too many",
            "The parameters are only counted; nothing is allocated.",
            _mnist(model="\n    Linear(64_000)\n    ReLU\n    Linear(64_000)\n    ReLU\n    Linear(10)\n"),
        ),
        Broken(
            "Parallel layers without branches",
            "`add` and `concat` contain one section per branch.",
            _mnist(model="\n    concat {\n        Linear(32)\n        Linear(64)\n    }\n    ReLU\n    Linear(10)\n"),
        ),
    ),
    "Values": (
        Broken(
            "A percentage for a probability",
            "The help suggests the fraction.",
            _mnist(model="\n    Linear(64)\n    Dropout(20)\n    Linear(10)\n"),
        ),
        Broken(
            "A width that is not an integer",
            "`/` always returns a float, as in Python.",
            _mnist("let width = 64", model=" Linear(width / 2); ReLU; Linear(10) "),
        ),
        Broken(
            "A name that depends on itself",
            "Each of the two is defined by the other.",
            _mnist("let width = 2 * depth\nlet depth = width // 2", model=" Linear(width); ReLU; Linear(10) "),
        ),
        Broken(
            "A block that uses itself",
            "Recursion is not allowed: every network is finite.",
            "data = MNIST\nblock Tower(units) {\n    Linear(units)\n    ReLU\n    Tower(units // 2)\n}\n"
            "model { Tower(64); Linear(10) }\nloss = CrossEntropy\noptimizer = Adam",
        ),
        Broken(
            "Lists of unequal length",
            "`sweep zip` pairs the lists element by element, but the second list is shorter.",
            _mnist(
                "let width = 64\nsweep zip {\n    width = [32, 64, 128]\n    optimizer.lr = [0.01, 0.001]\n}",
                model=" Linear(width); ReLU; Linear(10) ",
            ),
        ),
    ),
    "More than one file": (
        Broken(
            "An import that does not exist",
            "The message suggests a file in the same folder.",
            'import "comon.nn"\nmodel { Linear(10) }',
            beside={"common.nn": "data = MNIST\nloss = CrossEntropy\noptimizer = Adam"},
        ),
        Broken(
            "Circular imports",
            "Each file imports the other.",
            'import "common.nn"\nmodel { Linear(10) }\nlet width = 64',
            beside={"common.nn": 'import "broken.nn"\ndata = MNIST\nloss = CrossEntropy\noptimizer = Adam'},
        ),
        Broken(
            "A misspelt flag",
            "Flags on the command line are shown like lines of the spec. `--fix` does not change them.",
            _mnist("race {\n    SGD(lr=0.01)\n    Adam(lr=0.001)\n}", optimizer=""),
            flags=("Adma.optimizer.lr=0.1",),
        ),
    ),
    "Expectations": (
        Broken(
            "Too many parameters",
            "A statement about the network itself needs no training, so `check` evaluates it and shows the number.",
            _mnist("expect {\n    params < 50_000\n}"),
        ),
        Broken(
            "A figure that is not measured",
            "Validation figures need validation samples.",
            _mnist("seed = 1\nexpect {\n    val_accuracy > 0.9\n}"),
        ),
        Broken(
            "A lane that does not exist",
            "Lanes are named after their optimizer, and this race has no `Adam`.",
            _mnist(
                "seed = 1\nrace {\n    SGD(lr=0.01)\n    Momentum(lr=0.01)\n}\nexpect {\n    Adam.loss < SGD.loss\n}",
                optimizer="",
            ),
        ),
    ),
    "Advice": (
        Broken(
            "A sigmoid before cross-entropy",
            "This is valid but trains badly. Advice is a warning and does not prevent a run.",
            _mnist(model="\n    Linear(128)\n    ReLU\n    Linear(10)\n    Sigmoid\n"),
        ),
        Broken(
            "Two linear layers in a row",
            "The activation between them was forgotten.",
            _mnist(model="\n    Linear(128)\n    Linear(64)\n    ReLU\n    Linear(10)\n"),
        ),
        Broken(
            "A rate for another optimizer",
            "This rate suits SGD but is too large for Adam.",
            _mnist(optimizer="optimizer = Adam(lr=0.1)"),
        ),
        Broken(
            "Early stopping on test data",
            "The test data would no longer be independent of the training.",
            _mnist("train {\n    epochs = 100\n    early_stop = patience(5, of=test_loss)\n}"),
        ),
        Broken(
            "An outcome without a seed",
            "The outcome depends on the seed, and the spec does not say which one it expects.",
            _mnist("expect {\n    test_accuracy > 0.9\n}"),
        ),
    ),
}
"""By chapter."""

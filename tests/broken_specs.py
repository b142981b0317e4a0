"""Broken specs as people write them: what they meant, and the text. `docs/gallery.md` shows what check says of each."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["GALLERY", "Broken"]


@dataclass(frozen=True)
class Broken:
    """A spec with a mistake."""

    title: str
    context: str
    """One sentence: who writes this, and why."""
    text: str
    flags: tuple[str, ...] = ()
    """What is given with `--set`."""
    beside: dict[str, str] = field(default_factory=dict)
    """Files in the same folder: name and text."""


_SMALL = " Linear(64); ReLU; Linear(10) "
_ADAM = "optimizer = Adam(lr=0.001)"


def _mnist(more: str = "", *, model: str = _SMALL, optimizer: str = _ADAM, loss: str = "CrossEntropy") -> str:
    """Return a spec that is right but for what is given."""
    lines = ["data = MNIST", f"model {{{model}}}", f"loss = {loss}", optimizer, more]
    return "\n".join(line for line in lines if line)


GALLERY: dict[str, tuple[Broken, ...]] = {
    "Slips of the finger": (
        Broken(
            "A setting is misspelt",
            "The names that may stand there are searched, and where one is clearly meant it is named.",
            _mnist("train {\n    epocs = 20\n    batch = 64\n}"),
        ),
        Broken(
            "An argument is misspelt",
            "`--fix --unsafe-fixes` would put the right name in; the author of the spec should have a look first.",
            _mnist(optimizer="optimizer = Momentum(lr=0.01, momentun=0.9)"),
        ),
        Broken(
            "A layer is misspelt",
            "One message; that the model cannot be built without it needs no second.",
            _mnist(model="\n    Linear(128)\n    ReLU\n    Droput(0.2)\n    Linear(10)\n"),
        ),
        Broken(
            "A comma is missing",
            "In the middle of a list of arguments, where the eye slides over it.",
            _mnist(optimizer="optimizer = Adam(lr=0.001 eps=1e-8)"),
        ),
        Broken(
            "A bracket is not closed",
            "Reported where it was opened; the line below is not blamed for it.",
            _mnist(model="\n    Linear(128\n    ReLU\n    Linear(10)\n"),
        ),
        Broken(
            "A brace is not closed",
            "The lines that follow stand at the margin again, which tells where the brace should have been.",
            "data = MNIST\nmodel {\n    Linear(128)\n    ReLU\n    Linear(10)\n\nloss = CrossEntropy\n"
            "optimizer = Adam\n\ntrain {\n    epochs = 5\n}",
        ),
        Broken(
            "A string is not closed",
            "The brace behind it still opens the race, whose lanes are checked.",
            _mnist('race "Three optimizers {\n    SGD(lr=0.01)\n    Adam(lr=0.001)\n}', optimizer=""),
        ),
        Broken(
            "`:` in the place of `=`",
            "As in YAML, JSON and a Python dict.",
            _mnist("train {\n    epochs: 20\n    batch: 64\n}"),
        ),
        Broken(
            "Neither `:` nor `=`",
            "As in a configuration file of many another tool.",
            _mnist("train {\n    epochs 20\n}"),
        ),
        Broken(
            "Commas between the settings",
            "As in a dict; one message for all commas of a section, and `--fix` mends them.",
            _mnist("train { epochs = 20, batch = 64, shuffle = false }"),
        ),
        Broken(
            "A comma in a number",
            "Thousands are set apart by `_`.",
            _mnist("expect { params < 60,000 }"),
        ),
        Broken(
            "Curly quotes",
            "What a word processor, a chat or a slide makes of a quote.",
            _mnist("race “Optimizers” {\n    SGD(lr=0.01)\n    Adam(lr=0.001)\n}", optimizer=""),
        ),
        Broken(
            "Several mistakes at once",
            "All of them in one go and in the order of the file, each once, none because of another.",
            "sede = 42\ndata = MNIST(train=2000, test=500\n\nmodel {\n    Linear(784, 64)\n    Relu\n    Droput(0.2)\n"
            "    Linear(64, 10)\n}\n\nloss = CrossEntropy\noptimizer = Adam(learning_rate=0.001)\n\ntrain {\n"
            '    epochs = "15"\n}\n\nexpect {\n    test_acuracy > 0.9\n}',
        ),
    ),
    "Habits from elsewhere": (
        Broken(
            "A model as Keras writes it",
            "Layers and arguments are known by the names that they have elsewhere, too.",
            _mnist(model='\n    Dense(128, activation="relu")\n    Dense(10, activation="softmax")\n'),
        ),
        Broken(
            "A model as PyTorch writes it",
            "A spec has no modules to import from, so its names have no dots before them.",
            _mnist(model="\n    nn.Linear(784, 128)\n    nn.ReLU()\n    nn.Linear(128, 10)\n"),
        ),
        Broken(
            "An optimizer by its long name",
            "The rate is `lr` everywhere, as in PyTorch. `--fix` writes it: another framework's name for a thing "
            "has only one meaning.",
            _mnist(optimizer="optimizer = Adam(learning_rate=0.001)"),
        ),
        Broken(
            "The batch size at the top of the file",
            "Its name in Keras, and in the place where scripts keep their constants.",
            _mnist("batch_size = 64\nepochs = 10"),
        ),
        Broken(
            "A softmax at the end",
            "Networks for classes end in a softmax in every textbook; here it belongs to the loss, which computes it "
            "without overflow.",
            _mnist(model="\n    Linear(128)\n    ReLU\n    Linear(10)\n    Softmax\n"),
        ),
        Broken(
            "A loss that is named by a string",
            "As in `model.compile` of Keras.",
            _mnist(loss='"categorical_crossentropy"'),
        ),
        Broken(
            "Python's True and None",
            "Specs write them in lower case.",
            _mnist("train {\n    shuffle = True\n    clip_norm = None\n}"),
        ),
        Broken(
            "Several optimizers in a list",
            "To compare is what a race is for.",
            _mnist(optimizer="optimizer = [SGD, Adam]"),
        ),
        Broken(
            "A layer that is given a name by `=`",
            "As in the constructor of a PyTorch module.",
            _mnist(model="\n    fc1 = Linear(128)\n    ReLU\n    Linear(10)\n"),
        ),
        Broken(
            "A loop",
            "There are none: what is repeated is multiplied.",
            _mnist(model="\n    for i in range(3):\n        Linear(64)\n        ReLU\n    Linear(10)\n"),
        ),
        Broken(
            "A condition",
            "There are none: what differs between two experiments is a lane of a race.",
            _mnist("let deep = true\nif deep {\n    train.epochs = 20\n}"),
        ),
        Broken(
            "Two comparisons in one",
            "Python reads it as two; most languages read something that nobody means.",
            _mnist("seed = 1\nexpect {\n    0.9 < test_accuracy < 0.99\n}"),
        ),
        Broken(
            "A setting where a statement belongs",
            "One `=` gives a value, two compare.",
            _mnist("expect {\n    params = 50_890\n}"),
        ),
    ),
    "Shapes": (
        Broken(
            "A long chain that breaks in the middle",
            "The message says what arrives, since where, and the way there.",
            _mnist(
                model="\n    Linear(784, 512)\n    ReLU\n    Linear(512, 256)\n    ReLU\n    Dropout(0.2)\n"
                "    Linear(265, 128)\n    ReLU\n    Linear(128, 10)\n",
            ),
        ),
        Broken(
            "A mismatch inside a block",
            "The block is right for one use and wrong for the other, so both places are shown.",
            "data = MNIST\n\nblock Hidden(units) {\n    Linear(64, units)\n    ReLU\n}\n\nmodel {\n    Linear(64)\n"
            "    Hidden(32)\n    Hidden(16)\n    Linear(10)\n}\n\nloss = CrossEntropy\noptimizer = Adam",
        ),
        Broken(
            "A residual that changes the width",
            "What goes around the layers is added to what comes out of them, so both must have one shape.",
            _mnist(model="\n    Linear(64)\n    residual {\n        Linear(32)\n        ReLU\n    }\n    Linear(10)\n"),
        ),
        Broken(
            "Fewer outputs than classes",
            "The digits 8 and 9 could never be said.",
            _mnist(model="\n    Linear(64)\n    ReLU\n    Linear(8)\n"),
        ),
        Broken(
            "Zeros too many",
            "The parameters are counted and not made; nothing is allocated to find this out.",
            _mnist(model="\n    Linear(64_000)\n    ReLU\n    Linear(64_000)\n    ReLU\n    Linear(10)\n"),
        ),
        Broken(
            "Layers beside each other without branches",
            "`add` and `concat` hold sections, one for each way from the input.",
            _mnist(model="\n    concat {\n        Linear(32)\n        Linear(64)\n    }\n    ReLU\n    Linear(10)\n"),
        ),
    ),
    "Values": (
        Broken(
            "A percentage for a probability",
            "What is meant is not hard to guess.",
            _mnist(model="\n    Linear(64)\n    Dropout(20)\n    Linear(10)\n"),
        ),
        Broken(
            "A width that is no whole number",
            "`/` gives a fraction even where it comes out even, as in Python.",
            _mnist("let width = 64", model=" Linear(width / 2); ReLU; Linear(10) "),
        ),
        Broken(
            "A name that depends on itself",
            "Each of the two is meant to follow from the other.",
            _mnist("let width = 2 * depth\nlet depth = width // 2", model=" Linear(width); ReLU; Linear(10) "),
        ),
        Broken(
            "A block that uses itself",
            "Recursion: blocks end, so that the layers of a spec can be counted.",
            "data = MNIST\nblock Tower(units) {\n    Linear(units)\n    ReLU\n    Tower(units // 2)\n}\n"
            "model { Tower(64); Linear(10) }\nloss = CrossEntropy\noptimizer = Adam",
        ),
        Broken(
            "Lists of unequal length",
            "`sweep zip` pairs the first with the first and the second with the second, and here the third has nobody.",
            _mnist(
                "let width = 64\nsweep zip {\n    width = [32, 64, 128]\n    optimizer.lr = [0.01, 0.001]\n}",
                model=" Linear(width); ReLU; Linear(10) ",
            ),
        ),
    ),
    "More than one file": (
        Broken(
            "An import that is not there",
            "The files beside it are looked through for the one that was meant.",
            'import "comon.nn"\nmodel { Linear(10) }',
            beside={"common.nn": "data = MNIST\nloss = CrossEntropy\noptimizer = Adam"},
        ),
        Broken(
            "Imports that go in a circle",
            "Each file wants what the other says.",
            'import "common.nn"\nmodel { Linear(10) }\nlet width = 64',
            beside={"common.nn": 'import "broken.nn"\ndata = MNIST\nloss = CrossEntropy\noptimizer = Adam'},
        ),
        Broken(
            "A flag that is wrong",
            "What is given on the command line is shown like a line of the spec. Flags are never mended by `--fix`.",
            _mnist("race {\n    SGD(lr=0.01)\n    Adam(lr=0.001)\n}", optimizer=""),
            flags=("Adma.optimizer.lr=0.1",),
        ),
    ),
    "What is expected": (
        Broken(
            "Too many parameters",
            "A statement about the network itself needs no training: it fails now, with the figure.",
            _mnist("expect {\n    params < 50_000\n}"),
        ),
        Broken(
            "A figure that nobody measures",
            "Figures of held-out samples need some samples to be held out.",
            _mnist("seed = 1\nexpect {\n    val_accuracy > 0.9\n}"),
        ),
        Broken(
            "A lane that does not exist",
            "The lane is named by its part, and this race has another.",
            _mnist(
                "seed = 1\nrace {\n    SGD(lr=0.01)\n    Momentum(lr=0.01)\n}\nexpect {\n    Adam.loss < SGD.loss\n}",
                optimizer="",
            ),
        ),
    ),
    "Advice": (
        Broken(
            "A sigmoid before cross-entropy",
            "Legal, and it trains badly; advice is a warning and stops nothing.",
            _mnist(model="\n    Linear(128)\n    ReLU\n    Linear(10)\n    Sigmoid\n"),
        ),
        Broken(
            "Two linear layers in a row",
            "The activation between them was forgotten.",
            _mnist(model="\n    Linear(128)\n    Linear(64)\n    ReLU\n    Linear(10)\n"),
        ),
        Broken(
            "A rate for another optimizer",
            "What suits SGD throws Adam off.",
            _mnist(optimizer="optimizer = Adam(lr=0.1)"),
        ),
        Broken(
            "Early stopping by the test data",
            "The figure that was to judge the network has then helped to make it.",
            _mnist("train {\n    epochs = 100\n    early_stop = patience(5, of=test_loss)\n}"),
        ),
        Broken(
            "An outcome without a seed",
            "It holds today; of which run does it speak?",
            _mnist("expect {\n    test_accuracy > 0.9\n}"),
        ),
    ),
}
"""By chapter."""

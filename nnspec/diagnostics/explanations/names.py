"""NN2xx: what is called what, and stands where."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN201": Explanation(
        """ No setting, section, part or constant of this name is known here. An
unknown name is always an error: a tool that skips what it does not know trains with its default while you believe in
the `lr` that you misspelt, and nothing in the outcome says so.

Where one name is clearly meant, it is named: a near miss (`epocs`), or what other frameworks call the same thing
(`Dense` is `Linear`, `batch_size` is `train.batch`). What another framework has only one name for is replaced by
`nnspec check --fix`; a guess is only shown.
""",
        Example("model {\n    Dense(64)\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\n"),
    ),
    "NN202": Explanation(
        """
The layer, optimizer, function or other part is known and takes no argument of this name. Nothing is passed on or
ignored; the help says what it takes, or which of these is meant. A rate is `lr` and a share of dropped values `p`, as
in PyTorch. An activation is never an argument: it is a layer of its own.
""",
        Example("optimizer = Adam(learning_rate=0.001)\n"),
        Example("optimizer = Adam(lr=0.001)\n"),
    ),
    "NN203": Explanation(
        """
This is well formed and has a meaning elsewhere, but not here: a layer at the top of the file, a setting among the
layers, a statement outside of `expect`, a `:` where a value is given. A setting that could have no effect is rejected
as well, such as a learning rate for the optimizer when every lane of the race has its own optimizer: its author
expects it to do something.
""",
        Example("model {\n    Linear(10)\n    epochs = 15\n}\n"),
        Example("model {\n    Linear(10)\n}\ntrain.epochs = 15\n"),
    ),
    "NN204": Explanation(
        """
The same setting, argument, name, section or lane is given twice in one place, so it is unclear which one counts. An
importing file, a lane, a `sweep` or `--set` may give it again: that replaces the earlier value, which is what these
are for. But a lane and a `sweep` may not set the same thing, because each would replace the other. Sweep only the
other lanes, as in `Adam.optimizer.lr = [0.01, 0.001]`.
""",
        Example("train { epochs = 15 }\ntrain.epochs = 20\n"),
        Example("train { epochs = 20 }\n"),
    ),
    "NN205": Explanation(
        """
An experiment needs `data`, a `model`, a `loss` and an `optimizer` (or one per lane of a race), and some parts need an
argument. nnspec does not choose these for you, because each choice changes what the numbers mean. Settings with an
accepted default may be omitted: `seed`, `dtype`, `metrics` and everything in `train`.
""",
        Example("data = Digits\nmodel { Linear(10) }\noptimizer = Adam(lr=0.001)\n", whole=True),
        Example("data = Digits\nmodel { Linear(10) }\nloss = CrossEntropy\noptimizer = Adam(lr=0.001)\n", whole=True),
    ),
    "NN206": Explanation(
        """
A `let`, a `block` and a parameter need unique names, not that of a setting, a section, a part, a function or the
constant `pi`. Otherwise `Linear` or `epochs` would mean one thing above the declaration and another below, and
`--set epochs=3` could mean either.
""",
        Example("let epochs = 15\ntrain.epochs = epochs\n"),
        Example("let how_long = 15\ntrain.epochs = how_long\n"),
    ),
    "NN207": Explanation(
        """
The definition of this `let` or block leads back to itself: there is no value to start from, and the layers of such a
block would never end. Every spec is a finite set of runs that is known before anything is computed, so recursion is
rejected. To repeat a block, multiply it: `Hidden(64) * 3`.
""",
        Example("let width = 2 * depth\nlet depth = width // 2\nmodel { Linear(width); ReLU; Linear(10) }\n"),
        Example("let depth = 8\nlet width = 2 * depth\nmodel { Linear(width); ReLU; Linear(10) }\n"),
    ),
    "NN209": Explanation(
        """
An import names a `.nn` file by its path relative to the importing file, with `/` between folders, so that a folder of
specs can be moved as it is. The file must exist, be UTF-8 text, and belong to the same project (the nearest folder
above with a `pyproject.toml` or a `.git`, or the spec's own folder). Files outside are rejected, even through a
symbolic link, because messages quote lines, and a stranger's spec could have them quote any file.
""",
        Example('import "comon.nn"\nmodel { Linear(10) }\n', {"common.nn": "train.epochs = 5\n"}),
        Example('import "common.nn"\nmodel { Linear(10) }\n', {"common.nn": "train.epochs = 5\n"}),
    ),
    "NN210": Explanation(
        """
A file applies before the file that imports it, which may then change what it says. Two files that import each other
would each have to come first. What both of them need belongs in a third file.
""",
        Example('import "other.nn"\nlet width = 64\n', {"other.nn": 'import "example.nn"\ntrain.epochs = 5\n'}),
        Example('import "other.nn"\nmodel { Linear(10) }\n', {"other.nn": "train.epochs = 5\n"}),
    ),
}

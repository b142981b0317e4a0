"""NN2xx: what is called what, and stands where."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN201": Explanation(
        """
There is no setting, section, part or constant with this name here. An unknown name is always an error. A tool that
ignored it would train with the default value, and nothing in the results would tell you that your `lr` was misspelt.

If it is clear which name was meant, the message suggests it: a close match (`epocs`), or another framework's name for
the same thing (`Dense` is `Linear`, `batch_size` is `train.batch`). `nnspec check --fix` replaces names from other
frameworks that have only one meaning; it leaves guesses to you.
""",
        Example("model {\n    Dense(64)\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\n"),
    ),
    "NN202": Explanation(
        """
This layer, optimizer, function or other part has no argument with this name. No argument is ever ignored or passed
through. The help lists the valid arguments, or suggests the one that was meant. The learning rate is `lr` and the
dropout probability is `p`, as in PyTorch. Activations are separate layers, never arguments.
""",
        Example("optimizer = Adam(learning_rate=0.001)\n"),
        Example("optimizer = Adam(lr=0.001)\n"),
    ),
    "NN203": Explanation(
        """
This is valid syntax, but not in this place: a layer at top level, a setting among the layers, a statement outside
`expect`, a `:` instead of `=`. Settings that cannot have any effect are rejected as well, such as a learning rate for
the optimizer when every lane of the race has its own optimizer: the author expects them to do something.
""",
        Example("model {\n    Linear(10)\n    epochs = 15\n}\n"),
        Example("model {\n    Linear(10)\n}\ntrain.epochs = 15\n"),
    ),
    "NN204": Explanation(
        """
The same setting, argument, name, section or lane is defined twice in one place, so it is unclear which definition
counts. An importing file, a lane, a `sweep` or `--set` may override an earlier value; that is what they are for. But a
lane and a `sweep` may not both set the same thing, because each would override the other. Sweep only the other lanes,
as in `Adam.optimizer.lr = [0.01, 0.001]`.
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
A `let`, a `block` and a parameter need unique names, different from every setting, section, part and function and from
the constant `pi`. Otherwise `Linear` or `epochs` would mean one thing before the declaration and another after it, and
`--set epochs=3` would be ambiguous.
""",
        Example("let epochs = 15\ntrain.epochs = epochs\n"),
        Example("let how_long = 15\ntrain.epochs = how_long\n"),
    ),
    "NN207": Explanation(
        """
The definition of this `let` or block refers back to itself: a `let` would have no value, and a block would have
infinitely many layers. Every spec describes a finite set of runs that is known before anything is computed, so
recursion is rejected. To repeat a block, multiply it: `Hidden(64) * 3`.
""",
        Example("let width = 2 * depth\nlet depth = width // 2\nmodel { Linear(width); ReLU; Linear(10) }\n"),
        Example("let depth = 8\nlet width = 2 * depth\nmodel { Linear(width); ReLU; Linear(10) }\n"),
    ),
    "NN209": Explanation(
        """
An import names a `.nn` file by its path relative to the importing file, with `/` as the separator, so that a folder of
specs can be moved. The file must exist, be UTF-8 text, and belong to the same project (the closest parent folder with
a `pyproject.toml` or a `.git`, or else the spec's own folder). Files outside the project are rejected, even through a
symbolic link: error messages quote lines of imported files, so an untrusted spec could otherwise read any file.
""",
        Example('import "comon.nn"\nmodel { Linear(10) }\n', {"common.nn": "train.epochs = 5\n"}),
        Example('import "common.nn"\nmodel { Linear(10) }\n', {"common.nn": "train.epochs = 5\n"}),
    ),
    "NN210": Explanation(
        """
An imported file takes effect before the file that imports it, which can then override its settings. If two files
import each other, neither can come first. Move what both need to a third file.
""",
        Example('import "other.nn"\nlet width = 64\n', {"other.nn": 'import "example.nn"\ntrain.epochs = 5\n'}),
        Example('import "other.nn"\nmodel { Linear(10) }\n', {"other.nn": "train.epochs = 5\n"}),
    ),
}

"""NN1xx: what cannot be read."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN101": Explanation(
        """ A spec is a list of items: settings (`epochs = 15`), sections (`train { …
}`), layers, parts and statements (`ReLU`, `loss < 1`), and declarations (`let width = 64`). Each ends with its line,
with a `;`, or with the `}` of the section around it. Here a word or sign stands where none of these can go on. Often
an `=`, a comma or a line end is missing just before it, or it belongs to another language.

The item is left out, and everything else in the file is checked all the same.
""",
        Example("train {\n    epochs 15\n    batch = 64\n}\n"),
        Example("train {\n    epochs = 15\n    batch = 64\n}\n"),
    ),
    "NN102": Explanation(
        """
Every `(`, `[` and `{` needs its partner. One that is never closed is reported where it was opened, because that is
where one goes to mend it; line ends inside `()` and `[]` mean nothing, so the mistake may be far above the place
where reading fails. A `}` closes nothing but a section: a round bracket left open before it is reported by itself.
""",
        Example("model {\n    Linear(64\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\n"),
    ),
    "NN103": Explanation(
        """
A string stands between two equal quotes, `"` or `'`, on one line. In it a backslash begins an escape, of which there
are `\\n`, `\\t`, `\\\\`, `\\"` and `\\'`. Any other is refused rather than read as it stands, since a folder such as
`data\\new` would hold a line end that nobody sees. Control characters are refused for the same reason.
""",
        Example('race "Three optimizers {\n    SGD(lr=0.01)\n    Adam(lr=0.001)\n}\n'),
        Example('race "Three optimizers" {\n    SGD(lr=0.01)\n    Adam(lr=0.001)\n}\n'),
    ),
    "NN104": Explanation(
        """
It begins as a number and goes on as none. Numbers are whole (`64`, `60_000`) or have a point or an exponent (`0.01`,
`1e-3`). There are no units, no `k` for thousands, no hexadecimal numbers, and at most 400 digits. Thousands are set
apart by `_`, never by a comma, which separates values.
""",
        Example("expect { params < 60k }\n"),
        Example("expect { params < 60_000 }\n"),
    ),
    "NN106": Explanation(
        """
Brackets and braces stand in each other at most 100 deep, expressions have at most 150 steps from the outermost to the
innermost, and blocks use blocks at most 50 deep. Nobody writes more by hand. The limits keep a file from a generator,
or from a stranger, from exhausting the stack; a text that goes over one gets this message, and never a crash.
""",
        Example(
            "train.epochs = " + "(\n" * 101 + "15\n" + ")\n" * 101,
            shown="train.epochs = (\n(\n(\n… 101 of them …\n15\n… and as many that close …\n)",
        ),
        Example("train.epochs = 15\n"),
    ),
    "NN107": Explanation(
        """
A file has at most 100,000 words and signs, and a line at most 200,000 characters, which is thousands of times what an
experiment needs. More is a mistake (data that was pasted, a generator that did not stop), and reading it would keep a
terminal or an editor waiting. What is repeated can be said once: `Linear(64) * 100`, a `block`, a `sweep`.
""",
        Example("seed = 1\n" + ";\n" * 50_001, shown="seed = 1\n;\n;\n… and so on, 50,000 times"),
        Example("seed = 1\n"),
    ),
}

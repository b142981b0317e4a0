"""NN1xx: what cannot be read."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN101": Explanation(
        """
A spec is a list of items: settings (`epochs = 15`), sections (`train { … }`), layers, parts and statements (`ReLU`,
`loss < 1`), and declarations (`let width = 64`). An item ends at the end of its line, at a `;`, or at the `}` of the
section around it. This word or sign fits none of these. Often an `=`, a comma or a line end is missing just before it,
or it belongs to another language. The item is skipped, and the rest of the file is still checked.
""",
        Example("train {\n    epochs 15\n    batch = 64\n}\n"),
        Example("train {\n    epochs = 15\n    batch = 64\n}\n"),
    ),
    "NN102": Explanation(
        """
Every `(`, `[` and `{` needs its partner. One that is never closed is reported where it was opened, because that is
where it has to be fixed. Line ends inside `()` and `[]` are ignored, so the mistake may be far above the place where
parsing fails. A `}` only closes a section: a round bracket left open before it is reported separately.
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
This begins like a number but is not one. Numbers are whole (`64`, `60_000`) or have a point or an exponent (`0.01`,
`1e-3`). There are no units, no `k` for thousands, no hexadecimal numbers, and at most 400 digits. Thousands are
separated by `_`, never by a comma, which separates values.
""",
        Example("expect { params < 60k }\n"),
        Example("expect { params < 60_000 }\n"),
    ),
    "NN106": Explanation(
        """
Brackets and braces may be nested 100 deep, expressions may have 150 steps from the outermost to the innermost, and
blocks may use blocks 50 deep. Nobody writes more by hand. The limits keep a generated or hostile file from exhausting
the stack: a file that exceeds them gets this message instead of a crash.
""",
        Example(
            "train.epochs = " + "(\n" * 101 + "15\n" + ")\n" * 101,
            shown="train.epochs = (\n(\n(\n… 101 of them …\n15\n… and as many that close …\n)",
        ),
        Example("train.epochs = 15\n"),
    ),
    "NN107": Explanation(
        """
A file has at most 100,000 words and signs, and a line at most 200,000 characters, thousands of times more than an
experiment needs. More is a mistake (pasted data, a generator that did not stop), and reading it would block a terminal
or an editor. To repeat something, use `Linear(64) * 100`, a `block`, or a `sweep`.
""",
        Example("seed = 1\n" + ";\n" * 50_001, shown="seed = 1\n;\n;\n… and so on, 50,000 times"),
        Example("seed = 1\n"),
    ),
}

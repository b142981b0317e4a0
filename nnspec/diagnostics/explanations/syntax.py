"""NN1xx: syntax errors."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN101": Explanation(
        """
A spec is a list of items: settings (`epochs = 15`), sections (`train { … }`), layers, parts and statements (`ReLU`,
`loss < 1`), and declarations (`let width = 64`). An item ends at the end of its line, at a `;`, or at the `}` of the
section around it. This token fits none of these. Often an `=`, a comma or a line break is missing just before it, or
it is syntax from another language. The item is skipped, and the rest of the file is still checked.
""",
        Example("train {\n    epochs 15\n    batch = 64\n}\n"),
        Example("train {\n    epochs = 15\n    batch = 64\n}\n"),
    ),
    "NN102": Explanation(
        """
Every `(`, `[` and `{` needs a matching closing bracket. An unclosed bracket is reported where it was opened, because
that is where it has to be fixed. Line breaks inside `()` and `[]` are ignored, so the mistake may be far above the
place where parsing fails. A `}` only closes a section: a round bracket left open before it is reported separately.
""",
        Example("model {\n    Linear(64\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\n"),
    ),
    "NN103": Explanation(
        """
A string starts and ends with the same quote, `"` or `'`, on one line. The escapes are `\\n`, `\\t`, `\\\\`, `\\"` and
`\\'`. Any other backslash is an error rather than a literal backslash: otherwise `data\\new` would silently contain a
line break while `data\\old` would not. Control characters are rejected because they cannot be seen.
""",
        Example('race "Three optimizers {\n    SGD(lr=0.01)\n    Adam(lr=0.001)\n}\n'),
        Example('race "Three optimizers" {\n    SGD(lr=0.01)\n    Adam(lr=0.001)\n}\n'),
    ),
    "NN104": Explanation(
        """
This starts like a number but is not one. Numbers are integers (`64`, `60_000`) or have a decimal point or an exponent
(`0.01`, `1e-3`). There are no units, no `k` for thousands, no hexadecimal numbers, and at most 400 digits. Thousands
are separated by `_`; a comma separates values.
""",
        Example("expect { params < 60k }\n"),
        Example("expect { params < 60_000 }\n"),
    ),
    "NN106": Explanation(
        """
Brackets and braces may be nested 100 levels deep, expressions 150 levels, and blocks that use other blocks 50 levels,
which is far more than hand-written specs need. The limits keep a generated or malicious file from overflowing the
stack: a file that exceeds them gets this message instead of a crash.
""",
        Example(
            "train.epochs = " + "(\n" * 101 + "15\n" + ")\n" * 101,
            shown="train.epochs = (\n(\n(\n… 101 of them …\n15\n… and as many that close …\n)",
        ),
        Example("train.epochs = 15\n"),
    ),
    "NN107": Explanation(
        """
A file may have at most 100,000 tokens, and a line at most 200,000 characters, far more than any experiment needs. A
larger file is a mistake (pasted data, a generator that did not stop), and parsing it would block a terminal or an
editor. To repeat something, use `Linear(64) * 100`, a `block`, or a `sweep`.
""",
        Example("seed = 1\n" + ";\n" * 50_001, shown="seed = 1\n;\n;\n… and so on, 50,000 times"),
        Example("seed = 1\n"),
    ),
    "NN108": Explanation(
        """
The file is a table, a script or a configuration file, and nothing in it is part of a spec. It gets this one error
instead of one per line. To train on a table, write a spec that reads it: `data = CSV("bikes.csv", target="rentals")`.
`nnspec new` writes a spec to start from.
""",
        Example("date,wind,rentals\n2023-01-01,4.6,154\n2023-01-02,3.5,119\n", whole=True),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\n"),
    ),
}

"""`python -m nnspec.syntax` writes the parse tables that ship with the package, after a change of the grammar."""

import json

from nnspec.syntax.grammar import TABLES, tables

if __name__ == "__main__":
    text = json.dumps(tables(), separators=(",", ":"))
    with open(TABLES, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")

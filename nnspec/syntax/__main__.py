"""`python -m nnspec.syntax` writes the parse tables that ship with the package, after a change of the grammar."""

import json

from nnspec.syntax.grammar import TABLES, tables

if __name__ == "__main__":
    TABLES.write_text(json.dumps(tables(), separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")

"""NN9xx: problems with a file as a whole, or with nnspec itself."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN901": Explanation(
        """
The file does not exist, cannot be read, is not a regular file, is larger than 4 MiB, or is not UTF-8 text. The text
output shows a plain message; machine-readable formats contain a finding with this code for each such file. `nnspec
check` then exits with code 2 instead of 1.
""",
        no_example="The problem is the file, not its contents.",
    ),
    "NN902": Explanation(
        """
nnspec itself failed while it was checking this file. All other files are still checked, a report is saved to a file
whose name is printed, and `nnspec check` exits with code 3. Please send us that report: whatever the spec contains,
this is a bug in nnspec.
""",
        no_example="No spec should cause this; if one does, it is a bug.",
    ),
    "NN903": Explanation(
        """
At most a thousand findings are shown per spec, errors first; this one says how many more there are. So many findings
usually have a single cause: a file that is not a spec, a missing brace, a generator that repeats a mistake. `nnspec
check --fix` does not change such a file.
""",
        no_example="It would need a thousand findings.",
    ),
}

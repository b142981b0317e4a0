"""NN9xx: what is wrong with a file as a whole, or with nnspec."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN901": Explanation(
        """
The file does not exist, cannot be read, is not a regular file, is larger than 4 MiB, or is not UTF-8 text. A terminal
shows this as a plain message; machine-readable formats have a finding with this code for each such file, so that none
is lost among hundreds. `nnspec check` then exits with 2 instead of 1.
""",
        untold="It is about the file and not about what is written in it.",
    ),
    "NN902": Explanation(
        """
nnspec itself failed on this file instead of reporting findings. All other files are checked, a report is written to a
file whose name is printed, and `nnspec check` exits with 3. Please send that report: whatever the spec contains, this
is our mistake and never yours.
""",
        untold="No spec should be able to; one that does is a bug.",
    ),
    "NN903": Explanation(
        """
Of a spec with very many findings only the first thousand are shown, errors before warnings; this one says how many
more there are. So many usually have one cause: a file that is not a spec, a missing brace, a generator that repeats a
mistake. `nnspec check --fix` leaves such a file alone.
""",
        untold="It takes a thousand others.",
    ),
}

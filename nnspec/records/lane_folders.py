"""The names of lane folders."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable

from nnspec.errors import NnspecError

__all__ = ["folder_names"]

_LONGEST = 200
"""Maximum length of a folder name in bytes; systems allow 255."""


def folder_names(lanes: Iterable[str]) -> list[str]:
    """Return the name of each lane's folder: the lane's own name, if every system allows that.

    Lanes of a sweep are named after their points, as written: `Adam,lr=1/2`. Characters that some system does not allow
    become `_`, long names are cut, and names that are then equal, even if only in lower case, are numbered.

    Raises NnspecError if a name cannot be represented in this system's file name encoding.
    """
    taken: set[str] = set()
    names = []
    for lane in lanes:
        plain = re.sub(r"[^\w,.=+() -]", "_", lane).encode()[:_LONGEST].decode(errors="ignore").rstrip(". ") or "_"
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        try:
            os.fsencode(name)
        except UnicodeEncodeError:
            raise NnspecError(
                f"lane {lane!a} needs a folder of its name, and this system's encoding for file names, "
                f"{sys.getfilesystemencoding()}, cannot represent it; set PYTHONUTF8=1, or LC_ALL=C.UTF-8"
            ) from None
        taken.add(name.casefold())
        names.append(name)
    return names

"""What the folders of lanes are called."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable

from nnspec.errors import NnspecError

__all__ = ["folder_names"]

_LONGEST = 200
"""Bytes of a folder's name: systems allow 255."""


def folder_names(lanes: Iterable[str]) -> list[str]:
    """Return the name of each lane's folder: its own, where every system can have a folder of that name.

    A sweep's lanes are called after their points, as written: `Adam,lr=1/2`. Signs that some system does not allow
    become `_`, long names are cut, and names that would then be one folder (or are on a system that takes `a` and `A`
    for the same) are numbered.

    Raises NnspecError where this system's encoding for names of files lacks a character.
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

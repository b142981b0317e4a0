"""`nnspec conform`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

__all__ = ["command"]


@click.command("conform")
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...")
@click.option(
    "--at-least",
    type=click.IntRange(min=1),
    metavar="N",
    help="Exit with 1 if fewer checks run, so that none is lost unnoticed.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print nothing if all checks pass.")
def command(packages: tuple[str, ...], at_least: int | None, quiet: bool) -> int:
    """Check that the parts of PACKAGE do what nnspec relies on: gradients, shapes, memory, state, identical steps.

    PACKAGE is the name of a package or a module, which is imported; the current folder is searched first. Each
    derivative is also spoilt on purpose, to prove that the checks would notice.
    """
    from nnspec.testing import conform
    from nnspec.view.terminal.conformance import print_conformance
    from nnspec.view.terminal.screen import console

    with _importable(os.getcwd()):
        conformance = conform(*packages)
    good = conformance.good and (at_least is None or conformance.ran >= at_least)
    if not quiet or not good:
        print_conformance(conformance, console(), at_least)
    return 0 if good else 1


@contextmanager
def _importable(folder: str) -> Iterator[None]:
    """Within, modules in a folder can be imported."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)

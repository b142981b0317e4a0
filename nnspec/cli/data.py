"""`nnspec data`."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.group("data")
def command() -> None:
    """Download data sets and show where they are."""


@command.command("fetch", short_help="Download data sets such as MNIST into the cache.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--offline", is_flag=True, help="Only check whether it is there.")
def fetch(names: tuple[str, ...], offline: bool) -> int:
    """Download data sets such as MNIST into the cache and verify them. Existing files are verified and kept."""
    from nnspec import api
    from nnspec.data.source import Access
    from nnspec.view.terminal.downloads import FetchProgress
    from nnspec.view.terminal.screen import console

    screen = console()
    for name in names:
        with FetchProgress(console(stderr=True)) as progress:
            found = api.fetch(name, Access(offline=offline, report=progress.report))
        for path, how in found:
            screen.print(f"{path}: {how}", soft_wrap=True)
        if not found:
            screen.print(f"{name} needs no files")
    return 0

"""`nnspec data`."""

from __future__ import annotations

import sys

import click

__all__ = ["command"]


@click.group("data")
def command() -> None:
    """Download and locate data sets."""


@command.command("fetch", short_help="Download data sets such as MNIST into the cache.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--offline", is_flag=True, help="Only check whether the files exist.")
def fetch(names: tuple[str, ...], offline: bool) -> int:
    """Download data sets such as MNIST into the cache and verify them. Existing files are verified and kept."""
    from nnspec import api
    from nnspec.data.source import Access
    from nnspec.view.terminal.screen import console
    from nnspec.view.terminal.ticker import Ticker

    screen, ticker = console(), Ticker(sys.stderr)
    for name in names:
        try:
            found = api.fetch(name, Access(offline=offline, report=ticker.fetching))
        finally:
            ticker.clear()
        for path, how in found:
            screen.print(f"{path}: {how}", soft_wrap=True)
        if not found:
            screen.print(f"{name} needs no files")
    return 0

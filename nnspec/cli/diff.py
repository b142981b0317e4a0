"""`nnspec diff`."""

from __future__ import annotations

import click

from nnspec.cli.options import extensions_option, set_option
from nnspec.text import to_json

__all__ = ["command"]

_EPILOG = """\
\b
Exit codes: 0 same meaning; 1 they differ; 2 usage, or a spec that
cannot be read or has errors; 3 a bug in nnspec.
"""


@click.command("diff", epilog=_EPILOG)
@click.argument("a", type=click.Path(path_type=str))
@click.argument("b", type=click.Path(path_type=str))
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@extensions_option
def command(a: str, b: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Show how specs A and B differ in meaning, not in text.

    Lanes, layers, arguments, sizes, settings and expectations are compared. Formatting, comments, the names of lets,
    blocks, models and layers, explicit defaults, imports and race titles are ignored. `--set` applies to both.
    """
    from nnspec.api import diff
    from nnspec.view.terminal.screen import console
    from nnspec.view.terminal.spec_diff import difference_record, print_difference

    found = diff(a, b, overrides)
    if as_json:
        click.echo(to_json(difference_record(found)))
    else:
        print_difference(found, console())
    return 0 if found.same else 1

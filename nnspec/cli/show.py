"""`nnspec show`."""

from __future__ import annotations

import json

import click

from nnspec.cli.options import set_option, spec_argument, warn

__all__ = ["command"]


@click.command("show")
@spec_argument
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(spec: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Print the layers, shapes, parameters, FLOPs and memory of each lane of SPEC, exactly."""
    from nnspec.api import compile_spec
    from nnspec.view.structure import print_structure, structure_record
    from nnspec.view.terminal import console

    compiled = compile_spec(spec, overrides, warn=warn)
    if as_json:
        click.echo(json.dumps(structure_record(compiled)))
    else:
        print_structure(compiled, console())
    return 0

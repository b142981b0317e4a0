"""`nnspec show`."""

from __future__ import annotations

from typing import Literal

import click

from nnspec.cli.options import extensions_option, set_option, spec_argument, warn
from nnspec.text import to_json

__all__ = ["command"]


class _Command(click.Command):
    """Accepts `--steps` with and without `=`, so that a SPEC after it is not taken for its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--steps=final" if word == "--steps" else word for word in args])


@click.command("show", cls=_Command)
@spec_argument
@set_option
@click.option("--resolved", is_flag=True, help="Print every value that a run depends on, with its origin.")
@click.option("--lane", metavar="NAME", help="With --resolved: print only this lane.")
@click.option(
    "--steps",
    "stage",
    type=click.Choice(["final", "raw"]),
    metavar="[=raw]",
    help="Print the operations of a training step in execution order; =raw prints them before optimization.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@extensions_option
def command(
    spec: str,
    overrides: tuple[str, ...],
    resolved: bool,
    lane: str | None,
    stage: Literal["final", "raw"] | None,
    as_json: bool,
) -> int:
    """Print the layers, shapes, parameters, FLOPs and memory of each lane of SPEC.

    With --resolved, print the spec after expanding imports, blocks, repeats, lanes, sweeps and --set: every value,
    including defaults and inferred values, and the line that it comes from. The first lane is printed in full, and the
    others as differences from it.

    With --steps, print the program that trains the network: the inputs and outputs of each operation, where in memory
    its result is, and its bytes and FLOPs for a full batch.
    """
    from nnspec.api import compile_spec
    from nnspec.view.terminal.screen import console

    if lane is not None and not resolved:
        raise click.UsageError("--lane requires --resolved")
    if resolved and stage is not None:
        raise click.UsageError("--resolved and --steps cannot be used together")
    compiled = compile_spec(spec, overrides, warn=warn)
    if stage is not None:
        from nnspec.view.terminal.steps import print_steps, steps_record

        if as_json:
            click.echo(to_json(steps_record(compiled, stage)))
        else:
            print_steps(compiled, stage, console())
        return 0
    if resolved:
        from nnspec.view.terminal.resolved import pick, print_resolved, resolved_record

        lanes = pick(compiled.program, lane)
        if as_json:
            click.echo(to_json(resolved_record(compiled.program, lanes)))
        else:
            print_resolved(compiled.program, lanes, console())
        return 0
    from nnspec.view.terminal.structure import print_structure, structure_record

    if as_json:
        click.echo(to_json(structure_record(compiled)))
    else:
        print_structure(compiled, console())
    return 0

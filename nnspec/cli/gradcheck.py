"""`nnspec gradcheck`."""

from __future__ import annotations

from pathlib import Path

import click

from nnspec.cli.options import data_options, extensions_option, set_option, spec_argument

__all__ = ["command"]


@click.command("gradcheck")
@spec_argument
@set_option
@click.option("--full", is_flag=True, help="Check every entry; by default, large tensors are sampled.")
@click.option(
    "--samples", type=click.IntRange(1, 16), default=16, show_default=True, help="Number of training samples."
)
@data_options
@extensions_option
def command(
    spec: str, overrides: tuple[str, ...], full: bool, samples: int, data_dir: Path | None, offline: bool
) -> int:
    """Check the gradients of SPEC's networks against central differences, in float64, at the initial weights.

    Exits with 1 if a tensor's relative error is not below 1e-7, or not below the bound in the spec's `expect`.
    """
    from nnspec.api import compile_spec, gradcheck_of
    from nnspec.data.source import Access
    from nnspec.view.terminal.gradcheck import print_proofs
    from nnspec.view.terminal.quiet import QuietProgress
    from nnspec.view.terminal.screen import console

    compiled, screen = compile_spec(spec, overrides), console()
    access = Access(data_dir, offline)
    proofs = gradcheck_of(compiled, access, QuietProgress(screen, compiled), full=full, samples=samples)
    print_proofs(proofs, screen)
    return 0 if all(proof.holds for proof in proofs) else 1

"""Compile a program to a plan: every shape, buffer and call is known before the first step."""

from nnspec.compiler.layout import Buffer as Buffer
from nnspec.compiler.layout import LayerLayout as LayerLayout
from nnspec.compiler.layout import Layout as Layout
from nnspec.compiler.layout import lay_out as lay_out
from nnspec.compiler.proofs import Compiled as Compiled
from nnspec.compiler.proofs import prove as prove

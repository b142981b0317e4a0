"""The rules: constraints between valid values (errors), and what is legal but probably not intended (lint)."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from nnspec.checker.rules.registry import apply, verify

__all__ = ["apply"]

for _module in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")
verify()

"""NumPy, imported at its first use and not before.

The declarations of the parts (names, arguments, shape rules) are plain Python. `nnspec check` reads them without
paying for NumPy's import; the first kernel that runs pays for it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
else:

    def _lazy(name: str) -> object:
        if name in sys.modules:
            return sys.modules[name]
        from importlib.util import LazyLoader, find_spec, module_from_spec

        spec = find_spec(name)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"nnspec needs {name}: pip install {name}", name=name)
        spec.loader = LazyLoader(spec.loader)
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    np = _lazy("numpy")

__all__ = ["np"]

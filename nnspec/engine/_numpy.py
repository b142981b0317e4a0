"""Import NumPy lazily, at its first use.

The declarations of the parts (names, arguments, shape rules) are plain Python. `nnspec check` reads them without
paying for NumPy's import; the first kernel that runs pays for it. If several threads need it first, one of them loads
it and the others wait (before Python 3.12, `importlib.util.LazyLoader` exposes a partially initialised module).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
else:
    from threading import RLock
    from types import ModuleType

    class _Lazy(ModuleType):
        """A module that is loaded on the first attribute access, and is an ordinary module from then on."""

        def __getattribute__(self, name: str) -> object:
            own = object.__getattribute__(self, "__dict__")
            if name == "__spec__":  # looked up by `import numpy`; loading NumPy there would swallow Ctrl-C
                return own[name]
            with own["_nnspec_lock"]:
                if object.__getattribute__(self, "__class__") is _Lazy and not own["_nnspec_loading"]:
                    own["_nnspec_loading"] = True  # NumPy's own modules access it while it loads, in this thread
                    try:
                        own["__spec__"].loader.exec_module(self)
                    except BaseException:
                        own["_nnspec_loading"] = False
                        raise
                    self.__class__ = ModuleType
            return ModuleType.__getattribute__(self, name)

    def _lazy(name: str) -> object:
        if name in sys.modules:
            return sys.modules[name]
        from importlib.util import find_spec, module_from_spec

        spec = find_spec(name)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"nnspec needs {name}: pip install {name}", name=name)
        module = module_from_spec(spec)
        module.__dict__.update(_nnspec_lock=RLock(), _nnspec_loading=False)
        module.__class__ = _Lazy
        sys.modules[name] = module
        return module

    np = _lazy("numpy")

__all__ = ["np"]

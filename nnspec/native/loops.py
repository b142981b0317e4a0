"""NumPy's own inner loops: the C functions inside its ufuncs that compute runs of numbers.

`np.exp`, `np.add` and `np.matmul` are tables of C functions, one for each combination of types. They do not need the
interpreter: NumPy itself calls them without the GIL. Called with the same runs, they give the same bits, on any
processor and with any BLAS. The table is part of NumPy's C interface (`PyUFuncObject` in `ufuncobject.h`), so its
layout has been the same throughout NumPy 1 and 2; even so, its contents are checked against the ufunc's Python
attributes before they are used.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from typing import Any

from nnspec.engine._numpy import np

__all__ = ["NoLoop", "inner_loop"]


class NoLoop(LookupError):
    """A ufunc has no callable inner loop for these types."""


class _UFunc(ctypes.Structure):
    _fields_ = (
        ("refcount", ctypes.c_ssize_t),
        ("type", ctypes.c_void_p),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("types", ctypes.POINTER(ctypes.c_byte)),
    )


@cache
def inner_loop(ufunc: Any, dtypes: tuple[Any, ...]) -> tuple[int, int]:
    """Return the address of a ufunc's loop for the dtypes of its inputs and outputs, and the address of its data.

    Raises NoLoop.
    """
    if platform.python_implementation() != "CPython" or object.__basicsize__ != 2 * ctypes.sizeof(ctypes.c_void_p):
        raise NoLoop("objects are laid out in another way")
    table = _UFunc.from_address(id(ufunc))
    counts = (table.nin, table.nout, table.nargs, table.ntypes)
    if counts != (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes) or table.name.decode() != ufunc.__name__:
        raise NoLoop(f"{ufunc.__name__} is laid out in another way")
    wanted = [np.dtype(each).num for each in dtypes]
    for place in range(table.ntypes):
        if list(table.types[place * table.nargs : (place + 1) * table.nargs]) == wanted:
            function = table.functions[place]
            if function is None:
                break
            return function, (table.data[place] or 0) if table.data else 0
    raise NoLoop(f"{ufunc.__name__} has no loop for {', '.join(str(each) for each in dtypes)}")

"""Machine code of kernels: compiled once per machine, kept on disk, and loaded without the compiler.

Numba compiles a kernel in about half a second; the result is an object file, which `llvmlite` loads in a millisecond.
The file name is a digest of everything the code depends on: the kernel's source, the compiler's version and the
processor. A damaged file is compiled again. Like Python's own `.pyc` files these are code, and anyone who can write to
their folder can run code as you. The folder is therefore private (`0700`), and a folder that belongs to another user,
or that others can write to, is not read.
"""

# Neither Numba nor llvmlite has type annotations.
# mypy: disable-error-code="no-untyped-call,no-any-return,import-untyped,call-arg,attr-defined"

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nnspec.files import atomic, open_regular
from nnspec.native.words import MOST_STATES

__all__ = ["available", "folder", "load", "make", "missing"]

_MAGIC = b"nnspec kernel 1\n"
_MOST_BYTES = 1 << 22
"""The largest object file that is read; real ones have a few kilobytes."""
_ENTRY = "kernel"

_loaded: dict[str, int] = {}
_engines: list[Any] = []
"""The owners of loaded code, which is never unloaded because tapes hold its addresses."""


@cache
def available() -> bool:
    """Whether the optional dependencies are installed."""
    return find_spec("numba") is not None and find_spec("llvmlite") is not None


def folder() -> Path:
    """Return the folder of object files: `kernels` in `NNSPEC_CACHE_DIR`, or in the user's cache folder."""
    import platformdirs

    named = os.environ.get("NNSPEC_CACHE_DIR")
    return (Path(named) if named else platformdirs.user_cache_path("nnspec", appauthor=False)) / "kernels"


def missing(names: Iterable[str]) -> list[str]:
    """Return the kernels that are neither loaded nor on disk."""
    return [name for name in dict.fromkeys(names) if name not in _loaded and _read(name) is None]


def load(names: Iterable[str]) -> Mapping[str, int]:
    """Return the addresses of kernels that have been compiled. Raises KeyError for any other."""
    for name in dict.fromkeys(names):
        if name not in _loaded:
            code = _read(name)
            if code is None:
                raise KeyError(name)
            _loaded[name] = _linked(code)
    return _loaded


def make(names: Iterable[str]) -> None:
    """Compile kernels and save them. If nothing can be written, they are available in this process only.

    Raises KeyError for an unknown kernel.
    """
    for name in missing(names):
        code = _compiled(_function(name))
        try:
            place = _file(name)
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not _own(place.parent):
                raise PermissionError(place.parent)
            with atomic(place, 0o600) as file:
                file.write(_MAGIC + hashlib.sha256(code).digest() + code)
        except OSError:
            _loaded[name] = _linked(code)


def _read(name: str) -> bytes | None:
    """Return a kernel's code from disk, if the file is intact and in a private folder."""
    try:
        if not _own(folder()):  # without detecting the processor, which would load the compiler's library
            return None
        with open_regular(_file(name), follow_links=False) as file:
            content = file.read(_MOST_BYTES)
    except OSError:
        return None
    head, digest, code = content[: len(_MAGIC)], content[len(_MAGIC) :][:32], content[len(_MAGIC) + 32 :]
    return code if head == _MAGIC and hashlib.sha256(code).digest() == digest else None


def _own(place: Path) -> bool:
    """Whether a folder belongs to the user and is writable by no one else."""
    if not hasattr(os, "getuid"):
        return place.is_dir()  # a folder of a user's profile, protected by the system
    found = place.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def _file(name: str) -> Path:
    return folder() / f"{_digest(name)}.o"


@cache
def _digest(name: str) -> str:
    return hashlib.sha256("\0".join((name, *_machine(), *_sources(name))).encode()).hexdigest()


@cache
def _machine() -> tuple[str, ...]:
    """Return what machine code depends on besides its source."""
    import llvmlite
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return (
        llvmlite.__version__,
        _numba(),
        sys.version,
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        features.flatten(),
    )


def _numba() -> str:
    """Return a string that identifies the installed Numba, without importing it."""
    found = find_spec("numba")
    if found is None or found.origin is None:
        raise KeyError("numba")
    return (Path(found.origin).parent / "_version.py").read_text("utf-8")


@cache
def _source(module: str) -> str:
    found = find_spec(module)
    if found is None or found.origin is None:
        raise KeyError(module)
    return Path(found.origin).read_text("utf-8")


def _sources(name: str) -> tuple[str, ...]:
    own = (_source("nnspec.native.kernels"), _source("nnspec.native.words"))
    return (*own, _source(_module(name))) if ":" in name else own


def _module(name: str) -> str:
    """Return the module of a rule. Raises KeyError for one that belongs to no optimizer of nnspec."""
    module = name.split(":")[1]
    if not module.startswith("nnspec.engine.optimizers."):
        raise KeyError(name)
    return module


def rule_name(rule: Callable[..., None], states: int, factors: int, kind: str) -> str:
    """Name the kernel of an update rule, which must be a module-level function of nnspec.

    Raises KeyError for any other function.
    """
    name = f"move:{rule.__module__}:{rule.__qualname__}:{states}:{factors}:{kind}"
    if _rule(name) is not rule or states > MOST_STATES:
        raise KeyError(name)
    return name


def _rule(name: str) -> Any:
    return getattr(import_module(_module(name)), name.split(":")[2], None)


def _function(name: str) -> Callable[..., None]:
    from nnspec.native import kernels

    if ":" not in name:
        return kernels.made(name)
    _, _, _, states, factors, kind = name.split(":")
    return kernels.moving(_rule(name), int(states), int(factors), kind)


def _compiled(function: Callable[..., None]) -> bytes:
    """Compile a kernel to an object file with one symbol, `kernel`, that does not depend on Python."""
    import llvmlite.binding as llvm
    import numba
    from numba import types

    # NumPy's rules for division, and no fast-math: results must not depend on whether NumPy or a kernel computes them.
    made = numba.cfunc(types.void(types.int64), error_model="numpy", boundscheck=False)(function)
    module = llvm.parse_bitcode(made._library._final_module.as_bitcode())
    inner = made.native_name.removeprefix("cfunc.")
    module.link_in(llvm.parse_assembly(_ENTRY_CODE.format(entry=_ENTRY, inner=inner)))
    for each in (*module.functions, *module.global_variables):
        if not each.is_declaration and each.name != _ENTRY:
            each.linkage = llvm.Linkage.internal
    target = _target()
    builder = llvm.create_pass_builder(target, llvm.PipelineTuningOptions(speed_level=2))
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, builder)
    return target.emit_object(module)


# Numba's own entry point takes the GIL to report exceptions, but no kernel raises any.
_ENTRY_CODE = """
declare i32 @"{inner}"(ptr, ptr, i64)
define void @{entry}(i64 %words) {{
  %result = alloca ptr
  %raised = alloca ptr
  %status = call i32 @"{inner}"(ptr %result, ptr %raised, i64 %words)
  ret void
}}
"""


def _target() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        opt=3,
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        reloc="default",
        codemodel="jitdefault",
    )


def _linked(code: bytes) -> int:
    """Load an object file and return the address of its kernel."""
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(_ENTRY)
    if not address:
        raise RuntimeError("the object file of a kernel has no entry")
    _engines.append(engine)
    return int(address)


def _ends_with_stdin() -> None:
    """End this process when its parent is gone, that is, when the parent's end of the pipe is closed."""
    os.read(0, 1)
    os._exit(1)


def main(names: list[str]) -> int:
    """Compile kernels in a separate process: `python -m nnspec.native.library NAME …`."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # child processes inherit the parent's handler, and workers ignore it
    threading.Thread(target=_ends_with_stdin, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        make(names)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

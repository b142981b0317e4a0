"""Machine code of kernels: made once for a machine, kept on disk, loaded without the compiler.

Numba compiles a kernel, which takes about half a second; what comes of it is an object file, which `llvmlite` loads in
a millisecond. The file's name is a digest of all that the code depends on: the kernel's source, the compiler's version
and the processor. A file that is damaged is made anew. Like Python's own `.pyc` files these are code, and so is the
folder that they are in: whoever may write there may run code as you. It is yours alone (`0700`), and a folder that
belongs to somebody else, or that others may write to, is not read.
"""

# Neither Numba nor llvmlite has types.
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

__all__ = ["available", "folder", "load", "make", "missing"]

_MAGIC = b"nnspec kernel 1\n"
_MOST_BYTES = 1 << 22
"""Of an object file; real ones have some kilobytes."""
_ENTRY = "kernel"

_loaded: dict[str, int] = {}
_engines: list[Any] = []
"""What owns the code that is loaded; it is never unloaded, since tapes hold addresses."""


def available() -> bool:
    """Whether the extra is installed."""
    return find_spec("numba") is not None and find_spec("llvmlite") is not None


def folder() -> Path:
    """Return where object files are kept: `kernels` in the folder that `NNSPEC_CACHE_DIR` names, or in the user's."""
    import platformdirs

    named = os.environ.get("NNSPEC_CACHE_DIR")
    return (Path(named) if named else platformdirs.user_cache_path("nnspec", appauthor=False)) / "kernels"


def missing(names: Iterable[str]) -> list[str]:
    """Return those kernels that are neither loaded nor on disk."""
    return [name for name in dict.fromkeys(names) if name not in _loaded and _read(name) is None]


def load(names: Iterable[str]) -> Mapping[str, int]:
    """Return the addresses of kernels that were made before. Raises KeyError for one that was not."""
    for name in dict.fromkeys(names):
        if name not in _loaded:
            code = _read(name)
            if code is None:
                raise KeyError(name)
            _loaded[name] = _linked(code)
    return _loaded


def make(names: Iterable[str]) -> None:
    """Compile kernels and keep them. Where nothing can be written, they are there for this process alone.

    Raises KeyError for a name of no kernel.
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
    """Return a kernel's code from disk, where it is whole and the user's own."""
    try:
        if not _own(folder()):  # without asking which processor this is, which takes a compiler's library
            return None
        with open_regular(_file(name), follow_links=False) as file:
            content = file.read(_MOST_BYTES)
    except OSError:
        return None
    head, digest, code = content[: len(_MAGIC)], content[len(_MAGIC) :][:32], content[len(_MAGIC) + 32 :]
    return code if head == _MAGIC and hashlib.sha256(code).digest() == digest else None


def _own(place: Path) -> bool:
    """Whether a folder is the user's, and nobody else may write to it."""
    if not hasattr(os, "getuid"):
        return place.is_dir()  # a folder of a user's profile, where the system sees to it
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
    """Return what says which Numba there is, without importing it."""
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
    """Return the module of a rule. Raises KeyError for one that no optimizer of nnspec is in."""
    module = name.split(":")[1]
    if not module.startswith("nnspec.engine.optimizers."):
        raise KeyError(name)
    return module


def rule_name(rule: Callable[..., None], states: int, factors: int, kind: str) -> str:
    """Name the kernel that moves weights by a rule, a function at the top of one of nnspec's own modules.

    Raises KeyError for another function.
    """
    name = f"move:{rule.__module__}:{rule.__qualname__}:{states}:{factors}:{kind}"
    if _rule(name) is not rule or states > 3:
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
    """Return a kernel as an object file with one symbol, `kernel`, which needs nothing of Python."""
    import llvmlite.binding as llvm
    import numba
    from numba import types

    # NumPy's rules for division, and no fast-math: what is computed must not depend on who computes it.
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


# Numba's own entry takes the interpreter's lock to report an exception. No kernel raises one.
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
    """End this process when whoever started it is gone: its end of the pipe is closed then."""
    os.read(0, 1)
    os._exit(1)


def main(names: list[str]) -> int:
    """Make kernels, in a process of its own: `python -m nnspec.native.library NAME …`."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a worker process, which ignores it, hands that on
    threading.Thread(target=_ends_with_stdin, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        make(names)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Export a network: choose the target, refuse what it cannot express, write, run and compare, then certify."""

from __future__ import annotations

import ast
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec._version import __version__
from nnspec.data.source import Split
from nnspec.diagnostics import Diagnostic
from nnspec.export import c_source, numpy_module, onnx_file, torch_module
from nnspec.export.certificate import (
    Certificate,
    ExportError,
    Verified,
    describe_input,
    names_of_classes,
    read_certificate,
)
from nnspec.export.program import Program, program_of
from nnspec.export.runtimes import Missing, Runtime, in_python, python_version
from nnspec.export.target import Artefact, Target
from nnspec.export.verify import TOLERANCE, cases_of, exact, reference, verify, with_example
from nnspec.export.weights import WEIGHTS, read_weights, verify_weights, weights_file
from nnspec.files import output, read_limited, utf8
from nnspec.records.folder import OutputError
from nnspec.records.saved import SavedRun
from nnspec.results.predictor import Predictor
from nnspec.semantics.meaning import in_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "NAMES",
    "TARGETS",
    "WEIGHTS",
    "Exported",
    "certificate_in",
    "certificate_of",
    "check_network",
    "check_weights",
    "export_network",
    "export_weights",
    "refusals",
    "refuse_existing",
    "refuse_opset",
    "refuse_other_run",
    "target_of",
    "verify_artefact",
]

_ALL = (onnx_file.TARGET, c_source.TARGET, torch_module.TARGET, numpy_module.TARGET)
TARGETS: Mapping[str, Target] = {target.name: target for target in _ALL}
RUNTIMES: Mapping[str, tuple[Runtime, ...]] = {
    "onnx": onnx_file.RUNTIMES,
    "c": c_source.RUNTIMES,
    "torch": torch_module.RUNTIMES,
    "numpy": (Runtime(python_version, in_python),),
}
NAMES = (*TARGETS, *WEIGHTS)
_LARGEST = 2 * 1024**3


@dataclass(frozen=True)
class Exported:
    """An exported file."""

    path: Path
    certificate: Certificate
    notes: tuple[str, ...] = ()
    """What was not as usual: no test data, say."""

    def sentences(self) -> list[str]:
        """Say what the file is and how it was verified."""
        c = self.certificate
        lines = [f"{c.target} of lane {c.lane}, seed {c.seed}"]
        lines += [f"verified in {v.runtime}: {v.sentence()}" for v in c.verified]
        return lines if c.verified else [*lines, f"NOT VERIFIED: {c.unverified}"]


def target_of(path: Path, name: str | None) -> str:
    """Return the target of a file: the one that is named, or that of its suffix. Raises ExportError."""
    suffixes = {suffix: each for each in NAMES for suffix in _suffixes(each) if suffix != ".py"}
    if name is not None:
        if path.suffix not in _suffixes(name):
            raise ExportError(f"--to {name} writes a {_suffixes(name)[0]} file, but {path} has another suffix")
        return name
    if path.suffix in suffixes:
        return suffixes[path.suffix]
    if path.suffix == ".py":
        raise ExportError(f"{path} can be a NumPy or a PyTorch module: choose with `--to numpy` or `--to torch`")
    raise ExportError(f"the suffix of {path} is not that of a target; use {', '.join(suffixes)} or .py")


def _suffixes(name: str) -> tuple[str, ...]:
    """Return the suffixes of a target's files."""
    return (f".{name}",) if name in WEIGHTS else TARGETS[name].suffixes or (".py",)


def certificate_of(
    saved: SavedRun, lane: str, seed: int, arrays: Mapping[str, NDArray[Any]], target: str
) -> Certificate:
    """Return what a file says of the network's origin, before it is verified."""
    use = saved.data(lane)
    manifest = saved.manifest
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name}:{array.dtype.name}:{array.shape}:".encode())
        digest.update(array.tobytes())
    preparation, windows = [], len(use.shape) > 1
    if use.columns and windows:
        names = ", ".join(name for column in use.columns for name in column.features)
        preparation.append(f"a sample is {use.shape[0]:,} rows of a table, and the numbers of a row are {names}")
    elif use.columns:
        preparation.append("columns of text become one number for each text, 1 for its own and 0 for the others")
    if use.divisor != 1:
        preparation.append(f"stored numbers are divided by {use.divisor:g}")
    if "input.mean" in arrays:
        rule = manifest.meaning.lanes.get(lane, {}).get("train.standardise", True)
        standard = "each feature is standardised with the mean and deviation of the training data"
        preparation.append(standard if rule is True else f"features are scaled by {in_words(rule)}")
    if "target.mean" in arrays:
        preparation.append("outputs are converted back to the unit of the targets")
    return Certificate(
        target=target,
        spec=os.path.basename(manifest.spec),
        identity=manifest.identity,
        spec_sha256=hashlib.sha256(utf8(saved.text)).hexdigest(),
        run=str(saved.path),
        lane=lane,
        seed=seed,
        weights_sha256=digest.hexdigest(),
        nnspec=__version__,
        classes=use.class_names,
        columns=() if windows else use.columns,
        preparation=tuple(preparation),
        targets=use.target_names,
        tolerance=TOLERANCE,
    )


def refusals(predictor: Predictor, name: str) -> list[Diagnostic]:
    """Return an error for each layer that a target cannot express."""
    found, target = [], TARGETS[name]
    data = predictor.experiment.data[0].value
    if any(column.tokens for column in predictor.wanted.columns):
        return [
            Diagnostic(
                "NN801",
                f"`{data.name}` with `embed` or `words` cannot be exported to {target.name}: exported networks have no "
                "vocabularies",
                data.origin.span,
                label="this data",
                help="export the weights alone, as .npz or .safetensors",
            )
        ]
    for op in program_of(predictor).ops:
        if op.node is None:
            continue
        why = target.refuses(op) if op.kind in target.kinds else ""
        why = why if op.node.mask is None else "skips padding, which is not supported there yet"
        if op.kind not in target.kinds:
            why = (
                "is a part of another package, which has no code for it"
                if ":" in op.kind
                else "has no counterpart there"
            )
        if why:
            found.append(
                Diagnostic(
                    "NN801",
                    f"`{op.node.value.name}` cannot be exported to {target.name}: it {why}",
                    op.node.span,
                    label="this layer",
                    help="choose another target with `--to`, or export the weights alone, as .npz or .safetensors",
                )
            )
    return found


def export_weights(
    saved: SavedRun, out: Path, lane: str | None, seed: int | None, *, target: str, force: bool
) -> Exported:
    """Write every array of a network by its full name: parameters, what layers remember, and `input.mean`,
    `input.deviation`, `target.mean`, `target.deviation` where samples or targets are standardised. Weights of a Linear
    layer are `(in, out)`, the transpose of PyTorch's. The certificate is in the metadata.

    Raises RunError, ExportError, and OutputError where the file cannot be written, or is there without `force`.
    """
    name, chosen, _ = saved.pick(lane, seed)
    arrays = saved.weights(name, chosen)
    refuse_existing(out, force)
    certificate = certificate_of(saved, name, chosen, arrays, target)
    verified = verify_weights(weights_file(arrays, certificate), Path(f"weights.{target}"), arrays)
    certificate = replace(certificate, verified=(verified,), tolerance=0.0)
    _write(out, weights_file(arrays, certificate))
    return Exported(out, certificate)


def export_network(
    predictor: Predictor,
    certificate: Certificate,
    out: Path,
    test: Split | None,
    *,
    unverified: bool = False,
    opset: int | None = None,
) -> Exported:
    """Write a network with its preparation to a file, after it was run and compared with the network.

    `test` are the test data, None if they are not at hand. Raises Differs beyond
    the tolerance, Missing without a runtime to verify the file in (unless `unverified`), and OutputError.
    """
    target = TARGETS[certificate.target]
    program = with_example(program_of(predictor), predictor)
    certificate = replace(_described(certificate, program, predictor), opset=opset or target.opset)
    verified: tuple[Verified, ...] = ()
    why = ""
    try:
        artefact = target.write(program, replace(certificate, unverified="it is being verified"))
        verified = verify_artefact(predictor, program, artefact, out.suffix, target.name, test)
    except Missing as error:
        if not unverified:
            raise Missing(f"{error}; or export without verification: --unverified") from None
        why = str(error)
    certificate = replace(certificate, verified=verified, unverified=why)
    _write(out, target.write(program, certificate).data)
    return Exported(out, certificate, _lacking(program, target.name))


def _described(certificate: Certificate, program: Program, predictor: Predictor) -> Certificate:
    """Return a certificate that says what goes in and what comes out."""
    what = describe_input(program, predictor.wanted.divisor)
    return replace(certificate, input=what, classes=names_of_classes(program))


def _lacking(program: Program, target: str) -> tuple[str, ...]:
    return tuple(filter(None, (runtime.lacks(program) for runtime in RUNTIMES[target])))


def verify_artefact(
    predictor: Predictor,
    program: Program,
    artefact: Artefact,
    suffix: str,
    target: str,
    test: Split | None,
) -> tuple[Verified, ...]:
    """Run a file in all runtimes of its target, and compare. Raises Differs, Missing, ExportError."""
    cases = cases_of(program, predictor, None if test is None else test.x)
    for runtime in RUNTIMES[target]:
        runtime.version()  # before the reference is computed
    precise = exact(predictor)
    expected = [(reference(program, predictor, case.x), reference(program, precise, case.x)) for case in cases]
    with tempfile.TemporaryDirectory(prefix="nnspec-export-") as folder:
        path = Path(folder, f"model{suffix}")
        path.write_bytes(artefact.data)
        runtimes = [runtime for runtime in RUNTIMES[target] if not runtime.lacks(program)]
        return tuple(verify(program, artefact, path, runtime, cases, expected) for runtime in runtimes)


def refuse_existing(out: Path, force: bool) -> None:
    """Raise OutputError for a folder, a file in a folder that does not exist, and, without `force`, a file that
    exists."""
    if out.is_dir():
        raise OutputError(f"{out} is a folder; name a file in it")
    if not out.parent.is_dir():
        raise OutputError(f"folder not found: {out.parent}; create it first")
    if os.path.lexists(out) and not force:
        raise OutputError(f"{out} already exists; choose another file, or add --force to overwrite it")


def _write(out: Path, data: bytes) -> None:
    try:
        with output(out) as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from None


# Checking a file again


def certificate_in(path: Path) -> tuple[Certificate, bytes]:
    """Return the certificate of an exported file of unknown origin, and its contents. Raises ExportError."""
    try:
        data = read_limited(path, _LARGEST)
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise ExportError(f"{path} is not an exported file: these end in {', '.join(_READERS)}")
    certificate = read_certificate(reader(data, path), str(path))
    if certificate.target not in NAMES or path.suffix not in _suffixes(certificate.target):
        raise ExportError(f"{path} has a certificate for another kind of file; export it again")
    return certificate, data


def _in_python(data: bytes, path: Path) -> str:
    """Find the line of a file of Python that holds the certificate; nothing in the file is run."""
    for line in data[:_HEAD].split(b"\n"):
        if line.startswith(b"CERTIFICATE = json.loads(") and line.endswith(b")"):
            try:
                text = ast.literal_eval(line[len(b"CERTIFICATE = json.loads(") : -1].decode("ascii"))
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                break
            return text if isinstance(text, str) else ""
    return ""


_HEAD = 8 * 1024**2
_READERS: Mapping[str, Callable[[bytes, Path], str | bytes]] = {
    ".npz": lambda data, path: read_weights(data, path)[1],
    ".safetensors": lambda data, path: read_weights(data, path)[1],
    ".py": _in_python,
    ".onnx": onnx_file.certificate_text,
    ".c": c_source.certificate_text,
}


def refuse_other_run(
    path: Path, certificate: Certificate, saved: SavedRun, arrays: Mapping[str, NDArray[Any]]
) -> Certificate:
    """Return what a file exported from a run says of its origin. Raises ExportError where a file is of another spec or
    of other weights."""
    ours = certificate_of(saved, certificate.lane, certificate.seed, arrays, certificate.target)
    if (ours.identity, ours.weights_sha256) != (certificate.identity, certificate.weights_sha256):
        what = "spec" if ours.identity != certificate.identity else "weights"
        raise ExportError(f"{path} is of another network than {certificate.lane} in {saved.path}: the {what} differ")
    return ours


def _refuse_changed(path: Path, certificate: Certificate, ours: Certificate) -> None:
    """Raise ExportError for a certificate that says something else of the network than its run."""
    for name in ("spec", "spec_sha256", "input", "classes", "columns", "preparation", "targets"):
        if getattr(certificate, name) != getattr(ours, name):
            raise ExportError(
                f"{path} was changed: `{name}` in its certificate is not that of the run; export it again"
            )


def check_weights(
    path: Path, data: bytes, certificate: Certificate, ours: Certificate, arrays: Mapping[str, NDArray[Any]]
) -> Exported:
    """Compare a file of weights, and what it says of them, with those of its run. Raises ExportError."""
    _refuse_changed(path, certificate, ours)
    return Exported(path, replace(certificate, verified=(verify_weights(data, path, arrays),)))


def check_network(
    path: Path, data: bytes, certificate: Certificate, ours: Certificate, predictor: Predictor, test: Split | None
) -> Exported:
    """Verify an exported file again, and what it says of the network, by `ours`.

    A file of code is run only if it is, byte for byte, what nnspec exports for the network: no foreign code is run.
    Raises ExportError, Differs, Missing.
    """
    target, program = TARGETS[certificate.target], with_example(program_of(predictor), predictor)
    _refuse_changed(path, certificate, _described(ours, program, predictor))
    artefact = target.write(program, certificate)
    if data != artefact.data and target.text:
        lines = zip(data.split(b"\n"), artefact.data.split(b"\n"), strict=False)
        number = next((i for i, (line, ours) in enumerate(lines, 1) if line != ours), 0)
        written = f"; it was exported by nnspec {certificate.nnspec}" if certificate.nnspec != __version__ else ""
        raise ExportError(
            f"{path} was not run, because it is not what nnspec {__version__} exports for this network"
            f"{f' (line {number:,} differs)' if number else ''}{written}; export it again"
        )
    verified = verify_artefact(predictor, program, replace(artefact, data=data), path.suffix, target.name, test)
    return Exported(path, replace(certificate, verified=verified), _lacking(program, target.name))


def refuse_opset(target: str, opset: int | None) -> None:
    """Raise ExportError for an opset of another target than ONNX."""
    if opset is not None and target != "onnx":
        raise ExportError(f"--opset applies to ONNX, not to {target}")

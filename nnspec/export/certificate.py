"""What an exported file says of itself: where its network comes from, how samples are prepared, how it was verified."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from nnspec.data.source import Column
from nnspec.errors import NnspecError
from nnspec.export.program import Program
from nnspec.records.reading import from_record
from nnspec.text import printable, to_json

__all__ = ["MOST_CLASSES", "Certificate", "Differs", "ExportError", "Verified", "read_certificate"]

FORMAT = 1
MOST_CLASSES = 10_000
LONGEST = 4 * 1024**2


class ExportError(NnspecError):
    """A network that cannot be exported, or an exported file that cannot be checked. The message says why and what to
    do."""


class Differs(ExportError):
    """An exported file that does not compute what the network does. The message names the first layer that differs."""


@dataclass(frozen=True)
class Verified:
    """The outcome of running an exported file in one runtime."""

    runtime: str
    """`onnxruntime 1.23.0`."""
    samples: tuple[tuple[str, int], ...]
    """How many samples of each kind were compared."""
    values: int
    """How many values were compared: what enters, layers, outputs."""
    difference: float
    """The largest difference, relative to the largest number of its layer."""
    layer: str
    """Where it is."""
    rounded: int = 0
    """How many comparisons are not in `difference`: there, the network's own rounding errors are larger than the
    tolerance."""

    def sentence(self) -> str:
        """Say what was compared: `276 samples, 6 tensors each, largest relative difference 3.1e-07 (Conv2D1)`."""
        if not self.samples:
            return f"all {self.values:,} arrays are equal"
        count = sum(count for _, count in self.samples)
        where = f" ({printable(self.layer)})" if self.difference else ""
        return (
            f"{count:,} samples, {self.values} tensors each, largest relative difference {self.difference:.1e}{where}"
        )


@dataclass(frozen=True)
class Input:
    """What the exported network takes."""

    shape: tuple[int, ...]
    """Of one sample."""
    dtype: str
    numbers: str
    """What the numbers are."""


@dataclass(frozen=True)
class Certificate:
    """The origin of an exported network, and the outcome of its verification."""

    target: str
    spec: str
    identity: str
    spec_sha256: str
    run: str
    lane: str
    seed: int
    weights_sha256: str
    nnspec: str
    input: Input | None = None
    """None if only the weights are exported."""
    classes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    preparation: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    tolerance: float = 0.0
    verified: tuple[Verified, ...] = ()
    """Empty if the file was not verified."""
    unverified: str = ""
    """Why it was not."""
    opset: int | None = None
    """For ONNX."""

    def json(self) -> str:
        """Return it as JSON on one line."""
        return to_json({"format": FORMAT, **asdict(self)})

    def sentences(self) -> list[str]:
        """Say what it says, for the first lines of a file."""
        lines = [
            f"Exported by nnspec {self.nnspec} from lane {printable(self.lane)}, seed {self.seed}, of "
            f"{printable(self.spec)} (identity {self.identity[:16]}).",
            *(f"Verified in {v.runtime}: {v.sentence()}." for v in self.verified),
        ]
        if not self.verified:
            lines.append(f"NOT VERIFIED: {printable(self.unverified) or 'exported with --unverified'}.")
        return lines


def describe_input(program: Program, divisor: float) -> Input:
    """Describe what one sample is."""
    what = "numbers as the data source has them"
    if program.columns:
        what = "one number per column; for a column of text the index of its text in `texts`, -1 if missing"
    elif program.tokens:
        what = f"ids from 0 to {program.tokens - 1}"
    elif divisor != 1:
        what = f"numbers from 0 to {divisor:g}"
    return Input(program.input.shape, program.input.dtype, what)


def names_of_classes(program: Program) -> tuple[str, ...]:
    """Return the names of all classes, or the characters of a text; none where classes are only numbered."""
    classes = program.classes
    if classes is None or classes > MOST_CLASSES or len(program.class_names or program.alphabet) < classes:
        return ()
    return tuple((program.class_names or tuple(program.alphabet))[:classes])


def read_certificate(text: str | bytes, where: str) -> Certificate:
    """Read a certificate from a file of unknown origin. Raises ExportError for anything else."""
    if not text:
        raise ExportError(f"{where} has no certificate: it is damaged, or nnspec did not export it")
    try:
        if len(text) > LONGEST:
            raise ValueError("it is too long")
        record = json.loads(text)
        if record.pop("format") != FORMAT:
            raise ValueError("it has another format")
        return from_record(Certificate, record)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ExportError(f"{where} has a certificate that cannot be read: {error}") from None

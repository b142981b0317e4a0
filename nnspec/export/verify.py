"""Verification: run an exported file on samples, and compare every value with nnspec's own, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnspec.compiler.plan import build_network
from nnspec.data.predict_inputs import Inputs
from nnspec.engine._numpy import np
from nnspec.engine.layers.composition import Composition
from nnspec.environment import one_blas_thread
from nnspec.export.certificate import Differs, Verified
from nnspec.export.program import Op, Program, layers_by_name
from nnspec.export.runtimes import Runtime, Values
from nnspec.export.target import Artefact
from nnspec.results.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "TOLERANCE",
    "Case",
    "as_stored",
    "cases_of",
    "exact",
    "random_samples",
    "reference",
    "verify",
    "with_example",
]

TOLERANCE = 1e-5
"""The largest difference of a number, relative to the largest number of its layer."""
_ROUNDINGS = 4
_TEST, _RANDOM, _LARGE, _EXAMPLES = 256, 64, 8, 2


@dataclass(frozen=True)
class Case:
    """Samples to compare, `(n, *shape)`, as the exported file takes them."""

    name: str
    x: NDArray[Any]


def cases_of(program: Program, predictor: Predictor, test: NDArray[Any] | None) -> list[Case]:
    """Return the samples to compare: test data `(n, features)` as stored, if they are at hand; random ones; a single
    one; zeros; large values, and missing ones where a table may lack some."""
    rng = np.random.default_rng(0)
    random = random_samples(program, predictor, _RANDOM, rng)
    found = [] if test is None or not len(test) else [Case("test data", _as_input(program, predictor, test[:_TEST]))]
    found += [Case("random samples", random), Case("one sample", random[:1].copy())]
    found.append(Case("zeros", np.zeros((2, *program.input.shape), program.input.dtype)))
    found.append(Case("large values", _large(program, random[:_LARGE])))
    return found


def with_example(program: Program, predictor: Predictor) -> Program:
    """Return the program with a few samples and what nnspec computes for them."""
    x = random_samples(program, predictor, _EXAMPLES, np.random.default_rng(1))
    return replace(program, example=(x, reference(program, predictor, x)[program.outputs.name]))


def _as_input(program: Program, predictor: Predictor, x: NDArray[Any]) -> NDArray[Any]:
    """Turn stored samples `(n, features)` into what the exported file takes: the opposite of `as_stored`."""
    wanted = predictor.wanted
    if program.columns:
        x, columns, start = x.reshape(len(x), -1), [], 0
        for column in program.columns:
            width = column.width
            part = x[:, start : start + width]
            codes = np.where(part.any(axis=1), part.argmax(axis=1), -1) if column.texts is not None else part[:, 0]
            columns.append(codes)
            start += width
        return np.stack(columns, axis=1).astype(np.float64)
    samples = x.reshape(len(x), *wanted.shape)
    if wanted.arrangement is not None:
        samples = wanted.arrangement.as_stored(samples)
    return np.ascontiguousarray(samples, program.input.dtype)


def as_stored(program: Program, predictor: Predictor, x: NDArray[Any]) -> NDArray[Any]:
    """Turn what the exported file takes into stored samples `(n, features)`, as `predict` does."""
    if not program.columns:
        return predictor.samples(x).x
    parts = []
    for i, column in enumerate(program.columns):
        numbers = x[:, i : i + 1]
        if column.texts is not None:
            parts.append((numbers == np.arange(len(column.texts))).astype(np.float64))
        else:
            parts.append(numbers if column.mean is None else np.where(np.isnan(numbers), column.mean, numbers))
    return np.concatenate(parts, axis=1)


def random_samples(program: Program, predictor: Predictor, count: int, rng: Any) -> NDArray[Any]:
    """Draw samples within the ranges of the training data."""
    shape, wanted = (count, *program.input.shape), predictor.wanted
    if program.tokens:
        return rng.integers(0, program.tokens, shape)
    if program.columns:
        columns, start, lacks = [], 0, any(column.mean is not None for column in program.columns)
        for column in program.columns:
            if column.texts is not None:
                columns.append(rng.integers(-1 if lacks else 0, len(column.texts), count).astype(np.float64))
            else:
                low, high = wanted.ranges[start] if start < len(wanted.ranges) else (-1.0, 1.0)
                numbers = rng.uniform(low, high, count)
                columns.append(numbers if column.mean is None else np.where(rng.random(count) < 0.2, np.nan, numbers))
            start += column.width
        return np.stack(columns, axis=1)
    if wanted.divisor != 1:
        return rng.integers(0, int(wanted.divisor) + 1, shape).astype(program.input.dtype)
    if not wanted.ranges:
        return rng.normal(size=shape).astype(program.input.dtype)
    lows, highs = np.array(wanted.ranges).T
    if lows.size == prod(program.input.shape):
        lows, highs = lows.reshape(program.input.shape), highs.reshape(program.input.shape)
    elif wanted.windows is None:  # otherwise one for each column
        lows, highs = lows.min(), highs.max()
    return rng.uniform(lows, highs, shape).astype(program.input.dtype)


def _large(program: Program, x: NDArray[Any]) -> NDArray[Any]:
    """Make samples large: a thousand times the usual numbers, or the last id."""
    if program.tokens:
        return np.full_like(x, program.tokens - 1)
    if not program.columns:
        return x * x.dtype.type(1000)
    texts = np.array([column.texts is not None for column in program.columns])
    return np.where(texts, x, 1000 * x)


def reference(program: Program, predictor: Predictor, x: NDArray[Any]) -> Values:
    """Return all values as nnspec computes them: its preparation, its layers one by one, and what `predict` says."""
    stored = as_stored(program, predictor, x)
    layers = layers_by_name(predictor)
    with one_blas_thread(), np.errstate(all="ignore"):
        entry = predictor.prepared(stored)
        values: dict[str, NDArray[Any]] = {program.entry.name: entry, "the network's input": entry}
        for op in program.ops:
            if op.node is not None:
                reads = [values[value.name] for value in op.reads]
                values[op.writes.name] = np.array(_forward(op, layers, reads))
            elif op.kind in ("reshape", "cast") and op.reads[0].name in values:
                read = values[op.reads[0].name]
                values[op.writes.name] = read.reshape(len(read), *op.writes.shape)
        outputs = predictor.outputs_of(predictor.samples(x) if not program.columns else Inputs(stored, ()))
    values[program.outputs.name] = outputs
    if program.probabilities is not None:
        found = predictor.probabilities(outputs)
        values[program.probabilities.name] = outputs if found is None else found
    return values


def exact(predictor: Predictor) -> Predictor:
    """Return the same network in float64."""
    network = build_network(predictor.experiment, "float64")
    network.load_state_dict({name: array.astype(np.float64) for name, array in predictor.network.state_dict().items()})
    network.eval()
    return replace(predictor, network=network, experiment=replace(predictor.experiment, dtype="float64"))


def _forward(op: Op, layers: Mapping[str, Any], reads: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if op.node is None:
        raise TypeError(f"{op.writes.name} is no layer")
    layer = layers[op.node.name]
    if isinstance(layer, Composition):
        return layer.join_outputs(reads[0], reads)
    first, *others = map(np.ascontiguousarray, reads)
    forward = layer.forward
    result: NDArray[Any] = forward(first, None, *others) if others else forward(first)
    return result


def verify(
    program: Program,
    artefact: Artefact,
    path: Path,
    runtime: Runtime,
    cases: Sequence[Case],
    expected: Sequence[tuple[Values, Values]],
) -> Verified:
    """Run a file and compare all its values with nnspec's, which `expected` has in the network's dtype and in float64.

    A value may differ by TOLERANCE, relative to the largest number of its layer; or, where the network's own rounding
    error, here or in an earlier layer, is larger than a quarter of that, by four times that error.
    Raises Differs beyond that, and Missing without the runtime.
    """
    version = runtime.version()
    found = runtime.run(path, artefact, program, [case.x[: runtime.most] for case in cases])
    observed = {*artefact.taps, *(line.value for line in artefact.lines), *_results(program)}
    worst, where, layers, rounded = 0.0, "", 0, 0
    roundings = {case.name: 0.0 for case in cases}
    usual = {value.name: _largest(expected[0][0][value.name]) for value in program.compared}
    for value in program.compared:
        if value.name not in observed:
            continue  # part of another operation of the file
        layers += 1
        for case, (ours, precise), theirs in zip(cases, expected, found, strict=True):
            if value.name not in theirs:
                raise Differs(f"{value.name} cannot be observed in {version}")
            want, got = ours[value.name][: runtime.most], theirs[value.name]
            difference = _difference(got, want, usual[value.name])
            rounding = _difference(want, precise[value.name][: runtime.most], usual[value.name])
            if math.isfinite(rounding):
                roundings[case.name] = max(roundings[case.name], rounding)
            if difference > TOLERANCE:
                if not difference <= _ROUNDINGS * roundings[case.name]:
                    raise Differs(_sentence(program, value.name, case.name, version, difference, got, want))
                rounded += 1
            elif difference > worst:
                worst, where = difference, f"{value.name}, {case.name}"
    runtime.test(path)
    counts = tuple((case.name, len(case.x[: runtime.most])) for case in cases)
    return Verified(version, counts, layers, worst, where, rounded)


def _results(program: Program) -> set[str]:
    return {value.name for value in (program.outputs, program.probabilities) if value is not None}


def _largest(array: NDArray[Any]) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def _difference(got: NDArray[Any], want: NDArray[Any], usual: float) -> float:
    """Return the largest difference relative to the largest number, here or on the test data; infinity for another
    shape, or where only one of the two is finite."""
    if got.shape != want.shape:
        return float("inf")
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
        return float("inf")
    difference = np.abs(got[finite].astype(np.float64) - want[finite]).max(initial=0.0)
    scale = max(_largest(want), usual)
    return float(difference / scale) if scale else float(difference)


def _sentence(
    program: Program, name: str, case: str, version: str, difference: float, got: NDArray[Any], want: NDArray[Any]
) -> str:
    op = next((op for op in program.ops if op.writes.name == name), None)
    where = f"layer {name}" if op is not None and op.node is not None else name
    if op is not None and op.node is not None:
        where += f" ({op.node.span.source.name}, line {op.node.span.line})"
    if got.shape != want.shape:
        return f"{where} has shape {got.shape} in {version}, not {want.shape}"
    with np.errstate(all="ignore"):
        off = np.abs(got.astype(np.float64) - want)
    at = np.unravel_index(np.where(np.isnan(off), np.inf, off).argmax(), off.shape)
    place = ", ".join(str(int(i)) for i in at)
    return (
        f"{where} is the first that differs in {version}: by {difference:.1e} relative on {case}, "
        f"and {TOLERANCE:.0e} is allowed; at [{place}] it is {got[at]!s}, not {want[at]!s}"
    )

"""Resolve `init_from`: which tensors of a network start from which arrays of a file.

    init_from = "pretrained.safetensors"   all tensors, by their names
    init_from.head = none                  except these, which are drawn at random as ever
    init_from.stem = "other.npz"           these from another file

If several settings match a tensor, the most specific one applies, as in `tensor_names`. Every tensor that a setting
matches must be in its file, in the shape of the network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from nnspec.checker.binding import Given
from nnspec.checker.draft import Draft
from nnspec.checker.evaluator import Evaluator
from nnspec.checker.findings import UNKNOWN, Unknown
from nnspec.checker.program import Initial, LayerNode, LoadedTensor
from nnspec.checker.shared import Shared
from nnspec.checker.tensor_names import Name, Names, is_known
from nnspec.data.files import shown
from nnspec.data.source import FileFault
from nnspec.data.weights import FLOATS, Tensor, Weights, WeightsFacts
from nnspec.diagnostics import Note, Span
from nnspec.engine.layers.contract import Shape, shape_in_words
from nnspec.engine.parameter import Segment
from nnspec.engine.part import FilePath
from nnspec.errors import some_of
from nnspec.text import quoted

__all__ = ["initial_weights"]

_ALL = Name()
"""The model itself: `init_from` without a name."""
_LISTED = 3


def initial_weights(
    draft: Draft, evaluator: Evaluator, shared: Shared, blocks: Collection[str]
) -> Initial | Unknown | None:
    """Return the initial weights that a lane loads; None if it loads none, UNKNOWN after an error."""
    settings = {name: weights for name, weights in (draft.init_from or {}).items() if weights or name != "init_from"}
    if not settings or not draft.layers:
        return None
    return _Resolution(draft, settings, draft.layers, evaluator, shared, blocks).resolve()


class _Resolution:
    def __init__(
        self,
        draft: Draft,
        init_from: Mapping[str, Weights | None],
        layers: tuple[LayerNode, ...],
        evaluator: Evaluator,
        shared: Shared,
        blocks: Collection[str],
    ) -> None:
        self.settings, self.layers, self.evaluator, self.shared = init_from, layers, evaluator, shared
        self.findings = evaluator.findings
        self.given: Mapping[str, Given] = draft.settings.values
        self.names: Names = shared.names(layers, blocks)
        self.files: dict[FilePath, WeightsFacts] = {}
        self.tables: dict[FilePath, dict[str, Tensor]] = {}

    def resolve(self) -> Initial | Unknown | None:
        if not self.evaluator.budget.work(len(self.names.places), self.given[next(iter(self.settings))].name):
            return UNKNOWN
        named = self._named()
        readable = [self._read(setting) for setting in self.settings]  # report all that cannot be read
        if named is None or not all(readable):
            return UNKNOWN
        tensors: list[LoadedTensor] = []
        drawn: list[str] = []
        misfits: dict[str, list[_Wanted]] = {}
        applied: dict[str, bool] = {}  # setting -> whether it makes a difference
        for segment, matching in self.names.chosen(name for name in named if name is not _ALL):
            found = [named[name] for name in (*matching, *((_ALL,) if _ALL in named else ()))]
            for setting in found:
                applied.setdefault(setting, False)
            weights = self.settings[found[0]] if found else None
            if weights is None:
                drawn.append(_full_name(segment))
                if any(self.settings[setting] for setting in found[1:]):
                    applied[found[0]] = True
                continue
            applied[found[0]] = True
            wanted = _Wanted.of(segment, weights, matching[0].path if matching else ())
            stored = self.tables[weights.path].get(wanted.key)
            if stored is not None and stored.shape == wanted.stored_shape and stored.dtype in FLOATS:
                tensors.append(LoadedTensor(_full_name(segment), weights, wanted.key, stored.dtype, wanted.transposed))
            else:
                misfits.setdefault(found[0], []).append(wanted)
        for setting, some in misfits.items():
            self._report(setting, *some)
        idle = {setting: self._why_idle(setting, applied) for setting in self.settings if not applied.get(setting)}
        return UNKNOWN if misfits else Initial(self.settings, tuple(tensors), tuple(drawn), self.files, idle)

    def _named(self) -> dict[Name, str] | None:
        """Resolve the names of settings: name -> setting. None if one is unknown."""
        named: dict[Name, str] = {}
        good = True
        for setting in self.settings:
            text = setting.partition(".")[2]
            if not text:
                named[_ALL] = setting
                continue
            span = self.given[setting].name
            known = is_known(text, Span(span.source, span.end - len(text), span.end), self.names, self.findings)
            name = self.names.find(text)
            if known and name is not None:
                named[name] = setting
            good = good and known
        return named if good else None

    def _read(self, setting: str) -> bool:
        """Read what is in the file of a setting. Report a file that cannot be used."""
        weights = self.settings[setting]
        if weights is None or weights.path in self.files:
            return True
        try:
            facts = self.files[weights.path] = self.shared.weights(weights)
        except FileFault as fault:
            self.findings.error("NN502", fault.message, self.given[setting].value.span, help=fault.help)
            return False
        self.tables[weights.path] = {tensor.name: tensor for tensor in facts.tensors}
        return True

    def _report(self, setting: str, first: _Wanted, *others: _Wanted) -> None:
        """Report the first tensor that a setting cannot load, and the number of others."""
        message, help = self._problem(setting, first)
        if others:
            message += f"; {len(others)} more tensor{'s do' if len(others) > 1 else ' does'} not fit"
        layer = next(node for each in self.layers for node in each.walk() if node.name == first.segment.layer)
        note = Note(layer.span, f"`{layer.name}`")
        self.findings.error("NN503", message, self.given[setting].value.span, notes=(note,), help=help)

    def _problem(self, setting: str, wanted: _Wanted) -> tuple[str, str]:
        """Return why a tensor cannot be loaded, and what to do."""
        segment, weights, key = wanted.segment, wanted.weights, wanted.key
        file, stored = shown(weights.path), self.tables[weights.path].get(key)
        random = f"`init_from.{segment.layer} = none` initialises the layer at random instead"
        if stored is None:
            return f"{file} has no tensor `{key}`", self._alternatives(wanted, random)
        if stored.dtype not in FLOATS:
            return f"`{key}` in {file} has dtype {stored.dtype}, but weights are floats", "save it as float32"
        message = (
            f"`{key}` in {file} has shape {_words(stored.shape)}"
            f"{f', transposed {_words(stored.shape[::-1])}' if wanted.transposed else ''}, but `{_full_name(segment)}` "
            f"has shape {_words(segment.shape)}"
        )
        if stored.shape == wanted.stored_shape[::-1]:
            better = _assignment(setting, Weights(weights.path, layer=weights.layer, transpose=not weights.transpose))
            stores = (
                "this file stores them as (in, out)" if wanted.transposed else "PyTorch stores matrices as (out, in)"
            )
            return message, f"{stores}; write {better}"
        return message, random

    def _alternatives(self, wanted: _Wanted, random: str) -> str:
        """Say which tensors of a file could be meant by a name that it does not have: those of similar names, then
        those of the same kind that fit."""
        segment, weights, shape = wanted.segment, wanted.weights, wanted.stored_shape
        table = self.tables[weights.path]
        if not table:
            return "it contains no tensors"
        near = self.findings.nearest(wanted.key, table)
        same = [each for each in table.values() if each.name.rpartition(".")[2] == segment.name]
        fitting = [each for each in same if each.shape in (shape, shape[::-1])]
        first = [table[near]] if near else fitting[:1]
        listed = dict.fromkeys((*first, *(fitting or same or table.values())))
        help = f"it has {some_of([f'`{each.name}` ({_words(each.shape)})' for each in listed], _LISTED)}"
        layer, _, name = first[0].name.rpartition(".") if first else ("", "", "")
        if not layer or name != segment.name:
            return f"{help}; {random}"
        turned = first[0].shape != shape and first[0].shape == shape[::-1]
        better = Weights(weights.path, layer=layer, transpose=weights.transpose != turned)
        return f"{help}; to load it, write {_assignment(f'init_from.{segment.layer}', better)}"

    def _why_idle(self, setting: str, applied: Mapping[str, bool]) -> str:
        if setting not in applied:
            return "it has no parameters here" if "." in setting else "the model has no parameters"
        if self.settings[setting] is None:
            return "no weights are loaded into it"
        return "more specific settings of `init_from` override it"


@dataclass(frozen=True)
class _Wanted:
    """A tensor of the network, and what its file should contain for it."""

    segment: Segment
    weights: Weights
    key: str
    transposed: bool

    @classmethod
    def of(cls, segment: Segment, weights: Weights, path: tuple[str, ...]) -> _Wanted:
        """`path` is the layer that the setting names, which `weights.layer` replaces in the file."""
        name = _full_name(segment)
        if weights.layer:
            name = ".".join((weights.layer, *name.split(".")[len(path) :]))
        transposed = weights.transpose and segment.kind == "weight" and len(segment.shape) == 2
        return cls(segment, weights, name, transposed)

    @property
    def stored_shape(self) -> Shape:
        """Its shape in the file."""
        return self.segment.shape[::-1] if self.transposed else self.segment.shape


def _full_name(segment: Segment) -> str:
    return f"{segment.layer}.{segment.name}"


def _assignment(setting: str, weights: Weights) -> str:
    plain = weights == Weights(weights.path)
    return f"`{setting} = {quoted(weights.path.written) if plain else weights}`"


def _words(shape: Shape) -> str:
    return shape_in_words(shape) or "()"

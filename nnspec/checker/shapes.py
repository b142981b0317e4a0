"""Infer the input and output shapes of layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

from nnspec.checker.evaluator import Arriving
from nnspec.checker.expand_blocks import Expanded
from nnspec.checker.findings import Findings
from nnspec.checker.model_items import Placed, Read
from nnspec.checker.program import INPUT, Branch, Choice, LayerNode, PartValue
from nnspec.checker.vocabulary import Suggestion
from nnspec.data.source import Field
from nnspec.diagnostics import Note, Span
from nnspec.engine.layers.chain import Member
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.contract import Geometry, Layer, Mask, Shape, ShapeError, shape_in_words
from nnspec.engine.layers.embedding import Embedding
from nnspec.engine.layers.linear import Linear
from nnspec.engine.layers.tied import Transposed
from nnspec.engine.layers.wiring import From

__all__ = ["MAX_PARAMETERS", "infer_shapes", "mixes_padding", "trainable"]

MAX_PARAMETERS = 500_000_000
_SHOWN = 12  # shapes of a chain shown in a message


def infer_shapes(
    expanded: Expanded, data: tuple[Choice, ...] | None, findings: Findings
) -> tuple[LayerNode, ...] | None:
    """Check each layer against its input shape; None if a layer is wrong or the data is unknown."""
    placed = expanded.layers
    if data is None or expanded.gaps or not placed:
        return None
    walk = _walk(_image_as(placed), data, findings)
    nodes = walk.along(placed)
    if expanded.good:
        walk.report_unread(placed)
    return nodes if expanded.good and nodes and walk.parameters <= MAX_PARAMETERS else None


def _walk(layout: str, data: tuple[Choice, ...], findings: Findings) -> _Walk:
    """Return a walk that begins with a sample."""
    source = data[0]
    walk = _Walk(findings, source.facts.entering(layout), (source.value.origin.span, ""))
    walk.tokens = min(choice.facts.tokens for choice in data) and max(choice.facts.tokens for choice in data)
    if walk.tokens and source.facts.padding is not None:
        walk.padded = Mask(INPUT, source.facts.padding)
    walk.values[INPUT] = walk.here()
    walk.inputs = {field.name: field for field in source.facts.inputs}
    return walk


_LAYOUTS = {"channels": "image", "rows": "image", "columns": "image", "places": "sequence"}
"""The layout of images in which they have an extent, where no layer has decided it."""


def arriving(layers: Sequence[Placed | None], extent: str, data: tuple[Choice, ...] | None) -> Arriving | None:
    """Return what arrives after the first layers of a model, or None if that is unknown."""
    if data is None or None in layers:
        return None
    layout = _image_as(layers)
    layout = _LAYOUTS.get(extent, layout) if layout == "any" else layout
    walk = _walk(layout, data, Findings(suggests=False))
    return Arriving(walk.shape, walk.tokens) if walk.along(layers) is not None and not walk.lost else None


def trainable(layers: tuple[LayerNode, ...] | None, findings: Findings) -> tuple[LayerNode, ...] | None:
    """Return the layers if any of them has parameters; otherwise report it and return None."""
    if layers and not any(node.geometry.parameters for node in layers):
        message, help = "this model has no trainable parameters", "add a layer such as `Linear(10)`"
        findings.error("NN205", message, layers[-1].span, help=help)
        return None
    return layers


def _image_as(layers: Sequence[Placed | None]) -> str:
    """Return the layout of images: that of the first layer that requires one."""
    waiting = list(reversed(layers))
    while waiting:
        first = waiting.pop()
        if first is None:
            continue
        waiting += reversed([layer for branch in first.branches for layer in branch.layers])
        part = first.value.part
        if not first.branches and issubclass(part, Layer) and part.image_as != "any":
            return part.image_as
    return "any"


class _Walk:
    """Walks a chain of layers, and records the shapes so far and the source of the last one for messages."""

    def __init__(self, findings: Findings, shape: Shape, maker: tuple[Span, str]) -> None:
        self.findings = findings
        self.shape = shape
        self.maker = maker
        self.links = [shape_in_words(shape)]
        self.parameters = 0
        self.tokens = 0
        """The number of different ids if ids of the data arrive here; 0 for numbers."""
        self.padded: Mask | None = None
        """Which positions of the current value are padding, if any are."""
        self.lost = False
        """Whether the input shape is unknown, after a layer that could not be placed."""
        self.values: dict[str, _Value] = {}
        """The outputs so far, by the names of their layers; shared by all branches."""
        self.geometries: dict[str, Geometry] = {}
        """The geometry of each layer, with the parameters that it uses of others; shared by all branches."""
        self.tied: set[str] = set()
        """The layers whose weight may be transposed."""
        self.inputs: Mapping[str, Field] = {}
        """The inputs of the data if there are several: then a chain must begin with a `from`."""
        self.following: Sequence[Placed | None] = ()
        """The layers after the current one, which decide how an image enters."""
        self.branch = ""
        """The branch that is walked, for messages; "" outside named branches."""
        self.begun = False
        """Whether a value has been computed or chosen."""

    def here(self) -> _Value:
        """Return the current value."""
        return _Value(self.shape, self.tokens, self.maker, tuple(self.links), self.padded)

    def _begins_anew(self, placed: Placed | None) -> bool:
        """Whether an output shape is known although the input shape is not, as for `Linear(64)`: checking resumes
        there."""
        shape = None if placed is None or placed.branches else _own_shape(placed.value)
        if placed is None or shape is None:
            return False
        self.shape, self.links, self.begun = shape, ["…"], True
        self.maker = (placed.value.origin.span, "")
        self.links.append(f"{placed.value.name} {shape_in_words(shape)}")
        return True

    def along(self, layers: Sequence[Placed | None]) -> tuple[LayerNode, ...] | None:
        nodes: list[LayerNode] = []
        good = True
        for number, placed in enumerate(layers):
            self.following = layers[number + 1 :]
            if placed is None or self.lost:
                good, self.lost = False, not self._begins_anew(placed)
                continue
            unowned = placed.value.part.owners() and not placed.owners
            unread = self._undecided(placed) or self._takes_input(placed)
            if unread or unowned or not all(map(self._is_known, placed.reads)):
                good, self.lost = False, not self._begins_anew(placed)
                continue
            branches = self._branches(placed)
            geometry = None if branches is None else self._geometry(placed, branches)
            if geometry is None or branches is None:
                good = False
                geometry = self._forgiving(placed.value)
            if geometry is None or branches is None:
                self.lost = not self._begins_anew(placed)
                continue
            self.geometries[placed.name] = geometry
            geometry, uses_of = self._own(placed, geometry)
            if not placed.branches:
                self._count(geometry, placed.value)
            nodes.append(
                LayerNode(
                    placed.name,
                    placed.value,
                    self._incoming(placed),
                    geometry,
                    placed.shared,
                    branches,
                    placed.uses,
                    tuple(read.value for read in placed.reads),
                    placed.owners,
                    uses_of,
                    self._field(placed),
                )
            )
            nodes[-1] = self._with_padding(nodes[-1], placed)
            if placed.value.part is From:
                self._continue_from(placed.reads[0], placed.name)
            else:
                self._advance(placed.value, geometry)
                self.padded = _padded_after(nodes[-1])
            self.values[placed.name], self.begun = self.here(), True
        return tuple(nodes) if good else None

    def _of_owner(self, placed: Placed) -> dict[str, Any]:
        """Return what the owner of a layer's parameters determines: inferred sizes, or the shape of its weight. Raises
        ShapeError for an owner without such a weight.
        """
        if not placed.owners:
            return {}
        owner = self.geometries.get(placed.owners[-1] if placed.value.part is Transposed else placed.owners[0])
        if placed.value.part is not Transposed:
            return dict(owner.inferred) if owner is not None else {}
        weight = {} if owner is None else owner.parameters
        if placed.owners[-1] not in self.tied or len(weight.get("weight", ())) != 2:
            raise ShapeError(
                f"`{placed.owners[-1]}` has no weight that could be transposed",
                argument="name",
                label="this layer",
                help="`transposed` uses the weight of a `Linear` or an `Embedding`",
            )
        return {"name": weight["weight"]}

    def _own(self, placed: Placed, geometry: Geometry) -> tuple[Geometry, Mapping[str, Shape]]:
        """Return the geometry with only the layer's own parameters, and the parameters that it uses of others."""
        if placed.value.part in (Linear, Embedding):
            self.tied.add(placed.name)
        if not placed.owners:
            return geometry, {}
        if placed.value.part is not Transposed:
            return replace(geometry, parameters={}, state={}), geometry.parameters
        weight = {"weight": self.geometries[placed.owners[-1]].parameters["weight"]}
        if len(placed.owners) > 1:  # it repeats a transposed layer, whose bias it uses too
            return replace(geometry, parameters={}), weight | dict(geometry.parameters)
        return geometry, weight

    def _undecided(self, placed: Placed) -> bool:
        """Report a layer that begins a model of data with several inputs without saying which of them it reads."""
        if self.begun or not self.inputs or not _reads_previous(placed):
            return False
        if any(branch.layers for branch in placed.branches) and all(branch.layers for branch in placed.branches):
            return False  # reported where a branch begins
        self.begun = True
        names = [f"`from({name})`" for name in self.inputs]
        self.findings.error(
            "NN205",
            f"the data has {len(names)} inputs, and `{placed.value.name}` does not say which of them it reads",
            placed.value.origin.span,
            help=f"begin with {' or '.join(names)}",
        )
        return True

    def _takes_input(self, placed: Placed) -> bool:
        """Report a layer that names one of several inputs besides what arrives: only a `from` takes it from its row."""
        reads = () if placed.value.part is From else placed.reads
        read = next((read for read in reads if not read.is_layer and read.value in self.inputs), None)
        if read is None:
            return False
        self.findings.error(
            "NN203",
            f"`{read.value}` is an input of the data, which only `from` can read",
            read.span,
            help=f"write `{read.value}1: from({read.value})` further up, and name `{read.value}1` here",
        )
        return True

    def _is_known(self, read: Read) -> bool:
        """Whether a value exists and its shape is known; if not, this has been reported."""
        return read.value in self.values or (not read.is_layer and read.value in self.inputs)

    def _read(self, read: Read) -> _Value:
        """Return a value that is read by its name."""
        field = self.inputs.get(read.value)
        if read.is_layer or field is None:
            return self.values[read.value]
        span, _ = self.values[INPUT].maker
        field = field.entering(_image_as(self.following))
        links = (f"{field.name} {shape_in_words(field.shape)}".rstrip(),)
        padded = None if field.padding is None else Mask(read.value, field.padding)
        return _Value(field.shape, field.tokens, (span, ""), links, padded)

    def _incoming(self, placed: Placed) -> Shape:
        """Return the shape of what a layer reads first: for a `from`, of the value, or of the row that it is in."""
        if placed.value.part is not From:
            return self.shape
        return self._read(placed.reads[0]).shape if self._field(placed) is None else self.values[INPUT].shape

    def _field(self, placed: Placed) -> Field | None:
        found = next((self.inputs.get(read.value) for read in placed.reads if not read.is_layer), None)
        return None if found is None else found.entering(_image_as(self.following))

    def _continue_from(self, read: Read, name: str) -> None:
        value = self._read(read)
        self.shape, self.tokens, self.maker, self.links = value.shape, value.tokens, value.maker, [*value.links]
        self.padded = value.padded
        if not read.is_layer and value.padded is not None and value.padded.ids in self.inputs:
            self.padded = Mask(name, value.padded.padding)  # an input by its name is the value of its `from`

    def _with_padding(self, node: LayerNode, placed: Placed) -> LayerNode:
        """Say which positions of what a layer reads are padding; a layer that skips them reads their ids too."""
        node, part = node if self.padded is None else replace(node, padded=self.padded), node.value.part
        mask = self.padded
        for read in placed.reads:
            mask = self._read(read).padded if read.argument == part.skips_in else mask
        if mask is None or part.with_padding != "skips":
            return node
        return replace(node, mask=mask, reads=(*node.reads, mask.ids))

    def report_unread(self, layers: Sequence[Placed | None]) -> None:
        """Report values that no layer reads, because a `from` after them continues elsewhere."""
        read = {read.value for placed in _all_of(layers) for read in placed.reads}
        for chain in _chains_of(layers):
            for before, after in pairwise(chain):
                if before is None or after is None or before.value.part is From or _reads_previous(after):
                    continue
                if before.name not in read:
                    self.findings.error(
                        "NN203",
                        f"the output of `{before.name}` is not used",
                        before.value.origin.span,
                        notes=(Note(after.value.origin.span, "the model continues from another value here"),),
                        help=f"remove it, or read it further down with `from({before.name})`",
                    )

    def _branches(self, placed: Placed) -> tuple[Branch, ...] | None:
        """Walk the branches of a composition, which all start with its input shape."""
        found: list[Branch] = []
        good = True
        for branch in placed.branches:
            walk = _Walk(self.findings, self.shape, self.maker)
            part = placed.value.part
            own = issubclass(part, Composition) and branch.name == part.own_chain
            walk.branch = self.branch if own else f"in branch `{branch.name}` of `{placed.name}`, "
            walk.links = list(self.links)
            walk.values, walk.inputs, walk.begun = self.values, self.inputs, self.begun
            walk.geometries, walk.tied = self.geometries, self.tied
            walk.parameters, walk.tokens, walk.padded = self.parameters, self.tokens, self.padded
            nodes = walk.along(branch.layers)
            self.parameters = walk.parameters
            good = good and nodes is not None and self._hold_ids_in_branch(placed, branch.name, walk.tokens)
            found.append(Branch(branch.name, nodes or ()))
        return tuple(found) if good else None

    def _hold_ids_in_branch(self, placed: Placed, branch: str, tokens: int) -> bool:
        """Whether a composition gets numbers from a branch; report one whose ids it would compute with."""
        part, what, around = placed.value.part, f"branch `{branch}` of `{placed.value.name}`", ""
        if issubclass(part, Composition) and branch == part.own_chain:
            what = f"`{placed.value.name}`"
            if not {each.name for each in placed.branches} & set(part.inner):
                tokens, around = tokens or self.tokens, " around its layers"
        if tokens:
            message = f"{what} passes on ids from 0 to {tokens - 1:,}{around}, and ids are not quantities"
            self._report(placed, ShapeError(message, argument=branch, help="put `Embedding(16)` there, or before it"))
        return not tokens

    def _geometry(self, placed: Placed, branches: tuple[Branch, ...]) -> Geometry | None:
        part = placed.value.part
        try:
            if issubclass(part, Composition):
                members = {branch.name: _members(placed, part, branch) for branch in branches}
                return part.combine(self.shape, members, placed.value.values())
            arguments = self._looked_up(part, placed.value.values())
            arguments |= {read.argument: self._read(read).shape for read in placed.reads}
            arguments |= self._of_owner(placed)
            if part is not From:
                self._hold_ids(part)
            return part.geometry(self.shape, arguments)
        except ShapeError as error:
            self._report(placed, error)
            return None

    def _hold_ids(self, part: type[Layer]) -> None:
        """Raise ShapeError if ids arrive at a layer that would compute with them."""
        if self.tokens and not part.looks_up:
            raise ShapeError(
                f"{part.spec_name} expects real-valued input but got ids from 0 to {self.tokens - 1:,}",
                help="add `Embedding(16)` before it",
            )

    def _looked_up(self, part: type[Layer], arguments: dict[str, Any]) -> dict[str, Any]:
        """Set the number of ids of a layer that looks them up. Raises ShapeError if it has fewer, or no ids arrive."""
        name = part.looks_up
        if not name:
            return arguments
        given = arguments[name]
        if not self.tokens:
            return arguments | {name: None}
        if given is not None and given < self.tokens:
            raise ShapeError(
                f"this {part.spec_name} has {given} ids, but the data has {self.tokens}",
                argument=name,
                label=f"{self.tokens} are needed",
                help=f"omit `{name}`: it is inferred from the data",
            )
        return arguments | {name: given or self.tokens}

    def _forgiving(self, value: PartValue[Layer]) -> Geometry | None:
        """Continue as if the layer had not set its expected input, so that later errors are found too."""
        return _uninformed(value, self.shape)

    def _report(self, placed: Placed, error: ShapeError) -> None:
        value = placed.value
        bound = value.arguments.get(error.argument or "")
        branch = next((b for b in placed.branches if b.name == error.argument), None)
        where = bound.origin.span if bound else branch.span if branch else value.origin.span
        span, what = self.maker
        what = what or f"{_arriving_in_words(self.shape, self.tokens)} from here"
        used = [Note(use, f"in this `{_callee(use)}`") for use in placed.within[-1:]]
        links = _shortened([*self.links, f"{value.name} ✗"])
        more: Suggestion = {"label": error.label, "remarks": (f"{self.branch}shapes: {links}",), "help": error.help}
        self.findings.error("NN401", str(error), where, notes=(Note(span, what), *used), **more)

    def _advance(self, value: PartValue[Layer], geometry: Geometry) -> None:
        if geometry.out != self.shape:
            # The argument that sets the output size, if there is one.
            sizes = [b for b in value.arguments.values() if (b.value,) == geometry.out]
            self.maker = (sizes[-1].origin.span if sizes else value.origin.span, "")
        self.shape, self.tokens = geometry.out, 0
        self.links.append(f"{value.name} {shape_in_words(self.shape)}")

    def _count(self, geometry: Geometry, value: PartValue[Layer]) -> None:
        before = self.parameters
        for shape in geometry.parameters.values():
            self.parameters += prod(shape)
        if before <= MAX_PARAMETERS < self.parameters:
            message, label = f"the model has more than {MAX_PARAMETERS:,} parameters", f"{self.parameters:,} up to here"
            self.findings.error("NN603", message, value.origin.span, label=label)


def _arriving_in_words(shape: Shape, tokens: int) -> str:
    """Describe what arrives at a layer, for a note: `784 features`, `12 ids`."""
    if tokens:
        return f"{shape_in_words(shape)} ids" if shape else "an id"
    return f"{shape_in_words(shape)} feature{'' if shape == (1,) else 's'}"


@dataclass(frozen=True)
class _Value:
    """A value of the model: its shape, the number of its ids, and what made it, for messages."""

    shape: Shape
    tokens: int
    maker: tuple[Span, str]
    links: tuple[str, ...]
    padded: Mask | None = None
    """Which of its positions are padding, if any are."""


def _padded_after(node: LayerNode) -> Mask | None:
    """Return which positions of a layer's output are padding: the same as before, if it is still a sequence and the
    layer has not mixed them. The branches of a composition must agree.
    """
    part = node.value.part
    if issubclass(part, Composition):
        ends = {_padded_after(branch.layers[-1]) if branch.layers else node.padded for branch in node.branches}
        ends |= {node.padded} if len(node.branches) == 1 else set()
        return ends.pop() if len(ends) == 1 and len(node.geometry.out) == 2 else None
    places = 1 if part.looks_up else 2  # what a lookup reads has an axis less
    stays = len(node.geometry.out) == 2 and len(node.incoming) == places
    return node.padded if stays and not mixes_padding(node) else None


def mixes_padding(node: LayerNode) -> bool:
    """Whether a layer mixes positions that are padding with others, as far as its class says."""
    part = node.value.part
    if node.padded is None or issubclass(part, Composition) or part.with_padding == "skips":
        return False
    return part.with_padding == "mixes" or part.looks_ahead(node.incoming, node.arguments())


def _reads_previous(placed: Placed) -> bool:
    """Whether a layer reads the value before it. A `from` does not, nor a composition whose branches begin with it."""
    part = placed.value.part
    if part is From:
        return False
    if not issubclass(part, Composition):
        return True
    firsts = [branch.layers[0] if branch.layers else None for branch in placed.branches]
    return len(firsts) < 2 or any(first is None or _reads_previous(first) for first in firsts)


def _chains_of(layers: Sequence[Placed | None]) -> Iterator[Sequence[Placed | None]]:
    """Yield a chain and those in the branches of its compositions."""
    waiting = [layers]
    while waiting:
        chain = waiting.pop()
        yield chain
        waiting += [branch.layers for placed in chain if placed is not None for branch in placed.branches]


def _all_of(layers: Sequence[Placed | None]) -> Iterator[Placed]:
    return (placed for chain in _chains_of(layers) for placed in chain if placed is not None)


def _uninformed(value: PartValue[Layer], incoming: Shape) -> Geometry | None:
    """Return a layer without its inferable arguments; None if the shapes still do not match."""
    if not incoming or value.part.reads() or value.part.owners():  # () is a single id
        return None
    unsaid = {a.name: None for a in value.part.signature() if a.inferred}
    try:
        return value.part.geometry(incoming, value.values() | unsaid)
    except ShapeError:
        return None


def _own_shape(value: PartValue[Layer]) -> Shape | None:
    """Return the output shape of a layer if it is the same for two unlikely input widths, and so for any."""
    found = {g.out if (g := _uninformed(value, (width,))) is not None else None for width in (9973, 9967)}
    return found.pop() if len(found) == 1 else None


def _shortened(links: list[str]) -> str:
    if len(links) > _SHOWN:
        links = [*links[: _SHOWN // 2], "…", *links[-_SHOWN // 2 :]]
    return " → ".join(links)


def _members(placed: Placed, part: type[Composition], branch: Branch) -> list[Member]:
    """Describe the layers of a branch to its composition."""
    found = []
    for node in branch.layers:
        name = part.name_within(placed.name, branch.name, node.name)
        found.append(Member(name, node.value.part, node.incoming, node.geometry))
    return found


def _callee(use: Span) -> str:
    return use.text.partition("(")[0].strip()

"""Sort the items of a file into declarations and report those that do not belong. Values are not evaluated here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from nnspec.checker.binding import Given
from nnspec.checker.findings import Findings
from nnspec.checker.functions import CONSTANTS, FUNCTIONS
from nnspec.checker.load import Files
from nnspec.checker.recovery import Recovery
from nnspec.checker.vocabulary import SECTIONS, SETTINGS, TRAIN, figures, is_reserved, other_names, parts, respelt
from nnspec.diagnostics import Diagnostic, Edit, Fix, Note, Source, Span
from nnspec.syntax import parse, tree
from nnspec.syntax.habits import FOREIGN, foreign

__all__ = [
    "MAX_NAME",
    "MAX_RUNS",
    "Assignment",
    "Declarations",
    "DeclaredLane",
    "Sweep",
    "Tune",
    "declare",
    "declare_flag",
]

_FREE = {"tune", "steps", "record", "accumulate", "average", "sharpness", "balance"}
"""Sections, and settings of `train`, whose names a `let` may have all the same."""
_RESERVED = {"incoming", *SETTINGS, *SECTIONS, *FUNCTIONS, *CONSTANTS, *(a.name for a in TRAIN)} - _FREE

MAX_NAME = 64
"""The maximum length of a lane's name, which is also the name of the folder with its weights."""

_SHORT = 40

MAX_RUNS = 1000
"""The maximum number of runs (lanes × sweep points) in a spec."""

_MAX_PARAMETERS = 100
"""The maximum number of parameters of a block."""


@dataclass(frozen=True)
class Assignment:
    """An assignment to a dotted name: `train.epochs`, `optimizer.lr`, `width`."""

    path: tuple[tree.Name, ...]
    given: Given
    shared: bool = True
    """Whether it applies to every lane rather than to one that it names."""

    @property
    def text(self) -> str:
        """The dotted name."""
        return ".".join(name.text for name in self.path)

    @property
    def span(self) -> Span:
        """The span of the name, or of the part of it that is written there."""
        return self.given.name


@dataclass(frozen=True)
class DeclaredLane:
    """A lane of a race: parts that replace settings, and assignments."""

    name: tree.Name
    parts: tuple[tree.Expression, ...] = ()
    assignments: tuple[Assignment, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """Settings with lists of values: all combinations or, if zipped, the first of each, the second of each, …"""

    head: Span
    zipped: bool
    dimensions: tuple[Assignment, ...]


@dataclass
class Tune:
    """The settings of a search, and the settings that it searches for with their spaces, in the order in which they
    apply."""

    head: Span
    assignments: list[Assignment]
    gaps: bool = False
    """Whether an item of it could not be parsed."""


@dataclass
class Declarations:
    """A spec and its imports, sorted. A file overrides what it imports."""

    files: Files
    lets: dict[str, Given] = field(default_factory=dict)
    layers: list[list[Assignment]] = field(default_factory=list)
    """The settings of each file, in the order in which they apply."""
    models: dict[str, tree.Section] = field(default_factory=dict)
    """By name; an unnamed model is ""."""
    blocks: dict[str, tree.Block] = field(default_factory=dict)
    race: tree.Section | None = None
    lanes: list[DeclaredLane] = field(default_factory=list)
    sweep: Sweep | None = None
    tune: Tune | None = None
    expectations: list[tree.Element] = field(default_factory=list)
    firsts: dict[str, Span] = field(default_factory=dict)
    """The span of each name and section, for messages about duplicates."""
    doubled: dict[str, list[Diagnostic]] = field(default_factory=dict)
    """The diagnostic for each duplicate, unless a file that imports both overrides it."""

    @property
    def assignments(self) -> list[Assignment]:
        """All settings, in the order in which they apply."""
        return [assignment for layer in self.layers for assignment in layer]

    @cached_property
    def places(self) -> dict[str, set[Source]]:
        """The files that set each setting, once all of them are known."""
        found: dict[str, set[Source]] = {}
        for assignment in self.assignments:
            found.setdefault(assignment.text, set()).add(assignment.span.source)
        return found

    def goes_before(self, new: Span, old: Span) -> bool:
        """Whether the declaration at `new` overrides the one at `old`, because its file imports the other's."""
        return self.files.goes_before(new.source, old.source)

    def replaced(self, setting: str, span: Span) -> bool:
        """Whether a file that imports the one of `span` sets the setting too."""
        return any(self.files.goes_before(file, span.source) for file in self.places.get(setting, ()))


def declare(files: Files, findings: Findings, recovery: Recovery) -> Declarations:
    """Sort the items of a spec and its imports."""
    declared = Declarations(files)
    for _, file in files.order:
        declared.layers.append([])
        for item in file.items:
            _ITEMS[type(item)](item, declared, findings, recovery)
        _plain_heads(file.items, findings)
    for doubled in declared.doubled.values():
        findings.extend(doubled)
    return declared


def declare_flag(source: Source, findings: Findings, recovery: Recovery) -> list[Assignment]:
    """Return the setting in a flag such as `train.epochs=3`; none if it is invalid."""
    parsed = parse(source)
    recovery.take(source, parsed)
    findings.extend(parsed.diagnostics)
    items = parsed.file.items
    if len(items) == 1 and isinstance(items[0], tree.Setting):
        setting = items[0]
        return [Assignment(setting.path.names, Given(setting.value, setting.path.span, source.name))]
    if not parsed.diagnostics:
        help = "for example, `train.epochs=3` or `optimizer.lr=0.1`"
        findings.error("NN101", "expected `path=value`", Span(source, 0, len(source.text)), help=help)
    return []


def _assignments(
    items: tuple[tree.Item, ...], prefix: tuple[tree.Name, ...], via: str, findings: Findings, recovery: Recovery
) -> Iterator[Assignment]:
    """Yield the settings of a section and its subsections, by their full names. Report all other items."""
    place = f"`{'.'.join(name.text for name in prefix)}`" if prefix else _PLACES.get(via, "a lane")
    for item in items:
        match item:
            case tree.Setting(path=path, value=value):
                yield Assignment((*prefix, *path.names), Given(value, path.span, via))
            case tree.Section(label=None, keyword=keyword, name=None, title=None, items=()) if keyword.text:
                if not recovery.has_gaps(item.span):
                    findings.error("NN203", f"`{keyword.text}` sets nothing here", item.head)
            case tree.Section(label=None, keyword=keyword, name=None, title=None, items=inner):
                # Without a keyword, its head could not be parsed: treat its contents as part of the enclosing section.
                yield from _assignments(inner, (*prefix, keyword) if keyword.text else prefix, via, findings, recovery)
            case tree.Element(label=tree.Name() as label) if via.startswith("lane") and _is_part(item, labelled=True):
                help = f"write `{item.value.span.text}` without a label"
                findings.error("NN203", "parts inside a lane have no labels", label.span, help=help)
            case tree.Element(label=tree.Name() as label):
                colon = Span(item.span.source, label.span.end, item.value.span.start)
                fix = Fix("replace `:` with `=`", (Edit(colon, " = "),), safe=True)
                help = f"write `{label.text} = {_short(item.value)}`"
                findings.error("NN203", "settings use `=`, not `:`", item.span, help=help, fix=fix)
            case tree.Let(name=name):
                help = f"to override its value here, write `{name.text} = …` without `let`"
                findings.error("NN203", f"`let` is not allowed in {place}", item.span, help=help)
            case tree.Element(value=tree.Compare()):
                findings.error(
                    "NN203", f"{place} can only contain settings", item.span, help="statements belong in `expect`"
                )
            case tree.Element():
                example = _EXAMPLES.get(via, "name = value")
                findings.error("NN203", f"{place} can only contain settings, such as `{example}`", item.span)
            case tree.Import() | tree.Block():
                what = "import" if isinstance(item, tree.Import) else "block"
                help = f"`{what}` belongs at top level"
                findings.error("NN203", f"`{what}` is not allowed in {place}", _head(item), help=help)
            case _:
                findings.error("NN203", f"this is not allowed in {place}", _head(item))


_PLACES = {"sweep": "a sweep", "tune": "`tune`"}
_EXAMPLES = {"sweep": "name = [a, b]", "tune": "optimizer.lr = loguniform(1e-4, 1)"}


def _setting(item: tree.Setting, declared: Declarations, findings: Findings, recovery: Recovery) -> None:
    assignment = Assignment(item.path.names, Given(item.value, item.path.span))
    if assignment.path[0].text == "tune" and len(assignment.path) > 1:
        _add_to_tune(item.path.span, [Assignment(assignment.path[1:], replace(assignment.given, via="tune"))], declared)
    else:
        declared.layers[-1].append(assignment)


def _add_to_tune(head: Span, assignments: Iterable[Assignment], declared: Declarations, gaps: bool = False) -> None:
    before = declared.tune or Tune(head, [])
    declared.tune = Tune(before.head, [*before.assignments, *assignments], before.gaps or gaps)


def _let(item: tree.Let, declared: Declarations, findings: Findings, recovery: Recovery) -> None:
    word = item.name.text
    if _free("let", item.name, declared, findings, recovery):
        declared.lets[word] = Given(item.value, item.name.span)


def _block(item: tree.Block, declared: Declarations, findings: Findings, recovery: Recovery) -> None:
    seen: dict[str, Span] = {}
    before = findings.count
    for parameter in item.parameters:
        word, span = parameter.name.text, parameter.name.span
        if word in seen:
            findings.given_twice(word, span, seen[word])
        elif word in FUNCTIONS or word in CONSTANTS or is_reserved(word) or word in ("data", "incoming"):
            message = f"a parameter cannot be called `{word}`: that name is reserved"
            findings.error("NN206", message, span, help="use another name")
        seen[word] = span
    if len(item.parameters) > _MAX_PARAMETERS:
        findings.error("NN603", f"a block has at most {_MAX_PARAMETERS} parameters", item.name.span)
    if findings.count > before:
        recovery.broken_blocks.add(item.name.text)
    if _free("block", item.name, declared, findings, recovery):
        declared.blocks[item.name.text] = item


def _free(what: str, name: tree.Name, declared: Declarations, findings: Findings, recovery: Recovery) -> bool:
    """Whether a `let` or a block may have this name; if not, report it."""
    word = name.text
    if word in _RESERVED or is_reserved(word) or word in figures():
        message = f"a `{what}` cannot be called `{word}`: that name is reserved"
        findings.error("NN206", message, name.span, help="use another name")
        recovery.lost.add(word)
        return False
    if not _first(f"name {word}", f"`{word}` is given twice", name.span, declared):
        return False
    declared.lets.pop(word, None)
    declared.blocks.pop(word, None)
    return True


def _first(key: str, message: str, span: Span, declared: Declarations) -> bool:
    """Whether something is the first of its name, or overrides those in files that its file imports."""
    first = declared.firsts.get(key)
    if first is not None and not declared.goes_before(span, first):
        second = Diagnostic("NN204", message, span, notes=(Note(first, "first given here"),))
        declared.doubled.setdefault(key, []).append(second)
        return False
    declared.firsts[key] = span
    declared.doubled[key] = [d for d in declared.doubled.get(key, ()) if not declared.goes_before(span, d.span)]
    return True


def _import(item: tree.Import, declared: Declarations, findings: Findings, recovery: Recovery) -> None:
    """Do nothing: the items of the import have already been sorted."""


def _element(item: tree.Element, declared: Declarations, findings: Findings, recovery: Recovery) -> None:
    value = item.value
    path = value.path if isinstance(value, tree.Reference) else value.callee if isinstance(value, tree.Call) else None
    message, help, fix = "this has no effect at top level", "", None
    if item.label is not None and item.label.text in SETTINGS:
        message, help = "settings use `=`, not `:`", f"write `{item.label.text} = {_short(value)}`"
        colon = Span(item.span.source, item.label.span.end, item.value.span.start)
        fix = Fix("replace `:` with `=`", (Edit(colon, " = "),), safe=True)
        recovery.meant.add(item.label.text)
    elif isinstance(value, tree.Compare) and value.operands[0].span.text in SETTINGS:
        word = value.operands[0].span.text
        help = f"write `{word} = …` to set it"
        recovery.meant.add(word)
    elif isinstance(value, tree.Compare):
        help = "statements belong in `expect { … }`"
    elif isinstance(value, tree.Reference) and value.path.text in SECTIONS and item.label is None:
        help = f"a section is written `{value.path.text} {{ … }}`"
        recovery.meant.add(value.path.text)
    elif isinstance(value, tree.Reference) and value.path.text in SETTINGS and item.label is None:
        help = f"write `{value.path.text} = …`"
        recovery.meant.add(value.path.text)
    elif path is not None and path.text in parts():
        kind = parts()[path.text].kind
        help = {
            "layer": "layers belong in `model { … }`",
            "optimizer": f"write `optimizer = {value.span.text}`, or put it in `race {{ … }}`",
            "loss": f"write `loss = {value.span.text}`",
            "data source": f"write `data = {value.span.text}`",
        }.get(kind, "")
    findings.error("NN203", message, item.span, help=help, fix=fix)


def _plain_heads(items: Sequence[tree.Item], findings: Findings) -> None:
    """Report arguments of sections that take none, and factors of those that cannot be repeated."""
    waiting = list(items)
    while waiting:
        item = waiting.pop()
        if not isinstance(item, (tree.Section, tree.Block)):
            continue
        waiting += item.items
        if isinstance(item, tree.Block) or item.keyword.text in parts("composition"):
            continue
        word = item.keyword.text
        if item.arguments is not None:
            help = f"a block is declared by `block {word}(…) {{ … }}`, and used like a layer"
            help = "" if word in SECTIONS else help
            findings.error("NN203", f"`{word} {{ … }}` takes no arguments", item.head, help=help)
        for factor in item.times[:1]:
            help = "only layers, blocks and compositions can be repeated"
            findings.error("NN203", f"`{word} {{ … }}` cannot be repeated", factor.span, help=help)


def _section(item: tree.Section, declared: Declarations, findings: Findings, recovery: Recovery) -> None:
    word = item.keyword.text
    if not word:
        return  # its head could not be parsed, which has been reported
    if word in SECTIONS and item.label is not None:
        findings.error(
            "NN203", f"`{word}` takes no label", item.label.span, help=f"write `{word} {item.label.text} {{`"
        )
    if word == "model":
        _model(item, declared, findings)
    elif word in SECTIONS:
        if _once(word, item, declared):
            _SECTIONS[word](item, declared, findings, recovery)
    elif word in SETTINGS and item.name is None and item.title is None:
        if any(isinstance(inner, tree.Element) for inner in item.items):
            recovery.meant.add(word)
        declared.layers[-1] += _assignments(item.items, (item.keyword,), "", findings, recovery)
    elif word in FOREIGN:
        findings.add(foreign(word, item.keyword.span))
    else:
        others = other_names(SECTIONS) | {
            name: key for key in ("loss", "loss_weight", "metrics", "optimizer") for name in SETTINGS[key].also
        }
        inner = {name for kind in parts("composition").values() for name in (kind.spec_name, "shortcut")}
        help = "this belongs inside `model`" if word in inner else f"there are {', '.join(SECTIONS)}"
        found = None if word in inner else findings.nearest(word, SECTIONS, others)
        recovery.meant.add(found or "")
        if item.name is not None:
            recovery.lost.add(item.name.text)
        more = respelt(item.keyword.span, found, others, help)
        findings.error("NN201", f"unknown section `{word}`", item.keyword.span, **more)


def _model(item: tree.Section, declared: Declarations, findings: Findings) -> None:
    if item.title is not None:
        fix = Fix("remove the quotes", (Edit(item.title.span, str(item.title.value)),), safe=True)
        named = str(item.title.value).isidentifier()
        findings.error(
            "NN203",
            "a model has a name, not a title",
            item.title.span,
            help="write it without quotes" if named else "a name is one word without quotes",
            fix=fix if named else None,
        )
    name = item.name.text if item.name else ""
    if _once(f"model {name}".strip(), item, declared):
        declared.models[name] = item


def _once(what: str, item: tree.Section, declared: Declarations) -> bool:
    first = declared.firsts.get(what)
    if first is not None and first.source is not item.head.source and what in _MERGED:
        return True
    return _first(what, f"duplicate `{what}`", item.head, declared)


_MERGED = frozenset({"train", "tune", "expect"})
"""Sections that every file may have: settings are merged one by one, and all statements must hold."""


def _train(item: tree.Section, declared: Declarations, findings: Findings, recovery: Recovery) -> None:
    _no_name(item, findings)
    declared.layers[-1] += _assignments(item.items, (item.keyword,), "", findings, recovery)


def _expect(item: tree.Section, declared: Declarations, findings: Findings, recovery: Recovery) -> None:
    _no_name(item, findings)
    for inner in item.items:
        if isinstance(inner, tree.Element) and inner.label is None:
            declared.expectations.append(inner)
        elif isinstance(inner, tree.Setting):
            help = f"to compare, write `{inner.path.text} == {_short(inner.value)}`"
            findings.error("NN203", "`expect` can only contain statements", inner.span, help=help)
        else:
            findings.error("NN203", "`expect` can only contain statements, such as `test_accuracy > 0.9`", _head(inner))


def _no_name(item: tree.Section, findings: Findings) -> None:
    extra = item.name.span if item.name else item.title.span if item.title else None
    if extra is not None:
        findings.error("NN203", f"`{item.keyword.text}` takes no name", extra)


def _sweep(item: tree.Section, declared: Declarations, findings: Findings, recovery: Recovery) -> None:
    if item.title is not None or (item.name is not None and item.name.text != "zip"):
        extra = item.name or item.title
        assert extra is not None
        findings.error(
            "NN203",
            f"`{extra.span.text}` is not allowed after `sweep`",
            extra.span,
            help="`sweep` tries all combinations; `sweep zip` pairs the lists element by element",
        )
    dimensions = tuple(_assignments(item.items, (), "sweep", findings, recovery))
    if not item.items and not recovery.has_gaps(item.span):
        findings.error("NN205", "a sweep needs lists of values", item.head, help="for example, `width = [16, 32, 64]`")
    declared.sweep = Sweep(item.head, item.name is not None and item.name.text == "zip", dimensions)


def _tune(item: tree.Section, declared: Declarations, findings: Findings, recovery: Recovery) -> None:
    _no_name(item, findings)
    gaps = recovery.has_gaps(item.span)
    _add_to_tune(item.head, _assignments(item.items, (), "tune", findings, recovery), declared, gaps)


def _race(item: tree.Section, declared: Declarations, findings: Findings, recovery: Recovery) -> None:
    declared.race, declared.lanes = item, []
    if item.name is not None:
        findings.error(
            "NN203", "a race has a title, in quotes", item.name.span, help=f'write `race "{item.name.text}" {{`'
        )
    names: dict[str, Span] = {}
    for inner in item.items:
        lane = _lane(inner, findings, recovery)
        if lane is None:
            continue
        word = lane.name.text
        if len(word) > MAX_NAME:
            findings.error("NN302", f"a lane's name has at most {MAX_NAME} characters", lane.name.span)
            continue
        if word in names:
            findings.error(
                "NN204",
                f"two lanes are called `{word}`",
                lane.name.span,
                notes=(Note(names[word], "first given here"),),
                help=f"add a label to one: `fast: {word}(…)`",
            )
            continue
        names[word] = lane.name.span
        if len(names) > MAX_RUNS:
            findings.error("NN603", f"a race has at most {MAX_RUNS:,} lanes", lane.name.span)
            recovery.lost.add("race")
            break
        declared.lanes.append(lane)
    if not item.items and not recovery.has_gaps(item.span):
        findings.error("NN205", "a race needs lanes", item.head, help="for example, `Adam(lr=0.001)`")


def _lane(item: tree.Item, findings: Findings, recovery: Recovery) -> DeclaredLane | None:
    match item:
        case (
            tree.Element(label=label, value=tree.Reference(path=path) as value)
            | tree.Element(label=label, value=tree.Call(callee=path) as value)
        ):
            return DeclaredLane(label or tree.Name(path.text, path.span), (value,))
        case tree.Section(label=None, keyword=keyword, name=None, title=None, items=items) if keyword.text:
            inside = tuple(i.value for i in items if isinstance(i, tree.Element) and _is_part(i))
            rest = tuple(i for i in items if not (isinstance(i, tree.Element) and _is_part(i)))
            settings = _assignments(rest, (), f"lane `{keyword.text}`", findings, recovery)
            return DeclaredLane(keyword, inside, tuple(settings))
        case tree.Section(keyword=keyword) if not keyword.text:
            return None
        case tree.Setting(path=path):
            help = "put settings that all lanes share outside the race"
            findings.error("NN203", f"`{path.text}` cannot be set between the lanes", item.span, help=help)
        case _:
            findings.error("NN203", "a lane is a part such as `Adam(lr=0.001)`, or `name { … }`", _head(item))
    return None


def _short(value: tree.Expression) -> str:
    """Return the source text of a value if it is short, for use in help."""
    text = value.span.text
    return text if len(text) <= _SHORT and text.isprintable() else "…"


def _is_part(item: tree.Item, labelled: bool = False) -> bool:
    if not isinstance(item, tree.Element) or (item.label is not None) != labelled:
        return False
    return isinstance(item.value, (tree.Reference, tree.Call))


def _head(item: tree.Item) -> Span:
    return item.head if isinstance(item, (tree.Section, tree.Block)) else item.span


_ITEMS: dict[type, Callable[..., None]] = {
    tree.Setting: _setting,
    tree.Let: _let,
    tree.Block: _block,
    tree.Import: _import,
    tree.Element: _element,
    tree.Section: _section,
}

_SECTIONS: dict[str, Callable[[tree.Section, Declarations, Findings, Recovery], None]] = {
    "train": _train,
    "race": _race,
    "expect": _expect,
    "sweep": _sweep,
    "tune": _tune,
}

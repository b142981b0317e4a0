"""Parts: classes whose annotated attributes are their arguments, in Python and in a `.nn` file alike.

A part is a layer, a loss, an optimizer, a schedule, an initialiser, a metric, a stopping rule or a data source. It
declares each argument once, as a dataclass does:

    class LeakyReLU(Activation):
        negative_slope: Annotated[float, Range(low=0, high=1, open_high=True), Also("alpha")] = 0.01

The annotation holds everything there is to know about the argument: type, range, default, whether the checker may infer
it, and its names in other frameworks. The constructor, the checker's messages, the documentation and the constructor's
own check are derived from it: a value that is invalid in a spec raises `ValueError` in Python too, by the same rule.
Type checkers see the constructor by PEP 681 (`typing.dataclass_transform`). As in a dataclass, `_: KW_ONLY` starts the
keyword-only arguments, an `InitVar` is passed to `__post_init__` and not stored, and a `ClassVar` or a name that starts
with an underscore is not an argument. No code is generated: constructors are bound when they are first called, so that
a part costs no time at import.

A class may define its own `__init__` instead; its signature is then the part's.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

from nnspec.engine.arguments import (
    NOT_IN_SPECS,
    Also,
    Argument,
    ArgumentDescriptor,
    ArgumentFault,
    BareWord,
    Count,
    FigureName,
    FilePath,
    Inferred,
    LayerName,
    Nameable,
    Positive,
    Probability,
    Range,
    Rate,
    Signature,
    TensorName,
    ValueName,
    argument_of,
    resolved,
)

__all__ = [
    "PARTS",
    "Also",
    "Argument",
    "ArgumentDescriptor",
    "ArgumentFault",
    "BareWord",
    "Count",
    "FigureName",
    "FilePath",
    "Inferred",
    "LayerName",
    "Part",
    "PlainPart",
    "Positive",
    "Probability",
    "Range",
    "Rate",
    "Signature",
    "TensorName",
    "ValueName",
    "argument",
    "comparable",
    "kept",
]

PARTS: dict[str, dict[str, type[Part]]] = {}
"""Every part that can be used in a spec: kind, then its name in a spec, then the class."""


def argument(*, default: Any = inspect.Parameter.empty, alias: str) -> Any:
    """Declare an argument with a different name than its attribute: `use_bias: bool = argument(alias="bias")`."""
    return _Aliased(alias, default)


def kept(*, init: Literal[False] = False) -> Any:
    """Declare an attribute that is not an argument, and initially None: `_x: NDArray[Any] | None = kept()`."""
    return _KEPT


_KEPT = object()


@dataclass(frozen=True)
class _Aliased:
    alias: str
    default: Any


class _PythonSignature:
    """The signature of a class as shown by `inspect.signature` and `help`, computed on access."""

    def __get__(self, part: Part | None, cls: type[Part]) -> inspect.Signature:
        if part is not None:
            raise AttributeError("__signature__")
        return cls.python_signature()


K = TypeVar("K", bound="Part")


@dataclass_transform(eq_default=False, field_specifiers=(argument, kept))
class Part(Nameable):
    """Base of everything that a spec can name. A subclass that sets `spec_name` is registered in `PARTS`."""

    __signature__: ClassVar[Any] = _PythonSignature()
    converts_arguments: ClassVar[bool] = False
    """Whether arguments are converted to Python's own types, for kernels in which a NumPy scalar would change the
    dtype, and for sources that take paths."""
    always_shown: ClassVar[frozenset[str]] = frozenset()
    """The arguments that its repr shows even if they have their defaults."""
    must_define: ClassVar[tuple[str, ...]] = ()
    """The methods that a part of its kind must define."""
    examples: ClassVar[Sequence[Mapping[str, Any]]] = (MappingProxyType({}),)
    """Arguments to try it with: `nnspec conform` checks it with each of these."""
    expected_failures: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """The checks of `nnspec conform` that it cannot pass, with the reasons."""
    _declarative: ClassVar[bool] = True
    """Whether the constructor is derived from the annotated attributes."""
    _kept_names: ClassVar[tuple[str, ...]] = ()
    """The attributes of this class that are declared by `kept`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._kept_names = tuple(name for name, value in vars(cls).items() if value is _KEPT)
        for name in cls._kept_names:
            setattr(cls, name, None)
        if "__init__" in vars(cls):
            cls._declarative = False
        elif cls._declarative:
            cls.__init__ = _constructor(cls)  # type: ignore[method-assign]
        if "spec_name" not in vars(cls):
            return
        if not cls.kind:
            raise TypeError(f"part {cls.spec_name!r} has no kind")
        others = PARTS.setdefault(cls.kind, {})
        other = others.get(cls.spec_name, cls)
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"two parts of kind {cls.kind} are called {cls.spec_name!r}")
        _hold_declaration(cls)
        others[cls.spec_name] = cls
        if not cls._declarative:
            cls.__init__ = _checking(cls, inspect.unwrap(cls.__init__))  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        """Finish the construction, after all arguments are set as attributes; InitVar arguments are passed by name."""

    @classmethod
    @functools.cache
    def declares(cls, name: str) -> bool:
        """Whether a class's declaration `name` about its kernels applies to this class: it does not if a class from
        outside nnspec inherits it but defines its own `forward` or `backward`.
        """
        for base in cls.__mro__:
            if name in vars(base):
                return True
            if not base.__module__.startswith("nnspec.") and {"forward", "backward"} & vars(base).keys():
                return False
        return False

    @classmethod
    @functools.cache
    def signature(cls) -> Signature:
        """Return the signature as seen by a spec."""
        if not cls._declarative:
            return Signature.of(cls.__init__)
        return Signature(
            tuple(
                argument_of(d.parameter, resolved(d.parameter.annotation, _namespace(d.home)))
                for d in cls.declarations()
                if d.parameter.name not in NOT_IN_SPECS
            )
        )

    @classmethod
    @functools.cache
    def checked_arguments(cls) -> Mapping[str, Argument]:
        """Return the arguments that the constructor checks, by name: those of the nearest class that a spec can name.

        A subclass without a name of its own may declare further ones, of any type.
        """
        named = next((base for base in cls.__mro__ if vars(base).get("spec_name")), None)
        if named is None or not issubclass(named, Part):
            return {}
        own = {d.parameter.name for d in cls.declarations() if not issubclass(named, d.home)}
        return {argument.name: argument for argument in named.signature() if argument.name not in own}

    @classmethod
    @functools.cache
    def python_signature(cls) -> inspect.Signature:
        """Return the signature of the constructor as seen by Python, without `self`."""
        if not cls._declarative:
            signature = inspect.signature(cls.__init__)
            return signature.replace(parameters=[*signature.parameters.values()][1:])
        try:
            return inspect.Signature([d.parameter for d in cls.declarations()], return_annotation=None)
        except ValueError as error:  # an argument without a default after one with a default
            raise TypeError(f"{cls.__qualname__}: {error}") from None

    @classmethod
    @functools.cache
    def declarations(cls) -> tuple[_Declaration, ...]:
        """Return the arguments that this class and its bases declare as attributes, in the constructor's order."""
        return _declarations(cls)

    def arguments(self) -> dict[str, Any]:
        """Return its arguments, by name."""
        declared = [d for d in self.declarations() if not d.passed and hasattr(self, d.attribute)]
        return {d.parameter.name: getattr(self, d.attribute) for d in declared}

    def __repr__(self) -> str:
        """Show the constructor's call, without arguments that have their defaults: `Linear(784, 64, bias=False)`."""
        words = []
        arguments = self.arguments()
        # A class with an `__init__` of its own may take other arguments than its bases declare.
        for name, parameter in self.python_signature().parameters.items():
            if name not in arguments:
                continue
            value = arguments[name]
            required = parameter.default is inspect.Parameter.empty
            if required or name in self.always_shown or value != parameter.default:
                words.append(repr(value) if required else f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(words)})"

    @classmethod
    def as_kind(cls, kind: type[K]) -> type[K]:
        """Return the class as a class of a kind of part. Raises TypeError if it is of another kind."""
        if not issubclass(cls, kind):
            raise TypeError(f"{cls.__qualname__} is no {kind.__name__}")
        return cls

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Whether the constructor has an argument called `name`, in Python."""
        return name in cls.python_signature().parameters


@dataclass(frozen=True)
class _Declaration:
    """An argument that a class declares as an annotated attribute."""

    attribute: str
    parameter: inspect.Parameter
    passed: bool
    """Whether it is passed to `__post_init__` instead of being stored."""
    home: type[Part]
    """The last class that declares it."""


def _declarations(cls: type[Part]) -> tuple[_Declaration, ...]:
    """Collect the arguments that a class and its bases declare, in the order of the constructor. Annotations of a base
    that is not a part, such as a mixin, are not arguments, as for `dataclass_transform`.

    Positional arguments keep the position of their first declaration. Keyword-only ones are ordered by the classes that
    declare them last; those of bases without a spec name come at the end.
    """
    found: dict[str, _Declaration] = {}
    no_arguments: set[str] = set()
    lines = cls.__mro__[::-1]
    for home in lines:
        keyword_only = False
        for attribute, annotation in inspect.get_annotations(home).items():
            text = annotation if isinstance(annotation, str) else repr(annotation)
            form = text.partition("[")[0].rpartition(".")[2].rstrip("'>")
            keyword_only |= form == "KW_ONLY"
            if form == "ClassVar" or attribute in vars(home).get("_kept_names", ()):
                no_arguments.add(attribute)
            if attribute.startswith("_") or attribute in no_arguments or not issubclass(home, Part):
                continue
            if form == "InitVar":
                annotation = text[text.index("[") + 1 : -1] if isinstance(annotation, str) else annotation.type
            name, default = _name_and_default(attribute, vars(home).get(attribute, inspect.Parameter.empty))
            kind = inspect.Parameter.KEYWORD_ONLY if keyword_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
            before = found.get(attribute)
            if before is not None and inspect.Parameter.KEYWORD_ONLY in (kind, before.parameter.kind):
                del found[attribute]
            parameter = inspect.Parameter(name, kind, default=default, annotation=annotation)
            found[attribute] = _Declaration(attribute, parameter, form == "InitVar", home)

    def place(declaration: _Declaration) -> tuple[bool, bool, int]:
        if declaration.parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            return False, False, 0
        return True, "spec_name" not in vars(declaration.home), lines.index(declaration.home)

    return tuple(sorted(found.values(), key=place))


def _namespace(home: type) -> Mapping[str, Any]:
    """Return the names that annotations of a class may use: those of its module, which need not be in `sys.modules`."""
    if module := sys.modules.get(home.__module__):
        return vars(module)
    return next((value.__globals__ for value in vars(home).values() if inspect.isfunction(value)), {})


def _name_and_default(attribute: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, _Aliased):
        return value.alias, value.default
    return attribute, value.default if isinstance(value, ArgumentDescriptor) else value


def _constructor(cls: type[Part]) -> Callable[..., None]:
    """Make the constructor of a class that declares its arguments."""

    def __init__(self: Part, /, *args: Any, **kwargs: Any) -> None:
        given = _given(cls, args, kwargs)
        given.apply_defaults()
        passed = {}
        for declaration in cls.declarations():
            value = given.arguments[declaration.parameter.name]
            if cls.converts_arguments and (known := cls.checked_arguments().get(declaration.parameter.name)):
                value = known.converted(value)
            if declaration.passed:
                passed[declaration.attribute] = value
            else:
                object.__setattr__(self, declaration.attribute, value)
        self.__post_init__(**passed)

    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    __init__.__module__ = cls.__module__
    return __init__


def _checking(cls: type[Part], init: Callable[..., None]) -> Callable[..., None]:
    """Make a class's own constructor check its arguments first."""

    @functools.wraps(init)
    def checked(self: Part, /, *args: Any, **kwargs: Any) -> None:
        _given(cls, args, kwargs)
        init(self, *args, **kwargs)

    return checked


def _given(cls: type[Part], args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
    """Bind the arguments of a constructor, and check those that a spec can set."""
    try:
        given = cls.python_signature().bind(*args, **kwargs)
    except TypeError as error:
        takes = f"; it takes ({cls.signature()})" if cls.signature().arguments else ""
        raise TypeError(f"{cls.__name__}: {error}{takes}") from None
    for name, value in given.arguments.items():
        argument = cls.checked_arguments().get(name)
        # None is also the `default` of an argument that has none.
        problem = argument.problem(value) if argument and (value is None or value is not argument.default) else None
        if problem:
            raise ValueError(f"{cls.__name__}: {problem}")
    return given


def _hold_declaration(cls: type[Part]) -> None:
    """Check that the arguments of a part are properly declared. Raises TypeError, naming the argument.

    nnspec's own parts are checked by the tests instead: doing it here would cost time at every start.
    """
    if cls.__module__.startswith("nnspec."):
        return
    inherited = next((kind for base in cls.__mro__[1:] if (kind := vars(base).get("kind"))), cls.kind)
    if cls.kind != inherited:
        raise TypeError(
            f"part {cls.spec_name!r}: `kind` is {inherited!r}, as in its base class; an argument of that name needs an "
            'attribute of another: `kind_: … = argument(alias="kind")`'
        )
    if not cls.spec_name.isidentifier():
        raise TypeError(f"part {cls.spec_name!r}: `spec_name` must be a name as specs write it: letters, digits and _")
    taken_by = {d.parameter.name: _replaced(d) for d in cls.declarations()} if cls._declarative else {}
    for parameter in cls.python_signature().parameters.values():
        if parameter.name in NOT_IN_SPECS:
            continue
        place = cls.__qualname__ if cls._declarative else f"{cls.__qualname__}.__init__"
        what = f"part {cls.spec_name!r}: argument {parameter.name!r} of {place}"
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise TypeError(f"{what} takes any number of values; a spec gives each argument by its name, so list them")
        if parameter.annotation is inspect.Parameter.empty:
            raise TypeError(f"{what} has no annotation; it says what a spec may give, as in `{parameter.name}: float`")
        if taken := taken_by.get(parameter.name):
            raise TypeError(
                f"{what} would replace `{taken}`; give the attribute another name: "
                f'`{parameter.name}_: … = argument(alias="{parameter.name}")`'
            )
        if isinstance(parameter.default, (list, dict, set)):
            kind = type(parameter.default).__name__
            raise TypeError(f"{what} has a {kind} as its default, which all instances would share; use a tuple or None")
    try:
        cls.signature()  # resolves the types now, and not when a spec is checked
    except (NameError, TypeError) as error:
        place = cls.__qualname__ if cls._declarative else f"{cls.__qualname__}.__init__"
        raise TypeError(f"part {cls.spec_name!r}, {place}: {error}") from error
    missing = [name for name in cls.must_define if "kind" in vars(next(b for b in cls.__mro__ if name in vars(b)))]
    if missing:
        raise TypeError(
            f"part {cls.spec_name!r}: {cls.__qualname__} must define {', '.join(f'`{n}`' for n in missing)}"
        )


def _replaced(declaration: _Declaration) -> str:
    """Return the name of the method that an argument would replace; empty if there is none."""
    name, home = declaration.attribute, declaration.home
    if isinstance(vars(home).get(name), property):
        return f"{home.__name__}.{name}"
    return next((f"{base.__name__}.{name}" for base in home.__mro__ if inspect.isroutine(vars(base).get(name))), "")


class PlainPart(Part):
    """Base of parts that consist only of their arguments: frozen, equal if these are, and shown as written in a spec.

    Raises AttributeError if one is changed afterwards, since parts are shared.
    """

    def _convert(self, **values: object) -> None:
        """Replace arguments, within `__post_init__`."""
        vars(self).update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self!r} cannot be changed: make another {self.spec_name}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), tuple(vars(self).items())))

    def in_spec(self) -> str:
        """Return it as written in a spec, without the arguments that have their defaults."""
        words: list[str] = []
        in_turn = True  # whether no argument before was left out
        for argument in self.signature():
            value = getattr(self, argument.name)
            if not argument.required and value == argument.default:
                in_turn = False
                continue
            text = argument.written(value)
            words.append(f"{argument.name}={text}" if argument.keyword_only or not in_turn else text)
        return f"{self.spec_name}({', '.join(words)})" if words else self.spec_name

    def __repr__(self) -> str:
        return self.in_spec()


def comparable(value: object) -> Hashable:
    """Return a key that is equal for equivalent values: each lane creates its own parts, and a part is identified by
    its class and its attributes.
    """
    if isinstance(value, Part):
        return type(value), tuple((name, comparable(each)) for name, each in vars(value).items())
    if isinstance(value, Mapping):
        return tuple((name, comparable(each)) for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(comparable, value))
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)

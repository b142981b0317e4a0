"""Parts that are declared wrongly are refused when their class is made; a text is not a path."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
from pathlib import Path
from typing import Any, ClassVar  # noqa: F401

import numpy as np
import pytest
from tiny_spec import spec

import nnspec
from nnspec import data
from nnspec import engine as nn
from nnspec.api import check_text
from nnspec.diagnostics import Source
from nnspec.engine import PARTS
from nnspec.engine.layers.activations import Activation
from nnspec.engine.layers.contract import Layer
from nnspec.engine.part import FilePath, Part, Signature, kept


def declare(name: str, init: Any, base: type = nn.ReLU) -> None:
    """Make a class with this constructor, as a module of somebody's own would."""
    try:
        type(name, (base,), {"spec_name": name, "__init__": init, "__module__": "mine"})
    finally:
        PARTS["layer"].pop(name, None)


def unannotated(self, beta=1.0) -> None: ...  # type: ignore[no-untyped-def]
def any_number(self: Any, *slopes: float) -> None: ...
def mutable(self: Any, slopes: tuple[float, ...] = []) -> None: ...  # type: ignore[assignment]
def unwritable(self: Any, slopes: dict[str, float] | None = None) -> None: ...
def unknown(self: Any, beta: Slope = 1.0) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def right(self: Any, beta: float = 1.0, *, kind: str | None = None, dtype: Any = "float32") -> None: ...


@pytest.mark.parametrize(
    ("init", "said"),
    [
        (unannotated, r"part 'Mine': argument 'beta' .* has no annotation; .* `beta: float`"),
        (any_number, r"part 'Mine': argument 'slopes' .* takes any number of values"),
        (mutable, r"part 'Mine': argument 'slopes' .* has a list as its default"),
        (unwritable, r"part 'Mine', .*: argument 'slopes' is annotated with .*dict.*, which a spec cannot write"),
        (unknown, r"part 'Mine', .*: name 'Slope' is not defined"),
    ],
)
def test_a_wrong_declaration_is_refused_with_the_name_of_the_argument(init: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        declare("Mine", init)


@pytest.mark.parametrize(
    ("base", "missing"),
    [
        (Layer, "`geometry`, `forward`, `backward`"),
        (Activation, "`forward`, `backward`"),
        (nn.Loss, "`fit`, `forward`, `backward`"),
        (nn.Optimizer, "`update`"),
        (nn.Schedule, "`after`"),
        (nn.Initializer, "`draw`"),
        (nn.Metric, "`begin`, `add`, `result`"),
        (nn.Augmentation, "`work`, `apply`"),
        (data.DataSource, "`facts`"),
    ],
)
def test_a_part_without_its_methods_is_refused(base: type[Part], missing: str) -> None:
    with pytest.raises(TypeError, match=rf"^part 'Mine': Mine must define {missing}$"):
        type("Mine", (base,), {"spec_name": "Mine", "__module__": "mine"})
    assert "Mine" not in PARTS[base.kind]


@pytest.mark.parametrize("name", ["my-layer", "2x", "a b", ""])
def test_a_name_that_no_spec_can_write_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="`spec_name` must be a name as specs write it"):
        type("Mine", (nn.ReLU,), {"spec_name": name, "__module__": "mine"})


def test_a_right_declaration_is_taken() -> None:
    declare("Mine", right)


def test_a_rejected_part_is_not_registered() -> None:
    with pytest.raises(TypeError):
        type("Refused", (Activation,), {"spec_name": "Refused", "__init__": unannotated, "__module__": "mine"})
    assert "Refused" not in PARTS["layer"]


def test_the_name_of_another_part_is_refused() -> None:
    with pytest.raises(TypeError, match="two parts of kind layer are called 'ReLU'"):
        type("Mine", (Activation,), {"spec_name": "ReLU", "__init__": right, "__module__": "mine"})


def test_our_own_parts_have_signatures_that_a_spec_can_write() -> None:
    for parts in PARTS.values():
        for part in parts.values():
            assert isinstance(part.signature(), Signature)


@pytest.mark.parametrize("text", [spec(), spec() * 100, "model { Linear(3) }", "data = Digits\n"])
@pytest.mark.parametrize("ask", [nnspec.check, nnspec.run, nnspec.gradcheck])
def test_the_text_of_a_spec_in_the_place_of_its_path_is_named(ask: Any, text: str) -> None:
    with pytest.raises(nnspec.SourceError, match="expected the path of a spec, got the text of a spec") as found:
        ask(text)
    assert "nnspec.Spec.parse(text)" in str(found.value)
    assert len(str(found.value)) < 300


def test_the_help_about_texts_can_be_followed() -> None:
    assert check_text(Source("spec.nn", spec())).ok


def test_a_file_with_a_brace_in_its_name_is_read(tmp_path: Path) -> None:
    (tmp_path / "a{1}.nn").write_text(spec())
    assert nnspec.check(tmp_path / "a{1}.nn").ok


def test_tests_do_not_depend_on_the_terminal_or_user_settings() -> None:
    unset = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM", "PYTHONUTF8", "LC_ALL", "NNSPEC_DATA_DIR"}
    assert not unset & set(os.environ)


def attributes(name: str, base: type = nn.ReLU, **declared: Any) -> type[Part]:
    """Make a class with annotated attributes, given as type and default, as a module of somebody's own would."""
    types = {attribute: kind for attribute, (kind, *_) in declared.items()}
    defaults = {attribute: rest[0] for attribute, (_, *rest) in declared.items() if rest}
    body = {"spec_name": name, "__annotations__": types, "__module__": __name__, **defaults}
    try:
        return type(name, (base,), body)
    finally:
        PARTS["layer"].pop(name, None)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"slopes": ("tuple[float, ...]", [])}, r"argument 'slopes' of Mine has a list as its default"),
        ({"slopes": ("dict[str, float]",)}, r"'slopes' is annotated with .*dict.*, which a spec cannot write"),
        ({"beta": ("Slope", 1.0)}, r"part 'Mine', Mine: name 'Slope' is not defined"),
        ({"alpha": ("float", 1.0), "beta": ("float",)}, r"Mine: non-default argument follows default argument"),
        ({"forward": ("float", 1.0)}, r"argument 'forward' of Mine would replace `ReLU.forward`; .*alias=\"forward\""),
        (
            {"signature": ("float",)},
            r"argument 'signature' of Mine would replace `Part.signature`; .*alias=\"signature\"",
        ),
        ({"kind": ("str", "soft")}, r"part 'Mine': `kind` is 'layer', as in its base class; .*alias=\"kind\""),
    ],
)
def test_a_wrong_attribute_is_refused_with_the_name_of_the_argument(declared: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        attributes("Mine", **declared)


def test_an_attribute_that_is_not_an_argument_stays_an_attribute() -> None:
    mine = attributes(
        "Mine",
        beta=("float", 1.0),
        _seen=("int", 0),
        flops_each=("int", 7),
        memory=("Any", kept()),
        far=("ClassVar[int]", 3),
    )
    assert [argument.name for argument in mine.signature()] == ["beta"]
    assert mine(2).arguments() == {"beta": 2.0}
    assert (mine.flops_each, mine.memory, mine.far) == (7, None, 3)  # type: ignore[attr-defined]


def test_arguments_are_in_the_order_in_which_they_are_declared_and_those_of_bases_last() -> None:
    names = [*inspect.signature(nn.NAdam).parameters]
    assert names == ["params", "lr", "betas", "eps", "momentum_decay", "weight_decay", "decay_all"]
    kinds = [parameter.kind.name for parameter in inspect.signature(nn.Momentum).parameters.values()]
    assert kinds == ["POSITIONAL_OR_KEYWORD"] * 3 + ["KEYWORD_ONLY"] * 2
    assert [*inspect.signature(nn.Linear).parameters][-5:] == ["bias", "init", "bias_init", "dtype", "rng"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.LeakyReLU(0.1, 2), r"LeakyReLU: too many positional arguments; it takes \(negative_slope=0.01\)"),
        (lambda: nn.Linear(3), r"Linear: missing a required argument: 'out_features'"),
        (lambda: nn.Linear(3, 2, use_bias=False), r"Linear: got an unexpected keyword argument 'use_bias'"),
        (lambda: nn.HeNormal(2), r"HeNormal: too many positional arguments"),
    ],
)
def test_wrong_arguments_are_named_with_what_a_part_takes(make: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        make()


def test_parts_are_copied_and_pickled() -> None:
    layer = nn.Conv2D(2, 3, 2, bias=False)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.arguments() == layer.arguments()
        assert other.bias is None
        np.testing.assert_array_equal(other.weight.data, layer.weight.data)
    schedule = nn.CosineSchedule(1e-3, warmup=2)
    assert pickle.loads(pickle.dumps(schedule)) == schedule


def test_numbers_of_a_layer_are_pythons_own() -> None:
    layer = nn.Dropout(np.float64(0.5))
    assert type(layer.p) is float
    assert type(nn.LSTM(np.int64(2), np.int64(3)).hidden_size) is int
    assert type(nn.TopK(np.int64(3)).k) is int


def test_data_sources_keep_paths_lists_and_numbers_in_their_own_types(tmp_path: Path) -> None:
    table = data.CSV(tmp_path / "a.csv", ["y"], test=tmp_path / "b.csv", drop=["z"])
    assert [type(path) for path in (table.path, table.test)] == [FilePath, FilePath]
    assert (table.targets, table.drop, data.CSV("a.csv", "y").targets) == (("y",), ("z",), ("y",))
    size = data.Images("cats", size=[np.int64(8), 9]).size
    assert (size, [type(side) for side in size or ()]) == ((8, 9), [int, int])
    assert type(data.MNIST(np.int64(5)).train) is int


def test_every_data_source_declares_its_arguments() -> None:
    own = {name: source for name, source in PARTS["data source"].items() if source.__module__.startswith("nnspec.")}
    assert len(own) == 19
    assert [name for name, source in own.items() if not source._declarative] == []


class _Width(nn.Linear):
    """A subclass with its own constructor, which takes other arguments than its base."""

    seen: int

    def __init__(self, width: int = 3) -> None:
        super().__init__(2, width)
        self.width, self.seen = width, 0


class _Gain(nn.LeakyReLU):
    """A subclass without a name for specs, which takes one more argument, of a type that no spec can write."""

    gains: dict[str, float] | None = None


class _Noted:
    """A mixin: its annotations are not arguments."""

    notes: dict[str, str]


def test_a_custom_constructor_may_have_other_arguments_than_its_base() -> None:
    layer = _Width(5)
    assert repr(layer) == "_Width()"
    assert layer.forward(np.ones((1, 2))).shape == (1, 5)


def test_arguments_of_a_subclass_without_a_name_are_checked_as_those_of_its_base() -> None:
    assert repr(_Gain(0.5, gains={"a": 1.0})) == "_Gain(negative_slope=0.5, gains={'a': 1.0})"
    with pytest.raises(ValueError, match=r"_Gain: `negative_slope` must be in \[0, 1\), got 5"):
        _Gain(5)
    with pytest.raises(ValueError, match="Linear: `out_features` must be an integer of at least 1"):
        _Width(2.5)  # type: ignore[arg-type]


def test_annotations_of_a_mixin_are_not_arguments() -> None:
    mine = type("Mine", (_Noted, nn.LeakyReLU), {"__module__": __name__})
    assert [*inspect.signature(mine).parameters] == ["negative_slope"]


@pytest.mark.parametrize("first", ["", "from __future__ import annotations"])
def test_a_part_may_come_from_a_module_that_is_not_registered(first: str) -> None:
    """Such as one that a loader of plug-ins runs by itself."""
    names: dict[str, Any] = {"__name__": "unregistered", "ReLU": nn.ReLU}
    text = "Slope = float\nclass Mine(ReLU):\n    slope: Slope = 1.0\n    spec_name = 'Mine'\n    def f(self): ..."
    try:
        exec(f"{first}\n{text}", names)
    finally:
        PARTS["layer"].pop("Mine", None)
    assert repr(names["Mine"](2)) == "Mine(slope=2.0)"

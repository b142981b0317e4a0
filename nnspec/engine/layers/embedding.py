"""Embeddings of ids, and of the positions of a sequence.

An id is an integer stored like any other input: in the dtype of the network, which is exact below 2²⁴ in float32 and
beyond any vocabulary in float64. `Embedding` converts it back to an integer, which takes a pass over B·T numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.initializers import Initializer, Normal
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, check_given, saved, sequence
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Count, Inferred, kept
from nnspec.engine.random import default_generator
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["ClassToken", "Embedding", "OneHot", "PositionalEmbedding", "SinusoidalPositions"]

EXACT = 2**24
"""The smallest vocabulary whose ids are not all distinct in float32."""
ONE_HOT_UP_TO = 256
"""The largest vocabulary whose gradient is computed as a product with one-hot rows: four times as fast as `np.add.at`
at 65 ids, equally fast at about 350.
"""
UNIT_NORMAL, SMALL_NORMAL = Normal(std=1.0), Normal(std=0.02)

Init = Annotated[Initializer, Also("embeddings_initializer", "weight_init")]

_AS_IDS = '`NPZ(…, ids=1000)` or `CSV(…, embed=["user"])`'  # how data says that samples are ids


class Embedding(Layer):
    """y[t] = W[x[t]]: `(B, *s) -> (B, *s, D)`, x integers from 0 to V − 1, W `(V, D)`.

    dL/dW[i] = Σ g[t] over all positions t with x[t] = i; ids have no gradient, so dL/dx is 0. The vocabulary size V is
    inferred from the data; if set, it must be at least as large. Rows start N(0, 1), as in PyTorch; Keras draws from
    U(−0.05, 0.05), GPT-2 from N(0, 0.02²). It must be the first layer of a model, or of a branch there. Raises
    ValueError for an id that is not below V. Bengio et al. 2003.
    """

    spec_name = "Embedding"
    also = ("embedding", "Embed", "TokenEmbedding", "Lookup")
    looks_up = "num_embeddings"
    tables = ("weight",)
    pytorch_starts = MappingProxyType({"weight": UNIT_NORMAL})
    with_padding = "keeps"
    samples_independent = True

    num_embeddings: Inferred[Annotated[Count, Also("vocabulary", "vocab_size", "input_dim", "num_tokens")]]
    embedding_dim: Annotated[
        Count, Also("width", "output_dim", "dim", "features", "out_features", "d_model", "n_embd", "embed_dim")
    ]
    _: KW_ONLY
    init: Init = UNIT_NORMAL
    dtype: InitVar[str] = "float64"
    rng: InitVar[Generator | None] = None
    _ids: NDArray[Any] | None = kept()

    def __post_init__(self, dtype: str, rng: Generator | None) -> None:
        shape = (self.num_embeddings, self.embedding_dim)
        # Only one id is active at a time, so the fan-in is 1.
        init = self.init.of(self.pytorch_starts, "weight")
        start = init.draw(shape, 1, self.embedding_dim, rng or default_generator())
        self.weight = Parameter(start, dtype, looked_up=True)
        self._ramp = np.arange(self.num_embeddings, dtype=dtype)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`s -> (*s, D)`; a lookup needs no arithmetic."""
        vocabulary, width = arguments.get("num_embeddings"), arguments["embedding_dim"]
        if vocabulary is None:
            raise ShapeError(
                "Embedding expects ids but got numbers",
                help=f"use `Linear({width})`; if the samples are ids, the data says so: {_AS_IDS}",
            )
        if vocabulary > EXACT:
            raise ShapeError(f"at most {EXACT:,} ids are supported", argument="num_embeddings", label="too many")
        work = {"ids": Work(incoming, "index", saved=True)}
        if vocabulary <= ONE_HOT_UP_TO:
            work |= {"one_hot": Work((vocabulary * prod(incoming),)), "numbers": Work(incoming)}
        return Geometry(
            out=(*incoming, width),
            flops=0,
            parameters={"weight": (vocabulary, width)},
            inferred={"num_embeddings": vocabulary},
            work=work,
        )

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Row x[t] of W for every position t."""
        ids = self.work_array("ids", x.shape, np.intp)
        with np.errstate(invalid="ignore"):  # NaN becomes an id far below 0
            np.rint(x, out=ids, casting="unsafe")
        if not self.trusts_ids and ids.size and not 0 <= ids.min() <= ids.max() < len(self.weight.data):
            self._ids = None
            raise ValueError(
                f"Embedding takes ids from 0 to {len(self.weight.data) - 1}, not {ids.min()} to {ids.max()}"
            )
        self._ids = ids
        # mode="clip" because the default buffers `out`; the ids are all in range.
        return self.weight.data.take(ids, axis=0, out=out, mode="clip")

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Sum the gradients of each id; ids themselves have no gradient: dL/dx = 0."""
        places = saved(self._ids, self)
        ids, rows = places.reshape(-1), grad.reshape(-1, grad.shape[-1])
        vocabulary = len(self._ramp)
        if vocabulary <= ONE_HOT_UP_TO:
            room = self.work_array("one_hot", (len(grad), vocabulary * prod(grad.shape[1:-1])), grad.dtype)
            one_hot = room.reshape(vocabulary, len(ids))
            # Compared in the network's dtype: twice as fast as integers, which would be cast first.
            numbers = self.work_array("numbers", places.shape, grad.dtype)
            np.copyto(numbers, places, casting="unsafe")
            np.equal(self._ramp[:, None], numbers.reshape(-1), out=one_hot)
            np.matmul(one_hot, rows, out=self.weight.grad)
        else:
            self.weight.grad.fill(0)
            np.add.at(self.weight.grad, ids, rows)
        if not input_grad:
            return None
        nothing = np.empty(places.shape, grad.dtype) if out is None else out
        nothing.fill(0)
        return nothing


class OneHot(Layer):
    """y[t, i] = 1 if i = x[t], else 0: `(B, *s) -> (B, *s, V)`, x integers from 0 to V − 1.

    Ids have no gradient, so dL/dx is 0. The number of ids V is inferred from the data; if set, it must be at least as
    large. A `Linear` after it is an `Embedding`, and a recurrent layer after it reads characters as numbers. It must be
    the first layer of a model, or of a branch there. Raises ValueError for an id that is not below V. PyTorch's
    `F.one_hot`.
    """

    spec_name = "OneHot"
    also = ("one_hot", "onehot", "CategoryEncoding", "one_hot_encoding")
    looks_up = "num_classes"
    with_padding = "keeps"
    samples_independent = True

    num_classes: Inferred[
        Annotated[Count, Also("num_embeddings", "vocabulary", "vocab_size", "num_tokens", "depth", "classes")]
    ]
    _: KW_ONLY
    dtype: InitVar[str] = "float64"
    _shape: tuple[int, ...] | None = kept()

    def __post_init__(self, dtype: str) -> None:
        self._ramp = np.arange(self.num_classes, dtype=dtype)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`s -> (*s, V)`; one comparison per number."""
        count = arguments.get("num_classes")
        if count is None:
            raise ShapeError(
                "OneHot expects ids but got numbers",
                help=f"remove it; if the samples are ids, the data says so: {_AS_IDS}",
            )
        if count > EXACT:
            raise ShapeError(f"at most {EXACT:,} ids are supported", argument="num_classes", label="too many")
        return Geometry(
            out=(*incoming, count),
            flops=count * prod(incoming),
            inferred={"num_classes": count},
            work={"ids": Work(incoming)},
        )

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Row x[t] of the identity for every position t."""
        ids = np.rint(x, out=self.work_array("ids", x.shape, x.dtype))
        if not self.trusts_ids and ids.size and not 0 <= ids.min() <= ids.max() < self.num_classes:
            raise ValueError(f"OneHot takes ids from 0 to {self.num_classes - 1}, not {ids.min():g} to {ids.max():g}")
        self._shape = x.shape
        y = np.empty((*x.shape, self.num_classes), x.dtype) if out is None else out
        return np.equal(ids[..., None], self._ramp, out=y)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Ids have no gradient: dL/dx = 0."""
        nothing = np.empty(saved(self._shape, self), grad.dtype) if out is None else out
        nothing.fill(0)
        return nothing


class ClassToken(Layer):
    """Put a learned position before those of a sequence: `(B, T, D) -> (B, T + 1, D)`.

    y[0] = c, y[t + 1] = x[t]; dL/dc = Σ g[0] over the batch. `Select(0)` reads it after the transformer. c starts
    N(0, 0.02²). Devlin et al. 2019, Dosovitskiy et al. 2021.
    """

    spec_name = "ClassToken"
    also = ("CLSToken", "ClassEmbedding", "cls_token")
    samples_independent = True
    image_as = "sequence"

    embedding_dim: Inferred[Annotated[Count, Also("width", "dim", "d_model", "features", "embed_dim")]]
    _: KW_ONLY
    init: Init = SMALL_NORMAL
    dtype: InitVar[str] = "float64"
    rng: InitVar[Generator | None] = None
    _seen = False

    def __post_init__(self, dtype: str, rng: Generator | None) -> None:
        start = self.init.draw((self.embedding_dim,), 1, self.embedding_dim, rng or default_generator())
        self.weight = Parameter(start, dtype)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`(T, D) -> (T + 1, D)`, at no cost."""
        places, width = sequence(cls, incoming)
        check_given(cls, arguments, "embedding_dim", width)
        return Geometry(
            out=(places + 1, width), flops=0, parameters={"weight": (width,)}, inferred={"embedding_dim": width}
        )

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """c, then x."""
        self._seen = True
        y = np.empty((len(x), x.shape[1] + 1, x.shape[2]), x.dtype) if out is None else out
        np.copyto(y[:, 0], self.weight.data)
        np.copyto(y[:, 1:], x)
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Σ g[0], and g without it."""
        if not self._seen:
            raise RuntimeError("ClassToken.backward needs a forward pass first")
        np.add.reduce(grad[:, 0], axis=0, out=self.weight.grad)
        return np.positive(grad[:, 1:], out=out) if input_grad else None


class _Positions(Layer):
    """Base of the positional encodings: y = x + P with P `(T, D)`, for x `(B, T, D)`."""

    in_place = True
    image_as = "sequence"
    with_padding = "keeps"
    samples_independent = True


class PositionalEmbedding(_Positions):
    """y = x + P with a learned P `(T, D)`: `(B, T, D) -> (B, T, D)`. dL/dx = g; dL/dP = Σ g over the batch.

    P starts N(0, 0.02²). Gehring et al. 2017; in PyTorch, `nn.Embedding(T, D)` of the numbers 0 … T − 1, added.
    """

    spec_name = "PositionalEmbedding"
    also = ("PositionEmbedding", "LearnedPositions", "Positions")
    tables = ("weight",)
    pytorch_starts = MappingProxyType({"weight": UNIT_NORMAL})

    length: Inferred[Annotated[Count, Also("max_len", "sequence_length", "context", "block_size", "num_embeddings")]]
    embedding_dim: Inferred[
        Annotated[Count, Also("width", "dim", "d_model", "features", "n_embd", "embed_dim", "output_dim")]
    ]
    _: KW_ONLY
    init: Init = SMALL_NORMAL
    dtype: InitVar[str] = "float64"
    rng: InitVar[Generator | None] = None
    _seen = False

    def __post_init__(self, dtype: str, rng: Generator | None) -> None:
        shape = (self.length, self.embedding_dim)
        init = self.init.of(self.pytorch_starts, "weight")
        start = init.draw(shape, 1, self.embedding_dim, rng or default_generator())
        self.weight = Parameter(start, dtype, looked_up=True)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Unchanged; one addition per number."""
        found = sequence(cls, incoming)
        for name, extent, what in zip(("length", "embedding_dim"), found, ("position", "feature"), strict=True):
            check_given(cls, arguments, name, extent, what)
        return Geometry(
            out=incoming,
            flops=prod(incoming),
            parameters={"weight": found},
            inferred={"length": found[0], "embedding_dim": found[1]},
            work={"ones": Work(())},
        )

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """x + P."""
        self._seen = True
        return np.add(x, self.weight.data, out=out)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Pass g on unchanged, and sum it over the batch."""
        if not self._seen:
            raise RuntimeError("PositionalEmbedding.backward needs a forward pass first")
        ones = self.work_array("ones", (len(grad),), grad.dtype)
        ones.fill(1)
        np.matmul(ones, grad.reshape(len(grad), -1), out=self.weight.grad.reshape(-1))
        return _passed(grad, out) if input_grad else None


class SinusoidalPositions(_Positions):
    """y = x + P with a fixed P: `(B, T, D) -> (B, T, D)`. dL/dx = g.

    P[t, 2i] = sin(t / 10000^(2i/D)), P[t, 2i + 1] = cos(t / 10000^(2i/D)). Vaswani et al. 2017, section 3.5.
    """

    spec_name = "SinusoidalPositions"
    also = ("PositionalEncoding", "SinusoidalPositionalEncoding", "SinePositionEncoding")

    _table: NDArray[Any] | None = kept()

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Unchanged; one addition per number."""
        sequence(cls, incoming)
        return Geometry(out=incoming, flops=prod(incoming))

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """x + P."""
        table = self._table
        if table is None or table.shape != x.shape[1:] or table.dtype != x.dtype:
            table = self._table = _waves(*x.shape[1:]).astype(x.dtype)
        return np.add(x, table, out=out)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Pass g on unchanged."""
        saved(self._table, self)
        return _passed(grad, out)


def _waves(length: int, width: int) -> NDArray[Any]:
    """Return P `(T, D)`: sines in the even columns, cosines in the odd ones, of decreasing frequency."""
    rates = 10000.0 ** (-np.arange(0, width, 2) / width)
    angles = np.arange(length)[:, None] * rates
    table = np.empty((length, width))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, : width // 2])
    return table


def _passed(grad: NDArray[Any], out: NDArray[Any] | None) -> NDArray[Any]:
    """Return the gradient unchanged, in `out` if that is passed."""
    if out is None:
        return grad.copy()
    if out is not grad:
        np.copyto(out, grad)
    return out

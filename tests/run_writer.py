"""Specs that train, made at random from all that the language has, small enough to be trained many ways.

`RunWriter(number, folder)` writes the spec of that number, always the same, and `data_files(folder)` the data that some
of them read. `spec_writer` is after the forms of the language; this is after what is computed: every kind of layer,
loss, optimizer and schedule, ragged batches, repeats, lanes of one kin and of several.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

__all__ = ["RunWriter", "data_files"]

T = TypeVar("T")

BENDS = (
    "ReLU", "Sigmoid", "Tanh", "LeakyReLU", "LeakyReLU(0.2)", "ELU", "SELU", "HardSigmoid", "GELU", "SiLU", "Mish",
    "GELU(approximate=tanh)", "HardSwish", "Softplus", "PReLU", "Softmax", "LogSoftmax",
)  # fmt: skip
NORMS = ("LayerNorm", "RMSNorm", "LayerNorm(elementwise_affine=false)", "LayerNorm(bias=false)")
INITS = ("xavier_normal", "he_uniform", "orthogonal", "normal(std=0.3)", "truncated_normal(std=0.2)", "lecun_uniform")


def data_files(folder: Path) -> None:
    """Write the files that specs read: images with black columns, sequences, numbers, a table, a text."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (27, 6, 7), dtype=np.uint8)
    x[:, :, 4:6] = 0
    np.savez(folder / "images.npz", x=x, y=rng.integers(0, 3, 27))
    x = rng.integers(0, 256, (25, 11), dtype=np.uint8)
    x[:, 2:7] = 0
    np.savez(folder / "rows.npz", x=x, y=np.arange(25) % 4)
    np.savez(folder / "sequences.npz", x=rng.standard_normal((25, 5, 3)), y=np.arange(25) % 2)
    x = rng.standard_normal((29, 4)) * [1, 10, 0.1, 1] + [0, 50, 0, -3]
    np.savez(folder / "numbers.npz", x=x, y=(x[:, :2] * [0.3, 0.02]).astype(np.float32))
    rows = [f"{a:.3f},{'red' if b > 0 else 'blue'},{c:.2f},{'xyz'[i % 3]}" for i, (a, b, c, _) in enumerate(x.tolist())]
    (folder / "table.csv").write_text("\n".join(["size,colour,weight,kind", *rows, ""]))
    (folder / "text.txt").write_text("the fox and the crow saw a cheese in the old tree near a well " * 2)


class RunWriter:
    """Writes one spec. A width is known as it is written, so that what has to fit does fit."""

    def __init__(self, number: int, folder: str = ".") -> None:
        self.chance = random.Random(number)
        self.folder = folder
        self.classes: int | None = 2
        self.image = False
        self.depth = 0

    def pick(self, *options: T) -> T:
        """Choose one of them."""
        return options[self.chance.randrange(len(options))]

    def maybe(self, share: float = 0.5) -> bool:
        """Whether, as often as `share` says."""
        return self.chance.random() < share

    def some(self, options: Sequence[T], most: int) -> list[T]:
        """Choose at most `most` of them, in any order."""
        return self.chance.sample(options, self.chance.randrange(min(most, len(options)) + 1))

    def text(self) -> str:
        """Return the spec."""
        world = self.pick("plane", "plane", "rows", "images", "sequences", "numbers", "line", "table", "text")
        data, head, width = getattr(self, f"_{world}")()
        loss, tail, metrics = self._loss(world)
        layers = [*head, *self._chain(width, world == "text"), *tail]
        lines = [f"seed = {self.chance.randrange(100)}", f"data = {data}", f"loss = {loss}"]
        lines += [f"metrics = [{', '.join(metrics)}]"] if self.maybe() else []
        lines += [f"dtype = {self.pick('float32', 'float64')}"] if self.maybe() else []
        return "\n".join([*lines, "model {", *(f"    {layer}" for layer in layers), "}", *self._runs(world), ""])

    # What is learned: the data, the layers that take it to rows of features, and how wide these are

    def _plane(self) -> tuple[str, list[str], int]:
        """Points in the plane, or in more dimensions."""
        size = f"train={self.chance.randrange(12, 32)}, test={self.chance.randrange(5, 17)}"
        self.classes = self.pick(2, 3)
        if self.classes == 3:
            return self.pick(f"Blobs({size}, features={self.pick(2, 5)})", f"Spirals({size})"), [], 0
        return self.pick(f"Moons({size})", f"Circles({size})", f"XOR({size})"), [], 0

    def _rows(self) -> tuple[str, list[str], int]:
        """Bytes, of which some are always zero."""
        self.classes = 4
        return f'NPZ("{self.folder}/rows.npz", test={self.pick(0.2, 0.3)})', [], 0

    def _images(self) -> tuple[str, list[str], int]:
        """Images of 6×7 bytes."""
        self.classes, self.image = 3, True
        data = f'NPZ("{self.folder}/images.npz", test=0.3)'
        if self.maybe(0.2):
            return data, ["Flatten"], 0
        head, channels = [], self.pick(2, 3)
        head.append(f"Conv2D({channels}, {self.pick(2, 3, '[1, 3]')}, padding={self.pick('same', 'valid', 1)})")
        for _ in range(self.pick(0, 1, 2, 3)):
            kinds = [
                *BENDS[:14],
                "BatchNorm",
                "Dropout(0.3)",
                f"{self.pick('Max', 'Avg')}Pool(2, stride=1)",
            ]
            kinds += [f"residual {{ Conv2D({channels}, 3, padding=same); ReLU }}"]
            kinds += [
                f"concat {{ a {{ Conv2D(2, 1) }} b {{ AvgPool(3, stride=1, padding=1); Conv2D({channels}, 1) }} }}"
            ]
            head.append(self.pick(*kinds))
            channels += 2 if head[-1].startswith("concat") else 0
        return data, [*head, self.pick("GlobalAvgPool", "Flatten", "MaxPool(2); Flatten")], 0

    def _sequences(self) -> tuple[str, list[str], int]:
        """Five places of three numbers."""
        self.classes = 2
        data = f'NPZ("{self.folder}/sequences.npz", test=0.3)'
        width = self.pick(2, 4, 6)
        cell = self.pick("LSTM", "GRU", "RNN", "RNN")
        more = self.pick("", ", bias=false") + (self.pick("", ", activation=relu") if cell == "RNN" else "")
        if self.maybe(0.25):
            return data, [f"Conv1D({width}, {self.pick(2, 3)}, padding=same)", self.pick(*BENDS), "Flatten"], 0
        head = [f"{cell}({width}{more})", *self._places(width)]
        return data, [*head, self.pick("Flatten", f"{cell}(4, return_sequences=false)")], 0

    def _numbers(self) -> tuple[str, list[str], int]:
        """Four numbers in, two out."""
        self.classes = None
        return f'NPZ("{self.folder}/numbers.npz", test=0.2)', [], 0

    def _line(self) -> tuple[str, list[str], int]:
        """A number in, a number out."""
        self.classes = None
        return f"Sine(train={self.chance.randrange(12, 30)}, test={self.chance.randrange(5, 12)})", [], 0

    def _table(self) -> tuple[str, list[str], int]:
        """A table with a column of text."""
        self.classes = 3
        return f'CSV("{self.folder}/table.csv", target="kind", test=0.3)', [], 0

    def _text(self) -> tuple[str, list[str], int]:
        """Characters, each with the one that follows."""
        context, width = self.pick(2, 3, 5), self.pick(2, 4)
        data = f'Text("{self.folder}/text.txt", context={context}, test=0.2)'
        head = [f"Embedding({width})", *self.some(["PositionalEmbedding", "SinusoidalPositions"], 1)]
        return data, [*head, *self._places(width)], width

    def _places(self, width: int) -> list[str]:
        """Layers that take places to places of one width."""
        made = []
        for _ in range(self.pick(0, 1, 1, 2)):
            attention = f"MultiHeadAttention({self.pick(1, 2)}, causal=true{self.pick('', ', bias=false')})"
            kinds = [f"residual {{ LayerNorm; {attention} }}", f"residual {{ Linear({width}); GELU; Linear({width}) }}"]
            kinds += [f"LSTM({width})", f"GRU({width})", attention, *NORMS, f"Linear({width})", self.pick(*BENDS[:14])]
            made.append(self.pick(*kinds, "Dropout(0.2)"))
        return made

    # Layers

    def _chain(self, width: int, places: bool) -> list[str]:
        """Return layers that take rows of features to rows of features; 0 for a width that is not known."""
        made: list[str] = []
        for _ in range(self.pick(0, 1, 1, 2, 3, 4)):
            kinds = [f"Linear({self._linear()})"] * 3 + [self.pick(*BENDS)] * 3
            kinds += ["Dropout(0.3)", self.pick(*NORMS), *([] if places else ["BatchNorm", "BatchNorm(affine=false)"])]
            kinds += [] if self.depth > 1 or places else [self._composition()] * 2
            made.append(self.pick(*kinds))
        return made

    def _linear(self) -> str:
        more = self.pick("", "", ", bias=false", f", init={self.pick(*INITS)}")
        return f"{self.pick(1, 2, 3, 5, 8, 13)}{more}"

    def _composition(self) -> str:
        width = self.pick(2, 3, 5)
        self.depth += 1
        inner = "; ".join([*self._chain(width, False), f"Linear({width})", *self.some(BENDS[:14], 1)])
        self.depth -= 1
        kind = self.pick("residual", "add", "concat", "shortcut")
        if kind == "shortcut":
            return f"residual {{ {inner}; shortcut {{ Linear({width}, bias=false) }} }}"
        if kind == "residual":
            return f"Linear({width}); residual {{ {inner} }}"
        other = self.pick("", "Dropout(0.2)", "Tanh", f"Linear({width})")
        return f"Linear({width}); {kind} {{ a {{ {inner} }} b {{ {other} }} }}"

    # What is minimised

    def _loss(self, world: str) -> tuple[str, list[str], list[str]]:
        """Return a loss, the layers that end the model, and metrics."""
        if self.classes is None:
            out = {"numbers": 2, "line": 1}[world]
            return self.pick("MSE", "MAE", "Huber(0.5)"), [f"Linear({out})"], self.some(["mse", "mae", "r2"], 3)
        if world == "text":
            loss = self.pick("CrossEntropy", "CrossEntropy(label_smoothing=0.1)")
            return loss, ["Linear(data.classes)"], self.some(["accuracy", "perplexity", "top_k(2)"], 2)
        metrics = self.some(["accuracy", "f1", "precision", "recall(average=micro)", "confusion", "top_k(1)"], 3)
        weights = [self.pick(0.5, 1, 2, 7) for _ in range(self.classes)]
        last = f"Linear({self.classes})"
        logits = [
            "CrossEntropy",
            "CrossEntropy",
            f"CrossEntropy(class_weights={weights})",
            "Hinge",
            "MSE",
            "BCEWithLogits",
        ]
        logits += [f"CrossEntropy(label_smoothing=0.2, class_weights={weights})", "CrossEntropy(label_smoothing=0.1)"]
        if self.maybe(0.7):
            return self.pick(*logits), [last], metrics
        return self.pick("NLL", f"NLL(class_weights={weights})", "KLDiv"), [last, "LogSoftmax"], metrics

    # How

    def _rate(self, usual: float) -> str:
        start = f"{usual * self.pick(0.5, 1, 2):g}"
        forms = [f"cosine({start}, to=1e-5)", f"linear({start}, warmup=1)", f"step({start}, every=1)"]
        forms += [f"exponential({start}, gamma=0.7)", f"polynomial({start})", f"one_cycle({start})"]
        forms += [f"piecewise({start}, boundaries=[1], values=[1e-3])", f"cosine_restarts({start}, every=1)"]
        forms += [f"plateau({start}, patience=1, of={self.pick('loss', 'test_loss')})", f"constant({start}, warmup=1)"]
        forms += [f"inverse({start}, gamma=0.1, per=step)", f"chain([constant({start}), linear({start})], at=[1])"]
        return self.pick(start, start, self.pick(*forms))

    def _optimizer(self) -> str:
        decay = self.pick("", "", ", weight_decay=0.01", ", weight_decay=0.01, decay_all=true")
        name, usual, more = self.pick(
            ("SGD", 0.1, ""), ("SGD", 0.05, ", momentum=0.9"), ("Momentum", 0.05, ""), ("Nesterov", 0.05, ""),
            ("AdaGrad", 0.05, ""), ("RMSProp", 0.01, ""), ("RMSProp", 0.01, ", momentum=0.5, centered=true"),
            ("AdaDelta", 1, ""), ("Adam", 0.01, ""), ("Adam", 0.01, ", betas=(0.8, 0.99)"), ("AMSGrad", 0.01, ""),
            ("AdamW", 0.01, ""), ("AdaMax", 0.01, ""), ("NAdam", 0.01, ""), ("RAdam", 0.01, ""), ("Lion", 0.001, ""),
            ("LAMB", 0.01, ""), ("LAMB", 0.02, ", adapt_all=true"), ("Adan", 0.01, ""), ("Muon", 0.02, ""),
            ("SOAP", 0.003, ", max_precond_dim=20, precondition_frequency=3"),
        )  # fmt: skip
        return f"{name}(lr={self._rate(usual)}{more}{decay})"

    def _train(self, world: str) -> list[str]:
        epochs = self.pick(1, 2, 2, 3)
        batch = self.pick(1, 3, 4, 5, 6, 7, 8, 9, 10, 16, 64)
        items = [f"epochs = {epochs}", f"batch = {batch}"]
        items += (
            ["shuffle = false"] if self.maybe(0.15) else ["drop_last = true"] if batch < 8 and self.maybe(0.2) else []
        )
        held_out = self.maybe(0.4)
        items += [f"validation = {self.pick(0.2, 0.3)}"] if held_out else []
        items += ["stratify = true"] if held_out and self.classes and world != "text" and self.maybe(0.3) else []
        if self.maybe(0.3):
            figure = self.pick("loss", "test_loss", *(["val_loss"] if held_out else []))
            items.append(f"early_stop = patience({self.pick(1, 2)}, of={figure}{self.pick('', ', restore_best=true')})")
        extras = ["clip_norm = 0.5", "clip_value = 0.05", "penalty = L2(1e-3)", "penalty = [L1(1e-4), L2(1e-3)]"]
        extras += [
            "constraint = max_norm(1)",
            "accumulate = 2",
            "accumulate = 3",
            "sharpness = sam(0.1)",
            "average = ema(0.9)",
            "average = swa(0.4)",
        ]
        chosen = {extra.split()[0]: extra for extra in self.some(extras, 2)}
        if "sharpness" in chosen:  # both gradients of a step are of one batch
            chosen.pop("accumulate", None)
        items += chosen.values()
        if world not in ("text",):
            rules = "true", "min_max(-1, 1)", "robust", "standard(per=all)", "[fixed(0.5, 2, columns=[0])]"
            items += [f"standardise = {self.pick(*rules[: 4 if self.image else 5])}"] if self.maybe(0.25) else []
            moves = ["shift(1)", "flip", "flip(p=0.2)", "crop(1, mode=edge)", "rotate(20)", "zoom(0.2)", "cutout(2)"]
            moves = [*(moves if self.image else []), "mixup(0.3)"]
            items += [f"augment = [{', '.join(self.some([*moves, 'noise(0.1)'], 2))}]"] if self.maybe(0.25) else []
        items += ["sample = 5"] if world == "text" else []
        items += self._by_layer(world) if self.maybe(0.4) else []
        items += [f"repeats = {self.pick(2, 2, 3)}"] if self.maybe(0.35) else []
        return items

    def _by_layer(self, world: str) -> list[str]:
        """Settings by name that fit every model: what it does not have is a warning."""
        frozen = ["bias", "[scale, shift]", "slope", *(["Embedding", "[Embedding, bias]"] if world == "text" else [])]
        items = [f"freeze = {self.pick(*frozen)}"] if self.maybe() else []
        rates = self.some(["bias = 2", "Linear = 0.5", "weight = 0.25"], 2)
        items += [f"lr_factor {{ {'; '.join(rates)} }}"] if rates else []
        items += ["weight_decay { bias = 0.1; Linear.weight = 0 }"] if self.maybe() else []
        return items

    def _runs(self, world: str) -> list[str]:
        lines = [f"train {{ {'; '.join(self._train(world))} }}"]
        if self.maybe(0.55):
            lanes = [f"{name}: {self._optimizer()}" for name in "abcd"[: self.pick(2, 2, 3)]]
            if self.maybe(0.15) and "lr_factor" not in lines[0]:
                nothing = "clip_norm = none; clip_value = none; constraint = none; sharpness = none; accumulate = 1"
                search = self.pick("", ", line_search=none", ", weight_decay=0.01")
                lanes[-1] = f"odd {{ optimizer = LBFGS(max_iter=3, history=2{search}); train {{ {nothing} }} }}"
            elif self.maybe(0.15):
                free = self.pick("SGD(lr=0.5", "SGD(r=1", "AdamW(lr=0.01, weight_decay=0.1")
                lanes[-1] = f"odd {{ optimizer = ScheduleFree{free}); train {{ average = none; constraint = none }} }}"
            elif self.maybe(0.2):
                lanes[-1] = f"odd {{ optimizer = {self._optimizer()}; {self.pick('train.batch = 4', 'seed = 7')} }}"
            return [*lines, f"race {{ {'; '.join(lanes)} }}"]
        lines.append(f"optimizer = {self._optimizer()}")
        if self.maybe(0.3):
            axes = ["train.epochs = [1, 2]", "seed = [3, 4]", "train.batch = [4, 6]", "train.clip_norm = [none, 0.1]"]
            chosen = self.pick(*axes)
            lines[0] = lines[0].replace("clip_norm = 0.5; ", "").replace("; clip_norm = 0.5", "")
            lines.append(f"sweep {{ {chosen} }}")
        return lines

"""Names that are unknown: what is suggested, and what is not, because it means something else."""

from __future__ import annotations

import pytest
from findings import base, only

from nnspec.diagnostics import nearest


@pytest.mark.parametrize(
    ("word", "candidates", "suggested"),
    [
        ("GlobalMaxPool", ["GlobalAvgPool"], None),
        ("Conv3D", ["Conv2D", "Conv1D"], None),
        ("Conv2DD", ["Conv2D"], "Conv2D"),
        ("GlobalAvgPol", ["GlobalAvgPool"], "GlobalAvgPool"),
        ("GlobalAveragePool", ["GlobalAvgPool"], "GlobalAvgPool"),
        ("GlobaAvgPool", ["GlobalAvgPool", "GlobalMaxPool"], "GlobalAvgPool"),
        ("xavier_unifrom", ["xavier_uniform", "xavier_normal"], "xavier_uniform"),
        ("ReLU6", ["ReLU"], None),
        ("h2", ["h1", "h3"], None),
    ],
)
def test_a_name_with_another_meaning_is_not_suggested(word: str, candidates: list[str], suggested: str | None) -> None:
    assert nearest(word, candidates) == suggested


@pytest.mark.parametrize(
    ("loss", "help", "fix"),
    [
        (
            "BCE",
            "`BCEWithLogits` is similar: it takes logits, so the model must not end with `Sigmoid`",
            "replace `BCE` with `BCEWithLogits`",
        ),
        (
            "CategoricalCrossentropy",
            "`CrossEntropy` is similar: it takes logits, so the model must not end with `Softmax`",
            "replace `CategoricalCrossentropy` with `CrossEntropy`",
        ),
        (
            '"categorical_crossentropy"',
            "write `CrossEntropy`, without quotes; it takes logits, so the model must not end with `Softmax`",
            'replace `"categorical_crossentropy"` with `CrossEntropy`',
        ),
    ],
)
def test_a_similar_part_is_no_safe_fix(loss: str, help: str, fix: str) -> None:
    found = only(base("loss = CrossEntropy", f"loss = {loss}"))
    assert found.help == help
    assert found.fix is not None
    assert (found.fix.message, found.fix.safe) == (fix, False)


@pytest.mark.parametrize(
    ("layer", "help"),
    [
        ("WeightNorm", "similar names are `BatchNorm`"),
        ("Conv3D(4, 3)", "similar names are `Conv1D`, `Conv2D`"),
        ("Quantize", "run `nnspec explain layer` for a list"),
        ("Lambda", "a spec contains no code; `nnspec new --part layer` writes a layer of your own"),
        ("CausalConv1D(8, 3)", "`Conv1D` is similar: add `padding=causal`"),
    ],
)
def test_an_unknown_layer_leads_to_similar_ones_or_to_a_list(layer: str, help: str) -> None:
    found = only(base("    ReLU\n", f"    {layer}\n"))
    assert found.help.startswith(help)

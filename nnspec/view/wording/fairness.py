"""What the lanes of a run had in common, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["shared_in_words"]

_SHARED = {"data": "data", "order": "order of samples", "start": "starting weights"}


def shared_in_words(fairness: Mapping[str, Any] | None) -> str:
    """Say what all lanes had in common and what not; empty for a single lane.

    all lanes had the same data, order of samples, starting weights (6 tensors, 52,650 numbers)
    all lanes had the same data, order of samples; 1 of 4 starting tensors is the same (3 numbers), 3 could not be …
    """
    if fairness is None:
        return ""
    same = [words for key, words in _SHARED.items() if fairness.get(key) is True]
    other = [words for key, words in _SHARED.items() if fairness.get(key) is False]
    weights = fairness.get("weights")
    if weights and "starting weights" in same:
        same[-1] += f" ({_counted(weights['shared'])})"
    said = [f"the same {', '.join(same)}"] if same else []
    said += [f"not the same {', '.join(other)}"] if other else []
    text = f"all lanes had {'; '.join(said)}" if said else ""
    if weights and fairness["start"] is not True:
        text += f"{'; ' if text else ''}{_partly(weights)}"
    return text


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _counted(count: Mapping[str, int]) -> str:
    return f"{_plural(count['tensors'], 'tensor')}, {_plural(count['numbers'], 'number')}"


def _partly(weights: Mapping[str, Mapping[str, int]]) -> str:
    """Say how many tensors started with the same numbers, where not all did."""
    shared, different = weights["shared"], weights["different"]
    apart = weights["not_compared"]["tensors"]
    total = shared["tensors"] + different["tensors"] + apart
    agree = "starts" if shared["tensors"] == 1 else "start"
    parts = [f"{shared['tensors'] or 'none'} of {_plural(total, 'tensor')} {agree} with the same numbers"]
    parts[0] += f" ({_plural(shared['numbers'], 'number')})" if shared["tensors"] else ""
    parts += [f"{different['tensors']} with different ones"] if different["tensors"] else []
    parts += [f"{apart} cannot be compared, because shapes or layers differ"] if apart else []
    return ", ".join(parts)

"""Write the reference numbers of metrics in `metrics.json`, computed by scikit-learn.

    python tests/oracle/make_metrics.py

needs `scikit-learn`, which neither nnspec nor its tests need: the JSON file beside this script is committed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn import metrics

Case = dict[str, Any]


def case(part: str, name: str, arguments: dict[str, Any], outputs: Any, targets: Any, value: Any) -> Case:
    """What a metric is given, and what it must say."""
    return {
        "part": part,
        "case": name,
        "arguments": arguments,
        "outputs": np.asarray(outputs).tolist(),
        "targets": np.asarray(targets).tolist(),
        "value": np.asarray(value).tolist(),
    }


def of_classes(name: str, outputs: Any, labels: Any) -> list[Case]:
    """Every metric of labels, of outputs `(B, C)` or `(B, T, C)`; of one output, its sign is the prediction."""
    flat, truth = outputs.reshape(-1, outputs.shape[-1]), labels.reshape(-1)
    classes = max(flat.shape[1], 2)
    predicted = (flat[:, 0] > 0).astype(int) if flat.shape[1] == 1 else flat.argmax(axis=1)
    found = [
        case("accuracy", name, {}, outputs, labels, metrics.accuracy_score(truth, predicted)),
        case("confusion", name, {}, outputs, labels, metrics.confusion_matrix(truth, predicted, labels=range(classes))),
    ]
    rates: dict[str, Callable[..., Any]] = {
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
        "f1": metrics.f1_score,
    }
    for part, score in rates.items():
        for average in ("macro", "micro", "weighted", *(["binary"] if classes == 2 else [])):
            value = score(truth, predicted, average=average, zero_division=0)
            found.append(case(part, f"{name}, {average}", {"average": average}, outputs, labels, value))
    if classes == 2:
        scores = flat[:, -1] - (flat[:, 0] if flat.shape[1] == 2 else 0)
        found += [
            case("auc", name, {}, outputs, labels, metrics.roc_auc_score(truth, scores)),
            case("average_precision", name, {}, outputs, labels, metrics.average_precision_score(truth, scores)),
        ]
    if flat.shape[1] == 1:
        return found
    for k in (1, 2, classes - 1) if classes > 2 else ():
        value = metrics.top_k_accuracy_score(truth, flat, k=k, labels=range(classes))
        found.append(case("top_k", f"{name}, k={k}", {"k": k}, outputs, labels, value))
    probabilities = np.exp(flat) / np.exp(flat).sum(axis=1, keepdims=True)
    value = math.exp(metrics.log_loss(truth, probabilities, labels=range(classes)))
    return [*found, case("perplexity", name, {}, outputs, labels, value)]


def of_labels(name: str, outputs: Any, labels: Any) -> list[Case]:
    """Every metric of several labels of a sample, `(B, L)`; the sign of an output is its prediction."""
    predicted = (outputs > 0).astype(int)
    found = [case("accuracy", name, {}, outputs, labels, metrics.accuracy_score(labels, predicted))]
    scores: dict[str, Callable[..., Any]] = {
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
        "f1": metrics.f1_score,
        "auc": metrics.roc_auc_score,
        "average_precision": metrics.average_precision_score,
    }
    for part, score in scores.items():
        rate = part in ("precision", "recall", "f1")
        for average in ("macro", "micro", "weighted"):
            more = {"zero_division": 0} if rate else {}
            value = score(labels, predicted if rate else outputs, average=average, **more)
            found.append(case(part, f"{name}, {average}", {"average": average}, outputs, labels, value))
    return found


def of_numbers(name: str, outputs: Any, targets: Any) -> list[Case]:
    """Every metric of numbers."""
    y, t = outputs.reshape(len(outputs), -1), targets.reshape(len(targets), -1)
    return [
        case("mse", name, {}, outputs, targets, metrics.mean_squared_error(t, y)),
        case("mae", name, {}, outputs, targets, metrics.mean_absolute_error(t, y)),
        case("r2", name, {}, outputs, targets, metrics.r2_score(t, y)),
    ]


def main() -> None:
    """Write the file: a line a case."""
    rng = np.random.default_rng(5)

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape).round(4)

    labels = rng.integers(0, 4, 23)
    good = (normal(23, 4) + 2 * np.eye(4)[labels]).round(4)
    constant = np.column_stack([normal(9), np.full(9, 2.0)])
    cases = [
        *of_classes("chance", normal(23, 4), labels),
        *of_classes("good", good, labels),
        *of_classes("a class that is never there", normal(23, 4), labels % 3),
        *of_classes("a class that is never predicted", good - [0, 0, 0, 20], labels),
        *of_classes("a class that is neither", good - [0, 0, 0, 20], labels % 3),
        *of_classes("sequences", normal(5, 3, 4), rng.integers(0, 4, (5, 3))),
        *of_classes("one output", normal(23, 1), labels % 2),
        *of_numbers("one number", normal(17, 1), normal(17)),
        *of_numbers("several numbers", normal(17, 3), normal(17, 3) * 5 + [0, 100, -1]),
        *of_numbers("images", normal(8, 2, 3), normal(8, 2, 3)),
        *of_numbers("far from zero", normal(17, 1) + 1e4, normal(17) + 1e4),
        *of_numbers("a number that never changes", normal(9, 2), constant),
        *of_numbers("a number that never changes and is met", constant + np.array([0.5, 0.0]), constant),
    ]
    few = (rng.random((31, 3)) < [0.3, 0.5, 0.1]).astype(int)
    ties = rng.integers(-2, 3, (31, 3)) / 2
    never, always = few * [1, 1, 0], few | [0, 1, 0]
    cases += [
        *of_classes("one output that ties", ties[:, :1], few[:, 1]),
        *of_classes("two outputs", normal(31, 2), few[:, 0]),
        *of_labels("labels by chance", normal(31, 3), few),
        *of_labels("labels well told", (normal(31, 3) + 2 * few - 1).round(4), few),
        *of_labels("labels that tie", ties, few.astype(float)),
        *of_labels("a label that is never there", normal(31, 3), never),
        *of_labels("a label that is always there", normal(31, 3), always),
        *of_labels("no label at all", normal(7, 2), np.zeros((7, 2), int)),
        *of_labels("a label that is neither there nor predicted", normal(31, 3) - [0, 0, 9], never),
    ]
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in cases)
    head = "Reference numbers in float64, written by tests/oracle/make_metrics.py; do not edit."
    text = f'{{\n"about": "{head}",\n"scikit-learn": "{sklearn.__version__}",\n"cases": [\n{lines}\n]\n}}\n'
    Path(__file__).with_name("metrics.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

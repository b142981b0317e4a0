"""What CONTRIBUTING says of parts, followed in a copy of nnspec; and what the tests say of parts that are wrong."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from page_runner import ROOT, blocks

FAULTY = """
class SoftshrinkFlat(Softshrink):
    spec_name = "SoftshrinkFlat"

    @classmethod
    def geometry(cls, incoming, arguments):
        right = super().geometry(incoming, arguments)
        return Geometry((prod(incoming),), right.flops, work=right.work)


class SoftshrinkFlops(Softshrink):
    spec_name = "SoftshrinkFlops"
    flops_each = 300


class SoftshrinkSlope(Softshrink):
    spec_name = "SoftshrinkSlope"

    def backward(self, grad, out=None, *, input_grad=True):
        y = saved(self._y, self)
        slope = np.greater(y, 0, out=self.work_array("derivative", y.shape, y.dtype))
        return np.multiply(grad, slope, out=out)


class SoftshrinkIgnores(Softshrink):
    spec_name = "SoftshrinkIgnores"
    scale: Annotated[float, Range(low=0)] = 1.0
"""
FAULTY_OPTIMIZER = """
class SignSGDIgnores(SignSGD):
    spec_name = "SignSGDIgnores"
    _: KW_ONLY
    eps: float = 1e-8
"""
FOUND_BY = {
    "SoftshrinkFlat": "geometry",
    "SoftshrinkFlops": "flops",
    "SoftshrinkSlope": "gradients",
    "SoftshrinkIgnores": "arguments_have_effects",
    "SignSGDIgnores": "arguments_have_effects",
}


def python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)


def add(copy: Path, module: str, text: str) -> None:
    """Write classes at the end of a module, and their names in its `__all__`."""
    path = copy / "nnspec/engine" / module
    names = "".join(f'"{name}", ' for name in re.findall(r"^class (\w+)", text, re.MULTILINE))
    source = path.read_text(encoding="utf-8").replace("__all__ = [", f"__all__ = [{names}", 1)
    path.write_text(f"{source}\n\n{text}", encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of nnspec with the two parts of CONTRIBUTING."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("nnspec", "grammars", "benchmarks", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    examples = [
        b.text for b in blocks((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")) if b.language == "python"
    ]
    for base, module in (("Activation", "layers/activations.py"), ("Optimizer", "optimizers/descent.py")):
        add(folder, module, next(text for text in examples if f"({base})" in text))
    return folder


def test_make_reference_makes_what_follows_from_new_parts(copy: Path) -> None:
    made = python(copy, "tests/reference.py")
    assert "Traceback" not in made.stderr
    assert "| `Softshrink` |  | y = x − min(max(x, −½), ½)" in (copy / "docs/parts.md").read_text(encoding="utf-8")
    assert "`SignSGD` | `lr=0.001, weight_decay=0.0, decay_all=false`" in (copy / "docs/parts.md").read_text("utf-8")
    assert '"optimizer SignSGD.lr": 0.001' in (copy / "tests/samples/defaults.json").read_text(encoding="utf-8")
    missing = [line.split(":")[1].split()[-1] for line in made.stderr.splitlines() if line.startswith("NOT MADE")]
    assert missing == (["SignSGD"] if importlib.util.find_spec("torch") else ["Softshrink", "SignSGD"])
    assert made.returncode == 1


def test_new_parts_pass_the_generated_tests_and_wrong_ones_are_named(copy: Path) -> None:
    add(copy, "layers/activations.py", FAULTY)
    add(copy, "optimizers/descent.py", FAULTY_OPTIMIZER)
    test = "tests/test_conformance.py"
    done = python(copy, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-k", "Softshrink or SignSGD", test)
    outcomes = re.findall(r"^(PASSED|FAILED|ERROR) \S+\[(\w+): (\w+)\](?: - .*)?$", done.stdout, re.MULTILINE)
    failed = [(rule, part) for outcome, part, rule in outcomes if outcome != "PASSED"]
    for faulty, rule in FOUND_BY.items():
        assert (rule, faulty) in failed, (faulty, done.stdout[-3000:])
    assert {part for _, part in failed} == FOUND_BY.keys()
    passed = [part for outcome, part, _ in outcomes if outcome == "PASSED"]
    assert passed.count("Softshrink") > 20
    assert passed.count("SignSGD") > 10

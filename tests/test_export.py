"""Verified export: every spec and every layer in every target, refusals, certificates, and files checked again."""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_runs import CHAINS, DTYPES, OURS, SPECS, chain_of, code_of, run_of
from forked import python
from shelf import trained
from tiny_spec import ROOT, command, spec

from nnspec import run as nnspec_run
from nnspec import runs
from nnspec.api import SpecError
from nnspec.engine.layers.activations import Activation
from nnspec.engine.part import PARTS
from nnspec.errors import NnspecError
from nnspec.export import c_source, exporting, numpy_module, onnx_file, runtimes, torch_module
from nnspec.export.certificate import Differs, ExportError
from nnspec.export.exporting import TARGETS, WEIGHTS
from nnspec.export.names import Identifiers, c_comment, c_string, python_string
from nnspec.export.program import program_of
from nnspec.export.runtimes import Missing
from nnspec.export.verify import TOLERANCE

pytestmark = pytest.mark.usefixtures("undrawn")

SUFFIXES = {"numpy": ".py", "torch": ".py", "onnx": ".onnx", "c": ".c", "safetensors": ".safetensors", "npz": ".npz"}


@pytest.fixture(scope="module", autouse=True)
def _no_processes_of_others() -> None:
    """Forget processes that earlier tests dropped: `Popen` looks after them when it starts the next, with a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
        subprocess._cleanup()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(run: Path, target: str, **more: Any) -> exporting.Exported:
    """Export to a target, if this machine can verify it."""
    for runtime in exporting.RUNTIMES.get(target, ()):
        try:
            runtime.version()
        except Missing as error:
            pytest.skip(str(error))
    return runs.export(run, f"model{SUFFIXES[target]}", target, **more)


def module(path: str | Path = "model.py") -> Any:
    found = importlib.util.spec_from_file_location("model", path)
    assert found is not None
    assert found.loader is not None
    loaded = importlib.util.module_from_spec(found)
    found.loader.exec_module(loaded)
    return loaded


# Every spec, every layer


@pytest.fixture
def _forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules run in copies of this process, not in a Python that has to import NumPy."""
    if hasattr(os, "fork"):
        monkeypatch.setattr(runtimes, "process", python)


@pytest.fixture
def _reference_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nnspec computes for a network is the same for all targets: it is kept until another network comes."""
    name, right = request.node.callspec.params["name"], exporting.reference
    if REFERENCES.get("name") != name:
        REFERENCES.clear()
        REFERENCES["name"] = name

    def kept(program: Any, predictor: Any, x: np.ndarray) -> Any:
        weights = tuple(
            (key, str(array.dtype), array.tobytes()) for key, array in predictor.network.state_dict().items()
        )
        key = (predictor.experiment.dtype, weights, str(x.dtype), x.shape, x.tobytes())
        if key not in REFERENCES:
            REFERENCES[key] = right(program, predictor, x)
        return REFERENCES[key]

    monkeypatch.setattr(exporting, "reference", kept)


REFERENCES: dict[Any, Any] = {}


@pytest.mark.parametrize("target", [*TARGETS, *WEIGHTS])
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.usefixtures("_forked", "_reference_once")
def test_every_spec_goes_to_every_target(name: str, target: str) -> None:
    run, lane = run_of(name)
    done = export(run, target, lane=lane)
    for verified in done.certificate.verified:
        assert verified.difference <= TOLERANCE
        if target in TARGETS:
            counts = dict(verified.samples)
            assert counts["one sample"] == 1
            assert counts["test data"] > 1
            layers = sum(op.node is not None for op in program_of(runs.load(run, lane)).ops)
            assert verified.values >= layers
    assert done.certificate.verified
    assert exporting.certificate_in(done.path)[0] == done.certificate


def test_the_specs_are_all_there() -> None:
    refused = ["films", "reviews"]  # exported networks have no vocabularies
    others = ["contestants", "fair_race"]  # one is only imported, the other has the network of the race
    assert sorted([*SPECS, *refused, *others]) == sorted(path.stem for path in (ROOT / "specs").glob("*.nn"))


UNKNOWN_TO_ONNXRUNTIME = {
    "activations": {"ELU", "GELU", "HardSigmoid", "HardSwish", "LeakyReLU", "Mish", "PReLU", "SELU", "Softplus"},
    "states": {"Conv1D", "GRU", "LSTM", "RNN"},
    "ids": {"LSTM"},
    "sequences": {"AvgPool", "Conv1D", "GRU", "LSTM", "PReLU", "RNN"},
    "images": {"AvgPool", "Conv2D", "PReLU"},
    "joins": {"Conv2D"},
    "channels": {"Conv2D"},
    "resolutions": {"Conv2D", "ConvTranspose1D", "ConvTranspose2D"},
}
"""Layers that onnxruntime does not have in float64."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.usefixtures("_forked", "_reference_once")
def test_every_layer_goes_to_every_target(name: str, target: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        c_source, "FLAGS", [flag for flag in c_source.FLAGS if flag != "-O2"]
    )  # with it, every spec is compiled
    run = chain_of(name, dtype)
    if (target, dtype) == ("onnx", "float64") and name in UNKNOWN_TO_ONNXRUNTIME:
        with pytest.raises(SpecError, match="NN801") as refused:
            export(run, target)
        spans = {found.span.text.partition("(")[0] for found in refused.value.diagnostics}
        assert spans == UNKNOWN_TO_ONNXRUNTIME[name]
        return
    done = export(run, target)
    assert max(verified.difference for verified in done.certificate.verified) <= TOLERANCE


def test_the_chains_have_all_layers() -> None:
    named = " ".join(model for model, _ in CHAINS.values())
    assert {name for name in OURS if not re.search(rf"\b{name}\b", named)} == {"Embedding"}  # tiny_gpt has it


# Names that a spec may have


def test_no_name_leaves_its_string_or_comment() -> None:
    hostile = """*/ main(){} /* \\ ??/ " \' \n \r \u2028 \x00 é \ud800 \"\"\" {x}"""
    assert ast.literal_eval(python_string(hostile)) == hostile
    comment = c_comment(hostile)
    assert comment.isascii()
    assert not {"*/", "/*", "\\", "?", "\n"} & {comment[i : i + n] for n in (1, 2) for i in range(len(comment))}
    assert '"' not in c_string(hostile)[1:-1]
    names = Identifiers({"x"})
    assert [names[name] for name in ("x", "X", "a.b", "a_b", "1", "é", "class", "x")] == [
        "x_2",
        "x_3",
        "a_b",
        "a_b_2",
        "_1",
        "value",
        "class_",
        "x_2",
    ]


HOSTILE = ("*/ int main(void) { return 7; } /*", '"""); raise SystemExit(7) #', "a\\", "??/", "{0}\u2028x", "é'")


@pytest.mark.parametrize("target", TARGETS)
def test_hostile_classes_and_columns_stay_text(target: str) -> None:
    """Names of classes, columns and texts come from a file of data."""
    head = ",".join(_cell(f"column {i} {name}") for i, name in enumerate(HOSTILE[:3]))
    rows = [f"{i % 7},{_cell(HOSTILE[i % 3])},{i % 5},{_cell(HOSTILE[i % 6])}" for i in range(60)]
    Path("t.csv").write_text("\n".join([f"{head},y", *rows]) + "\n", "utf-8")
    Path("t.nn").write_text(spec("Linear(6); ReLU; Linear(6)", data='CSV("t.csv", target="y", test=0.3)'))
    nnspec_run("t.nn", out="out")
    done = export(Path("out"), target)
    assert sorted(done.certificate.classes) == sorted(HOSTILE)
    assert exporting.certificate_in(done.path)[0] == done.certificate
    if target == "numpy":
        network = module()
        table = {column.name: [1.0, 2.0] for column in done.certificate.columns}
        table[done.certificate.columns[1].name] = [HOSTILE[1], HOSTILE[2]]
        expected = runs.load("out").predict(table)
        assert network.predict(network.features(table)).tolist() == expected.tolist()
        with pytest.raises(ValueError, match="does not occur in the training data"):
            network.features(table | {done.certificate.columns[1].name: ["other"]})


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


# What is written, and what is not


WRONG: dict[str, tuple[Any, str, Any]] = {
    "numpy": (numpy_module, "_EMIT", lambda op, reads: f"np.maximum({reads[0]}, 1e-3)"),
    "onnx": (onnx_file, "_EMIT", lambda g, op, reads: g.node("Abs", reads[0])),
    "c": (c_source, "_FORMULAS", "v < 0.001@ ? 0.001@ : v"),
    "torch": (torch_module, "_EMIT", lambda op: torch_module._Module("nn.ReLU6()")),
}
"""ReLU, spoilt in each target."""


@pytest.mark.parametrize("target", TARGETS)
def test_a_difference_is_refused_and_its_first_layer_named(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(spec("h: Linear(6); ReLU; Linear(10)"))
    path = export(run, target).path
    before = path.read_bytes()
    where, table, wrong = WRONG[target]
    monkeypatch.setitem(getattr(where, table), "ReLU", wrong)
    with pytest.raises(Differs, match=r"layer ReLU1 \(tiny.nn, line 2\) is the first that differs in "):
        export(run, target, force=True)
    done = command("export", run, path, "--to", target, "--force")
    assert done.returncode == 1
    assert "and 1e-05 is allowed" in done.stderr
    assert path.read_bytes() == before


def test_targets_follow_the_suffix_and_say_so() -> None:
    run = trained(spec())
    Path("folder.npz").mkdir()
    for words, message in {
        ("w.py",): "can be a NumPy or a PyTorch module: choose with `--to numpy` or `--to torch`",
        ("w.pkl",): "the suffix of w.pkl is not that of a target; use .onnx, .c, .safetensors, .npz or .py",
        ("w.py", "--to", "npz"): "--to npz writes a .npz file, but w.py has another suffix",
        ("w.onnx", "--to", "numpy"): "--to numpy writes a .py file, but w.onnx has another suffix",
        ("w.py", "--to", "c"): "--to c writes a .c file",
        ("nowhere/w.npz",): "folder not found: nowhere; create it first",
        ("folder.npz",): "folder.npz is a folder; name a file in it",
        ("w.npz", "--opset", "18"): "--opset applies to ONNX",
    }.items():
        done = command("export", run, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
    assert command("export", run).returncode == 2
    done = command("export", run, "w.py", "--to", "numpy")
    assert (done.returncode, done.stdout) == (0, "w.py\n")
    assert re.search(r"verified in Python .*: \d+ samples, \d tensors each, largest relative difference", done.stderr)
    again = command("export", run, "w.py", "--to", "numpy")
    assert (again.returncode, again.stdout) == (2, "")
    assert "w.py already exists; choose another file, or add --force" in again.stderr
    assert command("export", run, "w.py", "--to", "numpy", "--force").returncode == 0


def test_a_missing_runtime_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise Missing("Python is not installed: get it")

    run = trained(spec())
    (runtime,) = exporting.RUNTIMES["numpy"]
    monkeypatch.setitem(exporting.RUNTIMES, "numpy", (replace(runtime, version=missing),))
    done = command("export", run, "w.py", "--to", "numpy")
    assert (done.returncode, Path("w.py").exists()) == (2, False)
    assert "Python is not installed: get it; or export without verification: --unverified" in done.stderr
    done = command("export", run, "w.py", "--to", "numpy", "--unverified")
    assert (done.returncode, done.stdout) == (0, "w.py\n")
    assert "NOT VERIFIED: Python is not installed: get it" in done.stderr
    assert "NOT VERIFIED" in Path("w.py").read_text()
    assert exporting.certificate_in(Path("w.py"))[0].verified == ()


def test_parts_of_other_packages_are_refused_at_their_line() -> None:
    class Foreign(Activation):
        """y = x."""

        spec_name = "ForeignOfThisTest"

        def forward(self, x: Any, out: Any = None) -> Any:
            self._y = np.positive(x, out=out)
            return self._y

        def backward(self, grad: Any, out: Any = None, *, input_grad: bool = True) -> Any:
            return np.positive(grad, out=out)

    try:
        run = trained(spec("Linear(6)\n ForeignOfThisTest\n Linear(10)"))
        for target in TARGETS:
            with pytest.raises(SpecError, match=f"`ForeignOfThisTest` cannot be exported to {target}") as refused:
                runs.export(run, f"w{SUFFIXES[target]}", target)
            (found,) = refused.value.diagnostics
            assert (found.code, found.span.line, found.span.text) == ("NN801", 3, "ForeignOfThisTest")
        assert runs.export(run, "w.npz").path.exists()
        assert command("export", run, "w.py", "--to", "numpy").returncode == 2
    finally:
        del PARTS["layer"]["ForeignOfThisTest"]


def test_without_test_data_random_samples_are_compared() -> None:
    Path("t.csv").write_text("a,y\n" + "\n".join(f"{i % 7},{i % 2}" for i in range(40)) + "\n")
    Path("t.nn").write_text(spec("Linear(4); ReLU; Linear(2)", data='CSV("t.csv", target="y", test=0.3)'))
    nnspec_run("t.nn", out="out")
    Path("t.csv").unlink()
    done = runs.export("out", "w.py", "numpy")
    assert [name for name, _ in done.certificate.verified[0].samples] == [
        "random samples",
        "one sample",
        "zeros",
        "large values",
    ]
    assert any("without the test data" in note and "t.csv" in note for note in done.notes)


# Files checked again


@pytest.mark.parametrize("target", [*TARGETS, *WEIGHTS])
def test_a_file_is_checked_again(target: str) -> None:
    run = trained(spec("Linear(6); ReLU; Linear(10)"))
    path = export(run, target).path
    assert command("export", "--check", path).returncode == 0
    done = command("export", "--check", path, "--seed", "0")
    assert (done.returncode, "--seed has no effect with --check" in done.stderr) == (2, True)
    shutil.move(run, "elsewhere")
    done = command("export", "--check", path)
    assert done.returncode == 2
    assert f"name the run of {path} with --run" in done.stderr
    assert command("export", "--check", path, "--run", "elsewhere").returncode == 0
    other = trained(spec("Linear(7); ReLU; Linear(10)"))
    done = command("export", "--check", path, "--run", other)
    assert done.returncode == 2
    assert "is of another network" in done.stderr


@pytest.mark.parametrize("target", ["numpy"])
def test_a_changed_file_of_code_is_never_run(target: str) -> None:
    run = trained(spec("Linear(6); ReLU; Linear(10)"))
    path = export(run, target).path
    text = path.read_text()
    line = text.split("\n").index("import json") + 1
    path.write_text(text.replace("import json\n", "open('ran', 'w')\n", 1))
    done = command("export", "--check", path)
    assert done.returncode == 2
    assert "w.py was not run" in done.stderr.replace(str(path), "w.py")
    assert f"(line {line} differs); export it again" in done.stderr
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CERTIFICATE = json.loads('{}')",
        "CERTIFICATE = json.loads('[]')",
        "CERTIFICATE = json.loads('" + "[" * 10_000 + "')",
        "CERTIFICATE = json.loads(__import__('os').abort())",
        "CERTIFICATE = json.loads('{\"format\": 2}')",
        "CERTIFICATE = json.loads(0x" + "F" * 5_000 + ")",
        "CERTIFICATE = json.loads([1])",
    ],
)
def test_a_hostile_file_has_no_certificate(text: str) -> None:
    Path("w.py").write_text(text)
    with pytest.raises(ExportError, match=r"has no certificate|has a certificate that cannot be read"):
        runs.check_export("w.py")


@pytest.mark.parametrize("target", ["numpy", "onnx", "c", "npz"])
@pytest.mark.parametrize("change", [{"classes": tuple("abcdefghij")}, {"spec_sha256": "0"}, {"preparation": ("x",)}])
def test_a_certificate_that_says_something_else_of_the_network_is_refused(
    change: dict[str, Any], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Class names are in the certificate alone: a file whose code is right could name the wrong ones."""
    origin, described = exporting.certificate_of, exporting._described
    with monkeypatch.context() as patch:
        patch.setattr(exporting, "certificate_of", lambda *given: replace(origin(*given), **change))
        patch.setattr(exporting, "_described", lambda *given: replace(described(*given), **change))
        path = export(trained(spec("Linear(6); ReLU; Linear(10)")), target).path
    done = command("export", "--check", path)
    assert done.returncode == 2
    assert f"`{next(iter(change))}` in its certificate is not that of the run" in done.stderr


@pytest.mark.parametrize("change", [{"dtype": "BF16"}, {"shape": [float("inf")]}, {"shape": [6.0]}, {"shape": "6"}])
def test_a_safetensors_header_with_other_kinds_of_values_is_refused(change: dict[str, Any]) -> None:
    data = export(trained(spec("Linear(6); ReLU; Linear(10)")), "safetensors").path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + length])
    head["Linear1.bias"] |= change
    text = json.dumps(head).encode()
    Path("w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(ExportError, match="is not an intact safetensors file"):
        runs.check_export("w.safetensors")


def test_an_npz_file_holds_arrays_alone() -> None:
    path = export(trained(spec("Linear(6); ReLU; Linear(10)")), "npz").path
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more", b"bytes")
    with pytest.raises(NnspecError, match="it contains something else than arrays"):
        runs.check_export(path)


@pytest.mark.parametrize("position", range(0, 400, 7))
def test_damaged_safetensors_are_refused_or_equal(position: int) -> None:
    run = trained(spec("Linear(6); ReLU; Linear(10)"))
    path = runs.export(run, "w.safetensors").path
    data = bytearray(path.read_bytes())
    data[position] ^= 0x15
    path.write_bytes(data)
    with contextlib.suppress(NnspecError):
        runs.check_export(path)


# ONNX


def test_opsets_and_what_a_model_says_of_itself() -> None:
    onnx = pytest.importorskip("onnx", reason="takes nnspec[onnx]")
    run = chain_of("images", "float32")
    for opset in (17, 18, 21, 23):
        done = export(run, "onnx", opset=opset, force=True)
        model = onnx.load("model.onnx")
        assert [(each.domain, each.version) for each in model.opset_import] == [("", opset)]
        assert done.certificate.opset == opset
    assert [node.name for node in model.graph.input] == ["input"]
    assert [node.name for node in model.graph.output] == ["outputs", "probabilities"]
    assert "Verified in onnxruntime" in model.doc_string
    assert command("export", "--check", "model.onnx").returncode == 0
    weight = next(each for each in model.graph.initializer if len(each.dims) == 4)
    weight.raw_data = bytes(len(weight.raw_data))
    onnx.save(model, "changed.onnx")
    done = command("export", "--check", "changed.onnx")
    assert done.returncode == 1
    assert "is the first that differs in onnxruntime" in done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_layers_may_have_any_name(target: str) -> None:
    done = export(
        trained(spec("outputs: Linear(6); input: ReLU; probabilities: Linear(5); lambda_: Linear(10)")), target
    )
    assert all(verified.values == 6 for verified in done.certificate.verified)


@pytest.mark.parametrize("target", TARGETS)
def test_missing_cells_and_images_with_colours_last_are_prepared_inside(target: str) -> None:
    rows = [f"{'' if i % 5 == 1 else i % 7},{['u', 'v', ''][i % 3]},{i % 4},{i % 2}" for i in range(60)]
    Path("t.csv").write_text("\n".join(["a,b,c,y", *rows]) + "\n")
    data = 'CSV("t.csv", target="y", test=0.3, missing=mean)'
    Path("t.nn").write_text(spec("Linear(4); ReLU; Linear(2)", data=data, train="epochs = 1; standardise = true"))
    nnspec_run("t.nn", out="table")
    export(Path("table"), target)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
    np.savez("i.npz", x_train=images[:30], y_train=np.arange(30) % 2, x_test=images[30:], y_test=np.arange(10) % 2)
    data = 'NPZ("i.npz", axes=[rows, columns, channels])'
    Path("i.nn").write_text(spec("Conv2D(3, 2); Flatten; Linear(2)", data=data, train="epochs = 1; standardise = true"))
    nnspec_run("i.nn", out="images")
    done = export(Path("images"), target, force=True)
    assert done.certificate.input is not None
    assert done.certificate.input.shape == (6, 5, 3)
    if target == "numpy":
        np.testing.assert_allclose(module().outputs(images), runs.load("images").outputs(images), rtol=1e-5, atol=1e-6)


def test_unknown_texts_and_ids_are_errors() -> None:
    Path("t.csv").write_text("a,b,y\n" + "\n".join(f"{i % 7},{'uv'[i % 2]},{i % 2}" for i in range(40)) + "\n")
    Path("t.nn").write_text(spec("Linear(4); ReLU; Linear(2)", data='CSV("t.csv", target="y", test=0.3)'))
    nnspec_run("t.nn", out="out")
    runs.export("out", "model.py", "numpy")
    for code in (-1, 2, 0.5):
        with pytest.raises(ValueError, match="column 1 takes codes from 0 to 1"):
            module().outputs([[1.0, code]])
    export(Path("out"), "onnx")
    runtime = pytest.importorskip("onnxruntime", reason="takes nnspec[onnx]")
    session = runtime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"input": np.array([[1.0, 1.0]])})[0].shape == (1, 2)
    for code in (-1.0, 2.0):
        with pytest.raises(runtime.capi.onnxruntime_pybind11_state.InvalidArgument):
            session.run(None, {"input": np.array([[1.0, code]])})


# C


def test_c_compiles_in_two_parts_and_tests_itself() -> None:
    """The declarations alone are enough for a program; a spoilt weight fails the test of the file."""
    run = trained(spec("Linear(6); ReLU; Linear(10)"))
    path = export(run, "c").path
    compile_ = [*c_source._compiler(), *c_source.FLAGS]
    Path("main.c").write_text(
        "#define TINY_DECLARATIONS\n"
        '#include "model.c"\n'
        "int main(void) {\n"
        "    static tiny_work work; static float x[TINY_INPUTS], y[TINY_OUTPUTS];\n"
        "    return tiny_run(x, y, 0, &work) || !tiny_certificate[0] || tiny_classes[0];\n"
        "}\n"
    )
    subprocess.run([*compile_, "main.c", "model.c", "-o", "two", "-lm"], check=True)
    assert subprocess.run(["./two"], check=False).returncode == 0
    for spoilt in (False, True):
        text = path.read_text()
        if spoilt:
            text = re.sub(r"(linear1_weight\[4704\] = \{.*\n)    [-\d.e]+f", r"\g<1>    9.0f", text)
            text = re.sub(r"(linear2_bias\[10\] = \{.*\n)    [-\d.e]+f", r"\g<1>    9.0f", text)
            assert text != path.read_text()
            Path("model.c").write_text(text)
        subprocess.run([*compile_, "-DTINY_TEST", "model.c", "-o", "test", "-lm"], check=True)
        done = subprocess.run(["./test"], capture_output=True, text=True, check=False)
        assert done.returncode == spoilt, done.stdout
        assert done.stdout.startswith("tiny: 2 samples, largest difference")


def test_a_compiler_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(spec())
    monkeypatch.setenv("CC", "/nowhere/cc -g")
    with pytest.raises(Missing, match=r"\$CC is \S+, which was not found; or export without verification"):
        runs.export(run, "w.c")


def test_temporary_folders_may_have_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path('NAME "quoted"').resolve()
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert export(trained(spec("Linear(6); ReLU; Linear(10)")), "c").certificate.verified
    assert [*folder.iterdir()] == []


def test_a_compiler_that_is_stopped_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("lives")
    end = os.open("lives", os.O_RDONLY | os.O_NONBLOCK)
    passes = "import time; time.sleep(6); print('still here')"
    compiler = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {passes!r}], stdout=open('lives', 'w'))\ntime.sleep(6)"
    )
    monkeypatch.setattr(runtimes, "_SECONDS", 1)
    with pytest.raises(ExportError, match="compiling did not end within 1 seconds"):
        runtimes.process([sys.executable, "-c", compiler], "compiling")
    os.set_blocking(end, True)
    with open(end) as lives:
        assert lives.read() == ""


# PyTorch, which the tests need not have


VERIFIED = json.loads((ROOT / "tests/oracle/exported_torch.json").read_text())


@pytest.mark.parametrize("name", VERIFIED)
def test_the_code_for_pytorch_is_what_was_verified_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tests/oracle/exported_torch.py` runs it in PyTorch and writes the file anew."""

    def missing() -> str:
        raise Missing("not needed here")

    (runtime,) = exporting.RUNTIMES["torch"]
    monkeypatch.setitem(exporting.RUNTIMES, "torch", (replace(runtime, version=missing),))
    chain, _, dtype = name.partition(" ")
    run, lane = (chain_of(chain, dtype), None) if dtype else run_of(name)
    runs.export(run, "model.py", "torch", lane=lane, unverified=True)
    known = VERIFIED[name]
    assert code_of(Path("model.py")) == known["code"], "verify it with PyTorch: tests/oracle/exported_torch.py"
    assert known["difference"] <= TOLERANCE


def test_pytorch_verified_all_specs_and_layers() -> None:
    assert set(VERIFIED) == {*SPECS, *(f"{name} {dtype}" for name in CHAINS for dtype in DTYPES)}

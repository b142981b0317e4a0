"""NN4xx and NN5xx: shapes, and the data that determines them."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN401": Explanation(
        """
The data determines the input shape of the first layer, and each layer's rule determines its output shape, so all
shapes are known before anything is computed. Here the input shape of a layer is not the one it expects, or branches
that are added have outputs of different shapes. The message shows where the shape comes from, and all shapes up to
this layer. The easiest fix is to omit the input size: `Linear(10)` accepts any. Specify it if a change in an earlier
layer should be an error.
""",
        Example("model {\n    Linear(784, 64)\n    ReLU\n    Linear(32, 10)\n}\n"),
        Example("model {\n    Linear(784, 64)\n    ReLU\n    Linear(64, 10)\n}\n"),
    ),
    "NN402": Explanation(
        """
Cross-entropy expects one output per class: its logit (unnormalised log-probability). With fewer outputs than classes,
some labels would have no output. MSE compares the outputs with one-hot vectors, so it needs exactly one output per
class. Cross-entropy cannot be used with data that has no classes. If every position of a sequence has a label, the
network must have a row of outputs for every position. The same applies to metrics, some of which need more than one
output.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(1)\n}\nloss = CrossEntropy\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(data.classes)\n}\nloss = CrossEntropy\n"),
    ),
    "NN501": Explanation(
        """
`data = A or B` uses B if A is not available on a machine. The network is the same for both, so they must have the same
sample shape and number of classes: a spec that is valid on one machine is valid on all of them. They may differ in the
number of samples.
""",
        no_example="The built-in sources MNIST and Digits have equal shapes; only a source that is added in Python "
        "can differ.",
    ),
    "NN502": Explanation(
        """
Some sources read your own files: text, tables, arrays, images. Paths are relative to the spec that contains them.
Shapes depend on the files, so `check` reads them; it only opens regular files within the size limit of their format.
This file does not exist, has the wrong format, is corrupt, or has too little data for the other arguments. The message
says which, and where in the file.
""",
        Example('data = Text("poem.txt", context=8)\nmodel { Embedding(16); ReLU; Linear(data.classes) }\n'),
        Example(
            'data = Text("poem.txt", context=8)\nmodel { Embedding(16); ReLU; Linear(data.classes) }\n',
            {"poem.txt": "How much wood would a woodchuck chuck\nif a woodchuck could chuck wood?\n" * 4},
        ),
    ),
    "NN503": Explanation(
        """
`init_from` reads initial weights from a file. Every tensor that it applies to must be in the file, under its full name
and in the shape of the model, as a float. If the file has another name for a layer, give it:
`init_from.h1 = Weights("weights.safetensors", layer="fc1")`. `transpose=true` is for matrices stored as (out, in), as
PyTorch does. `init_from.head = none` initialises a layer at random, such as a head for other classes.
""",
        no_example="It would need a binary file.",
    ),
    "NN517": Explanation(
        """
Data can include its own validation samples: arrays `x_val` and `y_val`, an image folder `val` next to `train` and
`test`, or a table in `validation`. They are used if `train.validation` is not set, or is `given`. Any other setting
would be ambiguous, so it is an error. So is `given` for data without validation samples.
""",
        Example("train.validation = given\n"),
        Example("train.validation = 0.2\n"),
    ),
}

"""NN4xx and NN5xx: shapes, and the data that decides them."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN401": Explanation(
        """
The data determines the input shape of the first layer, and each layer's rule determines its output shape, so all
shapes are known before anything is computed. Here a layer expects another input shape than it gets, or the outputs of
branches that are added have different shapes. The message shows where the shape comes from and all shapes up to there.
The easiest fix is to omit the input size: `Linear(10)` accepts any input size. Stating it is still useful if a change
further up should not go unnoticed.
""",
        Example("model {\n    Linear(784, 64)\n    ReLU\n    Linear(32, 10)\n}\n"),
        Example("model {\n    Linear(784, 64)\n    ReLU\n    Linear(64, 10)\n}\n"),
    ),
    "NN402": Explanation(
        """
Cross-entropy expects one output per class: its logit (unnormalised log-probability). With fewer outputs than classes,
some labels have no output. MSE compares outputs with one-hot rows, so it needs exactly one output per class.
Cross-entropy cannot be used for data without classes. If every position of a sequence has a label, every position
needs its own row of outputs. The same holds for metrics, and some need more than one output.
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
        untold="MNIST and Digits, the sources that nnspec has, agree; a source that is added in Python may not.",
    ),
    "NN502": Explanation(
        """
Some sources read files of your own: text, tables, arrays, images. Paths are relative to the spec that contains them.
Shapes follow from the files, so `check` looks at them; it opens only regular files within the size limit for their
kind. This file does not exist, is of another kind, is damaged, or has too little data for the other arguments. The
message says which, and where in the file.
""",
        Example('data = Text("poem.txt", context=8)\nmodel { Embedding(16); ReLU; Linear(data.classes) }\n'),
        Example(
            'data = Text("poem.txt", context=8)\nmodel { Embedding(16); ReLU; Linear(data.classes) }\n',
            {"poem.txt": "How much wood would a woodchuck chuck\nif a woodchuck could chuck wood?\n" * 4},
        ),
    ),
    "NN517": Explanation(
        """
Data may come with validation samples of its own: arrays `x_val` and `y_val`, a folder `val` of images beside `train`
and `test`, a table in `validation`. They are used where `train.validation` is not set, or is `given`. Any other
setting would mix them with the training samples, so it is an error. So is `given` for data without such samples.
""",
        Example("train.validation = given\n"),
        Example("train.validation = 0.2\n"),
    ),
}

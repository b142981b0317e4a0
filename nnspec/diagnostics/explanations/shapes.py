"""NN4xx and NN5xx: shapes, and the data that decides them."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN401": Explanation(
        """ The data says what arrives at the first layer, and each layer's rule says
what leaves it, so every shape is known without a single number. Here a layer was told to expect another shape than
arrives, or branches whose outputs are added do not agree. The message shows where the arriving shape was made and the
whole chain up to there.

The easiest cure is to leave the incoming size out: `Linear(10)` takes whatever arrives. To state it is still useful
where a change further up should be noticed.
""",
        Example("model {\n    Linear(784, 64)\n    ReLU\n    Linear(32, 10)\n}\n"),
        Example("model {\n    Linear(784, 64)\n    ReLU\n    Linear(64, 10)\n}\n"),
    ),
    "NN402": Explanation(
        """
Cross-entropy reads one output for each class: the unnormalised log-probabilities (logits) of this class against the
others. With fewer outputs than classes, some labels have none. MSE compares with one-hot rows, so it needs exactly as
many as there are classes; data without classes cannot be judged by cross-entropy at all. Where every place of a
sequence has a label, every place needs its row of outputs. Metrics read outputs alike, and some need more than one.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(1)\n}\nloss = CrossEntropy\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(data.classes)\n}\nloss = CrossEntropy\n"),
    ),
    "NN501": Explanation(
        """
`data = A or B` takes B where A cannot be had on a machine. The network is the same for both, so they must agree in
the shape of a sample and in the number of classes: a spec that is valid on one machine is valid on all of them. They
may differ in how many samples they have.
""",
        untold="MNIST and Digits, the sources that nnspec has, agree; a source that is added in Python may not.",
    ),
    "NN502": Explanation(
        """
Some sources are made of files of your own: a text, a table, arrays, images. Their paths start from the folder of the
file that they are written in. The shapes follow from the files, so `check` looks at them; it opens regular files alone,
and none that is larger than its kind may be. Here there is no such file, it is another kind of file, it is damaged, or
there is too little in it for what the other arguments ask for. The message says which, and where in the file.
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

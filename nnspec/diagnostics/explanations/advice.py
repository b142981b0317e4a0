"""NN7xx: specs that are valid but probably not intended."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN701": Explanation(
        """
No sample has a label beyond the number of classes, so training only pushes the extra outputs down. This works but
wastes weights in the last layer. Usually the number was copied from a model for another data set (1000 is ImageNet's).
`Linear(data.classes)` always fits.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(100)\n}\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(data.classes)\n}\n"),
        can_be_ignored=True,
    ),
    "NN702": Explanation(
        """
`CrossEntropy` takes logits and applies the softmax itself, combined with the logarithm: log Σ eᶻ − z[label] neither
overflows nor loses precision, and its gradient is softmax − one-hot, which does not vanish while the prediction is
wrong. `BCEWithLogits` does the same with a sigmoid for each output.

An activation before it defeats this. If a sigmoid (or a softmax) squashes the outputs to the range from 0 to 1, the
second softmax gives the correct class of ten a probability of at most e / (e + 9) ≈ 0.23: the loss cannot fall below
about 1.46, and a saturated wrong output has almost no gradient. ReLU cuts off every negative logit, and with it the
gradient.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n    Sigmoid\n}\nloss = CrossEntropy\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\nloss = CrossEntropy\n"),
        can_be_ignored=True,
    ),
    "NN703": Explanation(
        """
(x W₁ + b₁) W₂ + b₂ is x W + b for another W and b: two linear layers in a row can only represent what a single layer
can, but use more weights and more time. Usually the activation between them was forgotten. If a narrow first layer is
meant to limit the rank of W, ignore this warning.
""",
        Example("model {\n    Linear(128)\n    Linear(64)\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(128)\n    ReLU\n    Linear(64)\n    ReLU\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN704": Explanation(
        """
He initialisation has variance 2 / fan_in. The 2 compensates for ReLU, which sets half of its inputs to zero and so
halves their mean square (He et al. 2015). Tanh and sigmoid do not: with weights about √2 too large, each layer drives
them further into saturation, where gradients are near zero. For these, Glorot and Bengio (2010) derived 2 / (fan_in +
fan_out), which is `xavier_normal`. With one hidden layer the difference is small; with ten, it decides whether the
first layer learns at all.
""",
        Example("model {\n    Linear(64)\n    Tanh\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(64, init=xavier_normal)\n    Tanh\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN705": Explanation(
        """
Dropout sets values to zero at random during training, so that no unit can rely on any other. After the last layer, the
values are the network's outputs: some of them are zeroed before the loss is computed, no matter what the network has
learned, and the gradient teaches it to hedge. Dropout belongs between layers, after an activation.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n    Dropout(0.2)\n}\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Dropout(0.2)\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN706": Explanation(
        """
Each optimizer has a range of learning rates that work in practice. Adam divides each step by the size of recent
gradients, so every weight moves by about lr per step regardless of the gradient's scale: 0.1 is far too large for
Adam, but fine for plain SGD, whose steps are proportional to the gradient. A rate outside the range was usually meant
for another optimizer, or has a zero too few or too many.
""",
        Example("optimizer = Adam(lr=0.1)\n"),
        Example("optimizer = Adam(lr=0.001)\n"),
        can_be_ignored=True,
    ),
    "NN707": Explanation(
        """
A batch cannot be larger than the training data, so each epoch here is a single step on all samples: gradient descent
that is no longer stochastic. In 10 epochs the network takes 10 steps and learns next to nothing. The same holds if
`train.accumulate` is larger than the number of batches in an epoch. For full-batch training, set `train.batch =
data.size`.
""",
        Example("data = Digits(train=100, test=50)\ntrain.batch = 256\n"),
        Example("data = Digits(train=100, test=50)\ntrain.batch = 25\n"),
        can_be_ignored=True,
    ),
    "NN708": Explanation(
        """
The outcome of training depends on the seed, which determines the initial weights, the order of samples and dropout. A
statement such as `test_accuracy > 0.9` is a test, and a test should say which run it describes. Without a `seed`,
nnspec uses 0, so the spec is reproducible, but a reader cannot tell whether that was deliberate. To test more than one
seed, use `train.repeats`.
""",
        Example("expect { test_accuracy > 0.1 }\n"),
        Example("seed = 42\nexpect { test_accuracy > 0.1 }\n"),
        can_be_ignored=True,
    ),
    "NN709": Explanation(
        """
Test data estimates how well a network performs on unseen samples, which only works if no decision depends on it.
Stopping at the epoch with the best test figure selects the luckiest of many networks and then reports the figure that
it was selected by, so the result is too optimistic by an unknown amount. Hold out some of the training samples with
`train.validation`, stop on `val_loss`, and use the test data only once, at the end.
""",
        Example("train {\n    epochs = 50\n    early_stop = patience(5, of=test_loss)\n}\n"),
        Example("train {\n    epochs = 50\n    validation = 0.1\n    early_stop = patience(5, of=val_loss)\n}\n"),
        can_be_ignored=True,
    ),
    "NN710": Explanation(
        """
This `let` or `block` is never used, so changing it has no effect. Often it was meant to be used: the constant is
defined, but the model still repeats the number. Unused names in imported files are not reported.
""",
        Example("let width = 64\nmodel {\n    Linear(32)\n    ReLU\n    Linear(10)\n}\n"),
        Example("let width = 64\nmodel {\n    Linear(width)\n    ReLU\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN711": Explanation(
        """
A file of lets, blocks and models that is meant to be imported is fine, but `nnspec run` cannot run it. If it is meant
to be an experiment, it lacks settings that every experiment needs. Otherwise, silence this warning with `# nn:
ignore[NN711]` above its first line.
""",
        Example("block Hidden(units) { Linear(units); ReLU }\n", whole=True),
        Example("# nn: ignore[NN711]\nblock Hidden(units) { Linear(units); ReLU }\n", whole=True),
        can_be_ignored=True,
    ),
    "NN712": Explanation(
        """
`NLL` is −y[label] and `KLDiv` is Σ t (log t − y): both assume that the outputs y are log-probabilities, and do not
check this. Other outputs can grow without bound, so the loss falls below zero and keeps falling while nothing is
learned. Add `LogSoftmax` after the last layer, or use `CrossEntropy` for class labels, which does both in one step.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\nloss = NLL\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n    LogSoftmax\n}\nloss = NLL\n"),
        can_be_ignored=True,
    ),
    "NN713": Explanation(
        """
Batch normalisation subtracts the mean of each channel over the batch, and with it any constant that was added to the
channel: the output is the same with any bias, the bias has zero gradient, and it stays at its initial value. The
normalisation has a learnable shift, which takes the role of the bias. `bias=false` saves the parameters and the time.
Normalisation within each sample, such as `LayerNorm`, subtracts a single mean over all channels, so a bias before it
does matter.
""",
        Example("model {\n    Linear(64)\n    BatchNorm\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(64, bias=false)\n    BatchNorm\n    ReLU\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN714": Explanation(
        """
Batch normalisation divides each feature by its standard deviation over the batch, which is undefined for a single
sample. PyTorch raises an error. nnspec normalises such a batch by the running mean and variance, as in evaluation;
with `batch = 1` these stay at 0 and 1, so the layer only scales and shifts each feature. Use a larger batch size, or a
layer that normalises within each sample, such as `LayerNorm`.
""",
        Example("model {\n    Linear(64, bias=false)\n    BatchNorm\n    ReLU\n    Linear(10)\n}\ntrain.batch = 1\n"),
        Example("model {\n    Linear(64)\n    LayerNorm\n    ReLU\n    Linear(10)\n}\ntrain.batch = 1\n"),
        can_be_ignored=True,
    ),
    "NN715": Explanation(
        """
The training samples do not divide evenly into batches, and the last batch has only one sample. Batch normalisation
needs the standard deviation of each feature over the batch, which is undefined for one sample. PyTorch raises an
error. nnspec normalises this batch by the running mean and variance, as in evaluation, unlike all other batches.
`drop_last = true` skips the last batch. Samples are shuffled every epoch, so it is a different sample each time.
""",
        Example(
            "data = Digits(train=65, test=20)\n"
            "model {\n    Linear(64, bias=false)\n    BatchNorm\n    ReLU\n    Linear(10)\n}\n"
        ),
        Example(
            "data = Digits(train=65, test=20)\n"
            "model {\n    Linear(64, bias=false)\n    BatchNorm\n    ReLU\n    Linear(10)\n}\n"
            "train.drop_last = true\n"
        ),
        can_be_ignored=True,
    ),
    "NN716": Explanation(
        """
Warm-ups, steps, boundaries, restarts and patience are counted in epochs, starting from the end of the warm-up.
Training ends before the schedule takes effect: the rate never leaves the warm-up, or stays at its initial value. Often
the numbers were copied from a longer run, or count steps instead of epochs. A `plateau` acts after 1 + `patience`
epochs at the earliest, because the first epoch always counts as an improvement.
""",
        Example("optimizer = SGD(lr=step(0.1, every=30))\ntrain.epochs = 10\n"),
        Example("optimizer = SGD(lr=step(0.1, every=4))\ntrain.epochs = 10\n"),
        can_be_ignored=True,
    ),
    "NN717": Explanation(
        """
The first epoch always counts as an improvement, so `patience(n)` stops training after 1 + n epochs at the earliest.
Training ends by then. With `restore_best = true` the rule still determines which weights are kept, so there is no
warning.
""",
        Example("train { epochs = 5; validation = 0.1; early_stop = patience(10) }\n"),
        Example("train { epochs = 50; validation = 0.1; early_stop = patience(10) }\n"),
        can_be_ignored=True,
    ),
    "NN718": Explanation(
        """
`train.freeze`, `train.lr_factor`, `train.weight_decay` and `init_from` refer to layers, kinds of layers or kinds of
parameters. A setting has no effect if it matches no parameter, if all matching parameters are frozen, or if each of
them has a more specific setting: a setting for a layer takes precedence over one for a kind of layer. A setting that
has an effect in another lane is not reported.
""",
        Example("model { stem: Linear(32); ReLU; Linear(10) }\ntrain { freeze = [stem]; lr_factor { stem = 0.1 } }\n"),
        Example("model { stem: Linear(32); ReLU; Linear(10) }\ntrain { lr_factor { stem = 0.1 } }\n"),
        can_be_ignored=True,
    ),
    "NN720": Explanation(
        """
Samples with three axes are read as channels-first images, as in PyTorch. Here the last axis has size 1, 3 or 4, like
the colour channels of an image in Keras, OpenCV and Pillow, and the first axis does not. A convolution would treat the
rows of the image as channels. If the channels come last, set `axes=[rows, columns, channels]`; samples are then
transposed as they are read. If they do come first, set `axes=[channels, rows, columns]`.
""",
        no_example="It would need arrays in a binary file.",
        can_be_ignored=True,
    ),
    "NN721": Explanation(
        """
With `Text` data, the target of each position is the next character or word. A layer that lets a position see later ones
gives the answer away: the loss falls close to zero on both training and test data, but the network generates nonsense,
because the characters that it learned to copy do not exist yet at generation time. `MultiHeadAttention` needs
`causal=true` and `Conv1D` needs `padding=causal`; recurrent layers look ahead only if they are `bidirectional`, and
`Linear` and `LayerNorm` never do. Pooling layers, `Flatten`, and `BatchNorm` during training mix all positions.
""",
        Example(
            'data = Text("poem.txt", context=8)\n'
            "model { Embedding(16); MultiHeadAttention(2); Linear(data.classes) }\n",
            {"poem.txt": "How much wood would a woodchuck chuck\nif a woodchuck could chuck wood?\n" * 4},
        ),
        Example(
            'data = Text("poem.txt", context=8)\n'
            "model { Embedding(8); MultiHeadAttention(2, causal=true); Linear(data.classes) }\n",
            {"poem.txt": "How much wood would a woodchuck chuck\nif a woodchuck could chuck wood?\n" * 4},
        ),
        can_be_ignored=True,
    ),
    "NN722": Explanation(
        """
L-BFGS estimates the curvature of the loss from the gradients of its last steps, and looks along a line for a lower
loss. Both need one loss: that of all samples, without noise. Between two batches, or two dropout masks, gradients
differ for other reasons than curvature, and the steps lead astray. Within a step, every evaluation has the same batch
and the same masks.
""",
        Example("data = Digits(train=100, test=50)\noptimizer = LBFGS\ntrain.batch = 10\n"),
        Example("data = Digits(train=100, test=50)\noptimizer = LBFGS\ntrain.batch = data.size\n"),
        can_be_ignored=True,
    ),
    "NN723": Explanation(
        """
Samples of words or other ids are filled with padding up to one length. `MultiHeadAttention`, recurrent layers and
global pools skip padding, and `Embedding`, `Linear`, activations and `LayerNorm` keep positions apart. A layer that
does neither, such as `Flatten`, `Conv1D`, `MaxPool` or `BatchNorm`, mixes padding with the other positions: its
outputs depend on how far a sample is filled, and after it no layer knows which positions are padding. If that is
intended, as in a convolution that learns a row for padding, ignore this warning.
""",
        Example(
            'data = CSV("t.csv", target="kind", words="text", length=4)\n'
            "model { Embedding(8); Flatten; Linear(data.classes) }\nloss = CrossEntropy\n",
            {"t.csv": "text,kind\n" + "so good,a\nreally bad,b\n" * 4},
        ),
        Example(
            'data = CSV("t.csv", target="kind", words="text", length=4)\n'
            "model { Embedding(8); GlobalAvgPool; Linear(data.classes) }\nloss = CrossEntropy\n",
            {"t.csv": "text,kind\n" + "so good,a\nreally bad,b\n" * 4},
        ),
        can_be_ignored=True,
    ),
    "NN724": Explanation(
        """
A sample of this data has several inputs, and each chain of layers begins with the one that it reads: `from(left)`. An
input that no layer reads has no influence on the outputs. Usually a branch was forgotten, or reads another input twice.
If it is meant to be unused, remove it from the data: from `inputs`, or, if it is the column of a table, by `drop`.
""",
        Example('data = Given(inputs=["left", "right"], features=8, classes=2)\nmodel { from(left); Linear(2) }\n'),
        Example(
            'data = Given(inputs=["left", "right"], features=8, classes=2)\n'
            "model { concat { a { from(left) } b { from(right) } }; Linear(2) }\n"
        ),
        can_be_ignored=True,
    ),
    "NN725": Explanation(
        """
A column that counts the rows, or that has a different value in each row and a name such as `id`, says nothing about
new rows. If the table is sorted by the target, it even gives the target away, and the results on a shuffled test split
look better than they are. Remove the column with `drop = ["id"]`. If it is a measurement, such as the minutes elapsed,
ignore this warning.
""",
        no_example="It would need a table with many rows.",
        can_be_ignored=True,
    ),
    "NN726": Explanation(
        """
One column determines the target exactly in every row: the two are equal, one is a linear function of the other, or
each value always comes with the same target. Often that column is the target in another form, such as a class code or
a price in another currency, and is not known when predictions are made. The results are then too good to be true;
`drop` the column. If it is known in advance, no network is needed.
""",
        no_example="It would need a table with many rows.",
        can_be_ignored=True,
    ),
    "NN727": Explanation(
        """
In a text column, an unquoted `NA`, `none` or `?` may be ordinary text, such as an answer or the country code of
Namibia, or it may mark a missing value. It is read as ordinary text. `missing_words` lists the words that mark a
missing value in all columns; columns in `categories` and cells in quotes are always text.
""",
        no_example="It would need a table with many rows.",
        can_be_ignored=True,
    ),
    "NN733": Explanation(
        """
`validation = last(0.2)` holds out the last fifth of the training samples. It is meant for time series, where a network
is evaluated on samples that are later than all training samples. This data is shuffled before it is split, so its last
samples are no later than the others. With `shuffle = false` the samples keep the order of the file.
""",
        Example(
            'data = CSV("walk.csv", target="price")\nmodel { Linear(8); ReLU; Linear(1) }\nloss = MSE\n'
            "train.validation = last(0.2)\n",
            {"walk.csv": "hour,price\n0.5,3\n1,4\n1.5,6\n2,5\n2.5,7\n3,9\n"},
        ),
        Example(
            'data = CSV("walk.csv", target="price", shuffle=false)\nmodel { Linear(8); ReLU; Linear(1) }\nloss = MSE\n'
            "train.validation = last(0.2)\n",
            {"walk.csv": "hour,price\n0.5,3\n1,4\n1.5,6\n2,5\n2.5,7\n3,9\n"},
        ),
        can_be_ignored=True,
    ),
    "NN730": Explanation(
        """
Two points of the sweep are the same run in one of the lanes: the lane overrides everything that depends on the swept
value, or nothing depends on it. The runs differ in name only, and a table of results looks as if the setting did not
matter. Sweep only the other lanes, or remove the setting from the sweep.
""",
        Example(
            "let width = 16\nmodel { hidden: Linear(width); ReLU; Linear(10) }\n"
            "race { narrow { model.hidden.out_features = 4; SGD(lr=0.1) }; Adam }\nsweep { width = [16, 32] }\n"
        ),
        Example(
            "let width = 16\nmodel { hidden: Linear(width); ReLU; Linear(10) }\n"
            "race { narrow { model.hidden.out_features = 4; SGD(lr=0.1) }; Adam }\nsweep { Adam.width = [16, 32] }\n"
        ),
        can_be_ignored=True,
    ),
    "NN735": Explanation(
        """
As in scikit-learn, the classes are the sorted distinct labels. If they are 0 to C − 1, each label is its own class
index. Labels that start from 1 or have gaps are renumbered, and the original numbers become the names of the classes
in tables, confusion matrices and predictions. So labels 1 and 2 are two classes, and `class_weights` has two entries.
In PyTorch, the number of outputs would have to be the largest label plus one. If a gap is a mistake, such as a class
that was lost in preprocessing, check the file.
""",
        no_example="It would need labels in a binary file.",
        can_be_ignored=True,
    ),
    "NN736": Explanation(
        """
An `.npz` file contains arrays that are neither samples nor targets and are not used. Usually they are harmless, such
as feature names. If they include validation samples, those are not used either: add them to the training samples and
hold out a fraction with `train.validation`, or save the file without them.
""",
        no_example="It would need arrays in a binary file.",
        can_be_ignored=True,
    ),
    "NN737": Explanation(
        """
Integer targets are class labels. Here the number of distinct labels is more than half the number of samples, as with
counts, prices or ids, and a network cannot learn a class from one sample. For regression, save the targets as floats.
scikit-learn warns at the same ratio.
""",
        no_example="It would need labels in a binary file.",
        can_be_ignored=True,
    ),
    "NN738": Explanation(
        """
One label is far from the others and is a number such as 255 or −1, which data sets use to mark unlabelled samples,
like `ignore_index` in PyTorch. Here it counts as a class, and the network is trained to predict it. `ignore = 255`
excludes these samples from training and testing. If it really is a class, silence this warning with a comment.
""",
        no_example="It would need labels in a binary file.",
        can_be_ignored=True,
    ),
    "NN739": Explanation(
        """
A search keeps the trial with the best figure. If a tuned setting changes what this figure measures, the search finds
the setting that makes its values smallest, not the best network: an output with a small weight adds little to
`val_loss`, however wrong it is. Choose by a figure with the same meaning in all trials, such as `val_accuracy` or,
for the weight of an output, the loss of that output.
""",
        Example(
            "tune { budget = 4; loss.label_smoothing = uniform(0, 0.3) }\ntrain.validation = 0.2\n",
        ),
        Example(
            "tune { budget = 4; by = val_accuracy; loss.label_smoothing = uniform(0, 0.3) }\ntrain.validation = 0.2\n",
        ),
        can_be_ignored=True,
    ),
    "NN790": Explanation(
        """
A comment `# nn: ignore[NN703]` silences that advice on its own line or, if it is alone on a line, on the next line.
This comment silences nothing: the advice is no longer given, or is given on another line. Unused comments are reported
because they could silence new advice in the future. `nnspec check --fix` removes them.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)  # nn: ignore[NN703]\n}\n"),
        Example("model {\n    Linear(64)\n    Linear(10)  # nn: ignore[NN703]\n}\n"),
    ),
    "NN791": Explanation(
        """
An ignore comment lists codes in brackets, separated by commas: `# nn: ignore[NN701]`. Without a code it would also
silence advice that you have not seen yet. An unknown code has no effect. Errors cannot be ignored, since a spec with
an error cannot be run.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)  # nn: ignore\n}\n"),
        Example("model {\n    Linear(64)\n    Linear(10)  # nn: ignore[NN703]\n}\n"),
    ),
}

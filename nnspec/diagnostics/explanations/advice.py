"""NN7xx: what is legal and hardly meant."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN701": Explanation(
        """
No sample ever has a label beyond the number of classes, so training can only teach the extra outputs to stay low. This
works but wastes weights in the last layer. Usually the number was copied from another data set (1000 is ImageNet's).
`Linear(data.classes)` always fits.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(100)\n}\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(data.classes)\n}\n"),
        can_be_ignored=True,
    ),
    "NN702": Explanation(
        """
`CrossEntropy` takes logits and applies the softmax itself, in one step with the logarithm: log Σ eᶻ − z[label]
neither overflows nor loses digits, and its gradient is softmax − one-hot, which never fades while the network is
wrong. `BCEWithLogits` does the same with a sigmoid for each output.

An activation before it spoils that. Outputs squeezed into 0 to 1 by a sigmoid (or a softmax) give, after the second
softmax, at most e / (e + 9) ≈ 0.23 for the right one of ten classes: the loss cannot fall below about 1.46, and a
wrong output that is saturated has almost no gradient. ReLU cuts off every negative logit, and with it the gradient.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n    Sigmoid\n}\nloss = CrossEntropy\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\nloss = CrossEntropy\n"),
        can_be_ignored=True,
    ),
    "NN703": Explanation(
        """
(x W₁ + b₁) W₂ + b₂ is x W + b for another W and b: two linear layers in a row can compute nothing that one could not,
with more weights and more time. Usually the activation between them was forgotten. If a narrow first layer is meant to
limit the rank of W, ignore this warning.
""",
        Example("model {\n    Linear(128)\n    Linear(64)\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(128)\n    ReLU\n    Linear(64)\n    ReLU\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN704": Explanation(
        """
He initialisation has variance 2 / fan_in. The 2 makes up for ReLU, which sets half of its inputs to zero and so halves
their mean square (He et al. 2015). Tanh and sigmoid do not: with weights about √2 too large, each layer drives them
further into saturation, where gradients are near zero. For these, Glorot and Bengio (2010) derived 2 / (fan_in +
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
values are the network's outputs: the loss is then computed from outputs of which some were zeroed, whatever the
network has learned, and the gradient teaches it to hedge. Dropout belongs between the layers, after an activation.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n    Dropout(0.2)\n}\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Dropout(0.2)\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN706": Explanation(
        """
Each optimizer has a range of learning rates that work in practice. Adam divides each step by the size of recent
gradients, so every weight moves by about lr per step whatever the gradient's scale: 0.1 is far too much for it, but
fine for plain SGD, whose steps shrink with the gradients. A rate outside the range is usually meant for another
optimizer, or has a zero too few or too many.
""",
        Example("optimizer = Adam(lr=0.1)\n"),
        Example("optimizer = Adam(lr=0.001)\n"),
        can_be_ignored=True,
    ),
    "NN707": Explanation(
        """
A batch is never larger than the data that it is drawn from, so each epoch here is a single step on all samples:
gradient descent without the S. In 10 epochs the network takes 10 steps and learns next to nothing. For full-batch
training, set `train.batch = data.size`.
""",
        Example("data = Digits(train=100, test=50)\ntrain.batch = 256\n"),
        Example("data = Digits(train=100, test=50)\ntrain.batch = 25\n"),
        can_be_ignored=True,
    ),
    "NN708": Explanation(
        """
The outcome of training depends on the seed, which determines the initial weights, the order of samples and dropout. A
statement such as `test_accuracy > 0.9` is a test, and a test should say for which run it holds. Without a `seed`,
nnspec uses 0, so the spec is reproducible, but a reader cannot tell whether the author chose it. To test more than one
seed, use `train.repeats`.
""",
        Example("expect { test_accuracy > 0.1 }\n"),
        Example("seed = 42\nexpect { test_accuracy > 0.1 }\n"),
        can_be_ignored=True,
    ),
    "NN709": Explanation(
        """
Test data estimates how a network does on unseen samples, which only works if no decision depends on it. Stopping at
the epoch with the best test figure picks the luckiest of many networks and then reports the very figure that it was
picked by, so the result is too optimistic by an unknown amount. Hold out some of the training samples with
`train.validation`, stop by `val_loss`, and look at the test data once, at the end.
""",
        Example("train {\n    epochs = 50\n    early_stop = patience(5, of=test_loss)\n}\n"),
        Example("train {\n    epochs = 50\n    validation = 0.1\n    early_stop = patience(5, of=val_loss)\n}\n"),
        can_be_ignored=True,
    ),
    "NN710": Explanation(
        """
Nothing depends on this `let` or `block`, so changing it has no effect. Often something was meant to use it: the
constant is defined, but the model still repeats the number. In a file that others import, unused names are not
reported.
""",
        Example("let width = 64\nmodel {\n    Linear(32)\n    ReLU\n    Linear(10)\n}\n"),
        Example("let width = 64\nmodel {\n    Linear(width)\n    ReLU\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN711": Explanation(
        """
A file of lets, blocks and models is meant to be imported, and nothing is wrong with it; `nnspec run` just cannot run
it. If it is meant to be an experiment, it lacks the settings that every experiment needs. If it is not, silence this
warning with `# nn: ignore[NN711]` above its first line.
""",
        Example("block Hidden(units) { Linear(units); ReLU }\n", whole=True),
        Example("# nn: ignore[NN711]\nblock Hidden(units) { Linear(units); ReLU }\n", whole=True),
        can_be_ignored=True,
    ),
    "NN712": Explanation(
        """
`NLL` is −y[label] and `KLDiv` is Σ t (log t − y): both assume that the outputs y are log-probabilities and do not
check it. Other outputs can grow without bound, so the loss falls below zero and keeps falling while nothing is
learned. `LogSoftmax` after the last layer turns its outputs into log-probabilities. For class labels, `CrossEntropy`
does both in one step.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\nloss = NLL\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n    LogSoftmax\n}\nloss = NLL\n"),
        can_be_ignored=True,
    ),
    "NN713": Explanation(
        """
Batch normalisation subtracts the mean of each channel over the batch, and with it any constant that was added to the
channel: the output is the same with any bias, the bias has zero gradient, and it stays at its initial value. The
normalisation has its own shift, which does the job of the bias. `bias=false` saves the parameters and the time. A norm
within each sample, such as `LayerNorm`, subtracts one mean over all channels, so a bias before it matters.
""",
        Example("model {\n    Linear(64)\n    BatchNorm\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(64, bias=false)\n    BatchNorm\n    ReLU\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN714": Explanation(
        """
Batch normalisation divides each feature by its standard deviation over the batch, which is undefined for a single
sample. PyTorch raises an error. nnspec normalises such a batch by the running mean and variance, as in evaluation;
with `batch = 1` these stay at 0 and 1, so the layer only scales and shifts each feature. Use a larger batch, or a
layer that normalises within each sample, such as `LayerNorm`.
""",
        Example("model {\n    Linear(64, bias=false)\n    BatchNorm\n    ReLU\n    Linear(10)\n}\ntrain.batch = 1\n"),
        Example("model {\n    Linear(64)\n    LayerNorm\n    ReLU\n    Linear(10)\n}\ntrain.batch = 1\n"),
        can_be_ignored=True,
    ),
    "NN715": Explanation(
        """
The training samples do not divide evenly into batches, so the last batch has a single sample. Batch normalisation
needs the standard deviation of each feature over the batch, which is undefined for one sample. PyTorch raises an
error. nnspec normalises this batch by the running mean and variance, as in evaluation, unlike all other batches.
`drop_last = true` skips the last batch. Samples are shuffled every epoch, so a different sample is skipped each time.
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
the numbers were copied from a longer training, or count steps instead of epochs. A `plateau` acts after 1 + `patience`
epochs at the earliest, because the first epoch always counts as an improvement.
""",
        Example("optimizer = SGD(lr=step(0.1, every=30))\ntrain.epochs = 10\n"),
        Example("optimizer = SGD(lr=step(0.1, every=4))\ntrain.epochs = 10\n"),
        can_be_ignored=True,
    ),
    "NN717": Explanation(
        """
The first epoch always counts as an improvement, so `patience(n)` stops training after 1 + n epochs at the earliest.
Training ends by then. With `restore_best = true` the rule still decides which weights are kept, so there is no
warning.
""",
        Example("train { epochs = 5; validation = 0.1; early_stop = patience(10) }\n"),
        Example("train { epochs = 50; validation = 0.1; early_stop = patience(10) }\n"),
        can_be_ignored=True,
    ),
    "NN718": Explanation(
        """
`train.freeze`, `train.lr_factor` and `train.weight_decay` name layers, kinds of layers or kinds of parameters. A
setting changes nothing if no parameter goes by its name, if all that do are frozen, or if each of them has a more
specific setting: a layer's takes precedence over a kind's. A setting that has an effect in another lane is not
reported.
""",
        Example("model { stem: Linear(32); ReLU; Linear(10) }\ntrain { freeze = [stem]; lr_factor { stem = 0.1 } }\n"),
        Example("model { stem: Linear(32); ReLU; Linear(10) }\ntrain { lr_factor { stem = 0.1 } }\n"),
        can_be_ignored=True,
    ),
    "NN720": Explanation(
        """
Samples with three axes are read as images with the channels first, as in PyTorch. Here the last axis has size 1, 3 or
4, as the colour channels of an image have in Keras, OpenCV and Pillow, and the first axis does not. A convolution
would treat the rows of the image as channels. Set `axes=[rows, columns, channels]` if the channels come last; samples
are then transposed as they are read. Set `axes=[channels, rows, columns]` if they do come first.
""",
        untold="It is about arrays in a binary file.",
        can_be_ignored=True,
    ),
    "NN721": Explanation(
        """
In a `Text`, the target of each position is the next character. A layer that lets a position see later ones gives the
answer away: the loss falls close to zero on training and test data alike, but the network generates nonsense, because
the characters that it learned to copy do not exist yet at generation time. `MultiHeadAttention` needs `causal=true`
and `Conv1D` needs `padding=causal`; recurrent layers, `Linear` and `LayerNorm` never look ahead. Pools, `Flatten`, and
`BatchNorm` in training mix all positions.
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
    "NN725": Explanation(
        """
A column that counts the rows, or has a different value in each row under a name such as `id`, tells nothing about new
rows. If the table is sorted by the target, it even gives the target away, and the figures of a shuffled test split
look better than they are. Remove it with `drop = ["id"]`. If the number is a measurement, such as the minutes since a
start, ignore this warning.
""",
        untold="It is about the columns of a table.",
        can_be_ignored=True,
    ),
    "NN726": Explanation(
        """
In every row, one column determines the target exactly: the two are equal, or lie on a straight line, or each value
always comes with the same target. Often that column is the target in another form, such as a code for the class or a
price in another currency, and is unknown when predictions are made. The figures are then too good to be true; `drop`
the column. If it is known beforehand, no network is needed.
""",
        untold="It is about the columns of a table.",
        can_be_ignored=True,
    ),
    "NN727": Explanation(
        """
In a column of text, an unquoted `NA`, `none` or `?` may be ordinary text, such as the country code of Namibia or an
answer, or it may mark a missing value. It is read as ordinary text. `missing_words` lists the words that mark a
missing value in all columns; columns in `categories` and cells in quotes are always text.
""",
        untold="It is about the cells of a table.",
        can_be_ignored=True,
    ),
    "NN733": Explanation(
        """
`validation = last(0.2)` holds out the last fifth of the training samples. It is meant for series, where a network is
judged by what came after everything it was trained on. This data is shuffled before it is split, so its last samples
are no later than the others. With `shuffle = false` it stays in the order of its file.
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
Two points of the sweep come to the same training in a lane: the lane itself sets what follows the swept value, or
nothing follows it. The runs differ in name only, and a table of them looks as if the setting did not matter. Sweep the
other lanes only, or leave the setting out.
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
PyTorch would need one more output than the largest label. If a gap is a mistake, such as a class that was lost in
preprocessing, check the file.
""",
        untold="It is about labels in a binary file.",
        can_be_ignored=True,
    ),
    "NN736": Explanation(
        """
An `.npz` file contains arrays that are neither samples nor targets and are not used. Usually they are harmless, such
as feature names. If there are validation samples among them, training does not use those either. Add them to the
training samples and hold out a share with `train.validation`, or save the file without them.
""",
        untold="It is about arrays in a binary file.",
        can_be_ignored=True,
    ),
    "NN737": Explanation(
        """
Targets that are whole numbers are classes. Here there are more than half as many distinct labels as samples, as with
counts, prices or ids, and a network cannot learn a class from one sample. For a regression, save the targets as
floats. scikit-learn warns at the same share.
""",
        untold="It is about labels in a binary file.",
        can_be_ignored=True,
    ),
    "NN738": Explanation(
        """
One label is far from the others and is a number such as 255 or −1, which data sets use to mark unlabelled samples,
like `ignore_index` in PyTorch. Here it counts as a class, and the network is trained to predict it. `ignore = 255`
leaves out these samples in training and testing. If it really is a class, silence this warning with a comment.
""",
        untold="It is about labels in a binary file.",
        can_be_ignored=True,
    ),
    "NN790": Explanation(
        """
A comment `# nn: ignore[NN703]` silences that advice on its line, or, on a line of its own, on the line below. This
one silences nothing: the advice is not given any more, or on another line. It is reported so that comments do not
outlive what they were about, and some day silence something new. `nnspec check --fix` takes it out.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)  # nn: ignore[NN703]\n}\n"),
        Example("model {\n    Linear(64)\n    Linear(10)  # nn: ignore[NN703]\n}\n"),
    ),
    "NN791": Explanation(
        """
A comment that ignores advice names the codes, in brackets: `# nn: ignore[NN701]`, or several with commas between.
Without a code it would silence what nobody has seen yet; an unknown code silences nothing; and errors cannot be
ignored, since a spec with an error has no meaning that could be run.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)  # nn: ignore\n}\n"),
        Example("model {\n    Linear(64)\n    Linear(10)  # nn: ignore[NN703]\n}\n"),
    ),
}

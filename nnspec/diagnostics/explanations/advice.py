"""NN7xx: what is legal and hardly meant."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Example, Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN701": Explanation(
        """ No sample ever has the label of the outputs beyond the classes, so all that
training can teach them is to keep quiet. It works, and wastes the weights of the last layer; usually the number was
copied from another data set (1000 is ImageNet's). `Linear(data.classes)` always fits.
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
(x W₁ + b₁) W₂ + b₂ is x W + b for another W and b: two linear layers in a row can say nothing that one could not,
with more weights and more time. Usually the activation between them was forgotten. Where a narrow first layer is
meant to limit the rank of W, say so by ignoring this advice.
""",
        Example("model {\n    Linear(128)\n    Linear(64)\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(128)\n    ReLU\n    Linear(64)\n    ReLU\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN704": Explanation(
        """
He's start has the variance 2 / fan_in. The 2 makes up for ReLU, which sets half of its inputs to zero and so halves
their mean square (He et al. 2015). Tanh and sigmoid cut nothing off: with weights about √2 too large, each layer drives
them further into the flat part of their curve, where gradients are near zero. For these Glorot and Bengio (2010)
derived 2 / (fan_in + fan_out), which is `xavier_normal`. With one hidden layer one hardly sees the difference; with
ten, it decides whether the first learns at all.
""",
        Example("model {\n    Linear(64)\n    Tanh\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(64, init=xavier_normal)\n    Tanh\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN705": Explanation(
        """
Dropout sets values to zero at random while training, so that no unit can rely on one other. Behind the last layer the
values are the network's answers: the loss is then computed for answers of which some were wiped out, whatever the
network knew, and the gradient teaches it to hedge. Dropout belongs between the layers, after an activation.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n    Dropout(0.2)\n}\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Dropout(0.2)\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN706": Explanation(
        """
Each optimizer has a range of rates that is used in practice. Adam divides each step by the size of recent gradients,
so that every weight moves by about lr a step whatever the gradient's scale: 0.1 is far too much for it, and fair for
plain SGD, whose steps shrink with the gradients. A rate outside of the range is usually one for another optimizer, or
has a zero too few or too many.
""",
        Example("optimizer = Adam(lr=0.1)\n"),
        Example("optimizer = Adam(lr=0.001)\n"),
        can_be_ignored=True,
    ),
    "NN707": Explanation(
        """
A batch is never larger than the data it is drawn from, so each epoch here is one single step with all samples:
gradient descent without the S. With 10 epochs a network takes 10 steps, which teaches it next to nothing. Where
full-batch training is meant, `train.batch = data.size` says so.
""",
        Example("data = Digits(train=100, test=50)\ntrain.batch = 256\n"),
        Example("data = Digits(train=100, test=50)\ntrain.batch = 25\n"),
        can_be_ignored=True,
    ),
    "NN708": Explanation(
        """
What comes out of training depends on the seed: the starting weights, the order of samples and the dropout follow from
it. A statement such as `test_accuracy > 0.9` is a test, and a test should say for which run it holds. Without a
`seed`, nnspec takes 0, so the spec is reproducible as it is, but a reader cannot see that the author ever chose. To
test that it holds for more than one seed, there is `train.repeats`.
""",
        Example("expect { test_accuracy > 0.1 }\n"),
        Example("seed = 42\nexpect { test_accuracy > 0.1 }\n"),
        can_be_ignored=True,
    ),
    "NN709": Explanation(
        """
Test data is there to say how a network does on what it has never seen, and that only works while no decision depends
on it. Stopping at the epoch that looks best on the test data picks the luckiest of many networks, judged by the very
figure that is then reported: it comes out better than the network is, and by how much nobody can tell. Hold some of
the training samples out with `train.validation`, stop by `val_loss`, and look at the test data once, at the end.
""",
        Example("train {\n    epochs = 50\n    early_stop = patience(5, of=test_loss)\n}\n"),
        Example("train {\n    epochs = 50\n    validation = 0.1\n    early_stop = patience(5, of=val_loss)\n}\n"),
        can_be_ignored=True,
    ),
    "NN710": Explanation(
        """
Nothing depends on this `let` or `block`, so to change it changes nothing. Often something else was meant to use it:
the constant stands at the top, and the number is still written out in the model. In a file that others import, unused
names are not reported.
""",
        Example("let width = 64\nmodel {\n    Linear(32)\n    ReLU\n    Linear(10)\n}\n"),
        Example("let width = 64\nmodel {\n    Linear(width)\n    ReLU\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN711": Explanation(
        """
A file of lets, blocks and models is there for others to import, and nothing is wrong with it; only `nnspec run` has
nothing to run. Where it is meant to be an experiment, it lacks the settings that every experiment has. Where it is not,
a comment says so: `# nn: ignore[NN711]` above its first line.
""",
        Example("block Hidden(units) { Linear(units); ReLU }\n", whole=True),
        Example("# nn: ignore[NN711]\nblock Hidden(units) { Linear(units); ReLU }\n", whole=True),
        can_be_ignored=True,
    ),
    "NN712": Explanation(
        """
`NLL` is −y[label] and `KLDiv` is Σ t (log t − y): both believe that the outputs y are logarithms of probabilities, and
look at nothing that would tell. Other outputs may be made as large as one likes, and then the loss falls below zero and
goes on falling while nothing is learnt. `LogSoftmax` behind the last layer makes any numbers such logarithms. With
class labels, `CrossEntropy` is both in one step.
""",
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n}\nloss = NLL\n"),
        Example("model {\n    Linear(64)\n    ReLU\n    Linear(10)\n    LogSoftmax\n}\nloss = NLL\n"),
        can_be_ignored=True,
    ),
    "NN713": Explanation(
        """
Batch normalisation takes the mean of each channel over the batch off, and with it whatever was added to the channel
everywhere: y is the same with any bias, the bias has a gradient of zero, and it stays where it starts. The
normalisation has a shift of its own behind it, which does what the bias was for. `bias=false` saves the parameters and
the time. A norm within the sample, such as `LayerNorm`, takes one mean off all channels, so a bias before it counts.
""",
        Example("model {\n    Linear(64)\n    BatchNorm\n    ReLU\n    Linear(10)\n}\n"),
        Example("model {\n    Linear(64, bias=false)\n    BatchNorm\n    ReLU\n    Linear(10)\n}\n"),
        can_be_ignored=True,
    ),
    "NN714": Explanation(
        """
Batch normalisation divides each feature by its standard deviation over the batch, and one sample has none. PyTorch
raises an error. nnspec normalises such a batch by the running mean and variance, as in evaluation; with `batch = 1`
these never move from 0 and 1, so the layer is only a scale and a shift for each feature. Use a larger batch, or a
normalisation within the sample, such as `LayerNorm`.
""",
        Example("model {\n    Linear(64, bias=false)\n    BatchNorm\n    ReLU\n    Linear(10)\n}\ntrain.batch = 1\n"),
        Example("model {\n    Linear(64)\n    LayerNorm\n    ReLU\n    Linear(10)\n}\ntrain.batch = 1\n"),
        can_be_ignored=True,
    ),
    "NN715": Explanation(
        """
The training samples do not divide evenly into batches, and a single sample is left for the last one. Batch
normalisation needs the standard deviation of each feature over the batch, and one sample has none. PyTorch raises an
error. nnspec normalises this batch by the running mean and variance, as in evaluation, unlike all other batches.
`drop_last = true` skips the last batch; every epoch has its own order, so a different sample is skipped each time.
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
Warm-ups, steps, boundaries, restarts and patience are counted in epochs, from the end of the warm-up on. Here training
ends first, so the rate never does what the schedule is for: it only climbs through the warm-up, or it stays at its
start. Often the numbers come from a longer training, or count steps where epochs are meant. A `plateau` acts after
1 + `patience` epochs at the earliest, because the first epoch always counts as an improvement.
""",
        Example("optimizer = SGD(lr=step(0.1, every=30))\ntrain.epochs = 10\n"),
        Example("optimizer = SGD(lr=step(0.1, every=4))\ntrain.epochs = 10\n"),
        can_be_ignored=True,
    ),
    "NN717": Explanation(
        """
The first epoch always counts as an improvement, so `patience(n)` stops training after 1 + n epochs at the earliest.
Here training ends by then. With `restore_best = true` the rule still decides which weights are kept, and nothing is
said.
""",
        Example("train { epochs = 5; validation = 0.1; early_stop = patience(10) }\n"),
        Example("train { epochs = 50; validation = 0.1; early_stop = patience(10) }\n"),
        can_be_ignored=True,
    ),
    "NN720": Explanation(
        """
Samples of three axes are images, channels first, as in PyTorch. Here the last axis has 1, 3 or 4 entries, as the
colours of an image do in Keras, OpenCV and Pillow, and the first has another number. A convolution would take the rows
of the image for channels. `axes=[rows, columns, channels]` says that the channels come last; samples are then
transposed as they are read. Where the channels do come first, `axes=[channels, rows, columns]` says so.
""",
        untold="It is about arrays in a binary file.",
        can_be_ignored=True,
    ),
    "NN721": Explanation(
        """
The target of each place of a `Text` is the character at the next place. A layer that lets a place see later ones hands
it the answer: the loss falls close to zero in training and on the test data alike, and the network writes nonsense,
since what it learned to copy is not there yet when it writes. `MultiHeadAttention` needs `causal=true` and `Conv1D`
needs `padding=causal`; recurrent layers, `Linear` and `LayerNorm` never look ahead. Pools, `Flatten`, and `BatchNorm`
while it trains, mix all places.
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
A column that counts the rows, or has a different value in each under a name such as `id`, says nothing about rows to
come. In a table that is sorted by the target it even gives the target away, and figures of a shuffled test split look
better than they are. `drop = ["id"]` leaves it out. Where the number is a measurement, such as the minutes since a
start, ignore this.
""",
        untold="It is about the columns of a table.",
        can_be_ignored=True,
    ),
    "NN726": Explanation(
        """
In every row of the table the target follows from one column exactly: both are the same number, or lie on a straight
line, or each value goes with one target and no other. Often that column is the target in another form, such as a code
for the class or a price in another currency, and is not known when predictions are made. Then figures are too good to
be true; `drop` it. Where it is known beforehand, no network is needed.
""",
        untold="It is about the columns of a table.",
        can_be_ignored=True,
    ),
    "NN727": Explanation(
        """
In a column of text, `NA`, `none` or `?` without quotes may be a text like any other, such as the code of Namibia or an
answer, or may mean that the value is missing. It counts as a text. `missing_words` says which words mean in all columns
that a value is missing; columns in `categories`, and cells in quotes, are text in any case.
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
Labels are classes as in scikit-learn: the distinct values, sorted. Where they are 0 to C − 1, each label is its class.
Labels from 1, or with gaps, are numbered anew, and the numbers in the file become the names of the classes, in tables,
confusion matrices and predictions. So labels 1 and 2 are two classes, and `class_weights` has two entries. PyTorch
would take as many classes as the largest label says. Where the gap is a mistake, such as a class that was lost on the
way, check the file.
""",
        untold="It is about labels in a binary file.",
        can_be_ignored=True,
    ),
    "NN736": Explanation(
        """
An `.npz` file has arrays beside samples and targets, and nothing reads them. Usually that is harmless, such as the
names of features. Samples for validation are read where they have targets, under the names `x_val` and `y_val`.
""",
        untold="It is about arrays in a binary file.",
        can_be_ignored=True,
    ),
    "NN737": Explanation(
        """
Targets that are whole numbers are classes. More than half of these samples have a label of their own, as a count, a
price or an id would have, and a network cannot learn a class from one sample. Save the targets as floats for a
regression. scikit-learn warns at the same share.
""",
        untold="It is about labels in a binary file.",
        can_be_ignored=True,
    ),
    "NN738": Explanation(
        """
One label is far from the others and a number such as 255 or −1, which data sets use for samples without a label, as
`ignore_index` does in PyTorch. Here it is a class of its own, and the network is trained to predict it. `ignore = 255`
leaves these samples out, in training and in testing. Where it is a class, a comment says so.
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

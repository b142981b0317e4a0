"""Texts of specs without a fault, which between them use most of the language."""

from __future__ import annotations

from pathlib import Path

RACE = (Path(__file__).resolve().parents[1] / "specs" / "race.nn").read_text(encoding="utf-8")
LANES = """\
let width = 48   # neurons
let rate = 0.01

seed = 7
dtype = float64
data = Digits(train=500, test=100)
metrics = [accuracy]
loss = CrossEntropy
optimizer = SGD(lr=rate, momentum=0.5)
model = small

model small {
    first: Linear(784, width)
    ReLU
    Dropout(0.25)
    Linear(width, 10, bias=false)
}

model big {
    Linear(2 * width, init=xavier_normal)
    Tanh
    Linear(width + 16, init=xavier_uniform)
    Sigmoid
    Linear(10)
}

train {
    epochs = 4
    batch = max(16, 32)
    shuffle = true
    drop_last = false
}

race "two sizes" {
    quick: Adam(lr=0.002, betas=(0.9, 0.99))
    wide { model = big; optimizer.lr = 0.002; train.batch = 64 }
    last {
        MSE
        train.epochs = 2
    }
}

expect {
    params < 900_000
    wide.loss <= 2.5 and quick.test_accuracy > 0.05
    epochs_to(loss=1.5) < 3 or gradient_error < 1e-6
}
"""
BLOCKS = """\
let width = 32
let act = ReLU

seed = 3
data = Digits(train=400, test=100)
loss = CrossEntropy
optimizer = Adam(lr=cosine(0.002, to=1e-5, warmup=1))

block Hidden(n, p=0.1) {
    Linear(n)
    act
    Dropout(p)
}

block Deep(n) {
    Hidden(n, p=0.2) * 2
    residual {
        Hidden(n)
        shortcut { Linear(n, bias=false) }
    }
}

model {
    first: Deep(width)
    concat {
        a { Linear(width // 4); ReLU }
        b { }
    }
    add {
        a { Linear(24) }
        b { Hidden(24) * 2 }
    }
    ReLU
    Linear(data.classes)
}
model.first.Hidden1.p = 0.05

train {
    epochs = 3
    batch = 25
    validation = 0.2
    early_stop = patience(1, of=val_loss)
    clip_norm = 5.0
    repeats = 2
}

sweep {
    width = [16, 32]
    optimizer.lr = logspace(-4, -2, 3)
}

expect {
    params < 200_000
    val_accuracy > 0.1 or test_loss < 3
}
"""

"""Parts that nnspec does not have, each as a user would write it."""

from __future__ import annotations

from dataclasses import KW_ONLY
from math import prod

import numpy as np

from nnspec.parts import Geometry, Layer, LearningRate, Optimizer, Positive, Probability, ShapeError, Work, kept, saved


class FirstAdan(Optimizer):
    """θ ← (1 − lr·λ)·θ − lr · (m̂ + β₂·v̂) / (√n̂ + ε), for means m of g, v of Δg, n of (g + β₂·Δg)². Xie et al. 2022."""

    spec_name = "FirstAdan"
    decoupled = True
    scratches = ("change", "step")
    lr: LearningRate = LearningRate(0.001)
    betas: tuple[Probability, Probability, Probability] = (0.98, 0.92, 0.99)
    eps: Positive = 1e-8

    @classmethod
    def state_slots(cls, arguments):
        return "m", "v", "n", "last"

    def update(self, theta, grad, change, step, m, v, n, last):
        if self.steps == 1:
            np.copyto(last, grad)  # the first gradient has not changed
        np.subtract(grad, last, out=change)
        np.copyto(last, grad)
        b1, b2, b3 = self.betas
        for mean, value, beta in ((m, grad, b1), (v, change, b2)):
            np.multiply(mean, beta, out=mean)
            np.add(mean, np.multiply(value, 1 - beta, out=step), out=mean)
        np.add(grad, np.multiply(change, b2, out=change), out=change)
        np.multiply(n, b3, out=n)
        np.add(n, np.multiply(np.square(change, out=change), 1 - b3, out=change), out=n)
        np.divide(v, (1 - b2**self.steps) / b2, out=step)
        np.add(step, np.divide(m, 1 - b1**self.steps, out=change), out=step)
        np.sqrt(np.divide(n, 1 - b3**self.steps, out=change), out=change)
        np.divide(step, np.add(change, self.eps, out=change), out=step)
        np.subtract(theta, np.multiply(step, self.lr, out=step), out=theta)


class Signum(Optimizer):
    """θ ← (1 − lr·λ)·θ − lr · sign(m), with the mean m of gradients. Bernstein et al. 2018."""

    spec_name = "Signum"
    decoupled = True
    lr: LearningRate = LearningRate(0.001)
    _: KW_ONLY
    momentum: Probability = 0.9

    @classmethod
    def state_slots(cls, arguments):
        return ("m",)

    def update(self, theta, grad, scratch, m):
        np.multiply(m, self.momentum, out=m)
        np.add(m, np.multiply(grad, 1 - self.momentum, out=scratch), out=m)
        np.subtract(theta, np.multiply(np.sign(m, out=scratch), self.lr, out=scratch), out=theta)


class ReGLU(Layer):
    """y = max(a, 0) · b for the halves a and b of the features, `(…, 2F) -> (…, F)`. Shazeer 2020."""

    spec_name = "ReGLU"
    family = "activation"
    samples_independent = True
    backward_reads = frozenset({"input"})
    _x = kept()

    @classmethod
    def geometry(cls, incoming, arguments):
        *places, width = incoming
        if len(places) > 1 or width % 2:
            raise ShapeError(f"ReGLU halves the features, and got {width}", help="an even number of features fits")
        out = (*places, width // 2)
        return Geometry(out, flops=2 * prod(out), work={"gate": Work(out)})

    def forward(self, x, out=None):
        self._x = x
        a, b = np.split(x, 2, axis=-1)
        return np.multiply(np.maximum(a, 0, out=self.work_array("gate", a.shape, a.dtype)), b, out=out)

    def backward(self, grad, out=None, *, input_grad=True):
        x = saved(self._x, self)
        dx = np.empty_like(x) if out is None else out
        (a, b), (da, db) = np.split(x, 2, axis=-1), np.split(dx, 2, axis=-1)
        gate = np.maximum(a, 0, out=self.work_array("gate", a.shape, a.dtype))
        np.multiply(grad, gate, out=db)
        np.multiply(grad, np.multiply(np.sign(gate, out=gate), b, out=gate), out=da)
        return dx

    def sides(self):
        return np.split(self._x, 2, axis=-1)[0] > 0

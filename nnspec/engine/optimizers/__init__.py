"""Optimizers: how a gradient becomes a step. Families in the order of how hard they are to understand.

θ is a parameter, g its gradient, lr the learning rate, t the number of the step from 1, and every other letter starts
from 0; all operations are element by element and in place, unless a class says that it needs whole tensors. An
optimizer takes any list of parameters, and the compiled plan gives it a list of one: the vector that holds all tensors,
with their places in it (`Parameter.segments`).

Where lr is a schedule, whoever trains says before each step where training stands:

    optimizer = nn.SGD(model.parameters(), lr=nn.CosineSchedule(0.1))
    optimizer.at(epoch + batch / batches, epochs)
    optimizer.step()
"""

from nnspec.engine.optimizers.adam import Adam, AdaMax, AdamW, AMSGrad, NAdam, RAdam
from nnspec.engine.optimizers.adaptive import AdaDelta, AdaGrad, RMSProp
from nnspec.engine.optimizers.contract import Group, Optimizer
from nnspec.engine.optimizers.descent import SGD, Momentum, Nesterov
from nnspec.engine.optimizers.lamb import LAMB
from nnspec.engine.optimizers.lion import Lion

__all__ = [
    "LAMB",
    "SGD",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "Group",
    "Lion",
    "Momentum",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "RAdam",
    "RMSProp",
]

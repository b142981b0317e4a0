"""Optimizers: update parameters from gradients. Families are ordered by how hard they are to understand.

θ is a parameter, g its gradient, lr the learning rate, t the step number from 1, and all other letters are state that
starts from 0, unless a class says otherwise; all operations are elementwise and in place, unless a class says that it
needs whole tensors. An optimizer takes any list of parameters; the compiled plan passes a list of one, the vector that
holds all tensors with their positions in it (`Parameter.segments`).

If lr is a schedule, the training loop reports its progress before each step:

    optimizer = nn.SGD(model.parameters(), lr=nn.CosineSchedule(0.1))
    optimizer.at(epoch + batch / batches, epochs)
    optimizer.step()
"""

from nnspec.engine.optimizers.adam import Adam, AdaMax, AdamW, AMSGrad, NAdam, RAdam
from nnspec.engine.optimizers.adan import Adan
from nnspec.engine.optimizers.adaptive import AdaDelta, AdaGrad, RMSProp
from nnspec.engine.optimizers.contract import Group, Optimizer
from nnspec.engine.optimizers.descent import SGD, Momentum, Nesterov
from nnspec.engine.optimizers.lamb import LAMB
from nnspec.engine.optimizers.lbfgs import LBFGS
from nnspec.engine.optimizers.lion import Lion
from nnspec.engine.optimizers.muon import Muon
from nnspec.engine.optimizers.prodigy import Prodigy
from nnspec.engine.optimizers.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from nnspec.engine.optimizers.soap import SOAP

__all__ = [
    "LAMB",
    "LBFGS",
    "SGD",
    "SOAP",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "Adan",
    "Group",
    "Lion",
    "Momentum",
    "Muon",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "Prodigy",
    "RAdam",
    "RMSProp",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
]

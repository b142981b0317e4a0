"""The NumPy engine: layers, losses, optimizers and the gradient check, usable as a library of its own.

One step of training:

    from nnspec import engine as nn

    model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    loss, optimizer = nn.CrossEntropyLoss(), nn.Adam(model.parameters(), lr=0.001)
    value = loss(model(x), labels)
    model.backward(loss.backward())
    optimizer.step()

Arrays are float64 unless a layer is created with `dtype="float32"`.
"""

from types import ModuleType

from nnspec.engine.accumulation import *  # noqa: F403
from nnspec.engine.augmentations import *  # noqa: F403
from nnspec.engine.averaging import *  # noqa: F403
from nnspec.engine.clipping import *  # noqa: F403
from nnspec.engine.gradcheck import *  # noqa: F403
from nnspec.engine.initializers import *  # noqa: F403
from nnspec.engine.layers import *  # noqa: F403
from nnspec.engine.losses import *  # noqa: F403
from nnspec.engine.metrics import *  # noqa: F403
from nnspec.engine.network import *  # noqa: F403
from nnspec.engine.optimizers import *  # noqa: F403
from nnspec.engine.parameter import *  # noqa: F403
from nnspec.engine.part import PARTS as PARTS
from nnspec.engine.part import Argument as Argument
from nnspec.engine.part import Part as Part
from nnspec.engine.part import Signature as Signature
from nnspec.engine.penalties import *  # noqa: F403
from nnspec.engine.plateau import *  # noqa: F403
from nnspec.engine.random import set_seed as set_seed
from nnspec.engine.scalers import *  # noqa: F403
from nnspec.engine.schedules import *  # noqa: F403
from nnspec.engine.searches import *  # noqa: F403
from nnspec.engine.sharpness import *  # noqa: F403
from nnspec.engine.spaces import *  # noqa: F403
from nnspec.engine.stopping import *  # noqa: F403
from nnspec.engine.validation import *  # noqa: F403

# The public names of the modules above, without the modules: a new part is listed only in its own file.
__all__ = sorted(
    n for n, v in globals().items() if not n.startswith("_") and v is not ModuleType and type(v) is not ModuleType
)


def __dir__() -> list[str]:
    return __all__

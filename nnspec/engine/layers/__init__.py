"""The layers, by family. One more layer is one more class in its family's file."""

from nnspec.engine.layers.activations import *  # noqa: F403
from nnspec.engine.layers.composition import *  # noqa: F403
from nnspec.engine.layers.contract import *  # noqa: F403
from nnspec.engine.layers.dropout import *  # noqa: F403
from nnspec.engine.layers.joining import *  # noqa: F403
from nnspec.engine.layers.linear import *  # noqa: F403
from nnspec.engine.layers.shaping import *  # noqa: F403

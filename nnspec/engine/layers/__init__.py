"""The layers, by family. A new layer is a new class in its family's file."""

from nnspec.engine.layers.activations import *  # noqa: F403
from nnspec.engine.layers.attention import *  # noqa: F403
from nnspec.engine.layers.batch_norm import *  # noqa: F403
from nnspec.engine.layers.channels import *  # noqa: F403
from nnspec.engine.layers.composition import *  # noqa: F403
from nnspec.engine.layers.contract import *  # noqa: F403
from nnspec.engine.layers.convolution import *  # noqa: F403
from nnspec.engine.layers.dropout import *  # noqa: F403
from nnspec.engine.layers.embedding import *  # noqa: F403
from nnspec.engine.layers.gated import *  # noqa: F403
from nnspec.engine.layers.joining import *  # noqa: F403
from nnspec.engine.layers.linear import *  # noqa: F403
from nnspec.engine.layers.normalisation import *  # noqa: F403
from nnspec.engine.layers.piecewise import *  # noqa: F403
from nnspec.engine.layers.pooling import *  # noqa: F403
from nnspec.engine.layers.products import *  # noqa: F403
from nnspec.engine.layers.recurrent import *  # noqa: F403
from nnspec.engine.layers.resampling import *  # noqa: F403
from nnspec.engine.layers.sampling import *  # noqa: F403
from nnspec.engine.layers.shaping import *  # noqa: F403
from nnspec.engine.layers.smooth import *  # noqa: F403
from nnspec.engine.layers.softmax import *  # noqa: F403
from nnspec.engine.layers.tied import *  # noqa: F403
from nnspec.engine.layers.transposed import *  # noqa: F403
from nnspec.engine.layers.wiring import *  # noqa: F403

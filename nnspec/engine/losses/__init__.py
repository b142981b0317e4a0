"""Losses: the error of the network's outputs as one number, and its gradient with respect to the outputs."""

from nnspec.engine.losses.contract import *  # noqa: F403
from nnspec.engine.losses.cross_entropy import *  # noqa: F403
from nnspec.engine.losses.focal import *  # noqa: F403
from nnspec.engine.losses.margin import *  # noqa: F403
from nnspec.engine.losses.probability import *  # noqa: F403
from nnspec.engine.losses.regression import *  # noqa: F403

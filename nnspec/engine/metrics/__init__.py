"""Metrics: figures that are reported but not used in training."""

from nnspec.engine.metrics.classes import *  # noqa: F403
from nnspec.engine.metrics.contract import *  # noqa: F403
from nnspec.engine.metrics.ranking import *  # noqa: F403
from nnspec.engine.metrics.values import *  # noqa: F403

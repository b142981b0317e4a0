"""Metrics: figures for people, which training does not use."""

from nnspec.engine.metrics.classes import *  # noqa: F403
from nnspec.engine.metrics.contract import *  # noqa: F403
from nnspec.engine.metrics.ranking import *  # noqa: F403
from nnspec.engine.metrics.values import *  # noqa: F403

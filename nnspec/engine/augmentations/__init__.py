"""Augmentations: random variations of training samples, different in every epoch, against overfitting."""

from nnspec.engine.augmentations.colour import *  # noqa: F403
from nnspec.engine.augmentations.contract import *  # noqa: F403
from nnspec.engine.augmentations.corruption import *  # noqa: F403
from nnspec.engine.augmentations.geometry import *  # noqa: F403
from nnspec.engine.augmentations.mixing import *  # noqa: F403

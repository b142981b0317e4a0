"""How lanes are trained: one frozen set of options from `nnspec.run` and the command line on."""

from __future__ import annotations

from dataclasses import dataclass

from nnspec.native import How

__all__ = ["IN_PROCESS", "RunOptions"]


@dataclass(frozen=True)
class RunOptions:
    """How lanes are trained. Their numbers are the same to the last bit, whichever way it is."""

    jobs: int | None = None
    """How many processes train side by side; None for as many as pay off on this machine."""
    stack: bool = True
    """Whether lanes that compute alike train as one stack; else each is trained by itself, and timed by itself."""
    cluster: str | None = None
    """The address of a Dask scheduler, `dask://HOST:PORT`, whose workers train instead of this machine."""
    compiled: How = "auto"
    """Whether lanes are trained by compiled steps: where they can be had without waiting, always, or never."""
    fail_fast: bool = False
    """Whether the run ends with the first lane that diverges or fails; else the others continue."""
    profile: bool = False
    """Whether every lane's steps are timed part by part; lanes are then trained in one process, each by itself."""
    resume: bool = False
    """Whether the run in the output folder is resumed."""
    checkpoint: float = 10.0
    """Least seconds between two checkpoints of a training on the way; 0 keeps every epoch."""

    def __post_init__(self) -> None:
        """Raise ValueError for fewer than one job, and for a profile of what is trained elsewhere or compiled."""
        if self.cluster is not None and self.profile:
            raise ValueError("`profile` times the steps of this machine, so it cannot be used with `cluster`")
        if self.profile and self.compiled == "always":
            raise ValueError('`profile` times NumPy calls, so it cannot be used with `compiled="always"`')
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"`jobs` must be at least 1, not {self.jobs}")
        if self.profile:
            object.__setattr__(self, "jobs", 1)
            object.__setattr__(self, "stack", False)


IN_PROCESS = RunOptions(jobs=1)
"""Lanes are trained in this process, as one stack where they can be."""

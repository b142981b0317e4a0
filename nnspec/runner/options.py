"""How lanes are trained: the options of `nnspec.run` and of the command line, as one frozen object."""

from __future__ import annotations

from dataclasses import dataclass

from nnspec.native import How

__all__ = ["IN_PROCESS", "RunOptions"]


@dataclass(frozen=True)
class RunOptions:
    """How lanes are trained. Results are the same to the last bit, whatever the options."""

    jobs: int | None = None
    """Number of processes that train in parallel; None for as many as pay off on this machine."""
    stack: bool = True
    """Whether lanes with the same computation train as one stack; otherwise each is trained and timed separately."""
    cluster: str | None = None
    """Address of a Dask scheduler, `dask://HOST:PORT`, whose workers train the lanes; None to train on this machine."""
    compiled: How = "auto"
    """Whether training uses compiled steps: `"auto"` uses them once available without waiting, `"always"` waits for
    them, `"never"` uses NumPy only."""
    fail_fast: bool = False
    """Whether the run ends as soon as a lane diverges or fails; otherwise the other lanes continue."""
    profile: bool = False
    """Whether each part of a training step is timed; lanes are then trained separately, in one process."""
    resume: bool = False
    """Whether to resume the run in the output folder."""
    checkpoint: float = 10.0
    """Minimum time between two checkpoints of a training, in seconds; 0 writes one after every epoch."""

    def __post_init__(self) -> None:
        """Raise ValueError for fewer than one job, and for a profile with `cluster` or `compiled="always"`."""
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
"""Train in this process, stacking lanes where possible."""

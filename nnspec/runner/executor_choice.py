"""Choosing the executor that trains the lanes of a run."""

from __future__ import annotations

from collections.abc import Sequence

from nnspec.compiler.prospects import replays
from nnspec.compiler.stacking import widest
from nnspec.executors.executor import Executor
from nnspec.executors.in_process import InProcess
from nnspec.executors.processes import Processes, needs_script, usual_jobs
from nnspec.runner.options import RunOptions
from nnspec.training.groups import Training

__all__ = ["executor_for"]


def executor_for(options: RunOptions, everything: Sequence[Training]) -> Executor:
    """Return the executor of a run: a cluster if one is given, processes if more than one job is requested or pays off,
    otherwise this process. Raises ClusterError for an invalid address."""
    if options.cluster is not None:
        # Dask imports asyncio, which takes as long as training a lane.
        from nnspec.executors.dask_cluster import DaskCluster

        return DaskCluster(options.cluster)
    jobs = usual_jobs(everything) if options.jobs is None else min(options.jobs, len(everything))
    if options.jobs is None and jobs > 1 and _threads_pay_off(options, everything):
        jobs = 1
    if jobs > 1:
        script = needs_script(everything)
        if options.jobs is not None or not script:  # otherwise the script may lack a `__main__` guard
            return Processes(jobs, script=script)
    return InProcess(threads=options.stack and options.compiled != "never")


def _threads_pay_off(options: RunOptions, everything: Sequence[Training]) -> bool:
    """Whether trainings are faster in threads than in processes, of which each sets up data and tapes of its own: they
    replay compiled steps, and are so small that lanes would form stacks.
    """
    if options.compiled == "always":
        return True
    small = all(each.kin is not None and widest(each.layout) > 1 for each in everything)
    return options.compiled == "auto" and options.stack and small and replays(each.experiment for each in everything)

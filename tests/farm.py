"""A Dask scheduler and its workers, each in its own process.

They are forked from a process that has imported Dask and nnspec, which takes seconds otherwise, for each of them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path

from forked import server
from tiny_spec import environment

__all__ = ["Farm"]


class Farm:
    """A scheduler with workers."""

    scheduler: BaseProcess

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.workers: list[BaseProcess | subprocess.Popen[bytes]] = []
        self.scheduler = self._fork("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        end = time.monotonic() + 120
        while time.monotonic() < end and self.scheduler.is_alive():
            with socket.socket() as line:
                if line.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.close()
        raise AssertionError(f"the scheduler does not answer: {(folder / 'scheduler.log').read_text()}")

    @property
    def address(self) -> str:
        """Where `--cluster` finds it."""
        return f"dask://127.0.0.1:{self.port}"

    def hire(self, count: int = 1, nthreads: str = "1", **variables: str) -> None:
        """Start workers; those with their own environment variables as new processes, since Python reads some early."""
        options = [f"tcp://127.0.0.1:{self.port}", "--nthreads", nthreads, "--no-nanny", "--no-dashboard"]
        options += ["--host", "127.0.0.1", "--local-directory", str(self.folder)]
        start = self._start if variables else self._fork
        self.workers += [start("worker", *options, **variables) for _ in range(count)]

    def _fork(self, kind: str, *options: str) -> BaseProcess:
        process = server().Process(target=_serve, args=(kind, options, self.folder), daemon=True)
        process.start()
        return process

    def _start(self, kind: str, *options: str, **variables: str) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{kind}.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "dask", kind, *options],
                cwd=self.folder,
                env={**environment(self.folder), "DASK_TEMPORARY_DIRECTORY": str(self.folder), **variables},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def wait_for(self, count: int) -> None:
        """Wait until `count` workers are present."""
        from distributed import Client

        with Client(f"tcp://127.0.0.1:{self.port}", set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)

    def is_idle(self, idle: bool = True) -> bool:
        """Wait until no worker runs anything any more, or until one does; False after a minute."""
        from distributed import Client

        with Client(f"tcp://127.0.0.1:{self.port}", set_as_default=False) as client:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                running = client.run(lambda dask_worker: dask_worker.state.executing_count)
                if running and (not any(running.values())) == idle:
                    return True
                time.sleep(0.1)
        return False

    def close(self) -> None:
        """Kill all processes."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.join() if isinstance(process, BaseProcess) else process.wait()


def _serve(kind: str, options: tuple[str, ...], folder: Path) -> None:
    """Be `dask scheduler` or `dask worker`, in a process that has just been forked."""
    import dask

    os.chdir(folder)
    os.environ.update(environment(folder))
    with open(folder / f"{kind}.log", "ab") as log:
        os.dup2(log.fileno(), 2)
    dask.config.set(temporary_directory=str(folder))
    import_module(f"distributed.cli.dask_{kind}").main(options)

"""Train random specs in every way there is, and compare all bits: see `tests/random_runs.py`.

    python tests/fuzz/fuzz_runs.py [--first 0] [--count 1000] [--ways stacked,compiled] [--show]

The spec of a number is always the same: `--first 271 --count 1` trains it again, `--show` prints it. Numbers whose runs
differ, or fail, are printed, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]


def main() -> int:
    """Train them; return 1 where something parts."""
    from random_runs import WAYS, Bench, facts
    from run_writer import data_files

    from nnspec.executors.processes import Processes

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0, help="the first number")
    parser.add_argument("--count", type=int, default=1000, help="how many")
    parser.add_argument("--ways", default="stacked,resumed", help=f"all, or some of {','.join(WAYS)}")
    parser.add_argument("--digest", action="store_true", help="print a digest of all that they came to")
    parser.add_argument("--show", action="store_true", help="print the specs too")
    options = parser.parse_args()
    ways = [*WAYS] if options.ways == "all" else options.ways.split(",")
    counts: Counter[str] = Counter()
    digest = hashlib.sha256()
    started = time.monotonic()
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        data_files(folder)
        workers = held.enter_context(Processes(2)) if "jobs" in ways else None
        address = ""
        if "dask" in ways:
            from distributed import LocalCluster

            cluster = held.enter_context(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None))
            address = cluster.scheduler_address.replace("tcp://", "dask://")
        held.enter_context(patch("os.fsync"))  # no power cut is played, and thousands of files are written
        bench = Bench(folder, workers, address)
        for number in range(options.first, options.first + options.count):
            if options.show:
                print(bench.text(number))
            try:
                alone = bench.alone(number)
                digest.update("".join(repr(facts(lane)) for lane in alone.values()).encode())
                counts["alone"] += 1
                counts["trainings"] += sum(len(lane.repeats) or 1 for lane in alone.values())
                for way in ways:
                    fault = bench.fault(number, way, alone)
                    counts[way] += 1
                    if fault:
                        counts["faults"] += 1
                        print(f"{number}: {way}: {fault}", flush=True)
            except Exception:  # noqa: BLE001
                counts["faults"] += 1
                print(f"{number}: {traceback.format_exc()}", flush=True)
            if (number + 1 - options.first) % 500 == 0:
                print(f"{time.monotonic() - started:.0f} s: {dict(counts)}", flush=True)
    print(f"{time.monotonic() - started:.0f} s: {dict(counts)}")
    if options.digest:
        print(f"digest {digest.hexdigest()}")
    return 1 if counts["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())

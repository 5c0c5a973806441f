"""Tiny tasks on Dask with one worker process: argument 1 is how many. Prints its version and tasks a second."""

import sys
import time

import distributed

COUNT = int(sys.argv[1])


def upper(line, _number):
    return line.upper()


if __name__ == "__main__":
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client:
            # Once for the worker to start, then for the clock. The number makes each a task of its own.
            client.gather(client.map(upper, ["a\n"] * 200, range(200), pure=False))
            began = time.perf_counter()
            lines = client.gather(client.map(upper, ["a\n"] * COUNT, range(COUNT), pure=False))
            took = time.perf_counter() - began
            assert lines == ["A\n"] * COUNT
    print(distributed.__version__, COUNT / took)

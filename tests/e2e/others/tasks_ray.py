"""Tiny tasks on Ray with one worker: argument 1 is how many. Prints its version and tasks a second."""

import sys
import time

import ray

COUNT = int(sys.argv[1])

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")


@ray.remote
def upper(line):
    return line.upper()


# Once for the worker to start, then for the clock.
ray.get([upper.remote("a\n") for _ in range(200)])
began = time.perf_counter()
lines = ray.get([upper.remote("a\n") for _ in range(COUNT)])
took = time.perf_counter() - began
assert lines == ["A\n"] * COUNT
ray.shutdown()
print(ray.__version__, COUNT / took)

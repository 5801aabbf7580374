"Seconds and megabytes, as the benchmarks count them."

import time


def seconds(f) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def peak() -> float:  # a child's ru_maxrss begins at its parent's, this one doesn't
    "Peak memory of this process in megabytes (Linux)."
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 2**10

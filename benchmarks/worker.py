"""A process that times cases: a line of JSON in, a line of JSON out.

``["make", index, side]`` makes one side of a case ready, in place of what that side had, and answers with none;
``["time", side, seconds]`` answers with the milliseconds of each run; ``["memory", side]`` with the most memory that
the process ever had, in MB; ``["size", side]`` with the KiB of the file that the side runs.
"""

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
THREADS = 2


def limit_threads(library: str) -> None:
    """Hold the library to two threads, before it makes any."""
    if library in ("torch", "torchvision"):
        import torch

        torch.set_num_threads(THREADS)
    else:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(THREADS)


def make(index: int, side: str) -> Callable[[], Any]:
    """Make one side of a case ready to be timed."""
    from contest import CASES

    case = CASES[index]
    limit_threads(case.peer_library if side == "peer" else "tf")
    run = getattr(case, side)()
    for _ in range(3):
        run()
    return run


def main() -> None:
    """Answer until there is nothing more to answer."""
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr
    runs: dict[str, Any] = {}
    for line in sys.stdin:
        match json.loads(line):
            case ["make", index, side]:
                runs[side] = make(index, side)
                answer: Any = None
            case ["memory", _]:
                answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            case ["size", side]:
                answer = runs[side].bytes / 1024
            case ["time", side, seconds]:
                answer, end = [], time.perf_counter() + seconds
                while not answer or time.perf_counter() < end:
                    begin = time.perf_counter()
                    runs[side]()
                    answer.append((time.perf_counter() - begin) * 1e3)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

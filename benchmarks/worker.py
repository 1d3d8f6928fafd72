"""A process that times one side of one case: a line of JSON in, a line of JSON out.

``["time", seconds]`` answers with the milliseconds of each run; ``["memory"]`` with the most memory that the process
ever had, in MB; ``["size"]`` with the KiB of the file that it runs.
"""

import json
import os
import resource
import sys
import time
import warnings

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


def main(index: int, side: str) -> None:
    """Answer until there is nothing more to answer."""
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr
    from contest import CASES

    case = CASES[index]
    limit_threads(case.peer_library if side == "peer" else "tf")
    run = getattr(case, side)()
    for _ in range(3):
        run()
    for line in sys.stdin:
        command, *given = json.loads(line)
        if command == "memory":
            answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        elif command == "size":
            answer = run.bytes / 1024
        else:
            answer, end = [], time.perf_counter() + given[0]
            while not answer or time.perf_counter() < end:
                begin = time.perf_counter()
                run()
                answer.append((time.perf_counter() - begin) * 1e3)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

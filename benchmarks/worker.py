"""A process that times contestants of one library: a line of JSON in, a line of JSON out.

``["time", case, side, seconds]`` answers with the milliseconds of each run; ``["memory", case, side]`` runs three times
and answers with the most memory that the process ever had, in MB; ``["bytes", case, side]`` with the size of a file.
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


def main(library: str) -> None:
    """Answer until there is nothing more to answer."""
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr
    from contest import CASES

    limit_threads(library)
    made: dict[tuple[int, str], object] = {}
    for line in sys.stdin:
        command, case, side, *rest = json.loads(line)
        if (case, side) not in made:
            for other in [key for key in made if key[0] != case]:
                del made[other]
            run = made[case, side] = getattr(CASES[case], side)()
            for _ in range(3):
                run()
        run = made[case, side]
        if command == "memory":
            answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        elif command == "bytes":
            answer = run.bytes
        else:
            answer, end = [], time.perf_counter() + rest[0]
            while not answer or time.perf_counter() < end:
                begin = time.perf_counter()
                run()
                answer.append((time.perf_counter() - begin) * 1e3)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

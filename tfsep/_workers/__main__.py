"""The process of a worker: ``python -m tfsep._workers NAME FOLDER``."""

import os
import resource
import sys
from pathlib import Path

from tfsep._workers import REPLY, REQUEST, read, write
from tfsep._workers._litert import measure_memory, run_once, tensor_shapes, time_files
from tfsep._workers._metadata import describe
from tfsep._workers._micro import run_micro

WORKERS = {
    worker.__name__: worker for worker in (describe, measure_memory, run_micro, run_once, tensor_shapes, time_files)
}


def _limit_memory() -> None:
    """Limit the process to half of the machine's memory, and write no core dump."""
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    resource.setrlimit(resource.RLIMIT_DATA, (half, half))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(name: str, folder: Path) -> None:
    """Run a worker on the request in a folder, and write its reply there; an error is the log's last line."""
    _limit_memory()
    try:
        write(folder, REPLY, *WORKERS[name](*read(folder, REQUEST)))
    except Exception as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(1)


main(sys.argv[1], Path(sys.argv[2]))

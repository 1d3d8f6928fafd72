"""The process of a worker: ``python -m tfsep._workers NAME FOLDER``."""

import sys
from pathlib import Path

from tfsep._utils.operating_system import limit_memory
from tfsep._workers import REPLY, REQUEST, read, write
from tfsep._workers._litert import measure_memory, run_once, tensor_shapes, time_files
from tfsep._workers._metadata import describe
from tfsep._workers._micro import run_micro

WORKERS = {
    worker.__name__: worker for worker in (describe, measure_memory, run_micro, run_once, tensor_shapes, time_files)
}


def main(name: str, folder: Path) -> None:
    """Run a worker on the request in a folder, and write its reply there; an error is the log's last line."""
    limit_memory()
    try:
        write(folder, REPLY, *WORKERS[name](*read(folder, REQUEST)))
    except Exception as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(1)


main(sys.argv[1], Path(sys.argv[2]))

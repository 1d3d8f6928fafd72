"""The command ``tfsep``: arguments and printing. The work is done by the other subpackages, loaded when needed.

Exit codes: 0 success, 1 a failed check, 2 wrong use, 3 the loss of another worker, 130 a stop by Ctrl-C.
"""

import sys

from tfsep._utils.operating_system import print_any_character
from tfsep.cli import _demo, _export, _files, _records, _training, _weights  # noqa: F401 - they define the commands
from tfsep.cli._app import app


def main() -> None:
    """Run the command."""
    print_any_character(sys.stdout, sys.stderr)
    app(prog_name="tfsep")


__all__ = ["app", "main"]

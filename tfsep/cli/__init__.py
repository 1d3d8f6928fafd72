"""The command ``tfsep``: arguments and printing. Everything it does is in the other rooms, loaded when it is needed.

Exit codes: 0 fine, 1 a check failed, 2 wrong use, 3 another worker is gone, 130 stopped by Ctrl-C.
"""

from tfsep.cli import _commands, _data, _targets, _training, _weights  # noqa: F401 - importing them makes their commands
from tfsep.cli._app import app


def main() -> None:
    """Run the command."""
    app()


__all__ = ["app", "main"]

"""``python -m tfsep`` is the command ``tfsep``."""

from tfsep.cli import main

main()

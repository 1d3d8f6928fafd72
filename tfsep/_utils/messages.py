"""The library's log messages, for the command to print."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Forwarder(logging.Handler):
    """Hands the text of each message to a function, whose errors are the caller's."""

    def __init__(self, receive: Callable[[str], object]) -> None:
        super().__init__()
        self._receive = receive

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over one message."""
        self._receive(record.getMessage())


@contextmanager
def messages_to(receive: Callable[[str], object]) -> Iterator[None]:
    """Temporarily hand each message of the logger ``tfsep``, at level INFO and above, to a function only.

    The root logger, which TensorFlow may give a handler, is left out: it would print each message again.

    Args:
        receive: called with the text of a message.

    Examples:
        >>> with messages_to(print):
        ...     logging.getLogger("tfsep.train").info("epoch 1/3")
        epoch 1/3
    """
    logger, forwarder = logging.getLogger("tfsep"), _Forwarder(receive)
    level, propagates = logger.level, logger.propagate
    logger.addHandler(forwarder)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = propagates
        logger.setLevel(level)
        logger.removeHandler(forwarder)

"""Errors of Keras, TensorFlow and LiteRT in words for messages."""

import re
from itertools import pairwise

_LONGEST = 300
_OF_THEIR_AUTHORS = "|".join(
    (
        # A node of TensorFlow's graph behind the cause.
        r" (?:for '|\[\[)\{\{node.*|^\{\{function_node.*?\}\} ",
        # Places in source code.
        r"^\S+\.(?:cc|h):\d+ |^.*?:\d+: error: |;? ?\[Op:\w+\].*",
        r"\.?Node number \d+ .*",
    )
)


def cause_of(error: BaseException) -> str:
    """Return the cause in an error of another library, in one line, without what only its authors can use.

    Args:
        error: error of any text, such as several paragraphs with a place in source code.

    Examples:
        >>> cause_of(RuntimeError("tflite/kernels/gather.cc:212 index out of boundsNode number 3 (GATHER) failed."))
        'index out of bounds'
    """
    text = str(error)
    if isinstance(error, KeyError):
        text = str(error.args[0]) if " " in text else f"{text} is missing"
    plain = re.sub("\x1b\\[[0-9;]*m", "", text)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    causes = [line for line in lines if "error: " in line or "custom op" in line.lower()]
    # TensorFlow names the node behind the cause, where a stack of calls is before it.
    causes += [line for line, behind in pairwise(lines) if behind.startswith("[[{{node")]
    # Keras names the class of the layer in a line of its own, before the cause.
    rest = [line for line in lines if "Exception encountered when calling" not in line]
    line = re.sub(_OF_THEIR_AUTHORS, "", next(iter([*causes, *rest]), "")) or type(error).__name__
    if len(line) <= _LONGEST:
        return line
    sentence = line.rfind(". ", 0, _LONGEST)
    return line[:sentence] if sentence > 0 else f"{line[: line.rfind(' ', 0, _LONGEST)]} ..."

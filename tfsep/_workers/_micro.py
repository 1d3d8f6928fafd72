"""The worker that runs a file in TensorFlow Lite Micro's interpreter."""

import os
from typing import Any

import numpy as np

_LARGEST = 1 << 28
"""Bytes of the first arena, far more than any microcontroller has."""
_ALIGNMENT = 16
"""Bytes that TensorFlow Lite Micro aligns its arena to."""


def run_micro(request: dict[str, Any], arrays: list[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Run a file in TensorFlow Lite Micro, and find the smallest arena that it runs in.

    Args:
        request: ``outputs``, their number.
        arrays: the file's bytes, and each input's stored numbers, (samples, shape with the batch).

    Returns:
        ``ran``; if true, ``arena_bytes``, and each output's stored numbers. If false, the reason is in the log.
    """
    content, inputs, outputs = arrays[0].tobytes(), arrays[1:], range(request["outputs"])
    interpreter = _opened(content, _LARGEST)
    if interpreter is None:
        return {"ran": False}, []
    samples = []
    for sample in zip(*inputs, strict=True):
        if not _runs(interpreter, sample):
            return {"ran": False}, []
        samples.append([np.array(interpreter.get_output(number)) for number in outputs])
    stacked = [np.stack(output) for output in zip(*samples, strict=True)]
    return {"ran": True, "arena_bytes": _smallest_arena(content, [array[0] for array in inputs])}, stacked


def _smallest_arena(content: bytes, sample: list[np.ndarray]) -> int:
    """The smallest arena in which one sample runs, by doubling, then by bisection, over multiples of the alignment."""
    low, high, most = 0, 64, _LARGEST // _ALIGNMENT
    while high < most and not _fits(content, high * _ALIGNMENT, sample):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(content, middle * _ALIGNMENT, sample):
            high = middle
        else:
            low = middle
    return high * _ALIGNMENT


def _fits(content: bytes, arena: int, sample: list[np.ndarray]) -> bool:
    """Whether one sample runs in an arena of this size; in a fork, as some kernels abort where it is too small."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    interpreter = _opened(content, arena)
    os._exit(interpreter is None or not _runs(interpreter, sample))


def _opened(content: bytes, arena: int) -> Any:
    """An interpreter with an arena of this size, or None where that is too small."""
    from tflite_micro import runtime

    try:
        return runtime.Interpreter.from_bytes(content, arena_size=arena)
    except RuntimeError:
        return None


def _runs(interpreter: Any, sample: Any) -> bool:
    """Run one sample, and return whether that succeeded."""
    try:
        for number, array in enumerate(sample):
            interpreter.set_input(array, number)
        interpreter.invoke()
    except RuntimeError:
        return False
    return True

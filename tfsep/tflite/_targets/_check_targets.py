"""The targets, and the check of a file for them: measured on this machine, or by documented rules."""

from collections.abc import Iterable
from os import PathLike

from tfsep._flatbuffer.reader import read_tflite
from tfsep.tflite._inspect import inspect
from tfsep.tflite._targets._documented import DOCUMENTED_TARGETS
from tfsep.tflite._targets._measured import MEASURED_TARGETS
from tfsep.tflite._targets._node import nodes_of
from tfsep.tflite._targets._report import TargetsReport
from tfsep.tflite._targets._target import Target, TargetFile

TARGETS: dict[str, Target] = {target.name: target for target in (*MEASURED_TARGETS, *DOCUMENTED_TARGETS)}
"""The targets by name; `Target.summary` tells what each is, and the guide on targets has a table of them.

A new target is a record in `_documented.py`, or in `_measured.py` with a function that runs the file.
"""


def targets_named(names: str | Iterable[str]) -> tuple[Target, ...]:
    """Return targets by name, one or several, each once.

    Raises:
        ValueError, TypeError: for an unknown name, or no name; the message starts with "target".
        ImportError: for a target whose package is not installed.
    """
    if not isinstance(names, str | Iterable):
        raise TypeError(f"target: expected a name or several, got {names!r}")
    chosen = tuple(dict.fromkeys([names] if isinstance(names, str) else names))
    for name in chosen or (None,):
        if name not in TARGETS:
            raise ValueError(f"target: expected one of {', '.join(TARGETS)}, got {name!r}")
    targets = tuple(TARGETS[name] for name in chosen)
    for target in targets:
        if target.require is not None:
            target.require()
    return targets


def check_targets(path: str | PathLike[str], targets: str | Iterable[str] | None = None) -> TargetsReport:
    """Check whether a file runs as intended on targets, and what to change in its network where it does not.

    Operators are those of the file's main graph: a loop, such as a recurrent layer's, counts as one.

    A target with a `Target.measure` is measured on this machine: it runs the file. The arena of TensorFlow Lite Micro
    holds pointers of this machine's size; a microcontroller, with pointers half as long, needs somewhat less.

    The others go by documented rules, each with its source and version; a driver may still leave out an operator that
    passes. `Target.summary` says what each target is, and what is checked for it.

    Args:
        path: path of the ``.tflite`` file.
        targets: a name in `TARGETS` or several; None for all.

    Returns:
        A report for each target.

    Raises:
        FileNotFoundError, ValueError, TypeError: if there is no such file, it is damaged, LiteRT does not run it where
            that is measured, or for an unknown target.
        ImportError: for a target whose package is not installed: ``tflite-micro``, the extra ``micro``.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3), keras.layers.Softmax()])
        >>> from tfsep import tflite
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = tflite.export(model, f"{folder}/model.tflite").path
        ...     report = check_targets(file, ["xnnpack", "edgetpu"])
        >>> report["xnnpack"].summary()
        'passes: 2 of 2 nodes in 1 partition'
        >>> report["edgetpu"].findings[0].why
        'needs 8-bit integers throughout'
    """
    chosen = targets_named(TARGETS if targets is None else targets)
    content, model = read_tflite(path)
    file = TargetFile(str(path), content, nodes_of(inspect(path), model))
    return TargetsReport(str(path), tuple(target.report(file) for target in chosen))

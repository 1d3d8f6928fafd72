"""Workers that run a file in LiteRT's interpreter."""

import time
from importlib import import_module
from typing import Any

import numpy as np

from tfsep._utils.operating_system import peak_memory

WITHOUT_DELEGATES = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
"""Name of the ``OpResolverType`` of LiteRT's own kernels."""

Answer = tuple[dict[str, Any], list[np.ndarray]]


def run_once(request: dict[str, Any], arrays: list[np.ndarray]) -> Answer:
    """Open a file and run it once: a crash ends this process only.

    Args:
        request: ``kernels``, name of an ``OpResolverType``, and ``keep_tensors``, whether every tensor is kept.
        arrays: the file's bytes.

    Returns:
        ``refusal``, see `opened`.
    """
    interpreter, refusal = _with_inputs(arrays[0].tobytes(), 1, request["kernels"], request["keep_tensors"])
    interpreter.invoke()
    return {"refusal": refusal}, []


def tensor_shapes(request: dict[str, Any], arrays: list[np.ndarray]) -> Answer:
    """Run a file once, and return the shapes that the tensors of its main graph have then.

    Args:
        request: ``values``, numbers of the tensors whose values are asked for.
        arrays: the file's bytes.

    Returns:
        ``shapes``, by number of the tensor, and the values.
    """
    interpreter, _ = _with_inputs(arrays[0].tobytes(), 1, WITHOUT_DELEGATES, keep_tensors=True)
    interpreter.invoke()
    shapes = {detail["index"]: detail["shape"].tolist() for detail in interpreter.get_tensor_details()}
    values = [interpreter.get_tensor(number) for number in request["values"]]
    return {"shapes": [shapes[number] for number in sorted(shapes)]}, values


def time_files(request: dict[str, Any], arrays: list[np.ndarray]) -> Answer:
    """Time files side by side: one run of each in turn, so that other load on the machine slows all alike.

    Args:
        request: ``threads``, a list; ``runs`` and ``warmup``, numbers of rounds.
        arrays: the files' bytes.

    Returns:
        Milliseconds, (files, threads, runs).
    """
    contents, threads, runs = [array.tobytes() for array in arrays], request["threads"], request["runs"]
    runs_by_file = [[_with_inputs(content, count)[0].invoke for count in threads] for content in contents]
    times = np.empty((len(contents), len(threads), runs))
    for turn in range(-request["warmup"], runs):
        for file, row in enumerate(runs_by_file):
            for column, invoke in enumerate(row):
                started = time.perf_counter()
                invoke()
                if turn >= 0:
                    times[file, column, turn] = 1000 * (time.perf_counter() - started)
    return {}, [times]


def measure_memory(request: dict[str, Any], arrays: list[np.ndarray]) -> Answer:
    """Return the growth of the process's peak resident memory while a file is opened and run.

    Args:
        request: ``threads``.
        arrays: the file's bytes.

    Returns:
        ``bytes``, and ``refusal``, see `opened`.
    """
    content = arrays.pop().tobytes()
    import_module("ai_edge_litert.interpreter")  # the library's own size is not the file's
    before = peak_memory()
    interpreter, refusal = _with_inputs(content, request["threads"])
    for _ in range(3):
        interpreter.invoke()
    return {"bytes": peak_memory() - before, "refusal": refusal}, []


def opened(content: bytes, threads: int, kernels: str = "AUTO", keep_tensors: bool = False) -> tuple[Any, str]:
    """Return an interpreter of a file, and why XNNPACK refuses the file; an empty text where it does not.

    XNNPACK takes some operators over that it then has no kernel for, such as a dense layer of sparse integers. LiteRT
    does not run such a file with its default delegates, but without them.

    Args:
        content: bytes of the file.
        threads: number of LiteRT's threads.
        kernels: name of an ``OpResolverType``.
        keep_tensors: whether every tensor is kept.

    Raises:
        RuntimeError, ValueError: if LiteRT does not run it at all.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def interpreter(kernels: str) -> Any:
        made = Interpreter(
            model_content=content,
            num_threads=threads,
            experimental_op_resolver_type=OpResolverType[kernels],
            experimental_preserve_all_tensors=keep_tensors,
        )
        made.allocate_tensors()
        return made

    try:
        return interpreter(kernels), ""
    except RuntimeError as error:
        if kernels != "AUTO" or "TfLiteXNNPackDelegate" not in str(error):
            raise
        reason = " ".join(str(error).partition("Node number")[0].split()) or "failed to prepare"
    return interpreter(WITHOUT_DELEGATES), reason


def _with_inputs(content: bytes, threads: int, kernels: str = "AUTO", keep_tensors: bool = False) -> tuple[Any, str]:
    """As `opened`, with seeded inputs: normal numbers, or zeros and ones for integer types."""
    interpreter, refusal = opened(content, threads, kernels, keep_tensors)
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        shape, dtype = tuple(detail["shape"]), np.dtype(detail["dtype"])
        normal = dtype.kind == "f"
        interpreter.set_tensor(
            detail["index"], (rng.normal(size=shape) if normal else rng.integers(0, 2, shape)).astype(dtype)
        )
    return interpreter, refusal

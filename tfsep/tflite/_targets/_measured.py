"""Targets that this machine can run: LiteRT with XNNPACK, and TensorFlow Lite Micro."""

import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import numpy as np

from tfsep._workers import Reply, WorkerError, run_worker
from tfsep.tflite._interpreter import Runner, TensorInfo
from tfsep.tflite._targets._conditions import mixed
from tfsep.tflite._targets._node import Node
from tfsep.tflite._targets._report import MEASURED, Finding, TargetReport
from tfsep.tflite._targets._rule_check import broken, finding

_SAMPLES = 4
_ROUNDING = 1e-5
"""Of the largest output: what two orders of summing floats may differ by."""


def on_xnnpack(runner: Runner, nodes: tuple[Node, ...]) -> TargetReport:
    """Return what XNNPACK took over; for each node that it left, the documented rule that says why."""
    taken = runner.delegated()
    source = f"LiteRT {version('ai-edge-litert')}"
    left = [node for node in nodes if node.row.number not in taken]
    findings = []
    for node in left:
        rule = broken("xnnpack", node)
        findings.append(_unexplained(node, nodes, taken, source) if rule is None else finding(rule, node))
    return TargetReport(
        target="xnnpack",
        basis=MEASURED,
        passed=not left,
        taken=len(taken),
        nodes=len(nodes),
        partitions=len(runner.partitions()),
        findings=tuple(findings),
        source=source,
    )


def _unexplained(node: Node, nodes: tuple[Node, ...], taken: frozenset[int], source: str) -> Finding:
    """What is said of a node that no rule stops; float16 weights are made float32 by XNNPACK for its own nodes only."""
    why, change = "is left behind, and no documented rule says why", ""
    users = {user.row.number for user in nodes if set(user.row.inputs) & set(node.row.outputs)}
    if node.row.name == "DEQUANTIZE" and not users & taken:
        why, change = "makes weights for operators that are left behind", "change those operators"
    return Finding(node.row.number, node.row.name, node.label, why, change, source)


def require_micro() -> None:
    """Raise unless TensorFlow Lite Micro's interpreter is there.

    Raises:
        ImportError: if it is not.
    """
    if find_spec("tflite_micro") is None:
        raise ImportError("target: expected the package tflite-micro for 'tflm', got none: pip install 'tfsep[micro]'")


def on_micro(runner: Runner, kernels: str, content: bytes, nodes: tuple[Node, ...]) -> TargetReport:
    """Return whether TensorFlow Lite Micro runs a file, how far it is from LiteRT's kernels, and its arena.

    Args:
        runner: the file, on kernels of LiteRT, the reference ones where these have all of its operators.
        kernels: what those are called.
        content: of the file.
        nodes: of the file.
    """
    samples = [_samples(info) for info in runner.inputs]
    stored = [info.quantize(sample) for info, sample in zip(runner.inputs, samples, strict=True)]
    try:
        reply = run_worker("run_micro", {"outputs": len(runner.outputs)}, [np.frombuffer(content, np.uint8), *stored])
    except WorkerError as error:
        told = _told(error.log)
        return _refused(f"does not survive it: {error}" + (f" and says: {told}" if told else ""), nodes)
    if not reply.values["ran"]:
        told = _told(reply.log)
        return _refused(f"says: {told}" if told else "does not run, and says nothing", nodes)
    return _compared(runner, kernels, samples, reply, nodes)


def _samples(info: TensorInfo) -> np.ndarray:
    """Seeded inputs (samples, shape with the batch): all that an integer file can store, or normal numbers."""
    rng, shape = np.random.default_rng(0), (_SAMPLES, *info.shape)
    if info.scale:
        limits = np.iinfo(info.dtype)
        return info.dequantize(rng.integers(limits.min, limits.max, shape, info.dtype, endpoint=True))
    if np.dtype(info.dtype).kind == "f":
        return rng.normal(size=shape).astype(info.dtype)
    return rng.integers(0, 2, shape).astype(info.dtype)


def _compared(
    runner: Runner, kernels: str, samples: list[np.ndarray], reply: Reply, nodes: tuple[Node, ...]
) -> TargetReport:
    expected = runner([sample.reshape(-1, *sample.shape[2:]) for sample in samples])
    actual = [reply.arrays[place] for place in runner.output_places()]
    elements = differing = 0
    close = True
    for info, wanted, got in zip(runner.outputs, expected, actual, strict=True):
        real = info.dequantize(got.reshape(wanted.shape))
        elements += wanted.size
        differing += int(np.count_nonzero(real != wanted))
        error = float(np.abs(real.astype(np.float64) - wanted).max(initial=0.0))
        rounding = 0.0 if info.scale else _ROUNDING * float(np.abs(wanted).max(initial=0.0))
        close = close and error <= rounding
    facts = {
        "arena_bytes": int(reply.values["arena_bytes"]),
        "elements_compared": elements,
        "elements_that_differ": differing,
        "compared_with": kernels,
    }
    findings = () if close else (_differs(differing, elements, kernels),)
    return TargetReport(
        target="tflm",
        basis=MEASURED,
        passed=close,
        taken=len(nodes),
        nodes=len(nodes),
        partitions=None,
        findings=findings,
        source=_micro_version(),
        facts=facts,
    )


def _differs(differing: int, elements: int, kernels: str) -> Finding:
    return Finding(
        node=None,
        operator="the file",
        name="",
        why=f"has {differing:,} of {elements:,} outputs that differ from {kernels}",
        change="compare the layers one by one: a kernel there computes something else",
        source=_micro_version(),
    )


def _refused(why: str, nodes: tuple[Node, ...]) -> TargetReport:
    """The report of a file that does not run, with the node that the interpreter names."""
    named = re.search(r"Node (\w+) \(number (\d+)\)", why)
    missing = re.search(r"op for builtin opcode '(\w+)'", why)
    number = None
    if named and named[1] in {node.row.name for node in nodes if node.row.number == int(named[2])}:
        number = int(named[2])  # else it is one of a loop's body
    operator = named[1] if named else missing[1] if missing else "the file"
    if missing and number is None:
        number = next((node.row.number for node in nodes if node.row.name == operator), None)
    label = "" if number is None else nodes[number].label
    if missing:
        change = "use another layer: the interpreter has no kernel for this operator"
    elif any(mixed(node) for node in nodes):
        change = "export with the recipe float32, int8 or int16x8"
    elif named:
        change = "use another layer: the interpreter refuses this operator as it is here"
    else:
        change = "try parts of the network by themselves: the interpreter names no operator"
    found = Finding(number, operator, label, why, change, _micro_version())
    return TargetReport("tflm", MEASURED, False, 0, len(nodes), None, (found,), _micro_version())


def _told(log: str) -> str:
    """What the interpreter said, in one line, without the path of its own source file."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return "; ".join(re.sub(r"^\S+\.cc(:\d+)?\s*", "", line) for line in lines[-3:])[:300]


def _micro_version() -> str:
    try:
        return f"tflite-micro {version('tflite-micro')}"
    except PackageNotFoundError:
        return "tflite-micro"

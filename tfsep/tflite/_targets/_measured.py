"""Targets that this machine can run: LiteRT with XNNPACK, and TensorFlow Lite Micro."""

import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import numpy as np

from tfsep._flatbuffer.constants import UNPACKING
from tfsep._utils.installed import install_command, version_of
from tfsep._workers import Reply, WorkerError, run_worker
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._targets._conditions import (
    activation_among,
    constants_at,
    dense_weights,
    floats_or_one_type,
    has_bias,
    in_real_numbers,
    inputs_between,
    is_output,
    mixed,
    never,
    not_dynamic,
    not_flattened,
    not_quantized,
    one_quantization,
    option_is,
    outputs_between,
    plain_slice,
    pools_touch,
    product_within,
    quantized,
    rank_at_most,
    same_quantization,
    scales_within,
    sizes_given,
    slopes_within,
    symmetric_second,
    types_among,
    where,
)
from tfsep.tflite._targets._node import Node
from tfsep.tflite._targets._report import MEASURED, Finding, TargetReport
from tfsep.tflite._targets._target import Rule, Source, Target, TargetFile, operator_names, report_of
from tfsep.tflite._targets._texts import (
    CONVOLUTIONS,
    FLOAT_OR_INT8,
    INDICES,
    REAL,
    STATIC_SHAPES,
    STATIC_WEIGHTS,
    WITH_BIAS,
)
from tfsep.tflite._tensor_info import TensorInfo

_XNNPACK = operator_names("""
    ABS ADD AVERAGE_POOL_2D BATCH_MATMUL CEIL CONCATENATION CONV_2D COS DENSIFY DEPTHWISE_CONV_2D DEPTH_TO_SPACE
    DEQUANTIZE DIV ELU EXP EXPAND_DIMS FLOOR FULLY_CONNECTED GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC MAXIMUM MAX_POOL_2D
    MEAN MINIMUM MUL NEG PAD PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR ROUND
    RSQRT SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TRANSPOSE
    TRANSPOSE_CONV
""")
"""The operators that XNNPACK has, by its documentation.

Neither this list nor its rules decide: what XNNPACK takes is measured. They explain what it was measured to leave.
"""

_XNNPACK_QUANTIZED = operator_names("""
    ADD BATCH_MATMUL CONCATENATION CONV_2D DENSIFY DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE ELU EXPAND_DIMS
    FULLY_CONNECTED LEAKY_RELU LOGISTIC MAX_POOL_2D MEAN MUL PAD QUANTIZE REDUCE_MAX REDUCE_MIN RESHAPE RESIZE_BILINEAR
    SLICE SPACE_TO_DEPTH SPLIT STRIDED_SLICE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV
""")
"""Those of them that it has in 8 bits, too; the others need float32, by a rule below."""

_SAMPLES = 4
_ROUNDING = 1e-5
"""Share of the largest output by which two orders of summing floats may differ."""


def _measure_xnnpack(target: Target, file: TargetFile) -> TargetReport:
    """Return what XNNPACK takes over; for each node that it leaves, the documented rule that says why."""
    runner, nodes = LiteRTModel(file.path), file.nodes
    taken = runner.delegated()
    source = f"LiteRT {version_of('ai_edge_litert')}"
    if runner.refusal:
        return report_of(
            target, MEASURED, nodes, 0, _refusal_findings(target, runner.refusal, nodes, source), source, 0
        )
    left = [node for node in nodes if node.row.number not in taken]
    rules = [target.broken_rule(node) for node in left]
    findings = tuple(
        _unexplained(node, nodes, taken, source) if rule is None else target.finding(rule, node)
        for node, rule in zip(left, rules, strict=True)
    )
    ends = _ends(nodes, taken)
    leftovers = tuple(
        node.row.number for node, rule in zip(left, rules, strict=True) if rule is not None and node.row.number in ends
    )
    return report_of(
        target, MEASURED, nodes, len(taken), findings, source, len(runner.partitions()), leftovers=leftovers
    )


def _ends(nodes: tuple[Node, ...], taken: frozenset[int]) -> set[int]:
    """The numbers of the nodes that are left in front of all that is taken, or behind it; none where nothing is."""
    if not taken:
        return set()
    return _apart(nodes, taken, False) | _apart(nodes[::-1], taken, True)


def _apart(nodes: tuple[Node, ...], taken: frozenset[int], backwards: bool) -> set[int]:
    """The numbers of the nodes that no node which is taken comes before, in this order."""
    reached: set[int] = set()
    apart = set()
    for node in nodes:
        read, written = (node.row.outputs, node.row.inputs) if backwards else (node.row.inputs, node.row.outputs)
        if node.row.number in taken or reached & set(read):
            reached |= set(written) - {-1}  # an input that is left out
        else:
            apart.add(node.row.number)
    return apart


def _refusal_findings(target: Target, refusal: str, nodes: tuple[Node, ...], source: str) -> tuple[Finding, ...]:
    """The findings of a file that does not run with XNNPACK, for an operator that it takes and has no kernel for."""
    named = re.search(r"(\w+) node #(\d+)", refusal)
    operator = f"{named[1]} {named[2]}" if named else "an operator"
    rule = next((target.broken_rule(node) for node in nodes if named and node.row.number == int(named[2])), None)
    why = f"runs only without XNNPACK, which takes {operator} and has no kernel for it"
    why += "" if rule is None else f": that needs {rule.needs}"
    sparse = any(tensor is not None and tensor.density is not None for node in nodes for tensor in node.inputs)
    other = "convert without sparsity" if sparse else f"use another layer for {operator}"
    change = other if rule is None else rule.change
    return tuple(Finding(node.row.number, node.row.name, node.label, why, change, source) for node in nodes)


def _unexplained(node: Node, nodes: tuple[Node, ...], taken: frozenset[int], source: str) -> Finding:
    """The finding for a node that breaks no rule. XNNPACK unpacks weights for its own nodes only."""
    why, change = "is left behind, and no documented rule says why", ""
    users = {user.row.number for user in nodes if set(user.row.inputs) & set(node.row.outputs)}
    if node.row.name in UNPACKING and not users & taken:
        why, change = "makes weights for operators that are left behind", "change those operators"
    return Finding(node.row.number, node.row.name, node.label, why, change, source)


def _require_tflm() -> None:
    if find_spec("tflite_micro") is None:
        raise ImportError(f"target: expected the package tflite-micro for 'tflm', got none: {install_command('micro')}")


def _measure_tflm(target: Target, file: TargetFile) -> TargetReport:
    """Return whether TensorFlow Lite Micro runs a file, how far it is from LiteRT's kernels, and its arena."""
    runner, kernels = _expected_from(file.path)
    samples = [_samples(info) for info in runner.inputs]
    stored = [info.quantize(sample) for info, sample in zip(runner.inputs, samples, strict=True)]
    content = np.frombuffer(file.content, np.uint8)
    try:
        reply = run_worker("run_micro", {"outputs": len(runner.outputs)}, [content, *stored])
    except WorkerError as error:
        message = _last_lines(error.log)
        return _refused(
            target, f"does not survive it: {error}" + (f" and says: {message}" if message else ""), file.nodes
        )
    if not reply.values["ran"]:
        message = _last_lines(reply.log)
        return _refused(target, f"says: {message}" if message else "does not run, and says nothing", file.nodes)
    return _compared(target, runner, kernels, samples, reply, file.nodes)


def _expected_from(path: str) -> tuple[LiteRTModel, str]:
    """A file on LiteRT's reference kernels and their name; on its default ones where those lack an operator."""
    try:
        return LiteRTModel(path, reference_kernels=True), "LiteRT's reference kernels"
    except ValueError:
        return LiteRTModel(path), "LiteRT's default kernels"


def _samples(info: TensorInfo) -> np.ndarray:
    """Seeded inputs (samples, shape with the batch): uniform over an integer type's range, or normal numbers."""
    rng, shape = np.random.default_rng(0), (_SAMPLES, *info.shape)
    if info.scale:
        limits = np.iinfo(info.dtype)
        return info.dequantize(rng.integers(limits.min, limits.max, shape, info.dtype, endpoint=True))
    if np.dtype(info.dtype).kind == "f":
        return rng.normal(size=shape).astype(info.dtype)
    return rng.integers(0, 2, shape).astype(info.dtype)


def _compared(
    target: Target,
    runner: LiteRTModel,
    kernels: str,
    samples: list[np.ndarray],
    reply: Reply,
    nodes: tuple[Node, ...],
) -> TargetReport:
    expected = runner([sample.reshape(-1, *sample.shape[2:]) for sample in samples])
    actual = [reply.arrays[place] for place in runner.output_order()]
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
    return report_of(target, MEASURED, nodes, len(nodes), findings, _micro_version(), facts=facts)


def _differs(differing: int, elements: int, kernels: str) -> Finding:
    return Finding(
        node=None,
        operator="the file",
        name="",
        why=f"has {differing:,} of {elements:,} outputs that differ from {kernels}",
        change="compare the layers one by one: a kernel there computes something else",
        source=_micro_version(),
    )


def _refused(target: Target, why: str, nodes: tuple[Node, ...]) -> TargetReport:
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
    elif any("uint8" in node.types for node in (nodes if number is None else (nodes[number],))):
        # The interpreter says that hybrid models are not supported.
        why = "takes int8, not uint8"
        change = "export the float model with the recipe int8; of a MobileNet v1 in uint8, models.from_tflite makes one"
    elif any(mixed(node) for node in nodes):
        change = "export with the recipe float32, int8 or int16x8"
    elif named:
        change = "use another layer: the interpreter refuses this operator as it is here"
    else:
        change = "try parts of the network by themselves: the interpreter names no operator"
    found = Finding(number, operator, label, why, change, _micro_version())
    return report_of(target, MEASURED, nodes, 0, (found,), _micro_version())


def _last_lines(log: str) -> str:
    """The interpreter's last messages in one line, without the path of its own source file."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return "; ".join(re.sub(r"^\S+\.cc(:\d+)?\s*", "", line) for line in lines[-3:])[:300]


def _micro_version() -> str:
    try:
        return f"tflite-micro {version('tflite-micro')}"
    except PackageNotFoundError:
        return "tflite-micro"


_FLOAT_ONLY = tuple(sorted(_XNNPACK - _XNNPACK_QUANTIZED))
_FLOAT = "export with the recipe float32 or float16"
_LOGITS = "leave the softmax out of the model, and apply it to the logits on the host"

MEASURED_TARGETS = (
    Target(
        name="xnnpack",
        runtime="xnnpack",
        summary="LiteRT's default on CPUs, measured: the operators that it takes, and the number of partitions",
        source=Source("XNNPACK delegate, README and xnnpack_delegate.cc", "LiteRT 2.3"),
        operators=_XNNPACK,
        rules=(
            Rule((), in_real_numbers, REAL, INDICES),
            Rule((), types_among("float32", "float16", "int8", "uint8"), "8-bit integers or floats", FLOAT_OR_INT8),
            Rule(("SOFTMAX",), where(is_output, not_quantized), "float32", _LOGITS),
            Rule(_FLOAT_ONLY, not_quantized, "float32", _FLOAT),
            Rule((), rank_at_most(6), "tensors of at most 6 dimensions", "join dimensions by a reshape"),
            Rule(
                ("BATCH_MATMUL",),
                where(quantized, symmetric_second),
                "float32",
                f"{_FLOAT}: in 8 bits, the zero point of its second factor must be 0",
            ),
            Rule(
                ("QUANTIZE",),
                floats_or_one_type,
                "float32, or 8-bit integers of its output's type",
                "give input and output of the model one type, int8 or uint8, or convert them on the host",
            ),
            Rule(
                ("QUANTIZE",),
                scales_within(2**-8, 2**7 + 1e-3),
                "an input whose step is 1/256 to 128 of its output's",
                "bring what is joined here to one range, by a normalization, or use the recipe float32",
            ),
            Rule(("LEAKY_RELU",), slopes_within(2**-8, 2**7), "slopes of 1/256 to 128 in its output's steps", _FLOAT),
            Rule(
                ("MUL",), product_within(2**-16, 2**8), "steps whose product is 1/65536 to 256 of its output's", _FLOAT
            ),
            Rule(("SPLIT",), outputs_between(2, 4), "2 to 4 outputs", "split into at most 4, and these again"),
            Rule(("SPLIT",), constants_at(0), "a static axis", STATIC_SHAPES),
            Rule(("SLICE",), constants_at(1, 2), "static places and sizes", STATIC_SHAPES),
            Rule(
                ("SLICE",), sizes_given(2), "sizes as numbers, not -1", "slice with the sizes themselves, as x[:, a:b]"
            ),
            Rule(("RESHAPE",), not_flattened, "a size for each axis, not -1 alone", "reshape to the size itself"),
            Rule(
                ("RESHAPE", "RESIZE_BILINEAR"),
                same_quantization,
                "input and output of one scale and zero point",
                _FLOAT,
            ),
            Rule(
                ("AVERAGE_POOL_2D", "MAX_POOL_2D"),
                pools_touch,
                "strides of at most the pool, and a pool of more than one pixel",
                "use a larger pool, or take every n-th pixel by a convolution of 1×1 with strides",
            ),
            Rule(("EXPAND_DIMS",), never, "RESHAPE in its place", "use a reshape"),
            Rule(("SOFTMAX",), option_is("beta", 1.0), "a factor beta of 1", "multiply in front of the softmax"),
            Rule(("PRELU",), constants_at(1), "static slopes", STATIC_WEIGHTS),
            Rule(("FULLY_CONNECTED",), dense_weights, "weights that are not sparse", "convert without sparsity"),
            Rule(("FULLY_CONNECTED",), constants_at(1, 2), "static weights and bias", STATIC_WEIGHTS),
            Rule(
                ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"),
                not_dynamic,
                "weights of its activations' type",
                "export with the recipe int8 in place of dynamic_int8",
            ),
            Rule(CONVOLUTIONS, has_bias, "a bias", WITH_BIAS),
            Rule(CONVOLUTIONS, constants_at(1, 2), "static weights and bias", STATIC_WEIGHTS),
            Rule(("TRANSPOSE_CONV",), constants_at(0, 1, 3), "a static output shape, weights and bias", STATIC_SHAPES),
            Rule(
                ("MEAN", "PAD", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "RESIZE_BILINEAR", "SUM", "TRANSPOSE"),
                constants_at(1),
                "a static second input",
                STATIC_SHAPES,
            ),
            Rule(
                ("ADD", "SUB"),
                scales_within(2**-10, 2**8),
                "inputs whose steps are 1/1024 to 256 of its output's",
                "export with the recipe float32 or float16",
            ),
            Rule(
                ("STRIDED_SLICE",),
                plain_slice,
                "a slice without steps that keeps all axes",
                "slice a range of neighbours, and take its axis away by a reshape",
            ),
            Rule(("CONCATENATION",), inputs_between(2, 5), "2 to 5 tensors", "join them by fives"),
            Rule(
                ("CONCATENATION",),
                one_quantization,
                "inputs and output of one scale and zero point",
                "bring what is joined here to one range, by a normalization, or use the recipe float32",
            ),
            Rule(
                (),
                activation_among(0, 1, 2, 3),
                "no fused activation but ReLU, ReLU6 and [-1, 1]",
                "put the activation in a layer of its own",
            ),
        ),
        measure=_measure_xnnpack,
    ),
    Target(
        name="tflm",
        runtime="reference",
        summary="TensorFlow Lite Micro for microcontrollers, measured: outputs and the smallest arena",
        source=Source("TensorFlow Lite Micro's interpreter", "as installed"),
        measure=_measure_tflm,
        require=_require_tflm,
    ),
)
"""Their reports are those of `Target.measure`."""

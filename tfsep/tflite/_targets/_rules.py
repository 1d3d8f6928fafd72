"""The documented rules of targets, a row each. A target's operators are in `_operators`."""

from typing import NamedTuple

from tfsep.tflite._targets import _supported_operators as operators
from tfsep.tflite._targets._conditions import (
    activation_among,
    batch_of_one,
    channels_per_group_of,
    constants_at,
    grid_kept,
    has_bias,
    in_real_numbers,
    inputs_at_most,
    is_output,
    left_in_floats,
    never,
    no_multiplier,
    no_rate,
    not_dynamic,
    not_quantized,
    one_rate,
    over_image,
    plain_slice,
    pool_at_most_or_valid,
    rank_among,
    ranks_alike,
    scales_within,
    strides_at_most,
    strides_at_most_or_valid,
    strides_one_or_two,
    types_among,
    version_at_most,
    where,
)
from tfsep.tflite._targets._node import Condition


class Source(NamedTuple):
    """Where rules are documented.

    Attributes:
        name: of a document or a file of source code.
        version: that was read.
    """

    name: str
    version: str

    def __str__(self) -> str:
        """Return both."""
        return f"{self.name}, {self.version}"


class Rule(NamedTuple):
    """One rule: an operator of these names needs this.

    Attributes:
        target: by name.
        operators: names, empty for every operator.
        holds: true of an operator that is fine.
        needs: what the rule says, after "needs"; nothing of an operator that the target has not.
        change: what to change in the network, or how it is exported.
        source: where it is documented.
    """

    target: str
    operators: tuple[str, ...]
    holds: Condition
    needs: str
    change: str
    source: Source


class Target(NamedTuple):
    """A target whose operators and rules are documented.

    Attributes:
        operators: that it has at all.
        source: where they are listed.
        whole: whether it runs the graph only up to the first operator that it does not take.
    """

    operators: frozenset[str]
    source: Source
    whole: bool = False


XNNPACK = Source("XNNPACK delegate, README and xnnpack_delegate.cc", "LiteRT 2.3")
GPU = Source("GPU delegate, gpu_compatibility.cc and model_builder.cc", "LiteRT 007226f")
GPU_TYPES = Source("GPU delegate, model_builder.cc", "LiteRT 34ec5ba")
NNAPI = Source("NNAPI delegate, nnapi_delegate.cc, for API level 29", "TensorFlow 002e5f4")
EDGE_TPU = Source("Coral, TensorFlow models on the Edge TPU, supported operations", "Edge TPU compiler 16")
ETHOS_U = Source("Vela, report of supported operators, Ethos-U55 and U65", "5.2.0")
CMSIS_NN = Source("CMSIS-NN, arm_depthwise_conv_wrapper_s8.c and TensorFlow Lite Micro's kernels", "V.2.2.0")
CMSIS_NN_TRANSPOSED = Source("CMSIS-NN, arm_transpose_conv_wrapper_s8.c", "7.0.0")

TARGETS = {
    "xnnpack": Target(operators.XNNPACK, XNNPACK),
    "gpu": Target(operators.GPU, GPU),
    "nnapi": Target(operators.NNAPI, NNAPI),
    "edgetpu": Target(operators.EDGE_TPU, EDGE_TPU, whole=True),
    "ethos-u": Target(operators.ETHOS_U, ETHOS_U),
    "cmsis-nn": Target(operators.CMSIS_NN, CMSIS_NN),
}

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_WINDOWS = (*_CONVOLUTIONS, "TRANSPOSE_CONV")
_FLOAT_ONLY = tuple(sorted(operators.XNNPACK - operators.XNNPACK_QUANTIZED))
_ARITHMETIC = ("ADD", "CONCATENATION", "DIV", "MUL", "PAD", "PADV2", "RESHAPE", "SUB")
_COMPARISONS = ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL")
INT8 = "export with the recipe int8"
IN_FLOATS = "use other layers here: the converter leaves this part in floats"
_PLAIN = ", not plain whole numbers or conditions"
_REAL = f"floats or 8-bit integers{_PLAIN}"
INDICES = "compute indices and masks in front of the model, or leave this operator to the CPU"
POOLING = "use a pooling layer over the whole image or sequence in place of the mean"
_FLOAT_OR_INT8 = "export with the recipe float32, float16 or int8"
_STATIC = "give the model its weights as variables, not as an input or a computed tensor"
_RATE = "use one rate for rows and columns"
_NO_RATE = "use rate 1, and a stride or a larger kernel for the receptive field"
_MULTIPLIER = "use depth_multiplier=1, and let the pointwise convolution add channels"
_BATCH = "export with batch_size=1"
_LOGITS = "leave the softmax out of the model, and apply it to the logits on the host"

RULES = (
    Rule("xnnpack", (), in_real_numbers, _REAL, INDICES, XNNPACK),
    Rule(
        "xnnpack",
        (),
        types_among("float32", "float16", "int8", "uint8"),
        "8-bit integers or floats",
        _FLOAT_OR_INT8,
        XNNPACK,
    ),
    Rule("xnnpack", ("SOFTMAX",), where(is_output, not_quantized), "float32", _LOGITS, XNNPACK),
    Rule("xnnpack", _FLOAT_ONLY, not_quantized, "float32", "export with the recipe float32 or float16", XNNPACK),
    Rule(
        "xnnpack",
        ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"),
        not_dynamic,
        "weights of its activations' type",
        "export with the recipe int8 in place of dynamic_int8",
        XNNPACK,
    ),
    Rule(
        "xnnpack", _CONVOLUTIONS, has_bias, "a bias", "use_bias=True, or a batch normalization that is folded", XNNPACK
    ),
    Rule("xnnpack", _CONVOLUTIONS, constants_at(1, 2), "static weights and bias", _STATIC, XNNPACK),
    Rule(
        "xnnpack",
        ("TRANSPOSE_CONV",),
        constants_at(0, 1, 3),
        "a static output shape, weights and bias",
        "export with static shapes, as `export` does",
        XNNPACK,
    ),
    Rule(
        "xnnpack",
        ("MEAN", "PAD", "RESHAPE", "RESIZE_BILINEAR", "TRANSPOSE"),
        constants_at(1),
        "a static second input",
        "export with static shapes, as `export` does",
        XNNPACK,
    ),
    Rule(
        "xnnpack",
        ("ADD", "SUB"),
        scales_within(2**-10, 2**8),
        "inputs whose steps are 1/1024 to 256 of its output's",
        "export with the recipe float32 or float16",
        XNNPACK,
    ),
    Rule(
        "xnnpack",
        ("STRIDED_SLICE",),
        plain_slice,
        "a slice without steps that keeps all axes",
        "slice a range of neighbours, and take its axis away by a reshape",
        XNNPACK,
    ),
    Rule("xnnpack", ("CONCATENATION",), inputs_at_most(4), "at most 4 tensors", "join them by fours", XNNPACK),
    Rule(
        "xnnpack",
        (),
        activation_among(0, 1, 2, 3),
        "no fused activation but ReLU, ReLU6 and [-1, 1]",
        "put the activation in a layer of its own",
        XNNPACK,
    ),
    Rule("gpu", (*_ARITHMETIC, *_COMPARISONS, "SELECT", "SELECT_V2"), in_real_numbers, _REAL, INDICES, GPU_TYPES),
    Rule(
        "gpu", (), types_among("float32", "float16", "int8", "uint8"), "floats or 8-bit integers", _FLOAT_OR_INT8, GPU
    ),
    Rule(
        "gpu",
        _CONVOLUTIONS,
        not_dynamic,
        "weights of its activations' type",
        "export with the recipe float16 or int8 in place of dynamic_int8",
        GPU,
    ),
    Rule(
        "gpu",
        _CONVOLUTIONS,
        version_at_most(6),
        "an operator version of at most 6",
        "export with an older converter",
        GPU,
    ),
    Rule(
        "gpu",
        ("TRANSPOSE_CONV",),
        version_at_most(3),
        "an operator version of at most 3",
        "export with an older converter, or without a bias in the layer",
        GPU,
    ),
    Rule(
        "gpu",
        ("CONV_2D",),
        channels_per_group_of(4),
        "channels of each group that are multiples of 4, or it is split",
        "use filters and channels of a multiple of 4 times the groups",
        GPU,
    ),
    Rule("gpu", ("SLICE", "STRIDED_SLICE"), rank_among(3, 4), "3 or 4 dimensions", "slice before flattening", GPU),
    Rule(
        "gpu",
        ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"),
        constants_at(1),
        "static axes",
        "give the axes as numbers",
        GPU,
    ),
    Rule("nnapi", _ARITHMETIC, in_real_numbers, _REAL, INDICES, NNAPI),
    Rule(
        "nnapi",
        ("SPLIT",),
        types_among("float32", "uint8"),
        "float32 or uint8",
        "use slices in place of the split, or export with the recipe float32",
        NNAPI,
    ),
    Rule(
        "nnapi",
        ("FULLY_CONNECTED",),
        ranks_alike,
        "an output of two axes",
        "flatten what goes in but for its last axis",
        NNAPI,
    ),
    Rule(
        "nnapi",
        (),
        types_among("float32", "float16", "int8", "uint8"),
        "floats or 8-bit integers",
        _FLOAT_OR_INT8,
        NNAPI,
    ),
    Rule(
        "nnapi",
        _WINDOWS,
        version_at_most(3),
        "an operator version of at most 3",
        "export with an older converter",
        NNAPI,
    ),
    Rule("nnapi", ("CONV_2D",), has_bias, "a bias", "use_bias=True, or a batch normalization that is folded", NNAPI),
    Rule(
        "nnapi",
        ("TRANSPOSE_CONV",),
        constants_at(0, 1),
        "a static output shape and weights",
        "export with static shapes, as `export` does",
        NNAPI,
    ),
    Rule("nnapi", ("MEAN",), where(over_image, grid_kept), "input and output on one grid", POOLING, NNAPI),
    Rule("nnapi", ("MEAN",), grid_kept, "input and output on one grid", "export with the recipe float32", NNAPI),
    Rule(
        "nnapi",
        ("ABS", "DIV", "EXP", "LOG", "NEG", "POW", "REDUCE_PROD", "RSQRT", "SIN", "SQRT", "SUM"),
        not_quantized,
        "float32",
        "export with the recipe float32",
        NNAPI,
    ),
    Rule("edgetpu", (), in_real_numbers, f"8-bit integers{_PLAIN}", INDICES, EDGE_TPU),
    Rule(
        "edgetpu",
        (),
        where(left_in_floats, never),
        "8-bit integers throughout",
        IN_FLOATS,
        EDGE_TPU,
    ),
    Rule("edgetpu", (), types_among("int8", "uint8"), "8-bit integers throughout", INT8, EDGE_TPU),
    Rule("edgetpu", (), batch_of_one, "a batch of one", _BATCH, EDGE_TPU),
    Rule("edgetpu", _CONVOLUTIONS, one_rate, "equal rates in rows and columns", _RATE, EDGE_TPU),
    Rule("edgetpu", _WINDOWS, constants_at(1), "static weights", _STATIC, EDGE_TPU),
    Rule(
        "edgetpu",
        ("AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D"),
        activation_among(0),
        "no fused activation",
        "put the activation in front of the layer",
        EDGE_TPU,
    ),
    Rule(
        "ethos-u",
        (),
        where(left_in_floats, never),
        "integers of 8 or 16 bits",
        IN_FLOATS,
        ETHOS_U,
    ),
    Rule("ethos-u", (), types_among("int8", "uint8", "int16"), "integers of 8 or 16 bits", INT8, ETHOS_U),
    Rule(
        "ethos-u", ("DEPTHWISE_CONV_2D",), strides_at_most(3), "strides of at most 3", "use strides of 1 to 3", ETHOS_U
    ),
    Rule(
        "ethos-u",
        ("CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"),
        strides_at_most_or_valid(3),
        "strides of at most 3, or padding 'valid' and rate 1",
        "use strides of 1 to 3, or padding='valid'",
        ETHOS_U,
    ),
    Rule(
        "ethos-u",
        ("AVERAGE_POOL_2D",),
        pool_at_most_or_valid(8),
        "a pool of at most 8 rows and columns, or padding 'valid'",
        "use a smaller pool, or padding='valid'",
        ETHOS_U,
    ),
    Rule(
        "ethos-u",
        ("TRANSPOSE_CONV",),
        strides_one_or_two,
        "strides of 1×1 or 2×2",
        "use strides of 1 or 2, alike in rows and columns",
        ETHOS_U,
    ),
    Rule("ethos-u", ("MEAN",), batch_of_one, "a batch of one", _BATCH, ETHOS_U),
    Rule("ethos-u", _CONVOLUTIONS, constants_at(2), "a static bias", _STATIC, ETHOS_U),
    Rule("cmsis-nn", (), in_real_numbers, f"int8 or int16{_PLAIN}", INDICES, CMSIS_NN),
    Rule("cmsis-nn", (), where(left_in_floats, never), "int8 or int16", IN_FLOATS, CMSIS_NN),
    Rule("cmsis-nn", (), types_among("int8", "int16"), "int8 or int16", INT8, CMSIS_NN),
    Rule(
        "cmsis-nn",
        ("DEPTHWISE_CONV_2D",),
        no_multiplier,
        "a depth multiplier of 1 for its fast kernel",
        _MULTIPLIER,
        CMSIS_NN,
    ),
    Rule("cmsis-nn", ("DEPTHWISE_CONV_2D",), no_rate, "rate 1 for its fast kernel", _NO_RATE, CMSIS_NN),
    Rule("cmsis-nn", ("DEPTHWISE_CONV_2D",), batch_of_one, "a batch of one for its fast kernel", _BATCH, CMSIS_NN),
    Rule(
        "cmsis-nn",
        ("TRANSPOSE_CONV",),
        strides_at_most(2),
        "strides of at most 2 for its fast kernel",
        "use strides of 1 or 2",
        CMSIS_NN_TRANSPOSED,
    ),
)
"""The order is that in which they are looked at: the first that is broken says why."""

"""Targets that are known by their documentation: records of source, operators and rules."""

from tfsep.tflite._targets._conditions import (
    activation_among,
    batch_of_one,
    channels_per_group_of,
    constants_at,
    has_bias,
    in_real_numbers,
    left_in_floats,
    never,
    no_multiplier,
    no_rate,
    not_dynamic,
    not_quantized,
    one_rate,
    over_image,
    pool_at_most_or_valid,
    rank_among,
    ranks_alike,
    same_scales,
    strides_at_most,
    strides_at_most_or_valid,
    strides_one_or_two,
    types_among,
    version_at_most,
    where,
)
from tfsep.tflite._targets._target import Rule, Source, Target, operator_names
from tfsep.tflite._targets._texts import (
    BATCH,
    CONVOLUTIONS,
    FLOAT_OR_INT8,
    IN_FLOATS,
    INDICES,
    INT8,
    NOT_PLAIN,
    POOLING,
    REAL,
    STATIC_SHAPES,
    STATIC_WEIGHTS,
    WINDOWS,
    WITH_BIAS,
)

_ARITHMETIC = ("ADD", "CONCATENATION", "DIV", "MUL", "PAD", "PADV2", "RESHAPE", "SUB")
_COMPARISONS = ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL")
_RATE = "use one rate for rows and columns"
_NO_RATE = "use rate 1, and a stride or a larger kernel for the receptive field"
_MULTIPLIER = "use depth_multiplier=1, and let the pointwise convolution add channels"
_GPU_TYPES = Source("GPU delegate, model_builder.cc", "LiteRT 34ec5ba")
_CMSIS_NN_TRANSPOSED = Source("CMSIS-NN, arm_transpose_conv_wrapper_s8.c", "7.0.0")

DOCUMENTED_TARGETS = (
    Target(
        name="gpu",
        summary="LiteRT's GPU delegate on phones",
        source=Source("GPU delegate, gpu_compatibility.cc and model_builder.cc", "LiteRT 007226f"),
        operators=operator_names("""
            ABS ADD ADD_N ATAN2 AVERAGE_POOL_2D BATCH_MATMUL BITCAST CAST CEIL CONCATENATION CONV_2D COS CUMSUM DENSIFY
            DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP FLOOR
            FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL
            LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG
            NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD
            RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RIGHT_SHIFT ROUND RSQRT
            SELECT SELECT_V2 SIGN SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE
            STRIDED_SLICE SUB SUM TANH TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV
        """),
        rules=(
            Rule(
                (*_ARITHMETIC, *_COMPARISONS, "SELECT", "SELECT_V2"), in_real_numbers, REAL, INDICES, source=_GPU_TYPES
            ),
            Rule((), types_among("float32", "float16", "int8", "uint8"), "floats or 8-bit integers", FLOAT_OR_INT8),
            Rule(
                CONVOLUTIONS,
                not_dynamic,
                "weights of its activations' type",
                "export with the recipe float16 or int8 in place of dynamic_int8",
            ),
            Rule(
                CONVOLUTIONS, version_at_most(6), "an operator version of at most 6", "export with an older converter"
            ),
            Rule(
                ("TRANSPOSE_CONV",),
                version_at_most(3),
                "an operator version of at most 3",
                "export with an older converter, or without a bias in the layer",
            ),
            Rule(
                ("CONV_2D",),
                channels_per_group_of(4),
                "channels of each group that are multiples of 4, or it is split",
                "use filters and channels of a multiple of 4 times the groups",
            ),
            Rule(("SLICE", "STRIDED_SLICE"), rank_among(3, 4), "3 or 4 dimensions", "slice before flattening"),
            Rule(
                ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"),
                constants_at(1),
                "static axes",
                "give the axes as numbers",
            ),
        ),
    ),
    Target(
        name="nnapi",
        summary="Android's NNAPI at API level 29; Android 15 deprecates it",
        source=Source("NNAPI delegate, nnapi_delegate.cc, for API level 29", "TensorFlow 002e5f4"),
        operators=operator_names("""
            ABS ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_TO_SPACE_ND CAST CONCATENATION CONV_2D DEPTHWISE_CONV_2D
            DEPTH_TO_SPACE DEQUANTIZE DIV EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FLOOR FULLY_CONNECTED GATHER GREATER
            GREATER_EQUAL HARD_SWISH HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL
            LOCAL_RESPONSE_NORMALIZATION LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LSH_PROJECTION LSTM MAXIMUM
            MAX_POOL_2D MEAN MINIMUM MUL NEG NOT_EQUAL PAD PADV2 POW PRELU QUANTIZE REDUCE_ANY REDUCE_MAX REDUCE_MIN
            REDUCE_PROD RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RNN RSQRT SELECT SIN
            SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SQRT SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TILE
            TOPK_V2 TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNIDIRECTIONAL_SEQUENCE_RNN
        """),
        rules=(
            Rule(_ARITHMETIC, in_real_numbers, REAL, INDICES),
            Rule(
                ("SPLIT",),
                types_among("float32", "uint8"),
                "float32 or uint8",
                "use slices in place of the split, or export with the recipe float32",
            ),
            Rule(
                ("FULLY_CONNECTED",), ranks_alike, "an output of two axes", "flatten what goes in but for its last axis"
            ),
            Rule((), types_among("float32", "float16", "int8", "uint8"), "floats or 8-bit integers", FLOAT_OR_INT8),
            Rule(WINDOWS, version_at_most(3), "an operator version of at most 3", "export with an older converter"),
            Rule(("CONV_2D",), has_bias, "a bias", WITH_BIAS),
            Rule(("TRANSPOSE_CONV",), constants_at(0, 1), "a static output shape and weights", STATIC_SHAPES),
            Rule(("MEAN",), where(over_image, same_scales), "input and output of one scale and zero point", POOLING),
            Rule(
                ("MEAN",), same_scales, "input and output of one scale and zero point", "export with the recipe float32"
            ),
            Rule(
                ("ABS", "DIV", "EXP", "LOG", "NEG", "POW", "REDUCE_PROD", "RSQRT", "SIN", "SQRT", "SUM"),
                not_quantized,
                "float32",
                "export with the recipe float32",
            ),
        ),
    ),
    Target(
        name="edgetpu",
        summary="Coral's Edge TPU, which runs a graph up to the first operator that it does not take",
        source=Source("Coral, TensorFlow models on the Edge TPU, supported operations", "Edge TPU compiler 16"),
        operators=operator_names("""
            ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED L2_NORMALIZATION
            LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL PACK PAD PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6
            RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SOFTMAX SPACE_TO_DEPTH SPLIT
            SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV
        """),
        rules=(
            Rule((), in_real_numbers, f"8-bit integers{NOT_PLAIN}", INDICES),
            Rule((), where(left_in_floats, never), "8-bit integers throughout", IN_FLOATS),
            Rule((), types_among("int8", "uint8"), "8-bit integers throughout", INT8),
            Rule((), batch_of_one, "a batch of one", BATCH),
            Rule(CONVOLUTIONS, one_rate, "equal rates in rows and columns", _RATE),
            Rule(WINDOWS, constants_at(1), "static weights", STATIC_WEIGHTS),
            Rule(
                ("AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D"),
                activation_among(0),
                "no fused activation",
                "put the activation in front of the layer",
            ),
        ),
        prefix_only=True,
    ),
    Target(
        name="ethos-u",
        runtime="reference",
        summary="Arm's NPUs Ethos-U55 and U65",
        source=Source("Vela, report of supported operators, Ethos-U55 and U65", "5.2.0"),
        operators=operator_names("""
            ABS ADD ARG_MAX AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION CONV_2D DEPTHWISE_CONV_2D ELU EXP EXPAND_DIMS
            FULLY_CONNECTED GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG
            PACK PAD PADV2 PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE
            RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RSQRT SLICE SOFTMAX SPLIT SPLIT_V SQUARED_DIFFERENCE
            SQUEEZE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK
        """),
        rules=(
            Rule((), where(left_in_floats, never), "integers of 8 or 16 bits", IN_FLOATS),
            Rule((), types_among("int8", "uint8", "int16"), "integers of 8 or 16 bits", INT8),
            Rule(("DEPTHWISE_CONV_2D",), strides_at_most(3), "strides of at most 3", "use strides of 1 to 3"),
            Rule(
                ("CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"),
                strides_at_most_or_valid(3),
                "strides of at most 3, or padding 'valid' and rate 1",
                "use strides of 1 to 3, or padding='valid'",
            ),
            Rule(
                ("AVERAGE_POOL_2D",),
                pool_at_most_or_valid(8),
                "a pool of at most 8 rows and columns, or padding 'valid'",
                "use a smaller pool, or padding='valid'",
            ),
            Rule(
                ("TRANSPOSE_CONV",),
                strides_one_or_two,
                "strides of 1×1 or 2×2",
                "use strides of 1 or 2, alike in rows and columns",
            ),
            Rule(("MEAN",), batch_of_one, "a batch of one", BATCH),
            Rule(CONVOLUTIONS, constants_at(2), "a static bias", STATIC_WEIGHTS),
        ),
    ),
    Target(
        name="cmsis-nn",  # its operators are those with a kernel of its own, and RESHAPE, which computes nothing
        runtime="reference",
        summary="CMSIS-NN's fast kernels on Arm's microcontrollers; other operators run on TensorFlow Lite Micro's own",
        source=Source("CMSIS-NN, arm_depthwise_conv_wrapper_s8.c and TensorFlow Lite Micro's kernels", "V.2.2.0"),
        operators=operator_names("""
            ADD AVERAGE_POOL_2D BATCH_MATMUL CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED MAXIMUM MAX_POOL_2D MINIMUM MUL
            PAD PADV2 RESHAPE SOFTMAX SVDF TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM
        """),
        rules=(
            Rule((), in_real_numbers, f"int8 or int16{NOT_PLAIN}", INDICES),
            Rule((), where(left_in_floats, never), "int8 or int16", IN_FLOATS),
            Rule((), types_among("int8", "int16"), "int8 or int16", INT8),
            Rule(("DEPTHWISE_CONV_2D",), no_multiplier, "a depth multiplier of 1 for its fast kernel", _MULTIPLIER),
            Rule(("DEPTHWISE_CONV_2D",), no_rate, "rate 1 for its fast kernel", _NO_RATE),
            Rule(("DEPTHWISE_CONV_2D",), batch_of_one, "a batch of one for its fast kernel", BATCH),
            Rule(
                ("TRANSPOSE_CONV",),
                strides_at_most(2),
                "strides of at most 2 for its fast kernel",
                "use strides of 1 or 2",
                source=_CMSIS_NN_TRANSPOSED,
            ),
        ),
    ),
)

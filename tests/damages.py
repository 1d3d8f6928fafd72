"""Damages that leave a file whole: it runs, and computes something else than its model.

Each is a function of the schema's ``ModelT`` that changes it and returns whether there was anything to change.
`network` is a small one in which every one of them has its place.
"""

import keras
import numpy as np
from keras import layers

from tfsep._flatbuffer.constants import scales_of, stored_numbers
from tfsep._flatbuffer.reader import operator_name, pack, type_name, unpack


def network():
    """A network with a sum, a gate, a pooling, a resize, two layers of equal kernels, and two outputs of one shape."""
    keras.utils.set_random_seed(1)
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(image)
    x = layers.ReLU(6.0)(layers.Rescaling(4.0, 1.0)(x))
    y = layers.Conv2D(8, 1, activation="relu", name="inner")(x)
    y = layers.Conv2D(8, 1, name="outer")(y)
    x = layers.Add()([x, y])
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    gate = layers.Dense(8, activation="sigmoid", name="gate")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.MaxPooling2D(2)(layers.Multiply()([x, gate]))
    x = layers.Resizing(5, 5, interpolation="bilinear")(x)
    x = layers.Flatten()(layers.Conv2D(6, 2, name="top")(x))
    model = keras.Model(image, [layers.Dense(4, name="a")(x), layers.Dense(4, activation="tanh", name="b")(x)])
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name != "stem" and getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.5, layer.bias.shape))
    return model


def _operators(model, *names):
    return [op for op in model.subgraphs[0].operators if operator_name(model, op) in names]


def _tensor(model, number):
    return model.subgraphs[0].tensors[int(number)]


def _constants(model, rank):
    """Tensors of stored weights of a rank with more than one number, largest first."""
    read = {int(i) for op in model.subgraphs[0].operators for i in op.inputs if i >= 0}
    found = [_tensor(model, number) for number in sorted(read)]
    found = [tensor for tensor in found if len(tensor.shape if tensor.shape is not None else []) == rank]
    stored = [(tensor, stored_numbers(model, tensor)) for tensor in found]
    stored = [(t, v) for t, v in stored if v is not None and v.size > 1 and (v.dtype.kind == "f" or scales_of(t))]
    return [tensor for tensor, _ in sorted(stored, key=lambda pair: -pair[1].size)]


def _store(model, tensor, values):
    kind = np.dtype(type_name(tensor))
    model.buffers[tensor.buffer].data = np.frombuffer(values.astype(kind).tobytes(), np.uint8)


def _change(model, rank, change):
    """Change the stored numbers of the largest constant of a rank."""
    for tensor in _constants(model, rank)[:1]:
        values = stored_numbers(model, tensor).copy()
        changed = change(values)
        if not np.array_equal(changed, values):
            _store(model, tensor, changed)
            return True
    return False


def other_weights(model):
    """One kernel's numbers in another order."""
    return _change(model, 4, lambda w: np.random.default_rng(0).permutation(w.ravel()).reshape(w.shape))


def transposed_weights(model):
    """A square kernel of a 1×1 convolution, rows as columns."""
    for tensor in _constants(model, 4):
        values = stored_numbers(model, tensor)
        if values.shape == (8, 1, 1, 8):
            _store(model, tensor, values.transpose(3, 1, 2, 0))
            return True
    return False


def swapped_layers(model):
    """Two layers of equal shapes have each other's kernels: every weight of the model is in the file."""
    alike = [op for op in _operators(model, "CONV_2D") if tuple(_tensor(model, op.inputs[1]).shape) == (8, 1, 1, 8)]
    if len(alike) < 2:
        return False
    first, second = alike[:2]
    kernels = int(first.inputs[1]), int(second.inputs[1])
    for op, kernel in zip((second, first), kernels, strict=True):
        op.inputs = [op.inputs[0], kernel, *op.inputs[2:]]
    return True


def scaled_weights(model):
    """One kernel 5 % larger."""
    for tensor in _constants(model, 4)[:1]:
        if scales_of(tensor) is None:
            _store(model, tensor, stored_numbers(model, tensor) * 1.05)
        else:
            tensor.quantization.scale = np.asarray(tensor.quantization.scale) * np.float32(1.05)
        return True
    return False


def dropped_bias(model):
    """The largest bias is zero."""
    return _change(model, 1, np.zeros_like)


def dead_channel(model):
    """One channel of a kernel and its bias are zero."""

    def silenced(values):
        values = values.copy()
        values[0] = 0
        return values

    return _change(model, 2, silenced)


def swapped_channels(model):
    """Two channels of a kernel have each other's numbers."""
    return _change(model, 2, lambda w: w[[1, 0, *range(2, len(w))]])


def nan_weights(model):
    """One weight is no number."""
    tensor = _constants(model, 4)[0]
    if scales_of(tensor) is not None:
        return False

    def damaged(values):
        values.flat[0] = np.nan
        return values

    _store(model, tensor, damaged(stored_numbers(model, tensor).copy()))
    return True


def overflowing_weights(model):
    """One weight is infinite, as a number past float16 is."""
    tensor = _constants(model, 4)[0]
    if scales_of(tensor) is not None:
        return False
    values = stored_numbers(model, tensor).copy()
    values.flat[0] = np.inf
    _store(model, tensor, values)
    return True


def swapped_outputs(model):
    """The two outputs have each other's names."""
    first, second = model.signatureDefs[0].outputs
    first.tensorIndex, second.tensorIndex = second.tensorIndex, first.tensorIndex
    graph = model.subgraphs[0]
    graph.outputs = [int(number) for number in graph.outputs][::-1]
    return True


def _renamed(model, old, new):
    """Let the first operator of a name be another one."""
    for op in _operators(model, old)[:1]:
        from ai_edge_litert import schema_py_generated as schema

        code = schema.OperatorCodeT()
        vars(code).update(vars(model.operatorCodes[op.opcodeIndex]))
        code.builtinCode = getattr(schema.BuiltinOperator, new)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        op.opcodeIndex = len(model.operatorCodes)
        model.operatorCodes.append(code)
        return True
    return False


def tanh_for_sigmoid(model):
    """Another function in the gate."""
    return _renamed(model, "LOGISTIC", "TANH")


def average_for_maximum(model):
    """Another pooling."""
    return _renamed(model, "MAX_POOL_2D", "AVERAGE_POOL_2D")


def difference_for_product(model):
    """A sum in the place of a product."""
    from ai_edge_litert import schema_py_generated as schema

    for op in _operators(model, "MUL"):
        op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    return _renamed(model, "MUL", "ADD")


def _activation(model, old, new):
    for op in _operators(model, "CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MUL", "FULLY_CONNECTED"):
        if op.builtinOptions.fusedActivationFunction == old:
            op.builtinOptions.fusedActivationFunction = new
            return True
    return False


def relu_for_relu6(model):
    """An upper limit is left out."""
    return _activation(model, 3, 1)


def no_relu(model):
    """A rectifier is left out."""
    return _activation(model, 1, 0)


def other_stride(model):
    """A strided convolution has the other padding, which shifts its windows."""
    for op in _operators(model, "CONV_2D"):
        if op.builtinOptions.strideH == 2:
            op.builtinOptions.strideH, op.builtinOptions.strideW = 1, 1
            op.builtinOptions.dilationHFactor = 1
            return True
    return False


def other_dilation(model):
    """A depthwise convolution has another rate, of the same output size."""
    for op in _operators(model, "DEPTHWISE_CONV_2D"):
        op.builtinOptions.dilationHFactor = op.builtinOptions.dilationWFactor = 2
        return True
    return False


def _resized(model, corners, centers):
    for op in _operators(model, "RESIZE_BILINEAR"):
        op.builtinOptions.alignCorners, op.builtinOptions.halfPixelCenters = corners, centers
        return True
    return False


def aligned_corners(model):
    """A resize maps corners to corners."""
    return _resized(model, True, False)


def no_half_pixels(model):
    """A resize takes pixels by their corners, not by their centres."""
    return _resized(model, False, False)


def aligned_corners_and_half_pixels(model):
    """A resize has two rules at once: LiteRT's own kernels refuse it, XNNPACK takes it."""
    return _resized(model, True, True)


def cut_branch(model):
    """A residual sum adds one of its inputs twice."""
    for op in _operators(model, "ADD"):
        if all(stored_numbers(model, _tensor(model, number)) is None for number in op.inputs):
            op.inputs = [op.inputs[0], op.inputs[0]]
            return True
    return False


def _integer_results(model, *names):
    for op in _operators(model, *names):
        tensor = _tensor(model, op.outputs[0])
        if scales_of(tensor) is not None:
            yield tensor


def _scaled_result(model, factor, *names):
    for tensor in _integer_results(model, *names):
        tensor.quantization.scale = np.asarray(tensor.quantization.scale) * np.float32(factor)
        return True
    return False


def halved_scale(model):
    """Half the range of a tensor between two layers: it saturates."""
    return _scaled_result(model, 0.5, "DEPTHWISE_CONV_2D")


def halved_output_scale(model):
    """Half the range of an output."""
    return _scaled_result(model, 0.5, "FULLY_CONNECTED")


def coarse_scale(model):
    """A range of which a tensor's numbers use two steps."""
    stored = next(_integer_results(model, "DEPTHWISE_CONV_2D"), None)
    return stored is not None and _scaled_result(model, np.iinfo(type_name(stored)).max / 2, "DEPTHWISE_CONV_2D")


def other_scale_behind_pooling(model):
    """A pooling in integers keeps the scale; the numbers it makes are taken for others."""
    return _scaled_result(model, 1.25, "MAX_POOL_2D")


def shifted_zero(model):
    """The zero point of a tensor between two layers is a quarter of the range off."""
    for tensor in _integer_results(model, "DEPTHWISE_CONV_2D"):
        stored = np.iinfo(type_name(tensor))
        if stored.bits == 8:
            tensor.quantization.zeroPoint = [int(tensor.quantization.zeroPoint[0]) + 128]
            return True
    return False


def shifted_zero_behind_pooling(model):
    """The same where the operator does not compute with it, by 10 steps."""
    for tensor in _integer_results(model, "MAX_POOL_2D"):
        if np.iinfo(type_name(tensor)).bits == 8:
            tensor.quantization.zeroPoint = [int(tensor.quantization.zeroPoint[0]) + 10]
            return True
    return False


DAMAGES = {
    damage.__name__: damage
    for damage in (
        other_weights,
        transposed_weights,
        swapped_layers,
        scaled_weights,
        dropped_bias,
        dead_channel,
        swapped_channels,
        nan_weights,
        overflowing_weights,
        swapped_outputs,
        tanh_for_sigmoid,
        average_for_maximum,
        difference_for_product,
        relu_for_relu6,
        no_relu,
        other_stride,
        other_dilation,
        aligned_corners,
        no_half_pixels,
        aligned_corners_and_half_pixels,
        cut_branch,
        halved_scale,
        halved_output_scale,
        coarse_scale,
        other_scale_behind_pooling,
        shifted_zero,
        shifted_zero_behind_pooling,
    )
}


def damaged(content, damage):
    """Return a file's bytes with a damage, or None where it has no place for it."""
    model = unpack(content, "damaged")
    return pack(model) if DAMAGES[damage](model) else None


def with_other_options(content):
    """Yield a file with one option of an operator changed, or numbers of a shape, an axis or a pad: what, and bytes."""
    whole = unpack(content, "whole")
    for place, op in enumerate(whole.subgraphs[0].operators):
        title = f"{place} {operator_name(whole, op)}"
        for table in ("builtinOptions", "builtinOptions2"):
            options = getattr(op, table, None)
            for name, value in ({} if options is None else vars(options)).items():
                if (other := _another(name, value)) is not None:
                    model = unpack(content, "changed")
                    setattr(getattr(model.subgraphs[0].operators[place], table), name, other)
                    yield f"{title} {name}={other}", pack(model)
        for tensor in (_tensor(whole, number) for number in op.inputs if number >= 0):
            values = stored_numbers(whole, tensor)
            if values is not None and type_name(tensor) in ("int32", "int64") and scales_of(tensor) is None:
                model, other = unpack(content, "changed"), np.roll(values, 1)
                other = values + 1 if np.array_equal(other, values) else other
                _store(model, tensor, other)
                yield f"{title} {values.tolist()} as {other.tolist()}", pack(model)


def _another(name, value):
    """Another value of an option; None where there is none, as of a type of numbers."""
    other = None
    if name == "padding":
        other = 1 - value
    elif name == "fusedActivationFunction":
        other = 2 if value == 0 else 0  # 2 is from -1 to 1
    elif isinstance(value, bool | np.bool_):
        other = not value
    elif isinstance(value, float | np.floating):
        other = 0.9 * value + 0.1
    elif isinstance(value, int | np.integer) and "ype" not in name:
        other = 2 if value == 1 else value + 1
    elif isinstance(value, list | np.ndarray) and len(value):
        other = np.roll(value, 1)
    return other

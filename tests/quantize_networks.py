"""Networks that the tests of quantization share, with weights as training would leave them."""

from functools import cache

import keras
import numpy as np
from conftest import ROOT

from tfsep import layers, models, quantize, tflite
from tfsep.quantize import ActivationQuantizer, QuantizedAveragePooling

L = keras.layers

with np.load(ROOT / "saved_models" / "fashion_mnist" / "samples.npz") as _stored:
    IMAGES = _stored["images"][:200].reshape(-1, 28, 28, 1).astype("float32") / 127.5 - 1
"""Test images of Fashion-MNIST, in [−1, 1]."""


def trained(model, images, seed=0):
    """A model whose every weight is its own, with the statistics of these images, as training would leave it."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "gamma" in weight.path:
            # Some channels are turned around.
            weight.assign(rng.uniform(0.5, 1.5, weight.shape) * rng.choice([-1, 1], weight.shape, p=[0.2, 0.8]))
        elif "beta" in weight.path or "bias" in weight.path:
            weight.assign(rng.normal(0, 0.3, weight.shape))
        elif "kernel" in weight.path:
            fan_in = np.prod(weight.shape[:2]) if "depthwise" in weight.path else np.prod(weight.shape[:-1])
            weight.assign(rng.normal(0, np.sqrt(2 / fan_in), weight.shape))
    normalizations = [layer for layer in model._flatten_layers() if isinstance(layer, L.BatchNormalization)]
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    model(images, training=True)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum
    return model


def plain():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, 2, "same", use_bias=False),
            layers.BatchNormalization(),
            L.ReLU(6),
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, rate=2, name="depthwise"),
            L.BatchNormalization(),
            L.Activation("relu"),
            L.Conv2D(32, 1, activation="relu6"),
            L.MaxPooling2D(),
            L.Dropout(0.1),
            L.Flatten(),
            L.Dense(10, activation="softmax", name="dense"),
        ]
    )


def mobilenet(side=28, **options):
    scope = models.mobilenet_v1_arg_scope(stddev=None)
    return models.MobileNetV1((side, side, 1), 10, arg_scope=scope, **options)


def residual():
    inputs = keras.Input((28, 28, 1))
    x = L.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, 2, "same")(inputs)))
    for last in (False, True):
        y = L.ReLU(6)(L.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
        y = L.BatchNormalization()(layers.Conv2D(16, 1)(y))
        x = L.Add()([x, y])
        x = L.ReLU()(x) if last else x
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


def separable():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            L.Rescaling(0.5, 0.1),
            layers.SeparableConv2D(16, 3, 2, "same", depth_multiplier=2),
            L.BatchNormalization(),
            L.LeakyReLU(negative_slope=0.2),
            L.SeparableConv2D(32, 3, padding="same", activation="relu"),
            layers.DepthwiseSeparableConv(24, 3, 2),
            L.AveragePooling2D(3, 2, "same"),
            L.Activation("hard_silu"),
            L.AveragePooling2D(2),
            L.Flatten(),
            L.Dense(10),
            L.Softmax(),
        ]
    )


def branches():
    inputs = keras.Input((28, 28, 1))
    first = L.Conv2D(8, 3, 2, "same", activation="relu")(inputs)
    second = L.Conv2D(8, 5, 2, "same", activation="relu6")(inputs)
    third = L.Conv2D(4, 1)(L.MaxPooling2D()(inputs))
    fourth = L.ReLU()(L.BatchNormalization()(third))
    x = L.ZeroPadding2D(1)(L.Concatenate()([first, second, third, fourth]))
    x = L.Activation("hard_silu")(L.Conv2D(16, 3, 2)(x))
    gate = L.Conv2D(16, 1, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))
    x = L.Conv2D(8, 3, activation="tanh")(L.Multiply()([x, gate]))
    nested = keras.Sequential([keras.Input((5, 5, 8)), L.Conv2DTranspose(4, 3, strides=2, padding="same")])
    x = nested(x)
    x = L.Add()([x, L.Conv2D(4, 1)(x), x])
    x = L.Conv1D(8, 3, 2, "same", activation="relu")(L.Reshape((-1, 4))(x))
    x = L.GlobalMaxPooling1D()(L.DepthwiseConv1D(3)(x))
    return keras.Model(inputs, L.Dense(10)(x))


NETWORKS = {
    "plain": plain,
    "residual": residual,
    "separable": separable,
    "branches": branches,
    "MobileNet v1, 0.25": lambda: mobilenet(alpha=0.25),
    "MobileNet v1, 0.5, output stride 16": lambda: mobilenet(56, alpha=0.5, output_stride=16),
}


def with_every_layer(prepared):
    """The same model, whose outputs are all quantized results."""
    kinds = (ActivationQuantizer, QuantizedAveragePooling)
    outputs = {}
    for layer in prepared.layers:
        if isinstance(layer, kinds):
            for call, node in enumerate(layer._inbound_nodes):
                outputs[f"{layer.name}_{call}".replace(".", "_")] = node.output_tensors[0]
    return keras.Model(prepared.inputs, outputs)


def differing(prepared, images, folder):
    """Of all layers' elements, how many differ between a prepared model and its file without reason; their number."""
    found = tflite.export(with_every_layer(prepared), folder / "every.tflite", "int8", data=images).verification
    off = (found.unexplained, found.unexplained_steps) if found.otherwise else (found.differing, found.steps)
    return off[0], found.elements, off[1]


@cache
def prepared_network(name):
    """One of `NETWORKS`, trained; the same prepared; and images that both take. Made once."""
    side = 56 if "stride" in name else 28
    given = np.kron(IMAGES[:64], np.ones((1, side // 28, side // 28, 1), "float32"))
    model = trained(NETWORKS[name](), given)
    return model, quantize.observe(quantize.prepare(model), given), given


def gated_by_a_sigmoid():
    """A convolution to the end, and two functions behind one another."""
    body = separable().layers[:-3]
    return keras.Sequential([keras.Input((28, 28, 1)), *body, L.Conv2D(10, 1, activation="sigmoid"), L.Softmax()])

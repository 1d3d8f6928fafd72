"""Upsampling, resizing and padded maxima in files: an operator where LiteRT has it, else matrices, Keras's numbers."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers as L
from keras import ops as K

from tfsep import tflite
from tfsep._flatbuffer.reader import read_tflite
from tfsep.tflite._keras_layer_lowering import keras_layers_lowered

NEAREST, BILINEAR = ["RESIZE_NEAREST_NEIGHBOR"], ["RESIZE_BILINEAR"]
MATRICES = ["RESHAPE", "BATCH_MATMUL", "RESHAPE", "BATCH_MATMUL", "RESHAPE"]
IMAGE = (7, 5, 3)


def turned(operators):
    return ["TRANSPOSE", *operators, "TRANSPOSE"]


def resized(size, **options):
    return lambda x: K.image.resize(x, size, **options)


MAXIMUM = ["MIRROR_PAD", "MAX_POOL_2D"]
MAXIMUM_OF_ROWS = ["MIRROR_PAD", "RESHAPE", "MAX_POOL_2D", "RESHAPE"]


def behind_infinity(pool, pads):
    return lambda x: pool(K.pad(x, pads, constant_values=-np.inf))


CASES = {
    "nearest": (L.UpSampling2D((3, 2)), IMAGE, NEAREST),
    "nearest, channels first": (L.UpSampling2D(2, data_format="channels_first"), (3, 7, 5), turned(NEAREST)),
    "nearest, 1-D": (L.UpSampling1D(3), (7, 5), ["RESHAPE", *NEAREST, "RESHAPE"]),
    "nearest, 3-D": (L.UpSampling3D((2, 1, 3)), (3, 4, 5, 2), ["RESHAPE", *NEAREST, "RESHAPE", *NEAREST, "RESHAPE"]),
    "nearest, 3-D planes": (L.UpSampling3D((1, 2, 3)), (3, 4, 5, 2), ["RESHAPE", *NEAREST, "RESHAPE"]),
    "bilinear": (L.UpSampling2D((3, 2), interpolation="bilinear"), IMAGE, BILINEAR),
    "bicubic": (L.UpSampling2D(2, interpolation="bicubic"), IMAGE, MATRICES),
    "lanczos3": (L.UpSampling2D(2, interpolation="lanczos3"), IMAGE, MATRICES),
    "operation, nearest": (resized((10, 3), interpolation="nearest"), IMAGE, NEAREST),
    "operation, bilinear": (resized((10, 3)), IMAGE, BILINEAR),
    "operation, larger and smooth": (resized((10, 6), antialias=True), IMAGE, BILINEAR),
    "operation, smaller and smooth": (resized((4, 9), antialias=True), IMAGE, MATRICES),
    "operation, area": (resized((4, 9), interpolation="area"), IMAGE, MATRICES),
    "operation, lanczos5": (resized((4, 9), interpolation="lanczos5", antialias=True), IMAGE, MATRICES),
    "layer": (L.Resizing(6, 9), IMAGE, BILINEAR),
    "layer, smooth": (L.Resizing(3, 2, antialias=True), IMAGE, MATRICES),
    "layer, channels first": (
        L.Resizing(6, 9, interpolation="bicubic", data_format="channels_first"),
        (3, 7, 5),
        turned(MATRICES),
    ),
    "layer, cropped": (L.Resizing(6, 9, crop_to_aspect_ratio=True), IMAGE, ["STRIDED_SLICE", *BILINEAR]),
    "layer, padded": (L.Resizing(6, 9, pad_to_aspect_ratio=True), IMAGE, ["CONCATENATION", *BILINEAR]),
    "maximum": (behind_infinity(L.MaxPooling2D(3, 2), [[0, 0], [1, 1], [1, 0], [0, 0]]), IMAGE, MAXIMUM),
    "maximum, 1-D": (behind_infinity(L.MaxPooling1D(4, 1), [[0, 0], [2, 1], [0, 0]]), (7, 5), MAXIMUM_OF_ROWS),
    "TensorFlow's, by the golden section": (
        L.Lambda(lambda x: tf.image.resize(x, (9, 4), "mitchellcubic", antialias=True)),
        IMAGE,
        MATRICES,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_lowered_operators_compute_what_keras_does(name):
    """Traced as for an export, and without it: the operators of the file are tested below, by fewer conversions."""
    body, shape, _ = CASES[name]
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    expected = body(tf.constant(x))
    with keras_layers_lowered():
        actual = tf.function(body, autograph=False)(tf.constant(x))
    np.testing.assert_allclose(actual, expected, atol=2e-6)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Files of all cases: a model of one output for each, by recipe."""

    def export(recipe):
        inputs = {shape: keras.Input(shape, name="x".join(map(str, shape))) for _, shape, _ in CASES.values()}
        outputs = [L.Identity(name=f"out{n:02}")(body(inputs[s])) for n, (body, s, _) in enumerate(CASES.values())]
        model = keras.Model(list(inputs.values()), outputs)
        rng = np.random.default_rng(0)
        data = tuple(rng.uniform(-1, 1, (16, *shape)).astype("float32") for shape in inputs)
        path = tmp_path_factory.mktemp("resizing") / f"{recipe}.tflite"
        return tflite.export(model, path, recipe, data), model, data

    return export


@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_files(exported, recipe):
    report, model, data = exported(recipe)
    found = tflite.inspect(report.path)
    makers = {output: op for op in found.operators for output in op.outputs}
    wanted = {name: operators for name, (_, _, operators) in CASES.items()}
    for (name, operators), output, expected, actual in zip(
        wanted.items(),
        (found.tensors[number] for number in read_tflite(report.path)[1].subgraphs[0].outputs),
        model.predict(data, verbose=0),
        tflite.predict(report.path, data).values(),
        strict=True,
    ):
        chain, number = [], output.number
        while number in makers:
            chain.append(makers[number].name)
            of_matrix = makers[number].name == "BATCH_MATMUL"
            number = makers[number].inputs[1 if of_matrix else 0]
        assert [each for each in chain[::-1] if each not in ("QUANTIZE", "DEQUANTIZE")] == operators, name
        steps = 0 if recipe == "float32" else 1 + len(operators)
        assert np.abs(actual - expected).max() <= 1e-5 + steps / 100, name  # of int8, from -1.27 to 1.28


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integers_are_repeated(tmp_path, dtype):
    """LiteRT resizes no integers that have no scale: Keras's own computation stays."""
    inputs = keras.Input((6, 7, 3), dtype=dtype)
    model = keras.Model(inputs, keras.layers.Rescaling(1 / 255)(keras.layers.UpSampling2D(2)(inputs)))
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 7, 3)).astype(dtype)
    tflite.export(model, tmp_path / "m.tflite", data=images)
    expected = images.repeat(2, axis=1).repeat(2, axis=2) / 255
    np.testing.assert_allclose(tflite.predict(tmp_path / "m.tflite", images), expected, atol=1e-6)


def test_all_sizes():
    """Sizes that are odd, and scales that are no whole numbers, up and down; LiteRT against Keras."""
    sides = (1, 2, 3, 5, 7, 8, 13)
    pairs = [((a, b), (b, a)) for a, b in itertools.product(sides, sides)]
    inputs = [keras.Input((*source, 2)) for source, _ in pairs]
    for method in ("nearest", "bilinear"):
        outputs = [K.image.resize(x, size, interpolation=method) for x, (_, size) in zip(inputs, pairs, strict=True)]
        model = keras.Model(inputs, outputs)
        with keras_layers_lowered():
            traced = tf.function(lambda *x, model=model: model(list(x), training=False), autograph=False)
            function = traced.get_concrete_function(*(tf.TensorSpec((1, *x.shape[1:])) for x in inputs))
        content = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module()).convert()
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        rng = np.random.default_rng(0)
        data = [rng.normal(size=(1, *x.shape[1:])).astype("float32") for x in inputs]
        by_name = dict(zip((x.name.split(":")[0] for x in function.inputs), data, strict=True))
        found = interpreter.get_signature_runner()(**by_name)
        expected = [np.asarray(each) for each in model(data, training=False)]
        for n, (name, each) in enumerate(
            zip(sorted(found, key=lambda n: int(n.split("_")[-1])), expected, strict=True)
        ):
            np.testing.assert_allclose(found[name], each, atol=1e-5, err_msg=str((method, pairs[n])))


def test_infinity_stays_where_its_mirror_image_is_another(tmp_path):
    """Of windows that reach far over the edge, and of other numbers."""
    inputs = L.Input(IMAGE)
    for pads, value in (([2, 2], -np.inf), ([1, 1], 0.5)):
        pool = L.MaxPooling2D(3, 2)(K.pad(inputs, [[0, 0], pads, pads, [0, 0]], constant_values=value))
        report = tflite.export(keras.Model(inputs, pool), tmp_path / "m.tflite")
        assert report.ops == {"PADV2": 1, "MAX_POOL_2D": 1}


def test_methods_are_put_back():
    before = tf.image.resize, L.UpSampling2D.call
    with keras_layers_lowered():
        assert tf.image.resize is not before[0]
    assert (tf.image.resize, L.UpSampling2D.call) == before

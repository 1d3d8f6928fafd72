"""Files that Keras and TensorFlow write of models with these layers: LiteRT, ONNX and SavedModel.

One model has an output for each row of `ROWS` and is written once in each format. The operators of an output are those
between it and the model's inputs.
"""

import importlib.util
import itertools
import warnings
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from checks import assert_close
from layer_checks import randomize

from tfsep import layers, ops, tflite
from tfsep._flatbuffer.reader import operator_name, read_tflite
from tfsep.ops import _lowering
from tfsep.ops._export_context import is_saving


class Row(NamedTuple):
    """Layers one behind the other, and what is expected of their files.

    Attributes:
        make: makes the layers.
        onnx: operators of the ONNX file; None where they are only counted.
        batch: operators of the LiteRT file for the unknown batch, which the file of `tflite.export` knows.
        rank: 1 for layers on sequences, 2 for images.
    """

    make: Callable[[], list[keras.layers.Layer]]
    onnx: str | None
    batch: str = ""
    rank: int = 2


TRANSPOSED_BATCH = "SHAPE STRIDED_SLICE PACK"
ROW_OF_CONV = "Unsqueeze Transpose Conv Transpose Squeeze Add"
ROWS = {
    "conv": Row(
        lambda: [layers.Conv2D(6, (3, 2), strides=2, padding="same", activation="relu")],
        "Transpose Conv Relu Transpose",
    ),
    "conv_grouped": Row(
        lambda: [layers.Conv2D(6, 3, 2, ((1, 0), (2, 1)), rate=2, groups=2)], "Transpose Conv Transpose"
    ),
    "conv_bn": Row(
        lambda: [layers.Conv2D(6, 3, use_bias=False), layers.BatchNormalization(), layers.Conv2D(3, 1)],
        "Transpose Conv Conv Transpose",
    ),
    "conv_first": Row(lambda: [layers.Conv2D(6, 3, data_format="channels_first")], "Conv Add"),
    "depthwise": Row(lambda: [layers.DepthwiseConv2D(3, 2, "same", 2, dilation_rate=2)], "Transpose Conv Transpose"),
    "depthwise_bn": Row(
        lambda: [layers.DepthwiseConv2D(3, use_bias=False), layers.BatchNormalization(), keras.layers.ReLU(6.0)],
        "Transpose Conv Clip Transpose",
    ),
    "separable": Row(
        lambda: [layers.SeparableConv2D(6, 3, padding=1, activation="relu")], "Transpose Conv Conv Relu Transpose"
    ),
    "block": Row(
        lambda: [layers.DepthwiseSeparableConv(6, strides=2)], "Transpose Conv LeakyRelu Conv LeakyRelu Transpose"
    ),
    "normalization": Row(lambda: [layers.BatchNormalization()], "Transpose BatchNormalization Transpose"),
    "transposed": Row(
        lambda: [layers.Conv2DTranspose(6, 3, 2, "same", use_bias=False), layers.BatchNormalization()],
        "Transpose ConvTranspose BatchNormalization Transpose",
        TRANSPOSED_BATCH,
    ),
    "transposed_valid": Row(
        lambda: [layers.Conv2DTranspose(6, 3, 2, 1)], "Transpose ConvTranspose Transpose", TRANSPOSED_BATCH
    ),
    "transposed_grouped": Row(
        lambda: [layers.Conv2DTranspose(6, 3, 2, "same", groups=2)], "Reshape Pad Reshape Transpose Conv Transpose"
    ),
    "transposed_rate": Row(
        lambda: [layers.Conv2DTranspose(6, 3, 2, rate=2)],
        "Transpose ConvTranspose Transpose Reshape Pad Reshape Slice Add",
        TRANSPOSED_BATCH,
    ),
    "depthwise_transposed": Row(
        lambda: [layers.DepthwiseConv2DTranspose(3, 2, "same", depth_multiplier=2)],
        "Reshape Pad Reshape Transpose Pad Conv Transpose",
    ),
    "separable_transposed": Row(
        lambda: [layers.SeparableConv2DTranspose(6, 3, 2, "same")],
        "Reshape Pad Reshape Transpose Pad Conv Conv Transpose",
    ),
    "deformable": Row(
        lambda: [layers.DeformableConv2D(6, 3, 1, "same", modulated=True, offset_initializer="normal")],
        None,
        "SHAPE STRIDED_SLICE STRIDED_SLICE CAST RANGE RESHAPE MUL ADD ADD",
    ),
    "conv_1d": Row(lambda: [layers.Conv1D(6, 3, padding="causal", dilation_rate=2)], ROW_OF_CONV, rank=1),
    "depthwise_1d": Row(lambda: [layers.DepthwiseConv1D(3, 2, "same")], ROW_OF_CONV, rank=1),
    "separable_1d": Row(lambda: [layers.SeparableConv1D(6, 3, padding="same")], f"{ROW_OF_CONV} Conv", rank=1),
    "transposed_1d": Row(
        lambda: [layers.Conv1DTranspose(6, 3, 2, "same")],
        ROW_OF_CONV.replace("Conv", "ConvTranspose"),
        TRANSPOSED_BATCH,
        rank=1,
    ),
}


def has_onednn():
    """Whether TensorFlow's CPU kernels are oneDNN's, which alone take a depthwise rate and gradients of groups."""
    x, w = tf.ones((1, 6, 6, 2)), tf.ones((2, 2, 2, 1))
    try:
        tf.raw_ops.DepthwiseConv2dNative(input=x, filter=w, strides=[1] * 4, padding="VALID", dilations=[1, 2, 2, 1])
    except tf.errors.UnimplementedError:
        return False
    return True


EACH_GROUP = "SPLIT CONV_2D PAD CONCATENATION ADD", ""
"""Operators more and fewer where a file of Keras's, which runs in TensorFlow too, is traced without oneDNN."""
WITHOUT_ONEDNN = {
    "conv_grouped": EACH_GROUP,
    "depthwise": ("PAD RESHAPE RESHAPE STRIDED_SLICE", ""),
    "transposed_grouped": (
        "SPLIT TRANSPOSE_CONV TRANSPOSE_CONV CONCATENATION ADD SHAPE SHAPE STRIDED_SLICE STRIDED_SLICE PACK PACK",
        "CONV_2D PAD PAD RESHAPE RESHAPE",
    ),
}
ONNX_WITHOUT_ONEDNN = {
    "conv_grouped": ("Split Conv Transpose Concat Add", ""),
    "depthwise": ("Pad Reshape Squeeze Slice", ""),
    "transposed_grouped": ("Split Transpose ConvTranspose ConvTranspose Concat Add", "Reshape Reshape Pad Conv"),
}
IMAGES = np.random.default_rng(0).normal(size=(5, 10, 12, 4)).astype("float32")
SEQUENCES = np.random.default_rng(1).normal(size=(5, 11, 4)).astype("float32")


def test_each_layer_has_a_row():
    made = {type(layer) for row in ROWS.values() for layer in row.make()}
    assert {getattr(layers, name) for name in layers.__all__ if isinstance(getattr(layers, name), type)} <= made


@pytest.fixture(scope="module")
def model():
    inputs = {"images": keras.Input((10, 12, 4), name="images"), "sequences": keras.Input((11, 4), name="sequences")}
    outputs = {}
    for name, row in ROWS.items():
        y = inputs["images"] if row.rank == 2 else inputs["sequences"]
        for layer in row.make():
            y = layer(y)
        outputs[name] = y
    model = keras.Model(inputs, outputs)
    randomize(model)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def predicted(model):
    return model.predict({"images": IMAGES, "sequences": SEQUENCES}, verbose=0)


@pytest.fixture(scope="module")
def litert(model, folder):
    model.export(folder / "model.tflite", format="litert", verbose=False)
    return folder / "model.tflite"


def litert_operators(path):
    """The operators of each output of a LiteRT file; those that only change a shape are all RESHAPE."""
    _, model = read_tflite(path)
    graph, outputs = model.subgraphs[0], model.signatureDefs[0].outputs
    maker = {tensor: operator for operator in graph.operators for tensor in operator.outputs}
    names = {output.name.decode(): behind(output.tensorIndex, maker, lambda op: op.inputs) for output in outputs}
    same = {"EXPAND_DIMS": "RESHAPE", "SQUEEZE": "RESHAPE"}
    return {
        output: Counter(same.get(name, name) for name in (operator_name(model, op) for op in found))
        for output, found in names.items()
    }


def behind(output, maker, inputs_of):
    """The operators that an output depends on, each once."""
    found, tensors = {}, [output]
    while tensors:
        operator = maker.get(tensors.pop())
        if operator is not None and id(operator) not in found:
            found[id(operator)] = operator
            tensors.extend(inputs_of(operator))
    return list(found.values())


def test_litert_has_the_operators_of_our_own_export(model, litert, folder):
    """And, as it is for any batch, the arithmetic of an unknown batch where the operators take that."""
    tflite.export(model, folder / "own.tflite")
    own, found = litert_operators(folder / "own.tflite"), litert_operators(litert)
    for name, row in ROWS.items():
        more, fewer = ("", "") if has_onednn() else WITHOUT_ONEDNN.get(name, ("", ""))
        assert found[name] == own[name] + Counter(f"{row.batch} {more}".split()) - Counter(fewer.split()), name


def run_litert(path, inputs):
    """The outputs of a LiteRT file by name, for a batch that it was not made for."""
    run = Interpreter(str(path))
    details = {each["name"].split(":")[0].removeprefix("serving_default_"): each for each in run.get_input_details()}
    for name, value in inputs.items():
        run.resize_tensor_input(details[name]["index"], value.shape)
    return run.get_signature_runner()(**inputs)


def run_onnx(model, path, inputs):
    """The outputs of a model by name, exported by Keras to an ONNX file of this path."""
    runtime = pytest.importorskip("onnxruntime")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.export(path, format="onnx", verbose=False)
    session = runtime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("batch", [1, 3])
def test_litert_computes_what_predict_does(litert, predicted, batch):
    outputs = run_litert(litert, {"images": IMAGES[:batch], "sequences": SEQUENCES[:batch]})
    for name in ROWS:
        assert_close(outputs[name], predicted[name][:batch], 1e-5, name)


@pytest.fixture(scope="module")
def served(model, folder):
    model.export(folder / "served", format="tf_saved_model", verbose=False)
    return tf.saved_model.load(str(folder / "served"))


@pytest.mark.parametrize("batch", [1, 5])
def test_saved_model_computes_what_predict_does(served, predicted, batch):
    inputs = {"images": tf.constant(IMAGES[:batch]), "sequences": tf.constant(SEQUENCES[:batch])}
    for outputs in (served.serve(inputs), served.signatures["serving_default"](**inputs)):
        for name in ROWS:
            assert_close(outputs[name], predicted[name][:batch], 1e-5, name)


def test_saved_model_has_the_gradients_of_the_model(model, served):
    """Of the native operator's own gradients that of a depthwise convolution with a rate is wrong."""

    def gradients(call):
        x, s = tf.constant(IMAGES[:2]), tf.constant(SEQUENCES[:2])
        with tf.GradientTape() as tape:
            tape.watch([x, s])
            outputs = call({"images": x, "sequences": s})
            loss = tf.add_n([tf.reduce_sum(outputs[name] ** 2) for name in ROWS])
        return tape.gradient(loss, [x, s])

    for found, expected in zip(gradients(served.serve), gradients(model), strict=True):
        assert_close(found, expected, 1e-4)


def test_saved_model_refuses_what_it_would_compute_wrongly(served):
    """TensorFlow's kernels give an empty batch the input's shape."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="batch: expected one image or more, got"):
        served.serve({"images": tf.constant(IMAGES[:0]), "sequences": tf.constant(SEQUENCES[:0])})


def test_onnx_has_no_more_operators_than_it_needs_and_computes_what_predict_does(model, predicted, folder):
    pytest.importorskip("tf2onnx")
    onnx = pytest.importorskip("onnx")
    outputs = run_onnx(model, folder / "model.onnx", {"images": IMAGES, "sequences": SEQUENCES})
    graph = onnx.load(folder / "model.onnx").graph
    maker = {output: node for node in graph.node for output in node.output}
    for name, row in ROWS.items():
        found = Counter(node.op_type for node in behind(name, maker, lambda node: node.input))
        if row.onnx is None:
            assert found.total() < 120, name
        else:
            more, fewer = ("", "") if has_onednn() else ONNX_WITHOUT_ONEDNN.get(name, ("", ""))
            assert found == Counter(f"{row.onnx} {more}".split()) - Counter(fewer.split()), name
        assert_close(outputs[name], predicted[name], 1e-5, name)


def small_model(*stack, shape=(None, None, 4)):
    model = keras.Sequential([keras.Input(shape), *stack])
    randomize(model)
    return model


def test_open_sizes(tmp_path):
    """SAME padding stays with the operator; a rate beside it is padded for, which ONNX Runtime needs."""
    model = small_model(
        layers.DepthwiseConv2D(3, strides=2, padding="same"),
        layers.Conv2D(6, 3, padding="same", rate=2, groups=2),
    )
    model.export(tmp_path / "served", format="tf_saved_model", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "served")).convert()
    (tmp_path / "model.tflite").write_bytes(content)
    (found,) = litert_operators(tmp_path / "model.tflite").values()
    each_group = "" if has_onednn() else EACH_GROUP[0]
    assert found == Counter(f"DEPTHWISE_CONV_2D PAD CONV_2D {each_group}".split())
    run = Interpreter(model_content=content)
    for size in ((2, 9, 12, 4), (1, 16, 7, 4)):
        x = np.random.default_rng(0).normal(size=size).astype("float32")
        expected = model.predict(x, verbose=0)
        assert_close(served.serve(x), expected, 1e-5)
        run.resize_tensor_input(run.get_input_details()[0]["index"], size)
        (outputs,) = run.get_signature_runner()(
            **{next(iter(run.get_signature_runner().get_input_details())): x}
        ).values()
        assert_close(outputs, expected, 1e-5)


def test_converters_of_keras_models_and_of_functions(tmp_path):
    """A function that was traced before is none of a writer, and is told by `exporting`."""
    model = small_model(layers.DepthwiseConv2D(3, rate=2, use_bias=False), layers.BatchNormalization(), shape=(8, 8, 4))

    def operators(converter):
        (tmp_path / "model.tflite").write_bytes(converter.convert())
        (found,) = litert_operators(tmp_path / "model.tflite").values()
        return found

    def of_function():
        function = tf.function(model, autograph=False).get_concrete_function(tf.TensorSpec((None, 8, 8, 4)))
        return tf.lite.TFLiteConverter.from_concrete_functions([function], model)

    phases = "" if has_onednn() else "SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND MUL ADD"
    written = operators(tf.lite.TFLiteConverter.from_keras_model(model))
    assert written == Counter(f"DEPTHWISE_CONV_2D {phases}".split())
    assert {"SHAPE", "PACK"} < set(operators(of_function()))
    with ops.exporting():
        assert not {"SHAPE", "PACK"} & set(operators(of_function()))


def layers_of_all_windows():
    """Layers by name, with the input that they take: strides, rates, paddings, groups and data formats."""
    made = {}
    steps = (1, 1), (1, 2), (2, 1), (2, 2), (3, 2)
    for (stride, rate), padding in itertools.product(steps, ("same", "valid", ((0, 2), (1, 0)))):
        for data_format in ("channels_last", "channels_first")[: 2 if stride == rate else 1]:
            options = {"strides": stride, "padding": padding, "dilation_rate": rate, "data_format": data_format}
            row = {**options, "padding": (1, 2) if isinstance(padding, tuple) else padding}
            for layer in (
                layers.Conv2D(4, 3, groups=2 if stride == 2 else 1, **options),
                layers.DepthwiseConv2D((3, 2), depth_multiplier=2, **options),
                layers.Conv2DTranspose(4, 3, groups=2 if stride == 3 else 1, **options),
                layers.DepthwiseConv2DTranspose(3, depth_multiplier=2, **options),
                layers.Conv1D(4, 3, **row),
                layers.DepthwiseConv1D(3, **row),
                layers.Conv1DTranspose(4, 3, **row),
            ):
                made[f"layer_{len(made)}"] = layer
    return made


@pytest.mark.slow
def test_all_windows_in_litert_and_onnx(tmp_path):
    inputs = {
        (2, "channels_last"): keras.Input((11, 13, 4), name="images"),
        (2, "channels_first"): keras.Input((4, 11, 13), name="images_first"),
        (1, "channels_last"): keras.Input((14, 4), name="sequences"),
        (1, "channels_first"): keras.Input((4, 14), name="sequences_first"),
    }
    made = layers_of_all_windows()
    outputs = {name: layer(inputs[layer.rank, layer.data_format]) for name, layer in made.items()}
    model = keras.Model({given.name: given for given in inputs.values()}, outputs)
    randomize(model)
    rng = np.random.default_rng(0)
    data = {given.name: rng.normal(size=(3, *given.shape[1:])).astype("float32") for given in inputs.values()}
    predicted = model.predict(data, verbose=0)

    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    tflite.export(model, tmp_path / "own.tflite")
    own, found = litert_operators(tmp_path / "own.tflite"), litert_operators(tmp_path / "model.tflite")
    for name, layer in made.items():
        batch = (
            Counter(["SHAPE", "STRIDED_SLICE", "PACK", "RESHAPE"]) if "Transpose" in type(layer).__name__ else Counter()
        )
        assert found[name] - own[name] <= batch, layer.get_config()
        assert not own[name] - found[name], layer.get_config()
    results = [run_litert(tmp_path / "model.tflite", data)]
    if importlib.util.find_spec("tf2onnx"):
        results.append(run_onnx(model, tmp_path / "model.onnx", data))
    for result in results:
        for name, layer in made.items():
            assert_close(result[name], predicted[name], 1e-5, str(layer.get_config()))


class Asked(keras.layers.Layer):
    """A layer that keeps what it was told when it was called."""

    def __init__(self):
        super().__init__()
        self.answers = []

    def call(self, inputs):
        self.answers.append(is_saving())
        return inputs


def test_only_a_writer_is_taken_for_one(tmp_path):
    asked = Asked()
    model = keras.Sequential([keras.Input((4,)), asked, keras.layers.Dense(2)])
    x = np.ones((3, 4), "float32")
    model(x)
    model.predict(x, verbose=0)
    model.compile("sgd", "mse")
    model.fit(x, np.ones((3, 2)), verbose=0)
    tf.function(model, input_signature=[tf.TensorSpec((None, 4))])(x)
    model.save(tmp_path / "model.keras")
    tf.saved_model.save(model, str(tmp_path / "saved"))
    assert asked.answers
    assert not any(asked.answers)
    asked.answers.clear()
    model.export(tmp_path / "exported", format="tf_saved_model", verbose=False)
    assert asked.answers
    assert all(asked.answers)
    asked.answers.clear()
    tf.function(model)(x)
    assert asked.answers == [False]


def test_a_kernel_that_this_build_lacks_is_not_saved(tmp_path, monkeypatch):
    """A SavedModel runs where it was written: without oneDNN TensorFlow has no depthwise kernel with a rate."""
    right = _lowering.computes_correctly
    monkeypatch.setattr(_lowering, "computes_correctly", lambda *case: max(case[4]) == 1 and right(*case))
    model = small_model(layers.DepthwiseConv2D(3, rate=2, padding="same"), shape=(8, 8, 4))
    model.export(tmp_path / "served", format="tf_saved_model", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    (function,) = (
        f
        for f in served.signatures["serving_default"].graph.as_graph_def().library.function
        if any(node.op == "DepthwiseConv2dNative" for node in f.node_def) and "grad" not in f.signature.name
    )
    assert "SpaceToBatchND" in {node.op for node in function.node_def}
    x = IMAGES[:2, :8, :8]
    assert_close(served.serve(x), model.predict(x, verbose=0), 1e-5)

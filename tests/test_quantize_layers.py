"""Layers that are left in float32 by name, that are shared, and that kernels have only a part of: all bit by bit."""

import keras
import numpy as np
import pytest
from checks import assert_close, assert_sentence
from quantize_networks import prepared_network

from tfsep import layers, quantize, tflite
from tfsep.quantize._prepared_model import float_layers_of
from tfsep.tflite import VerifyReport
from tfsep.tflite._litert_model import LiteRTModel

L = keras.layers
SHAPE = (10, 10, 4)
X = np.random.default_rng(0).normal(size=(64, *SHAPE)).astype("float32")


def filled(model):
    """The model with weights of its own, of which no two are the same."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(
            rng.uniform(0.5, 1.5, weight.shape) if "variance" in weight.path else rng.normal(0, 0.3, weight.shape)
        )
    return model


def stack(*layers_, shape=SHAPE):
    return filled(keras.Sequential([keras.Input(shape), *layers_]))


def exported(model, folder, given=X, **options):
    """The report of a model that was prepared and shown data, and how far its numbers are from the float model's."""
    prepared = quantize.observe(quantize.prepare(model, **options), given)
    report = tflite.export(prepared, folder / "m.tflite", "int8", data=given)
    # Of several outputs the first one.
    expected, actual = (np.asarray(keras.tree.flatten(each(given))[0]) for each in (model, prepared))
    return report, float(np.sqrt(np.mean(np.square(actual - expected))) / np.std(expected))


# --- layers in float32 ---


@pytest.mark.parametrize(
    ("name", "operators", "dtype"),
    [
        ("depthwise", {"DEQUANTIZE": 1, "NEG": 1, "DEPTHWISE_CONV_2D": 1, "QUANTIZE": 1}, "float32"),
        # The converter pools what it has quantized anew: the largest number stays the largest.
        ("max_pooling2d", {"DEQUANTIZE": 1, "NEG": 1, "MUL": 1, "MAX_POOL_2D": 1, "QUANTIZE": 1}, "int8"),
    ],
)
def test_float_layer_between_quantized_layers(name, operators, dtype, tmp_path):
    model, _, given = prepared_network("plain")
    name = next(layer.name for layer in model.layers if layer.name.startswith(name))
    report, _ = exported(model, tmp_path, given, float_layers=[name])
    assert {each: report.ops[each] for each in operators} == operators
    found = report.verification
    assert (found.elements, found.differing, found.float_layers) == (640, 0, (name,))
    assert any(f"in an order of their own in {name}: 0 of 640" in note for note in report.notes)
    graph = tflite.inspect(report.path)
    types = {tensor.number: tensor.dtype for tensor in graph.tensors}
    [row] = [row for row in graph.operators if row.name == [*operators][-2]]
    assert {types[tensor] for tensor in (*row.inputs, *row.outputs)} == {dtype}


@pytest.mark.parametrize("name", ["first", "normalization", "rectifier", "all"])
def test_fused_layers_stay_together_in_float32(name):
    fused = [L.Conv2D(4, 3, name="first"), L.BatchNormalization(name="normalization"), L.ReLU(name="rectifier")]
    nested = keras.Sequential([keras.Input(SHAPE), *fused], name="all")
    prepared = quantize.prepare(
        stack(L.Conv2D(4, 1, name="before"), nested, L.Conv2D(2, 1, name="behind")), float_layers=[name]
    )
    matmuls = [layer for layer in prepared.layers if isinstance(layer, quantize.QuantizedMatmul)]
    assert [layer.layer.name for layer in matmuls] == ["before", "behind"]
    assert {"first", "normalization", "rectifier"} < {layer.name for layer in prepared.layers}
    assert float_layers_of(prepared) == ("first",)


@pytest.mark.parametrize("name", [pytest.param("plain", marks=pytest.mark.slow), "separable"])
def test_lossy_layer_is_found_and_kept_in_float32(name, tmp_path):
    """Every row's name is one that `float_layers` takes, of the float model and of the prepared one."""
    model, prepared, given = prepared_network(name)
    path = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given).path
    reports = [tflite.compare_layers(each, path, given[:16]) for each in (model, prepared)]
    names = {row.name for report in reports for row in report.rows}
    for some in (sorted(names)[::2], sorted(names)[1::2]):
        quantize.prepare(model, float_layers=some)
    with pytest.raises(ValueError, match="float_layers"):
        quantize.prepare(model, float_layers=[*some, "of no layer"])
    worst = min(
        (row for row in reports[0].rows if row.name != model.layers[-1].name and "flatten" not in row.name),
        key=lambda r: r.sqnr,
    )
    better = quantize.observe(quantize.prepare(model, float_layers=[worst.name]), given)
    path = tflite.export(better, tmp_path / "better.tflite", "int8", data=given).path
    rows = {row.name: row.sqnr for row in tflite.compare_layers(model, path, given[:16]).rows}
    assert rows[worst.name] > worst.sqnr


def test_comparison_rows_have_the_names_of_prepared_layers(tmp_path):
    _, prepared, given = prepared_network("separable")
    path = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given).path
    rows = tflite.compare_layers(prepared, path, given[:16]).rows
    block = next(row.name for row in rows if row.name.endswith("_pointwise")).removesuffix("_pointwise")
    names = [row.name for row in rows]
    assert {f"{block}_depthwise", f"{block}_depthwise_activation"} <= {*names}
    assert not any(name.endswith(("_range", "_quantized")) for name in names)
    # The two operators of one layer are told apart.
    model = stack(L.Conv2D(3, 3, activation="sigmoid", name="gate"))
    twice = quantize.observe(quantize.prepare(model), X)
    path = tflite.export(twice, tmp_path / "m.tflite", "int8", data=X).path
    report = tflite.compare_layers(twice, path, X)
    assert [(row.name, row.result, row.label) for row in report.rows] == [("gate", 0, "gate"), ("gate", 1, "gate#1")]
    assert "gate#1" in str(report)


def test_the_tolerance_of_a_file_with_float_layers(tmp_path, monkeypatch):
    """As many elements as an edge of rounding explains, by any number of steps; no other."""

    def report(unexplained):
        counts = None, None, 100, 50, 3, (), ("conv",), unexplained, 1
        return VerifyReport(8, 0, 0, 1, None, None, None, 0, 0, 1, *counts)

    assert report(0).equal
    assert report(1).equal is False
    prepared = quantize.observe(
        quantize.prepare(stack(L.Conv2D(4, 3), L.ELU(name="elu"), L.Conv2D(2, 1)), float_layers=["elu"]), X
    )
    path = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X).path
    run = LiteRTModel.__call__
    monkeypatch.setattr(LiteRTModel, "__call__", lambda self, x: (run(self, x)[0] + self.outputs[0].scale,))
    with pytest.raises(tflite.VerificationError, match=r"got 8192 of 8192 elements that differ, .* with 0 results"):
        tflite.verify(prepared, path, X)


def two_heads():
    inputs = keras.Input(SHAPE)
    features = L.Conv2D(4, 3, name="features")(inputs)
    return keras.Model(inputs, [features, L.Conv2D(2, 1, name="head")(features)])


@pytest.mark.parametrize(
    ("make", "name", "operators"),
    [
        (lambda: stack(layers.Conv2DTranspose(4, 3, name="up"), L.Conv2D(2, 1)), "up", {"CONV_2D": 2}),
        (two_heads, "head", {"CONV_2D": 2, "DEQUANTIZE": 1, "QUANTIZE": 1}),
    ],
)
def test_layers_whose_kernel_or_source_the_converter_quantizes_stay_in_float32(make, name, operators, tmp_path):
    """A transposed convolution is a plain one; an output that a float layer takes is quantized once more."""
    report, error = exported(filled(make()), tmp_path, float_layers=[name])
    assert {each: report.ops.get(each) for each in operators} == operators
    assert report.verification.elements > 0
    assert report.verification.differing == 0
    assert report.outputs[0].dtype == "int8"
    assert error < 0.05


# --- shared layers ---


def shared_normalization():
    inputs, own = keras.Input(SHAPE), L.BatchNormalization()
    return keras.Model(inputs, L.Add()([own(L.Conv2D(4, 3)(inputs)), own(L.Conv2D(4, 3)(inputs))]))


def shared_block():
    inside = [L.Conv2D(4, 3, padding="same"), L.BatchNormalization(), L.ReLU(), L.AveragePooling2D(3, 1, "same")]
    inputs, block = keras.Input(SHAPE), keras.Sequential([keras.Input(SHAPE), *inside])
    return keras.Model(inputs, block(block(inputs)))


def shared_convolution_with_normalizations_of_their_own():
    inputs, own = keras.Input(SHAPE), L.Conv2D(4, 3)
    return keras.Model(inputs, L.Add()([L.BatchNormalization()(own(inputs)), L.BatchNormalization()(own(inputs))]))


def blocks_of_the_same_names():
    inputs = keras.Input(SHAPE)
    blocks = [
        keras.Sequential([keras.Input(SHAPE), L.Conv2D(4, 3, name="c"), L.MaxPooling2D(name="p")], name=name)
        for name in ("first", "second")
    ]
    return keras.Model(inputs, L.Add()([block(inputs) for block in blocks]))


SHARED = (
    (shared_normalization, {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "ADD": 1}),
    (shared_block, {"CONV_2D": 2, "AVERAGE_POOL_2D": 2}),
    (shared_convolution_with_normalizations_of_their_own, {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 2, "ADD": 1}),
    (blocks_of_the_same_names, {"CONV_2D": 2, "MAX_POOL_2D": 2, "ADD": 1}),
)


@pytest.mark.parametrize(("make", "operators"), SHARED)
def test_shared_layers(make, operators, tmp_path):
    report, error = exported(filled(make()), tmp_path)
    assert report.ops == operators
    assert report.verification.differing == 0
    assert error < 0.05


def heads_of_equal_kernels():
    """Copies on one tensor, trained apart by their biases, by a rectifier, or not at all; one behind a dropout too."""
    inputs = keras.Input(SHAPE)
    x, again = L.Conv2D(4, 3, strides=3, activation="relu")(inputs), L.Conv2D(4, 3, padding="same", name="again")
    heads = [L.Conv2D(4, 3, padding="same", activation=name, name=f"head_{name}") for name in ("linear", "relu")]
    normalizations = [L.BatchNormalization(name=f"norm_{i}") for i in range(2)]
    zeros = [L.Dense(2, kernel_initializer="zeros", name=f"dense_{i}") for i in range(2)]
    outputs = [head(x) for head in heads] + [again(L.Dropout(0.1)(x)), heads[0](again(x)), again(again(x))]
    outputs += [L.ReLU()(normalizations[0](x)), normalizations[1](x), *(dense(L.Flatten()(x)) for dense in zeros)]
    model = filled(keras.Model(inputs, outputs))
    for layer, other in ((heads[1], heads[0]), (again, heads[0]), (normalizations[1], normalizations[0])):
        layer.set_weights(other.get_weights())
    again.bias.assign(again.bias + 0.5)
    for dense in zeros:
        dense.kernel.assign(np.zeros(dense.kernel.shape))
    return model


def test_equal_kernels_on_one_tensor(tmp_path):
    model = heads_of_equal_kernels()
    prepared = quantize.observe(quantize.prepare(model), X)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X)
    assert report.ops == {"CONV_2D": 6, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "RESHAPE": 1}
    assert report.verification.differing == 0
    for expected, actual in zip(model(X), prepared(X), strict=True):
        assert_close(actual, expected, 0.1)


def test_shared_block_has_its_weights_once_and_trains():
    model = filled(shared_block())
    prepared = quantize.observe(quantize.prepare(model), X)
    assert len(prepared.trainable_weights) == len(model.trainable_weights)
    before = prepared.get_weights()
    prepared.compile("sgd", "mse")
    prepared.fit(X, np.zeros((64, *SHAPE)), verbose=0)
    assert np.any(before[0] != prepared.get_weights()[0])


def gated_by_the_dead():
    """A gate of channels whose hidden units are behind a rectifier that no sample passes."""
    inputs = keras.Input(SHAPE)
    x = L.Conv2D(4, 3)(inputs)
    hidden = L.Conv2D(2, 1, name="dead", activation="relu")(L.GlobalAveragePooling2D(keepdims=True)(x))
    limited = L.ReLU(0.5, name="limited")(L.Conv2D(2, 1, name="before")(hidden))
    model = filled(keras.Model(inputs, L.Multiply()([x, L.Conv2D(4, 1, activation="sigmoid")(limited)])))
    for name in ("dead", "before"):
        model.get_layer(name).bias.assign([-9.0, -8.0])
    return model


@pytest.mark.parametrize("runtime", ["xnnpack", "reference"])
def test_results_that_are_zero_in_all_data(runtime, tmp_path):
    """They have a step of their own, whatever sets the ranges."""
    model = gated_by_the_dead()
    prepared = quantize.calibrate(model, X, "minmax", equalize=False, correct_bias=False, runtime=runtime)
    ranges = {layer.name: layer.range() for layer in prepared.layers if hasattr(layer, "is_zero") and layer.is_zero()}
    assert ranges == {"dead_range": (0.0, 1.0), "before_range": (0.0, 0.5)}
    assert_close(prepared(X), model(X), 0.1)
    prepared.compile("sgd", "mse")
    prepared.fit(X, model(X), verbose=0)
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X).verification.differing == 0


def test_layers_at_every_step_of_time(tmp_path):
    """Nested ones too; closed by name, and where a mask says which steps count, they are islands."""
    given = np.random.default_rng(3).normal(size=(8, 2, 3, 6, 6, 2)).astype("float32")
    base = keras.Sequential([L.Conv2D(3, 3, strides=2), L.BatchNormalization(), L.ReLU(), L.Flatten()])
    inputs = keras.Input(given.shape[1:])
    x = L.TimeDistributed(L.TimeDistributed(base, name="inner"), name="outer")(inputs)
    model = filled(keras.Model(inputs, L.TimeDistributed(L.LSTM(2, name="lstm"))(x)))
    prepared = quantize.observe(quantize.prepare(model), given)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given)
    found = quantize.coverage(prepared)
    assert report.verification.unexplained == 0
    assert [row.name for row in found.islands] == ["lstm"]
    [macs] = [row.macs for row in found.rows if row.kind == "Conv2D"]
    assert macs == 6 * 2 * 2 * 3 * 3 * 2 * 3
    assert_close(prepared(given), model(given), 0.1)
    closed = quantize.coverage(quantize.prepare(model, float_layers=["inner"]))
    assert [row.name for row in closed.islands] == ["inner", "lstm"]
    masked = L.TimeDistributed(L.Dense(2), name="masked")
    model = keras.Sequential([keras.Input((4, 3)), L.Masking(), masked, L.GlobalAveragePooling1D(), L.Dense(2)])
    assert "masked" in [row.name for row in quantize.coverage(quantize.prepare(model)).islands]


class Noisy(L.Layer):
    """Numbers by chance in training, the mean at inference, which has no use for the deviation."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed = keras.random.SeedGenerator(0)

    def call(self, tensors, training=None):
        mean, deviation = tensors
        return mean + deviation * keras.random.normal(keras.ops.shape(mean), seed=self.seed) if training else mean


class WithLoss(L.Layer):
    def call(self, tensors):
        self.add_loss(keras.ops.mean(keras.ops.square(tensors[0] - tensors[1])))
        return tensors[0]


@pytest.mark.parametrize("layer", [Noisy, WithLoss])
def test_layers_that_return_what_they_take(layer, tmp_path):
    """What they take beside it is not in the file."""
    inputs = keras.Input(SHAPE)
    x = layer()([L.Conv2D(4, 3, name="mean")(inputs), L.Conv2D(4, 3, name="deviation")(inputs)])
    model = filled(keras.Model(inputs, L.Conv2D(2, 1)(x)))
    report, error = exported(model, tmp_path)
    assert (report.ops, report.verification.differing, error < 0.05) == ({"CONV_2D": 2}, 0, True)


# --- activations of which kernels have a part ---


def squeeze():
    inputs = keras.Input(SHAPE)
    x = L.Conv2D(8, 3, activation="relu")(inputs)
    gate = L.Conv2D(8, 1, activation="hard_sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))
    return filled(keras.Model(inputs, L.Multiply()([x, gate])))


PARTS = {
    "a rectifier's maximum": (lambda: stack(L.Conv2D(8, 3), L.ReLU(0.5)), {"CONV_2D": 1}),
    "behind a pooling": (lambda: stack(L.MaxPooling2D(), L.ReLU(0.5)), {"MAX_POOL_2D": 1, "DEPTHWISE_CONV_2D": 1}),
    "a gate": (squeeze, {"CONV_2D": 2, "MEAN": 1, "DEPTHWISE_CONV_2D": 1, "MUL": 1}),
}


@pytest.mark.parametrize("runtime", ["xnnpack", "reference"])
@pytest.mark.parametrize("case", PARTS)
def test_activations_composed_of_several_kernels(case, runtime, tmp_path):
    make, operators = PARTS[case]
    report, error = exported(make(), tmp_path, runtime=runtime)
    assert report.ops == operators
    assert report.verification.differing == 0
    assert error < 0.03


def test_normalization_and_rescaling_of_sequences(tmp_path):
    model = stack(
        L.BatchNormalization(), L.Conv1D(3, 3), L.Activation("hard_sigmoid"), L.Rescaling(2.0, 1.0), shape=(10, 4)
    )
    report, error = exported(model, tmp_path, X[:, :, 0])
    assert report.verification.differing == 0
    assert error < 0.05


def test_learned_range_stays_under_its_maximum():
    prepared = quantize.prepare(stack(L.Conv2D(2, 3), L.ReLU(0.5)), ranges="learned", observations=1)
    quantize.observe(prepared, X)
    output = prepared.layers[-1]
    output.high.assign(9.0)
    assert output.range() == (0.0, 0.5)
    assert float(np.max(prepared(X, training=True))) <= 0.5


# --- outputs ---


def test_outputs_keep_names_and_order(tmp_path):
    """Not the alphabet's, which signatures have: whoever takes a file's outputs by place gets the model's."""
    inputs = keras.Input(SHAPE)
    pooled = L.GlobalAveragePooling2D(name="mean")(L.Conv2D(8, 3)(inputs))
    model = filled(keras.Model(inputs, [L.Dense(5, name="zebra")(pooled), L.Dense(3, name="ant")(pooled)]))
    prepared = quantize.observe(quantize.prepare(model), X)
    assert prepared.output_names == ["zebra", "ant"]
    for number, (each, options) in enumerate(
        ((model, {}), (model, {"recipe": "int8", "calibration": X}), (prepared, {"recipe": "int8", "data": X}))
    ):
        report = tflite.export(each, tmp_path / f"{number}.tflite", **options)
        details = LiteRTModel(report.path).interpreter.get_output_details()
        assert [int(detail["shape"][1]) for detail in details] == [5, 3]
        outputs = tflite.predict(report.path, X)
        for name, expected in zip(("zebra", "ant"), each(X), strict=True):
            assert np.abs(outputs[name] - expected).max() < 0.1 * np.std(expected)


def test_the_report_says_on_how_few_samples_it_verified(tmp_path):
    model = stack(L.Conv2D(2, 3), L.Flatten(), L.Dense(3, name="head"))
    prepared = quantize.observe(quantize.prepare(model), X)
    for each, recipe in ((model, "float32"), (prepared, "int8")):
        report = tflite.export(each, tmp_path / "m.tflite", recipe)
        assert any("verified on 8 samples of random numbers only" in note for note in report.notes)
        assert not any("random" in note for note in tflite.export(each, tmp_path / "m.tflite", recipe, data=X).notes)
    headed = quantize.observe(quantize.prepare(model, float_layers=["head"]), X)
    [note] = tflite.export(headed, tmp_path / "m.tflite", "int8", data=X).notes
    assert "no output is quantized" in note


AUGMENTATIONS = (
    *(L.RandomFlip(), L.RandomRotation(0.2), L.RandomBrightness(0.3), L.RandomContrast(0.3), L.RandomZoom(0.2)),
    *(L.RandomTranslation(0.2, 0.2), L.RandomColorJitter(), L.RandomElasticTransform()),
    *(L.RandomErasing(), L.RandomGaussianBlur(), L.RandomInvert(), L.RandomPerspective()),
    *(L.RandomHue(0.2), L.RandomGrayscale(), L.MixUp()),
)
NOISES = (
    *(L.Dropout(0.3), L.GaussianNoise(0.2), L.GaussianDropout(0.2), L.AlphaDropout(0.2), L.SpatialDropout2D(0.2)),
    *(L.ActivityRegularization(0.1), L.Identity()),
)


def test_layers_that_infer_their_input(tmp_path):
    """They are in training what they were, and nothing in the file."""
    rows, volumes = L.SpatialDropout1D(0.2), L.SpatialDropout3D(0.2)
    body = [L.Conv2D(4, 3), *NOISES, L.ReLU(), L.Reshape((-1, 4)), rows, L.Reshape((8, 4, 2, 4)), volumes]
    model = stack(*AUGMENTATIONS, *body, L.Flatten(), L.Dense(3), shape=(10, 10, 3))
    given = X[..., :3]
    prepared = quantize.observe(quantize.prepare(model), given)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given)
    assert report.verification.differing == 0
    assert report.ops == {"CONV_2D": 1, "RESHAPE": 1, "FULLY_CONNECTED": 1}
    expected, actual = (each.predict(given, verbose=0) for each in (model, prepared))
    assert np.sqrt(np.mean(np.square(actual - expected))) < 0.05 * np.std(expected)
    trained = prepared(given, training=True)
    assert np.sqrt(np.mean(np.square(trained - actual))) > 0.2 * np.std(actual)


def test_a_random_crop_is_what_predict_makes_of_it():
    model = stack(L.RandomCrop(4, 4), L.Conv2D(4, 3))
    prepared = quantize.observe(quantize.prepare(model), X)
    expected, actual = (each.predict(X, verbose=0) for each in (model, prepared))
    assert expected.shape == actual.shape
    assert_close(actual, expected, 0.05)


def called_twice_on_the_same_tensor(inputs):
    convolution = L.Conv2D(4, 3, padding="same")
    return L.Concatenate()([convolution(inputs), convolution(convolution(inputs))])


def a_nested_model_called_twice_on_the_same_tensor(inputs):
    nested = keras.Sequential([keras.Input(SHAPE), L.Conv2D(4, 3, padding="same"), L.ReLU(), L.Dropout(0.1)])
    return L.Concatenate()([nested(inputs), nested(nested(inputs))])


def dropout_twice_on_the_same_tensor(inputs):
    dropout, convolution = L.Dropout(0.3), L.Conv2D(4, 3)
    return L.Add()([convolution(dropout(inputs)), L.Conv2D(4, 1)(convolution(dropout(inputs)))])


def merged_with_fewer_axes(inputs):
    """As many columns as images would fit as well, the wrong way around."""
    convolved = L.Conv2D(4, 3, padding="same")(inputs)
    gate = L.Dense(4, activation="sigmoid")(L.GlobalAveragePooling2D()(convolved))
    return L.Multiply()([L.Add()([convolved, gate]), gate])


def like_layers_on_the_same_tensor(inputs):
    convolved = L.Conv2D(4, 3, padding="same")(inputs)
    return L.Concatenate()([L.LeakyReLU()(convolved), L.Conv2D(4, 1)(L.LeakyReLU()(convolved))])


def operators(inputs):
    convolved = L.Conv2D(4, 3, padding="same")(inputs)
    return keras.ops.relu6(inputs + convolved) * keras.ops.sigmoid(L.Conv2D(4, 1)(convolved))


def a_square(inputs):
    convolved = L.Conv2D(4, 3, padding="same")(inputs)
    return L.Multiply()([convolved, L.Dropout(0.1)(convolved)])


def joined_with_its_mean(inputs):
    convolved = L.Conv2D(4, 3, padding="same")(inputs)
    return L.Concatenate()([L.Flatten()(convolved), L.GlobalAveragePooling2D()(convolved)])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (called_twice_on_the_same_tensor, {"CONV_2D": 2, "CONCATENATION": 1}),
        (a_nested_model_called_twice_on_the_same_tensor, {"CONV_2D": 2, "CONCATENATION": 1}),
        (dropout_twice_on_the_same_tensor, {"CONV_2D": 2, "ADD": 1}),
        (merged_with_fewer_axes, {"CONV_2D": 1, "MEAN": 1, "FULLY_CONNECTED": 1, "ADD": 1, "MUL": 1}),
        (like_layers_on_the_same_tensor, {"CONV_2D": 2, "LEAKY_RELU": 1, "CONCATENATION": 1}),
        (operators, {"CONV_2D": 2, "ADD": 1, "LOGISTIC": 1, "MUL": 1}),
        (a_square, {"CONV_2D": 1, "MUL": 1}),
        (joined_with_its_mean, {"CONV_2D": 1, "MEAN": 1, "CONCATENATION": 1}),
    ],
)
def test_merged_calls_and_operators(make, expected, tmp_path):
    inputs = keras.Input(SHAPE)
    report, error = exported(filled(keras.Model(inputs, make(inputs))), tmp_path)
    assert report.ops.items() >= expected.items()
    assert report.verification.differing == 0
    assert error < 0.03


@pytest.mark.parametrize("make", [L.SeparableConv2D, layers.SeparableConv2DTranspose])
def test_untrainable_layers_stay_untrainable(make):
    """Also where a layer is taken apart."""
    model = stack(make(4, 3, 2, name="apart"), L.Conv2D(2, 1))
    model.get_layer("apart").trainable = False
    trained = [weight.path for weight in quantize.prepare(model).trainable_weights]
    assert len(trained) == 2
    assert not any("apart" in path for path in trained)


@pytest.mark.parametrize(
    "make",
    [lambda x: x - L.GlobalAveragePooling2D()(x), lambda x: x + L.GlobalAveragePooling2D()(x)],
)
def test_an_unsupported_operator_is_named_in_the_error(make):
    inputs = keras.Input(SHAPE)
    with pytest.raises(ValueError, match=r"expected layers that can be quantized, got '(add|subtract)") as error:
        quantize.prepare(keras.Model(inputs, make(L.ReLU()(inputs))), unsupported="error")
    assert_sentence(error.value, "model")

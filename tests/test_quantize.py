"""Quantization-aware training: what a prepared model computes is what its file computes, to the last bit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_sentence
from conftest import ROOT

from tfsep import data, layers, models, quantize, tflite
from tfsep.cost import cost
from tfsep.data._fashion_mnist import _shared_folders
from tfsep.quantize import QuantizedAveragePooling, QuantizedLinear, QuantizedOutput
from tfsep.tflite._layers import _matched

L = keras.layers


@pytest.fixture(scope="module")
def images():
    """Test images of Fashion-MNIST, in [−1, 1]."""
    with np.load(ROOT / "saved_models" / "fashion_mnist" / "samples.npz") as stored:
        return stored["images"][:200].reshape(-1, 28, 28, 1).astype("float32") / 127.5 - 1


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
    """The same model, whose outputs are all tensors on a grid."""
    kinds = (QuantizedOutput, QuantizedAveragePooling)
    outputs = {}
    for layer in prepared.layers:
        if isinstance(layer, kinds):
            for call, node in enumerate(layer._inbound_nodes):
                outputs[f"{layer.name}_{call}".replace(".", "_")] = node.output_tensors[0]
    return keras.Model(prepared.inputs, outputs)


def differing(prepared, images, folder):
    """How many elements of all layers differ between a prepared model and its file, and how many were compared."""
    report = tflite.export(with_every_layer(prepared), folder / "every.tflite", "int8", data=images)
    return report.verification.differing, report.verification.elements, report.verification.steps


@pytest.fixture(scope="module")
def prepared(images):
    """Each network, trained and prepared, made once."""
    made = {}

    def get(name):
        if name not in made:
            side = 56 if "stride" in name else 28
            given = np.kron(images[:64], np.ones((1, side // 28, side // 28, 1), "float32"))
            model = trained(NETWORKS[name](), given)
            made[name] = model, quantize.observe(quantize.prepare(model), given), given
        return made[name]

    return get


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if "stride" in name else name for name in NETWORKS]
)
def test_every_layer_of_the_file_is_the_prepared_models(name, prepared, tmp_path):
    _, model, given = prepared(name)
    off, elements, _ = differing(model, given[:24], tmp_path)
    assert off == 0
    assert elements > 100_000


@pytest.mark.slow
def test_the_shipped_model_on_ten_thousand_images(tmp_path):
    """Ranges from training images; every output of the file on the test images is the prepared model's."""
    if not any(folder.is_dir() for folder in _shared_folders()):
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    found = data.fashion_mnist()
    model = models.load_model(ROOT / "saved_models" / "fashion_mnist" / "model.keras")
    seen = data.preprocess(found.train.images()[:500]).numpy()
    prepared = quantize.observe(quantize.prepare(model), seen)
    given, labels = data.preprocess(found.test.images()).numpy(), np.asarray(found.test.labels)
    batches = ((given[i : i + 200], labels[i : i + 200]) for i in range(0, 10_000, 200))
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=batches)
    assert report.verification.differing == 0
    assert report.top1_agreement == 1.0
    assert report.samples == 10_000
    assert report.accuracy > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.5, 0.75, 1.0])
def test_every_layer_at_more_widths(alpha, images, tmp_path):
    model = trained(mobilenet(alpha=alpha), images)
    off, elements, steps = differing(quantize.observe(quantize.prepare(model), images), images[:50], tmp_path)
    assert off <= elements // 100_000
    assert steps <= 1


def test_the_file_needs_no_calibration_and_names_what_it_compared(prepared, tmp_path):
    _, model, given = prepared("plain")
    report = tflite.export(model, tmp_path / "m.tflite", "int8", data=given)
    assert report.calibration is None
    assert (report.verification.differing, report.verification.elements) == (0, 640)
    assert report.max_error == 0
    assert "0 of 640" in str(report)
    assert [i.dtype for i in (*report.inputs, *report.outputs)] == ["int8", "int8"]
    assert_close(tflite.predict(report.path, given), model(given), 0)
    assert tflite.verify(model, report.path, given).differing == 0


def test_quantization_costs_little(prepared):
    for name in ("plain", "residual"):
        model, quantized, given = prepared(name)
        expected, actual = np.asarray(model(given)), np.asarray(quantized(given))
        assert np.mean(np.argmax(expected, -1) == np.argmax(actual, -1)) > 0.85
        assert np.sqrt(np.mean((actual - expected) ** 2)) < 0.2 * expected.std()


def test_a_file_of_other_numbers_is_refused(prepared, tmp_path):
    """One weight a step away, which the outputs may not show; one bias; one range."""
    _, model, given = prepared("plain")
    path = tflite.export(model, tmp_path / "m.tflite", "int8", data=given).path

    def changed(name, change):
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        weight = next(w for w in copy.weights if w.path.endswith(name))
        weight.assign(change(weight.numpy()))
        return copy

    kernel = next(w for w in model.weights if w.path.endswith("depthwise/kernel")).numpy()
    step = np.abs(kernel).max((0, 1)) / 127
    off = np.zeros_like(kernel)
    place = np.unravel_index(np.argmin(np.abs(kernel[..., 0, 0])), kernel.shape[:2])
    off[(*place, 0, 0)] = step[0, 0]
    for name, change, word in (
        ("depthwise/kernel", lambda w: w + off, "kernel and bias"),
        ("dense/bias", lambda w: w + 0.01, "kernel and bias"),
        ("depthwise_range/high", lambda w: w * 1.0001, "grid"),
    ):
        with pytest.raises(tflite.VerificationError, match=f"expected the {word} of"):
            tflite.verify(changed(name, change), path, given)


def test_a_file_whose_outputs_differ_is_refused(prepared, tmp_path, monkeypatch):
    _, model, given = prepared("plain")
    path = tflite.export(model, tmp_path / "m.tflite", "int8", data=given).path
    from tfsep.tflite._interpreter import Runner

    run = Runner.__call__

    def broken(self, inputs):
        outputs = run(self, inputs)
        outputs[0][0, :2] += self.outputs[0].scale
        return outputs

    monkeypatch.setattr(Runner, "__call__", broken)
    with pytest.raises(tflite.VerificationError, match="got 2 of 640 elements that differ, by up to 1 steps"):
        tflite.verify(model, path, given)


def test_it_trains_and_saves_and_loads(images, tmp_path):
    """Fit, a callback that freezes, `.keras` in safe mode, and the loaded model's file."""
    model = trained(plain(), images)
    prepared = quantize.observe(quantize.prepare(model), images)
    labels = np.arange(len(images)) % 10
    prepared.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = prepared.fit(
        images, labels, batch_size=50, epochs=4, verbose=0, callbacks=[quantize.FreezeBatchNorm(2)]
    ).history
    assert history["loss"][-1] < history["loss"][0]
    assert all(np.isfinite(w).all() for w in prepared.get_weights())
    prepared.save(tmp_path / "m.keras")
    loaded = models.load_model(tmp_path / "m.keras")
    assert_close(loaded(images), prepared(images), 0)
    assert tflite.export(loaded, tmp_path / "m.tflite", "int8", data=images).verification.differing == 0


def test_every_weight_gets_a_gradient(images):
    model = quantize.prepare(trained(residual(), images))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(images[:16], training=True)))
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        if "bias" not in weight.path:
            assert np.any(np.asarray(gradient) != 0), weight.path


def test_training_normalizes_as_the_float_model(images):
    """By the batch's statistics, which move as batch normalization's do; frozen, by the moving ones, which stay."""
    model = trained(plain(), images)
    prepared = quantize.observe(quantize.prepare(model), images)
    dropout = [layer for layer in (*model.layers, *prepared.layers) if isinstance(layer, L.Dropout)]
    for layer in dropout:
        layer.rate = 0.0
    expected, actual = model(images[:64], training=True), prepared(images[:64], training=True)
    assert np.sqrt(np.mean(np.square(actual - expected))) < 0.1 * np.std(expected)
    ours, theirs = (next(w for w in m.weights if w.path.endswith("moving_mean")).numpy() for m in (prepared, model))
    assert_close(ours, theirs, 0.02)
    quantize.freeze_batch_norm(prepared)
    prepared(images[64:128], training=True)
    assert_close(next(w for w in prepared.weights if w.path.endswith("moving_mean")), ours, 0)
    trains, infers = prepared(images[:64], training=True), prepared(images[:64])
    assert np.sqrt(np.mean(np.square(trains - infers))) < 0.05 * np.std(infers)


def test_learned_ranges_are_trained(images):
    model = quantize.prepare(trained(plain(), images), ranges="learned", observations=2)
    ends = [w for w in model.trainable_weights if w.path.endswith(("/low", "/high"))]
    assert ends
    for step in range(4):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(images[:32], training=True)))
        gradients = [np.asarray(g) for g in tape.gradient(loss, ends)]
        assert any(g != 0 for g in gradients) == (step >= 2)


def test_concatenated_results_share_a_range(prepared):
    _, model, _ = prepared("branches")
    producers = [
        layer for layer in model.layers if isinstance(layer, QuantizedOutput) and len(layer._inbound_nodes) > 1
    ]
    assert len(producers) == 1
    assert len(producers[0]._inbound_nodes) == 4


def test_a_shared_range_moves_toward_that_of_all():
    """Not toward the average of the two, under which the larger would be clipped."""
    inputs = keras.Input((2,))
    small, large = (L.Dense(1, kernel_initializer=keras.initializers.Constant(c))(inputs) for c in (0.1, 10.0))
    model = quantize.prepare(keras.Model(inputs, L.Concatenate()([small, large])), momentum=0.5)
    shared = next(layer for layer in model.layers if getattr(layer, "calls", 1) == 2)
    for _ in range(6):
        model(np.array([[1.0, 1.0], [-1.0, -1.0]], "float32"), training=True)
        assert shared.range() == pytest.approx((-20.0, 20.0), rel=0.02)


def test_float_heads(images, tmp_path):
    model = trained(plain(), images)
    prepared = quantize.observe(quantize.prepare(model, float_layers=[model.layers[-1].name]), images)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=images)
    assert report.outputs[0].dtype == "float32"
    assert report.max_error < 1e-5
    assert sum(isinstance(layer, QuantizedLinear) for layer in prepared.layers) == 3


def without_dense_layers():
    """LiteRT has a dense layer's rounding from elsewhere than the microcontrollers."""
    body = separable().layers[:-3]
    return keras.Sequential([keras.Input((28, 28, 1)), *body, L.Conv2D(10, 1, activation="sigmoid"), L.Softmax()])


@pytest.mark.parametrize(
    "make", [without_dense_layers, pytest.param(lambda: mobilenet(alpha=0.25), marks=pytest.mark.slow)]
)
def test_the_reference_kernels(make, images, tmp_path):
    """The prepared model is held to the runtime that it was prepared for."""
    model = trained(make(), images)
    prepared = quantize.observe(quantize.prepare(model, runtime="reference"), images)
    off, elements, _ = differing(prepared, images[:24], tmp_path)
    assert off == 0
    assert elements > 100_000


def test_the_reference_kernel_of_a_dense_layer_is_the_microcontrollers(images, tmp_path):
    """LiteRT's own rounds otherwise, in one element of a thousand: the file's numbers are held, not its outputs."""
    model = trained(residual(), images)
    prepared = quantize.observe(quantize.prepare(model, runtime="reference"), images)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=images)
    assert report.verification.elements is None
    assert report.max_error <= 1.01 * report.outputs[0].scale


BAD = {
    "runtime": ({"runtime": "tpu"}, "runtime"),
    "ranges": ({"ranges": "fixed"}, "ranges"),
    "momentum": ({"momentum": 1.0}, "momentum"),
    "observations": ({"observations": 0}, "observations"),
    "one name": ({"float_layers": "dense"}, "float_layers"),
    "a name of no layer": ({"float_layers": ("nothing",)}, "float_layers"),
    "a layer between": ({"float_layers": ("depthwise",)}, "float_layers"),
}


@pytest.mark.parametrize("case", BAD)
def test_nonsense_is_refused(case):
    options, argument = BAD[case]
    with pytest.raises(ValueError, match=argument) as error:
        quantize.prepare(plain(), **options)
    assert_sentence(error.value, argument)


def test_an_activation_that_a_runtime_computes_otherwise():
    model = keras.Sequential([keras.Input((4,)), L.Dense(2, activation="tanh")])
    with pytest.raises(ValueError, match="whose tanh is emulated") as error:
        quantize.prepare(model, runtime="reference")
    assert_sentence(error.value, "runtime")


def shared_with_sigmoid():
    inputs = keras.Input((4,))
    return keras.Model(inputs, L.Concatenate()([L.Dense(2)(inputs), L.Dense(2, activation="sigmoid")(inputs)]))


def told_to_train():
    inputs = keras.Input((4,))
    return keras.Model(inputs, L.BatchNormalization()(L.Dense(2)(inputs), training=True))


def of_two_results():
    inputs = keras.Input((4,))
    halves = keras.ops.split(inputs, 2, axis=1)
    return keras.Model(inputs, L.Dense(2)(halves[1]))


class OwnCall(keras.Model):
    def __init__(self):
        inputs = keras.Input((4,))
        super().__init__(inputs, L.Dense(2)(inputs))

    def call(self, inputs):
        return 2 * super().call(inputs)


MODELS = {
    "no model": (lambda: 3, TypeError),
    "not built": (lambda: keras.Sequential([L.Dense(2)]), ValueError),
    "its own call": (OwnCall, TypeError),
    "told to train": (told_to_train, ValueError),
    "of two results": (of_two_results, ValueError),
    "another layer": (lambda: keras.Sequential([keras.Input((4, 4)), L.LSTM(2)]), ValueError),
    "another activation": (lambda: keras.Sequential([keras.Input((4,)), L.Dense(2, activation="elu")]), ValueError),
    "another rectifier": (lambda: keras.Sequential([keras.Input((4,)), L.ReLU(max_value=3)]), ValueError),
    "half precision": (lambda: keras.Sequential([keras.Input((4,)), L.Dense(2, dtype="mixed_bfloat16")]), ValueError),
    "prepared": (lambda: quantize.prepare(keras.Sequential([keras.Input((4,)), L.Dense(2)])), ValueError),
    "channels first": (
        lambda: keras.Sequential([keras.Input((1, 8, 8)), layers.Conv2D(2, 3, data_format="channels_first")]),
        ValueError,
    ),
    "normalization of sequences": (
        lambda: keras.Sequential([keras.Input((8, 4)), L.BatchNormalization(), L.Conv1D(2, 3)]),
        ValueError,
    ),
    "ranges that cannot be shared": (shared_with_sigmoid, ValueError),
    "grouped transposed": (
        lambda: keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2DTranspose(4, 3, groups=2)]),
        ValueError,
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_models_that_cannot_be_prepared(case):
    make, kind = MODELS[case]
    with pytest.raises(kind) as error:
        quantize.prepare(make())
    assert_sentence(error.value, "model")


def test_ranges_that_were_never_seen(tmp_path):
    model = quantize.prepare(plain())
    with pytest.raises(ValueError, match="expected ranges that training") as error:
        tflite.export(model, tmp_path / "m.tflite", "int8")
    assert_sentence(error.value, "model")
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a range that training has seen"):
        model(np.zeros((1, 28, 28, 1), "float32"))


def test_what_export_refuses_of_a_prepared_model(prepared, images, tmp_path):
    _, model, given = prepared("plain")
    for options, argument in (
        ({"recipe": "float32"}, "recipe"),
        ({"recipe": "int8", "calibration": images}, "calibration"),
    ):
        with pytest.raises(ValueError, match=argument) as error:
            tflite.export(model, tmp_path / "m.tflite", **options)
        assert_sentence(error.value, argument)
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    next(w for w in copy.weights if w.path.endswith("/high")).assign(np.nan)
    with pytest.raises(ValueError, match="expected ranges that are numbers"):
        tflite.export(copy, tmp_path / "m.tflite", "int8", data=given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("function", [quantize.observe, quantize.freeze_batch_norm])
def test_only_prepared_models_are_trained_so(function):
    given = (np.zeros((1, 4), "float32"),) if function is quantize.observe else ()
    with pytest.raises(ValueError, match=r"expected one that quantize\.prepare made"):
        function(keras.Sequential([keras.Input((4,)), L.Dense(2)]), *given)
    with pytest.raises(TypeError, match="expected a Keras model"):
        function(None, *given)


def test_the_given_model_stays_as_it_is(images):
    model = trained(plain(), images)
    weights, expected = model.get_weights(), np.asarray(model(images))
    prepared = quantize.observe(quantize.prepare(model), images)
    prepared.compile("sgd", "mse")
    prepared.fit(images, np.zeros((len(images), 10)), epochs=1, verbose=0)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert_close(model(images), expected, 0)


def test_several_inputs_and_outputs_keep_their_structure():
    first, second = keras.Input((4,), name="b"), keras.Input((3,), name="a")
    joined = L.Concatenate()([L.Dense(2)(first), L.Dense(2)(second)])
    model = keras.Model({"b": first, "a": second}, {"z": joined, "y": L.Dense(1)(joined)})
    rng = np.random.default_rng(0)
    given = {"a": rng.normal(size=(64, 3)).astype("float32"), "b": rng.normal(size=(64, 4)).astype("float32")}
    outputs = quantize.observe(quantize.prepare(model), given)(given)
    expected = model(given)
    assert set(outputs) == {"z", "y"}
    for name in outputs:
        assert np.abs(outputs[name] - expected[name]).max() < 0.1


def test_a_layer_that_is_called_twice_has_its_weights_once():
    inputs = keras.Input((8, 8, 2))
    shared = layers.SeparableConv2D(2, 3, padding="same")
    model = keras.Model(inputs, shared(shared(inputs)))
    prepared = quantize.prepare(model)
    assert sum(isinstance(layer, QuantizedLinear) for layer in prepared.layers) == 2
    images = np.random.default_rng(0).normal(size=(32, 8, 8, 2)).astype("float32")
    expected = np.asarray(model(images))
    assert np.abs(quantize.observe(prepared, images)(images) - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["plain", "separable"])
def test_cost_counts_a_prepared_model(name, prepared):
    model, quantized, _ = prepared(name)
    rescaling = 28 * 28 if name == "separable" else 0
    assert cost(quantized).macs == cost(model).macs + rescaling


def test_sizes_in_front_of_a_mean_are_known():
    model = keras.Sequential([keras.Input((None, None, 2)), L.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match="sizes that are known") as error:
        quantize.prepare(model)
    assert_sentence(error.value, "model")


@pytest.mark.parametrize("name", [pytest.param("residual", marks=pytest.mark.slow), "branches"])
def test_compare_layers_finds_the_tensor_of_each_layer(name, prepared, tmp_path):
    """The prepared model's layers, which know their grids, are the file's tensors, to a step of the other kernels."""
    _, quantized, given = prepared(name)
    path = tflite.export(quantized, tmp_path / "m.tflite", "int8", data=given).path
    report = tflite.compare_layers(quantized, path, given)
    on_grids = [layer for layer in quantized.layers if isinstance(layer, QuantizedOutput)]
    assert len(report.rows) >= len(on_grids) - 1
    assert all(row.sqnr > 25 for row in report.rows)


def test_layers_and_tensors_are_matched_in_order():
    """The nearer tensor is not a layer's if the other layer's would then come from it."""
    first, second = np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 2.0, 4.0]])
    given = {"first": first, "second": second}
    found = _matched(
        given, {7: first * 1.01, 8: second * 1.2}, {"first": set(), "second": {"first"}}, {7: set(), 8: {7}}
    )
    assert found == {7: "first", 8: "second"}
    lost = {7: second * 1.01, 8: first * 1.2}
    assert _matched(given, lost, {"first": set(), "second": {"first"}}, {7: set(), 8: {7}}) == {7: "second"}
    assert _matched(given, lost, {"first": set(), "second": set()}, {7: set(), 8: {7}}) == {7: "second", 8: "first"}


def test_compare_layers_finds_the_layer_that_loses(prepared, tmp_path):
    model, quantized, given = prepared("plain")
    path = tflite.export(quantized, tmp_path / "m.tflite", "int8", data=given).path
    report = tflite.compare_layers(model, path, given)
    assert report.samples == len(given)
    names = [row.name for row in report.rows]
    # What the file has on its own: each convolution with what is fused with it.
    assert names == [model.layers[place].name for place in (2, 5, 6, 7, 9, 10)]
    assert all(row.sqnr > 10 and row.cosine > 0.95 for row in report.rows)
    lossy = keras.models.clone_model(model)
    lossy.set_weights(model.get_weights())
    kernel = next(w for w in lossy.weights if w.path.endswith("depthwise/kernel"))
    kernel.assign(kernel + 0.5)
    other = {row.name: row.sqnr for row in tflite.compare_layers(lossy, path, given).rows}
    rows = {row.name: row.sqnr for row in report.rows}
    first = names[0]
    assert other[first] == pytest.approx(rows[first])
    assert min(other.values()) < 10
    assert "SQNR" in str(report)
    assert report.plot(tmp_path / "layers.png").stat().st_size > 1000
    with pytest.raises(FileNotFoundError, match="path"):
        report.plot(tmp_path / "none" / "layers.png")
    with pytest.raises(ValueError, match="data: expected at least one sample"):
        tflite.compare_layers(model, path, iter(()))

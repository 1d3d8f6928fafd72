"""Quantization-aware training: models that train, save and load, and compute nearly what they did."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close
from quantize_networks import IMAGES, branches, plain, prepared_network, residual, separable, trained

from tfsep import layers, models, quantize, tflite
from tfsep._keras.model_graph import calls_behind
from tfsep.cost import cost
from tfsep.quantize import ActivationQuantizer, QuantizedMatmul

L = keras.layers


def test_prepared_model_agrees_with_the_float_model():
    for name in ("plain", "residual"):
        model, quantized, given = prepared_network(name)
        expected, actual = np.asarray(model(given)), np.asarray(quantized(given))
        assert np.mean(np.argmax(expected, -1) == np.argmax(actual, -1)) > 0.85
        assert np.sqrt(np.mean((actual - expected) ** 2)) < 0.2 * expected.std()


def test_prepared_model_trains_saves_and_loads(tmp_path):
    """Fit, a callback that freezes, `.keras` in safe mode, and the loaded model's file."""
    model = trained(plain(), IMAGES)
    prepared = quantize.observe(quantize.prepare(model), IMAGES)
    labels = np.arange(len(IMAGES)) % 10
    prepared.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = prepared.fit(
        IMAGES, labels, batch_size=50, epochs=4, verbose=0, callbacks=[quantize.FreezeBatchNorm(2)]
    ).history
    assert history["loss"][-1] < history["loss"][0]
    assert all(np.isfinite(w).all() for w in prepared.get_weights())
    prepared.save(tmp_path / "m.keras")
    loaded = models.load_model(tmp_path / "m.keras")
    assert_close(loaded(IMAGES), prepared(IMAGES), 0)
    assert tflite.export(loaded, tmp_path / "m.tflite", "int8", data=IMAGES).verification.differing == 0


def _of_open_sizes():
    inputs = keras.Input((None, None, 3))
    x = L.Add()([L.Conv2D(4, 3, padding="same")(inputs), L.Conv2D(1, 3, padding="same")(inputs)])
    x = L.AveragePooling2D(2)(layers.Conv2DTranspose(4, 3, 2)(x))
    return keras.Model(inputs, layers.Conv2D(4, 3, 2)(x))


@pytest.mark.parametrize("make", [branches, separable, _of_open_sizes])
def test_results_have_the_shapes_and_types_of_the_traced_computation(make):
    """Those that the layers tell Keras, beside those that Keras would find by a trace of all kernels."""
    calls = [call for call in calls_behind(quantize.prepare(make()).outputs) if call.inputs]
    assert {ActivationQuantizer, QuantizedMatmul} <= {type(call.operation) for call in calls}
    for call in calls:
        given = call.inputs if len(call.inputs) > 1 else call.inputs[0]
        traced = keras.Operation.compute_output_spec(call.operation, given, **call.kwargs)
        expected = [(tensor.shape, tensor.dtype) for tensor in keras.tree.flatten(traced)]
        assert [(tensor.shape, tensor.dtype) for tensor in call.outputs] == expected, call.operation.name


def test_every_weight_gets_a_gradient():
    model = quantize.prepare(trained(residual(), IMAGES))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(IMAGES[:16], training=True)))
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        if "bias" not in weight.path:
            assert np.any(np.asarray(gradient) != 0), weight.path


def test_training_normalizes_like_the_float_model():
    """By the batch's statistics, which move as batch normalization's do; frozen, by the moving ones, which stay."""
    model = trained(plain(), IMAGES)
    prepared = quantize.observe(quantize.prepare(model), IMAGES)
    dropout = [layer for layer in (*model.layers, *prepared.layers) if isinstance(layer, L.Dropout)]
    for layer in dropout:
        layer.rate = 0.0
    expected, actual = model(IMAGES[:64], training=True), prepared(IMAGES[:64], training=True)
    assert np.sqrt(np.mean(np.square(actual - expected))) < 0.1 * np.std(expected)
    ours, theirs = (next(w for w in m.weights if w.path.endswith("moving_mean")).numpy() for m in (prepared, model))
    assert_close(ours, theirs, 0.02)
    quantize.freeze_batch_norm(prepared)
    prepared(IMAGES[64:128], training=True)
    assert_close(next(w for w in prepared.weights if w.path.endswith("moving_mean")), ours, 0)
    trains, infers = prepared(IMAGES[:64], training=True), prepared(IMAGES[:64])
    assert np.sqrt(np.mean(np.square(trains - infers))) < 0.05 * np.std(infers)


def test_learned_ranges_are_trained():
    model = quantize.prepare(trained(plain(), IMAGES), ranges="learned", observations=2)
    ends = [w for w in model.trainable_weights if w.path.endswith(("/low", "/high"))]
    assert ends
    for step in range(4):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(IMAGES[:32], training=True)))
        gradients = [np.asarray(g) for g in tape.gradient(loss, ends)]
        assert any(g != 0 for g in gradients) == (step >= 2)


def test_concatenated_results_share_a_range():
    _, model, _ = prepared_network("branches")
    producers = [
        layer for layer in model.layers if isinstance(layer, ActivationQuantizer) and len(layer._inbound_nodes) > 1
    ]
    assert len(producers) == 1
    assert len(producers[0]._inbound_nodes) == 4


def test_shared_range_moves_toward_the_range_of_all():
    """Not toward the average of the two, under which the larger would be clipped."""
    inputs = keras.Input((2,))
    small, large = (L.Dense(1, kernel_initializer=keras.initializers.Constant(c))(inputs) for c in (0.1, 10.0))
    model = quantize.prepare(keras.Model(inputs, L.Concatenate()([small, large])), momentum=0.5)
    shared = next(layer for layer in model.layers if getattr(layer, "calls", 1) == 2)
    for _ in range(6):
        model(np.array([[1.0, 1.0], [-1.0, -1.0]], "float32"), training=True)
        assert shared.range() == pytest.approx((-20.0, 20.0), rel=0.02)


def test_prepare_leaves_the_given_model_unchanged():
    model = trained(plain(), IMAGES)
    weights, expected = model.get_weights(), np.asarray(model(IMAGES))
    prepared = quantize.observe(quantize.prepare(model), IMAGES)
    prepared.compile("sgd", "mse")
    prepared.fit(IMAGES, np.zeros((len(IMAGES), 10)), epochs=1, verbose=0)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert_close(model(IMAGES), expected, 0)


def test_structure_of_inputs_and_outputs_is_kept():
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


def test_layer_called_twice_has_its_weights_once():
    inputs = keras.Input((8, 8, 2))
    shared = layers.SeparableConv2D(2, 3, padding="same")
    model = keras.Model(inputs, shared(shared(inputs)))
    prepared = quantize.prepare(model)
    assert sum(isinstance(layer, QuantizedMatmul) for layer in prepared.layers) == 2
    images = np.random.default_rng(0).normal(size=(32, 8, 8, 2)).astype("float32")
    expected = np.asarray(model(images))
    assert np.abs(quantize.observe(prepared, images)(images) - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["plain", "separable"])
def test_cost_counts_a_prepared_model(name):
    model, quantized, _ = prepared_network(name)
    rescaling = 28 * 28 if name == "separable" else 0
    assert cost(quantized).macs == cost(model).macs + rescaling

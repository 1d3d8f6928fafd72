"""What a prepared model computes is what its file computes, to the last bit, layer by layer."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from checks import assert_close
from conftest import ROOT
from quantize_networks import (
    IMAGES,
    NETWORKS,
    differing,
    gated_by_a_sigmoid,
    mobilenet,
    plain,
    prepared_network,
    residual,
    trained,
)

from tfsep import data, models, quantize, saved, tflite
from tfsep.data._fashion_mnist import _package_folders
from tfsep.quantize import ActivationQuantizer, QuantizedMatmul
from tfsep.quantize._inference_mode import litert_rounding
from tfsep.tflite._compare_layers import _match_layers
from tfsep.tflite._layer_outputs import LayerOutputs
from tfsep.tflite._litert_model import LiteRTModel

L = keras.layers


def is_long(name):
    return "stride" in name or "MobileNet" in name


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if is_long(n) else ()) for n in NETWORKS])
def test_every_layer_of_the_file_equals_the_prepared_model(name, tmp_path):
    _, model, given = prepared_network(name)
    off, elements, _ = differing(model, given[:24], tmp_path)
    assert off == 0
    assert elements > 100_000


@pytest.mark.slow
def test_the_shipped_prepared_model_is_exported_again(tmp_path):
    shipped = saved.load("fashion_mnist_int8")
    given = data.preprocess(shipped.images[:100]).numpy()
    report = tflite.export(shipped.model, tmp_path / "m.tflite", "int8", data=given)
    assert (report.verification.differing, report.verification.elements) == (0, 1000)
    np.testing.assert_array_equal(tflite.predict(report.path, given), shipped.model(given))
    np.testing.assert_array_equal(tflite.predict(shipped.folder / "model_int8.tflite", given), shipped.model(given))


@pytest.mark.slow
def test_shipped_model_on_ten_thousand_images(tmp_path):
    """Ranges from training images; every output of the file on the test images is the prepared model's."""
    if not any(folder.is_dir() for folder in _package_folders()):
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
def test_every_layer_at_more_widths(alpha, tmp_path):
    model = trained(mobilenet(alpha=alpha), IMAGES)
    off, elements, steps = differing(quantize.observe(quantize.prepare(model), IMAGES), IMAGES[:50], tmp_path)
    assert off <= elements // 100_000
    assert steps <= 1


def test_export_needs_no_calibration_and_reports_its_comparison(tmp_path):
    _, model, given = prepared_network("plain")
    report = tflite.export(model, tmp_path / "m.tflite", "int8", data=given)
    assert report.calibration is None
    assert (report.verification.differing, report.verification.elements) == (0, 640)
    assert report.max_error == 0
    assert "0 of 640" in str(report)
    assert [i.dtype for i in (*report.inputs, *report.outputs)] == ["int8", "int8"]
    assert_close(tflite.predict(report.path, given), model(given), 0)
    assert tflite.verify(model, report.path, given).differing == 0


def test_export_refuses_a_file_with_other_weights_or_ranges(tmp_path):
    """One weight a step away, which the outputs may not show; one bias; one range."""
    _, model, given = prepared_network("plain")
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
        ("depthwise_range/high", lambda w: w * 1.0001, "quantization parameters"),
    ):
        with pytest.raises(tflite.VerificationError, match=f"expected the {word} of"):
            tflite.verify(changed(name, change), path, given)


def test_export_refuses_a_file_with_other_outputs(tmp_path, monkeypatch):
    _, model, given = prepared_network("plain")
    path = tflite.export(model, tmp_path / "m.tflite", "int8", data=given).path
    run = LiteRTModel.__call__

    def broken(self, inputs):
        outputs = run(self, inputs)
        outputs[0][0, :2] += self.outputs[0].scale
        return outputs

    monkeypatch.setattr(LiteRTModel, "__call__", broken)
    with pytest.raises(tflite.VerificationError, match="got 2 of 640 elements that differ, by up to 1 steps"):
        tflite.verify(model, path, given)


def test_float_heads(tmp_path):
    model = trained(plain(), IMAGES)
    prepared = quantize.observe(quantize.prepare(model, float_layers=[model.layers[-1].name]), IMAGES)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=IMAGES)
    assert report.outputs[0].dtype == "float32"
    assert report.max_error < 1e-5
    assert sum(isinstance(layer, QuantizedMatmul) for layer in prepared.layers) == 3


@pytest.mark.parametrize(
    "make", [gated_by_a_sigmoid, residual, pytest.param(lambda: mobilenet(alpha=0.25), marks=pytest.mark.slow)]
)
def test_reference_kernels(make, tmp_path):
    """The prepared model is held to the runtime that it was prepared for."""
    model = trained(make(), IMAGES)
    prepared = quantize.observe(quantize.prepare(model, runtime="reference"), IMAGES)
    off, elements, _ = differing(prepared, IMAGES[:24], tmp_path)
    assert off == 0
    assert elements > 100_000


def test_dense_layers_round_as_microcontrollers_do():
    """What TensorFlow Lite for Microcontrollers returned for this layer; all numbers are exact in float32."""
    with np.load(Path(__file__).with_name("microcontroller_dense.npz")) as recorded:
        inputs, kernel, bias, outputs = (recorded[name] for name in ("inputs", "kernel", "bias", "outputs"))
    model = keras.Sequential([keras.Input((48,)), L.Dense(16)])
    model.set_weights([kernel / np.float32(128), bias / np.float32(32)])
    given = inputs / np.float32(32)
    prepared = quantize.observe(quantize.prepare(model, runtime="reference"), given)
    scale, zero = prepared.layers[-1].qparams()

    def stored(real):
        return np.rint(np.asarray(real) / scale) + zero

    np.testing.assert_array_equal(stored(prepared(given)), outputs)
    with litert_rounding():
        assert np.count_nonzero(stored(prepared(given)) != outputs) == 6


def test_leaky_rectifiers_round_as_microcontrollers_do():
    """What TensorFlow Lite for Microcontrollers returned for slopes that meet halves of a step."""
    with np.load(Path(__file__).with_name("microcontroller_leaky.npz")) as recorded:
        inputs, ends, slope, outputs = (recorded[name] for name in ("inputs", "range", "slope", "outputs"))
    inputs = inputs[np.newaxis]
    model = keras.Sequential([keras.Input(inputs.shape[1:]), L.LeakyReLU(float(slope))])
    prepared = quantize.observe(quantize.prepare(model, runtime="reference"), inputs)
    for layer in prepared.layers[1:]:
        layer.set_range(*map(float, ends))
    scale, zero = prepared.layers[-1].qparams()
    np.testing.assert_array_equal(np.rint(np.asarray(prepared(inputs)) / scale)[0] + zero, outputs)
    with litert_rounding():
        assert np.count_nonzero(np.rint(np.asarray(prepared(inputs)) / scale)[0] + zero != outputs) == 13


def test_the_report_counts_operators_that_litert_rounds_differently(tmp_path, monkeypatch):
    """A dense layer of the reference kernels: LiteRT's elements are counted, and explained to the last."""
    inputs = np.random.default_rng(0).normal(size=(100, 64)).astype("float32")
    model = keras.Sequential([keras.Input((64,)), L.Dense(256, activation="relu"), L.Dense(64)])
    prepared = quantize.observe(quantize.prepare(model, runtime="reference"), inputs)
    path = tmp_path / "m.tflite"
    report = tflite.export(prepared, path, "int8", data=inputs)
    found = report.verification
    assert (found.elements, found.otherwise, found.unexplained) == (6400, ("FULLY_CONNECTED",), 0)
    assert 0 < found.differing < 640
    assert found.steps == 1
    assert any(
        f"FULLY_CONNECTED otherwise than the kernels that the model was prepared for: {found.differing} of 6,400"
        in note
        for note in report.notes
    )
    assert json.loads(path.with_suffix(".json").read_text())["verification"]["otherwise"] == ["FULLY_CONNECTED"]
    run = LiteRTModel.__call__
    monkeypatch.setattr(LiteRTModel, "__call__", lambda self, x: (run(self, x)[0] + 2 * self.outputs[0].scale,))
    with pytest.raises(tflite.VerificationError, match="got 6400 of 6400 elements that differ, by up to 2 steps"):
        tflite.verify(prepared, path, inputs)


@pytest.mark.parametrize(("side", "keepdims"), [(7, False), (7, True), (6, False)])
def test_the_reference_kernel_of_a_mean_truncates_its_multiplier(side, keepdims, tmp_path):
    inputs = np.random.default_rng(0).normal(0.1, size=(32, side, side, 64)).astype("float32")
    model = keras.Sequential([keras.Input(inputs.shape[1:]), L.GlobalAveragePooling2D(keepdims=keepdims)])
    prepared = quantize.observe(quantize.prepare(model, runtime="reference"), inputs)
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=inputs).verification.differing == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "branches"])
def test_compare_layers_finds_the_tensor_of_each_layer(name, tmp_path):
    """The prepared model's quantized results are the file's tensors, to a unit of the other kernels."""
    _, quantized, given = prepared_network(name)
    path = tflite.export(quantized, tmp_path / "m.tflite", "int8", data=given).path
    report = tflite.compare_layers(quantized, path, given)
    quantizers = [layer for layer in quantized.layers if isinstance(layer, ActivationQuantizer)]
    assert len(report.rows) >= len(quantizers) - 1
    assert all(row.sqnr > 25 for row in report.rows)


def test_layers_and_tensors_are_matched_in_order():
    """The nearer tensor is not a layer's if the other layer's would then come from it."""
    first, second = np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 2.0, 4.0]])
    given = {"first": first, "second": second}
    chain, apart = {"first": set(), "second": {"first"}}, {"first": set(), "second": set()}
    tensor_chain = {7: set(), 8: {7}}
    found = _match_layers(LayerOutputs(given, chain), {7: first * 1.01, 8: second * 1.2}, tensor_chain)
    assert found == {7: "first", 8: "second"}
    lost = {7: second * 1.01, 8: first * 1.2}
    assert _match_layers(LayerOutputs(given, chain), lost, tensor_chain) == {7: "second"}
    assert _match_layers(LayerOutputs(given, apart), lost, tensor_chain) == {7: "second", 8: "first"}


def test_compare_layers_finds_a_lossy_layer(tmp_path):
    model, quantized, given = prepared_network("plain")
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
    other = keras.Sequential([keras.Input(given.shape[1:]), L.Conv2D(3, 5, name="other"), L.Flatten(), L.Dense(10)])
    with pytest.raises(ValueError, match=r"which has no layer of it$"):
        tflite.compare_layers(other, path, given)


@pytest.mark.parametrize("gamma", [1e-3, 1e-4, 2e-5, 1e-6])
def test_a_channel_with_a_tiny_gamma(gamma, tmp_path):
    """Its bias is up to billions of its steps, which float32 does not hold to the last."""
    model = keras.Sequential(
        [keras.Input((9, 8, 3)), L.Conv2D(8, 3, use_bias=False), L.BatchNormalization(), L.ReLU(), L.Conv2D(8, 3)]
    )
    gammas = np.ones(8)
    gammas[2] = gamma
    model.layers[1].set_weights([gammas, np.full(8, 0.3), np.zeros(8), np.ones(8)])
    given = np.random.default_rng(0).normal(size=(64, 9, 8, 3)).astype("float32")
    prepared = quantize.observe(quantize.prepare(model), given)
    found = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=given).verification
    assert (found.differing, found.elements) == (0, 64 * 5 * 4 * 8)

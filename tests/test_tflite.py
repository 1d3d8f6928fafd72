"""Files: one operator a layer, the model's numbers, and checks that can fail."""

import itertools
import json
import tracemalloc
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused, in_part
from conftest import ROOT
from layer_checks import Subclassed

from tfsep import MOBILENETV1_CONV_DEFS, layers, models, quantize, tflite
from tfsep._keras import sample_reader
from tfsep.tflite import _channel_errors
from tfsep.tflite._litert_model import LiteRTModel

SHAPE = (12, 11, 4)
X = np.random.default_rng(0).uniform(-1, 1, size=(16, *SHAPE)).astype("float32")
STRIDES = (1, 2, (1, 2))
RATES = (1, 2, (2, 3))
IN_INT8 = ((1, 1), (2, 1), (1, 2), ((1, 2), (2, 3)))

LAYERS = {
    "Conv2D": (lambda s, r: layers.Conv2D(8, 3, s, "same", rate=r), ["CONV_2D"]),
    "Conv2D, groups": (lambda s, r: layers.Conv2D(8, 3, s, "same", groups=2, rate=r), ["CONV_2D"]),
    "DepthwiseConv2D": (lambda s, r: layers.DepthwiseConv2D(3, s, "same", rate=r), ["DEPTHWISE_CONV_2D"]),
    "DepthwiseConv2D, multiplier": (
        lambda s, r: layers.DepthwiseConv2D(3, s, "same", 2, rate=r),
        ["DEPTHWISE_CONV_2D"],
    ),
    "SeparableConv2D": (lambda s, r: layers.SeparableConv2D(6, 3, s, "same", rate=r), ["DEPTHWISE_CONV_2D", "CONV_2D"]),
    "DepthwiseSeparableConv": (
        lambda s, r: layers.DepthwiseSeparableConv(6, 3, s, rate=r, activation="relu6"),
        ["DEPTHWISE_CONV_2D", "CONV_2D"],
    ),
}


def model_of(*stack, shape=SHAPE):
    """A model whose every weight is random, biases and statistics too."""
    model = keras.Sequential([keras.Input(shape, name="image"), *stack])
    rng = np.random.default_rng(1)
    model.set_weights(
        [rng.uniform(0.5, 1.5, w.shape) if "variance" in w.path else rng.normal(0, 0.4, w.shape) for w in model.weights]
    )
    return model


@pytest.mark.parametrize(("stride", "rate"), in_part(itertools.product(STRIDES, RATES), 2))
@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_exports_to_its_operators_and_values(name, stride, rate, tmp_path):
    make, operators = LAYERS[name]
    model = model_of(make(stride, rate))
    expected = np.asarray(model(X))
    # One model in both recipes, whose conversion to float32 is made once.
    for recipe in ("float32", "int8") if (stride, rate) in IN_INT8 else ("float32",):
        report = tflite.export(model, tmp_path / "m.tflite", recipe, calibration=X)
        found = tflite.inspect(report.path)
        assert [op.name for op in found.operators] == operators
        options = found.operators[0].options
        both = [(v, v) if isinstance(v, int) else v for v in (stride, rate)]
        assert (options["strideH"], options["strideW"]) == both[0]
        assert (options["dilationHFactor"], options["dilationWFactor"]) == both[1]
        assert report.delegated == report.nodes == len(operators)
        actual = tflite.predict(report.path, X)
        if recipe == "float32":
            assert_close(actual, expected, 1e-5)
        else:
            # Every operator rounds its inputs and its output once: a few steps of the output's own grid.
            steps = np.abs(actual - expected) / report.outputs[0].scale
            assert steps.max() <= 4 * len(operators)
            assert steps.mean() <= 1.0


@pytest.mark.parametrize("padding", [1, (2, 0), ((0, 1), (2, 0))])
def test_padding_in_pixels(padding, tmp_path):
    model = model_of(layers.DepthwiseConv2D(3, 2, padding, rate=2))
    report = tflite.export(model, tmp_path / "m.tflite")
    assert report.ops == {"PAD": 1, "DEPTHWISE_CONV_2D": 1}
    assert_close(tflite.predict(report.path, X), model(X))


@pytest.fixture(scope="module")
def network():
    """A small network with what a real one has: normalization, ReLU6, pooling, softmax."""
    keras.utils.set_random_seed(0)
    scope = models.mobilenet_v1_arg_scope(stddev=None)
    model = models.MobileNetV1((32, 32, 3), 10, 0.5, conv_defs=MOBILENETV1_CONV_DEFS[:7], arg_scope=scope)
    data = np.random.default_rng(2).normal(size=(64, 32, 32, 3)).astype("float32")
    for _ in range(3):
        model(data, training=True)
    return model, data


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    model, data = network
    folder = tmp_path_factory.mktemp("files")
    labels = np.argmax(model(data), axis=-1)
    return {
        name: tflite.export(model, folder / f"{name}.tflite", name, calibration=data, data=(data, labels))
        for name in tflite.RECIPES
    }


@pytest.mark.parametrize(
    ("recipe", "interface", "share_of_size"),
    [
        ("float32", "float32", 1.0),
        ("float16", "float32", 0.6),
        ("dynamic_int8", "float32", 0.45),
        ("int8", "int8", 0.5),
        ("int16x8", "int16", 0.55),
    ],
)
def test_recipes(files, recipe, interface, share_of_size):
    report = files[recipe]
    assert report.path.stat().st_size == report.size_bytes
    assert report.size_bytes <= share_of_size * files["float32"].size_bytes
    assert [i.dtype for i in (*report.inputs, *report.outputs)] == [interface, interface]
    assert report.rms_error <= report.verification.tolerance
    assert not any(word in name for name in report.ops for word in ("SPACE", "Flex", "SHAPE_", "PACK", "STRIDED_SLICE"))
    assert report.model_accuracy == 1.0
    assert report.accuracy == report.top1_agreement
    assert report.samples == 64


@pytest.fixture(scope="module")
def stack():
    return model_of(layers.Conv2D(32, 3), layers.DepthwiseConv2D(3), layers.Conv2D(8, 3))


@pytest.mark.parametrize(("base", "interface"), [("int8", "float32"), ("int8", "uint8"), ("int16x8", "float32")])
def test_custom_recipe(stack, tmp_path, base, interface):
    own = replace(tflite.RECIPES[base], name="own", interface=interface, tolerance=0.35)
    report = tflite.export(stack, tmp_path / "m.tflite", own, calibration=X)
    assert report.recipe == "own"
    assert [i.dtype for i in (*report.inputs, *report.outputs)] == [interface, interface]
    assert report.verification.tolerance == 0.35
    # Without the recipe, the tolerance is that of the types.
    assert tflite.verify(stack, report.path, X).tolerance == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("interface", ["float32", "uint8"])
def test_prepared_model_with_a_custom_recipe(tmp_path, interface):
    model = model_of(layers.Conv2D(8, 3), keras.layers.GlobalAveragePooling2D())
    prepared = quantize.observe(quantize.prepare(model), X)
    own = replace(tflite.RECIPES["int8"], name="own", interface=interface)
    report = tflite.export(prepared, tmp_path / "m.tflite", own, data=X)
    assert [i.dtype for i in (*report.inputs, *report.outputs)] == [interface, interface]
    assert report.verification.elements == 16 * 8
    assert not report.verification.differing
    assert report.max_error == 0
    assert tflite.verify(prepared, report.path, X).passed


@pytest.mark.parametrize(
    ("recipe", "types"), [("int8", ("int8", "uint8", "float32")), ("int16x8", ("int16", "float32"))]
)
def test_types_of_inputs_and_outputs(stack, recipe, types, tmp_path):
    """On inputs in whole steps, files of one recipe compute the same whatever their interface is."""
    made = {io: tflite.export(stack, tmp_path / f"{io}.tflite", recipe, X, io=io, data=X) for io in types}
    default = tflite.export(stack, tmp_path / "m.tflite", recipe, X, data=X)
    assert default.sha256 == made[types[0]].sha256
    grid = default.inputs[0]
    x = grid.dequantize(grid.quantize(X))
    expected = tflite.predict(default.path, x)
    for io, report in made.items():
        assert report.recipe == recipe
        assert [i.dtype for i in (*report.inputs, *report.outputs)] == [io, io]
        # The step of the integers behind floats counts too.
        assert report.verification.tolerance == pytest.approx(default.verification.tolerance)
        assert tflite.verify(stack, report.path, X).tolerance == pytest.approx(default.verification.tolerance)
        np.testing.assert_array_equal(tflite.predict(report.path, x), expected)
    assert tflite.check_targets(made["float32"].path, "xnnpack").passed is (recipe == "int8")
    assert tflite.benchmark(made["float32"].path, runs=1, warmup=0).runs == 1


@pytest.mark.parametrize("io", ["uint8", "float32"])
@pytest.mark.parametrize("runtime", ["xnnpack", "reference"])
def test_prepared_model_with_other_types_is_proven_to_the_bit(io, runtime, tmp_path):
    """On pixels, of which each lies halfway between two steps: XNNPACK rounds them otherwise than the model."""
    pixels = (np.random.default_rng(0).integers(0, 256, (64, *SHAPE)) / 127.5 - 1).astype("float32")
    pixels[0, 0, 0, :2] = -1, 1
    model = model_of(layers.Conv2D(8, 3), keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D())
    prepared = quantize.observe(quantize.prepare(model, quantize.Config(runtime=runtime)), pixels)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=pixels, io=io)
    assert report.inputs[0].dtype == report.outputs[0].dtype == io
    assert report.verification.elements == 64 * 8
    assert report.verification.differing == 0
    assert report.max_error == 0
    assert any("whole steps" in note for note in report.notes) is (io == "float32")
    other = quantize.observe(quantize.prepare(model_of(layers.Conv2D(8, 3), keras.layers.GlobalAveragePooling2D())), X)
    with pytest.raises(tflite.VerificationError):
        tflite.verify(other, report.path, X)


INTERFACES = dict.fromkeys(["float32", "float16", "dynamic_int8"], "float32") | {
    "int8": "int8, uint8 or float32",
    "int16x8": "int16 or float32",
}


@pytest.mark.parametrize(
    ("recipe", "io"),
    [
        *(("float32", "int8"), ("float16", "float16"), ("dynamic_int8", "uint8")),
        *(("int8", "int16"), ("int8", 8), ("int16x8", "int8")),
    ],
)
def test_types_that_a_recipe_does_not_have(stack, recipe, io, tmp_path):
    text = assert_refused(lambda: tflite.export(stack, tmp_path / "m.tflite", recipe, X, io=io), "io")
    assert f"expected {INTERFACES[recipe]} for recipe {recipe!r}, got {io!r}" in text


@pytest.mark.parametrize("recipe", ["float16", "dynamic_int8", "int8", "int16x8"])
def test_recipe_tolerance_is_applied(stack, tmp_path, recipe):
    strict = replace(tflite.RECIPES[recipe], tolerance=1e-12)
    with pytest.raises(tflite.VerificationError, match="expected a relative RMS error of at most") as error:
        tflite.export(stack, tmp_path / "m.tflite", strict, calibration=X)
    assert error.value.report.tolerance == 1e-12
    assert not list(tmp_path.iterdir())


def test_signature_has_the_names_of_the_model(files):
    from ai_edge_litert.interpreter import Interpreter

    signature = Interpreter(str(files["float32"].path)).get_signature_list()
    assert signature == {"serving_default": {"inputs": ["image"], "outputs": ["MobilenetV1_Predictions"]}}


def test_json_beside_the_file_is_the_report(files):
    report = files["int8"]
    stored = json.loads(report.path.with_suffix(".json").read_text())
    assert stored == json.loads(report.to_json())
    assert stored["recipe"] == "int8"
    assert stored["verification"]["rms_error"] == report.rms_error
    assert stored["calibration"]["samples"] == 64
    assert str(ROOT) not in report.to_json()
    assert str(report.path.parent) not in report.to_json()
    assert not list(report.path.parent.glob(".partial*"))


def test_predict_against_the_interpreter(files, network):
    """Quantized by hand, run by hand, dequantized by hand."""
    from ai_edge_litert.interpreter import Interpreter

    report, data = files["int8"], network[1][:3]
    interpreter = Interpreter(str(report.path))
    interpreter.allocate_tensors()
    (given,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    expected = []
    for image in data:
        scale, zero = given["quantization"]
        interpreter.set_tensor(given["index"], np.clip(np.rint(image / scale) + zero, -128, 127).astype("int8")[None])
        interpreter.invoke()
        scale, zero = out["quantization"]
        expected.append((interpreter.get_tensor(out["index"])[0].astype("float32") - zero) * scale)
    np.testing.assert_allclose(tflite.predict(report.path, data), expected, atol=1e-6)


def test_inspect_against_the_interpreter(files):
    from ai_edge_litert.interpreter import Interpreter

    report = files["int8"]
    found = tflite.inspect(report.path)
    details = {d["index"]: d for d in Interpreter(str(report.path)).get_tensor_details()}
    assert found.op_counts == report.ops
    assert found.signatures == ("serving_default",)
    for tensor in found.tensors:
        detail = details[tensor.number]
        assert tensor.name == detail["name"]
        assert tensor.shape == tuple(detail["shape"])
        assert tensor.dtype == np.dtype(detail["dtype"]).name
        np.testing.assert_allclose(tensor.scales, detail["quantization_parameters"]["scales"])
    depthwise = next(op for op in found.operators if op.name == "DEPTHWISE_CONV_2D")
    weights = found.tensors[depthwise.inputs[1]]
    assert len(weights.scales) == weights.shape[3]
    assert "DEPTHWISE_CONV_2D" in str(found)


def test_verify_passes_on_the_file_of_the_model(files, network):
    model, data = network
    report = tflite.verify(model, files["float32"].path, data)
    assert report.passed
    assert (report.samples, report.top1_agreement, report.accuracy) == (64, 1.0, None)
    assert report.max_error == pytest.approx(
        np.abs(np.asarray(model(data)) - tflite.predict(files["float32"].path, data)).max()
    )


@pytest.mark.parametrize("recipe", tflite.RECIPES)
def test_verify_fails_on_the_file_of_another_model(files, network, recipe):
    model, data = network
    other = keras.models.clone_model(model)
    other.set_weights([np.random.default_rng(3).permutation(w.ravel()).reshape(w.shape) for w in model.get_weights()])
    with pytest.raises(tflite.VerificationError, match="expected a relative RMS error of at most") as error:
        tflite.verify(other, files[recipe].path, data)
    assert error.value.report.rms_error > error.value.report.tolerance


def test_verify_fails_past_a_given_tolerance(files, network):
    with pytest.raises(tflite.VerificationError):
        tflite.verify(network[0], files["int8"].path, network[1], tolerance=1e-6)


def test_one_changed_weight_is_found(network, files):
    """A float32 file is held to rounding: one weight that is a little off is seen."""
    model, data = network
    other = keras.models.clone_model(model)
    weights = model.get_weights()
    weights[-2][0, 0, 0, 0] += 0.05
    other.set_weights(weights)
    with pytest.raises(tflite.VerificationError):
        tflite.verify(other, files["float32"].path, data)


CHANGES = {
    "a kernel is 1 % larger": ("Conv2d_0/kernel", lambda w: 1.01 * w),
    "one class has another bias": ("Conv2d_1c_1x1/bias", lambda w: w + 0.5 * (np.arange(len(w)) == 3)),
    "a channel is zero": ("Conv2d_3_pointwise/kernel", lambda w: w * (np.arange(w.shape[-1]) != 5)),
    "a normalization is 1 % stronger": ("Conv2d_4_depthwise.BatchNorm/gamma", lambda w: 1.01 * w),
}


@pytest.mark.parametrize(("recipe", "change"), in_part(itertools.product(tflite.RECIPES, CHANGES), 3))
def test_a_changed_weight_is_found_in_every_recipe(files, network, recipe, change):
    """Far under what the outputs tell from rounding: the stored weights tell."""
    model, data = network
    where, changed = CHANGES[change]
    other = keras.models.clone_model(model)
    paths = [weight.path for weight in model.weights]
    assert sum(path.endswith(where) for path in paths) == 1
    other.set_weights([changed(w) if p.endswith(where) else w for p, w in zip(paths, model.get_weights(), strict=True)])
    with pytest.raises(tflite.VerificationError) as error:
        tflite.verify(other, files[recipe].path, data, tolerance=10.0)
    assert "expected the model's weights to within the file's rounding" in str(error.value)
    assert error.value.report.weight_error > 1
    if recipe == "float32":
        assert tflite.verify(other, files[recipe].path, data, tolerance=10.0, weights=False).weights is None


def test_a_model_changed_after_its_export_is_found(tmp_path):
    """The same object: what is known of it from before counts only while its graph is the same."""
    conv, normalization = layers.Conv2D(3, 3), layers.BatchNormalization()
    model = keras.Sequential([keras.Input(SHAPE), conv, normalization])
    path = tflite.export(model, tmp_path / "m.tflite", data=X).path
    kernel = np.array(conv.kernel)
    for change, back in (
        (lambda: conv.kernel.assign(1.01 * kernel), lambda: conv.kernel.assign(kernel)),
        (lambda: setattr(normalization, "epsilon", 0.05), lambda: setattr(normalization, "epsilon", 1e-3)),
    ):
        change()
        with pytest.raises(tflite.VerificationError) as error:
            tflite.verify(model, path, X, tolerance=10.0)
        assert error.value.report.weight_error > 1
        back()
        assert tflite.verify(model, path, X).passed


@pytest.mark.parametrize("recipe", tflite.RECIPES)
def test_weights_of_the_file_are_those_of_the_model(files, recipe):
    report = files[recipe].verification
    assert report.weights >= 28
    assert report.weight_error <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.0])
def test_wrong_output_value_fails(files, network, monkeypatch, bad):
    """One element of one sample, as a broken kernel would leave it."""
    run = LiteRTModel.__call__

    def broken(self, inputs):
        outputs = run(self, inputs)
        outputs[0][-1, 3] += bad
        return outputs

    monkeypatch.setattr(LiteRTModel, "__call__", broken)
    with pytest.raises(tflite.VerificationError):
        tflite.verify(network[0], files["float32"].path, network[1])


def test_verify_accepts_a_saved_model(network, files, tmp_path):
    network[0].save(tmp_path / "m.keras")
    assert tflite.verify(tmp_path / "m.keras", files["float32"].path, network[1]).passed


def as_dataset(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(5)


DATA_FORMS = {
    "array": lambda x, y: x,
    "tensor": lambda x, y: tf.constant(x),
    "float64": lambda x, y: x.astype("float64"),
    "pair": lambda x, y: (x, y),
    "list of samples": lambda x, y: list(x),
    "generator of batches": lambda x, y: (x[i : i + 3] for i in range(0, len(x), 3)),
    "generator of samples": lambda x, y: iter(x),
    "generator of lists": lambda x, y: ([image[None]] for image in x),
    "generator of pairs": lambda x, y: zip(x, y, strict=True),
    "generator of dicts": lambda x, y: ({"image": image} for image in x),
    "dataset": as_dataset,
}


@pytest.mark.parametrize("form", DATA_FORMS)
def test_forms_of_data(files, network, form):
    model, data = network
    labels = np.argmax(model(data), axis=-1)
    report = tflite.verify(model, files["float32"].path, DATA_FORMS[form](data, labels))
    assert report.samples == 64
    assert report.accuracy == (1.0 if form in ("pair", "generator of pairs", "dataset") else None)


def test_verify_memory_does_not_grow_with_the_data(tmp_path):
    """Ten times the data takes no more memory; the images are large enough to show beside all else."""
    model = keras.Sequential([keras.Input((64, 64, 3)), layers.Conv2D(4, 3, 8), keras.layers.Flatten()])
    data = np.random.default_rng(0).normal(size=(8, 64, 64, 3)).astype("float32")
    path = tflite.export(model, tmp_path / "m.tflite", data=data).path

    def peak(batches, kept=None):
        given = (data.copy() for _ in range(batches))
        tracemalloc.start()
        tflite.verify(model, path, given if kept is None else (kept.append(batch) or batch for batch in given))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(32)
    least = peak(32)
    assert peak(320) < 1.5 * least
    assert peak(320, kept=[]) > 1.5 * least


@pytest.mark.parametrize(("side", "most", "weights"), in_part([(64, 2**17, False), (512, 2**22, True)], 2))
def test_verify_memory_of_large_maps(tmp_path, monkeypatch, side, most, weights):
    """Twice the samples take no more memory, where a small input makes a map of many numbers.

    The quick case has small maps, and batches that are smaller by as much.
    """
    inputs = keras.Input((1, 1, 3))
    model = keras.Model(inputs, keras.layers.UpSampling2D(side)(layers.Conv2D(8, 1, activation="sigmoid")(inputs)))
    data = np.random.default_rng(0).normal(size=(32, 1, 1, 3)).astype("float32")
    path = tflite.export(model, tmp_path / "m.tflite").path

    def peak(samples):
        tracemalloc.start()
        tflite.verify(model, path, data[:samples], weights=weights)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    for module in (sample_reader, _channel_errors):
        monkeypatch.setattr(module, "_MOST_NUMBERS", most)
    peak(16)
    least = peak(16)
    assert least > 8 * (4 * 8 * side**2)
    assert peak(32) < 1.05 * least
    monkeypatch.setattr(sample_reader, "_MOST_NUMBERS", 2**30)
    assert peak(32) > 1.1 * least, "in one go"


def test_several_inputs_and_outputs(tmp_path):
    first, second = keras.Input((8, 8, 2), name="photo"), keras.Input((4,), name="meta")
    features = keras.layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(first))
    joined = keras.layers.Concatenate(name="joined")([features, keras.layers.Dense(3, name="dense")(second)])
    model = keras.Model(
        {"photo": first, "meta": second}, {"z": joined, "a": keras.layers.Dense(2, name="head")(joined)}
    )
    rng = np.random.default_rng(0)
    data = {"photo": rng.normal(size=(8, 8, 8, 2)), "meta": rng.normal(size=(8, 4))}
    report = tflite.export(model, tmp_path / "m.tflite", data=data)
    assert [i.name for i in report.inputs] == ["meta", "photo"]
    outputs, expected = tflite.predict(report.path, data), model(data)
    for name in ("a", "z"):
        assert_close(outputs[name], expected[name])
    int8 = tflite.export(model, tmp_path / "q.tflite", "int8", calibration=data)
    assert [i.dtype for i in int8.inputs] == ["int8", "int8"]


def test_list_inputs_keep_their_order(tmp_path):
    """A tuple is in the model's own order too, which no sorting by name gives."""
    b, a = keras.Input((3,), name="b"), keras.Input((3,), name="a")
    model = keras.Model([b, a], [keras.layers.Dense(2, name="of_b")(b), keras.layers.Dense(1, name="of_a")(a)])
    data = {"a": np.ones((4, 3)), "b": np.arange(12.0).reshape(4, 3)}
    report = tflite.export(model, tmp_path / "m.tflite", data=data)
    outputs = tflite.predict(report.path, data)
    expected = model([data["b"], data["a"]])
    assert_close(outputs["of_b"], expected[0])
    assert_close(outputs["of_a"], expected[1])


@pytest.mark.parametrize("names", list(itertools.permutations(["image", "aux", "zoom"])))
def test_tuple_of_inputs_is_in_the_order_of_the_model(names, tmp_path):
    """Equal shapes, so that nothing but the order tells the inputs apart, and ranges that calibration must not swap."""
    inputs = [keras.Input((6, 6, 2), name=name) for name in names]
    images = [layers.Conv2D(2, 3)(x) for x in inputs]
    model = keras.Model(inputs, keras.layers.Flatten()(images[0] + 0.1 * images[1] - 0.01 * images[2]))
    rng = np.random.default_rng(0)
    data = tuple((scale * rng.normal(size=(40, 6, 6, 2))).astype("float32") for scale in (1, 10, 100))
    report = tflite.export(model, tmp_path / "m.tflite", "int8", data)
    assert [info.name for info in report.inputs] == list(names)
    ranges = [256 * info.scale / np.ptp(x) for info, x in zip(report.inputs, data, strict=True)]
    np.testing.assert_allclose(ranges, 1, rtol=0.1)
    by_name = dict(zip(names, data, strict=True))
    assert tflite.verify(model, report.path, data) == tflite.verify(model, report.path, by_name)
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(8)
    assert tflite.verify(model, report.path, dataset).rms_error == pytest.approx(report.rms_error)
    np.testing.assert_array_equal(tflite.predict(report.path, data), tflite.predict(report.path, by_name))
    expected = np.asarray(model(list(data)))
    assert np.std(tflite.predict(report.path, data) - expected) < 0.05 * np.std(expected)


def test_batch_of_several(network, tmp_path):
    model, data = network
    report = tflite.export(model, tmp_path / "m.tflite", "int8", calibration=data[:50], batch_size=8, data=data[:13])
    assert report.inputs[0].shape == (8, 32, 32, 3)
    assert report.samples == 13
    with pytest.raises(ValueError, match="data: expected shape"):
        tflite.verify(model, report.path, data[:, :16])
    assert tflite.predict(report.path, data[:13]).shape == (13, 10)


def test_input_shape_sets_open_sizes(tmp_path):
    model = models.MobileNetV1((None, None, 3), 5, 0.25)
    with pytest.raises(ValueError, match="input_shape: expected the sizes that 'MobilenetV1' leaves open"):
        tflite.export(model, tmp_path / "m.tflite")
    assert tflite.export(model, tmp_path / "m.tflite", input_shape=(40, 32, 3)).inputs[0].shape == (1, 40, 32, 3)


def test_subclassed_model(tmp_path):
    report = tflite.export(Subclassed(layers.Conv2D(3, 3)), tmp_path / "m.tflite", input_shape=(8, 8, 2))
    assert report.ops == {"CONV_2D": 1}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_model_of_another_precision_is_exported_in_float32(policy, tmp_path):
    block = layers.DepthwiseSeparableConv(3, rate=2, dtype=policy)
    nested = keras.Sequential([keras.Input((8, 8, 4), dtype="float32"), block])
    model = keras.Sequential([keras.Input((8, 8, 4), dtype="float32", name="image"), nested, keras.layers.Flatten()])
    report = tflite.export(model, tmp_path / "m.tflite")
    assert report.ops["DEPTHWISE_CONV_2D"] == 1
    assert [i.dtype for i in (*report.inputs, *report.outputs)] == ["float32", "float32"]
    assert "the file is made of its float32 copy" in report.notes[0]
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 4)).astype("float32")
    assert_close(tflite.predict(report.path, x), tf.cast(model(x), "float32"), 3e-2)


def test_export_leaves_the_model_unchanged(network, tmp_path):
    model, data = network
    before = [np.array(w) for w in model.weights]
    tflite.export(model, tmp_path / "m.tflite", "int8", calibration=data)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, np.asarray(new))


def test_benchmark(files):
    report = tflite.benchmark(files["int8"].path, threads=1, runs=20, warmup=2)
    assert 0 < report.min_ms <= report.p10_ms <= report.median_ms <= report.p90_ms <= report.max_ms
    assert report.runs == 20


def test_published_google_file_runs(fixtures):
    path = fixtures / "official" / "mobilenet_v1_0.25_128_quant.tflite"
    probabilities = tflite.predict(path, np.zeros((1, 128, 128, 3), "float32"))
    assert probabilities.shape == (1, 1001)
    assert tflite.benchmark(path, runs=3, warmup=0).median_ms > 0
    assert tflite.inspect(path).op_counts["DEPTHWISE_CONV_2D"] == 13

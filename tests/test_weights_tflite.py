"""Networks out of .tflite files: Google's own, and what this library exports; other files are refused in a sentence."""

from dataclasses import replace

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from checks import assert_sentence, in_part

from tfsep import Conv, DepthSepConv, defs, models, quantize, tflite, weights
from tfsep._flatbuffer.reader import unpack
from tfsep._keras.backend import keras
from tfsep.defs import Channels, InvertedResidual, LayerDef
from tfsep.weights._conv_bn_stages import SourceStage
from tfsep.weights._tflite_network import FileLayer

CUSTOM = (Conv(3, 2, 6), DepthSepConv(3, 1, 10), DepthSepConv((3, 5), 2, 12), Conv(3, 1, 9, rate=2))
BLOCKS = (
    *(Conv(3, 2, 6), InvertedResidual(3, 1, 8, 1), InvertedResidual(3, 2, 10, Channels(24))),
    *(InvertedResidual((3, 5), 1, 10, Channels(21)), InvertedResidual(3, 1, 10, Channels(30), residual=False)),
    # A convolution that is no expansion, as the block behind it adds its own input.
    *(Conv(1, 1, 14), InvertedResidual(3, 1, 14, 1), InvertedResidual(3, 1, 14, Channels(18), rate=2), Conv(1, 1, 22)),
)
OFFICIAL = {
    "mobilenet_v1_0.25_128_quant.tflite": (0.13, 0.08),
    "mobilenet_v2_1.0_224_quant.tflite": (0.035, 0.013),
    "mobilenet_v1_0.5_160_quant.tflite": (0.03, 0.04),
}
"""How far probabilities may be from the file's, of the float model and of that with the file's ranges."""


def images(size, count=16, seed=0, channels=3):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *size, channels)).astype("float32")


def network(size=(30, 26), classes=7, seed=0, **options):
    """A model whose every weight and statistic is random."""
    return randomized(models.MobileNetV1((*size, 3), classes, **{"conv_defs": CUSTOM, **options}), seed)


def blocks(padding="same", conv_defs=BLOCKS):
    """A model of inverted residuals, with every number of channels as it stands."""
    family = replace(defs.MOBILENET_V2, width_rule=defs.truncate)
    built = models.from_definitions(defs.Network(conv_defs, family), (30, 26, 3), 7, min_depth=1, padding=padding)
    return randomized(built, 0)


def randomized(model, seed):
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        low, high = (0.5, 2) if variable.name in ("gamma", "moving_variance") else (-0.5, 0.5)
        variable.assign(rng.uniform(low, high, variable.shape))
    return model


def photographs(folder, size):
    for name in ("bird.bmp", "cat.bmp"):
        image = tf.io.decode_bmp(tf.io.read_file(str(folder / name)), channels=3)
        for share in (1.0, 0.875):
            yield tf.image.resize(tf.image.central_crop(image, share), size, antialias=True) / 127.5 - 1


@pytest.mark.parametrize("name", in_part(OFFICIAL, 3))
def test_published_google_files_load(name, fixtures, tmp_path):
    path = fixtures / "official" / name
    model = models.from_tflite(path)
    x = np.stack(list(photographs(path.parent, model.input_shape[1:3])))
    theirs = tflite.predict(path, x)
    ours = np.asarray(model(x))
    lead = np.diff(np.sort(theirs)[:, -2:])[:, 0]
    assert (theirs.argmax(1) == ours.argmax(1))[lead > 0.05].all()
    assert np.abs(theirs - ours).max() < OFFICIAL[name][0]
    prepared = models.from_tflite(path, ranges="from_file")
    exact = np.asarray(prepared(x))
    assert np.abs(theirs - exact).max() < OFFICIAL[name][1]
    assert (theirs.argmax(1) == exact.argmax(1))[lead > 0.05].all()
    report = tflite.export(prepared, tmp_path / "again.tflite", "int8", data=x)
    assert report.max_error == 0
    assert report.inputs[0].scale == 1 / 128


def test_kernels_keep_the_scale_of_a_file_where_it_has_8_bits():
    """Integers without their zero point; a channel past 127 has a larger scale."""
    rng = np.random.default_rng(0)
    stored = rng.integers(-100, 128, (3, 3, 4, 5)).astype(float)
    stored[..., 2] = rng.integers(-90, 160, (3, 3, 4))
    stored[0, 0, 0, 2] = 159
    stage = SourceStage("c", 0.02 * stored, False, np.arange(5) * 0.01)
    definition = LayerDef("c", "conv2d", (3, 3), (1, 1), (1, 1), 5)
    layer = FileLayer(definition, stage, "same", (8, 8), "relu", None, 0.5, kernel_scales=np.array([0.02]))
    made = layer.quantized_to_int8()
    own = np.arange(5) != 2
    np.testing.assert_allclose(made.kernel_scales[own], 0.02)
    np.testing.assert_allclose(made.stage.kernel[..., own], stage.kernel[..., own], rtol=1e-12)
    scale = made.kernel_scales[2]
    assert scale == pytest.approx(0.02 * 159 / 127)
    whole = made.stage.kernel[..., 2] / scale
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)
    assert np.abs(whole).max() == pytest.approx(127)
    assert np.abs(whole - stage.kernel[..., 2] / scale).max() <= 0.5


@pytest.mark.parametrize("recipe", tflite.RECIPES)
def test_files_of_every_recipe_load(recipe, tmp_path):
    model, x = network(), images((30, 26))
    path = tflite.export(model, tmp_path / "m.tflite", recipe, calibration=x).path
    imported = models.from_tflite(path)
    assert imported.count_params() == model.count_params()
    allowed = {"float32": 1e-5, "float16": 1e-3}.get(recipe, 0.05)
    assert np.abs(imported(x) - model(x)).max() < allowed
    assert np.std(model(x)) > 0.01


def test_ranges_of_a_file_are_exact(tmp_path):
    model, x = network(), images((30, 26))
    path = tflite.export(quantize.observe(quantize.prepare(model), x), tmp_path / "m.tflite", "int8", data=x).path
    prepared = models.from_tflite(path, ranges="from_file")
    np.testing.assert_array_equal(prepared(x), tflite.predict(path, x))
    assert tflite.export(prepared, tmp_path / "again.tflite", "int8", data=x).max_error == 0
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(models.from_tflite(path)(x), tflite.predict(path, x))


@pytest.mark.parametrize("padding", ["explicit", "same"])
def test_inverted_residuals_load(padding, tmp_path):
    model, x = blocks(padding), images((30, 26))
    path = tflite.export(model, tmp_path / "m.tflite").path
    imported = models.from_tflite(path)
    assert imported.count_params() == model.count_params()
    np.testing.assert_allclose(imported(x), model(x), atol=1e-5)
    assert np.std(model(x)) > 0.01
    alone = tuple(each._replace(residual=False) if isinstance(each, InvertedResidual) else each for each in BLOCKS)
    with pytest.raises(ValueError, match="the file's 3 residual sums, got 0") as error:
        weights.load_tflite(blocks(padding, alone), path)
    assert_sentence(error.value, "model")


def test_ranges_of_inverted_residuals_are_exact(tmp_path):
    """Those of the sums too."""
    model, x = blocks(), images((30, 26))
    path = tflite.export(quantize.observe(quantize.prepare(model), x), tmp_path / "m.tflite", "int8", data=x).path
    prepared = models.from_tflite(path, ranges="from_file")
    np.testing.assert_array_equal(prepared(x), tflite.predict(path, x))


PADDINGS = ("same", "keras", "explicit")


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size", [(30, 26), (33, 41)])
def test_padding_rule_is_detected(padding, size, tmp_path):
    """Rules that agree on images of this size are one; a model by another is refused."""
    model, x = network(size, padding=padding), images(size, 2)
    path = tflite.export(model, tmp_path / "m.tflite").path
    np.testing.assert_allclose(models.from_tflite(path)(x), model(x), atol=1e-5)
    different = []
    for rule in PADDINGS:
        other = network(size, padding=rule)
        if np.abs(other(x) - model(x)).max() < 1e-5:
            weights.load_tflite(other, path)
            continue
        different.append(rule)
        with pytest.raises(ValueError, match="padding") as error:
            weights.load_tflite(other, path)
        assert_sentence(error.value, "model")
    assert different


@pytest.mark.parametrize(
    "options",
    [
        {"classes": None},
        {"classifier_activation": None},
        {"arg_scope": models.mobilenet_v1_arg_scope(activation="relu")},
        {"conv_defs": (Conv(3, 1, 4), DepthSepConv(3, 2, 5, rate=3))},
    ],
)
def test_other_depthwise_separable_networks_load(options, tmp_path):
    model, x = network(**options), images((30, 26))
    path = tflite.export(model, tmp_path / "m.tflite").path
    np.testing.assert_allclose(models.from_tflite(path)(x), model(x), atol=2e-5)


def test_background_class_is_dropped(tmp_path):
    model, x = network(classifier_activation=None), images((30, 26))
    path = tflite.export(model, tmp_path / "m.tflite").path
    six = network(classes=6, classifier_activation=None, seed=1)
    weights.load_tflite(six, path, background="drop")
    np.testing.assert_allclose(six(x), model(x)[:, 1:], atol=1e-5)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        weights.load_tflite(six, path, background="first")
    assert_sentence(error.value, "background")


def test_weights_load_into_equivalent_networks(tmp_path):
    """Into a model with another epsilon, and into one without normalization."""
    model, x = network(), images((30, 26))
    path = tflite.export(model, tmp_path / "m.tflite").path
    other = network(seed=1, arg_scope=models.mobilenet_v1_arg_scope(batch_norm_epsilon=0.5))
    weights.load_tflite(other, path)
    np.testing.assert_allclose(other(x), model(x), atol=1e-5)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tflite.export(network(), tmp_path_factory.mktemp("weights") / "m.tflite").path


def refused(model, path, *phrases):
    before = model.get_weights()
    with pytest.raises(ValueError) as error:  # noqa: PT011
        weights.load_tflite(model, path)
    assert all(phrase in str(error.value) for phrase in phrases), error.value
    assert "\n" not in str(error.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_helper_refused_fails_for_an_accepted_file_and_a_missing_phrase(file):
    with pytest.raises(pytest.fail.Exception):
        refused(network(), file)
    with pytest.raises(AssertionError):
        refused(network(classes=6), file, "no such words")


def test_other_models_are_refused_and_unchanged(file):
    refused(network(classes=6), file, "kernel (1, 1, 9, 7) for (1, 1, 9, 6)")
    refused(network(conv_defs=CUSTOM[:3]), file, "7 layers with kernels for 6", "kernel")
    refused(network(conv_defs=(Conv(3, 1, 6), *CUSTOM[1:])), file, "the file's stride (2, 2)")
    dense = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 3)])
    refused(dense, file, "expected convolutions, depthwise ones")


FOREIGN = {
    "dense": keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)]),
    "max pooling": keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.MaxPooling2D()]),
    "two inputs": None,
    "no mean": keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]),
    "depthwise alone": keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.DepthwiseConv2D(3), keras.layers.GlobalAveragePooling2D()]
    ),
    "other padding": keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    ),
}


def chain(*operations):
    """A network whose operations take what is before them, and all that was."""
    inputs = keras.Input((8, 8, 4))
    results = [inputs]
    for operation in operations:
        results.append(operation(results))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(results[-1]))


def _convolved(size, activation=None, layer=keras.layers.Conv2D):
    arguments = () if layer is keras.layers.DepthwiseConv2D else (4,)
    return lambda results: layer(*arguments, size, padding="same", activation=activation)(results[-1])


def _added(place, activation=False):
    def add(results):
        total = keras.layers.Add()([results[-1], results[place]])
        return keras.layers.ReLU()(total) if activation else total

    return add


DEPTHWISE = _convolved(3, "relu", keras.layers.DepthwiseConv2D)
FOREIGN |= {
    "a sum over a convolution": chain(_convolved(3, "relu"), _convolved(3, "relu"), _added(-2)),
    "a sum over two blocks": chain(*[_convolved(3, "relu"), *[DEPTHWISE, _convolved(1)] * 2, _added(1)]),
    "an activation behind a sum": chain(_convolved(3, "relu"), DEPTHWISE, _convolved(1), _added(1, True)),
    "a sum with itself": chain(_convolved(3, "relu"), DEPTHWISE, _convolved(1), _added(-1)),
    "a sum behind an activation": chain(_convolved(3, "relu"), DEPTHWISE, _convolved(1, "relu"), _added(1)),
    "a network of other activations": chain(_convolved(3, "relu"), _convolved(3, "relu6")),
}
a, b = keras.Input((4, 4, 3)), keras.Input((4, 4, 3))
FOREIGN["two inputs"] = keras.Model([a, b], keras.layers.Add()([a, b]))


@pytest.mark.parametrize("case", FOREIGN)
def test_other_networks_are_refused(case, tmp_path):
    path = tflite.export(FOREIGN[case], tmp_path / "m.tflite").path
    with pytest.raises(ValueError, match=r"expected a MobileNet v1 or v2, got .* with ") as error:
        models.from_tflite(path)
    assert_sentence(error.value, "path")


def test_damaged_files(file, tmp_path):
    whole = file.read_bytes()
    for content in (b"", whole[:-1000], whole[:4] + b"TFL2" + whole[8:], b"\xff" * 200):
        (tmp_path / "bad.tflite").write_bytes(content)
        with pytest.raises(ValueError) as error:  # noqa: PT011
            models.from_tflite(tmp_path / "bad.tflite")
        assert_sentence(error.value, "path")


def test_ranges_from_a_float_file_are_refused(file):
    for ranges in ("from_file", "from_data"):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            models.from_tflite(file, ranges=ranges)
        assert_sentence(error.value, "ranges")


def overlapping(outer, inner):
    """A file of a few hundred kilobytes that claims outer × inner tensors, all of which are one."""
    builder = flatbuffers.Builder(0)

    def repeated(offset, count):
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    schema.TensorStart(builder)
    tensors = repeated(schema.TensorEnd(builder), inner)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graphs = repeated(schema.SubGraphEnd(builder), outer)
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(("outer", "inner"), [(40_000, 40_000), (1, 250_000)])
def test_oversized_claims_are_refused_at_once(outer, inner):
    with pytest.raises(ValueError, match=r"damaged \(more than .* tables\)") as error:
        unpack(overlapping(outer, inner), "small.tflite")
    assert_sentence(error.value, "path")


def test_given_qparams_are_kept_to_the_last_bit():
    rng = np.random.default_rng(0)
    layer = quantize.ActivationQuantizer()
    layer.build(None)
    for scale, zero in zip(
        np.exp(rng.uniform(-12, 5, 300)).astype("float32"), rng.integers(-128, 128, 300), strict=True
    ):
        layer.set_qparams(scale, int(zero))
        assert layer.qparams() == (float(scale), zero)
    for scale, zero in ((0.0, 0), (-1.0, 0), (np.nan, 0), (1.0, 128), (1.0, -129)):
        with pytest.raises(ValueError, match="scale, zero: expected the quantization parameters of a range"):
            layer.set_qparams(scale, zero)


def test_channel_of_zero_weights_is_exact(tmp_path):
    """Its bias does not fit 32 bits at the smallest scale of a kernel, so the converter widens that."""
    model, x = network(classes=None, conv_defs=CUSTOM[:1]), images((30, 26))
    kernel, beta = model.weights[0], model.weights[2]
    kernel.assign(np.asarray(kernel) * [0, 0, 0, 1, 1, 1, 1, 1])
    beta.assign([1.3, -0.7, 0.02, 0.5, 0.1, -0.2, 0.3, -0.4])
    prepared = quantize.observe(quantize.prepare(model), x)
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=x).max_error == 0

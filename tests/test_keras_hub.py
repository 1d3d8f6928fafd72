"""Models of keras-hub, the extra ``keras-hub``, of small sizes: folded, exported, prepared, and left as they were."""

import keras
import numpy as np
import pytest
from checks import assert_close

from tfsep import quantize, surgery, tflite

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SHAPE = (32, 32, 3)
LARGER = (64, 64, 3)


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub").models


def residual(hub, shape, *blocks, kind="basic_block", **options):
    """A ResNet of stages of one block; keras-hub wants the first one to have 64 filters."""
    strides = [1, *[2] * (len(blocks) - 1)]
    return hub.ResNetBackbone([64], [3], blocks, [1] * len(blocks), strides, kind, image_shape=shape, **options)


def mix_transformer(hub, shape):
    return hub.MiTBackbone(
        layerwise_depths=[1, 1, 1, 1],
        num_layers=4,
        layerwise_num_heads=[1, 2, 2, 4],
        layerwise_sr_ratios=[8, 4, 2, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        image_shape=shape,
        hidden_dims=[8, 12, 16, 20],
    )


def segformer(hub):
    backbone = hub.SegFormerBackbone(image_encoder=mix_transformer(hub, LARGER), projection_filters=16)
    return hub.SegFormerImageSegmenter(backbone=backbone, num_classes=4)


def deeplab(hub):
    backbone = hub.DeepLabV3Backbone(
        image_encoder=residual(hub, LARGER, 64, 16, 16),
        spatial_pyramid_pooling_key="P4",
        upsampling_size=4,
        dilation_rates=[2, 4],
        low_level_feature_key="P2",
        projection_filters=8,
        image_shape=LARGER,
    )
    return hub.DeepLabV3ImageSegmenter(backbone=backbone, num_classes=4)


def densenet(hub):
    backbone = hub.DenseNetBackbone([1, 1], image_shape=SHAPE, growth_rate=8)
    return hub.DenseNetImageClassifier(backbone=backbone, num_classes=3)


def resnet(hub):
    return hub.ResNetImageClassifier(backbone=residual(hub, SHAPE, 64, 16, use_pre_activation=True), num_classes=3)


def bottlenecks(hub):
    backbone = residual(hub, SHAPE, 64, 16, kind="bottleneck_block")
    return hub.ResNetImageClassifier(backbone=backbone, num_classes=3)


def mobilenet(hub):
    backbone = hub.MobileNetBackbone(
        stackwise_expansion=[[24], [24, 24]],
        stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[8], [16, 16]],
        stackwise_kernel_size=[[3], [5, 5]],
        stackwise_num_strides=[[2], [2, 1]],
        stackwise_se_ratio=[[None], [0.25, 0.25]],
        stackwise_activation=[["relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1], [2, 2]],
        output_num_filters=32,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        last_layer_filter=32,
        squeeze_and_excite=0.5,
        image_shape=SHAPE,
        input_num_filters=8,
    )
    return hub.MobileNetImageClassifier(backbone=backbone, num_classes=3)


def efficientnet(hub):
    backbone = hub.EfficientNetBackbone(
        stackwise_kernel_sizes=[3, 3],
        stackwise_num_repeats=[1, 1],
        stackwise_input_filters=[16, 8],
        stackwise_output_filters=[8, 16],
        stackwise_expansion_ratios=[1, 4],
        stackwise_strides=[1, 2],
        stackwise_block_types=["v1", "v1"],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25],
        stackwise_force_input_filters=[0, 0],
        stackwise_nores_option=[False, False],
        width_coefficient=1.0,
        depth_coefficient=1.0,
        num_features=32,
        input_shape=SHAPE,
    )
    return hub.EfficientNetImageClassifier(backbone=backbone, num_classes=3)


def xception(hub):
    backbone = hub.XceptionBackbone([[8, 8], [16, 16]], [True, False], image_shape=SHAPE)
    return hub.XceptionImageClassifier(backbone=backbone, num_classes=3)


def hgnet(hub):
    stages = [[8, 8, 16, 1, 1, 3], [16, 8, 32, 1, 1, 3]]
    options = [stages, [False, True], [False, False]]
    backbone = hub.HGNetV2Backbone([1, 1], 8, [16, 32], [3, 8, 8], "relu", False, *options, image_shape=SHAPE)
    return hub.HGNetV2ImageClassifier(backbone=backbone, preprocessor=None, num_classes=3)


def vision_transformer(hub):
    return hub.ViTImageClassifier(backbone=hub.ViTBackbone(SHAPE, (8, 8), 1, 2, 16, 32), num_classes=3)


def windows(hub):
    return hub.SwinTransformerBackbone(SHAPE, 8, [1, 1], [1, 2], 4, patch_size=2)


def pyramid(hub):
    """Several outputs by name."""
    return hub.RetinaNetBackbone(residual(hub, LARGER, 64, 8, 8, 8), 3, 5, False, image_shape=LARGER)


def bert(hub):
    return hub.BertTextClassifier(backbone=hub.BertBackbone(50, 1, 2, 16, 32, max_sequence_length=64), num_classes=2)


def distil_bert(hub):
    """Calls its attention by keywords, a mask among them."""
    return hub.DistilBertBackbone(50, 1, 2, 16, 32, max_sequence_length=64)


def gpt2(hub):
    return hub.GPT2Backbone(50, 1, 2, 16, 32, max_sequence_length=64)


MODELS = {
    make.__name__: make
    for make in (
        *(segformer, deeplab, densenet, resnet, bottlenecks, mobilenet, efficientnet, xception, hgnet),
        *(vision_transformer, windows, pyramid, bert, distil_bert, gpt2),
    )
}

FLOAT_LAYERS = {"resnet": ["pool1_pool"]}
"""A pooling of what is padded with minus infinity, which has no range."""

LENGTH = 12


def samples(model, count):
    """Images, or token ids with what stands beside them."""
    rng = np.random.default_rng(0)
    if not isinstance(model.input, dict):
        return rng.normal(size=(count, *model.input.shape[1:])).astype("float32")
    given = {"padding_mask": np.ones, "segment_ids": np.zeros, "token_ids": lambda shape, _: rng.integers(1, 50, shape)}
    return {name: given[name]((count, LENGTH), "int32").astype("int32") for name in model.input}


def filled(model):
    """The model with statistics and scales as of training."""
    for variable in model.variables:
        rng = np.random.default_rng(sum(variable.path.encode()))
        if "variance" in variable.path or "gamma" in variable.path:
            variable.assign(rng.uniform(0.6, 1.5, variable.shape))
        elif "moving_mean" in variable.path or "beta" in variable.path:
            variable.assign(rng.normal(0, 0.2, variable.shape))
    return model


def assert_near(actual, expected, tolerance):
    """Assert a relative distance of each output."""
    pairs = zip(keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True)
    for own, right in pairs:
        assert np.sqrt(np.mean(np.square(own - right))) <= tolerance * np.std(right)


@pytest.mark.parametrize("name", MODELS)
def test_models_of_keras_hub(name, hub, tmp_path):
    keras.utils.set_random_seed(0)
    model = filled(MODELS[name](hub))
    x = samples(model, 16)
    sizes = dict.fromkeys(model.input, (LENGTH,)) if isinstance(x, dict) else None
    expected, before = model.predict(x, verbose=0), [np.array(variable) for variable in model.variables]

    folded = surgery.fold_batch_norm(model)
    assert_near(folded.predict(x, verbose=0), expected, 1e-5)
    report = tflite.export(model, tmp_path / "m.tflite", data=x, input_shape=sizes)
    found = keras.tree.flatten(tflite.predict(report.path, x))
    for own, right in zip(found, keras.tree.flatten(expected), strict=True):
        assert_close(own, right, 1e-4)
    prepared = quantize.observe(quantize.prepare(model, float_layers=FLOAT_LAYERS.get(name, ())), x)
    assert_near(prepared.predict(x, verbose=0), expected, 0.3)
    exported = tflite.export(prepared, tmp_path / "q.tflite", "int8", data=x, input_shape=sizes)
    assert exported.verification.passed
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("name", ["segformer", "deeplab"])
def test_maps_are_as_near_as_float32_is(name, hub, tmp_path):
    """Of interpolated maps: 100 dB and more, where a resize of other rules is below 30."""
    keras.utils.set_random_seed(0)
    model = filled(MODELS[name](hub))
    x = samples(model, 2)
    expected = model.predict(x, verbose=0)
    found = tflite.predict(tflite.export(model, tmp_path / "m.tflite", data=x).path, x)
    assert 10 * np.log10(np.var(expected) / np.mean(np.square(found - expected))) > 100

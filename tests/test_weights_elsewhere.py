"""Weights of keras.applications and PyTorch: the same logits as theirs, by their padding and their normalization."""

from dataclasses import replace
from functools import partial
from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence, assert_unchanged, in_part, state_of

from tfsep import Conv, DepthSepConv, models, weights
from tfsep.defs import NETWORKS
from tfsep.weights._torch_modules import forward_order

DEFS = (Conv(3, 2, 5), DepthSepConv(3, 1, 6), DepthSepConv(3, 2, 7))
OF_TENSORFLOW = {"epsilon": 1e-3, "padding": "same"}
"""What a state dict of TensorFlow's weights does not say."""


def randomized(model, seed=0):
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        low, high = (0.5, 1.5) if variable.name in ("gamma", "moving_variance") else (-0.3, 0.3)
        variable.assign(rng.uniform(low, high, variable.shape))
    return model


def scaled(model):
    """A randomized deep network whose results are of the order of one: kernels by the number of their inputs."""
    for variable in randomized(model).weights:
        if variable.name == "kernel":
            inputs = np.prod(variable.shape[:2] if variable.shape[-1] == 1 else variable.shape[:-1])
            variable.assign(variable * 4 / np.sqrt(inputs))
    return model


def applications(size=(64, 64), alpha=0.25, classes=10, **options):
    return randomized(
        keras.applications.MobileNet(
            (*size, 3), alpha=alpha, weights=None, classes=classes, classifier_activation=None, **options
        )
    )


def ours(size=(64, 64), alpha=0.25, classes=10, padding="keras", **options):
    return models.MobileNetV1((*size, 3), classes, alpha, padding=padding, classifier_activation=None, **options)


def images(size, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (2, *size, 3)).astype("float32")


@pytest.mark.parametrize("size", [(64, 64), (75, 61)])
def test_logits_of_keras_applications(size):
    theirs, model, x = applications(size), ours(size), images(size)
    before = state_of(theirs)
    weights.load_keras_applications(model, theirs)
    assert_unchanged(theirs, before)
    np.testing.assert_allclose(model(x), theirs(x), atol=1e-4)
    assert np.std(theirs(x)) > 1e-2


def test_other_epsilon_is_converted():
    theirs, x = applications(), images((64, 64))
    model = ours(arg_scope=models.mobilenet_v1_arg_scope(batch_norm_epsilon=0.3))
    weights.load_keras_applications(model, theirs)
    np.testing.assert_allclose(model(x), theirs(x), atol=1e-4)


@pytest.mark.parametrize("alpha", in_part([0.25, 0.1, 0.35], 3))
def test_files_of_keras_applications_load(alpha, tmp_path):
    """Keras rounds the filters of a width down, layer by layer."""
    theirs, x = applications(alpha=alpha), images((64, 64))
    theirs.save(tmp_path / "m.keras")
    theirs.save_weights(tmp_path / "m.weights.h5")
    for name in ("m.keras", "m.weights.h5"):
        model = ours(alpha=alpha, min_depth=1)
        weights.load_keras_applications(model, tmp_path / name)
        np.testing.assert_allclose(model(x), theirs(x), atol=1e-4)


def test_other_padding_changes_the_logits():
    theirs = applications((75, 61))
    for padding in ("same", "explicit"):
        with pytest.raises(ValueError, match="by padding='keras'") as error:
            weights.load_keras_applications(ours((75, 61), padding=padding), theirs)
        assert_sentence(error.value, "model")
    weights.load_keras_applications(ours((64, 64), padding="same"), applications((64, 64)))
    with pytest.raises(ValueError, match="padding"):
        weights.load_keras_applications(ours((None, None), padding="same"), applications((64, 64)))


def applications_v2(size, alpha=0.35, **options):
    if None in size:  # Keras has no classifier then
        options = {"include_top": False, "pooling": "avg", **options}
    else:
        options = {"classes": 10, "classifier_activation": None, **options}
    return scaled(keras.applications.MobileNetV2((*size, 3), alpha=alpha, weights=None, **options))


def ours_v2(size, alpha=0.35, classes=10, padding="same"):
    return models.MobileNetV2((*size, 3), classes, alpha, padding=padding, classifier_activation=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "built", "alpha", "padding"),
    [
        ((37, 48), (None, None), 0.35, "keras"),
        ((None, None), (32, 32), 0.35, "same"),
        ((32, 32), (32, 32), 0.5, "keras"),
        ((37, 48), (37, 48), 0.35, "same"),
        ((32, 32), (32, 32), 0.75, "same"),
        ((32, 32), (32, 32), 1.0, "same"),
        ((32, 32), (32, 32), 1.3, "same"),
        ((32, 32), (32, 32), 1.4, "same"),
    ],
)
def test_logits_of_mobilenet_v2(size, built, alpha, padding):
    """Keras's pads images of a known size as SAME does, and others as if the stride divided it."""
    theirs = applications_v2(built, alpha)
    model = ours_v2(size, alpha, None if None in built else 10, padding)
    weights.load_keras_applications(model, theirs)
    x = images(tuple(side or known for side, known in zip(size, built, strict=True)))
    np.testing.assert_allclose(model(x), theirs(x), atol=1e-4)
    assert np.std(theirs(x)) > 1e-2


def test_mobilenet_v2_of_keras_and_under_the_names_of_timm():
    """With the padding and epsilon of timm's ``tf_`` networks."""
    size, alpha = (37, 48), 0.62
    theirs, model, x = applications_v2(size, alpha), ours_v2(size, alpha), images(size)
    expected = theirs(x)
    state = state_of_keras(theirs, modules_of_mobilenet_v2()["timm"])
    for load, source, options in (
        (weights.load_keras_applications, theirs, {}),
        (weights.load_torch, dict(sorted(state.items())), OF_TENSORFLOW),
    ):
        randomized(model, 5)
        load(model, source, **options)
        np.testing.assert_allclose(model(x), expected, atol=1e-4)
    assert np.std(expected) > 1e-2
    refused(weights.load_keras_applications, model, dense())
    for load, options, argument in (
        (weights.load_keras_applications, {}, "model"),
        (weights.load_torch, {"padding": "same"}, "model"),
        (weights.load_torch, {"padding": "valid"}, "padding"),
    ):
        with pytest.raises(ValueError, match="same") as error:
            load(ours_v2(size, alpha, padding="explicit") if not options else torchlike(), theirs, **options)
        assert_sentence(error.value, argument)


def applications_v3(size, alpha=1.0, minimalistic=False, large=False, **options):
    make = keras.applications.MobileNetV3Large if large else keras.applications.MobileNetV3Small
    given = {"alpha": alpha, "minimalistic": minimalistic, "weights": None, "classes": 10, **options}
    return scaled(make((*size, 3), classifier_activation=None, **given))


def ours_v3(size, alpha=1.0, minimalistic=False, large=False):
    make = models.MobileNetV3Large if large else models.MobileNetV3Small
    return make((*size, 3), 10, alpha, minimalistic=minimalistic, classifier_activation=None)


@pytest.mark.parametrize(
    ("alpha", "minimalistic", "large"),
    in_part([(0.75, False, False), *product((0.75, 1.0), (False, True), (False, True))], 99),
)
def test_mobilenet_v3_with_its_preprocessing_inside_or_not(alpha, minimalistic, large, tmp_path):
    """The gates of squeeze-and-excite have biases, and no normalization."""
    size, form = (45, 64), (alpha, minimalistic, large)
    theirs, model, x = applications_v3(size, *form), ours_v3(size, *form), images(size)
    theirs.save_weights(tmp_path / "m.weights.h5")
    expected = theirs((x + 1) * 127.5)
    weights.load_keras_applications(model, tmp_path / "m.weights.h5")
    np.testing.assert_allclose(model(x), expected, atol=1e-4)
    assert np.std(expected) > 1e-2


@pytest.mark.slow
def test_mobilenet_v3_without_preprocessing_and_of_other_forms():
    theirs, x = applications_v3((64, 64), include_preprocessing=False), images((64, 64))
    model = ours_v3((64, 64))
    weights.load_keras_applications(model, theirs)
    np.testing.assert_allclose(model(x), theirs(x), atol=1e-4)
    for other in (ours_v3((64, 64), minimalistic=True), ours_v3((64, 64), large=True), ours_v3((64, 64), 0.75)):
        refused(weights.load_keras_applications, other, theirs)
    # Keras's first convolution has 16 filters at every width.
    refused(weights.load_keras_applications, ours_v3((64, 64), 0.5), applications_v3((64, 64), 0.5))


def modules_of_mobilenet_v2():
    """The modules of each stage of three packages' networks, in the order of the forward pass."""
    timm, torchvision, efficientnet = [("conv_stem", "bn1")], [("features.0.0", "features.0.1")], []
    efficientnet.append(("_conv_stem", "_bn0"))
    for i, (stage, block) in enumerate((s, b) for s, count in enumerate((1, 2, 3, 4, 3, 3, 1)) for b in range(count)):
        kinds = ("conv_pw", "conv_dw", "conv_pwl") if stage else ("conv_dw", "conv_pw")
        timm += [
            (f"blocks.{stage}.{block}.{kind}", f"blocks.{stage}.{block}.bn{n + 1}") for n, kind in enumerate(kinds)
        ]
        last = len(kinds) - 1
        within = [(f"conv.{n}.0", f"conv.{n}.1") for n in range(last)] + [(f"conv.{last}", f"conv.{last + 1}")]
        torchvision += [tuple(f"features.{i + 1}.{part}" for part in pair) for pair in within]
        within = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))[2 - last :]
        efficientnet += [tuple(f"_blocks.{i}.{part}" for part in pair) for pair in within]
    timm += [("conv_head", "bn2"), ("classifier",)]
    torchvision += [("features.18.0", "features.18.1"), ("classifier.1",)]
    efficientnet += [("_conv_head", "_bn1"), ("_fc",)]
    return {"timm": timm, "torchvision": torchvision, "efficientnet_pytorch": efficientnet}


TIMM_BLOCKS = {
    "mobilenetv3": "conv_pw bn1 conv_dw bn2 se.conv_reduce se.conv_expand conv_pwl bn3",
    "its first block": "conv_dw bn1 se.conv_reduce se.conv_expand conv_pw bn2",
    "mobilenetv4": "dw_start.conv dw_start.bn pw_exp.conv pw_exp.bn dw_mid.conv dw_mid.bn pw_proj.conv pw_proj.bn",
    "a convolution": "conv bn1",
    "a fused block": "conv_exp bn1 conv_pwl bn2",
    "torchvision's mobilenet_v3": "0.0 0.1 1.0 1.1 2.fc1 2.fc2 3.0 3.1",
}


@pytest.mark.parametrize("case", [*modules_of_mobilenet_v2(), *TIMM_BLOCKS])
def test_modules_are_sorted_whatever_their_order_in_the_state(case):
    whole = modules_of_mobilenet_v2().get(case)
    names = [name for stage in whole for name in stage] if whole else TIMM_BLOCKS[case].split()
    for seed in range(3):
        assert forward_order(np.random.default_rng(seed).permutation(names).tolist()) == names
    with pytest.raises(ValueError, match="unknown") as error:
        forward_order([*names, "unknown"])
    assert_sentence(error.value, "source")


def state_of_keras(theirs, names):
    """The weights of a Keras network under the names of modules, as PyTorch lays them out."""
    state, pairs = {}, iter(names)
    for layer in theirs.layers:
        values = {variable.name: variable.numpy() for variable in layer.weights}
        match layer:
            case keras.layers.DepthwiseConv2D():
                pair = next(pairs)
                state[f"{pair[0]}.weight"] = values["kernel"].transpose(2, 3, 0, 1)
            case keras.layers.Conv2D():
                pair = next(pairs)
                state[f"{pair[0]}.weight"] = values["kernel"].transpose(3, 2, 0, 1)
            case keras.layers.Dense():
                pair = next(pairs)
                state[f"{pair[0]}.weight"], state[f"{pair[0]}.bias"] = values["kernel"].T, values["bias"]
            case keras.layers.BatchNormalization():
                renamed = ("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean")
                for theirs_name, name in (*renamed, ("running_var", "moving_variance")):
                    state[f"{pair[1]}.{theirs_name}"] = values[name]
    assert next(pairs, None) is None
    return state


def test_networks_that_keras_applications_lacks():
    own = models.from_definitions(DEFS, (32, 32, 3), 4)
    for model in (own, keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])):
        with pytest.raises(ValueError, match="expected the layers of MobileNet v1, MobileNet v2") as error:
            weights.load_keras_applications(model, "imagenet")
        assert_sentence(error.value, "model")


def test_imagenet_weights_offline_are_refused(monkeypatch):
    def offline(*args, **kwargs):
        raise Exception("URL fetch failure on https://somewhere: None -- [Errno -2]")

    monkeypatch.setattr(keras.applications, "MobileNet", offline)
    with pytest.raises(ConnectionError) as error:
        weights.load_keras_applications(ours(classes=1000), "imagenet")
    assert_sentence(error.value, "source")


def test_imagenet_weights_with_other_classes():
    with pytest.raises(ValueError, match="such weights") as error:
        weights.load_keras_applications(ours(), "imagenet")
    assert_sentence(error.value, "source")


def refused(load, model, source, kind=ValueError):
    before = model.get_weights()
    with pytest.raises(kind) as error:
        load(model, source)
    assert_sentence(error.value, "source")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_helper_refused_fails_for_an_accepted_source():
    with pytest.raises(pytest.fail.Exception):
        refused(weights.load_keras_applications, ours(), applications())


def test_other_models_than_keras_applications_are_refused(tmp_path):
    load = weights.load_keras_applications
    refused(load, ours(), applications(classes=11))
    refused(load, ours(), applications(alpha=0.5))
    refused(load, ours(), dense())
    refused(load, ours(), None, TypeError)
    refused(load, ours(), tmp_path / "none.keras", FileNotFoundError)
    for name in ("m.keras", "m.weights.h5", "m.txt"):
        (tmp_path / name).write_bytes(b"none of it")
        refused(load, ours(), tmp_path / name)


def dense():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


EPSILON = 1e-5


def state_dict(names, seed=0):
    """Random parameters of DEFS with 4 classes, as PyTorch lays them out, under the names of modules."""
    rng = np.random.default_rng(seed)
    shapes = [(5, 3, 3, 3), (5, 1, 3, 3), (6, 5, 1, 1), (6, 1, 3, 3), (7, 6, 1, 1)]
    state = {}
    for shape, (convolution, normalization) in zip(shapes, names[:-1], strict=True):
        state[f"{convolution}.weight"] = rng.uniform(-0.5, 0.5, shape)
        for name in ("weight", "bias", "running_mean", "running_var"):
            low = 0.3 if name == "running_var" else -0.5
            state[f"{normalization}.{name}"] = rng.uniform(low, 1, shape[0])
        state[f"{normalization}.num_batches_tracked"] = np.int64(3)
    state[f"{names[-1]}.weight"] = rng.uniform(-0.5, 0.5, (4, 7))
    state[f"{names[-1]}.bias"] = rng.uniform(-0.5, 0.5, 4)
    return {name: np.asarray(value, "float32" if np.ndim(value) else "int64") for name, value in state.items()}


SEQUENTIAL = [*((f"model.{i}.0", f"model.{i}.1") for i in range(5)), "fc"]
TIMM = [
    ("conv_stem", "bn1"),
    *(
        (f"blocks.{i}.0.conv_{kind}", f"blocks.{i}.0.bn{number}")
        for i in (0, 10)
        for kind, number in (("dw", 1), ("pw", 2))
    ),
    "classifier",
]


def by_loops(state, names, x):
    """The network in float64, from OIHW, one output element at a time."""
    y = np.moveaxis(x.astype("float64"), -1, 1)
    for (convolution, normalization), stride in zip(names[:-1], (2, 1, 1, 2, 1), strict=True):
        kernel = state[f"{convolution}.weight"].astype("float64")
        side = kernel.shape[2] // 2
        padded = np.pad(y, [(0, 0), (0, 0), (side, side), (side, side)])
        rows, columns = ((n - 1) // stride + 1 for n in y.shape[2:])
        z = np.zeros((len(y), len(kernel), rows, columns))
        for f in range(len(kernel)):
            channels = slice(f, f + 1) if "dw" in convolution or (kernel.shape[1] == 1) else slice(None)
            for i in range(rows):
                for j in range(columns):
                    window = padded[:, channels, i * stride :, j * stride :][..., : kernel.shape[2], : kernel.shape[3]]
                    z[:, f, i, j] = (window * kernel[f]).sum((1, 2, 3))
        own = [
            state[f"{normalization}.{n}"].astype("float64") for n in ("weight", "bias", "running_mean", "running_var")
        ]
        gamma, beta, mean, variance = (v[:, None, None] for v in own)
        y = np.clip(gamma * (z - mean) / np.sqrt(variance + EPSILON) + beta, 0, 6)
    return y.mean((2, 3)) @ state[f"{names[-1]}.weight"].T.astype("float64") + state[f"{names[-1]}.bias"]


def torchlike(size=(9, 8), classes=4, padding="explicit", **options):
    return models.MobileNetV1(
        (*size, 3), classes, conv_defs=DEFS, min_depth=1, padding=padding, classifier_activation=None, **options
    )


@pytest.mark.parametrize("names", [SEQUENTIAL, TIMM], ids=["sequential", "timm"])
@pytest.mark.parametrize("form", ["dict", "sorted", "wrapped", "safetensors"])
def test_logits_of_torch(names, form, tmp_path):
    state = state_dict(names)
    source = {
        "dict": state,
        "sorted": dict(sorted(state.items())),
        "wrapped": {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}},
        "safetensors": tmp_path / "m.safetensors",
    }[form]
    if form == "safetensors":
        from safetensors.numpy import save_file

        save_file(state, source)
    model, x = torchlike(), images((9, 8))
    weights.load_torch(model, source)
    np.testing.assert_allclose(model(x), by_loops(state, names, x), atol=1e-5)


def test_other_epsilon_and_padding_change_the_result():
    state, x = state_dict(TIMM), images((9, 8))
    model = torchlike()
    weights.load_torch(model, state, epsilon=0.1)
    assert np.abs(model(x) - by_loops(state, TIMM, x)).max() > 1e-3
    with pytest.raises(ValueError, match="padding='explicit'") as error:
        weights.load_torch(torchlike(padding="same"), state)
    assert_sentence(error.value, "model")


def test_files_written_by_torch(tmp_path):
    torch = pytest.importorskip("torch")
    state, x = state_dict(TIMM), images((9, 8))
    torch.save({name: torch.from_numpy(value) for name, value in state.items() if value.ndim}, tmp_path / "m.pt")
    model = torchlike()
    weights.load_torch(model, tmp_path / "m.pt")
    np.testing.assert_allclose(model(x), by_loops(state, TIMM, x), atol=1e-5)


def with_whole_stem(key, alpha):
    """A network whose first convolution a width multiplier leaves as it is, as in some of timm's."""
    stem, *others = NETWORKS[key].conv_defs
    network = replace(NETWORKS[key], conv_defs=(stem._replace(depth=round(stem.depth / alpha)), *others))
    return partial(models.from_definitions, network)


small, large = models.MobileNetV3Small, models.MobileNetV3Large
PACKAGES = {
    **{f"timm mobilenetv2_{100 * a:03.0f}": (models.MobileNetV2, a, {}) for a in (0.35, 0.5, 0.75, 1.0, 1.4)},
    "torchvision mobilenet_v2": (models.MobileNetV2, 1.0, {}),
    "timm mobilenetv3_small_100": (small, 1.0, {}),
    "timm mobilenetv3_small_075": (small, 0.75, {}),
    "timm mobilenetv3_small_050": (with_whole_stem("mobilenet_v3_small", 0.5), 0.5, {}),
    "timm mobilenetv3_large_100": (large, 1.0, {}),
    "timm mobilenetv3_large_075": (large, 0.75, {}),
    "timm tf_mobilenetv3_small_075": (small, 0.75, OF_TENSORFLOW),
    "timm tf_mobilenetv3_large_100": (large, 1.0, OF_TENSORFLOW),
    "timm tf_mobilenetv3_small_minimal_100": (partial(small, minimalistic=True), 1.0, OF_TENSORFLOW),
    "timm tf_mobilenetv3_large_minimal_100": (partial(large, minimalistic=True), 1.0, OF_TENSORFLOW),
    "torchvision mobilenet_v3_small": (small, 1.0, {"epsilon": 1e-3}),
    "torchvision mobilenet_v3_large": (large, 1.0, {"epsilon": 1e-3}),
    **{f"timm efficientnet_lite{i}": (getattr(models, f"EfficientNetLite{i}"), 1.0, {}) for i in range(5)},
    **{
        f"timm tf_efficientnet_lite{i}": (getattr(models, f"EfficientNetLite{i}"), 1.0, OF_TENSORFLOW) for i in range(5)
    },
    "timm mobilenetv4_conv_small": (models.MobileNetV4ConvSmall, 1.0, {}),
    "timm mobilenetv4_conv_small_050": (with_whole_stem("mobilenet_v4_conv_small", 0.5), 0.5, {}),
    "timm mobilenetv4_conv_small_035": (with_whole_stem("mobilenet_v4_conv_small", 0.35), 0.35, {}),
    "timm mobilenetv4_conv_medium": (models.MobileNetV4ConvMedium, 1.0, {}),
    "timm mobilenetv4_conv_large": (models.MobileNetV4ConvLarge, 1.0, {}),
}
"""Networks of timm and torchvision with this library's builder, its width, and what the state dict does not say."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_logits_of_timm_and_torchvision(name):
    """Where they are installed."""
    package, _, network = name.partition(" ")
    pytest.importorskip(package)
    if package == "timm":
        import timm

        theirs = timm.create_model(network, num_classes=7)
    else:
        import torchvision

        theirs = getattr(torchvision.models, network)(num_classes=7)
    import torch

    generator = torch.Generator().manual_seed(0)
    for tensor, value in (*theirs.named_parameters(), *theirs.named_buffers()):
        low, width = (0.5, 1.0) if tensor.endswith("running_var") else (-0.3, 0.6)
        if value.ndim > 1:
            value.data.normal_(0, (1.5 / value[0].numel()) ** 0.5, generator=generator)
        elif value.ndim:
            value.data.uniform_(0, 1, generator=generator).mul_(width).add_(low)
    build, alpha, options = PACKAGES[name]
    padding = options.get("padding", "explicit")
    model = build((45, 64, 3), 7, alpha, padding=padding, classifier_activation=None)
    weights.load_torch(model, theirs.state_dict(), **options)
    x = images((45, 64))
    with torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()
    # Residual sums without an activation grow with depth.
    np.testing.assert_allclose(model(x), expected, atol=1e-4 * max(1.0, float(np.std(expected))))
    assert np.std(expected) > 1e-2


def changed(**changes):
    return {name: value for name, value in {**state_dict(TIMM), **changes}.items() if value is not None}


STATES = {
    "missing": changed(**{"classifier.weight": None, "classifier.bias": None}),
    "unused": changed(**{"head.weight": np.zeros((4, 4), "float32")}),
    "wrongly shaped": changed(**{"conv_stem.weight": np.zeros((5, 3, 5, 5), "float32")}),
    "no depthwise kernel": changed(**{"blocks.0.0.conv_dw.weight": np.zeros((5, 5, 3, 3), "float32")}),
    "no normalization": changed(**{f"bn1.{name}": None for name in ("weight", "bias", "running_mean", "running_var")}),
    "half a normalization": changed(**{"bn1.running_var": None}),
    "a negative variance": changed(**{"bn1.running_var": np.full(5, -1, "float32")}),
    "NaN": changed(**{"bn1.bias": np.full(5, np.nan, "float32")}),
    "whole numbers": changed(**{"bn1.bias": np.zeros(5, "int32")}),
    "another parameter": changed(**{"bn1.alpha": np.zeros(5, "float32")}),
    "a name without an order": changed(**{"stem.weight": np.zeros((5, 3, 3, 3), "float32")}),
    "no tensors": changed(**{"bn1.bias": "text"}),
    "empty": {},
}


@pytest.mark.parametrize("case", STATES)
def test_mismatched_state_dicts_are_refused(case):
    refused(weights.load_torch, torchlike(), STATES[case])


class Sparse:
    """A tensor that is no array of numbers, as PyTorch's sparse ones are."""

    shape, dtype = (5,), np.dtype("float32")

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert Sparse layout tensor to numpy")


def test_unsupported_tensors():
    refused(weights.load_torch, torchlike(), changed(**{"bn1.bias": Sparse()}))


def test_bfloat16_weights():
    state, x = state_dict(TIMM), images((9, 8))
    half = {name: value.astype(tf.bfloat16.as_numpy_dtype) if value.ndim else value for name, value in state.items()}
    model, expected = torchlike(), torchlike()
    weights.load_torch(model, half)
    weights.load_torch(expected, {name: value.astype("float32") for name, value in half.items()})
    np.testing.assert_array_equal(model(x), expected(x))


def test_file_with_other_objects_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    refused(weights.load_torch, torchlike(), tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"save the model's state_dict\(\)$"):
        weights.load_torch(torchlike(), tmp_path / "m.pt")


def test_invalid_torch_files(tmp_path):
    refused(weights.load_torch, torchlike(), None, TypeError)
    refused(weights.load_torch, torchlike(), tmp_path / "none.safetensors", FileNotFoundError)
    for name in ("m.safetensors", "m.bin"):
        (tmp_path / name).write_bytes(b"\xff" * 100)
        refused(weights.load_torch, torchlike(), tmp_path / name)


@pytest.mark.parametrize(("name", "module"), [("m.safetensors", "safetensors.numpy"), ("m.pt", "torch")])
def test_missing_package(name, module, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"")
    refused(weights.load_torch, torchlike(), tmp_path / name, ImportError)


def test_model_of_another_type():
    for load in (weights.load_torch, weights.load_keras_applications, weights.load_tflite):
        with pytest.raises(TypeError) as error:
            load("a model", {})
        assert_sentence(error.value, "model")

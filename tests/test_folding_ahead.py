"""Batch normalization folded into the layers behind it, and through layers that it passes: where that is exact."""

import keras
import numpy as np
import pytest
from checks import assert_close
from test_surgery import assert_same, image, normalizations, randomized

from tfsep import layers, surgery

L = keras.layers
SHAPE = (8, 6, 4)


def n(**options):
    return L.BatchNormalization(**options)


def tripled(x):
    """An activation that only this model has."""
    return keras.ops.relu(3 * x)


STACKS = {
    # behind an activation, in front of a layer that sees no zeros
    "pointwise": [L.Conv2D(5, 3, activation="gelu"), n(), L.Conv2D(6, 1, padding="same", activation="relu")],
    "valid": [L.ReLU(), n(), L.Conv2D(6, 3, 2, use_bias=False)],
    "same, without padding": [L.ReLU(), n(), L.Conv2D(6, 2, 2, "same")],
    "groups": [L.ReLU(), n(), L.Conv2D(6, 3, groups=2)],
    "depthwise": [L.ReLU(), n(), L.DepthwiseConv2D(3, depth_multiplier=2)],
    "separable": [L.ReLU(), n(), L.SeparableConv2D(5, 3, depth_multiplier=2, use_bias=False)],
    "rows": [L.Reshape((-1, 4)), L.ReLU(), n(), L.SeparableConv1D(5, 3), L.ReLU(), n(), L.DepthwiseConv1D(3)],
    "volume": [L.Reshape((4, 4, 3, 4)), L.ReLU(), n(), L.Conv3D(5, (2, 2, 1))],
    "ours": [L.ReLU(), n(), layers.Conv2D(6, 3, groups=2, rate=2), L.ReLU(), n(), layers.SeparableConv2D(5, 1)],
    "ours, explicit": [
        L.ReLU(),
        n(),
        layers.Conv2D(6, 3, padding=0),
        L.ReLU(),
        n(),
        layers.DepthwiseConv2D(2, 2, "same"),
    ],
    "ours, rows": [L.Reshape((-1, 4)), L.ReLU(), n(), layers.Conv1D(6, 3, groups=2), L.ReLU(), n(), L.Conv1D(4, 2, 2)],
    "dense": [L.ReLU(), n(), L.Dense(5, activation=tripled)],
    "at the input": [n(), L.Dense(5)],
    "neither scale nor center": [L.ReLU(), n(scale=False, center=False), L.Conv2D(6, 3)],
    "both sides": [L.ReLU(), n(), L.Conv2D(6, 3), n(), L.ReLU()],
    "transposed": [L.ReLU(), n(), L.Conv2DTranspose(6, 1), L.ReLU(), n(), layers.Conv2DTranspose(4, 1, groups=2)],
    "transposed rows": [L.Reshape((-1, 4)), L.ReLU(), n(), L.Conv1DTranspose(6, 1, padding="same", use_bias=False)],
    "transposed, separable": [L.ReLU(), n(), layers.SeparableConv2DTranspose(6, 1)],
    # through other layers
    "dropout": [L.ReLU(), n(), L.Dropout(0.5), L.Activation("linear"), L.GaussianNoise(1.0), L.Conv2D(6, 3)],
    "mean": [L.ReLU(), n(), L.GlobalAveragePooling2D(), L.Dropout(0.5), L.Dense(5)],
    "means": [L.ReLU(), n(), L.AveragePooling2D(3, 2, "same"), L.Conv2D(6, 3)],
    "maxima": [L.ReLU(), n(), L.MaxPooling2D(3, 2, "same"), L.Conv2D(6, 3)],
    "maximum": [L.ReLU(), n(), L.GlobalMaxPooling2D(keepdims=True), L.Conv2D(6, 1)],
    "flattened": [L.ReLU(), n(), L.Flatten(), L.Dense(5)],
    "reshaped": [L.ReLU(), n(), L.Reshape((-1, 8)), L.Conv1D(6, 3)],
    "enlarged": [L.ReLU(), n(), L.UpSampling2D(2, interpolation="bilinear"), L.Cropping2D(1), L.Conv2D(6, 3)],
    "twice": [L.ReLU(), n(), n(), L.Dropout(0.5), n(), L.Conv2D(6, 3)],
    # the same, behind a layer
    "twice behind": [L.Conv2D(6, 3), n(), n(), L.ReLU()],
    "behind dropout": [L.Conv2D(6, 3), L.SpatialDropout2D(0.5), n(), L.ReLU()],
    "behind means": [L.Conv2D(6, 3), L.AveragePooling2D(2), n(), L.ReLU()],
    "behind maxima": [L.Conv2D(6, 3, padding="same"), L.MaxPooling2D(2), n(), L.ReLU()],
    "behind a mean": [L.Conv2D(6, 3), L.GlobalAveragePooling2D(), n(), L.ReLU()],
    "behind an enlargement": [L.Conv2D(6, 3), L.UpSampling2D(2), L.Cropping2D(1), n(), L.ReLU()],
    "behind a shape": [L.Flatten(), L.Dense(24), L.Reshape((2, 3, 4)), n(), L.ReLU(), L.Flatten(), L.Dense(5)],
}


@pytest.mark.parametrize("case", STACKS)
def test_normalizations_fold_where_that_is_exact(case):
    model = keras.Sequential([L.Input(SHAPE), *STACKS[case]])
    folded = assert_same(model, image(2, *SHAPE))
    assert normalizations(folded) == 0
    assert [layer.name for layer in folded.layers] == [
        layer.name for layer in model.layers if not isinstance(layer, L.BatchNormalization)
    ]


def test_low_rank_adapted_layers_take_it_in():
    model = keras.Sequential([L.Input(SHAPE), L.ReLU(), n(), L.Conv2D(6, 3), n(), L.ReLU()])
    model.layers[2].enable_lora(2)
    assert normalizations(assert_same(model, image(2, *SHAPE))) == 0


def test_channels_first():
    inputs = L.Input((4, 8, 6))
    y = layers.Conv2D(6, 3, groups=2, data_format="channels_first")(n(axis=1)(L.ReLU()(inputs)))
    model = keras.Model(inputs, y)
    assert normalizations(assert_same(model, image(2, 4, 8, 6))) == 0


def test_several_users_take_it_in():
    inputs = L.Input(SHAPE)
    x = n()(L.ReLU()(inputs))
    y = [L.Conv2D(6, 3)(x), L.SeparableConv2D(6, 3)(L.Dropout(0.5)(x)), n()(L.Conv2D(6, 3, activation="relu")(x))]
    model = keras.Model(inputs, [L.Conv2D(3, 1)(n()(L.Add(name="sum")(y))), L.Dense(2)(L.GlobalMaxPooling2D()(x))])
    with pytest.warns(UserWarning, match="left 1 .* nor ahead .it precedes 'sum'"):
        assert normalizations(assert_same(model, image(2, *SHAPE))) == 1


def test_folding_ahead_keeps_names_of_outputs():
    inputs = L.Input(SHAPE)
    x = L.Dropout(0.5, name="d")(L.Conv2D(6, 3, name="c")(inputs))
    model = keras.Model(inputs, [n(name="p")(x), L.Dense(2, name="q")(n()(L.ReLU()(inputs)))])
    folded = assert_same(model, image(2, *SHAPE))
    assert normalizations(folded) == 0
    assert folded.output_names == model.output_names == ["p", "q"]


@pytest.mark.parametrize(
    "layer",
    [
        L.Conv2D(6, 3, padding="same"),
        layers.DepthwiseConv2D(3, 2, padding=1),
        L.Conv2DTranspose(6, 3, strides=2),
        layers.Conv2DTranspose(6, 3, 2, groups=2, use_bias=False),
        layers.SeparableConv2DTranspose(6, 3, 2),
        keras.Sequential([L.ZeroPadding2D(1), L.Conv2D(6, 3)]),
    ],
)
def test_a_scale_without_a_shift_folds_in_front_of_padding(layer):
    """Zeros stay zeros."""
    chain = layer.layers if isinstance(layer, keras.Sequential) else [layer]
    model = randomized(keras.Sequential([L.Input(SHAPE), L.ReLU(), n(name="n", center=False), *chain], name="model"))
    reason = r"(pads (its input )?with zeros|gives its results different sums of the shift)"
    with pytest.warns(UserWarning, match=rf"nor ahead \('.*' {reason}\)"):
        assert_close(surgery.fold_batch_norm(model)(image(2, *SHAPE)), model(image(2, *SHAPE)), 1e-5)
    model.get_layer("n").moving_mean.assign(np.zeros(4))
    folded = surgery.fold_batch_norm(model)
    assert normalizations(folded) == 0
    assert_close(folded(image(2, *SHAPE)), model(image(2, *SHAPE)), 1e-5)


@pytest.mark.parametrize(
    ("layer", "folds"),
    [
        (L.Conv2DTranspose(6, 2, strides=2, padding="same"), True),
        (layers.Conv2DTranspose(6, (2, 3), (2, 3), groups=2, use_bias=False), True),
        (layers.DepthwiseConv2DTranspose(2, 2, depth_multiplier=2), True),
        (L.Conv2DTranspose(6, 2, strides=3), False),
        (L.Conv2DTranspose(6, 3, strides=2, padding="same"), False),
        (L.Conv2DTranspose(6, 2, strides=2, output_padding=1), False),
        (layers.Conv2DTranspose(6, 2, 2, rate=3), False),
    ],
)
@pytest.mark.filterwarnings("ignore:model. left 1 batch")
def test_transposed_layers_whose_taps_are_alike_and_do_not_overlap(layer, folds):
    """Each result sees the whole shift once; by one other tap, the bias of a channel would be two numbers."""
    model = randomized(keras.Sequential([L.Input(SHAPE), L.ReLU(), n(), layer]))
    kernel = layer.weights[0]
    kernel.assign(np.broadcast_to(np.asarray(kernel)[:1, :1], kernel.shape))
    for alike in (True, False):
        folded = surgery.fold_batch_norm(model)
        assert normalizations(folded) == int(not (folds and alike))
        assert_close(folded(image(2, *SHAPE)), model(image(2, *SHAPE)), 1e-5)
        kernel.assign(np.asarray(kernel) * (1 + np.arange(kernel.shape[0]).reshape(-1, 1, 1, 1)))


class Own(L.Conv2D):
    def call(self, x):
        return super().call(x) ** 2


class Cube(L.Activation):
    def __init__(self, activation="linear", **options):
        super().__init__(activation, **options)

    def call(self, x):
        return x**3


CONV = L.Conv2D(4, 1, name="c")
REASONS = {
    "an output": (lambda x: x, "it is an output"),
    "an output behind": (L.Dropout(0.1, name="d"), "'d' is an output"),
    "called twice": (lambda x: CONV(CONV(x)), "'c' is called more than once"),
    "an activation": (lambda x: L.Dense(2)(L.ReLU(name="r")(x)), "it precedes 'r' of class ReLU, no convolution"),
    "an activation of its own call": (
        lambda x: L.Dense(2)(Cube(name="r")(x)),
        "it precedes 'r' of class Cube, no conv",
    ),
    "an operation": (lambda x: L.Dense(2)(x * 2), "no convolution or dense layer"),
    "another user": (lambda x: L.Add(name="a")([L.Conv2D(4, 1)(x), x]), "it precedes 'a' of class Add, no conv"),
    "deformed": (layers.DeformableConv2D(4, 3, name="c"), "'c' takes its offsets from it"),
    "causal": (lambda x: L.Conv1D(4, 3, padding="causal", name="c")(L.Reshape((-1, 4))(x)), "'c' pads its input"),
    "of unknown size": (L.Conv2D(4, 2, 2, "same", name="c"), "'c' pads its input with zeros"),
    "its own call": (Own(4, 1, name="c"), "it precedes 'c' of class Own, which overrides call"),
    "another type": (L.Conv2D(4, 1, name="c", dtype="float64"), "it computes in float32, 'c' in float64"),
    "other axes": (lambda x: L.Dense(2)(L.Permute((3, 1, 2), name="p")(x)), "it precedes 'p' of class Permute"),
    "channels first": (
        layers.Conv2D(4, 1, data_format="channels_first", name="c"),
        "'c' has the channels on another axis",
    ),
    "pooled along the channels": (
        lambda x: L.Conv2D(4, 1)(L.GlobalMaxPooling2D("channels_first", True, name="p")(x)),
        "'p' has the channels on another axis",
    ),
    "mixed channels": (lambda x: L.Conv1D(4, 1)(L.Reshape((-1, 2), name="s")(x)), "'s' mixes the channels"),
}


@pytest.mark.parametrize("case", REASONS)
def test_what_does_not_fold_is_reported(case):
    build, reason = REASONS[case]
    sizes = (None, None, 4) if "unknown" in case else SHAPE
    inputs = L.Input(sizes)
    model = keras.Model(inputs, build(n(name="n")(L.ReLU(name="before")(inputs))), name="model")
    with pytest.warns(UserWarning, match="as they are") as caught:
        folded = assert_same(model, image(2, 7, 7, 4) if "unknown" in case else image(2, *SHAPE))
    assert normalizations(folded) == 1
    message = str(caught[0].message)
    assert "model/n (it follows 'before' of class ReLU, no convolution or dense layer), nor ahead (" in message
    assert reason in message


def test_a_negative_scale_does_not_pass_maxima():
    model = randomized(keras.Sequential([L.Input(SHAPE), L.Conv2D(4, 3), L.MaxPooling2D(name="m"), n(name="n")]))
    model.get_layer("n").gamma.assign([1, -1, 1, 1])
    with pytest.warns(UserWarning, match=r"\('m' takes maxima, and the scale is negative\)"):
        folded = surgery.fold_batch_norm(model)
    assert_close(folded(image(2, *SHAPE)), model(image(2, *SHAPE)), 1e-5)


def test_an_activation_of_its_own_call_does_not_pass_it_back():
    model = keras.Sequential([L.Input(SHAPE), L.Conv2D(4, 3), Cube(name="r"), n(name="n")], name="model")
    with pytest.warns(UserWarning, match="model/n .it follows 'r' of class Cube, no convolution"):
        assert normalizations(assert_same(model, image(2, *SHAPE))) == 1


def test_convmixer():
    """The normalizations that a padded convolution or a residual sum takes stay."""

    def network(summed_last):
        inputs = L.Input((16, 16, 3))
        x = n()(L.Conv2D(8, 2, 2, activation="gelu")(inputs))
        for _ in range(3):
            y = L.DepthwiseConv2D(3, padding="same")(x)
            x = L.Add()([n()(keras.ops.gelu(y)), x]) if summed_last else n()(keras.ops.gelu(L.Add()([y, x])))
            x = n()(L.Conv2D(8, 1, activation="gelu")(x))
        return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x)))

    for summed_last, left in ((True, 6), (False, 3)):
        with pytest.warns(UserWarning, match=f"left {left} "):
            assert normalizations(assert_same(network(summed_last), image(2, 16, 16, 3))) == left

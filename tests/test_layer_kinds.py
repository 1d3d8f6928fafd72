"""The table of layer kinds: complete, free of contradictions, and computed as the layers themselves compute."""

import keras
import numpy as np
import pytest
from checks import assert_close

from tfsep import layers
from tfsep.layers._convolution_base import Convolution
from tfsep.layers._layer_kinds import LAYER_KINDS, kind_of

SHAPES = {0: (2, 4), 1: (2, 7, 4), 2: (2, 7, 6, 4), 3: (2, 5, 4, 3, 4)}
WITH_KERNELS = [(kind, cls) for kind in LAYER_KINDS if kind.kernels for cls in kind.classes]
NAMES = [f"{cls.__module__.split('.')[0]}.{cls.__name__}" for _, cls in WITH_KERNELS]


def built(kind, cls):
    """A layer of three filters (a channel) with a linear activation, and what it takes."""
    rank = 0 if kind.name == "dense" else int(kind.name[kind.name.index("d", kind.name.index("conv")) - 1])
    x = np.random.default_rng(0).normal(size=SHAPES[rank]).astype("float32")
    options = {"depth_multiplier": 3} if kind.name.startswith("depthwise") else {}
    sizes = [3] if rank == 0 else [2] if options else [3, 2]
    layer = cls(*sizes, **options)
    layer(x)
    return layer, x


@pytest.mark.parametrize(("kind", "cls"), WITH_KERNELS, ids=NAMES)
def test_kernels_are_weights_of_the_layer(kind, cls):
    layer, x = built(kind, cls)
    names = [name for kernel in kind.kernels for name in kernel.weights]
    assert sorted([*names, "bias"]) == sorted(weight.name for weight in layer.weights)
    last = kind.kernels[-1]
    assert last.channels(getattr(layer, last.name).shape) == layer.compute_output_shape(x.shape)[-1]


@pytest.mark.parametrize(("kind", "cls"), WITH_KERNELS, ids=NAMES)
def test_a_scaled_kernel_scales_the_output_channels(kind, cls):
    layer, x = built(kind, cls)
    before, kernel = np.asarray(layer(x)), kind.kernels[-1]
    scale = np.arange(1.0, before.shape[-1] + 1)
    weight = getattr(layer, kernel.name)
    weight.assign(kernel.scaled(np.asarray(weight), scale))
    assert_close(layer(x), before * scale)


@pytest.mark.parametrize(
    ("kind", "cls"), [pair for pair in WITH_KERNELS if pair[0].op or pair[1] is pair[0].tfsep_class]
)
def test_kind_computes_what_its_layers_do(kind, cls):
    layer, x = built(kind, cls)
    kernels = [] if cls is layers.DeformableConv2D else [getattr(layer, kernel.name) for kernel in kind.kernels]
    assert_close(kind.compute(layer, x, *(kernels or [layer.kernel])), layer(x))


def test_every_convolution_layer_has_a_row():
    public = [getattr(layers, name) for name in layers.__all__]
    own = {cls for cls in public if isinstance(cls, type) and issubclass(cls, Convolution)}
    assert own == {cls for _, cls in WITH_KERNELS if issubclass(cls, Convolution)}


def test_no_class_or_name_has_two_rows():
    classes = [cls for kind in LAYER_KINDS for cls in kind.classes]
    assert len(classes) == len(set(classes))
    assert len(LAYER_KINDS) == len({kind.name for kind in LAYER_KINDS})


def test_a_subclass_has_the_row_of_its_base():
    class Own(keras.layers.Conv2D):
        pass

    assert kind_of(Own(3, 2)) is kind_of(layers.Conv2D(3, 2))
    assert kind_of(keras.layers.ReLU()) is None


def test_a_kind_without_an_op_is_refused():
    layer = keras.layers.Conv3D(3, 2)
    with pytest.raises(TypeError, match="layer: expected a kind with an op, got 'conv3d"):
        kind_of(layer).compute(layer, np.zeros(SHAPES[3], "float32"), np.zeros((2, 2, 2, 4, 3), "float32"))

"""Heads of segmentation: the class of each pixel, at the size of the image."""

from collections.abc import Sequence

from tfsep._keras.activations import activation_function
from tfsep._keras.backend import keras
from tfsep._keras.types import ActivationLike, Model, Tensor
from tfsep._utils.arguments import number_in_range, positive_int, positive_ints
from tfsep.models._backbone import Head, Maps, maps_of
from tfsep.models._layer_builder import ArgScope
from tfsep.weights._conv_bn_stages import ModelStage

__all__ = ["deeplab_v3", "lraspp"]


def deeplab_v3(
    backbone: Model,
    num_classes: int,
    output_stride: int = 16,
    rates: Sequence[int] = (6, 12, 18),
    decoder: bool = False,
    *,
    filters: int = 256,
    low_filters: int = 48,
    dropout: float = 0.1,
    classifier_activation: ActivationLike = "softmax",
    argmax: bool = False,
    align_corners: bool = False,
    arg_scope: ArgScope | None = None,
    name: str = "deeplab_v3",
) -> Model:
    """Return a segmentation network: DeepLab v3, or v3+ with its decoder, of separable convolutions.

    Its head is a pyramid of dilated convolutions (ASPP) and of the mean of the image. The classes of pixels are
    interpolated to the size of the image.

    Args:
        backbone: model from images (N, H, W, C) of a known size to maps, such as one with ``features=(4, 16)`` and
            ``output_stride=16``.
        num_classes: number of classes, the background included.
        output_stride: stride of the map that the head takes.
        rates: rate of each dilated branch; none for a 1×1 convolution and the image's mean alone.
        decoder: whether the result is refined with the map of stride 4, as v3+ does.
        filters: channels of each branch, and of the decoder.
        low_filters: channels that the decoder keeps of the map of stride 4.
        dropout: share of the features that training drops before the classifier.
        classifier_activation: applied to the logits; None for the logits themselves.
        argmax: whether the result is the most likely class of each pixel, int32 (N, H, W).
        align_corners: whether maps are interpolated between the centres of their outermost pixels, as in Google's
            files, in place of their edges.
        arg_scope: how each layer is made, see `training_scope`; None for its defaults, with the activation ``"relu"``.
        name: name of the model, and the prefix of its layers' names.

    Returns:
        A model from images (N, H, W, C) to (N, H, W, num_classes); it shares the backbone's layers.

    Source: L.-C. Chen et al., "Rethinking Atrous Convolution" (arXiv 1706.05587) and "Encoder-Decoder with Atrous
    Separable Convolution" (arXiv 1802.02611).

    Raises:
        TypeError: if the backbone is no functional Keras model.
        ValueError: for a backbone without a map of a stride that is asked for, or an argument out of range.

    Examples:
        >>> from tfsep.defs import NETWORKS
        >>> from tfsep.models import from_definitions
        >>> backbone = from_definitions(NETWORKS["fashion_mnist"], (32, 32, 1), features=(4,))
        >>> deeplab_v3(backbone, 11, output_stride=4, rates=(2,), filters=8).output_shape
        (None, 32, 32, 11)
    """
    maps, classes = maps_of(backbone), positive_int(num_classes, "num_classes")
    net = maps.at(positive_int(output_stride, "output_stride"), "output_stride")
    steps = positive_ints(rates, "rates", (6, 12, 18))
    filters, low_filters = positive_int(filters, "filters"), positive_int(low_filters, "low_filters")
    low = maps.at(4, "decoder") if decoder else None
    head = Head.of(name, arg_scope, "relu")._replace(align_corners=bool(align_corners))
    branches = [head.convolution(net, "aspp0", filters)]
    branches += [head.separable(net, f"aspp{i}", filters, rate=rate) for i, rate in enumerate(steps, 1)]
    branches.append(_image_level(head, net, filters))
    net = head.layer(keras.layers.Concatenate, "concat")(branches)
    net = _dropped(head, head.convolution(net, "concat_projection", filters), dropout)
    if low is not None:
        low = head.convolution(low, "decoder/feature_projection0", low_filters)
        net = head.resize(net, "decoder/resize", low.shape[1:3])
        net = head.layer(keras.layers.Concatenate, "decoder/concat")([net, low])
        for i in range(2):
            net = head.separable(net, f"decoder/decoder_conv{i}", filters)
    logits = head.convolution(net, "logits/semantic", classes, None, normalization=False)
    return _segmenter(head, maps, logits, classifier_activation, argmax)


def head_stages(model: Model, rates: Sequence[int]) -> list[ModelStage]:
    """Return the layers with kernels of the head of `deeplab_v3` without a decoder, in its order.

    Args:
        model: the model.
        rates: the rates of its pyramid.
    """
    dilated = [f"aspp{i}_{part}" for i in range(1, len(rates) + 1) for part in ("depthwise", "pointwise")]
    names = [f"{model.name}.{name}" for name in ("aspp0", *dilated, "image_pooling", "concat_projection")]
    stages = [ModelStage(model.get_layer(name), model.get_layer(f"{name}.BatchNorm")) for name in names]
    return [*stages, ModelStage(model.get_layer(f"{model.name}.logits.semantic"))]


def lraspp(
    backbone: Model,
    num_classes: int,
    *,
    output_stride: int = 16,
    low_stride: int = 8,
    filters: int = 128,
    classifier_activation: ActivationLike = "softmax",
    argmax: bool = False,
    arg_scope: ArgScope | None = None,
    name: str = "lraspp",
) -> Model:
    """Return a segmentation network with the light head of MobileNet v3, LR-ASPP.

    A convolution of the deep map is gated by a mean of the image; its classes are added to those of a finer map, and
    interpolated to the size of the image.

    Args:
        backbone: model from images (N, H, W, C) of a known size to maps, such as one with ``features=(8, 16)``.
        num_classes: number of classes, the background included.
        output_stride: stride of the deep map.
        low_stride: stride of the finer map.
        filters: channels of the deep branch and of its gate.
        classifier_activation: applied to the logits; None for the logits themselves.
        argmax: whether the result is the most likely class of each pixel, int32 (N, H, W).
        arg_scope: how each layer is made, see `training_scope`; None for its defaults, with the activation ``"relu"``.
        name: name of the model, and the prefix of its layers' names.

    Returns:
        A model from images (N, H, W, C) to (N, H, W, num_classes); it shares the backbone's layers.

    Source: A. Howard et al., "Searching for MobileNetV3" (arXiv 1905.02244), section 6.4; the gate is of the whole
    image, as in torchvision.

    Raises:
        TypeError: if the backbone is no functional Keras model.
        ValueError: for a backbone without a map of a stride that is asked for, or an argument out of range.

    Examples:
        >>> from tfsep.defs import NETWORKS
        >>> from tfsep.models import from_definitions
        >>> backbone = from_definitions(NETWORKS["fashion_mnist"], (32, 32, 1), features=(2, 4))
        >>> lraspp(backbone, 11, output_stride=4, low_stride=2, filters=8).output_shape
        (None, 32, 32, 11)
    """
    maps, classes = maps_of(backbone), positive_int(num_classes, "num_classes")
    net = maps.at(positive_int(output_stride, "output_stride"), "output_stride")
    low = maps.at(positive_int(low_stride, "low_stride"), "low_stride")
    filters = positive_int(filters, "filters")
    head = Head.of(name, arg_scope, "relu")
    pooled = head.layer(keras.layers.GlobalAveragePooling2D, "gate/pool", "channels_last", keepdims=True)(net)
    gate = head.convolution(pooled, "gate/scale", filters, "sigmoid", normalization=False)
    net = head.layer(keras.layers.Multiply, "gate/multiply")([head.convolution(net, "features", filters), gate])
    net = head.resize(net, "resize", low.shape[1:3])
    logits = [
        head.convolution(each, f"logits/{part}", classes, None, normalization=False)
        for part, each in (("low", low), ("high", net))
    ]
    return _segmenter(head, maps, head.layer(keras.layers.Add, "logits/add")(logits), classifier_activation, argmax)


def _image_level(head: Head, net: Tensor, filters: int) -> Tensor:
    """The features of the image's mean, at each position."""
    pooled = head.layer(keras.layers.GlobalAveragePooling2D, "image_pooling/pool", "channels_last", keepdims=True)(net)
    # Interpolation of a single position repeats it, and runs where there is no kernel for the nearest pixel.
    return head.resize(head.convolution(pooled, "image_pooling", filters), "image_pooling/resize", net.shape[1:3])


def _dropped(head: Head, net: Tensor, dropout: float) -> Tensor:
    share = number_in_range(dropout, "dropout", float, 0, 0.99)
    return head.layer(keras.layers.Dropout, "dropout", 0.0 if head.arg_scope.is_training is False else share)(net)


def _segmenter(head: Head, maps: Maps, logits: Tensor, activation: ActivationLike, argmax: bool) -> Model:
    """The model from images to the classes of their pixels."""
    function = activation_function(activation, "classifier_activation")
    net = head.resize(logits, "logits/resize", maps.size)
    if argmax:
        net = keras.ops.argmax(net, axis=-1)
    elif activation is not None:
        net = head.layer(keras.layers.Activation, "Predictions", function, dtype="float32")(net)
    return keras.Model(maps.inputs, net, name=head.scope)

"""MobileNet v1 from definitions, with TF-slim's arguments, rules, end points and variable names.

Source: A. G. Howard et al., "MobileNets" (arXiv 1704.04861), and TF-slim's ``mobilenet_v1``.

A layer's name is slim's variable scope with dots for slashes (Keras takes no slash in a name), so
``MobilenetV1.Conv2d_1_depthwise.BatchNorm`` holds what a checkpoint calls
``MobilenetV1/Conv2d_1_depthwise/BatchNorm/...``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

from tfsep._keras.backend import keras
from tfsep._utils.arguments import positive_int
from tfsep.defs import (
    MOBILENETV1_CONV_DEFS,
    ConvDef,
    LayerDef,
    normalize,
    padding_of,
    resolve,
    scale_width,
    with_output_stride,
)
from tfsep.geometry._sizes import normalize_shape
from tfsep.layers import BatchNormalization, Conv2D, DepthwiseConv2D

EndPoints = dict[str, Any]


@dataclass(frozen=True)
class ArgScope:
    """How every layer of the network is made: what slim's ``mobilenet_v1_arg_scope`` sets.

    Attributes:
        weight_decay: slim's L2 scale; the loss gains ``weight_decay · Σw² / 2`` a kernel.
        stddev: of the truncated normal that draws the kernels; None draws by He's rule, the better start without
            slim's long schedule.
        regularize_depthwise: whether depthwise kernels are decayed too.
        batch_norm_decay: momentum of the moving statistics.
        batch_norm_epsilon: added to the variance.
        activation: after each batch normalization.
        synchronized: whether replicas normalize by the statistics of all, in place of their own.
    """

    weight_decay: float = 4e-5
    stddev: float | None = 0.09
    regularize_depthwise: bool = False
    batch_norm_decay: float = 0.9997
    batch_norm_epsilon: float = 1e-3
    activation: Any = "relu6"
    synchronized: bool = False

    def initializer(self) -> Any:
        """A new initializer for one kernel."""
        if self.stddev is None:
            return keras.initializers.HeNormal()
        return keras.initializers.TruncatedNormal(stddev=self.stddev)

    def regularizer(self) -> Any:
        """The regularizer of a kernel, or None: slim's L2 loss has a half in it that Keras's has not."""
        return keras.regularizers.L2(self.weight_decay / 2) if self.weight_decay else None


def mobilenet_v1_arg_scope(
    weight_decay: float = 4e-5,
    stddev: float | None = 0.09,
    regularize_depthwise: bool = False,
    batch_norm_decay: float = 0.9997,
    batch_norm_epsilon: float = 1e-3,
    activation: Any = "relu6",
) -> ArgScope:
    """Return how the layers are made, under slim's name and with slim's defaults; see `ArgScope`.

    Examples:
        >>> mobilenet_v1_arg_scope(weight_decay=0.0).regularizer() is None
        True
    """
    return ArgScope(weight_decay, stddev, regularize_depthwise, batch_norm_decay, batch_norm_epsilon, activation)


def _layer(net: Any, layer: LayerDef, scope: str, padding: str, style: ArgScope) -> Any:
    """Convolution, batch normalization and activation of one definition."""
    name = f"{scope}.{layer.name}"
    options: dict[str, Any] = {
        "strides": layer.stride,
        "padding": padding_of(layer, padding),
        "rate": layer.rate,
        "use_bias": False,
        "name": name,
    }
    if layer.depth is None:
        net = DepthwiseConv2D(
            layer.kernel,
            depthwise_initializer=style.initializer(),
            depthwise_regularizer=style.regularizer() if style.regularize_depthwise else None,
            **options,
        )(net)
    else:
        net = Conv2D(
            layer.depth,
            layer.kernel,
            kernel_initializer=style.initializer(),
            kernel_regularizer=style.regularizer(),
            **options,
        )(net)
    net = BatchNormalization(
        momentum=style.batch_norm_decay,
        epsilon=style.batch_norm_epsilon,
        synchronized=style.synchronized,
        name=f"{name}.BatchNorm",
    )(net)
    return keras.layers.Activation(style.activation, name=f"{name}.Activation")(net)


def _padding_rule(padding: str, use_explicit_padding: bool) -> str:
    """The rule that a user gave under its name or under slim's."""
    if not use_explicit_padding:
        return padding
    if padding not in ("same", "explicit"):
        raise ValueError(f"padding: expected 'explicit' where use_explicit_padding is set, got {padding!r}")
    return "explicit"


def _require_images(inputs: Any) -> None:
    if not hasattr(inputs, "shape"):
        raise TypeError(f"inputs: expected a tensor (N, H, W, C), got {inputs!r}")
    shape = tuple(inputs.shape)
    if len(shape) != 4:
        raise ValueError(f"inputs: expected rank 4, (N, H, W, C), got shape {shape}")
    if shape[-1] is None:
        raise ValueError(f"inputs: expected a known number of channels, got shape {shape}")


def mobilenet_v1_base(
    inputs: Any,
    final_endpoint: str | None = None,
    min_depth: int = 8,
    depth_multiplier: float = 1.0,
    conv_defs: Iterable[ConvDef] | None = None,
    output_stride: int | None = None,
    use_explicit_padding: bool = False,
    scope: str = "MobilenetV1",
    *,
    padding: str = "same",
    arg_scope: ArgScope | None = None,
) -> tuple[Any, EndPoints]:
    """Build the body of MobileNet v1 on `inputs`, up to an end point.

    Args:
        inputs: Keras tensor (N, H, W, C), H and W known or not.
        final_endpoint: ``Conv2d_0``, ``Conv2d_1_depthwise``, ``Conv2d_1_pointwise`` and so on; None for the last.
        min_depth: fewest channels of a layer, whatever the multiplier.
        depth_multiplier: width multiplier α; a layer has ``max(int(depth · α), min_depth)`` channels.
        conv_defs: the layers, `tfsep.Conv` and `tfsep.DepthSepConv`, any number; None for MobileNet v1's.
        output_stride: total stride to hold by growing rates, see `tfsep.defs.with_output_stride`; None for no bound.
        use_explicit_padding: slim's name of ``padding="explicit"``.
        scope: prefix of the layers' names.
        padding: ``"same"``, ``"keras"`` or ``"explicit"``, see `tfsep.defs.PADDING_RULES`.
        arg_scope: how each layer is made, see `mobilenet_v1_arg_scope`.

    Returns:
        The last end point's tensor, and the end points by name, in order.

    Raises:
        TypeError: if `inputs` is no tensor.
        ValueError: for another rank, an unknown end point or padding, a depth_multiplier that is not greater than zero,
            an output_stride that cannot be held.

    Examples:
        >>> net, end_points = mobilenet_v1_base(keras.Input((224, 224, 3)), output_stride=16)
        >>> net.shape, end_points["Conv2d_5_pointwise"].shape
        ((None, 14, 14, 1024), (None, 28, 28, 256))
    """
    _require_images(inputs)
    conv_defs = MOBILENETV1_CONV_DEFS if conv_defs is None else normalize(conv_defs)
    layers = resolve(with_output_stride(scale_width(conv_defs, depth_multiplier, min_depth), output_stride))
    names = [layer.name for layer in layers]
    if final_endpoint not in (None, *names):
        raise ValueError(f"final_endpoint: expected one from {names[0]} to {names[-1]}, got {final_endpoint!r}")
    rule = _padding_rule(padding, use_explicit_padding)
    net, end_points = inputs, {}
    for layer in layers:
        net = _layer(net, layer, scope, rule, arg_scope or ArgScope())
        end_points[layer.name] = net
        if layer.name == final_endpoint:
            break
    return net, end_points


def _pool(net: Any, global_pool: bool, scope: str) -> tuple[Any, str]:
    """Average over the image, or over slim's window of 7×7 at stride 2, smaller where the image is."""
    if global_pool or None in net.shape[1:3]:
        name = "global_pool"
        return keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{scope}.Logits.{name}")(net), name
    name = "AvgPool_1a"
    window = tuple(min(side, 7) for side in net.shape[1:3])
    return keras.layers.AveragePooling2D(window, strides=2, name=f"{scope}.Logits.{name}")(net), name


def mobilenet_v1(
    inputs: Any,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.999,
    min_depth: int = 8,
    depth_multiplier: float = 1.0,
    conv_defs: Iterable[ConvDef] | None = None,
    prediction_fn: str | Callable[[Any], Any] | None = "softmax",
    spatial_squeeze: bool = True,
    scope: str = "MobilenetV1",
    global_pool: bool = False,
    output_stride: int | None = None,
    use_explicit_padding: bool = False,
    *,
    padding: str = "same",
    arg_scope: ArgScope | None = None,
) -> tuple[Any, EndPoints]:
    """Build MobileNet v1 with its classifier on `inputs`.

    Args:
        inputs: Keras tensor (N, H, W, C).
        num_classes: length of the logits; 0 or None leaves the classifier out and returns the pooled features.
        dropout_keep_prob: share of the features that training keeps, in (0, 1].
        min_depth, depth_multiplier, conv_defs, output_stride, use_explicit_padding, padding, arg_scope: as in
            `mobilenet_v1_base`.
        prediction_fn: from logits to predictions: a Keras activation's name, a function, or None for no predictions.
        spatial_squeeze: whether logits are (N, num_classes) in place of (N, 1, 1, num_classes).
        scope: prefix of the layers' names.
        global_pool: average over the whole image, whatever its size, in place of a window of at most 7×7.

    Returns:
        The logits (the pooled features (N, H', W', C') without classes) and the end points: those of the body, then
        ``AvgPool_1a`` or ``global_pool``, ``Logits`` and ``Predictions``.

    Raises:
        ValueError: as `mobilenet_v1_base`; for num_classes or dropout_keep_prob out of range; with spatial_squeeze
            where the pooled features are larger than 1×1.

    Examples:
        >>> logits, end_points = mobilenet_v1(keras.Input((128, 128, 3)), num_classes=10, depth_multiplier=0.25)
        >>> logits.shape, list(end_points)[-3:]
        ((None, 10), ['AvgPool_1a', 'Logits', 'Predictions'])
    """
    if num_classes not in (0, None):
        positive_int(num_classes, "num_classes")
    if not isinstance(dropout_keep_prob, Real) or not 0 < dropout_keep_prob <= 1:
        raise ValueError(f"dropout_keep_prob: expected a number in (0, 1], got {dropout_keep_prob!r}")
    style = arg_scope or ArgScope()
    net, end_points = mobilenet_v1_base(
        inputs,
        min_depth=min_depth,
        depth_multiplier=depth_multiplier,
        conv_defs=conv_defs,
        output_stride=output_stride,
        use_explicit_padding=use_explicit_padding,
        scope=scope,
        padding=padding,
        arg_scope=style,
    )
    net, pool = _pool(net, global_pool, scope)
    end_points[pool] = net
    if not num_classes:
        return net, end_points
    if spatial_squeeze and tuple(net.shape[1:3]) != (1, 1):
        raise ValueError(
            f"spatial_squeeze: expected pooled features of 1×1, got {net.shape[1]}×{net.shape[2]}: "
            "set global_pool=True or spatial_squeeze=False"
        )
    net = keras.layers.Dropout(1 - dropout_keep_prob, name=f"{scope}.Logits.Dropout_1b")(net)
    logits = Conv2D(
        num_classes,
        1,
        kernel_initializer=style.initializer(),
        kernel_regularizer=style.regularizer(),
        name=f"{scope}.Logits.Conv2d_1c_1x1",
    )(net)
    if spatial_squeeze:
        logits = keras.layers.Reshape((num_classes,), name=f"{scope}.Logits.SpatialSqueeze")(logits)
    end_points["Logits"] = logits
    if prediction_fn is not None:
        end_points["Predictions"] = keras.layers.Activation(
            prediction_fn, dtype="float32", name=f"{scope}.Predictions"
        )(logits)
    return logits, end_points


def _width(multiplier: float) -> Callable[..., tuple[Any, EndPoints]]:
    return partial(mobilenet_v1, depth_multiplier=multiplier)


mobilenet_v1_075 = _width(0.75)
mobilenet_v1_050 = _width(0.50)
mobilenet_v1_025 = _width(0.25)

DEFAULT_IMAGE_SIZE = 224
_networks: tuple[Any, ...] = (mobilenet_v1, mobilenet_v1_075, mobilenet_v1_050, mobilenet_v1_025)
for _network in _networks:
    _network.default_image_size = DEFAULT_IMAGE_SIZE


def MobileNetV1(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    num_classes: int | None = 1000,
    alpha: float = 1.0,
    *,
    conv_defs: Iterable[ConvDef] | None = None,
    min_depth: int = 8,
    output_stride: int | None = None,
    use_explicit_padding: bool = False,
    padding: str = "same",
    dropout: float = 1e-3,
    classifier_activation: str | Callable[[Any], Any] | None = "softmax",
    arg_scope: ArgScope | None = None,
    name: str = "MobilenetV1",
) -> Any:
    """Return MobileNet v1 as a Keras model, pooled over the whole image.

    Args:
        input_shape: (H, W, C); H and W may be None.
        num_classes: length of the result; 0 or None for the features, (N, C').
        alpha: width multiplier.
        conv_defs, min_depth, output_stride, use_explicit_padding, padding, arg_scope: as in `mobilenet_v1_base`.
        dropout: share of the features that training drops.
        classifier_activation: applied to the logits; None for the logits themselves.
        name: of the model, and the prefix of its layers' names.

    Raises:
        ValueError: as `mobilenet_v1`.

    Examples:
        >>> model = MobileNetV1((128, 128, 3), num_classes=1001, alpha=0.25)
        >>> model.output_shape, model.count_params()
        ((None, 1001), 475801)
    """
    shape = normalize_shape(input_shape, "input_shape")
    if len(shape) != 3:
        raise ValueError(f"input_shape: expected (H, W, C), got {shape}")
    if not isinstance(dropout, Real) or not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected a number in [0, 1), got {dropout!r}")
    inputs = keras.Input(shape, name="image")
    net, end_points = mobilenet_v1(
        inputs,
        num_classes=num_classes,
        dropout_keep_prob=1 - dropout,
        min_depth=min_depth,
        depth_multiplier=alpha,
        conv_defs=conv_defs,
        prediction_fn=classifier_activation,
        scope=name,
        global_pool=True,
        output_stride=output_stride,
        use_explicit_padding=use_explicit_padding,
        padding=padding,
        arg_scope=arg_scope,
    )
    if not num_classes:
        net = keras.layers.Flatten(name=f"{name}.Features")(net)
    return keras.Model(inputs, end_points.get("Predictions", net), name=name)

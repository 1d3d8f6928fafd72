"""A Keras model of any network of definitions: body, mean over the image, classifier."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from numbers import Real

from tfsep._keras.activations import activation_function
from tfsep._keras.backend import keras
from tfsep._keras.types import ActivationLike, Model, Tensor
from tfsep._utils.arguments import integer, positive_int, text
from tfsep.defs import ConvDef, Network
from tfsep.defs._layer_def import classifier
from tfsep.models._layer_builder import ArgScope, EndPoints, build_layers, layer_name, settings_of

__all__ = ["from_definitions"]


def from_definitions(
    network: Network | Iterable[ConvDef],
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int | None = 1000,
    alpha: float = 1.0,
    *,
    min_depth: int = 8,
    output_stride: int | None = None,
    padding: str = "same",
    dropout: float | None = None,
    classifier_activation: ActivationLike = "softmax",
    arg_scope: ArgScope | None = None,
    features: Sequence[int] | None = None,
    name: str | None = None,
) -> Model:
    """Return a network as a Keras model, pooled over the whole image.

    Args:
        network: a network, such as one of `tfsep.defs.NETWORKS`; or definitions, see `tfsep.defs.Network.of`.
        input_shape: (H, W, C); H and W may be None. None for the network's own, which definitions alone do not have.
        num_classes: length of the result; 0 or None for the features, (N, C').
        alpha: width multiplier.
        min_depth: fewest channels of a layer, whatever the multiplier.
        output_stride: total stride to hold by growing rates, see `tfsep.defs.with_output_stride`; None for no bound.
        padding: ``"same"``, ``"keras"`` or ``"explicit"``, see `tfsep.defs.PADDING_RULES`.
        dropout: share of the features that training drops; None for that of `arg_scope`, or of the network's family.
        classifier_activation: applied to the logits; None for the logits themselves.
        arg_scope: how each layer is made, see `training_scope`; None for the settings of the network's family.
        features: total strides, such as (4, 8, 16, 32), whose maps are the results in place of the classifier's, for a
            head: the last map of each, without the 1×1 convolution that ends a network; None for the classifier.
        name: name of the model, and the prefix of its layers' names; None for the family's scope.

    Returns:
        A model from images (N, H, W, C) to (N, num_classes); with `features`, to a list of maps, in the order asked
        for.

    Raises:
        ValueError: for an argument out of range, an output_stride that cannot be held, or features of a stride that the
            network has not.

    Examples:
        >>> from tfsep.defs import NETWORKS
        >>> model = from_definitions(NETWORKS["fashion_mnist"], num_classes=10)
        >>> model.input_shape, model.output_shape
        ((None, 28, 28, 1), (None, 10))
        >>> maps = from_definitions(NETWORKS["fashion_mnist"], features=(2, 4)).outputs
        >>> [tuple(each.shape) for each in maps]
        [(None, 14, 14, 160), (None, 7, 7, 320)]
    """
    network = Network.of(network)
    if name is not None:
        network = replace(network, family=replace(network.family, scope=text(name, "name")))
    arg_scope = settings_of(arg_scope, network.family)
    shape = network.input_shape(input_shape)
    if dropout is None:
        dropout = arg_scope.dropout
    if not isinstance(dropout, Real) or not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected a number in [0, 1), got {dropout!r}")
    require_classes(num_classes)
    activation_function(classifier_activation, "classifier_activation")
    inputs = keras.Input(shape, name="image")
    require_images(inputs)
    layers = network.layers(shape[-1], alpha, min_depth, output_stride)
    scope = network.family.scope
    name = layer_name(scope)
    if features is not None:
        ends = _ends_of(network, features, shape[-1], output_stride)
        last = max(i for i, layer in enumerate(layers) if set(layer.end_points) & set(ends))
        _, end_points = build_layers(inputs, layers[: last + 1], scope, padding, arg_scope)
        return keras.Model(inputs, [end_points[end] for end in ends], name=name)
    net, _ = build_layers(inputs, layers, scope, padding, arg_scope)
    if not network.pools:
        net, _ = pool_features(net, True, scope, arg_scope)
    if not num_classes:
        return keras.Model(inputs, keras.layers.Flatten("channels_last", name=f"{name}.Features")(net), name=name)
    logits, end_points = classify(net, num_classes, dropout, classifier_activation, True, scope, arg_scope)
    return keras.Model(inputs, end_points.get("Predictions", logits), name=name)


def _ends_of(network: Network, strides: Sequence[int], channels: int | None, output_stride: int | None) -> list[str]:
    """The end points of the maps at these strides."""
    ends = network.features(channels, output_stride)
    if isinstance(strides, str) or not isinstance(strides, Sequence) or not strides:
        raise ValueError(f"features: expected strides in order, such as (4, 8, 16, 32), got {strides!r}")
    for stride in strides:
        if integer(stride) not in ends:
            raise ValueError(f"features: expected strides of {', '.join(map(str, ends))}, got {stride!r}")
    return [ends[stride] for stride in strides]


def require_images(inputs: Tensor) -> None:
    """Raise unless this is a tensor of images.

    Raises:
        TypeError: if it is no tensor.
        ValueError: for another rank than 4, or an unknown number of channels.
    """
    if not hasattr(inputs, "shape"):
        raise TypeError(f"inputs: expected a tensor (N, H, W, C), got {inputs!r}")
    shape = tuple(inputs.shape)
    if len(shape) != 4:
        raise ValueError(f"inputs: expected rank 4, (N, H, W, C), got shape {shape}")
    if shape[-1] is None:
        raise ValueError(f"inputs: expected a known number of channels, got shape {shape}")


def require_classes(num_classes: int | None) -> None:
    """Raise a ValueError unless this is a number of classes, 0 or None."""
    if num_classes not in (0, None):
        positive_int(num_classes, "num_classes")


def pool_features(net: Tensor, global_pool: bool, scope: str, arg_scope: ArgScope) -> tuple[Tensor, str]:
    """Return the mean over the image, or over slim's window of 7×7 at stride 2, and its end point's name.

    The window is smaller where the image is; an image of unknown size is averaged as a whole.
    """
    if global_pool or None in net.shape[1:3]:
        name = "global_pool"
        pool = keras.layers.GlobalAveragePooling2D("channels_last", keepdims=True, name=_name(scope, name))
        return arg_scope.layer(pool)(net), name
    name = "AvgPool_1a"
    window = tuple(min(side, 7) for side in net.shape[1:3])
    pool = keras.layers.AveragePooling2D(window, 2, data_format="channels_last", name=_name(scope, name))
    return arg_scope.layer(pool)(net), name


def _name(scope: str, name: str) -> str:
    """The name of a layer of the head."""
    return layer_name(f"{scope}.Logits.{name}")


def classify(
    features: Tensor,
    num_classes: int,
    dropout: float,
    activation: ActivationLike,
    spatial_squeeze: bool,
    scope: str,
    arg_scope: ArgScope,
) -> tuple[Tensor, EndPoints]:
    """Return the logits of pooled features, and the end points ``Logits`` and ``Predictions``.

    Args:
        features: (N, H', W', C').
        num_classes: length of the logits.
        dropout: share of the features that training drops.
        activation: function from logits to predictions; None for no predictions.
        spatial_squeeze: whether logits are (N, num_classes) in place of (N, H', W', num_classes).
        scope: prefix of the layers' names.
        arg_scope: how the classifier is made.

    Raises:
        ValueError: with `spatial_squeeze`, for features larger than 1×1.
    """
    if spatial_squeeze and tuple(features.shape[1:3]) != (1, 1):
        raise ValueError(
            f"spatial_squeeze: expected pooled features of 1×1, got {features.shape[1]}×{features.shape[2]}: "
            "set global_pool=True or spatial_squeeze=False"
        )
    dropout = 0.0 if arg_scope.is_training is False else dropout
    net = arg_scope.layer(keras.layers.Dropout(dropout, name=_name(scope, "Dropout_1b")))(features)
    logits, _ = build_layers(net, [classifier(num_classes)], scope, "same", arg_scope)
    if spatial_squeeze:
        logits = arg_scope.layer(keras.layers.Reshape((num_classes,), name=_name(scope, "SpatialSqueeze")))(logits)
    end_points = {"Logits": logits}
    if activation is not None:
        name = layer_name(f"{scope}.Predictions")
        predictions = keras.layers.Activation(activation, dtype="float32", name=name)
        end_points["Predictions"] = arg_scope.layer(predictions)(logits)
    return logits, end_points

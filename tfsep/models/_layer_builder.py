"""Keras layers of primitive layers: how each kind is made, under TF-slim's names.

A Keras layer's name is slim's variable scope with dots for slashes (Keras takes no slash in a name), so
``MobilenetV1.Conv2d_1_depthwise.BatchNorm`` holds what a checkpoint calls
``MobilenetV1/Conv2d_1_depthwise/BatchNorm/...``.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from tfsep._keras.activations import activation_function, slim_hard_sigmoid
from tfsep._keras.backend import keras, tf
from tfsep._keras.types import ActivationLike, Layer, Tensor
from tfsep._utils.arguments import number_in_range, positive_number, short_repr
from tfsep.defs import Family
from tfsep.defs._layer_def import DEFAULT_ACTIVATION, INPUT, SLIM_GATE, LayerDef, LayerOp
from tfsep.defs._padding import padding_of
from tfsep.layers import BatchNormalization, Conv2D, DepthwiseConv2D

__all__ = ["ArgScope"]

AUTO_REUSE = tf.compat.v1.AUTO_REUSE

Reuse: TypeAlias = bool | Enum | None
"""Whether layers are shared: True, False, ``tf.compat.v1.AUTO_REUSE``, or None, which is False."""

EndPoints: TypeAlias = dict[str, Tensor]
"""The tensors of a network by slim's names, in the order of computation."""


@dataclass(frozen=True)
class ArgScope:
    """The settings of all layers of a network, as slim's ``mobilenet_v1_arg_scope`` and ``training_scope`` set them.

    Attributes:
        weight_decay: slim's L2 scale; the loss gains ``weight_decay · Σw² / 2`` for each kernel.
        stddev: standard deviation of the truncated normal that draws the kernels; None draws by He's rule, the better
            start without slim's long schedule.
        regularize_depthwise: whether depthwise kernels are decayed too.
        batch_norm_decay: momentum of the moving statistics; None for the family's.
        batch_norm_epsilon: added to the variance; None for the family's.
        activation: activation of the layers whose definition names none; ``"default"`` for the family's.
        synchronized: whether replicas normalize by the statistics of all, in place of their own.
        is_training: False fixes the phase: frozen statistics and no dropout, also in ``fit``. True and None leave it to
            each call of the model.
        reuse: True shares the layers that were last made under the same names, ``tf.compat.v1.AUTO_REUSE`` those that
            were made; False and None make new ones.
        dropout: share of the features that training drops before the classifier, of builders that have no argument for
            it; None for the family's.
    """

    weight_decay: float = 4e-5
    stddev: float | None = 0.09
    regularize_depthwise: bool = False
    batch_norm_decay: float | None = None
    batch_norm_epsilon: float | None = None
    activation: ActivationLike = DEFAULT_ACTIVATION
    synchronized: bool = False
    is_training: bool | None = True
    reuse: Reuse = None
    dropout: float | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        number_in_range(self.weight_decay, "weight_decay", float, 0)
        if self.stddev is not None:
            positive_number(self.stddev, "stddev")
        for name, *ends in (("batch_norm_decay", 0, 1), ("batch_norm_epsilon", 0), ("dropout", 0, 0.99)):
            if getattr(self, name) is not None:
                number_in_range(getattr(self, name), name, float, *ends)
        if self.activation != DEFAULT_ACTIVATION:
            activation_function(self.activation, "activation")
        if self.is_training is not None and not isinstance(self.is_training, bool):
            raise ValueError(f"is_training: expected True, None or False, got {self.is_training!r}")
        if self.reuse not in (None, False, True, AUTO_REUSE):
            raise ValueError(f"reuse: expected True, False, None or tf.compat.v1.AUTO_REUSE, got {self.reuse!r}")

    def of_family(self, family: Family) -> "ArgScope":
        """Return the settings with a family's numbers and activation where none are given.

        Args:
            family: the rules of the network.

        Examples:
            >>> from tfsep.defs import MOBILENET_V2
            >>> ArgScope(batch_norm_decay=0.99).of_family(MOBILENET_V2).activation
            'relu6'
        """
        names = ("batch_norm_decay", "batch_norm_epsilon", "dropout")
        own = {name: getattr(family, name) for name in names if getattr(self, name) is None}
        if self.activation == DEFAULT_ACTIVATION:
            own["activation"] = family.activation
        return replace(self, **own)

    def initializer(self) -> keras.initializers.Initializer:
        """Return a new initializer for one kernel."""
        if self.stddev is None:
            return keras.initializers.HeNormal()
        return keras.initializers.TruncatedNormal(stddev=self.stddev)

    def normalization(self) -> dict[str, Any]:
        """Return the arguments of batch normalization."""
        return {
            "momentum": self.batch_norm_decay,
            "epsilon": self.batch_norm_epsilon,
            "synchronized": self.synchronized,
            "frozen": self.is_training is False,
        }

    def regularizer(self) -> keras.regularizers.Regularizer | None:
        """Return the regularizer of a kernel, or None; slim's L2 loss is half of Keras's for the same scale."""
        return keras.regularizers.L2(self.weight_decay / 2) if self.weight_decay else None

    def depthwise_regularizer(self) -> keras.regularizers.Regularizer | None:
        """Return the regularizer of a depthwise kernel, or None."""
        return self.regularizer() if self.regularize_depthwise else None

    def layer(self, layer: Layer) -> Layer:
        """Return a layer, or, under reuse, the one that was last made under its name.

        Args:
            layer: a new layer.

        Raises:
            ValueError: under reuse, if there is none or one with other arguments.
        """
        found = _made.get(layer.name) if self.reuse else None
        if found is None and self.reuse is True:
            raise ValueError(f"reuse: expected a network that exists, of the same scope, got no layer {layer.name!r}")
        if found is None:
            _made[layer.name] = layer
            return layer
        if type(found) is not type(layer) or found.get_config() != layer.get_config():
            raise ValueError(f"reuse: expected the arguments of the existing layer {layer.name!r}, got others")
        return found


_made: WeakValueDictionary[str, Layer] = WeakValueDictionary()
"""The layers that were last made, for reuse, as slim keeps variables in TensorFlow 1's graph."""

_default: ContextVar[ArgScope | None] = ContextVar("default", default=None)


@contextmanager
def default_arg_scope(settings: ArgScope) -> Iterator[None]:
    """Take these settings for networks inside that are given none."""
    token = _default.set(settings)
    try:
        yield
    finally:
        _default.reset(token)


def settings_of(arg_scope: ArgScope | None, family: Family) -> ArgScope:
    """Return the settings of a network: the given ones, or those of an enclosing `default_arg_scope`."""
    if not isinstance(arg_scope, ArgScope | None):
        raise TypeError(
            f"arg_scope: expected an ArgScope, as training_scope returns, or None, got {short_repr(arg_scope)}"
        )
    return (arg_scope or _default.get() or ArgScope()).of_family(family)


def layer_name(name: str) -> str:
    """Return a slim name as the name of a Keras layer, where slashes are not allowed.

    Args:
        name: slim's name, its parts divided by slashes or dots.
    """
    return name.replace("/", ".")


def build_layers(
    inputs: Tensor, layers: Iterable[LayerDef], scope: str, padding: str, arg_scope: ArgScope
) -> tuple[Tensor, EndPoints]:
    """Apply a network's primitive layers to a tensor.

    Args:
        inputs: what layers call the network's input.
        layers: layers in the order of computation.
        scope: prefix of the layers' names.
        padding: a key of `tfsep.defs.PADDING_RULES`.
        arg_scope: how each layer is made.

    Returns:
        The result of the last layer, and the end points.
    """
    results, end_points = {INPUT: inputs}, {}
    net = inputs
    for layer in layers:
        sources = [results[name] for name in layer.inputs]
        net = _apply(layer, sources[0] if len(sources) == 1 else sources, scope, padding, arg_scope)
        results[layer.name] = net
        end_points.update(dict.fromkeys(layer.end_points, net))
    return net, end_points


def _apply(layer: LayerDef, inputs: Tensor | list[Tensor], scope: str, padding: str, arg_scope: ArgScope) -> Tensor:
    """Operation, batch normalization and activation of a layer."""
    name = layer_name(f"{scope}.{layer.name}")
    net = arg_scope.layer(_OPERATIONS[layer.op](layer, name, padding, arg_scope))(inputs)
    if layer.normalization:
        normalization = BatchNormalization(name=f"{name}.BatchNorm", **arg_scope.normalization())
        net = arg_scope.layer(normalization)(net)
    if layer.activation is None:
        return net
    activation = arg_scope.activation if layer.activation == DEFAULT_ACTIVATION else layer.activation
    function = slim_hard_sigmoid if activation == SLIM_GATE else activation
    return arg_scope.layer(keras.layers.Activation(function, name=f"{name}.Activation"))(net)


def _convolution(layer: LayerDef, name: str, padding: str, arg_scope: ArgScope) -> Layer:
    return Conv2D(
        filters=layer.depth or 0,
        kernel_initializer=arg_scope.initializer(),
        kernel_regularizer=arg_scope.regularizer(),
        **_convolution_options(layer, name, padding),
    )


def _depthwise_convolution(layer: LayerDef, name: str, padding: str, arg_scope: ArgScope) -> Layer:
    return DepthwiseConv2D(
        depthwise_initializer=arg_scope.initializer(),
        depthwise_regularizer=arg_scope.depthwise_regularizer(),
        **_convolution_options(layer, name, padding),
    )


def _convolution_options(layer: LayerDef, name: str, padding: str) -> dict[str, Any]:
    return {
        "kernel_size": layer.kernel,
        "strides": layer.stride,
        "padding": padding_of(layer, padding),
        "rate": layer.rate,
        "data_format": "channels_last",
        "use_bias": not layer.normalization,
        "name": name,
    }


_OPERATIONS: dict[LayerOp, Callable[[LayerDef, str, str, ArgScope], Layer]] = {
    "conv2d": _convolution,
    "depthwise_conv2d": _depthwise_convolution,
    "add": lambda layer, name, padding, arg_scope: keras.layers.Add(name=name),  # noqa: ARG005
    "multiply": lambda layer, name, padding, arg_scope: keras.layers.Multiply(name=name),  # noqa: ARG005
    "global_average_pool": lambda layer, name, padding, arg_scope: keras.layers.GlobalAveragePooling2D(  # noqa: ARG005
        "channels_last", keepdims=True, name=name
    ),
}
"""The Keras layer of each kind of operation."""

"""What a head is built on: the maps of a backbone, by their strides, and its own layers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tfsep._keras.backend import keras
from tfsep._keras.types import Model, Tensor
from tfsep._utils.arguments import text
from tfsep.defs import MOBILENET_V2
from tfsep.defs._layer_def import DEFAULT_ACTIVATION, INPUT, convolution, depthwise
from tfsep.geometry import Pair
from tfsep.layers._bilinear_resizing import BilinearResizing
from tfsep.models._layer_builder import ArgScope, build_layers, layer_name, settings_of


class Maps(NamedTuple):
    """The maps of a backbone.

    Attributes:
        inputs: images, (N, H, W, C).
        size: their rows and columns.
        by_size: the last map of each size, (N, H', W', C'), by rows and columns.
    """

    inputs: Tensor
    size: Pair
    by_size: dict[Pair, Tensor]

    def at(self, stride: int, argument: str) -> Tensor:
        """Return the last map of a stride.

        Args:
            stride: total stride from the images.
            argument: name of the argument that asks for it.

        Raises:
            ValueError: if there is none.
        """
        rows, columns = (-(-side // stride) for side in self.size)
        if (rows, columns) not in self.by_size:
            raise ValueError(f"{argument}: expected a backbone with a map of stride {stride}, got {self.describe()}")
        return self.by_size[rows, columns]

    def describe(self) -> str:
        """Return the sizes of the maps and of the images, in words."""
        sizes = ", ".join(f"{rows}×{columns}" for rows, columns in self.by_size)
        return f"maps of {sizes} for images of {self.size[0]}×{self.size[1]}"


def maps_of(backbone: Model) -> Maps:
    """Return the maps of a backbone.

    Raises:
        TypeError: if it is no Keras model from a tensor to tensors.
        ValueError: for inputs other than images of one size, or results other than maps.
    """
    inputs, outputs = getattr(backbone, "inputs", None), getattr(backbone, "outputs", None)
    if not isinstance(backbone, keras.Model) or not inputs or not outputs:
        raise TypeError(f"backbone: expected a functional Keras model, got {type(backbone).__name__}")
    shapes = [tuple(each.shape) for each in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or None in shapes[0][1:]:
        raise ValueError(f"backbone: expected images of a known size (N, H, W, C), got {', '.join(map(str, shapes))}")
    by_size = {}
    for output in outputs:
        shape = tuple(output.shape)
        if len(shape) != 4 or None in shape[1:]:
            raise ValueError(f"backbone: expected maps (N, H, W, C) as results, such as features= gives, got {shape}")
        by_size[shape[1:3]] = output
    return Maps(inputs[0], shapes[0][1:3], by_size)


class Head(NamedTuple):
    """The layers of a head, each with normalization and activation, under a prefix of their names.

    Attributes:
        scope: the prefix.
        arg_scope: how each layer is made.
        align_corners: whether maps are resized with their corners where they are, in place of their edges.
    """

    scope: str
    arg_scope: ArgScope
    align_corners: bool = False

    @classmethod
    def of(cls, name: str, arg_scope: ArgScope | None, activation: str) -> "Head":
        """Return the layers of a head.

        Args:
            name: name of the model.
            arg_scope: the settings; None for MobileNet v2's.
            activation: the activation where the settings name none.
        """
        return cls(text(name, "name"), settings_of(arg_scope, replace(MOBILENET_V2, activation=activation)))

    def convolution(
        self,
        net: Tensor,
        name: str,
        filters: int,
        activation: str | None = DEFAULT_ACTIVATION,
        normalization: bool = True,
    ) -> Tensor:
        """Return the result of a 1×1 convolution.

        Args:
            net: (N, H, W, C).
            name: name of the layer, after the prefix.
            filters: output channels.
            activation: name of the activation, or None.
            normalization: whether batch normalization follows; without it the convolution has a bias.
        """
        layer = convolution(name, filters, INPUT, activation, normalization=normalization)
        return build_layers(net, [layer], self.scope, "same", self.arg_scope)[0]

    def separable(self, net: Tensor, name: str, filters: int, stride: int = 1, rate: int = 1) -> Tensor:
        """Return the result of a 3×3 depthwise and a 1×1 convolution.

        Args:
            net: (N, H, W, C).
            name: beginning of the names of the two layers, after the prefix.
            filters: output channels.
            stride: step of the depthwise window.
            rate: dilation of the depthwise window.
        """
        return self.convolution(self.depthwise(net, f"{name}_depthwise", stride, rate), f"{name}_pointwise", filters)

    def depthwise(self, net: Tensor, name: str, stride: int = 1, rate: int = 1) -> Tensor:
        """Return the result of a 3×3 depthwise convolution; see `separable`."""
        window = (3, 3), (stride, stride), (rate, rate)
        layer = depthwise(name, INPUT, DEFAULT_ACTIVATION, name, window)
        return build_layers(net, [layer], self.scope, "same", self.arg_scope)[0]

    def layer(
        self, kind: type[keras.layers.Layer], name: str, *arguments: object, **options: object
    ) -> keras.layers.Layer:
        """Return another Keras layer, under its name after the prefix."""
        return self.arg_scope.layer(kind(*arguments, name=layer_name(f"{self.scope}.{name}"), **options))

    def resize(self, net: Tensor, name: str, size: Sequence[int]) -> Tensor:
        """Return a map at another size, interpolated."""
        if tuple(net.shape[1:3]) == tuple(size):
            return net
        return self.layer(BilinearResizing, name, *size, self.align_corners)(net)
